"""What package managers have left among files, as it is found."""

from collections.abc import Iterator, Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wherry.sbom import Package, survey


class Tree:
    """Files by path, as `survey` reads them."""

    def __init__(self, files: Mapping[str, str | bytes]) -> None:
        self._files = {
            path: text.encode() if isinstance(text, str) else text for path, text in files.items()
        }

    def walk(self) -> Iterator[str]:
        yield from self._files

    def read(self, path: str, limit: int) -> bytes | None:
        content = self._files.get(path)
        return content if content is not None and len(content) <= limit else None


def found(**files: str | bytes) -> list[Package]:
    return [*survey(Tree({path.replace("__", "/"): text for path, text in files.items()}))]


def one(path: str, content: str | bytes, **others: str) -> Package:
    [package] = survey(Tree({path: content, **others}))
    return package


def test_a_file_made_to_be_read_for_hours_is_read_at_once() -> None:
    """Each of these took minutes at least, or ended the whole survey."""
    folder = "usr/lib/ruby/specifications"
    files = {
        f"{folder}/lines.gemspec": "\n" * 1_000_000,
        f"{folder}/blanks.gemspec": "s.version = Gem::Version.new" + " " * 1_000_000,
        "node_modules/deep/package.json": '{"name": "a", "version": "1", "x": ' + "[" * 1_000_000,
        "node_modules/fine/package.json": '{"name": "fine", "version": "1"}',
    }
    assert [package.name for package in survey(Tree(files))] == ["fine"]


METADATA = """Metadata-Version: 2.4
Name: Jinja_2.Extra
Version: 3.1.4
Summary: A very fast
 engine
License-Expression: BSD-3-Clause
Home-page: https://example.org

Long description with
Name: of another
"""


def test_distributions_of_python_are_found_with_their_files() -> None:
    package = one(
        "usr/lib/python3/site-packages/jinja2-3.1.4.dist-info/METADATA",
        METADATA,
        **{"usr/lib/python3/site-packages/jinja2-3.1.4.dist-info/RECORD": "a.py,sha256=x,1\nb,,\n"},
    )
    assert (package.kind, package.name, package.version) == ("pypi", "jinja-2-extra", "3.1.4")
    assert package.licenses == ("BSD-3-Clause",)
    assert package.description == "A very fast engine"
    assert package.files == 2


@pytest.mark.parametrize(
    ("lines", "licenses"),
    [
        ("License: MIT", ("MIT",)),
        ("License: UNKNOWN", ()),
        (f"License: {'all of it ' * 50}\nClassifier: License :: OSI Approved :: MIT License",
         ("MIT License",)),
        ("Classifier: License :: OSI Approved :: BSD License\n"
         "Classifier: License :: Public Domain", ("BSD License", "Public Domain")),
    ],
)  # fmt: skip
def test_licences_of_older_python_metadata(lines: str, licenses: tuple[str, ...]) -> None:
    content = f"Name: x\nVersion: 1\n{lines}\n\n"
    assert one("lib/x-1.egg-info/PKG-INFO", content).licenses == licenses
    assert one("lib/x-1.egg-info", content).licenses == licenses


def test_packages_of_npm_are_found_scoped_ones_too_and_their_parts_are_not() -> None:
    document = '{"name": "@ann/tool", "version": "2.0.0", "license": "MIT"}'
    packages = [
        *survey(
            Tree(
                {
                    "app/node_modules/@ann/tool/package.json": document,
                    "app/node_modules/@ann/tool/dist/package.json": '{"type": "module"}',
                    "app/package.json": '{"name": "app", "version": "1.0.0"}',
                    "app/node_modules/old/package.json": (
                        '{"name": "old", "version": "1.0.0", "licenses": [{"type": "BSD"}]}'
                    ),
                }
            )
        )
    ]
    assert [(each.namespace, each.name, each.licenses) for each in packages] == [
        ("@ann", "tool", ("MIT",)),
        ("", "old", ("BSD",)),
    ]


GEMSPEC = """# -*- encoding: utf-8 -*-
Gem::Specification.new do |s|
  s.name = "rack".freeze
  s.version = "3.1.0"
  s.homepage = "https://github.com/rack/rack".freeze
  s.licenses = ["MIT".freeze, "Ruby".freeze]
  s.summary = "A modular webserver".freeze
end
"""


def test_gems_are_found_by_their_specifications() -> None:
    package = one("usr/lib/ruby/gems/3.4.0/specifications/rack-3.1.0.gemspec", GEMSPEC)
    assert (package.kind, package.name, package.version) == ("gem", "rack", "3.1.0")
    assert package.licenses == ("MIT", "Ruby")
    assert package.homepage == "https://github.com/rack/rack"


STATUS = """Package: libc6
Status: install ok installed
Architecture: amd64
Source: glibc (2.41-12)
Version: 2.41-12
Maintainer: GNU Libc Maintainers <debian-glibc@lists.debian.org>
Homepage: https://www.gnu.org/software/libc/libc.html
Description: GNU C Library: Shared libraries
 Contains the standard libraries.

Package: gone
Status: deinstall ok config-files
Version: 1

Package: tzdata
Status: install ok installed
Architecture: all
Version: 2025b-4
"""
RELEASE = 'PRETTY_NAME="Debian"\nID=debian\nVERSION_ID="13"\n'


def test_packages_of_dpkg_are_found_that_are_installed() -> None:
    packages = [
        *survey(
            Tree(
                {
                    "etc/os-release": RELEASE,
                    "usr/share/doc/tzdata/copyright": (
                        "Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/\n"
                        "Files: *\nLicense: public-domain\n\nLicense: GPL-2+\n text\n"
                    ),
                    "usr/share/doc/libc6/copyright": "This is free software.\nLicense: no\n",
                    "var/lib/dpkg/status": STATUS,
                }
            )
        )
    ]
    assert [(each.name, each.version) for each in packages] == [
        ("libc6", "2.41-12"),
        ("tzdata", "2025b-4"),
    ]
    libc, tzdata = packages
    assert dict(libc.qualifiers) == {"arch": "amd64", "distro": "debian-13", "upstream": "glibc"}
    assert libc.supplier.startswith("GNU Libc Maintainers")
    assert (libc.licenses, tzdata.licenses) == ((), ("public-domain", "GPL-2+"))


def test_packages_of_images_without_dpkg_are_found() -> None:
    stanza = "Package: base-files\nVersion: 13\nArchitecture: amd64\n"
    package = one("var/lib/dpkg/status.d/base", stanza, **{"etc/os-release": RELEASE})
    assert (package.name, package.namespace) == ("base-files", "debian")
    assert found(**{"var__lib__dpkg__status.d__base.md5sums": stanza}) == []


INSTALLED = """C:Q1qKcZ+j23xssAXmgQhkOO8dHnbWw=
P:musl
V:1.2.5-r9
A:x86_64
T:the musl c library (libc) implementation
U:https://musl.libc.org/
L:MIT
o:musl
m:Natanael Copa
F:lib
R:ld-musl-x86_64.so.1
R:libc.musl-x86_64.so.1

P:busybox
V:1.37.0-r12
L:GPL-2.0-only
o:busybox-src

V:without a name
"""


def test_packages_of_apk_are_found() -> None:
    release = "ID=alpine\nVERSION_ID=3.21.0\n"
    packages = [*survey(Tree({"lib/apk/db/installed": INSTALLED, "etc/os-release": release}))]
    assert [(each.name, each.version, each.licenses) for each in packages] == [
        ("musl", "1.2.5-r9", ("MIT",)),
        ("busybox", "1.37.0-r12", ("GPL-2.0-only",)),
    ]
    musl, busybox = packages
    assert (musl.files, len(musl.sha1)) == (2, 40)
    assert dict(busybox.qualifiers) == {"distro": "alpine-3.21.0", "upstream": "busybox-src"}


PLACES = [
    "lib/x.dist-info/METADATA",
    "a/node_modules/x/package.json",
    "specifications/x.gemspec",
    "var/lib/dpkg/status",
    "lib/apk/db/installed",
]


@pytest.mark.parametrize("path", PLACES)
@pytest.mark.parametrize(
    "content",
    [b"", b"\0" * 100, b"\xff\xfe\xff", b"{}", b"[]", b"Name\nVersion", b"{" * 10_000, b"P:\nV:\n"],
)
def test_what_is_malformed_is_left_out(path: str, content: bytes) -> None:
    assert [*survey(Tree({path: content}))] == []


@given(st.sampled_from(PLACES), st.binary(max_size=200))
def test_garbage_is_no_crash(path: str, content: bytes) -> None:
    for package in survey(Tree({path: content, "etc/os-release": content})):
        assert package.name and package.version


def test_ordinary_files_tell_of_nothing() -> None:
    files = ["METADATA", "package.json", "x.gemspec", "dpkg/status", "db/installed", "a/b.wasm"]
    assert [*survey(Tree(dict.fromkeys(files, METADATA)))] == []

"""COPY and ADD: what goes where, and whose it is."""

import gzip
import io
import lzma
import tarfile

import pytest
from tests.build.kitchen import Files, Kitchen, link, make_tar

from wherry.build import BuildError

TREE: Files = {
    "a.wasm": "A",
    "b.wasm": "B",
    "c.txt": "C",
    "d/": "",
    "d/e.txt": "E",
    "d/f/g.txt": "G",
    ".hidden": "H",
}


@pytest.mark.parametrize(
    ("copy", "expected"),
    [
        ("a.wasm /", {"a.wasm": "A"}),
        ("a.wasm /x.wasm", {"x.wasm": "A"}),
        ("a.wasm /x/", {"x/a.wasm": "A"}),
        ("a.wasm b.wasm /x/", {"x/a.wasm": "A", "x/b.wasm": "B"}),
        ("*.wasm /x/", {"x/a.wasm": "A", "x/b.wasm": "B"}),
        ("[ab].wasm c.txt .", {"a.wasm": "A", "b.wasm": "B", "c.txt": "C"}),
        ("?.txt /x", {"x": "C"}),
        ("d /x", {"x/e.txt": "E", "x/f/g.txt": "G"}),
        ("d/ /x/", {"x/e.txt": "E", "x/f/g.txt": "G"}),
        ("d c.txt /x/", {"x/c.txt": "C", "x/e.txt": "E", "x/f/g.txt": "G"}),
        ("d/*/g.txt /x/", {"x/g.txt": "G"}),
        ("/c.txt /", {"c.txt": "C"}),
        ("./d/../c.txt /", {"c.txt": "C"}),
        (".h* /", {".hidden": "H"}),
        ('["c.txt", "/with space"]', {"with space": "C"}),
        ('"c.txt" "/with space"', {"with space": "C"}),
    ],
)
def test_places(kitchen: Kitchen, copy: str, expected: dict[str, str]) -> None:
    image = kitchen.build(f"FROM scratch\nCOPY {copy}", TREE)
    assert kitchen.files(image) == expected


def test_whole_context(kitchen: Kitchen) -> None:
    image = kitchen.build("FROM scratch\nCOPY . /app", TREE)
    expected = {f"app/{name}": text for name, text in TREE.items() if not name.endswith("/")}
    expected["app/Dockerfile"] = "FROM scratch\nCOPY . /app"
    assert kitchen.files(image) == expected


def test_relative_to_the_working_directory(kitchen: Kitchen) -> None:
    image = kitchen.build("FROM scratch\nWORKDIR /one\nWORKDIR two\nCOPY c.txt .", TREE)
    assert kitchen.files(image) == {"one/two/c.txt": "C"}
    assert image.config.config is not None
    assert image.config.config.working_dir == "/one/two"


def test_an_existing_directory_takes_the_file_in(kitchen: Kitchen) -> None:
    image = kitchen.build("FROM scratch\nCOPY d /x\nCOPY a.wasm b.wasm /x\nCOPY c.txt /x", TREE)
    assert {"x/a.wasm", "x/b.wasm", "x/c.txt"} <= set(kitchen.files(image))


def test_files_of_the_context_belong_to_root_and_keep_mode_and_time(kitchen: Kitchen) -> None:
    tool = tarfile.TarInfo()
    tool.mode, tool.uid, tool.mtime = 0o755, 1000, 1_234_567
    image = kitchen.build("FROM scratch\nCOPY tool /bin/", {"tool": tool})
    entries = kitchen.layer(image)
    entry = entries["bin/tool"][0]
    assert (entry.uid, entry.gid, entry.mode) == (0, 0, 0o755)
    assert entry.mtime == 1_234_567 * 10**9
    assert entries["bin"][0].mode == 0o755


def test_chown_and_chmod_by_number(kitchen: Kitchen) -> None:
    image = kitchen.build("FROM scratch\nCOPY --chown=12:34 --chmod=0750 d /x/y", TREE)
    owners = {(e.uid, e.gid) for e, _ in kitchen.layer(image).values()}
    assert owners == {(12, 34)}
    assert kitchen.layer(image)["x/y/e.txt"][0].mode == 0o750
    alone = kitchen.build("FROM scratch\nCOPY --chown=12 c.txt /", TREE)
    assert (kitchen.layer(alone)["c.txt"][0].uid, kitchen.layer(alone)["c.txt"][0].gid) == (12, 12)


def test_chown_by_name_from_the_stage(kitchen: Kitchen) -> None:
    files: Files = {
        "passwd": "root:x:0:0::/:\nalice:x:1001:1002::/home/alice:/bin/sh\n",
        "group": "root:x:0:\nstaff:x:50:alice\n",
        "f": "F",
    }
    image = kitchen.build(
        "FROM scratch\nCOPY passwd group /etc/\nARG WHO=alice\n"
        "COPY --chown=$WHO f /one\nCOPY --chown=alice:staff f /two",
        files,
    )
    one = kitchen.layer(image, 1)["one"][0]
    two = kitchen.layer(image, 2)["two"][0]
    assert (one.uid, one.gid) == (1001, 1002)
    assert (two.uid, two.gid) == (1001, 50)


def test_what_lies_above_keeps_its_owner(kitchen: Kitchen) -> None:
    image = kitchen.build("FROM scratch\nCOPY --chown=7 d /x\nCOPY c.txt /x/", TREE)
    above = kitchen.layer(image)["x"][0]
    assert (above.uid, above.gid) == (7, 7)


def test_links_in_a_directory_stay_links(kitchen: Kitchen) -> None:
    files: Files = {**TREE, "d/link": link("../c.txt"), "d/dangling": link("/nowhere")}
    image = kitchen.build("FROM scratch\nCOPY d /x", files)
    entries = kitchen.layer(image)
    assert entries["x/link"][0].target == "../c.txt"
    assert entries["x/dangling"][0].target == "/nowhere"


def test_a_link_named_as_source_is_followed_inside_the_context(kitchen: Kitchen) -> None:
    files: Files = {**TREE, "to-c": link("/d/../c.txt"), "to-d": link("../../d")}
    image = kitchen.build("FROM scratch\nCOPY to-c /\nCOPY to-d /x\nCOPY to-d/e.txt /y", files)
    assert kitchen.files(image) == {"to-c": "C", "x/e.txt": "E", "x/f/g.txt": "G", "y": "E"}


def test_hard_links_become_files(kitchen: Kitchen) -> None:
    files: Files = {"one": "1", "two": link("one", tarfile.LNKTYPE)}
    assert kitchen.files(kitchen.build("FROM scratch\nCOPY one two /", files)) == {
        "one": "1",
        "two": "1",
    }


def test_links_in_the_destination_are_followed_inside_the_stage(kitchen: Kitchen) -> None:
    files: Files = {**TREE, "root/data": link("/../../../real"), "root/real/": ""}
    image = kitchen.build("FROM scratch\nCOPY root /\nCOPY c.txt /data/x\nCOPY d /data", files)
    assert {"real/x", "real/e.txt"} <= set(kitchen.files(image))


def test_a_directory_goes_through_a_link_to_a_directory(kitchen: Kitchen) -> None:
    files: Files = {"base/lib": link("usr/lib"), "base/usr/lib/": "", "add/lib/x": "X"}
    image = kitchen.build("FROM scratch\nCOPY base /\nCOPY add /", files)
    assert kitchen.files(image) == {"usr/lib/x": "X"}


def test_linked_copies_do_not_look_at_the_stage(kitchen: Kitchen) -> None:
    files: Files = {"base/data": link("/real"), "base/real/": "", "c.txt": "C"}
    image = kitchen.build("FROM scratch\nCOPY base /\nCOPY --link c.txt /data/", files)
    assert set(kitchen.files(image)) == {"data/c.txt"}


def test_here_documents_become_files(kitchen: Kitchen) -> None:
    image = kitchen.build(
        "FROM scratch\nENV NAME=wherry\nWORKDIR /etc\n"
        "COPY <<one.conf <<'two.conf' /etc/\nname=\"$NAME\" \\$NAME\none.conf\n$NAME\ntwo.conf\n"
        "COPY --chmod=600 <<EOF /etc/single\nx\nEOF"
    )
    assert kitchen.files(image) == {
        "etc/one.conf": 'name="wherry" $NAME\n',
        "etc/two.conf": "$NAME\n",
        "etc/single": "x\n",
    }
    assert kitchen.layer(image)["etc/single"][0].mode == 0o600


def test_copy_from_a_stage_by_name_and_number(kitchen: Kitchen) -> None:
    image = kitchen.build(
        "FROM scratch AS Build\nCOPY --chown=5 d /out\n"
        "FROM scratch\nCOPY --from=build /out/e.txt /one\nCOPY --from=0 out /two\n"
        "COPY --from=BUILD --chown=6 /out/e.txt /three",
        TREE,
    )
    assert kitchen.files(image) == {"one": "E", "two/e.txt": "E", "two/f/g.txt": "G", "three": "E"}
    assert kitchen.layer(image, 0)["one"][0].uid == 5
    assert kitchen.layer(image, 2)["three"][0].uid == 6


def test_copy_from_a_later_stage(kitchen: Kitchen) -> None:
    image = kitchen.build(
        "FROM scratch AS final\nCOPY --from=build /c.txt /\nFROM scratch AS build\nCOPY c.txt /",
        TREE,
        target="final",
    )
    assert kitchen.files(image) == {"c.txt": "C"}


def test_copy_from_an_image(kitchen: Kitchen) -> None:
    base = kitchen.build("FROM scratch\nCOPY d /out", TREE)
    image = kitchen.build(f"FROM scratch\nCOPY --from={base.id} /out/f /x/")
    assert kitchen.files(image) == {"x/g.txt": "G"}


def test_later_layers_win_when_copying_from_a_stage(kitchen: Kitchen) -> None:
    image = kitchen.build(
        "FROM scratch AS one\nCOPY a.wasm /x\nCOPY b.wasm /x\nFROM scratch\nCOPY --from=one / /",
        TREE,
    )
    assert kitchen.files(image) == {"x": "B"}


@pytest.mark.parametrize("compress", [bytes, gzip.compress, lzma.compress])
def test_add_unpacks_archives_copy_does_not(kitchen: Kitchen, compress: "type[bytes]") -> None:
    archive = compress(make_tar({"x/y": "Y"}))
    image = kitchen.build(
        "FROM scratch\nADD a.tar c.txt /in/\nCOPY a.tar /raw.tar", {**TREE, "a.tar": archive}
    )
    entries = kitchen.layer(image, 0)
    assert entries["in/x/y"][1] == b"Y"
    assert entries["in/x/y"][0].uid == 4321
    assert entries["in/c.txt"][1] == b"C"
    assert kitchen.layer(image, 1)["raw.tar"][1] == archive


def test_add_copies_what_only_looks_compressed(kitchen: Kitchen) -> None:
    data = gzip.compress(b"no archive at all")
    image = kitchen.build("FROM scratch\nADD x.gz /", {"x.gz": data})
    assert kitchen.layer(image)["x.gz"][1] == data


def test_dockerignore_of_an_unfiltered_context(kitchen: Kitchen) -> None:
    files: Files = {**TREE, ".dockerignore": "Dockerfile\n.dockerignore\n*.wasm\nd\n!d/f\n"}
    image = kitchen.build("FROM scratch\nCOPY . /", files)
    assert kitchen.files(image) == {"c.txt": "C", ".hidden": "H", "d/f/g.txt": "G"}


def test_dockerignore_beside_a_dockerfile_wins(kitchen: Kitchen) -> None:
    files: Files = {**TREE, ".dockerignore": "*", "my.file": "FROM scratch\nCOPY . /"}
    files = {**files, "my.file.dockerignore": "*\n!c.txt"}
    image = kitchen.build("", files, dockerfile="my.file")
    assert kitchen.files(image) == {"c.txt": "C"}


def test_a_dockerfile_from_outside_is_not_called_by_its_made_up_name(kitchen: Kitchen) -> None:
    with pytest.raises(BuildError, match=r"^Dockerfile:2: "):
        kitchen.build("", {".dockerfile.0a1b": "FROM scratch\nX"}, dockerfile=".dockerfile.0a1b")


def test_compressed_contexts(kitchen: Kitchen) -> None:
    archive = make_tar({"Dockerfile": "FROM scratch\nCOPY c.txt /", "./c.txt": "C"})
    for compress in (gzip.compress, lzma.compress):
        image = kitchen.build("", archive=compress(archive))
        assert kitchen.files(image) == {"c.txt": "C"}


def test_large_contexts_go_to_disk_once(kitchen: Kitchen) -> None:
    big = bytes(range(256)) * 30_000
    image = kitchen.build("FROM scratch\nCOPY big small /", {"big": big, "small": "s"})
    entries = kitchen.layer(image)
    assert entries["big"][1] == big
    assert entries["small"][1] == b"s"
    assert not [path for path in (kitchen.root / "build").iterdir() if path.name != "cache"]


@pytest.mark.parametrize(
    ("copy", "message"),
    [
        ("missing /", "'missing' is not in the build context"),
        ("d/missing /", "is not in the build context"),
        ("missing* /", "matches nothing"),
        ("../c.txt /", "climbs out"),
        ("d/../../c.txt /", "climbs out"),
        ("a.wasm b.wasm /x", "write /x/"),
        ("[a /x", "never closed"),
        ("a.wasm /c.txt/x", "not a directory"),
        ("--chown=bob c.txt /", "knows no user 'bob'"),
        ("--chown=1:crew c.txt /", "knows no group 'crew'"),
        ("--chown=99999999999 c.txt /", "not the number"),
        ("--chown=1: c.txt /", "USER:GROUP"),
        ("--chmod=u+x c.txt /", "octal"),
        ("d /c.txt", "not a directory"),
        ("e /d", "cannot take its place"),
        ("--from=nowhere c.txt /", "there is no such image; load it"),
        ("--from=7 c.txt /", "no such stage"),
        ("circle /x", "circle"),
        ("dangling /x", "does not exist"),
        ("https://example.com/x /", "ADD takes it"),
    ],
)
def test_mistakes_name_the_line_and_leave_no_image(
    kitchen: Kitchen, copy: str, message: str
) -> None:
    files: Files = {**TREE, "circle": link("circle"), "dangling": link("nowhere")}
    files = {**files, "base/c.txt": "c", "base/d/x/y": "y", "e/x": "x"}
    with pytest.raises(BuildError, match=message) as caught:
        kitchen.build(f"FROM scratch\nCOPY base /\nCOPY {copy}", files)
    assert (caught.value.file, caught.value.line) == ("Dockerfile", 3)
    assert "\n" not in str(caught.value)
    assert kitchen.store.list() == []


def test_an_archive_is_nested_as_deep_as_a_layer_may_be(kitchen: Kitchen) -> None:
    """One name of 400 KB would be a remembered path for each folder of it: tens of gigabytes."""
    deep = make_tar({"a/" * 200_000 + "f": ""})
    for files in ({"x.tar": deep}, {"a/" * 200_000 + "f": ""}):
        with pytest.raises(BuildError, match="nested more than"):
            kitchen.build("FROM scratch\nADD x.tar /", files)


def test_climbing_archives_are_refused(kitchen: Kitchen) -> None:
    with pytest.raises(BuildError, match="climbs out"):
        kitchen.build("FROM scratch", {"../../etc/passwd": "x"})
    with pytest.raises(BuildError, match=r"Dockerfile:2: .*climbs out"):
        kitchen.build("FROM scratch\nADD a.tar /", {"a.tar": make_tar({"../x": "x"})})


@pytest.mark.parametrize("data", [b"", b"FROM scratch\n" * 100, bytes(10_000)])
def test_what_is_no_archive_is_refused(kitchen: Kitchen, data: bytes) -> None:
    with pytest.raises(BuildError, match="not a tar archive"):
        kitchen.build("", archive=data or b"\0")


def test_truncated_contexts_are_refused(kitchen: Kitchen) -> None:
    archive = make_tar({"Dockerfile": "FROM scratch\nCOPY big /", "big": bytes(5000)})
    end = archive.index(b"big") + 1000
    with pytest.raises(BuildError, match="archive cannot be read"):
        kitchen.build("", archive=archive[:end])
    packed = gzip.compress(archive)
    with pytest.raises(BuildError, match="decompressed"):
        kitchen.build("", archive=packed[: len(packed) // 2])


def test_devices_in_the_context_are_passed_over(kitchen: Kitchen) -> None:
    device = link("", tarfile.CHRTYPE)
    image = kitchen.build("FROM scratch\nCOPY d /", {"d/null": device, "d/x": "X"})
    assert kitchen.files(image) == {"x": "X"}
    with pytest.raises(BuildError, match="not in the build context"):
        kitchen.build("FROM scratch\nCOPY d/null /", {"d/null": device})


def test_undecodable_names_survive(kitchen: Kitchen) -> None:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.GNU_FORMAT) as tar:
        for name, text in (
            ("Dockerfile", b"FROM scratch\nCOPY d /d\nCOPY d /e"),
            ("d/\udcff", b"x"),
        ):
            info = tarfile.TarInfo(name)
            info.size = len(text)
            tar.addfile(info, io.BytesIO(text))
    image = kitchen.build("", archive=buffer.getvalue())
    assert kitchen.files(image) == {"d/\udcff": "x", "e/\udcff": "x"}

"""ADD of URLs: names, times, checksums, and what is fetched again. COPY --parents and --exclude."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from tests.build.kitchen import Files, Kitchen, make_tar

from wherry.build import BuildError, Progress, Repository, StepFinished, WebFile
from wherry.images import Image
from wherry.oci import Platform
from wherry.registry import Client, Hosts, RegistryError

CONTENT = b"from the web\n"
DIGEST = hashlib.sha256(CONTENT).hexdigest()


@dataclass
class Page:
    """What a server answers with; `cut` bytes are missing at the end."""

    content: bytes = CONTENT
    headers: dict[str, str] = field(default_factory=dict)
    status: int = 200
    cut: int = 0
    read: int = 0
    """How often all of it was sent."""


class Pages(dict[str, Page]):
    """A web server of this process: pages by path."""

    url = ""

    @contextmanager
    def served(self) -> Iterator[None]:
        pages = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                page = pages[self.path.partition("?")[0]]
                self.send_response(page.status)
                for name, value in page.headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(page.content)))
                self.end_headers()
                try:
                    self.wfile.write(page.content[: len(page.content) - page.cut])
                except OSError:
                    return
                page.read += 1
                self.close_connection = bool(page.cut)

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            self.url = f"http://127.0.0.1:{server.server_port}"
            yield
        finally:
            server.shutdown()
            server.server_close()
            thread.join()


class Web:
    """The web as the engine has it, and no registries."""

    def __init__(self, kitchen: Kitchen) -> None:
        self._kitchen = kitchen
        self._client = Client(Hosts([]))

    def image(
        self, name: str, platform: Platform | None, progress: Progress, *, pull: bool
    ) -> Image:
        return self._kitchen.store.resolve(name, platform)

    @contextmanager
    def _open(self, url: str) -> Iterator[WebFile]:
        try:
            with self._client.fetch(url) as file:
                yield file
        except RegistryError as error:
            raise BuildError(str(error)) from None

    def open_url(self, url: str) -> AbstractContextManager[WebFile]:
        return self._open(url)

    def fetch(self, repository: Repository, write: Callable[[bytes], object]) -> str:
        raise BuildError(f"{repository}: there is no git")

    def abandon(self) -> None:
        """It ends by itself."""


@pytest.fixture
def pages(kitchen: Kitchen) -> Iterator[Pages]:
    kitchen.outside = Web(kitchen)
    pages = Pages()
    with pages.served():
        yield pages


def cached(kitchen: Kitchen) -> list[bool]:
    return [event.cached for event in kitchen.events if isinstance(event, StepFinished)]


def test_the_file_has_its_name_its_time_and_is_its_owners(kitchen: Kitchen, pages: Pages) -> None:
    pages["/a%20b/c.txt"] = Page(headers={"Last-Modified": formatdate(1_500_000_000, usegmt=True)})
    image = kitchen.build(
        f"FROM scratch\nARG WHERE\nADD $WHERE/a%20b/c.txt?x=y /d/\nADD $WHERE/a%20b/c.txt /e\n"
        f"ADD --chown=5:6 --chmod=644 {pages.url}/a%20b/c.txt {pages.url}/a%20b/c.txt /f/",
        arguments={"WHERE": pages.url},
    )
    entry, content = kitchen.layer(image, 0)["d/c.txt"]
    assert (content, entry.mode, entry.uid) == (CONTENT, 0o600, 0)
    assert entry.mtime == 1_500_000_000 * 10**9
    assert kitchen.layer(image, 1)["e"][1] == CONTENT
    entry, _ = kitchen.layer(image, 2)["f/c.txt"]
    assert (entry.mode, entry.uid, entry.gid) == (0o644, 5, 6)


def test_a_name_may_come_from_the_server(kitchen: Kitchen, pages: Pages) -> None:
    pages["/"] = Page(headers={"Content-Disposition": 'attachment; filename="../n.txt"'})
    image = kitchen.build(f"FROM scratch\nADD {pages.url}/ /d/")
    assert "d/n.txt" in kitchen.layer(image)
    pages["/"] = Page()
    with pytest.raises(BuildError, match="no name for the file"):
        kitchen.build(f"FROM scratch\nADD {pages.url}/ /d/")
    assert "d" in kitchen.layer(kitchen.build(f"FROM scratch\nADD {pages.url}/ /d"))


def test_archives_are_kept_unless_asked_for(kitchen: Kitchen, pages: Pages) -> None:
    data = make_tar({"x/y": "Y"})
    pages["/a.tar"] = Page(data)
    text = f"FROM scratch\nADD {{}} {pages.url}/a.tar /d/"
    assert kitchen.layer(kitchen.build(text.format("")))["d/a.tar"][1] == data
    assert kitchen.layer(kitchen.build(text.format("--unpack")))["d/x/y"][1] == b"Y"
    assert "d/a.tar" in kitchen.layer(kitchen.build(text.format("--unpack=false")))
    local = kitchen.build("FROM scratch\nADD --unpack=false a.tar /d/", {"a.tar": data})
    assert "d/a.tar" in kitchen.layer(local)


def test_what_did_not_change_is_not_done_again(kitchen: Kitchen, pages: Pages) -> None:
    page = pages["/f"] = Page()
    text = f"FROM scratch\nADD {pages.url}/f /f"
    first = kitchen.build(text)
    page.headers["Last-Modified"] = formatdate(1_600_000_000, usegmt=True)
    assert kitchen.build(text).id == first.id
    assert cached(kitchen)[-1]
    page.content = b"other"
    assert kitchen.build(text).id != first.id


def test_what_the_server_says_is_the_same_is_not_read_again(kitchen: Kitchen, pages: Pages) -> None:
    page = pages["/f"] = Page(b"x" * (8 << 20), {"ETag": '"1"'})
    text = f"FROM scratch\nADD {pages.url}/f /f"
    first = kitchen.build(text)
    assert page.read == 1
    assert kitchen.build(text).id == first.id
    assert page.read == 1
    page.headers["ETag"] = 'W/"1"'
    kitchen.build(text)
    kitchen.build(text)
    assert page.read == 3
    # Its layer has gone: now the content is needed.
    page.headers["ETag"] = '"1"'
    kitchen.build(text)
    kitchen.store.remove(first.id)
    kitchen.store.collect()
    assert kitchen.layer(kitchen.build(text))["f"][1] == page.content


@pytest.mark.parametrize(
    ("add", "message"),
    [
        (f"--checksum=sha256:{'0' * 64} URL/f /f", f"its digest is sha256:{DIGEST}"),
        ("--checksum=md5:0 URL/f /f", "64 hex digits"),
        (f"--checksum=sha256:{DIGEST} URL/f URL/f /f/", "for one source, a URL"),
        (f"--checksum=sha256:{DIGEST} Dockerfile /f", "for one source, a URL"),
        ("URL/gone /f", "/gone is not at"),
        ("URL/cut /f", "in the middle of an answer"),
        ("git@example.com:a /f", "clone it first"),
        ("ftp://example.com/a /f", "only http and https"),
    ],
)
def test_what_cannot_be_added_says_why(
    kitchen: Kitchen, pages: Pages, add: str, message: str
) -> None:
    pages["/f"], pages["/gone"] = Page(), Page(status=404)
    pages["/cut"] = Page(b"x" * 1000, cut=10)
    with pytest.raises(BuildError, match=message) as caught:
        kitchen.build(f"FROM scratch\nADD {add.replace('URL', pages.url)}")
    assert caught.value.line == 2
    assert kitchen.store.list() == []


def test_a_checksum_that_is_right_passes(kitchen: Kitchen, pages: Pages) -> None:
    pages["/f"] = Page()
    image = kitchen.build(f"FROM scratch\nADD --checksum=sha256:{DIGEST} {pages.url}/f /f")
    assert kitchen.layer(image)["f"][1] == CONTENT


TREE: Files = {
    "a/one.txt": "1",
    "a/two.md": "2",
    "a/b/": "",
    "a/b/three.txt": "3",
    "a/b/c/four.txt": "4",
    "x/five.txt": "5",
}


@pytest.mark.parametrize(
    ("copy", "expected"),
    [
        ("--parents a/b/three.txt x/five.txt /d/", {"d/a/b/three.txt", "d/x/five.txt"}),
        ("--parents a/./b/three.txt /d", {"d/b/three.txt"}),
        ("--parents ./a/b /d", {"d/a/b/three.txt", "d/a/b/c/four.txt"}),
        ("--parents **/*.md /d", {"d/a/two.md"}),
        ("--parents a/./**/*.txt /", {"one.txt", "b/three.txt", "b/c/four.txt"}),
        ("--exclude=*.txt a /d/", {"d/two.md", "d/b/three.txt", "d/b/c/four.txt"}),
        ("--exclude=**/*.txt a /d/", {"d/two.md"}),
        ("--exclude=b --exclude=*.md a /d/", {"d/one.txt"}),
        ("--exclude=*.md a/* /d/", {"d/one.txt", "d/three.txt", "d/c/four.txt"}),
        ("--exclude=b --exclude=!b/c a /d/", {"d/one.txt", "d/two.md", "d/b/c/four.txt"}),
        ("--parents --exclude=*.txt a/b/ x /d/", {"d/a/b/c/four.txt"}),
    ],
)
def test_parents_and_exclude(kitchen: Kitchen, copy: str, expected: set[str]) -> None:
    image = kitchen.build(f"FROM scratch\nCOPY {copy}", TREE)
    assert set(kitchen.files(image)) == expected

"""Builds of git repositories, by git's own HTTP server."""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import os
import shutil
import subprocess
import threading
from base64 import b64encode
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import IO

import pytest
from tests.build.kitchen import make_tar
from tests.conftest import without
from tests.engine_under_test import Wherry, until

from wherry.build import BuildError, Repository
from wherry.engine.builds.git import fetch

LOGIN = "Basic " + b64encode(b"x-access-token:t0ken").decode()
_DOCKERFILE = "FROM scratch\nCOPY . /all\n"


class Forge:
    """A server of repositories; those below `/private/` want a login, `/slow/` never answers.

    Below `/files/` they are files, and nothing more.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.url = ""
        self.pages: dict[str, bytes] = {}
        self.logins: list[str] = []
        self.waiting = threading.Event()
        self.closing = threading.Event()

    def git(self, *args: str, stdin: IO[str] | None = None, **variables: str) -> str:
        who = {
            f"GIT_{role}_{what}": "x"
            for role in ("AUTHOR", "COMMITTER")
            for what in ("NAME", "EMAIL")
        }
        dates = {f"GIT_{role}_DATE": "1700000000 +0000" for role in ("AUTHOR", "COMMITTER")}
        environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(self.folder),
            **who,
            **dates,
            **variables,
        }
        argv = ["git", "-c", "protocol.file.allow=always", "-c", "init.defaultBranch=main", *args]
        done = subprocess.run(
            argv, cwd=self.folder, env=environment, stdin=stdin, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    def make(self) -> str:
        """The repository `tool`, whose commit is returned: with all that should do nothing."""
        work = self.folder / "work"
        self.git("init", "-q", "sub")
        (self.folder / "sub" / "s").write_text("sub")
        self.git("-C", "sub", "add", ".")
        self.git("-C", "sub", "commit", "-qm", "x")
        self.git("init", "-q", "work")
        (work / "deploy").mkdir()
        (work / "Dockerfile").write_text(_DOCKERFILE)
        (work / "deploy" / "Dockerfile").write_text(_DOCKERFILE + "LABEL deploy=1\n")
        (work / "deploy" / "up").symlink_to("../secret")
        (work / "ignored").write_text("$Format:%H$\n")
        (work / "run").write_text("#!/bin/sh\n")
        (work / "run").chmod(0o755)
        (work / ".gitattributes").write_text("ignored export-ignore export-subst filter=bad\n")
        self.git("-C", "work", "submodule", "--quiet", "add", "../sub", "sub")
        self.git("-C", "work", "add", ".")
        self.git("-C", "work", "commit", "-qm", "x")
        commit = self.git("-C", "work", "rev-parse", "HEAD")
        self.git("-C", "work", "tag", "-am", "one", "v1")
        (work / "later").write_text("later")
        self.git("-C", "work", "add", ".")
        self.git("-C", "work", "commit", "-qm", "y")
        for place in ("served/tool.git", "served/private/tool.git"):
            self.git("clone", "-q", "--bare", "work", place)
        self.git("-C", "served/tool.git", "update-server-info")
        return commit

    @contextlib.contextmanager
    def served(self) -> Iterator[None]:
        forge = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                if page := forge.pages.get(self.path):
                    self.send_response(200)
                    self.end_headers()
                    self.wfile.write(page)
                    return
                if "/slow/" in self.path:
                    forge.waiting.set()
                    forge.closing.wait(60)
                    return
                if "/moved/" in self.path:
                    self.send_response(301)
                    self.send_header("Location", self.path.replace("/moved/", "/"))
                    self.end_headers()
                    return
                login = self.headers.get("Authorization", "")
                if login:
                    forge.logins.append(login)
                if "/private/" in self.path and login != LOGIN:
                    self.send_response(401)
                    self.send_header("WWW-Authenticate", 'Basic realm="x"')
                    self.end_headers()
                    return
                self.answer()

            do_POST = do_GET

            def answer(self) -> None:
                path, _, query = self.path.partition("?")
                if path.startswith("/files/"):
                    file = forge.folder / "served" / path.removeprefix("/files/")
                    self.send_response(200 if file.is_file() else 404)
                    self.end_headers()
                    self.wfile.write(file.read_bytes() if file.is_file() else b"")
                    return
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                done = subprocess.run(
                    ["git", "http-backend"],
                    input=body,
                    capture_output=True,
                    env={
                        "PATH": os.environ["PATH"],
                        "GIT_PROJECT_ROOT": str(forge.folder / "served"),
                        "GIT_HTTP_EXPORT_ALL": "1",
                        "GIT_CONFIG_COUNT": "1",
                        "GIT_CONFIG_KEY_0": "safe.directory",
                        "GIT_CONFIG_VALUE_0": "*",
                        "REQUEST_METHOD": self.command,
                        "PATH_INFO": path,
                        "QUERY_STRING": query,
                        "CONTENT_TYPE": self.headers.get("Content-Type", ""),
                        "CONTENT_LENGTH": str(len(body)),
                        "HTTP_CONTENT_ENCODING": self.headers.get("Content-Encoding", ""),
                        "GIT_PROTOCOL": self.headers.get("Git-Protocol", ""),
                    },
                )
                head, _, content = done.stdout.partition(b"\r\n\r\n")
                lines = [line.decode().split(": ", 1) for line in head.split(b"\r\n") if line]
                headers = dict(lines)
                self.send_response(int(headers.pop("Status", "200").split()[0]))
                for name, value in headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            self.url = f"http://127.0.0.1:{server.server_port}"
            yield
        finally:
            self.closing.set()
            server.shutdown()
            server.server_close()
            thread.join()


@pytest.fixture(scope="module")
def forge(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Forge]:
    if shutil.which("git") is None:
        without("git is not installed")
    forge = Forge(tmp_path_factory.mktemp("forge"))
    with forge.served():
        yield forge


@pytest.fixture(scope="module")
def commit(forge: Forge) -> str:
    return forge.make()


@pytest.fixture(scope="module")
def wherry() -> Iterator[Wherry]:
    with Wherry() as wherry:
        yield wherry


def files(wherry: Wherry, *words: str, dockerfile: str = "") -> dict[str, str]:
    """What a build comes to: files with their content, links with what they lead to."""
    out = wherry.folder / "out"
    shutil.rmtree(out, ignore_errors=True)
    wherry.ok(
        "build", "-q", *words, "-o", out, *([] if not dockerfile else ["-"]), input=dockerfile
    )
    return {
        str(path.relative_to(out)): os.readlink(path) if path.is_symlink() else path.read_text()
        for path in out.rglob("*")
        if path.is_symlink() or path.is_file()
    }


def test_a_context_from_a_repository(wherry: Wherry, forge: Forge, commit: str) -> None:
    found = files(wherry, f"{forge.url}/tool.git#v1")
    assert found.keys() == {
        f"all/{name}"
        for name in (
            "Dockerfile", "deploy/Dockerfile", "deploy/up", "ignored", "run", ".gitattributes",
            ".gitmodules",
        )
    }  # fmt: skip
    assert found["all/ignored"] == "$Format:%H$\n"
    assert (wherry.folder / "out/all/run").stat().st_mode & 0o777 == 0o755
    assert (wherry.folder / "out/all/sub").is_dir()
    assert int((wherry.folder / "out/all/run").stat().st_mtime) == 1_700_000_000
    deploy = files(wherry, f"{forge.url}/moved/tool.git#{commit}:deploy")
    assert deploy == {"all/Dockerfile": _DOCKERFILE + "LABEL deploy=1\n", "all/up": "../secret"}
    assert int((wherry.folder / "out/all/Dockerfile").stat().st_mtime) == 1_700_000_000
    assert "all/later" in files(wherry, "-f", "deploy/Dockerfile", f"{forge.url}/tool.git")


def test_a_repository_on_a_server_of_files(wherry: Wherry, forge: Forge, commit: str) -> None:
    of_files = files(wherry, f"{forge.url}/files/tool.git#v1:deploy")
    assert of_files == files(wherry, f"{forge.url}/tool.git#{commit}:deploy")


def test_add_of_a_repository(wherry: Wherry, forge: Forge, commit: str) -> None:
    url = f"{forge.url}/tool.git"
    found = files(
        wherry,
        dockerfile=f"FROM scratch\nADD --exclude=deploy --checksum={commit} {url}#v1 /a\n"
        f"ADD {url}#main:deploy /b/\n",
    )
    assert {"a/run", "a/.gitattributes", "b/Dockerfile", "b/up"} <= found.keys()
    assert "a/deploy/Dockerfile" not in found
    assert "submodules are not fetched" in wherry.ok(
        "build", "-", input=f"FROM scratch\nADD {url} /"
    )
    for dockerfile, message in (
        (f"ADD --checksum={commit} {url} /a", "not the --checksum's"),
        (f"ADD --checksum=sha256:1 {url} /a", "a whole commit id"),
        (f"ADD --keep-git-dir=true {url} /a", "without its history"),
        (f"ADD {url}#nosuch /a", "couldn't find remote ref nosuch"),
        (f"ADD {url}#main:nosuch /a", "path 'nosuch' does not exist"),
        (f"COPY {url} /a", "ADD takes it"),
    ):
        error = wherry.refused("build", "-", input=f"FROM scratch\n{dockerfile}\n", code=1)
        assert message in error and "Dockerfile:2: " in error


def test_a_login_goes_to_its_server_alone(wherry: Wherry, forge: Forge, commit: str) -> None:
    url = f"{forge.url}/private/tool.git"
    error = wherry.refused("build", url, code=1)
    assert "--secret id=GIT_AUTH_TOKEN" in error
    token = {"GIT_AUTH_TOKEN": "t0ken"}
    assert "all/run" in files(wherry, url.replace("//", "//x-access-token:t0ken@"))
    wherry.ok("build", "-q", "--secret", "id=GIT_AUTH_TOKEN", url, env=token)
    forge.logins.clear()
    moved = url.replace("/private/", "/moved/")
    wherry.refused("build", "--secret", "id=GIT_AUTH_TOKEN", moved, env=token, code=1)
    assert forge.logins == []
    wrong = wherry.refused("build", url.replace("//", "//x:s3cret@"), code=1)
    assert "s3cret" not in wrong


def test_a_login_is_told_to_nobody(wherry: Wherry, forge: Forge, commit: str) -> None:
    address = forge.url.replace("//", "//x:s3cret@")
    for source, code in (
        (f"ADD {address}/tool.git /a", 0),
        (f'ONBUILD ADD ["{address}/nosuch", "/a"]', 0),
        (f"ADD {address}/nosuch.git /a", 1),
        (f"ADD {address}/nosuch /a", 1),
        (f"COPY {address}/nosuch /a", 1),
    ):
        done = wherry("build", "-t", "told", "-", input=f"FROM scratch\n{source}\n")
        assert done.code == code and "s3cret" not in done.said, done.said
        assert "s3cret" not in wherry.ok("history", "--no-trunc", "told")
    assert "xxxxx:xxxxx@" in wherry.ok("history", "--no-trunc", "told")
    for url in (address.replace("s3cret", "s3cret/s3cret"), address.replace("http", "ssh")):
        assert "s3cret" not in wherry.refused("build", f"{url}/tool.git", code=1)


def test_nothing_of_this_machine_is_fetched(wherry: Wherry, forge: Forge, commit: str) -> None:
    for url, message in (
        (f"file://{forge.folder}/work.git", "no URL of a build context"),
        ("ext::sh -c true", "no such folder"),
        ("ssh://localhost/x.git", "clone it first"),
    ):
        assert message in wherry.refused("build", url, code=1)
    assert [*(wherry.root / "build" / "run").glob("*")] == []


def test_trees_of_trees_do_not_fill_the_memory(
    forge: Forge, commit: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ten names of a tree of ten names, and so on: a repository of a few kilobytes."""
    work = forge.folder / "work"
    tree = forge.git("-C", "work", "rev-parse", f"{commit}:deploy")
    listing = work / "listing"
    for _ in range(9):
        listing.write_text("".join(f"040000 tree {tree}\td{n}\n" for n in range(10)))
        with open(listing) as names:
            tree = forge.git("-C", "work", "mktree", stdin=names)
    bomb = forge.git("-C", "work", "commit-tree", "-m", "x", tree)
    forge.git("-C", "work", "push", "-q", "../served/tool.git", f"{bomb}:refs/heads/bomb")
    monkeypatch.setattr("wherry.engine.builds.git._MAX_MEMORY", 16 << 20)
    with (
        open(tmp_path / "tar", "wb") as out,
        pytest.raises(BuildError, match=r"[Oo]ut of memory"),
    ):
        (tmp_path / "git").mkdir()
        asyncio.run(fetch(Repository(f"{forge.url}/tool.git", "bomb"), {}, tmp_path / "git", out))


def test_a_build_that_is_given_up_ends_its_git(wherry: Wherry, forge: Forge, commit: str) -> None:
    def gits() -> list[int]:
        mine = [Path(f"/proc/{pid}/cmdline") for pid in os.listdir("/proc") if pid.isdigit()]
        found = []
        for line in mine:
            with contextlib.suppress(OSError):
                if b"/slow/tool.git" in line.read_bytes() and b"git\0fetch" in line.read_bytes():
                    found.append(int(line.parent.name))
        return found

    forge.waiting.clear()
    with wherry.background("build", f"{forge.url}/slow/tool.git") as building:
        assert forge.waiting.wait(60)
        assert gits()
        building.terminate()
        building.wait(30)
    until(lambda: not gits(), "git goes on")


def test_a_dockerfile_or_an_archive_of_the_web(wherry: Wherry, forge: Forge) -> None:
    forge.pages["/d"] = b"FROM scratch\nCOPY <<E /made\nx\nE\n"
    assert files(wherry, f"{forge.url}/d") == {"made": "x\n"}
    forge.pages["/a"] = gzip.compress(make_tar({"D": "FROM scratch\nCOPY f /", "f": "F"}))
    assert files(wherry, "-f", "D", f"{forge.url}/a") == {"f": "F"}
    assert "no URL of a build context" in wherry.refused("build", "ftp://localhost/a", code=1)

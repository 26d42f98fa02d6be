"""Git repositories for builds, by the machine's `git`.

What a repository is made of is its author's: nothing of it is run, and nothing of it is ever a file
of this machine. One commit is fetched into a bare repository, without submodules, and comes out as
a tar archive. Git sees no configuration but this one, and speaks no protocols but these three.
"""

import asyncio
import os
import resource
import shutil
import signal
from base64 import b64encode
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO
from urllib.parse import unquote, urlsplit, urlunsplit

from wherry.build import BuildError, Repository

_PROTOCOLS = "http:https:git"
_CONFIG = {
    "core.hooksPath": "/dev/null",
    "core.fsmonitor": "false",
    "gc.auto": "0",
    "maintenance.auto": "false",
    "http.lowSpeedLimit": "1",
    "http.lowSpeedTime": "60",
    "tar.umask": "0022",
}
_PASSED_ON = (
    "PATH", "GIT_SSL_CAINFO", "SSL_CERT_FILE", "SSL_CERT_DIR",
    "http_proxy", "https_proxy", "no_proxy", "HTTPS_PROXY", "NO_PROXY", "ALL_PROXY", "all_proxy",
)  # fmt: skip
_ATTRIBUTES = "* -export-ignore -export-subst\n"
"""All files as they are in the commit, whatever its author says of archives."""

_MAX_FILE = 64 << 30
"""Bytes of any file that git writes."""
_MAX_MEMORY = 4 << 30
"""Bytes that git may fill: it keeps a list of all files, of which few trees can make any number."""
_KILLED_FIRST = "1000"
"""The highest oom_score_adj (proc(5)): a machine with less memory goes on without git."""
_MAX_SAID = 4096
_OF_FILES = "does not support shallow"
"""What git says of a server of mere files: one has the whole history from there, or nothing."""
_TOKEN, _HEADER = "GIT_AUTH_TOKEN", "GIT_AUTH_HEADER"


async def fetch(
    repository: Repository, secrets: Mapping[str, bytes], folder: Path, out: BinaryIO
) -> str:
    """Write what is meant into `out` as a tar archive; the commit's id.

    `folder` is an empty one, to work in. `secrets` may have a login, by BuildKit's names. Raises
    BuildError.
    """
    if shutil.which("git") is None:
        raise BuildError(f"{repository}: there is no git on this machine: install it")
    git = _Git(repository, secrets, folder)
    await git.run("init", "--quiet", "--bare", "--template=", ".")
    (folder / "info").mkdir(exist_ok=True)
    (folder / "info" / "attributes").write_text(_ATTRIBUTES)
    try:
        await git.fetch("--depth=1")
    except BuildError as error:
        if _OF_FILES not in str(error):
            raise
        await git.fetch()
    commit = await git.run("rev-parse", "--verify", "--quiet", "refs/wherry^{commit}")
    tree = commit
    if repository.folder:
        # Of a folder alone, git would date the files by today's clock.
        date = await git.run("show", "--no-patch", "--format=%ct +0000", commit)
        folder_tree = await git.run("rev-parse", f"{commit}:{repository.folder}")
        tree = await git.run("commit-tree", "-m", "", folder_tree, date=date)
    await git.run("archive", "--format=tar", tree, out=out)
    return commit


class _Git:
    """Runs git in a folder, for one repository."""

    def __init__(self, repository: Repository, secrets: Mapping[str, bytes], folder: Path) -> None:
        self._repository = repository
        self._folder = folder
        parts = urlsplit(repository.url)
        host = parts.netloc.rpartition("@")[2]
        self.url = urlunsplit(parts._replace(netloc=host))
        config = dict(_CONFIG)
        header = _header(parts.username, parts.password, parts.hostname or "", secrets)
        if header and parts.scheme != "git":
            # By the environment, which nobody else sees; and for nobody who is redirected to.
            config[f"http.{parts.scheme}://{host}/.extraHeader"] = f"Authorization: {header}"
            config["http.followRedirects"] = "false"
        self._environment = {
            **{name: os.environ[name] for name in _PASSED_ON if name in os.environ},
            "HOME": str(folder),
            "LC_ALL": "C",
            "GIT_DIR": str(folder),
            "GIT_CONFIG_NOSYSTEM": "1",
            "GIT_CONFIG_GLOBAL": "/dev/null",
            "GIT_ATTR_NOSYSTEM": "1",
            "GIT_ALLOW_PROTOCOL": _PROTOCOLS,
            "GIT_PROTOCOL_FROM_USER": "0",
            "GIT_TERMINAL_PROMPT": "0",
            "GIT_CONFIG_COUNT": str(len(config)),
        }
        for number, (key, value) in enumerate(config.items()):
            self._environment[f"GIT_CONFIG_KEY_{number}"] = key
            self._environment[f"GIT_CONFIG_VALUE_{number}"] = value
        for who in ("AUTHOR", "COMMITTER"):
            self._environment |= {f"GIT_{who}_NAME": "wherry", f"GIT_{who}_EMAIL": "wherry"}

    async def fetch(self, *options: str) -> None:
        """Have what is meant as `refs/wherry`. Raises BuildError."""
        await self.run(
            "fetch", "--quiet", *options, "--no-tags", "--no-recurse-submodules",
            "--no-write-fetch-head", "--refmap=", "--", self.url,
            f"{self._repository.ref}:refs/wherry",
        )  # fmt: skip

    async def run(self, *args: str, out: BinaryIO | None = None, date: str = "") -> str:
        """Run `git ARGS`, which writes into `out`; else the line that it prints.

        When it is cancelled, all of it is killed. Raises BuildError.
        """
        dates = {"GIT_AUTHOR_DATE": date, "GIT_COMMITTER_DATE": date} if date else {}
        process = await asyncio.create_subprocess_exec(
            "git",
            *args,
            cwd=self._folder,
            env=self._environment | dates,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=out or asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            start_new_session=True,
        )
        try:
            with suppress(ProcessLookupError, FileNotFoundError, PermissionError):
                _bound(process.pid)
            answer, said = await asyncio.gather(_head(process.stdout), _head(process.stderr))
            code = await process.wait()
        finally:
            if process.returncode is None:
                with suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
        if code:
            raise BuildError(f"{self._repository}: {_reason(said)}")
        return answer.strip()


def _bound(pid: int) -> None:
    """Bound what a process and its children take. Raises OSError if it has gone."""
    for kind, most in ((resource.RLIMIT_FSIZE, _MAX_FILE), (resource.RLIMIT_DATA, _MAX_MEMORY)):
        allowed = resource.prlimit(pid, kind)[1]
        if allowed == resource.RLIM_INFINITY or allowed > most:
            resource.prlimit(pid, kind, (most, most))
    Path(f"/proc/{pid}/oom_score_adj").write_text(_KILLED_FIRST)


async def _head(stream: asyncio.StreamReader | None) -> str:
    """The beginning of what comes, all of which is read."""
    head = b""
    while stream is not None and (data := await stream.read(_MAX_SAID)):
        head += data[: _MAX_SAID - len(head)]
    return head.decode(errors="replace")


def _reason(said: str) -> str:
    if "could not read Username" in said:
        return f"the server wants a login: give a token with --secret id={_TOKEN}"
    lines = [line for line in said.splitlines() if line.startswith(("fatal: ", "error: "))]
    reason = lines[0].partition(": ")[2] if lines else "git failed"
    return "".join(c for c in reason if c.isprintable())


def _header(
    username: str | None, password: str | None, host: str, secrets: Mapping[str, bytes]
) -> str:
    """The value of `Authorization`, empty if there is no login."""
    if username is not None:
        return _basic(f"{unquote(username)}:{unquote(password or '')}".encode())
    for name in (f"{_HEADER}.{host}", _HEADER):
        if name in secrets:
            return secrets[name].decode(errors="replace").strip().partition("\n")[0]
    for name in (f"{_TOKEN}.{host}", _TOKEN):
        if name in secrets:
            return _basic(b"x-access-token:" + secrets[name].strip())
    return ""


def _basic(login: bytes) -> str:
    return f"Basic {b64encode(login).decode()}"

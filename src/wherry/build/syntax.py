"""A Dockerfile as typed instructions, grouped in stages; variables are not yet replaced.

One struct an instruction, named as in the Dockerfile reference.
"""

from typing import Literal

import msgspec

from wherry.build.lexer import Heredoc
from wherry.oci import Healthcheck


class Instruction(msgspec.Struct, frozen=True, kw_only=True):
    """What all have: the line it starts on, from 1, and its text as progress shows it."""

    line: int
    text: str


class Command(msgspec.Struct, frozen=True, kw_only=True):
    """What RUN, CMD and ENTRYPOINT take: words of the exec form, or one text `for_shell`."""

    words: tuple[str, ...]
    for_shell: bool


class Arg(Instruction, frozen=True, kw_only=True):
    """ARG: names, each with its default or None."""

    names: tuple[tuple[str, str | None], ...]


class Env(Instruction, frozen=True, kw_only=True):
    """ENV: pairs of name and value."""

    pairs: tuple[tuple[str, str], ...]


class Label(Instruction, frozen=True, kw_only=True):
    """LABEL: pairs of name and value."""

    pairs: tuple[tuple[str, str], ...]


class Copy(Instruction, frozen=True, kw_only=True):
    """COPY and ADD.

    `origin` is the value of --from. `exclude` are patterns of what is left out; with `parents` the
    folders above a source come along. The others are of ADD alone: `unpack` says whether archives
    are unpacked, None that local ones are and remote ones are not; `keep_git` asks for the history
    of a repository.
    """

    keyword: str
    sources: tuple[str, ...]
    heredocs: tuple[Heredoc, ...]
    destination: str
    origin: str = ""
    chown: str = ""
    chmod: str = ""
    link: bool = False
    parents: bool = False
    exclude: tuple[str, ...] = ()
    checksum: str = ""
    unpack: bool | None = None
    keep_git: bool = False

    def extracts(self, *, remote: bool) -> bool:
        """Whether an archive is unpacked."""
        if self.keyword != "ADD":
            return False
        return not remote if self.unpack is None else self.unpack


class RunMount(msgspec.Struct, frozen=True, kw_only=True):
    """A --mount of RUN. Values are as written, their variables not yet replaced."""

    kind: str
    target: str = ""
    source: str = ""
    origin: str = ""
    id: str = ""
    sharing: str = "shared"
    mode: str = ""
    uid: str = ""
    gid: str = ""
    size: str = ""
    env: str = ""
    read_only: bool = False
    required: bool = False


class Run(Instruction, frozen=True, kw_only=True):
    """RUN. `network` is "default", "none" or "host"; `script` a here-document that is a program."""

    command: Command
    mounts: tuple[RunMount, ...] = ()
    network: Literal["default", "none", "host"] = "default"
    script: Heredoc | None = None


class Cmd(Instruction, frozen=True, kw_only=True):
    """CMD."""

    command: Command


class Entrypoint(Instruction, frozen=True, kw_only=True):
    """ENTRYPOINT."""

    command: Command


class Shell(Instruction, frozen=True, kw_only=True):
    """SHELL."""

    words: tuple[str, ...]


class Workdir(Instruction, frozen=True, kw_only=True):
    """WORKDIR."""

    path: str


class User(Instruction, frozen=True, kw_only=True):
    """USER."""

    user: str


class Volume(Instruction, frozen=True, kw_only=True):
    """VOLUME."""

    paths: tuple[str, ...]


class Expose(Instruction, frozen=True, kw_only=True):
    """EXPOSE: ports as written."""

    ports: tuple[str, ...]


class StopSignal(Instruction, frozen=True, kw_only=True):
    """STOPSIGNAL."""

    signal: str


class HealthCheck(Instruction, frozen=True, kw_only=True):
    """HEALTHCHECK."""

    check: Healthcheck


class Maintainer(Instruction, frozen=True, kw_only=True):
    """MAINTAINER."""

    name: str


class OnBuild(Instruction, frozen=True, kw_only=True):
    """ONBUILD: the trigger as text, here-documents included."""

    trigger: str


class From(Instruction, frozen=True, kw_only=True):
    """FROM; `name` is what AS gives, in lower case."""

    image: str
    platform: str = ""
    name: str = ""


class Stage(msgspec.Struct, frozen=True, kw_only=True):
    """A FROM and the instructions after it."""

    start: From
    body: tuple[Instruction, ...]


class Dockerfile(msgspec.Struct, frozen=True, kw_only=True):
    """A parsed Dockerfile: `args` stand before the first FROM. `file` is its name in errors.

    `frontend` is the image that a `# syntax=` line names: who is to read it, for BuildKit.
    """

    file: str
    escape: str
    frontend: str
    args: tuple[Arg, ...]
    stages: tuple[Stage, ...]

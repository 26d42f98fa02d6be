"""A Dockerfile as typed instructions, grouped in stages; variables are not yet replaced.

One struct an instruction, named as in the Dockerfile reference.
"""

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
    """COPY and ADD. `origin` is the value of --from; `extract` is ADD's unpacking of archives."""

    keyword: str
    sources: tuple[str, ...]
    heredocs: tuple[Heredoc, ...]
    destination: str
    origin: str = ""
    chown: str = ""
    chmod: str = ""
    link: bool = False

    @property
    def extract(self) -> bool:
        """Whether local archives are unpacked."""
        return self.keyword == "ADD"


class Run(Instruction, frozen=True, kw_only=True):
    """RUN; `flags` are those given, uninterpreted."""

    command: Command
    flags: tuple[str, ...] = ()


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
    """A parsed Dockerfile: `args` stand before the first FROM. `file` is its name in errors."""

    file: str
    escape: str
    args: tuple[Arg, ...]
    stages: tuple[Stage, ...]

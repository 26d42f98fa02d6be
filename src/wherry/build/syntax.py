"""A Dockerfile as typed instructions, grouped in stages; variables are not yet replaced.

One frozen class an instruction, named as in the Dockerfile reference.
"""

from dataclasses import dataclass

from wherry.build.lexer import Heredoc
from wherry.oci import Healthcheck


@dataclass(frozen=True, slots=True, kw_only=True)
class Instruction:
    """What all have: the line it starts on, from 1, and its text as progress shows it."""

    line: int
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """What RUN, CMD and ENTRYPOINT take: words of the exec form, or one text `for_shell`."""

    words: tuple[str, ...]
    for_shell: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Arg(Instruction):
    """ARG: names, each with its default or None."""

    names: tuple[tuple[str, str | None], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Env(Instruction):
    """ENV: pairs of name and value."""

    pairs: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Label(Instruction):
    """LABEL: pairs of name and value."""

    pairs: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Copy(Instruction):
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Run(Instruction):
    """RUN; `flags` are those given, uninterpreted."""

    command: Command
    flags: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Cmd(Instruction):
    """CMD."""

    command: Command


@dataclass(frozen=True, slots=True, kw_only=True)
class Entrypoint(Instruction):
    """ENTRYPOINT."""

    command: Command


@dataclass(frozen=True, slots=True, kw_only=True)
class Shell(Instruction):
    """SHELL."""

    words: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Workdir(Instruction):
    """WORKDIR."""

    path: str


@dataclass(frozen=True, slots=True, kw_only=True)
class User(Instruction):
    """USER."""

    user: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Volume(Instruction):
    """VOLUME."""

    paths: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Expose(Instruction):
    """EXPOSE: ports as written."""

    ports: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class StopSignal(Instruction):
    """STOPSIGNAL."""

    signal: str


@dataclass(frozen=True, slots=True, kw_only=True)
class HealthCheck(Instruction):
    """HEALTHCHECK."""

    check: Healthcheck


@dataclass(frozen=True, slots=True, kw_only=True)
class Maintainer(Instruction):
    """MAINTAINER."""

    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class OnBuild(Instruction):
    """ONBUILD: the trigger as text, here-documents included."""

    trigger: str


@dataclass(frozen=True, slots=True, kw_only=True)
class From(Instruction):
    """FROM; `name` is what AS gives, in lower case."""

    image: str
    platform: str = ""
    name: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """A FROM and the instructions after it."""

    start: From
    body: tuple[Instruction, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Dockerfile:
    """A parsed Dockerfile: `args` stand before the first FROM. `file` is its name in errors."""

    file: str
    escape: str
    args: tuple[Arg, ...]
    stages: tuple[Stage, ...]

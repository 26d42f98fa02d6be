"""Dockerfile text to typed instructions (`syntax`). Pure functions.

`parse` reads a whole Dockerfile, `parse_trigger` one instruction that ONBUILD stored. Whatever can
be known to be wrong without building anything is refused here, with file and line.
"""

import re
from collections.abc import Callable, Sequence
from typing import Literal, TypedDict

import msgspec

from wherry.build import syntax
from wherry.build.errors import BuildError
from wherry.build.healthcheck import healthcheck
from wherry.build.lexer import Heredoc, Line, heredoc_mark, read_script, split_words
from wherry.build.masking import masked
from wherry.build.mounts import parse_mount

_FLAGS = {
    "FROM": ("platform",),
    "COPY": ("chmod", "chown", "exclude", "from", "link", "parents"),
    "ADD": ("checksum", "chmod", "chown", "exclude", "keep-git-dir", "link", "unpack"),
    "RUN": ("mount", "network", "security"),
    "HEALTHCHECK": ("interval", "retries", "start-interval", "start-period", "timeout"),
}
_WITH_URLS = frozenset({"ADD", "COPY", "ONBUILD"})
_REPEATABLE = frozenset({"exclude", "mount"})
_STAGE_NAME = re.compile(r"[a-z][a-z0-9._-]*")
_TRUE, _FALSE = frozenset({"", "true", "1"}), frozenset({"false", "0"})


class _Place(TypedDict):
    line: int
    text: str


def parse(source: bytes, file: str) -> syntax.Dockerfile:
    """Parse the Dockerfile `source`; `file` is its name in errors. Raises BuildError."""
    script = read_script(source, file)
    arguments: list[syntax.Arg] = []
    stages: list[tuple[syntax.From, list[syntax.Instruction]]] = []
    for line in script.lines:
        try:
            instruction = _Reader(line, script.escape).instruction()
        except BuildError as error:
            raise error.at(file, line.number) from None
        if isinstance(instruction, syntax.From):
            stages.append((instruction, []))
        elif stages:
            stages[-1][1].append(instruction)
        elif isinstance(instruction, syntax.Arg):
            arguments.append(instruction)
        else:
            message = f"{line.keyword} before the first FROM: only ARG may stand there"
            raise BuildError(message, file, line.number)
    if not stages:
        message = "there is no FROM in it: begin with 'FROM scratch' or FROM another image"
        raise BuildError(message, file, 1)
    return syntax.Dockerfile(
        file=file,
        escape=script.escape,
        frontend=script.directives.get("syntax", ""),
        args=tuple(arguments),
        stages=tuple(syntax.Stage(start=start, body=tuple(body)) for start, body in stages),
    )


def parse_trigger(text: str) -> syntax.Instruction:
    """Parse one instruction as ONBUILD stored it. Raises BuildError without a place."""
    try:
        script = read_script(text.encode(), "ONBUILD")
    except BuildError as error:
        raise BuildError(error.message) from None
    if len(script.lines) != 1:
        raise BuildError(f"ONBUILD {text!r} is not one instruction")
    _check_trigger(script.lines[0].keyword)
    return _Reader(script.lines[0], script.escape).instruction()


class _Reader:
    """Reads one line. Its methods raise BuildError without a place."""

    def __init__(self, line: Line, escape: str) -> None:
        self._line = line
        self._escape = escape
        self._keyword = line.keyword
        told = masked(line.text) if line.keyword in _WITH_URLS else line.text
        self._place = _Place(line=line.number, text=told)
        self._flags: dict[str, list[str]] = {}
        self._rest = line.rest

    def instruction(self) -> syntax.Instruction:
        read = _READERS.get(self._keyword)
        if read is None:
            raise BuildError(_unknown("instruction", self._keyword, tuple(_READERS)))
        self._read_flags()
        if not self._rest:
            raise BuildError(f"{self._keyword} needs an argument")
        return read(self)

    def _read_flags(self) -> None:
        allowed = _FLAGS.get(self._keyword, ())
        while allowed and self._rest.startswith("--"):
            word = split_words(self._rest, self._escape)[0]
            self._rest = self._rest[len(word) :].lstrip()
            if word == "--":
                break
            name, _, value = word[2:].partition("=")
            if name not in allowed:
                raise BuildError(f"{self._keyword}: " + _unknown("flag", f"--{name}", allowed))
            if name in self._flags and name not in _REPEATABLE:
                raise BuildError(f"{self._keyword}: --{name} is given twice")
            self._flags.setdefault(name, []).append(value)

    def _flag(self, name: str) -> str:
        return self._flags.get(name, [""])[0]

    def _switch(self, name: str) -> bool:
        value = self._flag(name) if name in self._flags else "false"
        if value.lower() not in _TRUE | _FALSE:
            raise BuildError(f"{self._keyword}: --{name}={value}: true or false is needed")
        return value.lower() in _TRUE

    def _words(self) -> list[str]:
        return split_words(self._rest, self._escape)

    def _json(self) -> list[str] | None:
        """The words of the exec form; None if it is not one."""
        if not self._rest.startswith("["):
            return None
        try:
            words = msgspec.json.decode(self._rest)
        except (msgspec.DecodeError, UnicodeEncodeError, RecursionError):
            return None
        if not all(isinstance(word, str) for word in words):
            raise BuildError(f"{self._keyword}: the JSON array may hold strings only")
        return list(words)

    def _command(self) -> syntax.Command:
        words = self._json()
        if words is not None:
            return syntax.Command(words=tuple(words), for_shell=False)
        text = self._rest
        if alone := self._lone_heredoc():
            text = alone.content
        else:
            for heredoc in self._line.heredocs:
                text += f"\n{heredoc.content}{heredoc.name}"
        return syntax.Command(words=(text,), for_shell=True)

    def _pairs(self) -> tuple[tuple[str, str], ...]:
        words = self._words()
        if "=" not in words[0]:
            name, *value = self._rest.split(None, 1)
            if not value:
                raise BuildError(f"{self._keyword} {name}: a value is missing: {name}=value")
            return ((name, value[0]),)
        pairs = []
        for word in words:
            name, equals, value_text = word.partition("=")
            if not equals or not name:
                message = f"{self._keyword}: {word!r} is not of the form name=value"
                raise BuildError(f"{message} (a value with spaces needs quotes)")
            pairs.append((name, value_text))
        return tuple(pairs)

    def from_(self) -> syntax.From:
        words = self._words()
        if len(words) not in (1, 3) or (len(words) == 3 and words[1].upper() != "AS"):
            raise BuildError("FROM takes 'FROM image' or 'FROM image AS name'")
        name = words[2].lower() if len(words) == 3 else ""
        if name and not _STAGE_NAME.fullmatch(name):
            message = f"{words[2]!r} is no name for a stage"
            raise BuildError(f"{message}: a letter, then letters, digits, '.', '_' or '-'")
        return syntax.From(
            image=words[0], platform=self._flag("platform"), name=name, **self._place
        )

    def arg(self) -> syntax.Arg:
        names: list[tuple[str, str | None]] = []
        for word in self._words():
            name, equals, default = word.partition("=")
            if not name:
                raise BuildError(f"ARG: {word!r} has no name: write ARG name=default")
            names.append((name, default if equals else None))
        return syntax.Arg(names=tuple(names), **self._place)

    def env(self) -> syntax.Env:
        return syntax.Env(pairs=self._pairs(), **self._place)

    def label(self) -> syntax.Label:
        return syntax.Label(pairs=self._pairs(), **self._place)

    def copy(self) -> syntax.Copy:
        words = self._json() or self._words()
        if len(words) < 2:
            raise BuildError(f"{self._keyword} needs a source and a destination")
        sources = [word for word in words[:-1] if not heredoc_mark(word, self._escape)]
        if heredoc_mark(words[-1], self._escape):
            raise BuildError(f"{self._keyword} needs a destination after the here-document")
        origin = self._flag("from")
        if "from" in self._flags and not origin:
            raise BuildError("COPY: --from needs a stage or an image")
        if "$" in origin:
            message = "COPY: variables cannot be used in --from"
            raise BuildError(f"{message}: name a stage of its own with FROM $VARIABLE AS name")
        return syntax.Copy(
            keyword=self._keyword,
            sources=tuple(sources),
            heredocs=self._line.heredocs,
            destination=words[-1],
            origin=origin,
            chown=self._flag("chown"),
            chmod=self._flag("chmod"),
            link=self._switch("link"),
            parents=self._switch("parents"),
            exclude=tuple(self._flags.get("exclude", ())),
            checksum=self._flag("checksum"),
            unpack=self._switch("unpack") if "unpack" in self._flags else None,
            keep_git=self._switch("keep-git-dir"),
            **self._place,
        )

    def run(self) -> syntax.Run:
        command = self._command()
        if not any(word.strip() for word in command.words):
            raise BuildError('RUN needs a command, like RUN ["/tool.wasm", "argument"]')
        if "security" in self._flags and self._flag("security") != "sandbox":
            message = f"RUN --security={self._flag('security')} is not supported"
            raise BuildError(f"{message}: steps run in the ordinary sandbox only")
        return syntax.Run(
            command=command,
            mounts=tuple(parse_mount(text) for text in self._flags.get("mount", ())),
            network=self._network(),
            script=self._script(),
            **self._place,
        )

    def _network(self) -> Literal["default", "none", "host"]:
        match self._flag("network") if "network" in self._flags else "default":
            case "default" | "none" | "host" as known:
                return known
            case other:
                raise BuildError(f"RUN --network={other}: default, none and host are known")

    def _script(self) -> Heredoc | None:
        """The here-document that is all of the command and says by "#!" what runs it."""
        alone = self._lone_heredoc()
        return alone if alone and alone.content.startswith("#!") else None

    def _lone_heredoc(self) -> Heredoc | None:
        """The here-document that is all of the command; what else has one is for the shell."""
        documents = self._line.heredocs
        return documents[0] if len(documents) == 1 == len(self._words()) else None

    def cmd(self) -> syntax.Cmd:
        return syntax.Cmd(command=self._command(), **self._place)

    def entrypoint(self) -> syntax.Entrypoint:
        return syntax.Entrypoint(command=self._command(), **self._place)

    def shell(self) -> syntax.Shell:
        words = self._json()
        if not words:
            raise BuildError('SHELL needs the JSON form, like SHELL ["/bin/sh", "-c"]')
        return syntax.Shell(words=tuple(words), **self._place)

    def workdir(self) -> syntax.Workdir:
        return syntax.Workdir(path=self._rest, **self._place)

    def user(self) -> syntax.User:
        return syntax.User(user=self._rest, **self._place)

    def volume(self) -> syntax.Volume:
        words = self._json()
        paths = self._words() if words is None else words
        if not paths or not all(path.strip() for path in paths):
            raise BuildError("VOLUME needs paths, none of them empty")
        return syntax.Volume(paths=tuple(paths), **self._place)

    def expose(self) -> syntax.Expose:
        return syntax.Expose(ports=tuple(self._words()), **self._place)

    def stop_signal(self) -> syntax.StopSignal:
        words = self._words()
        if len(words) != 1:
            raise BuildError("STOPSIGNAL takes one signal, like SIGTERM")
        return syntax.StopSignal(signal=words[0], **self._place)

    def health_check(self) -> syntax.HealthCheck:
        kind, *rest = self._rest.split(None, 1)
        if kind.upper() == "NONE":
            if rest or self._flags:
                raise BuildError("HEALTHCHECK NONE takes nothing else")
            check = healthcheck(["NONE"], {})
            return syntax.HealthCheck(check=check, **self._place)
        if kind.upper() != "CMD" or not rest:
            raise BuildError("HEALTHCHECK takes 'NONE' or 'CMD command'")
        self._rest = rest[0]
        command = self._command()
        test = ["CMD-SHELL" if command.for_shell else "CMD", *command.words]
        options = {name: values[0] for name, values in self._flags.items()}
        return syntax.HealthCheck(check=healthcheck(test, options), **self._place)

    def maintainer(self) -> syntax.Maintainer:
        return syntax.Maintainer(name=self._rest, **self._place)

    def on_build(self) -> syntax.OnBuild:
        keyword, *rest = self._rest.split(None, 1)
        _check_trigger(keyword.upper())
        line = Line(
            self._line.number, keyword.upper(), rest[0] if rest else "", self._line.heredocs
        )
        _Reader(line, self._escape).instruction()
        documents = (f"\n{document.content}{document.name}" for document in line.heredocs)
        return syntax.OnBuild(trigger=self._rest + "".join(documents), **self._place)


_READERS: dict[str, Callable[[_Reader], syntax.Instruction]] = {
    "ADD": _Reader.copy,
    "ARG": _Reader.arg,
    "CMD": _Reader.cmd,
    "COPY": _Reader.copy,
    "ENTRYPOINT": _Reader.entrypoint,
    "ENV": _Reader.env,
    "EXPOSE": _Reader.expose,
    "FROM": _Reader.from_,
    "HEALTHCHECK": _Reader.health_check,
    "LABEL": _Reader.label,
    "MAINTAINER": _Reader.maintainer,
    "ONBUILD": _Reader.on_build,
    "RUN": _Reader.run,
    "SHELL": _Reader.shell,
    "STOPSIGNAL": _Reader.stop_signal,
    "USER": _Reader.user,
    "VOLUME": _Reader.volume,
    "WORKDIR": _Reader.workdir,
}


def _check_trigger(keyword: str) -> None:
    if keyword in ("ONBUILD", "FROM", "MAINTAINER"):
        raise BuildError(f"ONBUILD cannot trigger {keyword}")


def _unknown(what: str, word: str, known: Sequence[str]) -> str:
    from difflib import get_close_matches

    # Wrong words are rare and difflib takes longer to import than a Dockerfile to parse.
    near = get_close_matches(word.lstrip("-"), known, 1)
    prefix = "--" if what == "flag" else ""
    if near:
        return f"unknown {what} {word}; did you mean {prefix}{near[0]}?"
    choices = ", ".join(prefix + name for name in known)
    return f"unknown {what} {word}; known are {choices}"

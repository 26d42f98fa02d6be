"""Instructions that change an image's config and no file (Dockerfile reference).

Pure functions from one config to the next. Variables are replaced through the `expand` given.
"""

import posixpath
import re
import signal
from collections.abc import Callable, Iterable

from msgspec.structs import replace

from wherry.build import syntax
from wherry.build.errors import BuildError
from wherry.oci import RuntimeConfig
from wherry.ports import parse_range

Expand = Callable[[str], str]

DEFAULT_SHELL = ("/bin/sh", "-c")
"""What runs the shell form where no SHELL says otherwise."""

_PROTOCOLS = frozenset({"tcp", "udp", "sctp"})


def apply(
    instruction: syntax.Instruction, config: RuntimeConfig, expand: Expand, *, cmd_is_own: bool
) -> RuntimeConfig:
    """`config` after `instruction`. `cmd_is_own` says whether CMD was given in this stage.

    Raises BuildError, and ExpansionError from `expand`. Instructions that write files, and ARG,
    FROM and MAINTAINER are not this function's.
    """
    match instruction:
        case syntax.Env():
            return replace(config, env=_with_env(config.env or [], instruction.pairs, expand))
        case syntax.Label():
            pairs = {expand(name): expand(value) for name, value in instruction.pairs}
            return replace(config, labels=(config.labels or {}) | pairs)
        case syntax.Cmd():
            return replace(config, cmd=argv(instruction.command, config))
        case syntax.Entrypoint():
            words = argv(instruction.command, config)
            # An inherited CMD was meant as arguments of the inherited ENTRYPOINT.
            return replace(config, entrypoint=words, cmd=config.cmd if cmd_is_own else None)
        case syntax.Shell():
            return replace(config, shell=list(instruction.words))
        case syntax.User():
            return replace(config, user=_required("USER", expand(instruction.user)))
        case syntax.Volume():
            paths = [_required("VOLUME", expand(path)) for path in instruction.paths]
            return replace(config, volumes=_with_keys(config.volumes, paths))
        case syntax.Expose():
            return replace(config, exposed_ports=_with_ports(config, instruction.ports, expand))
        case syntax.StopSignal():
            return replace(config, stop_signal=_signal(expand(instruction.signal)))
        case syntax.HealthCheck():
            return replace(config, healthcheck=instruction.check)
        case syntax.OnBuild():
            return replace(config, on_build=[*(config.on_build or ()), instruction.trigger])
    raise AssertionError(instruction)


def argv(command: syntax.Command, config: RuntimeConfig) -> list[str]:
    """The words to run: those of the exec form, or the shell with the shell form's text."""
    if not command.for_shell:
        return list(command.words)
    return [*(config.shell or DEFAULT_SHELL), *command.words]


def workdir(path: str, config: RuntimeConfig, expand: Expand) -> str:
    """The absolute directory after `WORKDIR path`. Raises BuildError."""
    wanted = _required("WORKDIR", expand(path))
    joined = posixpath.normpath(posixpath.join("/", config.working_dir, wanted))
    return "/" + joined.lstrip("/")


def with_workdir(config: RuntimeConfig, path: str) -> RuntimeConfig:
    """`config` with the working directory `path`."""
    return replace(config, working_dir=path)


def environment(config: RuntimeConfig) -> dict[str, str]:
    """The config's variables by name."""
    return dict(entry.partition("=")[::2] for entry in config.env or ())


def _with_env(env: list[str], pairs: Iterable[tuple[str, str]], expand: Expand) -> list[str]:
    # All values see the variables as they were before the instruction.
    changed = dict(entry.partition("=")[::2] for entry in env)
    changed |= {_required("ENV", expand(name)): expand(value) for name, value in pairs}
    return [f"{name}={value}" for name, value in changed.items()]


def _with_keys(old: dict[str, object] | None, keys: Iterable[str]) -> dict[str, object]:
    merged = set(old or ()) | set(keys)
    return {key: {} for key in sorted(merged)}


def _with_ports(config: RuntimeConfig, words: Iterable[str], expand: Expand) -> dict[str, object]:
    found: set[str] = set()
    for word in words:
        found.update(_ports(expand(word)))
    return _with_keys(config.exposed_ports, found)


def _required(keyword: str, value: str) -> str:
    if not value.strip():
        raise BuildError(f"{keyword}: nothing is left after the variables were replaced")
    return value


def _ports(text: str) -> list[str]:
    """The ports of one word of EXPOSE, each as `80/tcp`."""
    found: list[str] = []
    for word in text.split():
        numbers, slash, protocol = word.partition("/")
        protocol = protocol.lower() if slash else "tcp"
        try:
            ports = parse_range(numbers)
        except ValueError:
            ports = range(0)
        if not ports or protocol not in _PROTOCOLS:
            message = f"EXPOSE: {word!r} is not a port"
            raise BuildError(f"{message}: write 80, 80/udp or 8000-8010/tcp, up to 65535")
        found.extend(f"{port}/{protocol}" for port in ports)
    return found


def _signal(text: str) -> str:
    name = text.upper().removeprefix("SIG")
    known = (
        name.isascii() and name.isdigit() and len(name) < 10 and 0 < int(name) <= signal.SIGRTMAX
    )
    if not known and not hasattr(signal.Signals, f"SIG{name}") and not _is_real_time(name):
        raise BuildError(f"STOPSIGNAL: {text!r} is not a signal; write one like SIGTERM or 15")
    return text


def _is_real_time(name: str) -> bool:
    match = re.fullmatch(r"RTM(IN\+|AX-)([0-9]{1,2})", name)
    return match is not None and int(match.group(2)) <= signal.SIGRTMAX - signal.SIGRTMIN

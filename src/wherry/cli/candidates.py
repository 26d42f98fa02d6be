"""What may come next on a command line, found in the tables of the commands and in the engine."""

from __future__ import annotations

from wherry.cli.flags import SWITCH
from wherry.cli.index import COMMANDS, FAMILIES, find, is_family, load
from wherry.client import ClientError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from wherry.cli.command import Command
    from wherry.cli.flags import Flag
    from wherry.cli.session import Session

    Found = list[tuple[str, str]]

_GLOBAL = (("--host", "Engine to talk to"), ("--version", "Print the version"))


def candidates(session: Session, words: list[str]) -> tuple[str, Found]:
    """Pairs of (word, its meaning) for the last of the words, which is being typed.

    The first value is `file` or `directory` when the shell shall offer these, too.
    """
    *before, current = words or [""]
    while len(before) > 1 and before[0] in ("-H", "--host"):
        session = type(session)(before[1])
        del before[:2]
    if not before:
        if current.startswith("-"):
            return "", _starting(_GLOBAL, current)
        return "", _starting(_names(""), current)
    name, command, rest = find(before)
    if command is None:
        if is_family(name) and not rest:
            return "", _starting(_names(f"{name} "), current)
        return "", []
    if name in FAMILIES and not rest:
        return "", _starting(_names(f"{name} "), current)
    return _of_command(session, command, rest, current)


def _names(prefix: str) -> Iterator[tuple[str, str]]:
    """Commands, one level of them."""
    for full in sorted(set(COMMANDS) | set(FAMILIES)):
        rest = full[len(prefix) :]
        if full.startswith(prefix) and " " not in rest and not rest.startswith("__"):
            yield rest, load(full).summary if full in COMMANDS else FAMILIES[full]


def _of_command(
    session: Session, command: Command, rest: list[str], current: str
) -> tuple[str, Found]:
    flag, count = _position(command, rest)
    if flag is not None:
        return _values(session, flag.complete, current)
    if count < 0:
        return "file", []
    if current.startswith("-"):
        name, equals, value = current.partition("=")
        for known in command.flags:
            if equals and name == f"--{known.name}":
                kind, found = _values(session, known.complete, value)
                return kind, [(f"{name}={word}", meaning) for word, meaning in found]
        return "", _starting(_flags(command), current)
    if count >= command.most or not command.complete:
        return "", []
    what = command.complete[min(count, len(command.complete) - 1)]
    if not command.interspersed and count >= len(command.complete):
        return "file", []
    kind, found = _values(session, what, current)
    return ("file" if what == "image" and not command.interspersed else kind), found


def _position(command: Command, rest: list[str]) -> tuple[Flag | None, int]:
    """The flag whose value is being typed, or else how many words came before this one.

    -1 when the words belong to a container, not to the command.
    """
    long = {f"--{flag.name}": flag for flag in command.flags}
    short = {flag.short: flag for flag in command.flags if flag.short}
    count = 0
    remaining = iter(rest)
    for word in remaining:
        flag = None
        if word == "--":
            return None, count + sum(1 for _ in remaining)
        if word.startswith("--"):
            flag = None if "=" in word else long.get(word)
        elif word.startswith("-") and len(word) > 1:
            flag = short.get(word[-1]) if "=" not in word else None
        else:
            count += 1
            if not command.interspersed and count > len(command.complete) - 1:
                return None, -1
        if flag is not None and flag.kind != SWITCH and next(remaining, None) is None:
            return flag, count
    return None, count


def _flags(command: Command) -> Iterator[tuple[str, str]]:
    for flag in sorted(command.flags, key=lambda flag: flag.name):
        yield f"--{flag.name}", flag.help
    for flag in command.flags:
        if flag.short:
            yield f"-{flag.short}", flag.help


def _starting(pairs: Iterator[tuple[str, str]] | tuple[tuple[str, str], ...], word: str) -> Found:
    return [(name, meaning) for name, meaning in pairs if name.startswith(word)]


def _values(session: Session, what: str | tuple[str, ...], current: str) -> tuple[str, Found]:
    if isinstance(what, tuple):
        return "", _starting(tuple((word, "") for word in what), current)
    if what in ("file", "directory"):
        return what, []
    kind = ""
    if what in ("volume", "container:"):
        kind = "file"
    finders = _FINDERS.get(what, ())
    found: Found = []
    for finder in finders:
        try:
            found.extend(finder(session))
        except ClientError:
            return kind, []
    return kind, _starting(tuple(found), current)


def _containers(session: Session) -> Found:
    containers = session.client.get("/containers/json", {"all": True})
    return [(c["Names"][0].lstrip("/"), f"{c['Image']}, {c['Status']}") for c in containers]


def _container_paths(session: Session) -> Found:
    return [(f"{name}:", meaning) for name, meaning in _containers(session)]


def _images(session: Session) -> Found:
    images = session.client.get("/images/json")
    names = [name for image in images for name in image.get("RepoTags") or ()]
    return [(name.removesuffix(":latest"), "") for name in sorted(names) if "<none>" not in name]


def _networks(session: Session) -> Found:
    networks = session.client.get("/networks")
    return [(network["Name"], network["Driver"]) for network in networks]


def _network_modes(session: Session) -> Found:
    """What `--network` takes; `host` and `none` are networks themselves."""
    shared = [(f"container:{name}", "its network") for name, _ in _containers(session)]
    return [*_networks(session), *shared]


def _volumes(session: Session) -> Found:
    volumes = session.client.get("/volumes").get("Volumes") or []
    return [(volume["Name"], volume.get("Mountpoint", "")) for volume in volumes]


def _registries(session: Session) -> Found:
    """Registries with a login; docker.io goes without a name."""
    from wherry.client.docker_config import DockerConfig

    document = DockerConfig().read()
    known = [document.get(name) for name in ("auths", "credHelpers")]
    names = {name for table in known if isinstance(table, dict) for name in table}
    return [(name, "") for name in sorted(names) if "://" not in name]


_FINDERS: dict[str, tuple[Callable[[Session], Found], ...]] = {
    "container": (_containers,),
    "container:": (_container_paths,),
    "image": (_images,),
    "network": (_networks,),
    "network-mode": (_network_modes,),
    "registry": (_registries,),
    "volume": (_volumes,),
    "object": (_containers, _images, _networks, _volumes),
}

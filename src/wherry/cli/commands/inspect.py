"""`inspect`: everything the engine knows about a container, image, network or volume."""

from __future__ import annotations

from wherry.cli.command import UNLIMITED, Command
from wherry.cli.errors import CommandError, UsageError
from wherry.cli.flags import switch, text
from wherry.cli.platform import PLATFORMS, document_of
from wherry.client import DaemonError, json

TYPE_CHECKING = False
if TYPE_CHECKING:
    from wherry.cli.flags import Arguments
    from wherry.cli.session import Session

_PATHS = {
    "container": "/containers/{}/json",
    "image": "/images/{}/json",
    "network": "/networks/{}",
    "volume": "/volumes/{}",
}


def _inspect(session: Session, arguments: Arguments) -> int:
    if arguments.switch("wasm"):
        return _inspect_wasm(session, arguments)
    kind = arguments.text("type")
    if kind and kind not in _PATHS:
        raise UsageError(f'"{kind}" is not a type; the types are {", ".join(_PATHS)}')
    return _show(session, arguments, (kind,) if kind else tuple(_PATHS))


def _inspect_container(session: Session, arguments: Arguments) -> int:
    return _show(session, arguments, ("container",))


def _inspect_wasm(session: Session, arguments: Arguments) -> int:
    from wherry.cli.looking import show_wasm

    platform = arguments.text("platform") if arguments.has("platform") else ""
    return show_wasm(session, arguments.words, arguments.text("format"), platform)


def _inspect_image(session: Session, arguments: Arguments) -> int:
    if arguments.switch("wasm"):
        return _inspect_wasm(session, arguments)
    if arguments.switch("platforms"):
        from wherry.cli.image_platforms import show_platforms

        return show_platforms(session, arguments.words, arguments.text("format"))
    return _show(session, arguments, ("image",))


def _inspect_network(session: Session, arguments: Arguments) -> int:
    return _show(session, arguments, ("network",))


def _inspect_volume(session: Session, arguments: Arguments) -> int:
    return _show(session, arguments, ("volume",))


def _show(session: Session, arguments: Arguments, kinds: tuple[str, ...]) -> int:
    """Prints what is found, then complains about what is not."""
    layout = arguments.text("format")
    flags = (("container", "size"), ("network", "verbose"))
    options: dict[str, dict[str, object]] = {
        kind: {flag: True} for kind, flag in flags if arguments.has(flag) and arguments.switch(flag)
    }
    if arguments.has("platform"):
        options["image"] = {"platform": document_of(arguments.text("platform"))}
    documents: list[str] = []
    missing: list[str] = []
    for name in arguments.words:
        try:
            documents.append(_fetch(session, name, kinds, options))
        except DaemonError as error:
            missing.append(session.explain(error))
    if layout in ("", "json"):
        listed = f"[{','.join(documents)}]"
        session.write_line(json.indent(listed) if not layout else listed)
    else:
        from wherry.cli.listing import unescape
        from wherry.cli.template import Template

        template = Template(unescape(layout))
        for document in documents:
            session.write_line(template.render(json.decode(document)))
    for message in missing:
        session.complain(message)
    return 1 if missing else 0


def _fetch(
    session: Session, name: str, kinds: tuple[str, ...], options: dict[str, dict[str, object]]
) -> str:
    """The JSON text of the first kind of thing that has this name.

    `options` is the query that each kind is asked with.
    """
    if not name:
        raise CommandError("the name is empty")
    for kind in kinds:
        path = _PATHS[kind].format(name)
        try:
            response = session.client.request("GET", path, options.get(kind))
        except DaemonError as error:
            if error.status != 404 or len(kinds) == 1:
                raise
        else:
            return response.read().decode().strip()
    raise DaemonError(404, f"no such container, image, network or volume: {name}")


_FORMAT = text("format", "f", "Print by a Go template, or 'json' in one line")
_SIZE = switch("size", "s", "Show the sizes of containers, too")
_WASM = switch("wasm", "", "Look into the module or component of an image, or of a .wasm file")


INSPECT = Command(
    _inspect,
    "Show everything about containers, images, networks or volumes",
    "NAME|ID|FILE [NAME|ID|FILE...]",
    (
        _FORMAT,
        _SIZE,
        text("type", "", "Look only for this type", metavar="TYPE", complete=tuple(_PATHS)),
        _WASM,
    ),
    least=1,
    most=UNLIMITED,
    complete=("object",),
    examples=(
        "wherry inspect -f '{{.State.Status}}' web",
        "wherry inspect --wasm hello",
        "wherry inspect --wasm -f '{{.Target}}' ./tool.wasm",
    ),
)
CONTAINER = Command(
    _inspect_container,
    "Show everything about containers",
    "CONTAINER [CONTAINER...]",
    (_FORMAT, _SIZE),
    least=1,
    most=UNLIMITED,
    complete=("container",),
)
IMAGE = Command(
    _inspect_image,
    "Show everything about images",
    "IMAGE [IMAGE...]",
    (
        _FORMAT,
        text("platform", "", "Show what it is for this platform", metavar="OS/ARCH",
             complete=PLATFORMS),
        switch("platforms", "", "Show a table of the platforms it is for"),
        _WASM,
    ),
    least=1,
    most=UNLIMITED,
    complete=("image",),
    examples=("wherry image inspect --platforms web",),
)  # fmt: skip
NETWORK = Command(
    _inspect_network,
    "Show everything about networks",
    "NETWORK [NETWORK...]",
    (_FORMAT, switch("verbose", "v", "Show more, where the engine knows more")),
    least=1,
    most=UNLIMITED,
    complete=("network",),
)
VOLUME = Command(
    _inspect_volume,
    "Show everything about volumes",
    "VOLUME [VOLUME...]",
    (_FORMAT,),
    least=1,
    most=UNLIMITED,
    complete=("volume",),
)

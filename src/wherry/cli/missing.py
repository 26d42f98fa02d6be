"""What a person may have meant by the name of something that the engine does not have."""

from __future__ import annotations

import os

from wherry.cli.suggest import nearest
from wherry.client import ClientError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from wherry.client import Client

_CONTAINER = "no such container: "
_IMAGE = "no such image: "
_NETWORK = "network "
_NOT_FOUND = " not found"
_ENDINGS = (".wasm", ".wat")
_NO_PAGE = "page not found"


def hint(client: Client, message: str, *, needed: bool) -> str:
    """What to add to the engine's message, beginning with `; ` or `: `, or empty.

    It knows what engines say of images, containers and networks that are not there. A network that
    was `needed` could be made.
    """
    lowered = message.lower()
    if lowered == _NO_PAGE:  # what Docker's engine says of everything that it does not know
        return ": this engine does not know how to do that; wherry's own does"
    if _IMAGE in lowered:
        return _file(message[lowered.index(_IMAGE) + len(_IMAGE) :].partition(": ")[0])
    try:
        if _CONTAINER in lowered:
            name = message[lowered.index(_CONTAINER) + len(_CONTAINER) :].strip()
            containers = client.get("/containers/json", {"all": True})
            known = [name[1:] for container in containers for name in container["Names"]]
            return _meant(name, known)
        if _NETWORK in lowered and _NOT_FOUND in lowered:
            rest = message[lowered.index(_NETWORK) + len(_NETWORK) :]
            name = rest[: rest.lower().index(_NOT_FOUND)].strip("'\"")
            known = [str(network["Name"]) for network in client.get("/networks")]
            if name in known:
                return ""
            meant = _meant(name, known)
            if not needed:
                return meant
            joint = f"{meant} Or " if meant else "; "
            return f"{joint}make it with 'wherry network create {name}'"
    except (ClientError, LookupError, ValueError, TypeError):
        pass  # whatever an engine answers: the message itself is told
    return ""


def _file(name: str) -> str:
    if os.path.isfile(name):
        return f"; the file is meant by './{name}'"
    return "; nor is there a file of this name" if name.endswith(_ENDINGS) else ""


def _meant(name: str, known: list[str]) -> str:
    best = nearest(name, known)
    return f"; did you mean '{best}'?" if best and best != name else ""

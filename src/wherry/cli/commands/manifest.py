"""`manifest`: what a registry has under a name, and lists of images made for several platforms."""

from __future__ import annotations

from wherry.cli.command import UNLIMITED, Command
from wherry.cli.flags import many, switch, text
from wherry.cli.logins import headers_to_read
from wherry.cli.transfer import transfer
from wherry.client import json
from wherry.client.image_name import ImageName

TYPE_CHECKING = False
if TYPE_CHECKING:
    from wherry.cli.flags import Arguments
    from wherry.cli.session import Session


def _inspect(session: Session, arguments: Arguments) -> int:
    *lists, name = arguments.words
    verbose = arguments.switch("verbose")
    query = {"list": lists[0] if lists else "", "verbose": verbose}
    headers = _logins(session, name)
    response = session.client.request("GET", f"/manifests/{name}/json", query, headers=headers)
    document = response.read().decode(errors="replace").strip()
    step = "\t" if verbose else "   "
    session.write_line(json.indent(document, step) if "\n" not in document else document)
    return 0


def _create(session: Session, arguments: Arguments) -> int:
    target, *members = arguments.words
    body = {"Name": target, "Manifests": members, "Amend": arguments.switch("amend")}
    headers = (*_logins(session, *members), "Content-Type: application/json")
    data = json.encode(body).encode()
    answer = session.client.request("POST", "/manifests/create", None, data, headers).json()
    name = ImageName(target)
    whole = f"{name.repository}{name.suffix or ':latest'}"
    session.write_line(f"Created manifest list {(answer or {}).get('Name') or whole}")
    return 0


def _annotate(session: Session, arguments: Arguments) -> int:
    target, member = arguments.words
    body = {
        "Manifest": member,
        "OS": arguments.text("os"),
        "Architecture": arguments.text("arch"),
        "Variant": arguments.text("variant"),
        "OSVersion": arguments.text("os-version"),
        "OSFeatures": [f for value in arguments.many("os-features") for f in value.split(",")],
    }
    session.client.post(f"/manifests/{target}/annotate", body=body)
    return 0


def _push(session: Session, arguments: Arguments) -> int:
    target = arguments.words[0]
    query = {"purge": arguments.switch("purge")}
    name = ImageName(target)
    transfer(session, f"/manifests/{target}/push", query, name, _logins(session, target))
    return 0


def _remove(session: Session, arguments: Arguments) -> int:
    def remove(name: str) -> None:
        session.client.delete(f"/manifests/{name}")

    return session.for_each(arguments.words, remove)


def _logins(session: Session, *names: str) -> tuple[str, ...]:
    """Headers with the logins for the registries of these images."""
    return headers_to_read(session, *dict.fromkeys(ImageName(name).domain for name in names))


INSPECT = Command(
    _inspect,
    "Show the manifest of an image, or the list of an image for several platforms",
    "[LIST] NAME[:TAG|@DIGEST]",
    (switch("verbose", "v", "Show each manifest with its descriptor and platform"),),
    least=1,
    most=2,
    complete=("image",),
    detail=(
        "A list made here and not yet pushed is shown first; everything else comes from the\n"
        "registry, and nothing is pulled."
    ),
    examples=("wherry manifest inspect localhost:5000/hello",),
)
CREATE = Command(
    _create,
    "Make a list of images for several platforms",
    "LIST IMAGE [IMAGE...]",
    (switch("amend", "a", "Add to a list that is there"),),
    least=2,
    most=UNLIMITED,
    complete=("image",),
    detail="The images are here, or in the registry the list is for.",
    examples=(
        "wherry manifest create localhost:5000/web localhost:5000/web:wasm localhost:5000/web:arm",
        "wherry manifest push localhost:5000/web",
    ),
)
ANNOTATE = Command(
    _annotate,
    "Say what platform an image of a list is for",
    "LIST IMAGE",
    (
        text("arch", "", "Architecture", complete=("amd64", "arm64", "wasm")),
        text("os", "", "Operating system", complete=("linux", "wasi")),
        many("os-features", "", "Feature of the operating system it needs"),
        text("os-version", "", "Version of the operating system"),
        text("variant", "", "Variant of the architecture (v7)"),
    ),
    least=2,
    most=2,
    complete=("image",),
)
PUSH = Command(
    _push,
    "Send a list, and those of its images that the registry does not have",
    "LIST",
    (switch("purge", "p", "Remove the list here after that"),),
    least=1,
    most=1,
    complete=("image",),
)
RM = Command(
    _remove,
    "Remove lists that were made here",
    "LIST [LIST...]",
    least=1,
    most=UNLIMITED,
    complete=("image",),
)

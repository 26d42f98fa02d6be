"""`images`, `history`, `tag`, `rmi`."""

from __future__ import annotations

from wherry.cli.command import UNLIMITED, Command
from wherry.cli.filters import as_query as filters_of
from wherry.cli.flags import many, switch, text
from wherry.cli.listing import FORMAT_HELP, Listing
from wherry.cli.moment import ago, local_text
from wherry.cli.platform import PLATFORMS, document_of
from wherry.cli.short import ellipsis, short_id
from wherry.cli.units import decimal_size

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from wherry.cli.flags import Arguments
    from wherry.cli.session import Session

_NONE = "<none>"


def image_listing(*, full: bool, digests: bool = False) -> Listing:
    """How images are listed, one line for each name (`rows` makes the lines)."""
    standard = ["Repository", "Tag", "ID", "CreatedSince", "Size"]
    if digests:
        standard.insert(2, "Digest")
    return Listing(
        {
            "ID": ("IMAGE ID", lambda i: i["Id"] if full else short_id(i["Id"])),
            "Repository": ("REPOSITORY", lambda i: i["Repository"]),
            "Tag": ("TAG", lambda i: i["Tag"]),
            "Digest": ("DIGEST", lambda i: i["Digest"]),
            "CreatedSince": ("CREATED", lambda i: ago(i["Created"])),
            "CreatedAt": ("CREATED AT", lambda i: local_text(i["Created"])),
            "Size": ("SIZE", lambda i: decimal_size(i["Size"], 3)),
            "VirtualSize": ("SIZE", lambda i: decimal_size(i["Size"], 3)),
            "Containers": ("CONTAINERS", lambda i: _count(i.get("Containers", -1))),
            "SharedSize": ("SHARED SIZE", lambda i: _part(i.get("SharedSize", -1))),
            "UniqueSize": ("UNIQUE SIZE", _unique),
        },
        standard,
    )


def _count(containers: int) -> str:
    return str(containers) if containers >= 0 else "N/A"


def _part(size: int) -> str:
    return decimal_size(size) if size >= 0 else "N/A"


def _unique(image: Any) -> str:
    shared = image.get("SharedSize", -1)
    return decimal_size(image["Size"] - shared) if shared >= 0 else "N/A"


def rows(images: Any) -> Iterator[dict[str, Any]]:
    """One row for each name of each image; an image without names has one, too."""
    for image in images:
        digests = {}
        for reference in image.get("RepoDigests") or ():
            repository, _, digest = reference.partition("@")
            digests[repository] = digest
        digests.pop(_NONE, None)
        tags = [tag for tag in image.get("RepoTags") or () if tag != f"{_NONE}:{_NONE}"]
        for reference in tags:
            repository, _, tag = reference.rpartition(":")
            digest = digests.get(repository, _NONE)
            yield {**image, "Repository": repository, "Tag": tag, "Digest": digest}
        if not tags:
            for repository, digest in (digests or {_NONE: _NONE}).items():
                yield {**image, "Repository": repository, "Tag": _NONE, "Digest": digest}


def _images(session: Session, arguments: Arguments) -> int:
    filters = filters_of(arguments.many("filter"))
    if arguments.words:
        filters["reference"] = [arguments.words[0]]
    query = {"all": arguments.switch("all"), "filters": filters}
    images = session.client.get("/images/json", query)
    full = arguments.switch("no-trunc")
    layout = arguments.text("format")
    if arguments.switch("quiet") and not layout:
        layout = "{{.ID}}"
    listing = image_listing(full=full, digests=arguments.switch("digests"))
    listing.show(session, rows(images), layout)
    return 0


def _history(session: Session, arguments: Arguments) -> int:
    query = {"platform": document_of(arguments.text("platform"))}
    layers = session.client.get(f"/images/{arguments.words[0]}/history", query)
    full = arguments.switch("no-trunc")
    human = arguments.switch("human")
    if arguments.switch("quiet"):
        for layer in layers:
            session.write_line(layer["Id"] if full else short_id(layer["Id"]))
        return 0
    listing = Listing(
        {
            "ID": ("IMAGE", lambda h: h["Id"] if full else short_id(h["Id"])),
            "CreatedSince": (
                "CREATED" if human else "CREATED AT",
                lambda h: ago(h["Created"]) if human else _iso(h["Created"]),
            ),
            "CreatedAt": ("CREATED AT", lambda h: _iso(h["Created"])),
            "CreatedBy": ("CREATED BY", lambda h: _created_by(h, full=full)),
            "Size": ("SIZE", lambda h: decimal_size(h["Size"], 3) if human else str(h["Size"])),
            "Comment": ("COMMENT", lambda h: h.get("Comment") or ""),
        },
        ("ID", "CreatedSince", "CreatedBy", "Size", "Comment"),
    )
    listing.show(session, layers, arguments.text("format"))
    return 0


def _created_by(layer: Any, *, full: bool) -> str:
    line: str = (layer.get("CreatedBy") or "").replace("\t", " ").replace("\n", " ")
    return line if full else ellipsis(line, 45)


def _iso(seconds: float) -> str:
    import time

    text = time.strftime("%Y-%m-%dT%H:%M:%S%z", time.localtime(seconds))
    return f"{text[:-5]}Z" if text.endswith("+0000") else f"{text[:-2]}:{text[-2:]}"


def _tag(session: Session, arguments: Arguments) -> int:
    source, target = arguments.words
    repository, colon, tag = target.rpartition(":")
    if not colon or "/" in tag:
        repository, tag = target, ""
    session.client.post(f"/images/{source}/tag", {"repo": repository, "tag": tag})
    return 0


def _remove(session: Session, arguments: Arguments) -> int:
    platforms = [document_of(each) for each in arguments.many("platform")]
    query = {
        "force": arguments.switch("force"), "noprune": arguments.switch("no-prune"),
        "platforms": platforms,
    }  # fmt: skip

    def remove(name: str) -> None:
        for change in session.client.delete(f"/images/{name}", query):
            for action, subject in change.items():
                session.write_line(f"{action}: {subject}")

    return session.for_each(arguments.words, remove)


_FORMAT = text("format", "", FORMAT_HELP)
_FULL = switch("no-trunc", "", "Do not shorten IDs and commands")
_QUIET = switch("quiet", "q", "Show IDs only")

IMAGES = Command(
    _images,
    "List images",
    "[REPOSITORY[:TAG]]",
    (
        switch("all", "a", "Show intermediate images, too"),
        switch("digests", "", "Show digests"),
        many("filter", "f", "Show only those that match", metavar="KEY=VALUE"),
        _FORMAT,
        _FULL,
        _QUIET,
    ),
    most=1,
    complete=("image",),
)
HISTORY = Command(
    _history,
    "Show how an image was made",
    "IMAGE",
    (
        _FORMAT,
        switch("human", "H", "Sizes and dates as people read them", default=True),
        text(
            "platform", "", "Of the image for this platform", metavar="OS/ARCH", complete=PLATFORMS
        ),
        _FULL,
        _QUIET,
    ),
    least=1,
    most=1,
    complete=("image",),
)
TAG = Command(
    _tag,
    "Give an image another name",
    "IMAGE[:TAG] NEW_NAME[:TAG]",
    least=2,
    most=2,
    complete=("image",),
)
RMI = Command(
    _remove,
    "Remove images",
    "IMAGE [IMAGE...]",
    (
        switch("force", "f", "Remove it even if a stopped container uses it"),
        switch("no-prune", "", "Keep parents without names"),
        many(
            "platform",
            "",
            "With --force: remove it for this platform only",
            metavar="OS/ARCH",
            complete=PLATFORMS,
        ),
    ),
    least=1,
    most=UNLIMITED,
    complete=("image",),
)

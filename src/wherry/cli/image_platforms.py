"""The table of the platforms an image is for: `wherry image inspect --platforms`."""

from __future__ import annotations

from wherry.cli.listing import Listing
from wherry.cli.platform import text_of
from wherry.cli.units import decimal_size

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from wherry.cli.session import Session

_FIELDS = ("Platform", "Digest", "Size", "Here")


def show_platforms(session: Session, names: list[str], layout: str) -> int:
    """A line for each platform of each image, in the order of its index; the exit code."""
    rows: list[dict[str, Any]] = []

    def add(name: str) -> None:
        document = session.client.get(f"/images/{name}/json", {"manifests": True})
        rows.extend({"Image": name, **row} for row in _rows(document))

    failed = session.for_each(names, add)
    listing = Listing(
        {
            "Image": ("IMAGE", lambda row: row["Image"]),
            "Platform": ("PLATFORM", lambda row: row["Platform"]),
            "Digest": ("DIGEST", lambda row: row["Digest"]),
            "Size": ("SIZE", lambda row: decimal_size(row["Size"], 3) if row["Size"] else "-"),
            "Here": ("HERE", lambda row: "yes" if row["Here"] else "no"),
        },
        ("Image", *_FIELDS) if len(names) > 1 else _FIELDS,
    )
    if rows or not failed:
        listing.show(session, rows, layout)
    return failed


def _rows(document: Any) -> list[dict[str, Any]]:
    """What the engine says of each manifest; of an image without an index, what it says of it."""
    manifests = document.get("Manifests")
    if not manifests:
        platform = {name.lower(): document.get(name) for name in ("Architecture", "Variant")}
        named = next(iter(document.get("RepoDigests") or ()), "").partition("@")[2]
        digest = (document.get("Descriptor") or {}).get("digest") or named or document["Id"]
        return [
            {
                "Platform": text_of({**platform, "os": document.get("Os")}),
                "Digest": digest,
                "Size": document.get("Size", 0),
                "Here": True,
            }
        ]
    return [_row(manifest) for manifest in manifests]


def _row(manifest: Any) -> dict[str, Any]:
    described = manifest.get("Descriptor") or {}
    image = manifest.get("ImageData") or {}
    kind = manifest.get("Kind") or "image"
    platform = text_of(image.get("Platform") or described.get("platform"))
    here = bool(manifest.get("Available"))
    return {
        "Platform": platform if kind == "image" or platform != "-" else kind,
        "Digest": described.get("digest") or manifest.get("ID") or "-",
        "Size": (manifest.get("Size") or {}).get("Content", 0) if here else 0,
        "Here": here,
    }

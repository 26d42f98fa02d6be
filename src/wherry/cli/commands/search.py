"""`search`: what a registry has, where the registry tells."""

from __future__ import annotations

from wherry.cli.command import Command
from wherry.cli.filters import as_query
from wherry.cli.flags import many, number, switch, text
from wherry.cli.listing import FORMAT_HELP, Listing
from wherry.cli.logins import login_of
from wherry.cli.short import ellipsis
from wherry.client.image_name import split_domain

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from wherry.cli.flags import Arguments
    from wherry.cli.session import Session


def _search(session: Session, arguments: Arguments) -> int:
    term = arguments.words[0]
    query = {
        "term": term,
        "limit": arguments.number("limit") or None,
        "filters": as_query(arguments.many("filter")),
    }
    headers = login_of(session, split_domain(term)[0]).headers()
    response = session.client.request("GET", "/images/search", query, headers=headers)
    full = arguments.switch("no-trunc")
    listing = Listing(
        {
            "Name": ("NAME", lambda r: r["name"]),
            "Description": ("DESCRIPTION", lambda r: _description(r, full=full)),
            "StarCount": ("STARS", lambda r: str(r.get("star_count", 0))),
            "IsOfficial": ("OFFICIAL", lambda r: "[OK]" if r.get("is_official") else ""),
        },
        ("Name", "Description", "StarCount", "IsOfficial"),
    )
    listing.show(session, response.json() or (), arguments.text("format"))
    return 0


def _description(result: Any, *, full: bool) -> str:
    line = " ".join((result.get("description") or "").splitlines())
    return line if full else ellipsis(line, 45)


SEARCH = Command(
    _search,
    "Search a registry for images",
    "[REGISTRY/]TERM",
    (
        many("filter", "f", "Show only those that match (stars=3, is-official=true)",
             metavar="KEY=VALUE"),
        text("format", "", FORMAT_HELP),
        number("limit", "", "Show at most so many"),
        switch("no-trunc", "", "Do not shorten descriptions"),
    ),
    least=1,
    most=1,
    detail="Without REGISTRY it is docker.io. Other registries that have no search\n"
    "are asked for their catalog, if they let one see it.",
    examples=("wherry search wasm", "wherry search localhost:5000/hello"),
)  # fmt: skip

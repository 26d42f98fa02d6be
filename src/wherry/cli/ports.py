"""The ports of a container as `ps` shows them: neighbours folded into ranges, as Docker does."""

from __future__ import annotations

from wherry.cli.address import with_port

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any


def ports_text(ports: Iterable[Any]) -> str:
    """`0.0.0.0:80-90->80-90/tcp, 443/tcp, 0.0.0.0:8080->80/tcp`.

    A port published under its own number and one that is only exposed are folded with their
    neighbours; one published under another number stands alone, behind the others.
    """
    groups: dict[tuple[str, str], tuple[int, int]] = {}
    closed: list[str] = []
    moved: list[str] = []
    for port in sorted(ports, key=_order):
        inside, kind, address = port["PrivatePort"], port.get("Type", "tcp"), port.get("IP") or ""
        if address and port.get("PublicPort") != inside:
            moved.append(f"{with_port(address, port.get('PublicPort', 0))}->{inside}/{kind}")
            continue
        key = (address, kind)
        if key not in groups:
            groups[key] = (inside, inside)
            continue
        first, last = groups[key]
        if inside != last + 1:
            closed.append(_group(key, first, last))
            first = inside
        groups[key] = (first, inside)
    folded = [_group(key, first, last) for key, (first, last) in groups.items()]
    return ", ".join([*closed, *folded, *moved])


def _order(port: Any) -> tuple[int, str, int, str]:
    return (
        port["PrivatePort"],
        port.get("IP") or "",
        port.get("PublicPort") or 0,
        port.get("Type", "tcp"),
    )


def _group(key: tuple[str, str], first: int, last: int) -> str:
    address, kind = key
    span = str(first) if first == last else f"{first}-{last}"
    return f"{with_port(address, span)}->{span}/{kind}" if address else f"{span}/{kind}"

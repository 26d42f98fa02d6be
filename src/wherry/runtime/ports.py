"""Which ports a guest serves, whoever knows: for modules that take connections but open no socket.

The bundle's annotation says it. Elsewhere Docker's own record of the container does, which lies
beside files that it mounts into it; else containerd knows the image; else there is PORT.
"""

import contextlib
import os
from collections.abc import Iterable
from typing import Any

import msgspec

from wherry.oci import document
from wherry.oci import runtime as spec
from wherry.ports import parse_range
from wherry.runtime.exits import LaunchError

_MOST = 256
"""Ports of one container; each costs a descriptor in its process."""

_RECORD = "config.v2.json"
_MAX_RECORD = 4 << 20
_BESIDE_RECORD = frozenset({"hostname", "hosts", "resolv.conf"})
"""Files that Docker keeps beside its record of a container and mounts into it."""


class _DockersConfig(msgspec.Struct, rename="pascal"):
    exposed_ports: dict[str, Any] | None = None


class _DockersRecord(msgspec.Struct):
    id: str = msgspec.field(name="ID")
    config: _DockersConfig = msgspec.field(name="Config")


def of_config(config: spec.Spec, identifier: str) -> list[int] | None:
    """TCP ports that the container's bundle tells of, in order; None if it does not.

    Raises LaunchError for an annotation that is none.
    """
    annotation = (config.annotations or {}).get(spec.PORTS)
    if annotation is not None:
        return parse(annotation.replace(",", " ").split())
    exposed = _dockers_ports(config, identifier)
    return None if exposed is None else parse(exposed)


def of_environment(environment: Iterable[str]) -> list[int]:
    """The port that PORT names, if it does."""
    for entry in environment:
        name, _, value = entry.partition("=")
        if name == "PORT" and value.isascii() and value.isdigit() and 0 < int(value[:6]) < 65536:
            return [int(value[:6])]
    return []


def parse(exposed: Iterable[str]) -> list[int]:
    """The TCP ports among `8080/tcp`, `9090`, `9000-9010/tcp` and `53/udp`, in order.

    Raises LaunchError.
    """
    found: set[int] = set()
    for port in exposed:
        numbers, _, protocol = port.partition("/")
        try:
            within = parse_range(numbers)
        except ValueError as error:
            raise LaunchError(str(error)) from None
        if protocol.lower() in ("", "tcp"):
            found.update(within)
        if len(found) > _MOST:
            raise LaunchError(f"more than {_MOST} ports are exposed: a module cannot serve so many")
    return sorted(found)


def _dockers_ports(config: spec.Spec, identifier: str) -> list[str] | None:
    """The exposed and published ports in Docker's record of the container, if it is Docker's."""
    for mount in config.mounts or ():
        folder, name = os.path.split(mount.source)
        if name not in _BESIDE_RECORD or os.path.basename(folder) != identifier:
            continue
        with contextlib.suppress(OSError, document.InvalidDocument):
            with open(f"{folder}/{_RECORD}", "rb") as file:
                content = file.read(_MAX_RECORD + 1)
            record = document.decode(content, _DockersRecord, _RECORD, _MAX_RECORD)
            if record.id == identifier:
                return list(record.config.exposed_ports or ())
    return None

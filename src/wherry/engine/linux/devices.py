"""Devices of this machine that a Linux container is given (OCI config-linux.md, "Devices")."""

import os
import stat
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import msgspec

from wherry.engine.config import DeviceMapping
from wherry.engine.errors import InvalidRequest
from wherry.oci import runtime as oci

_MOST = 512
"""Devices that one container is given; /dev has seldom more than 200."""
_NOT_DEVICES = frozenset({"pts", "shm", "fd", "mqueue", "console", "ptmx", "tty"})
"""What every container has its own of."""
_KINDS = {stat.S_IFCHR: "c", stat.S_IFBLK: "b"}


class Device(msgspec.Struct, kw_only=True, rename="camel", omit_defaults=True):
    """A device node to make (`linux.devices`)."""

    path: str
    type: str
    major: int
    minor: int
    file_mode: int | None = None
    uid: int | None = None
    gid: int | None = None


class DeviceRule(msgspec.Struct, kw_only=True, rename="camel", omit_defaults=True):
    """What the devices cgroup allows of a device; without one, of all."""

    allow: bool | None = None
    type: str = ""
    major: int | None = None
    minor: int | None = None
    access: str = ""


class Given(NamedTuple):
    """A device that was asked for: where it is here, the node to make, what may be done with it."""

    source: str
    node: Device
    rule: DeviceRule

    @property
    def mount(self) -> oci.Mount:
        """It as a mount, for who may make no device nodes; the rule is then nobody's."""
        return oci.Mount(
            destination=self.node.path, type="bind", source=self.source, options=["bind"]
        )


def find_devices(wanted: Sequence[DeviceMapping]) -> list[Given]:
    """What is to be given for `--device`, of a folder all in it. Raises InvalidRequest."""
    found: list[Given] = []
    for mapping in wanted:
        source, target = mapping.path_on_host, mapping.path_in_container or mapping.path_on_host
        access = mapping.cgroup_permissions or "rwm"
        if not source.startswith("/") or not target.startswith("/") or set(access) - set("rwm"):
            raise InvalidRequest(f"--device {source}: write /PATH[:/PATH[:rwm]]")
        paths = [source] if not os.path.isdir(source) else [*_below(source)]
        nodes = [(path, _node(path, target + path.removeprefix(source))) for path in paths]
        given = [Given(path, node, _rule(node, access)) for path, node in nodes if node]
        if not given:
            raise InvalidRequest(f"--device {source}: there is no such device on this machine")
        found += given
    return found[:_MOST]


def all_devices() -> list[Device]:
    """Those of this machine, for a privileged container."""
    return [node for path in _below("/dev") if (node := _node(path, path))][:_MOST]


def _below(folder: str) -> Iterator[str]:
    """What may be a device in a folder; links are left out, for they lead to one as well."""
    for parent, folders, files in os.walk(folder):
        folders[:] = [name for name in folders if name not in _NOT_DEVICES]
        paths = (os.path.join(parent, name) for name in files if name not in _NOT_DEVICES)
        yield from (path for path in paths if not os.path.islink(path))


def _node(path: str, target: str) -> Device | None:
    """The device at `path`, links followed, as the container sees it at `target`."""
    try:
        status = os.stat(path)
    except OSError:
        return None
    kind = _KINDS.get(stat.S_IFMT(status.st_mode))
    if kind is None:
        return None
    return Device(
        path=target,
        type=kind,
        major=os.major(status.st_rdev),
        minor=os.minor(status.st_rdev),
        file_mode=stat.S_IMODE(status.st_mode),
        uid=status.st_uid,
        gid=status.st_gid,
    )


def _rule(node: Device, access: str) -> DeviceRule:
    return DeviceRule(allow=True, type=node.type, major=node.major, minor=node.minor, access=access)

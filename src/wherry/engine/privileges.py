"""What this process may do to the machine: told once, since it does not change."""

from functools import cache
from pathlib import Path

_CAP_SYS_ADMIN = 21
_ALL_IDS = ["0", "0", "4294967295"]


@cache
def may_make_namespaces() -> bool:
    """Whether this process has CAP_SYS_ADMIN, in whichever user namespace it is."""
    status = Path("/proc/self/status").read_text()
    effective = next(line for line in status.splitlines() if line.startswith("CapEff:"))
    return bool(int(effective.split()[1], 16) >> _CAP_SYS_ADMIN & 1)


@cache
def maps_ids() -> bool:
    """Whether this is a user namespace in which ids are not those of the machine."""
    return Path("/proc/self/uid_map").read_text().split() != _ALL_IDS


@cache
def maps_id(kind: str, number: int) -> bool:
    """Whether this user namespace has an id ("uid" or "gid") of that number."""
    for line in Path(f"/proc/self/{kind}_map").read_text().splitlines():
        first, _, size = map(int, line.split())
        if first <= number < first + size:
            return True
    return False

"""Without root: a user namespace in which wherryd, the shim and all containers live.

It is entered before anything else starts, by a process of one thread; from then on everything
goes on as it would for root. In it either one id is mapped (to root), or also the ranges of
/etc/subuid and /etc/subgid where `newuidmap` and `newgidmap` are there. A wherryd that is started
again joins the namespaces of the shim that still lives (user_namespaces(7)).
"""

import os
import shutil
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

_CLONE_NEWNS = 0x00020000
_CLONE_NEWUSER = 0x10000000
_MS_REC = 0x4000
_MS_SLAVE = 1 << 19
_CAP_SYS_ADMIN = 21

_REASONS = (
    ("kernel/unprivileged_userns_clone", "0", "kernel.unprivileged_userns_clone=1"),
    ("user/max_user_namespaces", "0", "user.max_user_namespaces=15000"),
    (
        "kernel/apparmor_restrict_unprivileged_userns",
        "1",
        "kernel.apparmor_restrict_unprivileged_userns=0",
    ),
)


class NamespaceRefused(Exception):
    """The kernel allows no user namespace. The message is one line and says what to do."""


class IdRange(NamedTuple):
    """`size` ids from `first` that a user may hand out (subuid(5))."""

    first: int
    size: int


def needed() -> bool:
    """Whether this process lacks what running containers takes, which a user namespace gives."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("CapEff:"):
            return not int(line.split()[1], 16) >> _CAP_SYS_ADMIN & 1
    return True


def enter(shims: Iterable[int] = ()) -> None:
    """Join the namespaces of the first of `shims` (pids) that lives in some, else make new ones.

    Raises NamespaceRefused.
    """
    for pid in shims:
        if _join(pid):
            return
    user, group = os.geteuid(), os.getegid()
    asked, told = os.pipe()
    helper = _fork_mapper(os.getpid(), user, group, asked, told)
    try:
        _call("unshare", _CLONE_NEWUSER | _CLONE_NEWNS)
    except OSError as error:
        os.close(told)
        os.waitpid(helper, 0)
        raise NamespaceRefused(_explain(error)) from None
    os.write(told, b"!")
    os.close(told)
    os.waitpid(helper, 0)
    try:
        _map_self("uid", user)
        _map_self("gid", group)
        # What the user mounts later appears here too; what is mounted here stays here.
        _call("mount", b"none", b"/", None, _MS_REC | _MS_SLAVE, None)
    except OSError as error:
        raise NamespaceRefused(_explain(error)) from None


def subordinate_ids(table: str, names: Iterable[str]) -> list[IdRange]:
    """The ranges that /etc/subuid or /etc/subgid (its text is `table`) gives one of `names`."""
    wanted = set(names)
    found = []
    for line in table.splitlines():
        owner, _, rest = line.strip().partition(":")
        first, _, size = rest.partition(":")
        if owner in wanted and first.isdecimal() and size.isdecimal() and int(size):
            found.append(IdRange(int(first), int(size)))
    return found


def mapping(own: int, ranges: Iterable[IdRange]) -> list[str]:
    """Arguments for newuidmap(1): `own` becomes 0, the ranges follow from 1 on."""
    words = ["0", str(own), "1"]
    inside = 1
    for first, size in ranges:
        words += [str(inside), str(first), str(size)]
        inside += size
    return words


def _fork_mapper(pid: int, user: int, group: int, asked: int, told: int) -> int:
    """Fork a process that stays outside and maps ranges for `pid` once that has its namespace.

    What it cannot map, `pid` maps by itself afterwards.
    """
    helper = os.fork()
    if helper:
        os.close(asked)
        return helper
    try:
        os.close(told)
        if os.read(asked, 1):
            _map_ranges("newuidmap", "/etc/subuid", pid, user, user)
            _map_ranges("newgidmap", "/etc/subgid", pid, group, user)
    finally:
        os._exit(0)


def _map_ranges(program: str, table: str, pid: int, own: int, user: int) -> None:
    import pwd

    path = shutil.which(program)
    names = [str(user)]
    with suppress(KeyError):
        names.append(pwd.getpwuid(user).pw_name)
    with suppress(OSError):
        ranges = subordinate_ids(Path(table).read_text(), names)
        if path and ranges:
            os.spawnv(os.P_WAIT, path, [program, str(pid), *mapping(own, ranges)])  # noqa: S606


def _map_self(kind: str, own: int) -> None:
    """Map the one id that a process may map for itself, unless ranges are mapped already."""
    path = Path(f"/proc/self/{kind}_map")
    if path.read_text().strip():
        return
    if kind == "gid":
        Path("/proc/self/setgroups").write_text("deny")
    path.write_text(f"0 {own} 1")


def _join(pid: int) -> bool:
    """Enter the namespaces of `pid`; False if it has gone, or has none of its own."""
    opened = []
    try:
        for kind, flag in (("user", _CLONE_NEWUSER), ("mnt", _CLONE_NEWNS)):
            path = f"/proc/{pid}/ns/{kind}"
            if os.stat(path).st_ino == os.stat(f"/proc/self/ns/{kind}").st_ino:
                return False
            opened.append((os.open(path, os.O_RDONLY | os.O_CLOEXEC), flag))
        for fd, flag in opened:
            _call("setns", fd, flag)
    except OSError:
        return False
    finally:
        for fd, _ in opened:
            os.close(fd)
    return True


def _call(name: str, *arguments: object) -> None:
    import ctypes

    libc = ctypes.CDLL(None, use_errno=True)
    if getattr(libc, name)(*arguments) == -1:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), name)


def _explain(error: OSError) -> str:
    what = f"this kernel lets ordinary users make no user namespaces ({error.strerror}): "
    for name, forbidding, remedy in _REASONS:
        with suppress(OSError):
            if Path("/proc/sys", name).read_text().strip() == forbidding:
                return what + f"run wherryd as root, or allow it with 'sudo sysctl {remedy}'"
    return what + "run wherryd as root"

"""System calls that Python does not offer: one thin function each, named as in the kernel.

Each raises OSError with the call's name. Numbers of calls newer than 2019 are the same on every
architecture, so no table is needed for x86-64 and arm64.
"""

import ctypes
import os
import signal
import sys

SYS_OPEN_TREE = 428
SYS_MOVE_MOUNT = 429
SYS_CLONE3 = 435
SYS_CLOSE_RANGE = 436
SYS_OPENAT2 = 437
SYS_MOUNT_SETATTR = 442

CLONE_PIDFD = 0x00001000
CLONE_FILES = 0x00000400
CLONE_PARENT = 0x00008000
CLONE_NEWNS = 0x00020000
CLONE_NEWCGROUP = 0x02000000
CLONE_NEWUTS = 0x04000000
CLONE_NEWIPC = 0x08000000
CLONE_NEWPID = 0x20000000
CLONE_NEWNET = 0x40000000
CLONE_NEWTIME = 0x00000080

MS_RDONLY = 1
MS_NOSUID = 2
MS_NODEV = 4
MS_NOEXEC = 8
MS_SYNCHRONOUS = 16
MS_DIRSYNC = 128
MS_NOATIME = 1024
MS_NODIRATIME = 2048
MS_BIND = 4096
MS_REC = 16384
MS_SLAVE = 1 << 19
MS_RELATIME = 1 << 21
MS_STRICTATIME = 1 << 24

OPEN_TREE_CLONE = 1
MOVE_MOUNT_F_EMPTY_PATH = 0x04
MOVE_MOUNT_T_EMPTY_PATH = 0x40

MNT_DETACH = 2
UMOUNT_NOFOLLOW = 8

RESOLVE_NO_MAGICLINKS = 0x02
RESOLVE_NO_SYMLINKS = 0x04
RESOLVE_IN_ROOT = 0x10

MOUNT_ATTR_RDONLY = 0x01
MOUNT_ATTR_NOSUID = 0x02
MOUNT_ATTR_NODEV = 0x04
MOUNT_ATTR_NOEXEC = 0x08
AT_RECURSIVE = 0x8000

PR_SET_PDEATHSIG = 1
PR_SET_NAME = 15
PR_SET_CHILD_SUBREAPER = 36

_libc = ctypes.CDLL(None, use_errno=True)
_syscall = _libc.syscall
_syscall.restype = ctypes.c_long


class _CloneArgs(ctypes.Structure):
    _fields_ = [
        (name, ctypes.c_uint64)
        for name in (
            "flags",
            "pidfd",
            "child_tid",
            "parent_tid",
            "exit_signal",
            "stack",
            "stack_size",
            "tls",
            "set_tid",
            "set_tid_size",
            "cgroup",
        )
    ]


class _OpenHow(ctypes.Structure):
    _fields_ = [(name, ctypes.c_uint64) for name in ("flags", "mode", "resolve")]


class _MountAttr(ctypes.Structure):
    _fields_ = [(name, ctypes.c_uint64) for name in ("set", "clr", "propagation", "userns_fd")]


def _check(result: int, call: str, path: str | None = None) -> int:
    if result < 0:
        number = ctypes.get_errno()
        detail = f"{call}: {os.strerror(number)}"
        if path is None:
            raise OSError(number, detail)
        raise OSError(number, detail, path)
    return result


def clone3(flags: int) -> tuple[int, int]:
    """Fork with `flags`; returns (0, -1) in the child and (pid, pidfd) in the caller.

    Unlike os.fork this runs no fork handlers of Python or of the C library: both sides must be
    single-threaded. With CLONE_PARENT the child is a child of the caller's parent.
    """
    pidfd = ctypes.c_int(-1)
    # With CLONE_PARENT the kernel takes the caller's own, and wants none here.
    exit_signal = 0 if flags & CLONE_PARENT else signal.SIGCHLD
    args = _CloneArgs(
        flags=flags | CLONE_PIDFD, pidfd=ctypes.addressof(pidfd), exit_signal=exit_signal
    )
    pid = _check(_syscall(SYS_CLONE3, ctypes.byref(args), ctypes.sizeof(args)), "clone3")
    return pid, pidfd.value if pid else -1


def unshare(flags: int) -> None:
    """unshare(2)."""
    _check(_libc.unshare(flags), "unshare")


def setns(fd: int, kind: int) -> None:
    """setns(2)."""
    _check(_libc.setns(fd, kind), "setns")


def mount(source: str, target: str, kind: str, flags: int, data: str = "") -> None:
    """mount(2)."""
    _check(
        _libc.mount(
            os.fsencode(source),
            os.fsencode(target),
            os.fsencode(kind) if kind else None,
            ctypes.c_ulong(flags),
            os.fsencode(data) if data else None,
        ),
        "mount",
        target,
    )


def umount2(target: str, flags: int) -> None:
    """umount2(2)."""
    _check(_libc.umount2(os.fsencode(target), flags), "umount", target)


def pivot_root(new_root: str, put_old: str) -> None:
    """pivot_root(2)."""
    _check(_libc.pivot_root(os.fsencode(new_root), os.fsencode(put_old)), "pivot_root", new_root)


def sethostname(name: str) -> None:
    """sethostname(2)."""
    encoded = os.fsencode(name)
    _check(_libc.sethostname(encoded, len(encoded)), "sethostname")


def setdomainname(name: str) -> None:
    """setdomainname(2)."""
    encoded = os.fsencode(name)
    _check(_libc.setdomainname(encoded, len(encoded)), "setdomainname")


def prctl(option: int, argument: int | bytes) -> None:
    """prctl(2) with one argument."""
    value: object = argument if isinstance(argument, bytes) else ctypes.c_ulong(argument)
    _check(_libc.prctl(option, value, 0, 0, 0), "prctl")


def openat2(directory: int, path: str, flags: int, resolve: int, mode: int = 0) -> int:
    """openat2(2): open `path` with the kernel's own limits on how it resolves. Close-on-exec."""
    how = _OpenHow(flags=flags | os.O_CLOEXEC, mode=mode, resolve=resolve)
    return _check(
        _syscall(SYS_OPENAT2, directory, os.fsencode(path), ctypes.byref(how), ctypes.sizeof(how)),
        "openat2",
        path,
    )


def fstatfs_type(descriptor: int) -> int:
    """The kind of file system that a file is on: `f_type` of fstatfs(2), such as 0x6969 for NFS."""
    answer = ctypes.create_string_buffer(256)  # struct statfs has 120 bytes and begins with it
    _check(_libc.fstatfs(descriptor, answer), "fstatfs")
    return int.from_bytes(answer.raw[:8], sys.byteorder)


def close_range(first: int, last: int) -> None:
    """Close every descriptor from `first` to `last`, both included."""
    if first <= last:
        _check(_syscall(SYS_CLOSE_RANGE, first, last, 0), "close_range")


def open_tree(path: str, flags: int) -> int:
    """open_tree(2): open a mount; with OPEN_TREE_CLONE a new one, at no place. Close-on-exec."""
    return _check(
        _syscall(SYS_OPEN_TREE, -100, os.fsencode(path), flags | os.O_CLOEXEC), "open_tree", path
    )


def move_mount(mount: int, target: int) -> None:
    """move_mount(2): put the mount that is open as `mount` on what is open as `target`."""
    flags = MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH
    _check(_syscall(SYS_MOVE_MOUNT, mount, b"", target, b"", flags), "move_mount")


def mount_setattr(path: str, set_flags: int, *, recursive: bool) -> None:
    """mount_setattr(2): set attributes on a mount, or with `recursive` on all beneath it too."""
    attributes = _MountAttr(set=set_flags)
    _check(
        _syscall(
            SYS_MOUNT_SETATTR,
            -100,  # AT_FDCWD
            os.fsencode(path),
            AT_RECURSIVE if recursive else 0,
            ctypes.byref(attributes),
            ctypes.sizeof(attributes),
        ),
        "mount_setattr",
        path,
    )

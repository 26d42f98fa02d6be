"""The seccomp filter of a container process: a classic BPF program (seccomp(2)).

It lets through what an interpreter with wasmtime in it calls once the sandbox stands: files beneath
its root, memory, threads, clocks, and sockets if the module imports them. Everything else answers
EPERM; calls newer than this file answer ENOSYS, so that the C library takes an older one. There is
no fork and no execve: a container is one process, into which no library is loaded any more. One
that is to become a program of the host's (`engines.host`) may execute what it holds open, by
execveat(2), and no path.

`build` is for before the fork (it takes most of a millisecond), `install` for the child.
"""

import ctypes
import errno
import mmap
import os
import socket
import struct
from collections.abc import Mapping

from wherry.runtime.sandbox.syscall_numbers import NUMBERS

_FILES = """
    read write readv writev pread64 pwrite64 preadv pwritev preadv2 pwritev2 close close_range
    open openat openat2 stat lstat fstat newfstatat statx statfs fstatfs lseek access faccessat
    faccessat2 readlink readlinkat getcwd getdents64 ftruncate fallocate fadvise64 readahead fsync
    fdatasync sync_file_range fcntl flock dup dup2 dup3 umask mkdir mkdirat rmdir unlink unlinkat
    rename renameat renameat2 link linkat symlink symlinkat utimensat chmod fchmod fchmodat
    fchmodat2 truncate copy_file_range sendfile pipe pipe2
"""
_MEMORY = """
    mmap munmap mprotect mremap madvise msync mincore brk memfd_create membarrier
"""
_WAITING = """
    poll ppoll select pselect6 epoll_create1 epoll_ctl epoll_wait epoll_pwait epoll_pwait2
    eventfd2 timerfd_create timerfd_settime timerfd_gettime nanosleep clock_nanosleep pause
"""
_THREADS = """
    futex futex_waitv set_robust_list get_robust_list rseq set_tid_address gettid sched_yield
    sched_getaffinity getcpu exit exit_group wait4 waitid restart_syscall
"""
_SIGNALS = """
    rt_sigaction rt_sigprocmask rt_sigreturn rt_sigpending rt_sigsuspend rt_sigtimedwait
    sigaltstack tgkill
"""
_SELF = """
    getpid getppid getpgid getpgrp getsid getuid geteuid getgid getegid getresuid getresgid
    getgroups getrlimit getrusage getpriority times uname sysinfo
"""
_TIME = """
    clock_gettime clock_getres gettimeofday time getrandom
"""
_STREAMS = """
    sendto sendmsg sendmmsg recvfrom recvmsg recvmmsg shutdown getsockname getpeername getsockopt
    setsockopt
"""
"""For descriptors that are sockets already, as standard input and output may be."""

_ALLOWED = "".join((_FILES, _MEMORY, _WAITING, _THREADS, _SIGNALS, _SELF, _TIME, _STREAMS)).split()

_CHECKED = ("clone", "clone3", "ioctl", "prctl", "prlimit64", "socket", "socketpair")
"""Each has a label of its own, where its arguments are looked at."""

_CHECKED_UNLESS_STARTING = ("mmap",)
"""Code that is mapped is a library's: wasmtime maps its own as data and protects it afterwards."""

_CHECKED_WHEN_STARTING = ("execveat", "arch_prctl")
"""The same, for what starts a program. A C library sets its thread's register by the second."""

_ALLOWED_WITH_SOCKETS = ("bind", "listen", "accept", "accept4", "connect")

_IOCTLS = (
    0x5401,  # TCGETS: isatty
    0x5402,  # TCSETS, TCSETSW, TCSETSF: raw mode
    0x5403,
    0x5404,
    0x540F,  # TIOCGPGRP
    0x5413,  # TIOCGWINSZ
    0x541B,  # FIONREAD
    0x5421,  # FIONBIO
    0x5450,  # FIONCLEX
    0x5451,  # FIOCLEX
    0x802C542A,  # TCGETS2, which newer C libraries use for isatty
)

_ARCH_SET_FS = 0x1002
_AT_EMPTY_PATH = 0x1000

_PRCTLS = (
    15,  # PR_SET_NAME, of threads
    16,  # PR_GET_NAME
    0x53564D41,  # PR_SET_VMA: names of mappings
)

_CLONE_THREAD = 0x00010000
_CLONE_NAMESPACES = 0x7E020000

_ARCHITECTURES = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
"""AUDIT_ARCH_… by uname's machine; the value's place is the column in NUMBERS."""

_NEWEST = 450
"""The newest call that is the same everywhere and known here; x32's all lie above as well."""

_RET_KILL_PROCESS = 0x80000000
_RET_ALLOW = 0x7FFF0000
_RET_ERRNO = 0x00050000

# The fields of struct seccomp_data.
_NUMBER = 0
_ARCHITECTURE = 4

_LOAD = 0x20  # BPF_LD | BPF_W | BPF_ABS
_AND = 0x54  # BPF_ALU | BPF_AND | BPF_K
_IF_EQUAL = 0x15  # BPF_JMP | BPF_JEQ | BPF_K
_IF_AT_LEAST = 0x35  # BPF_JMP | BPF_JGE | BPF_K
_IF_ANY_BIT = 0x45  # BPF_JMP | BPF_JSET | BPF_K
_RETURN = 0x06  # BPF_RET | BPF_K

_SYS_SECCOMP = {"x86_64": 317, "aarch64": 277}
_SECCOMP_SET_MODE_FILTER = 1
_SECCOMP_FILTER_FLAG_TSYNC = 1
# Without it kernels before 5.16 slow the whole process down, against an attack on itself.
_SECCOMP_FILTER_FLAG_SPEC_ALLOW = 4


_syscall = ctypes.CDLL(None, use_errno=True).syscall


class _Assembler:
    """Instructions whose jumps name labels that come later."""

    def __init__(self) -> None:
        self._code: list[tuple[int, str, str, int]] = []
        self._labels: dict[str, int] = {}

    def emit(self, operation: int, value: int, then: str = "", otherwise: str = "") -> None:
        """Append an instruction; an empty label is the next one."""
        self._code.append((operation, then, otherwise, value))

    def label(self, name: str) -> None:
        """Give the next instruction a name."""
        self._labels[name] = len(self._code)

    def assemble(self) -> bytes:
        """Return the array of struct sock_filter."""
        return b"".join(
            struct.pack("<HBBI", operation, self._jump(at, then), self._jump(at, otherwise), value)
            for at, (operation, then, otherwise, value) in enumerate(self._code)
        )

    def _jump(self, at: int, label: str) -> int:
        distance = self._labels[label] - at - 1 if label else 0
        if not 0 <= distance <= 255:
            raise ValueError(
                f"seccomp: {label} is {distance} instructions away, a jump reaches 255"
            )
        return distance


def build(
    allow_sockets: bool, machine: str | None = None, *, becomes_program: bool = False
) -> bytes:
    """Return the filter for `machine` (uname's word; this one's if None).

    With `allow_sockets` the process may make sockets for TCP and UDP, else none. With
    `becomes_program` it may execute a file that it has a descriptor of. Raises OSError on an
    architecture that is neither x86-64 nor arm64.
    """
    machine, column = _column(machine)
    actions = {name: name for name in _CHECKED}
    actions.update((name, "allow") for name in _ALLOWED)
    if allow_sockets:
        actions.update((name, "allow") for name in _ALLOWED_WITH_SOCKETS)
    checked = _CHECKED_WHEN_STARTING if becomes_program else _CHECKED_UNLESS_STARTING
    actions.update((name, name) for name in checked)
    numbered = {NUMBERS[name][column]: action for name, action in actions.items()}
    program = _begin(machine, numbered)

    program.label("mmap")
    program.emit(_LOAD, _argument(2))
    program.emit(_IF_ANY_BIT, mmap.PROT_EXEC, then="refuse", otherwise="allow")
    program.label("clone")
    program.emit(_LOAD, _argument(0))
    program.emit(_IF_ANY_BIT, _CLONE_NAMESPACES, then="refuse")
    program.emit(_IF_ANY_BIT, _CLONE_THREAD, then="allow", otherwise="refuse")
    program.label("ioctl")
    _allow_values(program, 1, _IOCTLS)
    program.label("prctl")
    _allow_values(program, 0, _PRCTLS)
    program.label("prlimit64")
    _allow_values(program, 0, (0,))
    program.label("execveat")
    _allow_values(program, 4, (_AT_EMPTY_PATH,))
    program.label("arch_prctl")
    _allow_values(program, 0, (_ARCH_SET_FS,))
    program.label("socketpair")
    # Tokio wakes itself through one of streams. One of datagrams could send to any socket that has
    # a name in its network namespace, which may be the host's.
    program.emit(_LOAD, _argument(0))
    program.emit(_IF_EQUAL, socket.AF_UNIX, otherwise="refuse")
    program.emit(_LOAD, _argument(1))
    program.emit(_AND, 0xF)
    program.emit(_IF_EQUAL, socket.SOCK_STREAM, then="allow", otherwise="refuse")
    program.label("socket")
    if allow_sockets:
        _allow_internet(program)
    else:
        program.emit(_RETURN, _RET_ERRNO | errno.EPERM)

    program.label("allow")
    program.emit(_RETURN, _RET_ALLOW)
    program.label("refuse")
    program.emit(_RETURN, _RET_ERRNO | errno.EPERM)
    # clone3 keeps its flags in memory, where a filter cannot look: the C library then takes clone.
    program.label("clone3")
    program.label("unknown")
    program.emit(_RETURN, _RET_ERRNO | errno.ENOSYS)
    program.label("family")
    program.emit(_RETURN, _RET_ERRNO | errno.EAFNOSUPPORT)
    program.label("kill")
    program.emit(_RETURN, _RET_KILL_PROCESS)
    return program.assemble()


_FOR_WAITING = f"""
    {_SIGNALS} {_MEMORY} {_THREADS} recvfrom sendmsg getsockname getsockopt close
""".split()
"""What an interpreter calls that waits for a byte, for signals and for children."""


def build_for_waiting(machine: str | None = None) -> bytes:
    """Return the filter of a process that only waits. Raises OSError as `build` does."""
    machine, column = _column(machine)
    numbered = {NUMBERS[name][column]: "allow" for name in _FOR_WAITING}
    program = _begin(machine, numbered)
    program.label("allow")
    program.emit(_RETURN, _RET_ALLOW)
    program.label("refuse")
    program.emit(_RETURN, _RET_ERRNO | errno.EPERM)
    program.label("unknown")
    program.emit(_RETURN, _RET_ERRNO | errno.ENOSYS)
    program.label("kill")
    program.emit(_RETURN, _RET_KILL_PROCESS)
    return program.assemble()


def _column(machine: str | None) -> tuple[str, int]:
    """The machine, this one if None, and its column in NUMBERS."""
    machine = machine or os.uname().machine
    if machine not in _ARCHITECTURES:
        raise OSError(errno.ENOSYS, f"seccomp: no table of system calls for {machine}")
    return machine, list(_ARCHITECTURES).index(machine)


def _begin(machine: str, numbered: Mapping[int | None, str]) -> _Assembler:
    """A program that has found the action of the call's number."""
    program = _Assembler()
    program.emit(_LOAD, _ARCHITECTURE)
    program.emit(_IF_EQUAL, _ARCHITECTURES[machine], otherwise="kill")
    program.emit(_LOAD, _NUMBER)
    _search(program, _spans(numbered))
    return program


def install(program: bytes) -> None:
    """Filter all threads of this process from now on, for good.

    Needs no_new_privs (or CAP_SYS_ADMIN). Raises OSError.
    """
    code = ctypes.create_string_buffer(program, len(program))
    # struct sock_fprog
    header = ctypes.create_string_buffer(
        struct.pack("@HP", len(program) // 8, ctypes.addressof(code))
    )
    result = _syscall(
        ctypes.c_long(_SYS_SECCOMP[os.uname().machine]),
        ctypes.c_ulong(_SECCOMP_SET_MODE_FILTER),
        ctypes.c_ulong(_SECCOMP_FILTER_FLAG_TSYNC | _SECCOMP_FILTER_FLAG_SPEC_ALLOW),
        header,
    )
    if result > 0:
        raise OSError(errno.EBUSY, f"seccomp: thread {result} has a filter of its own")
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"seccomp: {os.strerror(number)}")


def _spans(numbered: Mapping[int | None, str]) -> list[tuple[int, str]]:
    """Cut the numbers of calls into spans of one action each: (first number, action)."""
    spans = [(0, numbered.get(0, "refuse"))]
    for number in range(1, max(_NEWEST, *(n for n in numbered if n is not None)) + 2):
        action = numbered.get(number, "refuse" if number <= _NEWEST else "unknown")
        if action != spans[-1][1]:
            spans.append((number, action))
    return spans


def _search(program: _Assembler, spans: list[tuple[int, str]]) -> None:
    """Find the span of the number loaded by halving; the kernel tries each number at install."""
    left, right = spans[: len(spans) // 2], spans[len(spans) // 2 :]
    start = right[0][0]
    program.emit(
        _IF_AT_LEAST,
        start,
        then=right[0][1] if len(right) == 1 else f"from {start}",
        otherwise=left[0][1] if len(left) == 1 else "",
    )
    if len(left) > 1:
        _search(program, left)
    if len(right) > 1:
        program.label(f"from {start}")
        _search(program, right)


def _argument(index: int) -> int:
    """The lower half of an argument, where it lies on a little-endian machine."""
    return 16 + 8 * index


def _allow_values(program: _Assembler, argument: int, values: tuple[int, ...]) -> None:
    program.emit(_LOAD, _argument(argument))
    for value in values:
        program.emit(_IF_EQUAL, value, then="allow")
    program.emit(_RETURN, _RET_ERRNO | errno.EPERM)


def _allow_internet(program: _Assembler) -> None:
    """TCP and UDP over IPv4 and IPv6: no raw sockets, no SCTP, no netlink."""
    program.emit(_LOAD, _argument(0))
    program.emit(_IF_EQUAL, socket.AF_INET, then="type")
    program.emit(_IF_EQUAL, socket.AF_INET6, then="type", otherwise="family")
    program.label("type")
    program.emit(_LOAD, _argument(1))
    program.emit(_AND, 0xF)
    program.emit(_IF_EQUAL, socket.SOCK_STREAM, then="protocol")
    program.emit(_IF_EQUAL, socket.SOCK_DGRAM, then="protocol", otherwise="refuse")
    program.label("protocol")
    program.emit(_LOAD, _argument(2))
    program.emit(_IF_EQUAL, 0, then="allow")
    program.emit(_IF_EQUAL, socket.IPPROTO_TCP, then="allow")
    program.emit(_IF_EQUAL, socket.IPPROTO_UDP, then="allow", otherwise="refuse")

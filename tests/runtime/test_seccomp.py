"""The seccomp filter: what it answers, by interpreting it, and what the kernel then does."""

import errno
import json
import os
import platform
import struct
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from wherry.runtime.sandbox import seccomp
from wherry.runtime.sandbox.syscall_numbers import NUMBERS

ALLOW = 0x7FFF0000
KILL = 0x80000000
EPERM = 0x00050000 | errno.EPERM
ENOSYS = 0x00050000 | errno.ENOSYS
EAFNOSUPPORT = 0x00050000 | errno.EAFNOSUPPORT

ARCHITECTURES = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
I386 = 0x40000003

# (x86-64, arm64), from the kernel's tables.
FORBIDDEN = {
    "mount": (165, 40),
    "umount2": (166, 39),
    "pivot_root": (155, 41),
    "chroot": (161, 51),
    "ptrace": (101, 117),
    "unshare": (272, 97),
    "setns": (308, 268),
    "keyctl": (250, 219),
    "add_key": (248, 217),
    "request_key": (249, 218),
    "bpf": (321, 280),
    "io_uring_setup": (425, 425),
    "io_uring_enter": (426, 426),
    "io_uring_register": (427, 427),
    "process_vm_readv": (310, 270),
    "process_vm_writev": (311, 271),
    "kexec_load": (246, 104),
    "open_by_handle_at": (304, 265),
    "perf_event_open": (298, 241),
    "userfaultfd": (323, 282),
    "execve": (59, 221),
    "execveat": (322, 281),
    "init_module": (175, 105),
    "finit_module": (313, 273),
    "reboot": (169, 142),
    "swapon": (167, 224),
    "settimeofday": (164, 170),
    "personality": (135, 92),
    "setuid": (105, 146),
    "setgid": (106, 144),
    "capset": (126, 91),
    "mknodat": (259, 33),
    "fchownat": (260, 54),
    "acct": (163, 89),
    "quotactl": (179, 60),
    "kill": (62, 129),
    "tkill": (200, 130),
    "pidfd_open": (434, 434),
    "pidfd_getfd": (438, 438),
    "pidfd_send_signal": (424, 424),
    "move_mount": (429, 429),
    "open_tree": (428, 428),
    "fsopen": (430, 430),
    "mount_setattr": (442, 442),
    "seccomp": (317, 277),
    "memfd_secret": (447, 447),
    "process_madvise": (440, 440),
    "setxattr": (188, 5),
    "shmget": (29, 194),
    "mq_open": (240, 180),
    "fanotify_init": (300, 262),
    "inotify_init1": (294, 26),
    "sethostname": (170, 161),
    "vhangup": (153, 58),
}


def answer(program: bytes, arch: int, number: int, *arguments: int) -> int:
    """Interpret a filter for one call, as the kernel does."""
    data = struct.pack("<IIQ6Q", number, arch, 0, *(*arguments, *[0] * 6)[:6])
    code = list(struct.iter_unpack("<HBBI", program))
    at = accumulator = 0
    while True:
        operation, then, otherwise, value = code[at]
        at += 1
        if operation == 0x20:
            accumulator = struct.unpack_from("<I", data, value)[0]
        elif operation == 0x54:
            accumulator &= value
        elif operation == 0x06:
            assert isinstance(value, int)
            return value
        else:
            met = {
                0x15: accumulator == value,
                0x35: accumulator >= value,
                0x45: bool(accumulator & value),
            }[operation]
            at += then if met else otherwise


Ask = Callable[..., int]


@pytest.fixture(params=list(ARCHITECTURES))
def machine(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def asker(machine: str, *, allow_sockets: bool = False) -> Ask:
    program = seccomp.build(allow_sockets=allow_sockets, machine=machine)
    column = list(ARCHITECTURES).index(machine)

    def ask(call: str, *arguments: int) -> int:
        number = NUMBERS[call][column] if call in NUMBERS else FORBIDDEN[call][column]
        assert number is not None
        return answer(program, ARCHITECTURES[machine], number, *arguments)

    return ask


@pytest.mark.parametrize("call", FORBIDDEN)
def test_what_breaks_out_is_refused(machine: str, call: str) -> None:
    assert asker(machine)(call) == EPERM
    assert asker(machine, allow_sockets=True)(call) == EPERM


@pytest.mark.parametrize(
    "call", ["read", "openat", "mmap", "mprotect", "futex", "epoll_ctl", "clock_gettime", "statx"]
)
def test_what_an_interpreter_needs_is_allowed(machine: str, call: str) -> None:
    assert asker(machine)(call) == ALLOW


def test_no_code_is_mapped_but_by_what_becomes_a_program(machine: str) -> None:
    """A library is: wasmtime's own code is made executable where it lies."""
    read, write, execute = 1, 2, 4
    for sockets in (False, True):
        ask = asker(machine, allow_sockets=sockets)
        assert ask("mmap", 0, 4096, read | write) == ALLOW
        assert ask("mmap", 0, 4096, read | execute) == EPERM
        assert ask("mprotect", 0, 4096, read | execute) == ALLOW
    program = seccomp.build(allow_sockets=False, machine=machine, becomes_program=True)
    number = NUMBERS["mmap"][list(ARCHITECTURES).index(machine)]
    assert number is not None
    assert answer(program, ARCHITECTURES[machine], number, 0, 4096, read | execute) == ALLOW


def test_what_becomes_a_program_executes_by_a_descriptor_only(machine: str) -> None:
    program = seccomp.build(allow_sockets=True, machine=machine, becomes_program=True)
    column = list(ARCHITECTURES).index(machine)

    def ask(name: str, *arguments: int) -> int:
        return answer(program, ARCHITECTURES[machine], FORBIDDEN[name][column], *arguments)

    assert ask("execveat", 7, 0, 0, 0, 0x1000) == ALLOW  # AT_EMPTY_PATH
    for flags in (0, 0x100, 0x1100):
        assert ask("execveat", 7, 0, 0, 0, flags) == EPERM
    for name in FORBIDDEN.keys() - {"execveat"}:
        assert ask(name, 0, 0, 0, 0, 0x1000) == EPERM


def test_exactly_the_named_calls_pass_whatever_their_number(machine: str) -> None:
    program = seccomp.build(allow_sockets=False, machine=machine)
    column = list(ARCHITECTURES).index(machine)
    checked = {"clone", "clone3", "ioctl", "mmap", "prctl", "prlimit64", "socket", "socketpair"}
    with_sockets = {"bind", "listen", "accept", "accept4", "connect"}
    others = checked | with_sockets | {"execveat", "arch_prctl"}
    allowed = {NUMBERS[name][column] for name in NUMBERS.keys() - others}
    skipped = {NUMBERS[name][column] for name in checked}
    for number in range(1024):
        if number not in skipped:
            found = answer(program, ARCHITECTURES[machine], number)
            assert (found == ALLOW) == (number in allowed), number


def test_another_architecture_is_killed(machine: str) -> None:
    program = seccomp.build(allow_sockets=True, machine=machine)
    for arch in {*ARCHITECTURES.values(), I386, 0} - {ARCHITECTURES[machine]}:
        assert answer(program, arch, NUMBERS["read"][0]) == KILL


def test_x32_and_calls_not_invented_yet_do_not_exist(machine: str) -> None:
    program = seccomp.build(allow_sockets=True, machine=machine)
    for number in (451, 460, 511, 1000, 0x40000000, 0x40000001, 0x4000003B, 0xFFFFFFFF):
        assert answer(program, ARCHITECTURES[machine], number) == ENOSYS


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        (0x3D0F00, ALLOW),  # what pthread_create says
        (0x11, EPERM),  # fork: SIGCHLD
        (0x4111, EPERM),  # vfork
        (0x3D0F00 | 0x10000000, EPERM),  # CLONE_NEWUSER
        (0x3D0F00 | 0x40000000, EPERM),  # CLONE_NEWNET
        (0x3D0F00 | 0x00020000, EPERM),  # CLONE_NEWNS
        (0x3D0F00 | 0x02000000, EPERM),  # CLONE_NEWCGROUP
    ],
)
def test_clone_makes_threads_only(machine: str, flags: int, expected: int) -> None:
    assert asker(machine)("clone", flags) == expected


def test_clone3_does_not_exist_so_that_clone_is_taken(machine: str) -> None:
    assert asker(machine)("clone3") == ENOSYS


@pytest.mark.parametrize(
    ("request_", "expected"),
    [(0x5401, ALLOW), (0x5413, ALLOW), (0x5421, ALLOW), (0x5412, EPERM), (0x541C, EPERM)],
)
def test_ioctls_ask_terminals_but_never_type_into_them(
    machine: str, request_: int, expected: int
) -> None:
    assert asker(machine)("ioctl", 0, request_) == expected
    assert asker(machine)("ioctl", 0, request_ | 1 << 32) == expected


def test_limits_are_read_and_set_for_oneself_only(machine: str) -> None:
    assert asker(machine)("prlimit64", 0) == ALLOW
    assert asker(machine)("prlimit64", 1) == EPERM


def test_prctl_names_threads_and_nothing_else(machine: str) -> None:
    assert asker(machine)("prctl", 15) == ALLOW
    assert asker(machine)("prctl", 22) == EPERM  # PR_SET_SECCOMP
    assert asker(machine)("prctl", 4) == EPERM  # PR_SET_DUMPABLE


def test_no_sockets_without_leave_but_a_pair_to_wake_oneself(machine: str) -> None:
    ask = asker(machine)
    for family in (1, 2, 10, 16, 17, 40):
        assert ask("socket", family, 1, 0) == EPERM
    for call in ("connect", "bind", "listen", "accept4"):
        assert ask(call) == EPERM
    assert ask("socketpair", 1, 1 | 0x80800, 0) == ALLOW
    assert ask("socketpair", 2, 1, 0) == EPERM


@pytest.mark.parametrize("kind", [2, 2 | 0x80000, 3, 5])
def test_a_pair_is_of_streams_for_one_of_datagrams_sends_to_whom_it_likes(
    machine: str, kind: int
) -> None:
    assert asker(machine, allow_sockets=True)("socketpair", 1, kind, 0) == EPERM


@pytest.mark.parametrize(
    ("family", "kind", "protocol", "expected"),
    [
        (2, 1, 0, ALLOW),
        (10, 1, 6, ALLOW),
        (2, 2 | 0x80800, 17, ALLOW),  # SOCK_CLOEXEC | SOCK_NONBLOCK
        (2, 3, 1, EPERM),  # SOCK_RAW, ICMP
        (2, 1, 132, EPERM),  # SCTP
        (2, 5, 0, EPERM),  # SOCK_SEQPACKET
        (1, 1, 0, EAFNOSUPPORT),  # AF_UNIX
        (16, 3, 0, EAFNOSUPPORT),  # AF_NETLINK
        (17, 3, 0, EAFNOSUPPORT),  # AF_PACKET
        (40, 1, 0, EAFNOSUPPORT),  # AF_VSOCK
        (38, 5, 0, EAFNOSUPPORT),  # AF_ALG
    ],
)
def test_with_leave_sockets_are_tcp_and_udp(
    machine: str, family: int, kind: int, protocol: int, expected: int
) -> None:
    assert asker(machine, allow_sockets=True)("socket", family, kind, protocol) == expected
    assert asker(machine, allow_sockets=True)("connect") == ALLOW


def test_an_architecture_without_a_table_is_said_so() -> None:
    with pytest.raises(OSError, match="no table of system calls for riscv64"):
        seccomp.build(allow_sockets=False, machine="riscv64")


def test_without_no_new_privileges_the_kernel_refuses_and_is_quoted() -> None:
    # As an ordinary user: root may install a filter either way.
    script = (
        "import os\n"
        "if os.geteuid() == 0: os.setresuid(65534, 65534, 65534)\n"
        "from wherry.runtime.sandbox import seccomp\n"
        "try: seccomp.install(seccomp.build(allow_sockets=False))\n"
        "except OSError as error: print(error)\n"
    )
    preloaded = "import wherry.runtime.sandbox.seccomp, wherry.runtime.sandbox.syscall_numbers\n"
    assert "seccomp: Permission denied" in run(preloaded + script)


# --- the kernel's own answers -------------------------------------------------------------------

FILTERED = """
import ctypes, errno, json, os, sys
from wherry.runtime.sandbox import capabilities, seccomp
libc = ctypes.CDLL(None, use_errno=True)
program = seccomp.build(allow_sockets=%s)
def filtered():
    capabilities.set_no_new_privs()
    seccomp.install(program)
def call(number, *arguments):
    ctypes.set_errno(0)
    result = libc.syscall(ctypes.c_long(number), *(ctypes.c_long(a) for a in arguments))
    return errno.errorcode[ctypes.get_errno()] if result == -1 else "went through"
"""


def run(script: str) -> str:
    """Run a script in an interpreter of its own, with capabilities as they are."""
    environment = {**os.environ, "PYTHONPATH": str(Path(seccomp.__file__).parents[3])}
    done = subprocess.run(
        [sys.executable, "-c", script],
        capture_output=True,
        text=True,
        timeout=60,
        env=environment,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


native = pytest.mark.skipif(
    platform.machine() not in ARCHITECTURES, reason="no filter for this architecture"
)


@native
def test_the_kernel_refuses_what_the_filter_refuses() -> None:
    column = list(ARCHITECTURES).index(platform.machine())
    numbers = {name: pair[column] for name, pair in FORBIDDEN.items()}
    script = FILTERED % False + (
        f"numbers = {numbers!r}\n"
        "filtered()\n"
        "answers = {name: call(number, 0, 0, 0, 0, 0) for name, number in numbers.items()}\n"
        "answers['TIOCSTI'] = call({ioctl}, 0, 0x5412, 0)\n"
        "answers['fork'] = call({clone}, 17, 0, 0, 0, 0)\n"
        "answers['socket'] = call({socket}, 2, 1, 0)\n"
        "print(json.dumps(answers))\n"
    ).replace("{ioctl}", str(NUMBERS["ioctl"][column])).replace(
        "{clone}", str(NUMBERS["clone"][column])
    ).replace("{socket}", str(NUMBERS["socket"][column]))
    answers = json.loads(run(script))
    assert answers == dict.fromkeys([*FORBIDDEN, "TIOCSTI", "fork", "socket"], "EPERM")


@native
def test_all_threads_are_filtered_not_only_the_one_that_asked() -> None:
    script = FILTERED % False + (
        "import threading\n"
        "go, answers = threading.Event(), []\n"
        "def other():\n"
        "    go.wait()\n"
        "    try: os.fork()\n"
        "    except OSError as error: answers.append(error.errno)\n"
        "thread = threading.Thread(target=other)\n"
        "thread.start()\n"
        "filtered()\n"
        "go.set()\n"
        "thread.join()\n"
        "print(answers)\n"
    )
    assert json.loads(run(script)) == [errno.EPERM]


@native
def test_an_interpreter_goes_on_working(tmp_path: Path) -> None:
    script = FILTERED % True + (
        "import encodings.idna, mmap, random, select, signal, socket, threading, time\n"
        f"os.chdir({str(tmp_path)!r})\n"
        "filtered()\n"
        "done = []\n"
        "thread = threading.Thread(target=lambda: done.append(1)); thread.start(); thread.join()\n"
        "assert done\n"
        "signal.signal(signal.SIGUSR1, lambda *_: done.append(2))\n"
        "signal.raise_signal(signal.SIGUSR1); assert done == [1, 2]\n"
        "with open('a', 'w') as file: file.write('x'); file.flush(); os.fsync(file.fileno())\n"
        "os.rename('a', 'b'); os.symlink('b', 'c'); os.readlink('c'); os.link('b', 'd')\n"
        "os.mkdir('e', 0o700); os.utime('b', (1, 2)); os.truncate('b', 9); os.chmod('b', 0o600)\n"
        "os.listdir('.'); os.rmdir('e'); os.unlink('c'); os.stat('b'); os.statvfs('.')\n"
        "memory = mmap.mmap(-1, 1 << 20); memory[0] = 1; memory.close()\n"
        "epoll = select.epoll(); reader, writer = os.pipe(); epoll.register(reader)\n"
        "os.write(writer, b'x'); assert epoll.poll(1); time.sleep(0); os.urandom(8)\n"
        "server = socket.create_server(('127.0.0.1', 0))\n"
        "client = socket.create_connection(server.getsockname())\n"
        "peer, _ = server.accept(); peer.sendall(b'y'); assert client.recv(1) == b'y'\n"
        "print('fine'); sys.stdout.flush(); os._exit(0)\n"
    )
    assert run(script) == "fine\n"


WASI_GUEST = """
(module
  (import "wasi_snapshot_preview1" "fd_write"
    (func $write (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "path_open"
    (func $open (param i32 i32 i32 i32 i32 i64 i64 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "path_create_directory"
    (func $mkdir (param i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "path_rename"
    (func $rename (param i32 i32 i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "path_symlink"
    (func $symlink (param i32 i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "path_readlink"
    (func $readlink (param i32 i32 i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "path_link"
    (func $link (param i32 i32 i32 i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "path_unlink_file"
    (func $unlink (param i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "path_remove_directory"
    (func $rmdir (param i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "path_filestat_get"
    (func $stat (param i32 i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "path_filestat_set_times"
    (func $times (param i32 i32 i32 i32 i64 i64 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_filestat_set_size"
    (func $size (param i32 i64) (result i32)))
  (import "wasi_snapshot_preview1" "fd_allocate"
    (func $allocate (param i32 i64 i64) (result i32)))
  (import "wasi_snapshot_preview1" "fd_advise"
    (func $advise (param i32 i64 i64 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_sync" (func $sync (param i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_datasync" (func $datasync (param i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_pwrite"
    (func $pwrite (param i32 i32 i32 i64 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_pread"
    (func $pread (param i32 i32 i32 i64 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_seek" (func $seek (param i32 i64 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_readdir"
    (func $readdir (param i32 i32 i32 i64 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_fdstat_set_flags"
    (func $flags (param i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_close" (func $close (param i32) (result i32)))
  (import "wasi_snapshot_preview1" "poll_oneoff"
    (func $poll (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "clock_time_get"
    (func $clock (param i32 i64 i32) (result i32)))
  (import "wasi_snapshot_preview1" "clock_res_get" (func $res (param i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "random_get" (func $random (param i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "sched_yield" (func $yield (result i32)))
  (memory (export "memory") 1)
  (data (i32.const 0) "file")
  (data (i32.const 8) "dir")
  (data (i32.const 16) "name")
  (data (i32.const 24) "link")
  (data (i32.const 100) "\\00\\00\\00\\00\\04\\00\\00\\00")
  (global $fd (mut i32) (i32.const 0))
  (func $must (param $step i32) (param $errno i32)
    (if (local.get $errno)
      (then (i32.store (i32.const 512) (local.get $step)) (unreachable))))
  (func (export "_start")
    (call $must (i32.const 1) (call $open (i32.const 3) (i32.const 0) (i32.const 0) (i32.const 4)
      (i32.const 1) (i64.const 0x1fffffff) (i64.const 0) (i32.const 0) (i32.const 400)))
    (global.set $fd (i32.load (i32.const 400)))
    (call $must (i32.const 2) (call $write
      (global.get $fd) (i32.const 100) (i32.const 1) (i32.const 404)))
    (call $must (i32.const 3) (call $pwrite
      (global.get $fd) (i32.const 100) (i32.const 1) (i64.const 8) (i32.const 404)))
    (call $must (i32.const 4) (call $pread
      (global.get $fd) (i32.const 100) (i32.const 1) (i64.const 0) (i32.const 404)))
    (call $must (i32.const 5) (call $seek
      (global.get $fd) (i64.const 0) (i32.const 0) (i32.const 408)))
    (call $must (i32.const 6) (call $size (global.get $fd) (i64.const 100)))
    (drop (call $allocate (global.get $fd) (i64.const 0) (i64.const 200)))
    (call $must (i32.const 7) (call $advise
      (global.get $fd) (i64.const 0) (i64.const 100) (i32.const 3)))
    (call $must (i32.const 8) (call $datasync (global.get $fd)))
    (call $must (i32.const 9) (call $sync (global.get $fd)))
    (call $must (i32.const 10) (call $flags (global.get $fd) (i32.const 4)))
    (call $must (i32.const 11) (call $close (global.get $fd)))
    (call $must (i32.const 12) (call $mkdir (i32.const 3) (i32.const 8) (i32.const 3)))
    (call $must (i32.const 13) (call $rename
      (i32.const 3) (i32.const 0) (i32.const 4) (i32.const 3) (i32.const 16) (i32.const 4)))
    (call $must (i32.const 14) (call $symlink
      (i32.const 16) (i32.const 4) (i32.const 3) (i32.const 24) (i32.const 4)))
    (call $must (i32.const 15) (call $readlink
      (i32.const 3) (i32.const 24) (i32.const 4) (i32.const 600) (i32.const 64) (i32.const 404)))
    (call $must (i32.const 16) (call $link (i32.const 3) (i32.const 0)
      (i32.const 16) (i32.const 4) (i32.const 3) (i32.const 0) (i32.const 4)))
    (call $must (i32.const 17) (call $stat
      (i32.const 3) (i32.const 1) (i32.const 24) (i32.const 4) (i32.const 600)))
    (call $must (i32.const 18) (call $times (i32.const 3) (i32.const 0)
      (i32.const 16) (i32.const 4) (i64.const 1) (i64.const 1) (i32.const 5)))
    (call $must (i32.const 19) (call $readdir
      (i32.const 3) (i32.const 1024) (i32.const 1024) (i64.const 0) (i32.const 404)))
    (call $must (i32.const 20) (call $unlink (i32.const 3) (i32.const 24) (i32.const 4)))
    (call $must (i32.const 21) (call $rmdir (i32.const 3) (i32.const 8) (i32.const 3)))
    (call $must (i32.const 22) (call $clock (i32.const 0) (i64.const 1) (i32.const 408)))
    (call $must (i32.const 23) (call $res (i32.const 1) (i32.const 408)))
    (call $must (i32.const 24) (call $random (i32.const 600) (i32.const 32)))
    (call $must (i32.const 25) (call $yield))
    ;; a subscription to the monotonic clock, one millisecond from now: this starts Tokio's threads
    (i64.store (i32.const 2048) (i64.const 7))
    (i32.store (i32.const 2064) (i32.const 1))
    (i64.store (i32.const 2072) (i64.const 1000000))
    (call $must (i32.const 26) (call $poll
      (i32.const 2048) (i32.const 3072) (i32.const 1) (i32.const 404)))
    (drop (memory.grow (i32.const 100)))))
"""

WASMTIME = """
import wasmtime
engine = wasmtime.Engine()
store, linker = wasmtime.Store(engine), wasmtime.Linker(engine)
linker.define_wasi()
with open(sys.argv[1], 'rb') as file: source = file.read()
module = wasmtime.Module(engine, source)
filtered()
wasi = wasmtime.WasiConfig()
wasi.preopen_dir(sys.argv[2], '/')
store.set_wasi(wasi)
instance = linker.instantiate(store, module)
try:
    instance.exports(store)['_start'](store)
except wasmtime.Trap as trap:
    memory = instance.exports(store)['memory']
    print('failed at step', memory.read(store, 512, 513)[0], trap, flush=True)
    os._exit(1)
print('fine', flush=True)
os._exit(0)
"""


@native
def test_a_guest_makes_every_call_of_wasi_and_traps_are_caught(tmp_path: Path) -> None:
    guest, folder = tmp_path / "guest.wat", tmp_path / "folder"
    guest.write_text(WASI_GUEST)
    folder.mkdir()
    trap = tmp_path / "trap.wat"
    trap.write_text(
        '(module (memory (export "memory") 1) (func (export "_start")'
        " (drop (i32.load (i32.const 0x7fffffff)))))"
    )
    environment = {**os.environ, "PYTHONPATH": str(Path(seccomp.__file__).parents[3])}
    environment["TOKIO_WORKER_THREADS"] = "1"
    answers = []
    for module in (guest, trap):
        done = subprocess.run(
            [sys.executable, "-c", FILTERED % False + WASMTIME, str(module), str(folder)],
            capture_output=True,
            text=True,
            timeout=60,
            env=environment,
        )
        answers.append((done.returncode, done.stdout.split(" wasm")[0], done.stderr))
    assert answers[0] == (0, "fine\n", "")
    assert answers[1][0] == 1
    assert answers[1][1].startswith("failed at step 0")
    assert sorted(os.listdir(folder)) == ["file", "name"]


@pytest.mark.parametrize("machine", ARCHITECTURES)
def test_who_only_waits_may_do_nothing_else(machine: str) -> None:
    program = seccomp.build_for_waiting(machine)
    column = list(ARCHITECTURES).index(machine)

    def decision(name: str) -> int:
        number = (FORBIDDEN.get(name) or NUMBERS[name])[column]
        assert number is not None
        return answer(program, ARCHITECTURES[machine], number)

    for name in ("rt_sigtimedwait", "wait4", "exit_group", "recvfrom", "mmap", "futex"):
        assert decision(name) == ALLOW, name
    for name in (*FORBIDDEN, "openat", "read", "write", "clone", "socket", "connect", "ioctl"):
        assert decision(name) == EPERM, name
    assert answer(program, ARCHITECTURES[machine], 9999) == ENOSYS
    assert answer(program, I386, 1) == KILL

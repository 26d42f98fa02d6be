"""run by a warm process that an earlier run left behind: the same, but sooner."""

from __future__ import annotations

import os
import shlex
import shutil
import signal
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

import pytest
from tests.conftest import without
from tests.guests.toolchain import Guests
from tests.peers import PeerMissing, program
from tests.runtime.bundles import WASI_HELLO, Bundle
from tests.runtime.command.conftest import Runtime, write_config

pytestmark = pytest.mark.root
Make = Callable[..., Bundle]
T = TypeVar("T")


def eventually(what: Callable[[], T | None], seconds: float = 30) -> T:
    deadline = time.monotonic() + seconds
    while True:
        found = what()
        if found:
            return found
        assert time.monotonic() < deadline, "it never came"
        time.sleep(0.005)


def keeper_at(place: Path) -> int | None:
    """The pid of the warm process that listens at `place`."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as connection:
        folder = os.open(place.parent, os.O_PATH)
        try:
            connection.connect(f"/proc/self/fd/{folder}/{place.name}")
        except OSError:
            return None
        finally:
            os.close(folder)
        credentials = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)
        return int(struct.unpack("iii", credentials)[0])


def keepers(runtime: Runtime) -> list[int]:
    """The pids of all warm processes of `runtime`."""
    places = (runtime.root / ".warm").glob("[0-9a-f]*")
    return [pid for place in places if (pid := keeper_at(place))]


def parent(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split()[1])


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2][0] not in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return False


@pytest.fixture
def warm(runtime: Runtime, container: Make, tmp_path: Path) -> Iterator[Runtime]:
    """A runtime with one warm process."""
    del runtime.environment["WHERRY_RUNTIME_COLD"]
    first = container(WASI_HELLO)
    write_config(first)
    assert runtime.ok("run", "--bundle", str(first.path), "first") == "hello\n"
    eventually(lambda: keepers(runtime))
    yield runtime
    for pid in keepers(runtime):
        os.kill(pid, signal.SIGTERM)
        eventually(lambda pid=pid: not is_alive(pid))  # type: ignore[misc]


class Running:
    """A container that waits, run in the foreground."""

    def __init__(self, runtime: Runtime, bundle: Bundle, *before: str) -> None:
        write_config(bundle)
        self.command = subprocess.Popen(
            [*before, *runtime.argv("run", "--bundle", str(bundle.path), "waits")],
            env=runtime.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert self.command.stdout is not None
        assert self.command.stdout.readline() == "ready\n"
        self.pid = int(runtime.state("waits")["pid"])

    @property
    def is_warm(self) -> bool:
        """Whether another process than the command made it."""
        return parent(self.pid) != self.command.pid

    def end(self) -> tuple[int, str]:
        """Its exit status and what the command said on its stderr."""
        said = self.command.communicate(timeout=60)[1]
        return self.command.returncode, said

    def kill(self) -> None:
        self.command.kill()
        self.end()
        eventually(lambda: not is_alive(self.pid))


@pytest.fixture
def waits(container: Make, guests: Guests) -> Bundle:
    return container(guests.wasm("wait").read_bytes())


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_signals_to_the_command_reach_the_container(
    warm: Runtime, waits: Bundle, number: int
) -> None:
    running = Running(warm, waits)
    assert running.is_warm
    running.command.send_signal(number)
    assert running.end() == (128 + number, "")
    assert [path.name for path in warm.root.iterdir()] == [".warm"]


SIGNALLED_EARLY = """
import _socket, os, signal, sys
from wherry.runtime.command import main, warm

class Early(_socket.socket):
    def sendmsg(self, *message):
        super().sendmsg(*message)
        os.kill(os.getpid(), signal.SIGTERM)

warm.new_socket = lambda: Early(_socket.AF_UNIX, _socket.SOCK_SEQPACKET)
sys.exit(main())
"""


def test_a_signal_while_the_container_is_asked_for_reaches_it(warm: Runtime, waits: Bundle) -> None:
    write_config(waits)
    arguments = warm.argv("run", "--bundle", str(waits.path), "waits")[1:]
    command = [sys.executable, "-c", SIGNALLED_EARLY, *arguments]
    done = subprocess.run(command, env=warm.environment, capture_output=True, timeout=60)
    assert (done.returncode, done.stderr) == (128 + signal.SIGTERM, b"")


def test_streams_folder_and_environment_are_the_callers(
    warm: Runtime, container: Make, guests: Guests, tmp_path: Path
) -> None:
    bundle = container(guests.toolbox().read_bytes(), "cat")
    write_config(bundle)
    warm.environment["WHERRY_ROOT"] = str(tmp_path / "another")
    result = warm("run", "-b", bundle.path.name, "a", input="words\n", cwd=bundle.path.parent)
    assert (result.returncode, result.stdout, result.stderr) == (0, "words\n", "")
    assert (tmp_path / "another" / "cache").is_dir()


def test_the_exit_code_and_errors_are_told(
    warm: Runtime, container: Make, guests: Guests, tmp_path: Path
) -> None:
    bundle = container(guests.wasm("exit").read_bytes(), "77")
    write_config(bundle)
    assert warm("run", "--bundle", str(bundle.path), "a").returncode == 77
    (bundle.path / "rootfs" / "main.wasm").unlink()
    log = tmp_path / "log"
    result = warm("--log", str(log), "run", "--bundle", str(bundle.path), "a")
    assert result.returncode == 127
    assert "main.wasm" in result.stderr and "main.wasm" in log.read_text()
    assert [path.name for path in warm.root.iterdir()] == [".warm"]


def test_a_container_ends_with_the_command_that_is_killed(warm: Runtime, waits: Bundle) -> None:
    running = Running(warm, waits)
    running.kill()
    eventually(lambda: [path.name for path in warm.root.iterdir()] == [".warm"])


def test_a_cold_container_ends_with_the_command_too(runtime: Runtime, waits: Bundle) -> None:
    running = Running(runtime, waits)
    runtime.made.append("waits")
    assert not running.is_warm
    running.kill()
    assert runtime.status("waits") == "stopped"


def test_a_container_ends_with_the_process_that_made_it(warm: Runtime, waits: Bundle) -> None:
    running = Running(warm, waits)
    warm.made.append("waits")
    os.kill(parent(running.pid), signal.SIGKILL)
    status, said = running.end()
    assert status == 125 and "killed" in said
    eventually(lambda: not is_alive(running.pid))
    assert warm.status("waits") == "stopped"


def test_containers_outlive_the_warm_process_and_the_next_run_makes_another(
    warm: Runtime, waits: Bundle
) -> None:
    running = Running(warm, waits)
    (before,) = keepers(warm)
    os.kill(before, signal.SIGKILL)
    eventually(lambda: not is_alive(before))
    assert is_alive(running.pid)
    running.command.send_signal(signal.SIGTERM)
    assert running.end() == (128 + signal.SIGTERM, "")
    again = Running(warm, waits)
    assert not again.is_warm
    (after,) = eventually(lambda: keepers(warm))
    assert after != before
    again.kill()


@pytest.mark.parametrize(
    "before",
    [
        "unshare --mount",
        "unshare --net",
        "unshare --uts",
        "unshare --user --map-root-user --mount",
        "setpriv --bounding-set -sys_time",
        "setpriv --no-new-privs",
        "prlimit --nofile=100:100",
        "sh -c 'umask 077; exec \"$@\"' sh",
        "env -u NOTHING chroot /",
        "nohup",
    ],
)
def test_who_is_not_as_the_first_command_was_is_served_by_itself(
    warm: Runtime, waits: Bundle, before: str
) -> None:
    words = shlex.split(before)
    if shutil.which(words[0]) is None:
        without(f"there is no {words[0]}")
    running = Running(warm, waits, *words)
    assert running.is_warm == (before == "env -u NOTHING chroot /")
    running.kill()
    warm("delete", "--force", "waits")


def test_a_folder_that_others_may_enter_is_not_trusted(warm: Runtime, waits: Bundle) -> None:
    (warm.root / ".warm").chmod(0o755)
    running = Running(warm, waits)
    assert not running.is_warm
    running.kill()
    warm("delete", "--force", "waits")
    (warm.root / ".warm").chmod(0o700)


def test_many_run_at_once(warm: Runtime, container: Make, guests: Guests) -> None:
    bundles = [container(guests.toolbox().read_bytes(), "cat") for _ in range(24)]

    def run(number: int) -> str:
        write_config(bundles[number])
        path = str(bundles[number].path)
        return warm.ok("run", "--bundle", path, f"c{number}", input=f"{number}\n")

    with ThreadPoolExecutor(12) as threads:
        assert list(threads.map(run, range(24))) == [f"{number}\n" for number in range(24)]
    assert [path.name for path in warm.root.iterdir()] == [".warm"]


def test_who_asks_and_says_nothing_holds_nobody_up(
    warm: Runtime, container: Make, guests: Guests
) -> None:
    (place,) = (warm.root / ".warm").glob("[0-9a-f]*")
    bundle = container(WASI_HELLO)
    write_config(bundle)
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as silent:
        folder = os.open(place.parent, os.O_PATH)
        silent.connect(f"/proc/self/fd/{folder}/{place.name}")
        os.close(folder)
        assert warm.ok("run", "--bundle", str(bundle.path), "a") == "hello\n"


def test_a_linux_program_is_handed_on(warm: Runtime, container: Make) -> None:
    try:
        busybox = program("busybox")
        program("runc")
    except PeerMissing as error:
        without(str(error))
    bundle = container(WASI_HELLO)
    shutil.copy(busybox, bundle.path / "rootfs" / "busybox")
    bundle.config["process"]["args"] = ["/busybox", "echo", "from Linux"]
    bundle.config["root"]["path"] = str(bundle.path / "rootfs")
    bundle.config["mounts"] = [{"destination": "/proc", "type": "proc", "source": "proc"}]
    write_config(bundle)
    assert warm.ok("run", "--bundle", str(bundle.path), "a") == "from Linux\n"

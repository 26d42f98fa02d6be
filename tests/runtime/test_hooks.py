"""Hooks of containers made by the launcher: real programs, seen by what they leave behind."""

import asyncio
import contextlib
import json
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.cgroups import cgroups
from tests.runtime.bundles import WAITS_FOR_STDIN, WASI_HELLO, Bundle, run

from wherry.oci import runtime as spec
from wherry.runtime import Launcher, LaunchError, Process
from wherry.runtime.hooks import run_hooks

pytestmark = pytest.mark.root
Make = Callable[..., Bundle]
PLACES = ("prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop")


def sh(script: str, **more: Any) -> dict[str, Any]:
    return {"path": "/bin/sh", "args": ["hook", "-c", script], **more}


def with_hooks(bundle: Bundle, **hooks: list[dict[str, Any]]) -> Bundle:
    bundle.config["hooks"] = hooks
    bundle.config["annotations"] = {"com.example.key": "value"}
    return bundle


def hello(make: Make) -> Bundle:
    container = make("/hello.wat")
    container.put("hello.wat", WASI_HELLO)
    return container


def state_of(path: Path) -> dict[str, Any]:
    state: dict[str, Any] = json.loads(path.read_text())
    return state


# --- programs: how one is run, and judged ----------------------------------------------------


def hook(script: str, **more: Any) -> spec.Hook:
    return spec.Hook(path="/bin/sh", args=["hook", "-c", script], **more)


def creating(folder: Path) -> spec.State:
    return spec.State(
        oci_version="1.1.0",
        id="a",
        status="creating",
        pid=7,
        bundle=str(folder),
        annotations={"com.example.key": "value"},
    )


def test_a_hook_gets_the_state_its_arguments_and_its_environment_only(tmp_path: Path) -> None:
    script = "cat > state; echo $0 > name; env > env; ls /proc/$$/fd > fds"
    leak = os.open("/etc/passwd", os.O_RDONLY)
    os.set_inheritable(leak, True)
    run_hooks([hook(script, env=["A=1=2", "PATH=/usr/bin:/bin"])], creating(tmp_path), place="x")
    os.close(leak)
    assert state_of(tmp_path / "state") == {
        "ociVersion": "1.1.0",
        "id": "a",
        "status": "creating",
        "pid": 7,
        "bundle": str(tmp_path),
        "annotations": {"com.example.key": "value"},
    }
    assert (tmp_path / "name").read_text() == "hook\n"
    env = set((tmp_path / "env").read_text().splitlines())
    assert env - {f"PWD={tmp_path}"} == {"A=1=2", "PATH=/usr/bin:/bin"}
    # dash keeps the script's redirected output at 10 or above while it redirects.
    assert set((tmp_path / "fds").read_text().split()) <= {"0", "1", "2", "10"}


def test_each_hook_reads_the_state_from_its_beginning(tmp_path: Path) -> None:
    hooks = [hook(f"cat > {name}") for name in ("one", "two")]
    run_hooks(hooks, creating(tmp_path), place="prestart")
    assert (tmp_path / "one").read_text() == (tmp_path / "two").read_text() != ""


@pytest.mark.parametrize(
    ("broken", "says"),
    [
        (hook("exit 3"), "ended with status 3"),
        (hook("echo no bridge >&2; echo sorry >&2; exit 1"), "status 1: no bridge sorry"),
        (hook("kill -KILL $$"), "was killed by SIGKILL"),
        (hook("exec 0<&- 2>&-; exit 5"), "ended with status 5"),
        (hook("sleep 600", timeout=1), "did not end within its 1 s"),
        (hook("while :; do echo flood >&2; done", timeout=1), "within its 1 s: .*flood"),
        (hook("sleep 2 & exit 9"), "status 9"),
        (spec.Hook(path="/nowhere/at-all"), "cannot be run: No such file"),
        (spec.Hook(path="/etc/passwd"), "cannot be run: Permission denied"),
        (spec.Hook(path="true"), "not absolute"),
        (hook("true", timeout=0), "not above 0"),
        (hook("true", timeout=-4), "not above 0"),
    ],
)
def test_a_hook_that_fails_says_why_in_one_line(
    broken: spec.Hook, says: str, tmp_path: Path
) -> None:
    never = hook("touch ran")
    with pytest.raises(LaunchError, match=says) as failure:
        run_hooks([broken, never], creating(tmp_path), place="createRuntime")
    assert failure.value.message.startswith(f"the createRuntime hook {broken.path} ")
    assert "\n" not in failure.value.message
    assert not (tmp_path / "ran").exists()


def test_of_a_flood_of_errors_the_end_is_shown_without_what_would_steer_a_terminal(
    tmp_path: Path,
) -> None:
    script = r"head -c 3000000 /dev/zero | tr '\0' x >&2; printf 'the \033[31mend\n' >&2; exit 1"
    with pytest.raises(LaunchError) as failure:
        run_hooks([hook(script)], creating(tmp_path), place="prestart")
    assert failure.value.message.endswith("the [31mend")
    assert len(failure.value.message) < 600


def test_a_timeout_ends_the_children_of_a_hook_too(tmp_path: Path) -> None:
    script = "sleep 600 & echo $! > child; wait"
    with pytest.raises(LaunchError, match="did not end"):
        run_hooks([hook(script, timeout=1)], creating(tmp_path), place="prestart")
    _await_end(int((tmp_path / "child").read_text()))


def _await_end(pid: int) -> None:
    try:
        pidfd = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    os.set_blocking(pidfd, True)
    import select

    assert select.select([pidfd], [], [], 60)[0], f"{pid} lives on"
    os.close(pidfd)


# --- places: when, where and with which state ------------------------------------------------


async def test_hooks_run_in_the_order_of_the_life_of_a_container(
    launcher: Launcher, bundle: Make, tmp_path: Path
) -> None:
    log = tmp_path / "log"
    container = hello(bundle)
    busybox_into(container)
    places = {name: [sh(f"echo {name} >> {log}")] for name in PLACES if name != "startContainer"}
    container.config["mounts"] = [
        {"destination": "/log", "type": "bind", "source": str(tmp_path), "options": ["bind"]}
    ]
    places["startContainer"] = [
        {"path": "/bin/sh", "args": ["sh", "-c", "echo startContainer >> /log/log"]}
    ]
    outcome = await run(launcher, with_hooks(container, **places))
    assert (outcome.status, outcome.stdout, outcome.stderr) == (0, b"hello\n", b"")
    assert log.read_text().split() == list(PLACES)


def busybox_into(container: Bundle) -> None:
    """A Linux shell in the image."""
    from tests.peers import program

    container.put("bin/busybox", Path(program("busybox")).read_bytes())
    (container.image / "bin/busybox").chmod(0o755)
    for name in ("sh", "cat", "id", "hostname", "touch", "grep"):
        (container.image / "bin" / name).symlink_to("busybox")


@pytest.mark.parametrize("place", ["prestart", "createRuntime"])
async def test_hooks_of_the_runtime_see_the_namespaces_of_a_container_that_is_being_made(
    launcher: Launcher, bundle: Make, tmp_path: Path, place: str
) -> None:
    script = f"""cat > {tmp_path}/state
        pid=$(sed -n 's/.*"pid":\\([0-9]*\\).*/\\1/p' {tmp_path}/state)
        readlink /proc/$pid/ns/net /proc/$pid/ns/mnt /proc/self/ns/net > {tmp_path}/namespaces
        ls /proc/$pid/root/proc > {tmp_path}/root"""
    container = with_hooks(hello(bundle), **{place: [sh(script)]})
    assert (await run(launcher, container)).status == 0
    state = state_of(tmp_path / "state")
    assert state["status"] == "creating"
    assert state["id"] == container.path.name
    assert state["bundle"] == str(container.path)
    assert state["annotations"] == {"com.example.key": "value"}
    net, mounts, own = (tmp_path / "namespaces").read_text().split()
    assert own == os.readlink("/proc/self/ns/net") != net
    assert mounts != os.readlink("/proc/self/ns/mnt")
    # Its root is not entered yet: the host's /proc is still there.
    assert (tmp_path / "root").read_text()


async def test_create_container_hooks_are_the_hosts_programs_in_the_containers_namespaces(
    launcher: Launcher, bundle: Make, tmp_path: Path
) -> None:
    script = f"""cat > {tmp_path}/state
        readlink /proc/self/ns/net /proc/self/ns/mnt /proc/self/ns/uts > {tmp_path}/namespaces
        mkdir ./made && mount -t tmpfs -o size=64k tmpfs ./made && echo seen > ./made/file"""
    container = bundle("/cat.wat", "/made/file")
    container.put("cat.wat", WAITS_FOR_STDIN)
    with_hooks(container, createContainer=[sh(script)])
    inside: list[str] = []

    async def look(process: Process) -> None:
        kinds = ("net", "mnt", "uts")
        inside.extend(os.readlink(f"/proc/{process.pid}/ns/{kind}") for kind in kinds)
        assert Path(f"/proc/{process.pid}/root/made/file").read_text() == "seen\n"

    outcome = await run(launcher, container, while_running=look)
    assert outcome.status == 0
    state = state_of(tmp_path / "state")
    assert (state["status"], state["pid"]) == ("creating", 1)
    assert (tmp_path / "namespaces").read_text().split() == inside
    assert "made/file" not in Path("/proc/self/mounts").read_text()


_CHOWN, _KILL = 1 << 0, 1 << 5


@pytest.mark.parametrize(("user", "effective"), [(1000, 0), (0, _CHOWN | _KILL)])
async def test_start_container_hooks_are_the_images_programs_with_what_its_linux_process_would_have(
    launcher: Launcher, bundle: Make, tmp_path: Path, user: int, effective: int
) -> None:
    container = hello(bundle)
    busybox_into(container)
    container.config["process"]["user"] = {"uid": user, "gid": 1001}
    container.config["process"]["capabilities"] = {
        kind: ["CAP_CHOWN", "CAP_KILL"] for kind in ("bounding", "permitted", "effective")
    }
    container.config["process"]["noNewPrivileges"] = True
    volume = tmp_path / "volume"
    volume.mkdir(mode=0o777)
    volume.chmod(0o777)
    (volume / "status").touch()
    (volume / "status").chmod(0o666)
    container.config["mounts"] = [
        {"destination": "/v", "type": "bind", "source": str(volume), "options": ["bind"]},
        {"destination": "/p", "type": "bind", "source": "/proc", "options": ["rbind", "ro"]},
    ]
    script = "cat > /v/state; id -u > /v/uid; hostname > /v/name; cat /p/self/status > /v/status"
    with_hooks(container, startContainer=[{"path": "/bin/sh", "args": ["sh", "-c", script]}])
    outcome = await run(launcher, container)
    assert outcome.status == 0
    state = state_of(volume / "state")
    assert (state["status"], state["pid"]) == ("created", 1)
    assert (volume / "uid").read_text() == f"{user}\n"
    assert (volume / "name").read_text() == "guest\n"
    assert (volume / "state").stat().st_gid == 1001
    status = dict(line.split(":\t", 1) for line in (volume / "status").read_text().splitlines())
    assert int(status["CapEff"], 16) == effective
    assert int(status["CapBnd"], 16) == _CHOWN | _KILL
    assert status["NoNewPrivs"] == "1"


@pytest.mark.parametrize("program", ["/bin/true", "/bin/false", "/nothing"])
async def test_no_python_of_an_image_is_imported_for_its_hooks(
    launcher: Launcher, bundle: Make, program: str
) -> None:
    """The interpreter that runs them has the host's privileges and the container's root."""
    container = with_hooks(hello(bundle), startContainer=[{"path": program}])
    busybox_into(container)
    for name in ("true", "false"):
        (container.image / "bin" / name).symlink_to("busybox")
    for folder in {os.path.dirname(os.__file__), str(Path(spec.__file__).parents[2])}:
        for name in sys.stdlib_module_names:
            container.put(f"{folder}/{name}.py", f"open('/imported-{name}', 'w')")
    with contextlib.suppress(LaunchError):
        await run(launcher, container)
    assert not list((container.path / "upper").glob("imported-*"))


async def test_a_container_with_hooks_is_made_while_others_hang_in_theirs(
    launcher: Launcher, bundle: Make, tmp_path: Path
) -> None:
    os.mkfifo(tmp_path / "gate")
    slow = with_hooks(hello(bundle), createRuntime=[sh(f"read -r _ < {tmp_path}/gate")])
    waiting = asyncio.ensure_future(run(launcher, slow))
    for _ in range(3):
        quick = with_hooks(hello(bundle), createRuntime=[sh("true")])
        assert (await run(launcher, quick)).status == 0
    assert not waiting.done()
    await asyncio.to_thread((tmp_path / "gate").write_text, "go\n")
    assert (await waiting).stdout == b"hello\n"


# --- failures --------------------------------------------------------------------------------


@pytest.mark.parametrize("place", ["prestart", "createRuntime", "createContainer"])
async def test_a_hook_that_fails_at_creation_undoes_the_container_and_runs_the_last_hooks(
    launcher: Launcher, bundle: Make, tmp_path: Path, place: str
) -> None:
    container = with_hooks(
        hello(bundle),
        **{place: [sh("echo no bridge >&2; exit 4")]},
        poststop=[sh("exit 1"), sh(f"cat > {tmp_path}/state")],
    )
    with pytest.raises(LaunchError) as failure:
        await run(launcher, container)
    message = f"the {place} hook /bin/sh ended with status 4: no bridge"
    assert failure.value.message == message
    state = state_of(tmp_path / "state")
    assert state["status"] == "stopped"
    assert "pid" not in state
    assert not cgroups(f"wherry-test-{os.getpid()}/{container.path.name}")


async def test_hooks_that_hang_in_the_container_are_ended_at_their_time(
    launcher: Launcher, bundle: Make, tmp_path: Path
) -> None:
    script = f"echo $$ > {tmp_path}/pid; sleep 600 & wait"
    container = with_hooks(hello(bundle), createContainer=[sh(script, timeout=1)])
    with pytest.raises(LaunchError, match="createContainer hook /bin/sh did not end within"):
        await run(launcher, container)


async def test_a_start_container_hook_that_fails_keeps_the_guest_from_running(
    launcher: Launcher, bundle: Make, tmp_path: Path
) -> None:
    container = hello(bundle)
    busybox_into(container)
    with_hooks(
        container,
        startContainer=[{"path": "/bin/sh", "args": ["sh", "-c", "echo no cache >&2; exit 2"]}],
        poststop=[sh(f"touch {tmp_path}/stopped")],
    )
    null = os.open("/dev/null", os.O_RDWR)
    process = await launcher.create(container.request(null, null, null))
    os.close(null)
    with pytest.raises(LaunchError, match=r"startContainer hook /bin/sh .* status 2: no cache"):
        await process.start(lambda _: None)
    result = await asyncio.to_thread(os.waitid, os.P_PIDFD, process.pidfd, os.WEXITED)
    assert result is not None and result.si_status == signal.SIGKILL
    await process.close()
    assert (tmp_path / "stopped").exists()


async def test_a_program_missing_in_the_image_is_no_start_container_hook(
    launcher: Launcher, bundle: Make
) -> None:
    container = with_hooks(hello(bundle), startContainer=[{"path": "/usr/bin/env"}])
    null = os.open("/dev/null", os.O_RDWR)
    process = await launcher.create(container.request(null, null, null))
    os.close(null)
    with pytest.raises(LaunchError, match="hook /usr/bin/env cannot be run: No such file"):
        await process.start(lambda _: None)
    await asyncio.to_thread(os.waitid, os.P_PIDFD, process.pidfd, os.WEXITED)
    await process.close()


async def test_a_failed_poststart_hook_is_only_warned_of(
    launcher: Launcher, bundle: Make, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    container = with_hooks(hello(bundle), poststart=[sh("exit 1"), sh(f"cat > {tmp_path}/state")])
    assert (await run(launcher, container)).stdout == b"hello\n"
    assert state_of(tmp_path / "state")["status"] == "running"
    assert "warning: the poststart hook /bin/sh ended with status 1" in capfd.readouterr().err


async def test_who_gives_a_container_up_ends_its_hook(
    launcher: Launcher, bundle: Make, tmp_path: Path
) -> None:
    os.mkfifo(tmp_path / "pid")
    container = with_hooks(
        hello(bundle), createRuntime=[sh(f"echo $$ > {tmp_path}/pid; exec sleep 600")]
    )
    creation = asyncio.ensure_future(run(launcher, container))
    pid = int(await asyncio.to_thread((tmp_path / "pid").read_text))
    creation.cancel()
    with pytest.raises(asyncio.CancelledError):
        await creation
    await asyncio.to_thread(_await_end, pid)


async def test_a_bundle_of_a_linux_program_has_none_of_its_hooks_run(
    launcher: Launcher, bundle: Make, tmp_path: Path
) -> None:
    container = bundle("/bin/sh")
    busybox_into(container)
    touch = [sh(f"touch {tmp_path}/ran")]
    with_hooks(container, prestart=touch, poststop=touch)
    with pytest.raises(LaunchError):
        await run(launcher, container)
    assert not (tmp_path / "ran").exists()

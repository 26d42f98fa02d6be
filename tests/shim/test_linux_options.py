"""What containerd says of the Linux runtime, and a runtime that does not answer."""

import asyncio
import os
from pathlib import Path

import pytest

from wherry.runtime import CreateRequest, LaunchError, NotWasm
from wherry.runtime.linux import child
from wherry.runtime.linux.options import LinuxOptions
from wherry.runtime.linux.runtime import OciRuntime, last_error
from wherry.shim.protobuf import Any
from wherry.shim.server.linux import LinuxContainers
from wherry.shim.server.linux_options import (
    GenericOptions,
    OptionsError,
    RuncOptions,
    read_options,
)


def generic(**values: object) -> Any:
    return Any(
        type_url="types.googleapis.com/runtimeoptions.v1.Options",
        value=GenericOptions(**values).encode(),
    )


def test_runcs_own_options() -> None:
    options = RuncOptions(binary_name="crun", systemd_cgroup=True, no_pivot_root=True)
    value = Any(type_url="containerd.runc.v1.Options", value=options.encode())
    assert read_options(value) == LinuxOptions("crun", True, True, False)


def test_the_cris_options_are_toml() -> None:
    body = b'BinaryName = "/opt/runc"\nSystemdCgroup = true\nOther = 3\n'
    assert read_options(generic(config_body=body)) == LinuxOptions("/opt/runc", True)


@pytest.mark.parametrize(("programs", "wasm_only"), [("wasm", True), ("any", False)])
def test_linux_programs_may_be_forbidden(programs: str, wasm_only: bool) -> None:
    found = read_options(generic(config_body=f'Programs = "{programs}"'.encode()))
    assert found == LinuxOptions(wasm_only=wasm_only)


async def test_where_they_are_forbidden_no_linux_runtime_is_asked(tmp_path: Path) -> None:
    linux = LinuxContainers(str(tmp_path / "state"), lambda pid: False)
    request = CreateRequest(id="a", bundle=str(tmp_path), rootfs=(), stdin=0, stdout=1, stderr=2)
    options = generic(config_body=b'Programs = "wasm"')
    with pytest.raises(LaunchError, match=r"/bin/sh is no WebAssembly .* not run") as refusal:
        await linux.create(request, options, NotWasm("/bin/sh"))
    assert refusal.value.exit_code == 126
    assert not (tmp_path / "state").exists()


def test_the_cris_options_may_lie_in_a_file(tmp_path: Path) -> None:
    (tmp_path / "wherry.toml").write_text("NoNewKeyring = true\n")
    found = read_options(generic(config_path=str(tmp_path / "wherry.toml")))
    assert found == LinuxOptions(no_new_keyring=True)


@pytest.mark.parametrize("value", [None, Any(), Any(type_url="some.Options", value=b"\xff")])
def test_no_options_and_others_say_nothing(value: Any | None) -> None:
    assert read_options(value) == LinuxOptions()


@pytest.mark.parametrize(
    "value",
    [
        Any(type_url="containerd.runc.v1.Options", value=b"\x32\x05a"),
        generic(config_body=b"not toml"),
        generic(config_body=b"\xff\xfe"),
        generic(config_body=b"BinaryName = 3"),
        generic(config_body=b'SystemdCgroup = "yes"'),
        generic(config_body=b'Programs = "Wasm"'),
        generic(config_body=b"Programs = true"),
        generic(config_path="/nowhere/at/all"),
    ],
)
def test_what_cannot_be_read_is_refused_on_one_line(value: Any) -> None:
    with pytest.raises(OptionsError) as refused:
        read_options(value)
    assert "\n" not in str(refused.value)


def runtime(tmp_path: Path, script: str, patience: float = 60) -> OciRuntime:
    """A Linux runtime that is a shell script."""
    program = tmp_path / "program"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    return OciRuntime(str(program), str(tmp_path), False, (256, 1024), patience)


async def test_a_runtime_that_hangs_is_ended(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pid")
    hanging = runtime(tmp_path, f"echo $$ > {tmp_path}/pid; exec sleep 1000", patience=0.5)
    pid = asyncio.ensure_future(asyncio.to_thread((tmp_path / "pid").read_text))
    with pytest.raises(LaunchError, match=r"program start: no answer within 0\.5 s"):
        await hanging.call("start", "a")
    assert not Path(f"/proc/{(await pid).strip()}").exists()


async def test_calls_wait_for_each_other_as_little_as_can_be(tmp_path: Path) -> None:
    """Of two calls at once each ends only if the other has begun."""
    for name in ("one", "two"):
        os.mkfifo(tmp_path / name)
    both = runtime(
        tmp_path,
        f'if [ "$8" = one ]; then echo > {tmp_path}/one; read x < {tmp_path}/two;'
        f" else read x < {tmp_path}/one; echo > {tmp_path}/two; fi",
    )
    async with asyncio.timeout(60):
        await asyncio.gather(both.call("start", "one"), both.call("start", "two"))


async def test_a_runtime_without_a_word_is_told_by_its_code(tmp_path: Path) -> None:
    with pytest.raises(LaunchError, match="program start: ended with 3 and without a word"):
        await runtime(tmp_path, "exit 3").call("start", "a")


async def test_containers_begin_with_the_limits_that_the_shim_was_given(tmp_path: Path) -> None:
    reader, writer = os.pipe()
    limits = runtime(tmp_path, "ulimit -Sn; ulimit -Hn")
    await limits.call("start", "a", streams=(0, writer, 2))
    os.close(writer)
    with os.fdopen(reader) as output:
        assert output.read().split() == ["256", "1024"]


async def test_a_program_that_is_not_there(tmp_path: Path) -> None:
    absent = OciRuntime("/nowhere/runc", str(tmp_path), False, (256, 1024))
    with pytest.raises(LaunchError, match="runc start: ended with 127"):
        await absent.call("start", "a")


async def test_a_call_that_is_given_up_ends_its_program(tmp_path: Path) -> None:
    null = os.open(os.devnull, os.O_RDWR)
    pid = child.spawn(["/bin/sleep", "1000"], {}, (null,) * 3, (256, 1024))
    os.close(null)
    waiting = asyncio.ensure_future(child.wait(pid, 60))
    await asyncio.sleep(0)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == -9


@pytest.mark.parametrize(
    ("log", "said"),
    [
        (b"", ""),
        (b'{"level":"info","msg":"fine"}\n', ""),
        (b'{"level":"error","msg":"one"}\n{"level":"error","msg":"two\\nlines"}\n', "two lines"),
        (b'{"level":"error","msg":"whole"}\nnot json\n{"level":"warning","msg":"w"}', "whole"),
    ],
)
def test_the_last_error_of_a_log(log: bytes, said: str) -> None:
    assert last_error(log) == said

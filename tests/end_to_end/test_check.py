"""`system check` and `system df`, as a person uses them, and the cache of compiled code."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import shutil
import subprocess
from pathlib import Path

import pytest
from tests.engine_under_test import Wherry, until

WAT = '(module (memory (export "memory") 1) (func (export "_start")))'


def code_files(wherry: Wherry) -> list[Path]:
    """Files of compiled code."""
    return [path for path in (wherry.root / "cache").glob("*-*/*") if len(path.name) == 64]


def test_what_is_whole_is_told_as_whole(wherry: Wherry, hello: str) -> None:
    wherry.ok("run", "--rm", hello)
    assert wherry.ok("system", "check") == "Everything is as it must be."


def test_faults_are_a_line_each_and_are_mended(wherry: Wherry, hello: str) -> None:
    wherry.ok("run", "--rm", hello)
    (code,) = code_files(wherry)
    code.write_bytes(code.read_bytes()[:-1] + b"!")
    layer = next((wherry.root / "layers").glob("*/fs"))
    (layer / "hello.wat").write_bytes(b"(module)")
    checked = wherry("system", "check")
    assert checked.code == 1, checked.said
    *lines, last = checked.out.splitlines()
    assert last == "2 faults."
    assert "/hello.wat has other content" in lines[0] and "--repair" in lines[0]
    assert f"{code} has other content" in lines[1] and "--repair" in lines[1]
    assert checked.err == ""
    assert "2 faults, of which 2 mended." in wherry.ok("system", "check", "--repair")
    assert wherry.ok("system", "check") == "Everything is as it must be."
    assert "hello from" in wherry.ok("run", "--rm", hello)


def test_a_layer_that_runs_is_not_taken_away(wherry: Wherry, toolbox: str) -> None:
    container = wherry.ok("run", "-d", toolbox, "sleep", "1000")
    layer = Path(wherry.ok("inspect", "-f", "{{.GraphDriver.Data.LowerDir}}", container))
    time = os.stat(layer / "module.wasm").st_mtime_ns
    os.utime(layer / "module.wasm", ns=(5, 5))
    checked = wherry("system", "check", "--repair")
    assert checked.code == 1, checked.said
    assert "end them, then repair it" in checked.out
    os.utime(layer / "module.wasm", ns=(time, time))
    wherry.ok("rm", "-f", container)


def test_containers_and_volumes_are_looked_after(wherry: Wherry, hello: str) -> None:
    container = wherry.ok("create", "--name", "torn", "-v", "gone:/data", hello)
    shutil.rmtree(wherry.root / "volumes/gone/_data")
    (layer,) = (wherry.root / "layers").glob("*/fs/hello.wat")
    shutil.rmtree(layer.parents[1])
    out = wherry("system", "check").out
    assert "container torn: of its image's files" in out
    assert "volume gone: its folder" in out
    assert "it was unpacked again" in wherry("system", "check", "--repair").out
    shutil.rmtree(wherry.root / "containers" / container)
    out = wherry("system", "check").out
    assert "container torn: its folder" in out and "'wherry rm torn'" in out
    wherry.ok("rm", "torn")
    wherry.ok("volume", "rm", "gone")


def test_how_far_it_is_shows_at_a_terminal_only(wherry: Wherry, hello: str) -> None:
    ours, its = pty.openpty()
    done = subprocess.run(
        wherry.argv("system", "check"), stdout=subprocess.PIPE, stderr=its, text=True,
        env={**wherry.environment, "TERM": "xterm"},
    )  # fmt: skip
    os.close(its)
    shown = b""
    with contextlib.suppress(OSError):  # EIO: nobody has the other end any more
        while part := os.read(ours, 65536):
            shown += part
    os.close(ours)
    assert (done.returncode, done.stdout) == (0, "Everything is as it must be.\n")
    assert b"\r\033[KChecking blobs: 100%" in shown
    assert shown.endswith(b"\r\033[K")


def test_df_is_what_du_says(wherry: Wherry, toolbox: str) -> None:
    wherry.ok("run", "-v", "kept:/data", toolbox, "put", "/data/file", "x" * 10_000)
    wherry.ok("run", toolbox, "put", "/file", "x" * 10_000)
    shown = wherry.ok("system", "df", "-v")
    du = subprocess.run(["du", "-sB1", wherry.root], capture_output=True, text=True, check=True)
    assert f"({du.stdout.split()[0]} bytes, as du counts)" in shown
    assert [kind["Type"] for kind in sizes(wherry)][-2:] == ["Compiled Code", "Engine"]
    wherry.ok("container", "prune", "-f")


def sizes(wherry: Wherry) -> list[dict[str, str]]:
    """A row of `system df` for each kind of thing."""
    shown = wherry.ok("system", "df", "--format", "json")
    return [json.loads(line) for line in shown.splitlines()]


def test_the_cache_may_be_removed_under_a_running_engine(wherry: Wherry, hello: str) -> None:
    wherry.ok("run", "--rm", hello)
    shutil.rmtree(wherry.root / "cache")
    for _ in range(2):
        assert "hello from" in wherry.ok("run", "--rm", hello)
    assert len(code_files(wherry)) == 1


def test_a_built_program_is_compiled_before_anybody_runs_it(
    fresh_wherry: Wherry, tmp_path: Path
) -> None:
    (tmp_path / "own.wat").write_text(WAT)
    fresh_wherry.image("own", tmp_path / "own.wat")
    until(lambda: code_files(fresh_wherry), "it was never compiled")


def test_an_unused_image_can_be_given_back_whole(fresh_wherry: Wherry, tmp_path: Path) -> None:
    (tmp_path / "own.wat").write_text(WAT)
    fresh_wherry.image("own", tmp_path / "own.wat")
    images, *_ = sizes(fresh_wherry)
    assert images["Size"] == images["Reclaimable"].split()[0] != "0B"
    fresh_wherry.ok("system", "prune", "-af")
    images, _, _, builds, *_ = sizes(fresh_wherry)
    assert images["Size"] == builds["Size"] == "0B"


@pytest.mark.parametrize("removed", ["rmi", "prune"])
def test_compiled_code_goes_with_its_image(
    fresh_wherry: Wherry, tmp_path: Path, removed: str
) -> None:
    module = tmp_path / "own.wat"
    module.write_text(WAT)
    fresh_wherry.image("own", module)
    fresh_wherry.ok("run", "--rm", "own")
    assert len(code_files(fresh_wherry)) == 1
    fresh_wherry.ok(*(("rmi", "own") if removed == "rmi" else ("image", "prune", "-af")))
    assert code_files(fresh_wherry) == []
    assert fresh_wherry.ok("system", "check") == "Everything is as it must be."

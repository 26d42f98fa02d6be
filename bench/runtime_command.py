"""A Wasm container as runtimes without a shim run it: wherry-runtime, and crun with WasmEdge."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import sysconfig
import tempfile
from collections.abc import Iterator
from pathlib import Path

from bench.linux import UNIFIED
from bench.stage import Missing, Stage
from tests.debian import Suite, SuiteMissing

PROGRAM = f"{sysconfig.get_path('scripts')}/wherry-runtime"
COLD = "WHERRY_RUNTIME_COLD"
"""A variable with which no warm process is used."""

_WASMEDGE = "libwasmedge0"
"""Debian's package of the library that its crun loads for Wasm, if it is there."""


@contextlib.contextmanager
def wasm_echo(stage: Stage) -> Iterator[tuple[list[str], dict[str, str]]]:
    """The command line that runs `hello` in a new container with wherry-runtime, compiled before.

    With it comes its environment, by which it finds the warm process that the first run leaves.
    """
    with tempfile.TemporaryDirectory() as folder:
        bundle = _bundle(Path(folder), stage)
        environment = {**os.environ, "WHERRY_ROOT": f"{folder}/data"}
        argv = [PROGRAM, "--root", f"{folder}/state", "run", "--bundle", str(bundle), "measured"]
        subprocess.run(argv, env=environment, check=True, capture_output=True)
        yield argv, environment


@contextlib.contextmanager
def wasm_in_crun(stage: Stage) -> Iterator[tuple[list[str], list[str], dict[str, str]]]:
    """Command lines that run the same module with crun and WasmEdge, and with wherry-runtime.

    Both in one machine of Debian's, for the machines measured on rarely have such a crun; with
    them comes their environment. Raises Missing.
    """
    try:
        machine = stage.enter(Suite("trixie", _WASMEDGE).machine())
    except SuiteMissing as error:
        raise Missing(f"crun with WasmEdge: {error}") from None
    said = machine.run("crun", "--version").stdout
    if "+WASM:wasmedge" not in said:
        raise Missing("crun with WasmEdge: Debian's has it no more")
    bundle = str(_bundle(machine.folder, stage))
    state = str(machine.folder / "state")
    if UNIFIED.exists():  # crun refuses cgroups v1 with a v2 beside them
        machine.run("umount", str(UNIFIED))
    crun = machine.argv("crun", "--root", f"{state}-of-crun", "run", "--bundle", bundle, "measured")
    ours = machine.argv(PROGRAM, "--root", state, "run", "--bundle", bundle, "measured")
    environment = machine.environment({"WHERRY_ROOT": str(machine.folder / "data")})
    for name, argv in (("crun with WasmEdge", crun), ("wherry-runtime", ours)):
        tried = subprocess.run(argv, env=environment, capture_output=True, text=True)
        if tried.returncode != 0:
            raise Missing(f"{name} cannot run in Debian's machine: {tried.stderr.strip()}")
    yield crun, ours, environment


def _bundle(folder: Path, stage: Stage) -> Path:
    bundle = folder / "bundle"
    for name in ("dev", "proc"):  # where crun mounts, without which it refuses a root
        (bundle / "rootfs" / name).mkdir(parents=True)
    shutil.copy(stage.guests.wasm("environ"), bundle / "rootfs" / "hello.wasm")
    subprocess.run([PROGRAM, "spec", "--bundle", bundle], check=True)
    config = json.loads((bundle / "config.json").read_text())
    config["process"] |= {"args": ["/hello.wasm", "hello"], "terminal": False}
    config["mounts"] = [{"destination": "/proc", "type": "proc", "source": "proc"}]
    config["annotations"] = {"run.oci.handler": "wasm"}
    (bundle / "config.json").write_text(json.dumps(config))
    return bundle

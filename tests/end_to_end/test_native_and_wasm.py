"""The example of one program for Linux and for Wasm, its base image pulled from a mirror."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.conftest import without
from tests.debian import SuiteMissing
from tests.end_to_end.linux_builds import PLATFORM
from tests.end_to_end.rust_image import push_rust
from tests.engine_under_test import Wherry
from tests.guests.toolchain import EXAMPLES
from tests.network.machine import Machine
from tests.registries import registry

pytestmark = [pytest.mark.root, pytest.mark.slow]

EXAMPLE = EXAMPLES / "native-and-wasm"


@pytest.fixture(scope="module")
def wherry() -> Iterator[Wherry]:
    """An engine that finds docker.io's images in a registry on its machine's loopback."""
    with Machine() as machine, Wherry() as wherry:
        prefix = ("nsenter", f"--target={machine.pid}", "--net", "--")
        with registry(prefix=prefix) as real:
            try:
                machine.call(push_rust, real)
            except SuiteMissing as error:
                without(str(error))
            hosts = wherry.folder / ".config" / "wherry" / "certs.d" / "docker.io" / "hosts.toml"
            hosts.parent.mkdir(parents=True)
            hosts.write_text(f'[host."{real.url}"]\n  capabilities = ["pull", "resolve"]\n')
            wherry.within = machine.within
            yield wherry


def test_both_are_built_unchanged_and_compared(wherry: Wherry) -> None:
    done = subprocess.run(
        [*wherry.within, sys.executable, str(EXAMPLE / "compare.py"), "2"],
        env=wherry.environment,
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert done.returncode == 0, done.stderr
    print(done.stdout)
    head, native, wasm = done.stdout.strip().splitlines()
    assert head.split()[:3] == ["IMAGE", "PLATFORM", "SIZE"]
    assert native.split()[:2] == ["words:native", PLATFORM]
    assert wasm.split()[:2] == ["words:wasm", "wasi/wasm"]
    text = "one two two three three three"
    for image, place in (("words:native", "linux/"), ("words:wasm", "wasi/wasm32")):
        out = wherry.ok("run", "--rm", "-i", image, input=text)
        assert out.startswith(f"counted on {place}")
        assert out.splitlines()[1:] == ["     3 three", "     2 two", "     1 one"]


def test_a_comparison_that_fails_says_what_the_command_said(tmp_path: Path) -> None:
    command = tmp_path / "wherry"
    command.write_text("#!/bin/sh\necho wherry: no >&2\nexit 3\n")
    command.chmod(0o755)
    words = [sys.executable, str(EXAMPLE / "compare.py")]
    for path, said in (
        (str(tmp_path), (3, "wherry: no\n")),
        ("", (1, "wherry is not on the PATH\n")),
    ):
        done = subprocess.run(words, env={"PATH": path}, capture_output=True, text=True)
        assert (done.returncode, done.stderr) == said


def test_a_second_build_does_nothing_anew(wherry: Wherry) -> None:
    for dockerfile, platform in (("Dockerfile", PLATFORM), ("Dockerfile.wasm", "wasi/wasm")):
        args = ("build", "--platform", platform, "-f", EXAMPLE / dockerfile, EXAMPLE)
        text = wherry.ok(*args)
        steps = re.findall(r"^\[\d+/\d+\] (?:COPY|RUN|WORKDIR) ", text, re.MULTILINE)
        assert text.count("] cached") == len(steps) > 3

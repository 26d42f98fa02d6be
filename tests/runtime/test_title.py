"""A process shown under its guest's command line."""

import subprocess
import sys

_PROGRAM = """
import os, sys
from wherry.runtime.sandbox.title import Title
title = Title()
if os.fork() == 0:
    title.show(sys.argv[1:])
    os.write(1, open("/proc/self/cmdline", "rb").read())
    os._exit(0)
os.wait()
"""


def _shown(*arguments: str) -> bytes:
    """What a fork of a process says it is, once told to show `arguments`."""
    argv = [sys.executable, "-c", _PROGRAM, *arguments]
    return subprocess.run(argv, capture_output=True, check=True).stdout


def test_a_fork_shows_other_arguments_than_the_process_it_came_from() -> None:
    shown = _shown("/bin/tool.wasm", "sleep", "ü")
    assert shown.rstrip(b"\0").split(b"\0") == [b"/bin/tool.wasm", b"sleep", "ü".encode()]


def test_what_does_not_fit_is_cut_off() -> None:
    room = len(_shown("x"))
    shown = _shown(*["y" * 100_000])
    assert 50 < room < len(shown) < 101_000
    assert set(shown) == set(b"y\0")

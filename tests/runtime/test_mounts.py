"""Mounts of a container that has a volume in common with others, who change it meanwhile."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.root

MOUNTING = """
import os, sys
from wherry.oci.runtime import Mount
from wherry.runtime.sandbox import mounts, syscalls
syscalls.unshare(syscalls.CLONE_NEWNS)
syscalls.mount("", "/", "", syscalls.MS_REC | syscalls.MS_SLAVE)
def interrupted(call):
    def wrapper(*arguments):
        call(*arguments)
        print("mounted", flush=True)
        sys.stdin.readline()
    return wrapper
for name in ("mount", "move_mount"):
    setattr(syscalls, name, interrupted(getattr(syscalls, name)))
root, secret = sys.argv[1:]
try:
    mounts.mount_into(
        os.open(root, os.O_PATH),
        Mount(destination="/data/secret", type="bind", source=secret, options=["rbind", "ro"]),
    )
except Exception as error:
    print(type(error).__name__, error)
try:
    open(f"{root}/data/moved/new", "w")
    print("written")
except OSError as error:
    print(error.strerror)
"""


def test_a_read_only_mount_is_never_there_without_being_so(tmp_path: Path) -> None:
    """Else who renames its place in a volume in between would make it a writable one."""
    root, secret = tmp_path / "root", tmp_path / "secret"
    (root / "data" / "secret").mkdir(parents=True)
    secret.mkdir()
    with subprocess.Popen(
        [sys.executable, "-c", MOUNTING, str(root), str(secret)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as child:
        assert child.stdin is not None and child.stdout is not None
        assert child.stdout.readline() == "mounted\n"
        # From outside of its mount namespace, as another container would.
        os.rename(root / "data" / "secret", root / "data" / "moved")
        (root / "data" / "secret").mkdir()
        child.stdin.write("go on\n")
        child.stdin.flush()
        said = child.stdout.read()
    assert "Read-only file system" in said
    assert list(secret.iterdir()) == []

"""What the zygote sees of the host's mounts, where the host shares none of them."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.conftest import ROOT

pytestmark = pytest.mark.root

PROGRAM = """
import sys
sys.path[:] = {path!r}
from wherry.runtime.sandbox.outlook import Outlook
outlook = Outlook()
for line in sys.stdin:
    stale = outlook.is_stale()
    if stale:
        outlook.renew()
    print(stale, {place!r} in open("/proc/self/mountinfo").read(), flush=True)
"""


class Host:
    """A mount namespace that shares nothing, and a process with an outlook on it."""

    def __init__(self, place: Path) -> None:
        self.place = place
        self.holder = subprocess.Popen(
            ["unshare", "--mount", "--propagation", "private", "sh", "-c", "echo; exec cat"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        )  # fmt: skip
        assert self.holder.stdout is not None
        self.holder.stdout.readline()
        self.enter = ["nsenter", f"--mount=/proc/{self.holder.pid}/ns/mnt", f"--wd={ROOT}"]
        program = PROGRAM.format(path=sys.path, place=str(place))
        self.zygote = subprocess.Popen(
            [*self.enter, sys.executable, "-c", program],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        self.look()

    def run(self, *command: str) -> None:
        subprocess.run([*self.enter, *command], check=True)

    def look(self) -> tuple[bool, bool]:
        """Whether the outlook was stale, and whether the mount is seen now."""
        assert self.zygote.stdin is not None and self.zygote.stdout is not None
        self.zygote.stdin.write("\n")
        self.zygote.stdin.flush()
        stale, seen = self.zygote.stdout.readline().split()
        return stale == "True", seen == "True"

    def close(self) -> None:
        for process in (self.zygote, self.holder):
            process.communicate()


@pytest.fixture
def host(tmp_path: Path) -> Iterator[Host]:
    host = Host(tmp_path)
    yield host
    host.close()


def test_while_nothing_is_mounted_nothing_is_copied_again(host: Host) -> None:
    assert host.look() == (False, False)


def test_what_is_mounted_later_is_seen(host: Host) -> None:
    host.run("mount", "-t", "tmpfs", "later", str(host.place))
    assert host.look() == (True, True)
    assert host.look() == (False, True)
    host.run("umount", str(host.place))
    assert host.look() == (True, False)

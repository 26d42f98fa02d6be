"""The user namespace of a wherryd that is not root."""

from __future__ import annotations

import ctypes
import os
import pwd
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from wherry.api import userns
from wherry.api.userns import IdRange, _call, mapping, subordinate_ids

_LOADED_BEFORE = (ctypes, pwd)  # the ordinary user of these tests may not read their files

_NOBODY = 65534
_PR_SET_DUMPABLE = 4


def test_ranges_are_found_by_name_and_by_number() -> None:
    table = "jo:100000:65536\n# comment\nann:1:2\n1000:300000:10\njo:x:1\njo:5\n\njo:7:0\n"
    assert subordinate_ids(table, ["1000", "jo"]) == [IdRange(100000, 65536), IdRange(300000, 10)]


def test_the_user_becomes_root_and_the_ranges_follow() -> None:
    words = mapping(1000, [IdRange(100000, 65536), IdRange(300000, 10)])
    assert words == ["0", "1000", "1", "1", "100000", "65536", "65537", "300000", "10"]


def _as_nobody(work: Callable[[], object]) -> str:
    """What `work` returns when an ordinary user does it, in a process of its own."""
    told, tell = os.pipe()
    child = os.fork()
    if not child:
        try:
            os.setgroups([])
            os.setresgid(_NOBODY, _NOBODY, _NOBODY)
            os.setresuid(_NOBODY, _NOBODY, _NOBODY)
            # A process that changed its user hides its /proc files from itself, until it executes.
            _call("prctl", _PR_SET_DUMPABLE, 1)
            result = work()
        except BaseException as error:
            result = f"{type(error).__name__}: {error}"
        os.write(tell, str(result).encode())
        os._exit(0)
    os.close(tell)
    with open(told, "rb") as answer:
        text = answer.read().decode()
    os.waitpid(child, 0)
    return text


def _enter_and_mount() -> None:
    assert userns.needed()
    userns.enter()
    assert not userns.needed()
    assert os.geteuid() == os.getegid() == 0
    _call("mount", b"tmpfs", b"/mnt", b"tmpfs", 0, None)
    Path("/mnt/inside").touch()


@pytest.mark.root
def test_inside_an_ordinary_user_is_root_and_may_mount() -> None:
    assert _as_nobody(_enter_and_mount) == "None"
    # Others may have mounted something meanwhile.
    assert not Path("/mnt/inside").exists()


@pytest.mark.root
def test_a_later_process_joins_one_that_lives() -> None:
    ready, begin = os.pipe()
    stay, end = os.pipe()

    def hold() -> None:
        os.close(end)
        _enter_and_mount()
        os.write(begin, f"{os.getpid():10}{os.readlink('/proc/self/ns/user')}".encode())
        os.read(stay, 1)

    def keep_holding() -> None:
        _as_nobody(hold)
        os.close(begin)

    holding = threading.Thread(target=keep_holding)
    holding.start()
    answer = os.read(ready, 100).decode()
    pid, namespace = int(answer[:10]), answer[10:]

    def join() -> str:
        # A pid that nobody has, and a process without a namespace of its own, are passed over.
        userns.enter([1 << 22, os.getpid(), pid])
        return f"{os.readlink('/proc/self/ns/user')} {os.path.exists('/mnt/inside')}"

    assert _as_nobody(join) == f"{namespace} True"
    os.close(end)
    holding.join(60)
    for fd in (ready, stay):
        os.close(fd)


@pytest.mark.root
def test_a_kernel_that_allows_none_is_told_in_one_line() -> None:
    def refused() -> str:
        # A user namespace without room for another one stands for such a kernel.
        userns.enter()
        Path("/proc/sys/user/max_user_namespaces").write_text("0")
        with pytest.raises(userns.NamespaceRefused) as caught:
            userns.enter()
        return str(caught.value)

    line = _as_nobody(refused)
    assert line.startswith("this kernel lets ordinary users make no user namespaces")
    assert "user.max_user_namespaces=15000" in line
    assert "\n" not in line

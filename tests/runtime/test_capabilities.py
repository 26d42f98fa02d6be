"""Privileges are given up in a child, and looked at in /proc."""

import ctypes
import errno
import os
from collections.abc import Callable

import pytest

from wherry.runtime.sandbox import capabilities


def in_child(act: Callable[[], str]) -> str:
    """Run `act` in a fork and return what it said, or its error."""
    heard, said = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            answer = act()
        except BaseException as error:
            answer = f"{type(error).__name__}: {error}"
        os.write(said, answer.encode())
        os._exit(0)
    os.close(said)
    with open(heard) as file:
        answer = file.read()
    assert os.waitpid(pid, 0)[1] == 0
    return answer


def status() -> dict[str, str]:
    with open("/proc/self/status") as file:
        return {key: value.strip() for key, _, value in (line.partition(":") for line in file)}


SETS = ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")


@pytest.mark.root
def test_all_five_sets_are_empty_afterwards() -> None:
    def act() -> str:
        capabilities.empty_bounding_set()
        capabilities.drop_all()
        found = status()
        return " ".join(found[name] for name in SETS)

    assert in_child(act) == " ".join(["0" * 16] * 5)


@pytest.mark.root
def test_root_without_capabilities_is_refused_what_needs_them() -> None:
    def act() -> str:
        capabilities.empty_bounding_set()
        capabilities.drop_all()
        libc = ctypes.CDLL(None, use_errno=True)
        assert libc.mount(b"none", b"/tmp", b"tmpfs", 0, None) == -1
        return errno.errorcode[ctypes.get_errno()]

    assert in_child(act) == "EPERM"


@pytest.mark.root
def test_dropping_twice_is_no_error() -> None:
    def act() -> str:
        capabilities.empty_bounding_set()
        capabilities.drop_all()
        capabilities.empty_bounding_set()
        capabilities.drop_all()
        return status()["CapEff"]

    assert in_child(act) == "0" * 16


@pytest.mark.root
def test_an_ordinary_user_drops_what_there_is() -> None:
    def act() -> str:
        os.setresuid(65534, 65534, 65534)
        capabilities.empty_bounding_set()
        capabilities.drop_all()
        found = status()
        return " ".join(found[name] for name in SETS if name != "CapBnd")

    assert in_child(act) == " ".join(["0" * 16] * 4)


def test_no_new_privileges_is_set() -> None:
    def act() -> str:
        before = status()["NoNewPrivs"]
        capabilities.set_no_new_privs()
        return before + status()["NoNewPrivs"]

    assert in_child(act).endswith("1")

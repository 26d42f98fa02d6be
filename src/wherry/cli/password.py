"""The password of a private key: from COSIGN_PASSWORD, the terminal, or a line of stdin."""

from __future__ import annotations

import os
import sys

from wherry.cli.errors import CommandError

_VARIABLE = "COSIGN_PASSWORD"


def password(path: str) -> bytes:
    """The password that opens the key in a file. Raises `CommandError`."""
    return _given() if _is_given() else _asked(f"Password of {path}: ")


def new_password(path: str) -> bytes:
    """The password that a new key is sealed with, typed twice. Raises `CommandError`."""
    if _is_given():
        return _given()
    first = _asked(f"Password for {path}: ")
    if os.isatty(0) and first != _asked("The same again: "):
        raise CommandError("the two passwords are not the same")
    return first


def _is_given() -> bool:
    return _VARIABLE in os.environ or not os.isatty(0)


def _given() -> bytes:
    if _VARIABLE in os.environ:
        return os.environb[_VARIABLE.encode()]
    return sys.stdin.buffer.readline().rstrip(b"\r\n")


def _asked(question: str) -> bytes:
    from wherry.cli.prompt import ask_secret

    return ask_secret(question).encode()

"""`--user`: names become ids by the image's own /etc/passwd and /etc/group."""

import os
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from wherry.engine.errors import InvalidRequest
from wherry.engine.privileges import maps_id
from wherry.images.walk import reopened

_LIMIT = 1 << 20
_MOST = (1 << 31) - 1


class User(NamedTuple):
    """Ids inside the container, and the home directory."""

    uid: int
    gid: int
    groups: list[int]
    home: str


def find_user(text: str, extra_groups: Iterable[str], layers: Sequence[str]) -> User:
    """Resolve "user", "uid", "user:group" and the like. Raises InvalidRequest.

    `layers` are the image's, topmost first.
    """
    name, colon, group = text.partition(":")
    users = _entries(layers, "passwd", 6)
    groups: list[list[str]] | None = None
    uid, gid, home, login = 0, 0, "/", ""
    found = next((entry for entry in users if name and entry[0] == name), None)
    if found is None:
        number = _number(name) if name else 0
        if number is None:
            raise InvalidRequest(f"unable to find user {name}: no matching entries in passwd file")
        uid = number
        found = next((entry for entry in users if _number(entry[2]) == uid), None)
    if found is not None:
        uid, gid = _number(found[2]) or 0, _number(found[3]) or 0
        login, home = found[0], found[5] or "/"
    further: list[int] = []
    if colon or login or extra_groups:
        groups = _entries(layers, "group", 3)
        if colon and group:
            gid = _group(group, groups)
        elif login:
            further = [
                number
                for entry in groups
                if len(entry) > 3 and login in entry[3].split(",")
                and (number := _number(entry[2])) is not None
            ]  # fmt: skip
        further += [_group(each, groups) for each in extra_groups]
    return User(uid, gid, further, home)


def mapped(user: User) -> User:
    """`user` for a Linux program; an ordinary person's engine may have one id, or some, only.

    Further groups that it has not are left out. Raises InvalidRequest.
    """
    for kind, number in (("uid", user.uid), ("gid", user.gid)):
        if not maps_id(kind, number):
            raise InvalidRequest(
                f"{kind} {number} is none that this engine may use: run the program as root, "
                "user 0, or give yourself ranges of ids (apt install uidmap; a line for you in "
                "/etc/subuid and /etc/subgid)"
            )
    return user._replace(groups=[number for number in user.groups if maps_id("gid", number)])


def _group(text: str, groups: list[list[str]]) -> int:
    number = next((_number(entry[2]) for entry in groups if entry[0] == text), _number(text))
    if number is None:
        raise InvalidRequest(f"unable to find group {text}: no matching entries in group file")
    return number


def _number(text: str) -> int | None:
    return int(text) if text.isdecimal() and len(text) < 11 and int(text) <= _MOST else None


def _entries(layers: Sequence[str], name: str, least: int) -> list[list[str]]:
    """The lines of /etc/NAME in the topmost layer that has it, split into their fields."""
    for layer in layers:
        try:
            content = _read(layer, name)
        except FileNotFoundError:
            continue
        except OSError:
            return []
        lines = content.decode(errors="replace").splitlines()
        return [parts for line in lines if len(parts := line.split(":")) >= least]
    return []


def _read(layer: str, name: str) -> bytes:
    """No link is followed: where it would lead is the guest's business, not ours."""
    root = os.open(layer, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        flags = os.O_DIRECTORY | os.O_NOFOLLOW | os.O_PATH | os.O_CLOEXEC
        folder = os.open("etc", flags, dir_fd=root)
    finally:
        os.close(root)
    try:
        # Not opened yet: what a device or pipe would make of that.
        place = os.open(name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=folder)
    finally:
        os.close(folder)
    try:
        with reopened(place, name) as file:
            return file.read(_LIMIT) or b""
    finally:
        os.close(place)

"""Flags of `run` and `create` that say how a Linux program is confined."""

from __future__ import annotations

import json

from wherry.cli.errors import UsageError
from wherry.cli.flags import invalid

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from wherry.cli.flags import Arguments

_LARGEST_PROFILE = 1 << 20


def add_confinement(arguments: Arguments, host: dict[str, Any]) -> None:
    """Put what was given into `HostConfig`. Raises UsageError with exit code 125."""
    if arguments.many("cap-add"):
        host["CapAdd"] = list(arguments.many("cap-add"))
    if arguments.many("cap-drop"):
        host["CapDrop"] = list(arguments.many("cap-drop"))
    if arguments.many("device"):
        host["Devices"] = [_device(text) for text in arguments.many("device")]
    if arguments.many("group-add"):
        host["GroupAdd"] = list(arguments.many("group-add"))
    if arguments.given("init"):
        host["Init"] = arguments.switch("init")
    if arguments.switch("privileged"):
        host["Privileged"] = True
    if namespace := arguments.text("cgroupns"):
        if namespace not in ("private", "host"):
            raise invalid("--cgroupns", namespace, "it is private or host")
        host["CgroupnsMode"] = namespace
    if arguments.text("shm-size"):
        from wherry.cli.units import parse_size

        host["ShmSize"] = parse_size(arguments.text("shm-size"))
    if arguments.many("security-opt"):
        host["SecurityOpt"] = [_option(text) for text in arguments.many("security-opt")]
    if arguments.many("sysctl"):
        host["Sysctls"] = dict(_sysctl(text) for text in arguments.many("sysctl"))


def _device(text: str) -> dict[str, str]:
    """`/PATH`, `/PATH:rw`, `/PATH:/PATH`, `/PATH:/PATH:rw`."""
    source, *more = text.split(":")
    target, access = source, "rwm"
    if more and set(more[-1]) <= set("rwm") and more[-1]:
        access = more.pop()
    if more:
        target = more.pop()
    if more or not source.startswith("/") or not target.startswith("/"):
        raise invalid("--device", text, "write /PATH[:/PATH[:rwm]]")
    return {"PathOnHost": source, "PathInContainer": target, "CgroupPermissions": access}


def _option(text: str) -> str:
    """As the engine takes it: a profile itself, where a person names its file."""
    name, equals, value = text.partition("=")
    if name != "seccomp" or not equals or value in ("unconfined", "builtin"):
        return text
    try:
        with open(value, encoding="utf-8") as file:
            profile = file.read(_LARGEST_PROFILE + 1)
        json.loads(profile)
    except OSError as error:
        message = f"opening seccomp profile ({value}) failed: {error.strerror}"
        raise UsageError(message, 125) from None
    except ValueError as error:
        raise UsageError(f"the seccomp profile {value} is not JSON: {error}", 125) from None
    return f"seccomp={profile}"


def _sysctl(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not (name and equals):
        raise invalid("--sysctl", text, "write NAME=VALUE")
    return name, value

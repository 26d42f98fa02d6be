"""A person's own seccomp profile, in the JSON that Docker takes (`--security-opt seccomp=…`).

It may hold for several machines: rules are for some architectures, kernels and capabilities only.
"""

import os
import re
from collections.abc import Collection

import msgspec

from wherry.engine.errors import InvalidRequest
from wherry.engine.linux.seccomp import ARCHITECTURES, Argument, Rule, Seccomp
from wherry.oci import HOST

_LIMIT = 1 << 20
_MOST_RULES = 4096
_GO = {"amd64": {"amd64", "x32", "x86"}, "arm64": {"arm64", "arm"}, "s390x": {"s390x", "s390"}}
"""What Docker's filters call the architectures of a machine, where that is more than one."""
_WITH_NOTIFY = "SCMP_ACT_NOTIFY"


class _Filter(msgspec.Struct, rename="camel"):
    caps: list[str] | None = None
    arches: list[str] | None = None
    min_kernel: str = ""


class _Rule(msgspec.Struct, rename="camel"):
    action: str
    names: list[str] | None = None
    name: str = ""
    args: list[Argument] | None = None
    includes: _Filter | None = None
    excludes: _Filter | None = None
    errno_ret: int | None = None


class _Architecture(msgspec.Struct, rename="camel"):
    architecture: str
    sub_architectures: list[str] | None = None


class _Profile(msgspec.Struct, rename="camel"):
    default_action: str
    default_errno_ret: int | None = None
    architectures: list[str] | None = None
    arch_map: list[_Architecture] | None = None
    flags: list[str] | None = None
    syscalls: list[_Rule] | None = None


def read_profile(text: str, capabilities: Collection[str]) -> Seccomp:
    """The profile as it holds here for a container with `capabilities`. Raises InvalidRequest."""
    if len(text) > _LIMIT:
        raise InvalidRequest(f"the seccomp profile has more than {_LIMIT >> 20} MiB")
    try:
        profile = msgspec.json.decode(text, type=_Profile)
    except msgspec.DecodeError as error:
        raise InvalidRequest(f"decoding the seccomp profile failed: {error}") from None
    rules = profile.syscalls or []
    if len(rules) > _MOST_RULES:
        raise InvalidRequest(f"the seccomp profile has more than {_MOST_RULES} rules")
    if any(rule.action == _WITH_NOTIFY for rule in rules):
        raise InvalidRequest(f"the seccomp profile asks for {_WITH_NOTIFY}: nobody listens here")
    return Seccomp(
        default_action=profile.default_action,
        default_errno_ret=profile.default_errno_ret,
        architectures=_architectures(profile),
        flags=profile.flags,
        syscalls=[
            Rule(
                names=rule.names or ([rule.name] if rule.name else []),
                action=rule.action,
                args=rule.args or None,
                errno_ret=rule.errno_ret,
            )
            for rule in rules
            if _holds(rule.includes, capabilities)
            and not (rule.excludes and _excluded(rule.excludes, capabilities))
        ],
    )


def _architectures(profile: _Profile) -> list[str] | None:
    if profile.architectures:
        return profile.architectures
    own = ARCHITECTURES.get(HOST.architecture, ("",))[0]
    for entry in profile.arch_map or ():
        if entry.architecture == own:
            return [own, *(entry.sub_architectures or ())]
    return None


def _holds(filter: _Filter | None, capabilities: Collection[str]) -> bool:
    """Whether all that a rule asks for is so."""
    if filter is None:
        return True
    if filter.arches and _names_of_host().isdisjoint(filter.arches):
        return False
    if not set(filter.caps or ()) <= set(capabilities):
        return False
    return not filter.min_kernel or _kernel() >= _version(filter.min_kernel)


def _excluded(filter: _Filter, capabilities: Collection[str]) -> bool:
    """Whether any of what a rule is not for is so."""
    return bool(
        not _names_of_host().isdisjoint(filter.arches or ())
        or set(filter.caps or ()) & set(capabilities)
        or (filter.min_kernel and _kernel() >= _version(filter.min_kernel))
    )


def _names_of_host() -> set[str]:
    return _GO.get(HOST.architecture, {HOST.architecture})


def _kernel() -> tuple[int, int]:
    return _version(os.uname().release)


def _version(text: str) -> tuple[int, int]:
    found = re.match(r"(\d{1,6})\.(\d{1,6})", text)
    if found is None:
        raise InvalidRequest(f"the seccomp profile: {text[:40]!r} is no version of a kernel")
    return int(found[1]), int(found[2])

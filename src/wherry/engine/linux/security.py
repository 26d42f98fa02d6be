"""`--security-opt`: what it may say of a Linux container, in Docker's words."""

from collections.abc import Iterable
from typing import NamedTuple

from wherry.engine.errors import InvalidRequest

UNCONFINED = "unconfined"
_ELSEWHERE = ("apparmor", "label")
_TRUTHS = {"": True, "true": True, "1": True, "false": False, "0": False}


class Security(NamedTuple):
    """How a container is confined; without a word, wholly."""

    no_new_privileges: bool = False
    seccomp: str = ""
    """Empty for the default profile, "unconfined", or a profile as JSON, as Docker takes it."""
    open_paths: bool = False
    """Nothing of /proc and /sys is masked or read-only."""


def read_security(options: Iterable[str]) -> tuple[Security, list[str]]:
    """What the options say, and warnings for what has no effect here. Raises InvalidRequest."""
    security, warnings = Security(), []
    for text in options:
        name, value = _split(text)
        if name == "no-new-privileges":
            if value.lower() not in _TRUTHS:
                raise InvalidRequest(f"--security-opt {text[:60]}: it is true or false")
            security = security._replace(no_new_privileges=_TRUTHS[value.lower()])
        elif name == "seccomp" and value:
            profile = "" if value == "builtin" else value
            security = security._replace(seccomp=profile)
        elif name == "systempaths" and value == UNCONFINED:
            security = security._replace(open_paths=True)
        elif name in _ELSEWHERE:
            if value not in ("disable", UNCONFINED):
                warnings.append(
                    f"--security-opt {name} is discarded: wherry loads no {name} policies"
                )
        else:
            raise InvalidRequest(
                f"invalid --security-opt: {text[:60]!r}: known are no-new-privileges, "
                "seccomp=PROFILE, systempaths=unconfined"
            )
    return security, warnings


def _split(text: str) -> tuple[str, str]:
    """Docker parts them by an equals sign, formerly by a colon."""
    name, equals, value = text.partition("=")
    if not equals:
        name, _, value = text.partition(":")
    return name.strip(), value.strip()

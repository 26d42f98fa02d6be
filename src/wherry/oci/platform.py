"""Platforms: what an image runs on (image-index.md, `platform`), and which suits whom.

Spellings, variants and their order are containerd's (`github.com/containerd/platforms`), so that
of one index all of them take the same image.
"""

import os
import re
from collections.abc import Iterable, Iterator
from functools import lru_cache

import msgspec

_WASM_ARCHITECTURES = frozenset({"wasm", "wasm32"})
_WASM_SYSTEMS = frozenset({"wasi", "wasip1", "wasip2", "js", ""})
_SYSTEMS = frozenset({
    "aix", "android", "darwin", "dragonfly", "freebsd", "illumos", "ios", "js", "linux", "netbsd",
    "openbsd", "plan9", "solaris", "wasi", "wasip1", "wasip2", "windows", "zos",
})  # fmt: skip
_ARCHITECTURES = frozenset({
    "386", "amd64", "arm", "arm64", "loong64", "mips", "mips64", "mips64le", "mipsle", "ppc64",
    "ppc64le", "riscv64", "s390x", "wasm", "wasm32",
})  # fmt: skip
_SPELLINGS = {
    "i386": ("386", ""), "i686": ("386", ""),
    "x86_64": ("amd64", ""), "x86-64": ("amd64", ""),
    "aarch64": ("arm64", ""),
    "armhf": ("arm", "v7"), "armel": ("arm", "v6"),
    "armv5l": ("arm", "v5"), "armv6l": ("arm", "v6"), "armv7l": ("arm", "v7"),
    "armv8l": ("arm", "v8"),
    "loongarch64": ("loong64", ""),
}  # fmt: skip
"""Other names of architectures: Debian's, the kernel's (uname -m), people's."""
_PART = re.compile(r"[a-z0-9_.-]{1,64}", re.ASCII)
_NUMBERED = re.compile(r"v?(\d)(?:\.(\d))?", re.ASCII)

_OLDEST_ARM, _FIRST_64_BIT_ARM = 5, 8
_BEHIND = 5
"""ARMv9.x has all of ARMv8.(x+5)."""


class InvalidPlatform(ValueError):
    """The text names no platform."""


class Platform(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """An operating system and an architecture, as somebody wrote them."""

    architecture: str
    os: str
    variant: str = ""
    os_version: str = msgspec.field(default="", name="os.version")
    os_features: list[str] | None = msgspec.field(default=None, name="os.features")
    features: list[str] | None = None

    @property
    def is_wasm(self) -> bool:
        """Whether images of this platform hold WebAssembly, under any spelling in use."""
        return self.architecture in _WASM_ARCHITECTURES and self.os in _WASM_SYSTEMS

    @property
    def normal(self) -> "Platform":
        """The same platform in its usual spelling, without what does not choose an image."""
        if self.is_wasm:
            return WASM
        architecture, variant = _normalize(self.architecture.lower(), self.variant.lower())
        system = self.os.lower()
        system = {"macos": "darwin"}.get(system, system)
        return Platform(architecture=architecture, os=system, variant=variant)

    def rank(self, wanted: "Platform") -> int | None:
        """How well an image of this platform serves who asked for `wanted`.

        0 is best; None if it does not. An older variant serves as well, and 32 bits serve 64.
        """
        own = self.normal
        serving = _serving(wanted.normal)
        return serving.index(own) if own in serving else None

    def matches(self, wanted: "Platform") -> bool:
        """Whether an image of this platform serves who asked for `wanted`."""
        return self.rank(wanted) is not None

    def __str__(self) -> str:
        return "/".join(part for part in (self.os, self.architecture, self.variant) if part)


def parse_platform(text: str) -> Platform:
    """Parse `os/architecture[/variant]`, as `--platform` takes it, into its usual spelling.

    One of the two alone is completed: a system by this machine's architecture, an architecture by
    Linux, and `wasm` is `wasi/wasm`. Raises InvalidPlatform.
    """
    parts = text.strip().lower().split("/")
    if len(parts) > 3 or not all(_PART.fullmatch(part) for part in parts):
        raise InvalidPlatform(
            f"platform {text[:80]!r} is not of the form os/architecture[/variant], "
            "like linux/arm64 or wasi/wasm"
        )
    if len(parts) > 1:
        variant = parts[2] if len(parts) == 3 else ""
        return Platform(architecture=parts[1], os=parts[0], variant=variant).normal
    name = parts[0]
    if name in _WASM_ARCHITECTURES or name in ("wasi", "wasip1", "wasip2"):
        return WASM
    if name in _SYSTEMS or name == "macos":
        return Platform(architecture=HOST.architecture, os=name, variant=HOST.variant).normal
    if name in _ARCHITECTURES or name in _SPELLINGS:
        return Platform(architecture=name, os="linux").normal
    raise InvalidPlatform(
        f"platform {text[:80]!r} is no operating system and no architecture that is known: "
        "write os/architecture, like linux/arm64 or wasi/wasm"
    )


def best(platforms: Iterable[Platform], wanted: Platform) -> int | None:
    """The position of the platform that serves `wanted` best, the first of equals; None if none."""
    ranked = ((one.rank(wanted), position) for position, one in enumerate(platforms))
    fitting = [(rank, position) for rank, position in ranked if rank is not None]
    return min(fitting)[1] if fitting else None


def _normalize(architecture: str, variant: str) -> tuple[str, str]:
    architecture, implied = _SPELLINGS.get(architecture, (architecture, ""))
    number = _NUMBERED.fullmatch(variant)
    if architecture == "386":
        return architecture, ""
    if architecture == "amd64":
        return architecture, "" if variant == "v1" else variant
    if architecture == "arm":
        return architecture, f"v{number[1]}" if number else variant or implied or "v7"
    if architecture == "arm64" and number:
        major, minor = number[1], int(number[2] or 0)
        return architecture, _arm64(int(major), minor)
    return architecture, variant


def _arm64(major: int, minor: int) -> str:
    if minor:
        return f"v{major}.{minor}"
    return "" if major == _FIRST_64_BIT_ARM else f"v{major}"


@lru_cache(maxsize=64)
def _serving(wanted: Platform) -> tuple[Platform, ...]:
    """The platforms whose images serve `wanted`, a normal one, best first."""
    return (wanted, *_lesser(wanted))


def _lesser(wanted: Platform) -> Iterator[Platform]:
    """What serves `wanted`, too, though it was made for older or smaller machines."""
    number = _NUMBERED.fullmatch(wanted.variant)
    major, minor = (int(number[1]), int(number[2] or 0)) if number else (0, 0)

    def other(architecture: str, variant: str = "") -> Platform:
        return Platform(architecture=architecture, os=wanted.os, variant=variant).normal

    if wanted.architecture == "amd64":
        yield from (other("amd64", f"v{level}") for level in range(major - 1, 0, -1))
        yield other("386")
    elif wanted.architecture == "arm":
        yield from (other("arm", f"v{level}") for level in range(major - 1, _OLDEST_ARM - 1, -1))
    elif wanted.architecture == "arm64":
        if major == _FIRST_64_BIT_ARM + 1:
            yield from (other("arm64", f"v{major}.{one}") for one in range(minor - 1, -1, -1))
            minor += _BEHIND + 1
        yield from (other("arm64", f"v8.{one}") for one in range(minor - 1, -1, -1))
        yield from (other("arm", f"v{level}") for level in range(8, _OLDEST_ARM - 1, -1))


def _host() -> Platform:
    return Platform(architecture=os.uname().machine, os="linux").normal


WASM = Platform(architecture="wasm", os="wasi")
"""The platform wherry writes."""

HOST = _host()
"""The Linux platform of this machine. What its CPU can do beyond is in `wherry.oci.cpu`."""

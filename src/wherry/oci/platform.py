"""Platforms: what an image runs on (image-index.md, `platform`)."""

import os

import msgspec

_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64", "armv7l": "arm", "riscv64": "riscv64"}
_ALIASES = {"x86_64": "amd64", "x86-64": "amd64", "aarch64": "arm64", "armhf": "arm"}
_WASM_ARCHITECTURES = frozenset({"wasm", "wasm32"})
_WASM_SYSTEMS = frozenset({"wasi", "wasip1", "wasip2", "js", ""})


class InvalidPlatform(ValueError):
    """The text names no platform."""


class Platform(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """An operating system and an architecture."""

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

    def matches(self, wanted: "Platform") -> bool:
        """Whether an image of this platform serves who asked for `wanted`."""
        if wanted.is_wasm:
            return self.is_wasm
        return (
            self.os == wanted.os
            and self.architecture == wanted.architecture
            and (not wanted.variant or self.variant == wanted.variant)
        )

    def __str__(self) -> str:
        return "/".join(part for part in (self.os, self.architecture, self.variant) if part)


def parse_platform(text: str) -> Platform:
    """Parse `os/arch[/variant]`, as `--platform` takes it; a bare `wasm` is `wasi/wasm`.

    Raises InvalidPlatform.
    """
    parts = text.strip().lower().split("/")
    if len(parts) == 1 and parts[0] in _WASM_ARCHITECTURES:
        return WASM
    if not 2 <= len(parts) <= 3 or not all(part.isascii() and part for part in parts):
        raise InvalidPlatform(f"platform {text!r} is not of the form os/architecture[/variant]")
    architecture = _ALIASES.get(parts[1], parts[1])
    variant = parts[2] if len(parts) == 3 else ""
    if architecture == "arm64" and variant == "v8":
        variant = ""
    found = Platform(architecture=architecture, os=parts[0], variant=variant)
    return WASM if found.is_wasm else found


WASM = Platform(architecture="wasm", os="wasi")
"""The platform wherry writes."""

HOST = Platform(architecture=_ARCHITECTURES.get(os.uname().machine, os.uname().machine), os="linux")
"""The Linux platform of this machine."""

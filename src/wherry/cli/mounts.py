"""`-v` and `--mount`: what a person writes, as the Engine API takes it."""

from __future__ import annotations

import os

from wherry.cli.errors import UsageError
from wherry.cli.flags import invalid

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_TRUE = ("", "1", "true")
_FALSE = ("0", "false")


def parse_volume(text: str) -> tuple[str, str]:
    """A `-v` value: (bind, "") for `HostConfig.Binds`, or ("", path) for an anonymous volume.

    A source that starts with `.` or `~` is a folder of this machine and made absolute. Raises
    `UsageError`.
    """
    parts = text.split(":")
    if len(parts) == 1:
        if not text.startswith("/"):
            raise invalid("-v", text, "write SOURCE:/PATH, or /PATH for an anonymous volume")
        return "", text
    source, target = parts[0], parts[1]
    if len(parts) > 3 or not source or not target.startswith("/"):
        raise invalid("-v", text, "write SOURCE:/PATH or SOURCE:/PATH:ro")
    if source.startswith((".", "~")):
        parts[0] = os.path.abspath(os.path.expanduser(source))
    return ":".join(parts), ""


def parse_mount(text: str) -> dict[str, Any]:
    """A `--mount` value, `type=bind,source=…,target=…[,readonly]`, for `HostConfig.Mounts`.

    Raises `UsageError`.
    """
    mount: dict[str, Any] = {"Type": "volume"}
    for field in _split(text):
        key, equals, value = field.partition("=")
        key = key.strip().lower()
        if not equals and key not in ("readonly", "ro", "volume-nocopy"):
            raise invalid("--mount", text, f"'{field}' must be a key=value pair")
        _set(mount, key, value, text)
    if mount["Type"] not in ("bind", "volume", "tmpfs", "image"):
        raise invalid("--mount", text, f"unknown type '{mount['Type']}'")
    if not mount.get("Target"):
        raise invalid("--mount", text, "target is required")
    if mount["Type"] == "bind":
        if not mount.get("Source"):
            raise invalid("--mount", text, "a bind mount needs a source")
        mount["Source"] = os.path.abspath(os.path.expanduser(mount["Source"]))
    if mount["Type"] == "image" and not mount.get("Source"):
        raise invalid("--mount", text, "an image mount needs a source: the image's name")
    for kind in ("Bind", "Volume", "Tmpfs", "Image"):
        if f"{kind}Options" in mount and mount["Type"] != kind.lower():
            raise invalid("--mount", text, f"{kind.lower()} options with type '{mount['Type']}'")
    return mount


def _set(mount: dict[str, Any], key: str, value: str, text: str) -> None:
    if key == "type":
        mount["Type"] = value.lower()
    elif key in ("source", "src"):
        mount["Source"] = value
    elif key in ("target", "dst", "destination"):
        mount["Target"] = value
    elif key in ("readonly", "ro"):
        mount["ReadOnly"] = _truth(key, value, text)
    elif key == "consistency":
        mount["Consistency"] = value.lower()
    elif key == "bind-propagation":
        mount.setdefault("BindOptions", {})["Propagation"] = value.lower()
    elif key == "volume-nocopy":
        mount.setdefault("VolumeOptions", {})["NoCopy"] = _truth(key, value, text)
    elif key == "volume-label":
        name, _, label = value.partition("=")
        mount.setdefault("VolumeOptions", {}).setdefault("Labels", {})[name] = label
    elif key in ("volume-subpath", "image-subpath"):
        options = f"{key.partition('-')[0].capitalize()}Options"
        mount.setdefault(options, {})["Subpath"] = value
    elif key == "volume-driver":
        driver = mount.setdefault("VolumeOptions", {}).setdefault("DriverConfig", {})
        driver["Name"] = value
    elif key == "volume-opt":
        driver = mount.setdefault("VolumeOptions", {}).setdefault("DriverConfig", {})
        name, _, option = value.partition("=")
        driver.setdefault("Options", {})[name] = option
    elif key == "tmpfs-size":
        from wherry.cli.units import parse_size

        mount.setdefault("TmpfsOptions", {})["SizeBytes"] = parse_size(value)
    elif key == "tmpfs-mode":
        try:
            mount.setdefault("TmpfsOptions", {})["Mode"] = int(value, 8)
        except ValueError:
            raise invalid("--mount", text, f"'{value}' is not an octal mode") from None
    else:
        raise invalid("--mount", text, f"unknown key '{key}'")


def _truth(key: str, value: str, text: str) -> bool:
    if value.lower() not in _TRUE + _FALSE:
        raise invalid("--mount", text, f"{key} is true or false")
    return value.lower() in _TRUE


def _split(text: str) -> list[str]:
    """Fields of one CSV line; a field in double quotes may contain commas."""
    if '"' not in text:
        return text.split(",")
    import csv

    try:
        return next(csv.reader([text], strict=True))
    except (csv.Error, StopIteration):
        raise UsageError(f'invalid argument "{text}" for "--mount": a quote is open', 125) from None

"""containerd's configuration as its several versions put it together.

The file named on the command line comes first, then what it imports, each file's imports behind
those already waiting. containerd 1.x lets a file's section of a plugin take the place of the same
section of the files before it; 2.x merges them member by member. A plugin's name depends on the
`version` at the top, which all files must share: 2.x takes over the last one's number without
translating the others, and 2.3 refuses a higher one.
"""

import fnmatch
import glob
import os
from dataclasses import dataclass
from typing import Any

from wherry.install.errors import InstallError
from wherry.install.host import Host
from wherry.install.toml_text import InvalidToml, read_toml

CONFIG = "/etc/containerd/config.toml"
DROP_INS = "/etc/containerd/conf.d"

IMAGES = "io.containerd.cri.v1.images"
"""The plugin that pulls images for pods, from containerd 2 on."""

_MOST_FILES = 200
_CRI = {1: "cri", 2: "io.containerd.grpc.v1.cri"}


def cri_plugin(version: int) -> str:
    """The plugin that holds the runtime handlers, by the configuration's version."""
    return _CRI.get(version, "io.containerd.cri.v1.runtime")


@dataclass(frozen=True)
class Loaded:
    """A configuration with all it imports, in the order it is read."""

    path: str
    """The first file."""
    files: tuple[tuple[str, dict[str, Any]], ...]
    """Path and contents; empty when there is no configuration."""

    @property
    def version(self) -> int:
        """The version of its first file, 1 when that has none; 0 without a file."""
        if not self.files:
            return 0
        version = self.files[0][1].get("version", 1)
        return version if isinstance(version, int) and version > 1 else 1

    def section_owner(self, plugin: str) -> str | None:
        """The last file with a section of the plugin: to containerd 1.x the only one."""
        owners = [path for path, data in self.files if plugin in _table(data, "plugins")]
        return owners[-1] if owners else None

    def section(self, plugin: str, *, merged: bool) -> dict[str, Any]:
        """What the plugin is told; `merged` as 2.x does it."""
        found: dict[str, Any] = {}
        for _, data in self.files:
            plugins = _table(data, "plugins")
            if plugin in plugins:
                section = _table(plugins, plugin)
                found = _merge(found, section) if merged else section
        return found

    def handlers(self, *, merged: bool) -> dict[str, Any]:
        """The runtime handlers of the CRI, by name."""
        cri = self.section(cri_plugin(self.version), merged=merged)
        return _table(_table(cri, "containerd"), "runtimes")

    @property
    def disabled(self) -> set[str]:
        """The plugins that are turned off."""
        return {name for _, data in self.files for name in _strings(data, "disabled_plugins")}

    def imports(self, path: str) -> bool:
        """Whether the first file's imports reach a path, be it there or not."""
        patterns = _strings(self.files[0][1], "imports") if self.files else []
        base = os.path.dirname(self.path)
        return any(_matches(path, os.path.join(base, pattern)) for pattern in patterns)


def load(host: Host, path: str = CONFIG) -> Loaded:
    """Read a configuration and what it imports. Raises InstallError for what is no TOML."""
    files: list[tuple[str, dict[str, Any]]] = []
    pending, seen = [path], set[str]()
    while pending and len(files) < _MOST_FILES:
        here = pending.pop(0)
        if here in seen:
            continue
        seen.add(here)
        content = host.read(here)
        if content is None:
            if here == path:
                return Loaded(path, ())
            continue
        try:
            data = read_toml(content)
        except InvalidToml as error:
            raise InstallError(f"{here}: {error}; repair it first, nothing was changed") from None
        files.append((here, data))
        for pattern in _strings(data, "imports"):
            pending.extend(_resolve(host, os.path.join(os.path.dirname(here), pattern)))
    return Loaded(path, tuple(files))


def _resolve(host: Host, pattern: str) -> list[str]:
    pattern = os.path.normpath(pattern)
    if "*" not in pattern:
        return [pattern]
    prefix = "" if host.is_this_machine else str(host.root)
    return [found.removeprefix(prefix) for found in sorted(glob.glob(prefix + pattern))]


def _matches(path: str, pattern: str) -> bool:
    """As Go's filepath.Match, of which containerd uses `*` only."""
    names, patterns = path.split("/"), os.path.normpath(pattern).split("/")
    if len(names) != len(patterns):
        return False
    return all(_name_matches(*pair) for pair in zip(names, patterns, strict=True))


def _name_matches(name: str, pattern: str) -> bool:
    return fnmatch.fnmatchcase(name, pattern)


def _merge(into: dict[str, Any], more: dict[str, Any]) -> dict[str, Any]:
    merged = dict(into)
    for key, value in more.items():
        old = merged.get(key)
        merged[key] = (
            _merge(old, value) if isinstance(old, dict) and isinstance(value, dict) else value
        )
    return merged


def _table(data: dict[str, Any], name: str) -> dict[str, Any]:
    value = data.get(name)
    return value if isinstance(value, dict) else {}


def _strings(data: dict[str, Any], name: str) -> list[str]:
    value = data.get(name)
    return [item for item in value if isinstance(item, str)] if isinstance(value, list) else []

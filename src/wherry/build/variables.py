"""Build arguments and environment: which variables an instruction sees (Dockerfile reference, ARG).

An ENV hides an ARG of the same name. Arguments before the first FROM are seen by FROM lines, and
by a stage that names them again.
"""

from collections.abc import Mapping

from wherry.build import syntax
from wherry.build.expansion import expand
from wherry.oci import HOST, WASM, Platform

PROXIES = frozenset(
    name
    for proxy in ("HTTP_PROXY", "HTTPS_PROXY", "FTP_PROXY", "NO_PROXY", "ALL_PROXY")
    for name in (proxy, proxy.lower())
)
"""Arguments that every RUN sees undeclared, and that change no cached result."""

EPOCH = "SOURCE_DATE_EPOCH"
MULTI_PLATFORM = "BUILDKIT_MULTI_PLATFORM"
"""Argument that makes an index of a build for one platform, too."""

_FOR_THE_BUILDER = frozenset({
    EPOCH, MULTI_PLATFORM, "BUILDKIT_CACHE_MOUNT_NS", "BUILDKIT_CONTEXT_KEEP_GIT_DIR",
    "BUILDKIT_DOCKERFILE_CHECK", "BUILDKIT_INLINE_CACHE", "BUILDKIT_SANDBOX_HOSTNAME",
    "BUILDKIT_SYNTAX",
})  # fmt: skip
"""Arguments that are BuildKit's own and that no Dockerfile need ask for; most do nothing here."""


class Arguments:
    """The arguments of a build for one platform: those given, and what is known of itself.

    `target` is the platform, wasi/wasm by default; `stage` the name of the stage to build.
    """

    def __init__(
        self, given: Mapping[str, str | None], target: Platform | None, stage: str = ""
    ) -> None:
        self._given = {name: value for name, value in given.items() if value is not None}
        known = _platform_arguments("TARGET", target or WASM) | _platform_arguments("BUILD", HOST)
        known["TARGETSTAGE"] = stage or "default"
        self._unused = set(given) - PROXIES - _FOR_THE_BUILDER - known.keys()
        self._global = {name: self._given.get(name, value) for name, value in known.items()}

    @property
    def before_from(self) -> Mapping[str, str]:
        """What FROM lines see."""
        return self._global

    @property
    def unused(self) -> list[str]:
        """The names given that no ARG asked for."""
        return sorted(self._unused)

    @property
    def proxies(self) -> dict[str, str]:
        """The proxies given."""
        return {name: value for name, value in self._given.items() if name in PROXIES}

    def declare_global(self, arg: syntax.Arg, escape: str) -> None:
        """An ARG before the first FROM. Raises ExpansionError."""
        for name, default in arg.names:
            self._unused.discard(name)
            value = self._given.get(name)
            if value is None and default is not None:
                value = expand(default, self._global, escape)
            if value is not None:
                self._global[name] = value

    def declare(
        self, arg: syntax.Arg, known: dict[str, str], env: Mapping[str, str], escape: str
    ) -> None:
        """An ARG in a stage: put its names into `known`. Raises ExpansionError."""
        for name, default in arg.names:
            self._unused.discard(name)
            value = self._given.get(name)
            if value is None and default is not None:
                value = expand(default, known | dict(env), escape)
            if value is None:
                value = self._global.get(name)
            if value is not None:
                known[name] = value


def _platform_arguments(prefix: str, platform: Platform) -> dict[str, str]:
    return {
        f"{prefix}PLATFORM": str(platform),
        f"{prefix}OS": platform.os,
        f"{prefix}ARCH": platform.architecture,
        f"{prefix}VARIANT": platform.variant,
    }

"""The engine as a whole: what it is, what it runs on, how much room it takes."""

import hashlib
import os
import socket
from collections import Counter
from collections.abc import AsyncGenerator, Collection
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from wherry import __version__
from wherry.engine import cgroups
from wherry.engine.disk_usage import Usage, disk_usage
from wherry.engine.privileges import maps_ids, may_make_namespaces
from wherry.oci import HOST

if TYPE_CHECKING:
    from wherry.engine.checking import CheckEvent
    from wherry.engine.engine import Engine

_NO_NAMESPACES = (
    "WARNING: No namespaces here: containers are held by WASI and seccomp alone "
    "(why: the first lines of wherryd.log)"
)
_RUNTIME = "io.containerd.wherry.v1"


class Component(msgspec.Struct, kw_only=True, rename="pascal"):
    """A part of the engine and its version."""

    name: str
    version: str
    details: dict[str, str] = msgspec.field(default_factory=dict)


class Version(msgspec.Struct, kw_only=True, rename="pascal"):
    """`GET /version`. Docker's field for Go's version tells Python's."""

    platform: dict[str, str]
    components: list[Component]
    version: str
    api_version: str
    min_api_version: str = msgspec.field(name="MinAPIVersion")
    git_commit: str
    go_version: str
    os: str
    arch: str
    kernel_version: str
    build_time: str


class System:
    """What can be told of the engine."""

    def __init__(self, engine: "Engine") -> None:
        self._engine = engine

    def version(self, *, api: str, oldest_api: str) -> Version:
        """Versions of the engine and its parts; the API's are given by who speaks it."""
        import platform

        kernel = os.uname().release
        python = f"python{platform.python_version()}"
        details = {
            "ApiVersion": api,
            "Arch": HOST.architecture,
            "BuildTime": "",
            "Experimental": "false",
            "GitCommit": "",
            "GoVersion": python,
            "KernelVersion": kernel,
            "MinAPIVersion": oldest_api,
            "Os": "linux",
        }
        return Version(
            platform={"Name": "wherry"},
            components=[
                Component(name="Engine", version=__version__, details=details),
                Component(name="wasmtime", version=_wasmtime_version()),
            ],
            version=__version__,
            api_version=api,
            min_api_version=oldest_api,
            git_commit="",
            go_version=python,
            os="linux",
            arch=HOST.architecture,
            kernel_version=kernel,
            build_time="",
        )

    async def info(self) -> dict[str, Any]:
        """`GET /info`."""
        containers = await self._engine.containers.list(all=True)
        states = Counter(each.state for each in containers)
        bounded = cgroups.bounded()
        security = ["name=seccomp,profile=builtin"]
        warnings = None
        if not may_make_namespaces():
            security.append("name=no-namespaces")
            warnings = [_NO_NAMESPACES]
        elif maps_ids():
            security.append("name=rootless")
        return {
            "ID": _identity(),
            "Name": socket.gethostname(),
            "ServerVersion": __version__,
            "Containers": len(containers),
            "ContainersRunning": states["running"],
            "ContainersPaused": states["paused"],
            "ContainersStopped": len(containers) - states["running"] - states["paused"],
            "Images": len({image.id for image in self._engine.images.list()}),
            "Driver": "overlay2",
            "DriverStatus": [["Root", str(self._engine.root)]],
            "DockerRootDir": str(self._engine.root),
            "Plugins": {
                "Volume": ["local"],
                "Network": ["bridge", "host", "null"],
                "Authorization": None,
                "Log": ["json-file"],
            },
            "MemoryLimit": "memory" in bounded,
            "SwapLimit": cgroups.bounds_swap(),
            "CpuCfsPeriod": "cpu" in bounded,
            "CpuCfsQuota": "cpu" in bounded,
            "CPUShares": "cpu" in bounded,
            "CPUSet": "cpuset" in bounded,
            "PidsLimit": "pids" in bounded,
            "OomKillDisable": False,
            # Docker's clients warn of these; nothing here depends on them.
            "IPv4Forwarding": True,
            "BridgeNfIptables": True,
            "BridgeNfIp6tables": True,
            "FirewallBackend": {"Driver": "nftables"},
            "Debug": False,
            "ExperimentalBuild": False,
            "LoggingDriver": "json-file",
            "CgroupDriver": "cgroupfs",
            "CgroupVersion": cgroups.version(),
            "KernelVersion": os.uname().release,
            "OperatingSystem": _operating_system(),
            "OSVersion": "",
            "OSType": "linux",
            "Architecture": os.uname().machine,
            "NCPU": os.cpu_count() or 1,
            "MemTotal": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
            "IndexServerAddress": "",
            "RegistryConfig": None,
            "Runtimes": {_RUNTIME: {"path": "containerd-shim-wherry-v1"}},
            "DefaultRuntime": _RUNTIME,
            "Swarm": {"NodeID": "", "LocalNodeState": "inactive", "ControlAvailable": False},
            "LiveRestoreEnabled": True,
            "Isolation": "",
            "InitBinary": "",
            "SecurityOptions": security,
            "Labels": [],
            "HttpProxy": "",
            "HttpsProxy": "",
            "NoProxy": "",
            "Warnings": warnings,
        }

    def check(self, *, repair: bool = False) -> AsyncGenerator["CheckEvent", None]:
        """Read all that is kept and compare it with what it must be; with `repair`, mend it."""
        from wherry.engine.checking import check

        return check(self._engine, repair=repair)

    async def usage(self, kinds: Collection[str] = ()) -> Usage:
        """How much room the things of `kinds` (all by default) take. Raises InvalidRequest."""
        return await disk_usage(self._engine, kinds)


def _identity() -> str:
    """Tells this machine from others, without giving away its machine-id(5)."""
    try:
        machine = Path("/etc/machine-id").read_bytes()
    except OSError:
        machine = socket.gethostname().encode()
    digest = hashlib.sha256(b"wherry " + machine).hexdigest()
    return f"{digest[:8]}-{digest[8:12]}-{digest[12:16]}-{digest[16:20]}-{digest[20:32]}"


def _operating_system() -> str:
    import platform

    try:
        return platform.freedesktop_os_release()["PRETTY_NAME"]
    except (OSError, KeyError):
        return "Linux"


@cache
def _wasmtime_version() -> str:
    from importlib import metadata

    return metadata.version("wasmtime")

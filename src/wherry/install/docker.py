"""Docker: the shim on the daemon's PATH, and what daemon.json must say.

From 23 on Docker takes the shim by its name, and needs containerd's image store to hold images
for `wasi/wasm`. Before that it knows no shims: there the OCI runtime command is registered, under
the shim's name, too, so that the same command line works everywhere.
"""

from typing import Any

from wherry.install import asking
from wherry.install.additions import Additions
from wherry.install.draft import Draft
from wherry.install.errors import InstallError
from wherry.install.host import Host
from wherry.install.json_text import InvalidJson, read_object
from wherry.install.ledger import JsonMember, Ledger
from wherry.install.package import RUNTIME
from wherry.install.plan import Options, Plan
from wherry.install.shims import add_commands, runtime_name
from wherry.install.undo import undo_entry

OWNER = "docker"
CONFIG = "/etc/docker/daemon.json"
SOCKET = "/var/run/docker.sock"
STORE = ("features", "containerd-snapshotter")
"""The member of daemon.json that chooses containerd's image store."""

DRIVER = ("storage-driver",)
SNAPSHOTTERS = {"overlay2": "overlayfs", "vfs": "native"}
"""containerd's words for Docker's storage drivers. With its store Docker takes the word in
daemon.json for containerd's, and with another finds no container's files: "snapshotter not loaded".
"""

NAMES_SHIMS = (23, 0, 0)
"""The first Docker that takes a shim by its name."""

_QUESTION = (
    "Docker's image store changes to containerd's. Images and containers made so far stay on the "
    "disk, but are not shown until it is changed back ('wherry uninstall docker')."
)
_BACK = (
    "Docker's image store changes back to the one before. Images and containers made since "
    "'wherry install docker' stay on the disk, but are not shown any more."
)


def plan_install(host: Host, options: Options) -> Plan:
    """What putting wherry into Docker takes. Raises InstallError."""
    plan = Plan(Draft(host), Ledger(host))
    version = _version(host, plan)
    additions = Additions(plan.draft, plan.ledger, OWNER, force=options.force)
    config = options.config or config_of(host)
    names = ["wherry", *options.also]
    info = _info(host)
    if version is not None and version < NAMES_SHIMS:
        plan.notes.append("this Docker cannot name a shim: wherry-runtime becomes a runtime of it")
        add_commands(plan, additions, options, runtime=True)
        command = {"path": f"{options.bin}/{RUNTIME}"}
        for name in ("wherry", *map(runtime_name, names)):
            additions.json_member(config, ("runtimes", name), command)
        up_to_date = info is None or knows_runtime(info)
        platform = ""
    else:
        add_commands(plan, additions, options, daemon="dockerd")
        up_to_date = info is None or has_containerd_store(info)
        if not (info and up_to_date) and additions.json_member(config, STORE, True):
            plan.questions.append(_QUESTION)
        _name_snapshotter(additions, config)
        _forget_runtimes(plan, config)
        platform = " --platform=wasi/wasm"
    if plan.reconfigures() or not up_to_date:
        plan.restart.append(["systemctl", "restart", "docker"])
    runtime = runtime_name(names[-1])
    plan.then.append(f"docker run --rm --runtime={runtime}{platform} IMAGE")
    return plan


def questions_before_removal(ledger: Ledger) -> list[str]:
    """What the person must agree to before wherry is taken out of Docker."""
    stores = (
        entry for entry in ledger.owned_by(OWNER) if getattr(entry, "keys", None) == list(STORE)
    )
    return [_BACK] if any(stores) else []


def config_of(host: Host) -> str:
    """The configuration file of the daemon that runs, or its usual place."""
    pid = asking.service("dockerd") if host.is_this_machine else None
    return (pid and asking.flag_of(pid, "--config-file")) or CONFIG


def has_containerd_store(info: dict[str, Any]) -> bool:
    """Whether a daemon's answer to `/info` tells of containerd's image store."""
    status = info.get("DriverStatus")
    return isinstance(status, list) and ["driver-type", "io.containerd.snapshotter.v1"] in status


def knows_runtime(info: dict[str, Any]) -> bool:
    """Whether a daemon's answer to `/info` tells that wherry is a runtime of it."""
    known = info.get("Runtimes")
    return not isinstance(known, dict) or "wherry" in known


def _name_snapshotter(additions: Additions, config: str) -> None:
    """Docker's own name of a storage driver becomes containerd's."""
    content = additions.draft.read(config) or b""
    try:
        driver = read_object(content.decode()).get(DRIVER[0]) if content.strip() else None
    except (InvalidJson, UnicodeDecodeError) as error:
        raise InstallError(f"{config}: {error}; repair it first, nothing was changed") from None
    if isinstance(driver, str) and driver in SNAPSHOTTERS:
        additions.json_member(config, DRIVER, SNAPSHOTTERS[driver])


def _forget_runtimes(plan: Plan, config: str) -> None:
    """What was for a Docker before 23 would stand before the shim of the same name."""
    for entry in reversed(plan.ledger.find(JsonMember, config)):
        if isinstance(entry, JsonMember) and entry.keys[0] == "runtimes":
            undo_entry(plan.draft, entry)


def _info(host: Host) -> dict[str, Any] | None:
    """What the daemon says of itself; None when none answers."""
    if not host.is_this_machine:
        return None
    try:
        return asking.docker_info(SOCKET)
    except OSError:
        return None


def _version(host: Host, plan: Plan) -> asking.Version | None:
    """The daemon's version, None when it cannot be told. Raises InstallError without a daemon."""
    found = asking.program(host, "dockerd")
    if found is None:
        snap = host.exists("/snap/bin/docker")
        raise InstallError(
            "Docker from the snap store sees no shims of the machine; install docker-ce, or your "
            "distribution's docker.io"
            if snap
            else "there is no dockerd; install Docker first (Docker Desktop keeps its own in a "
            "virtual machine, where wherry cannot be put). 'wherry run' needs no Docker"
        )
    version = asking.version(host, "dockerd")
    if version is None:
        plan.warnings.append(f"{found} does not tell its version; taken for Docker 23 or newer")
    else:
        plan.notes.append(f"Docker {'.'.join(map(str, version))} ({found})")
    return version

"""Taking wherry out of an engine again: what the ledger names goes, all else stays."""

import os
import re

from wherry.install import containerd, docker, podman
from wherry.install.draft import Draft, LinkChange
from wherry.install.errors import InstallError
from wherry.install.host import Host
from wherry.install.ledger import FOLDER, Ledger
from wherry.install.package import RUNTIME, SHIM
from wherry.install.plan import Plan
from wherry.install.running import held_by_command, held_by_shim
from wherry.install.undo import undo

_SERVICES = {docker.OWNER: "docker", containerd.OWNER: "containerd", podman.CRIO: "crio"}
_DOCKER_ID = re.compile("[0-9a-f]{64}")
_SHOWN = 5


def plan_uninstall(host: Host, owner: str, *, force: bool = False, folder: str = FOLDER) -> Plan:
    """What taking wherry out of a target takes; out of all of them when `owner` is "".

    Raises InstallError when wherry is not there, or while containers of its shim run.
    """
    ledger = Ledger(host, folder)
    owners = [owner] if owner else ledger.owners
    if not any(ledger.owned_by(name) for name in owners):
        where = f"in {owner}" if owner else "anywhere"
        raise InstallError(f"wherry is not installed {where} (says {folder}/install.json)")
    plan = Plan(Draft(host), ledger, removes=True)
    if docker.OWNER in owners:
        plan.questions += docker.questions_before_removal(ledger)
    for name in owners:
        before = len(plan.draft.changes)
        for left in undo(plan.draft, ledger, name, force=force):
            plan.warnings.append(left)
        if name in _SERVICES and plan.reconfigures(before):
            plan.restart.append(["systemctl", "restart", _SERVICES[name]])
    _refuse_while_used(host, plan, force=force)
    return plan


def _short(container: str) -> str:
    """Docker's ids as Docker shows them; names as they are."""
    namespace, slash, id = container.rpartition("/")
    return f"{namespace}{slash}{id[:12] if _DOCKER_ID.fullmatch(id) else id}"


def _refuse_while_used(host: Host, plan: Plan, *, force: bool) -> None:
    """What a running container is ended and cleaned up by must not go."""
    going = {os.path.basename(change.path) for change in plan.draft.changes
             if isinstance(change, LinkChange) and change.after is None}  # fmt: skip
    containers = held_by_shim(host) if SHIM in going else []
    containers += held_by_command(host) if RUNTIME in going else []
    if not containers:
        return
    names = ", ".join(map(_short, containers[:_SHOWN])) + (
        ", …" if len(containers) > _SHOWN else ""
    )
    if not force:
        raise InstallError(
            f"containers that wherry holds: {names}; remove them first, or say --force: then the "
            "engine will not be able to clean up after them"
        )
    plan.warnings.append(f"containers that wherry holds: {names}")

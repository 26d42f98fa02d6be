"""Podman, Buildah and CRI-O: the OCI runtime command under the name `wherry`, by a drop-in file."""

import os
from pathlib import Path

from wherry.install import asking
from wherry.install.additions import Additions
from wherry.install.draft import Draft
from wherry.install.errors import InstallError
from wherry.install.host import Host
from wherry.install.ledger import Ledger
from wherry.install.package import RUNTIME
from wherry.install.plan import Options, Plan
from wherry.install.shims import add_commands

PODMAN, CRIO = "podman", "cri-o"
CONTAINERS_CONF = "/etc/containers/containers.conf.d/wherry.conf"
CRIO_CONF = "/etc/crio/crio.conf.d/50-wherry.conf"

_MARK = "# Written by wherry; 'wherry uninstall {}' removes it."


def plan_podman(host: Host, options: Options) -> Plan:
    """What putting wherry into the system's Podman and Buildah takes. Raises InstallError."""
    plan = Plan(Draft(host), Ledger(host))
    _find(plan, PODMAN, ("podman", "buildah"))
    additions = Additions(plan.draft, plan.ledger, PODMAN, force=options.force)
    add_commands(plan, additions, options, runtime=True)
    additions.file(CONTAINERS_CONF, _containers_conf(f"{options.bin}/{RUNTIME}", options))
    _tell_podman(plan)
    return plan


def plan_podman_of_user(options: Options) -> Plan:
    """The same for the Podman of the person alone, without root. Raises InstallError."""
    host = Host()
    home = str(Path.home())
    data = os.environ.get("XDG_DATA_HOME") or f"{home}/.local/share"
    config = os.environ.get("XDG_CONFIG_HOME") or f"{home}/.config"
    plan = Plan(Draft(host), Ledger(host, f"{data}/wherry"))
    _find(plan, PODMAN, ("podman", "buildah"))
    additions = Additions(plan.draft, plan.ledger, PODMAN, force=options.force)
    folder = f"{home}/.local/bin"
    here = Options(bin=folder, also=options.also, force=True)
    add_commands(plan, additions, here, runtime=True)
    plan.warnings.clear()  # what others may change is the person's own affair here
    path = f"{config}/containers/containers.conf.d/wherry.conf"
    additions.file(path, _containers_conf(f"{folder}/{RUNTIME}", options))
    _tell_podman(plan)
    return plan


def plan_crio(host: Host, options: Options) -> Plan:
    """What putting wherry into CRI-O takes. Raises InstallError."""
    plan = Plan(Draft(host), Ledger(host))
    _find(plan, "CRI-O", ("crio",))
    additions = Additions(plan.draft, plan.ledger, CRIO, force=options.force)
    add_commands(plan, additions, options, runtime=True)
    lines = [_MARK.format(CRIO)]
    for name in ("wherry", *options.also):
        lines += [
            f"[crio.runtime.runtimes.{name}]",
            f'runtime_path = "{options.bin}/{RUNTIME}"',
            'runtime_type = "oci"',
            'runtime_root = "/run/wherry-runtime"',
        ]
    additions.file(CRIO_CONF, ("\n".join(lines) + "\n").encode())
    if plan.reconfigures():
        plan.restart.append(["systemctl", "restart", "crio"])
    plan.then.append("wherry install kubernetes    # writes the RuntimeClass for it")
    return plan


def _containers_conf(command: str, options: Options) -> bytes:
    lines = [_MARK.format(PODMAN), "[engine.runtimes]"]
    lines += [f'{name} = ["{command}"]' for name in ("wherry", *options.also)]
    return ("\n".join(lines) + "\n").encode()


def _tell_podman(plan: Plan) -> None:
    plan.then.append("podman --runtime wherry run --rm --platform wasi/wasm IMAGE")


def _find(plan: Plan, what: str, programs: tuple[str, ...]) -> None:
    host = plan.draft.host
    found = [name for name in programs if asking.program(host, name)]
    if not found and host.is_this_machine:
        raise InstallError(f"there is no {what} ({' or '.join(programs)}); install it first")
    for name in found:
        version = asking.version(host, name)
        plan.notes.append(f"{name} {'.'.join(map(str, version)) if version else ''}".rstrip())

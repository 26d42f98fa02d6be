"""The shim on the PATH of the daemons, under its own name and those of the shims it replaces."""

from wherry.install import asking
from wherry.install.additions import Additions
from wherry.install.errors import InstallError
from wherry.install.host import Host
from wherry.install.package import (
    BARE,
    LAUNCHERS,
    RUNTIME,
    SHIM,
    Package,
    parts,
    weak_spots,
)
from wherry.install.plan import Options, Plan

REPLACED = ("wasmedge", "wasmtime", "wasmer")
"""The shims of others whose names wherry can answer to."""


def shim_name(name: str) -> str:
    """The command of a shim: containerd makes it of the runtime's name `io.containerd.NAME.v1`."""
    return f"containerd-shim-{name}-v1"


def runtime_name(name: str) -> str:
    """What is typed after `--runtime`."""
    return f"io.containerd.{name}.v1"


def add_commands(
    plan: Plan,
    additions: Additions,
    options: Options,
    *,
    runtime: bool = False,
    daemon: str = "",
) -> None:
    """Draft links to the shim, or with `runtime` to the OCI runtime command. Raises InstallError.

    `daemon` is what must find the shim on its PATH.

    The package's own commands are linked to where they work in a daemon's environment, else
    launchers that have all they need.
    """
    host = plan.draft.host
    package = Package.find(host)
    if host.is_this_machine:
        _check_trust(plan, options)
    folder = package.bin
    if not package.works:
        folder = LAUNCHERS
        for name, content in package.launchers().items():
            additions.file(f"{LAUNCHERS}/{name}", content, mode=0o755)
        plan.notes.append(f"launchers in {LAUNCHERS}: run this again when wherry is upgraded")
    path = asking.daemon_path(daemon) if daemon and host.is_this_machine else None
    if options.bin not in (BARE["PATH"] if path is None else path).split(":"):
        plan.warnings.append(f"{options.bin} is not on the PATH of {daemon or 'a service'}")
    command = RUNTIME if runtime else SHIM
    if f"{host.resolve(options.bin)}/{command}" != f"{folder}/{command}":
        additions.link(f"{options.bin}/{command}", f"{folder}/{command}")
    for name in options.also:
        if name not in REPLACED:
            raise InstallError(f"--also {name}: wherry can answer to {', '.join(REPLACED)}")
        if runtime:
            continue  # a name in the engine's configuration, no command of its own
        _check_foreign(host, additions, name, options)
        additions.link(f"{options.bin}/{shim_name(name)}", f"{folder}/{SHIM}", yielding=True)


def _check_foreign(host: Host, additions: Additions, name: str, options: Options) -> None:
    """Raises InstallError when the shim that the name belongs to is on the machine."""
    for folder in BARE["PATH"].split(":"):
        path = f"{folder}/{shim_name(name)}"
        if folder == host.resolve(options.bin) or not host.exists(path):
            continue  # what stands in our own place is looked at when it is to be linked
        if not host.resolve(path).endswith(f"/{SHIM}"):
            raise InstallError(
                f"{path}: another {name} shim is installed, which is never overwritten; "
                f"remove it to have wherry answer to {runtime_name(name)}"
            )


def _check_trust(plan: Plan, options: Options) -> None:
    own, others = weak_spots(parts())
    if others and not options.force:
        raise InstallError(
            f"{others[0]}: others may write there, and root would run what they put in; "
            "install wherry where only root writes (python3 -m venv /opt/wherry), or say --force"
        )
    for path in (others or own)[:1]:
        plan.warnings.append(
            f"{path} is not root's own, and root's daemons will run what is in it: whoever may "
            "write there has root's rights. A venv in /opt/wherry made by root is the safe place"
        )

"""containerd: the shim on its PATH, and for Kubernetes a runtime handler `wherry`.

The handler goes where it changes nothing else: containerd 1.x replaces the whole section of a
plugin by that of an imported file, so there it is added to the very file whose section counts;
2.x merges, so there it gets a file of its own, which the configuration imports.

From 2.1 on the CRI hands images to the transfer service, which from 2.3 on (before, if so
configured) unpacks those of the machine's own operating system only, and `wasi` is none: images
for pods are to be pulled by the CRI itself.
"""

from typing import Any

from wherry.install import asking
from wherry.install.additions import Additions
from wherry.install.containerd_config import (
    CONFIG,
    DROP_INS,
    IMAGES,
    Loaded,
    cri_plugin,
    load,
)
from wherry.install.draft import Draft
from wherry.install.errors import InstallError
from wherry.install.host import Host
from wherry.install.ledger import Ledger
from wherry.install.plan import Options, Plan
from wherry.install.shims import add_commands, runtime_name

OWNER = "containerd"
HANDLER = "wherry"
LOCAL_PULL = "use_local_image_pull"
UNPACKS_OWN_SYSTEM = (2, 3, 0)
"""The first containerd whose transfer service unpacks images of its own system only."""

_TRANSFER = "io.containerd.transfer.v1.local"
_RUNC = "io.containerd.runc.v2"
_DROP_IN = f"{DROP_INS}/wherry.toml"
# A pattern, because containerd does not start when a file that it imports by name is missing.
_IMPORT = f"{DROP_INS}/wherry*.toml"
_MARK = "# Added by wherry; 'wherry uninstall containerd' takes it away again."


def plan_install(host: Host, options: Options) -> Plan:
    """What putting wherry into containerd takes. Raises InstallError."""
    plan = Plan(Draft(host), Ledger(host))
    version = _version(host, plan)
    additions = Additions(plan.draft, plan.ledger, OWNER, force=options.force)
    add_commands(plan, additions, options, daemon="containerd")
    path = options.config or config_of(host)
    loaded = load(host, path)
    handlers = [HANDLER, *options.also]
    if loaded.files:
        merges = loaded.version >= 3 or (version is not None and version >= (2, 0, 0))
    else:
        merges = version is not None and version >= (2, 0, 0)
    if merges and loaded.version == 1:
        plan.warnings.append(
            f"{path} is of version 1, whose plugins containerd 2 does not read: no handler for "
            "Kubernetes was added. Bring it up to date (containerd config migrate), and run this "
            "again"
        )
    elif merges:
        _add_drop_in(additions, loaded, handlers)
    else:
        _add_in_place(additions, loaded, handlers)
    if loaded.disabled & {"cri", cri_plugin(2), cri_plugin(3)}:
        plan.warnings.append(f"{path} turns the CRI off: Kubernetes cannot use this containerd yet")
    if plan.reconfigures():
        plan.restart.append(["systemctl", "restart", "containerd"])
    name = runtime_name("wherry")
    plan.then.append(f"ctr run --rm --runtime {name} --platform wasi/wasm IMAGE ID")
    return plan


def config_of(host: Host) -> str:
    """The configuration of the service that runs, or its usual place."""
    pid = asking.service("containerd") if host.is_this_machine else None
    return (pid and asking.flag_of(pid, "--config", "-c")) or CONFIG


def unpacks_wasm(loaded: Loaded, version: asking.Version) -> bool:
    """Whether the CRI of a containerd of that version unpacks images for wasi/wasm."""
    if version < (2, 1, 0) or loaded.section(IMAGES, merged=True).get(LOCAL_PULL) is True:
        return True
    strict = loaded.section(_TRANSFER, merged=True).get("check_platform_supported") is True
    return version < UNPACKS_OWN_SYSTEM and not strict


def _add_drop_in(additions: Additions, loaded: Loaded, handlers: list[str]) -> None:
    """A file of our own, then its import: containerd must find the one when it reads the other."""
    version = loaded.version or 3
    others = Loaded(loaded.path, tuple(f for f in loaded.files if f[0] != _DROP_IN))
    present = others.handlers(merged=True)
    lines = [_MARK, f"version = {version}", ""]
    for handler in handlers:
        if handler not in present:
            lines += [_handler(version, handler, runtime_name("wherry")), ""]
    lines += [f"[plugins.'{IMAGES}']", f"{LOCAL_PULL} = true"]
    additions.file(_DROP_IN, ("\n".join(lines) + "\n").encode())
    if not loaded.files:
        text = f'{_MARK}\nversion = {version}\nimports = ["{_IMPORT}"]\n'
        additions.toml_file(loaded.path, text)
    elif not loaded.imports(_DROP_IN):
        additions.toml_import(loaded.path, _IMPORT)
    else:
        additions.keep(loaded.path)


def _add_in_place(additions: Additions, loaded: Loaded, handlers: list[str]) -> None:
    """Tables at the end of the file whose section of the CRI counts."""
    version = loaded.version or 2
    plugin = cri_plugin(version)
    present = loaded.handlers(merged=False)
    missing = {h: runtime_name("wherry") for h in handlers if h not in present}
    if missing and not present:
        # A table of handlers takes the place of containerd's own, which has this one.
        missing = {"runc": _RUNC, **missing}
    path = loaded.section_owner(plugin) or loaded.path
    additions.keep(path)
    if not missing:
        return
    block = "\n".join([_MARK, *(_handler(version, *item) for item in missing.items())]) + "\n"
    if not loaded.files:
        additions.toml_file(loaded.path, f"version = {version}\n\n{block}")
        return
    before = next(data for file, data in loaded.files if file == path)
    runtimes = {handler: {"runtime_type": kind} for handler, kind in missing.items()}
    expected = _with_runtimes(before, plugin, runtimes, path)
    additions.toml_block(path, block, expected, what=block.strip().replace("\n", " "))


def _handler(version: int, name: str, runtime_type: str) -> str:
    plugin = cri_plugin(version)
    quote = "" if version == 1 else "'" if version > 2 else '"'
    table = f"[plugins.{quote}{plugin}{quote}.containerd.runtimes.{name}]"
    return f'{table}\nruntime_type = "{runtime_type}"'


def _with_runtimes(
    data: dict[str, Any], plugin: str, runtimes: dict[str, Any], path: str
) -> dict[str, Any]:
    """The contents with handlers added. Raises InstallError when something is no table."""
    expected = dict(data)
    here = expected
    for name in ("plugins", plugin, "containerd", "runtimes"):
        value = here.get(name, {})
        if not isinstance(value, dict):
            raise InstallError(f"{path}: {name!r} is no table; repair it first")
        here[name] = dict(value)
        here = here[name]
    here.update(runtimes)
    return expected


def _version(host: Host, plan: Plan) -> asking.Version | None:
    found = asking.program(host, "containerd")
    if found is None and host.is_this_machine:
        raise InstallError("there is no containerd; install it first")
    version = asking.version(host, "containerd") if found else None
    if version is None:
        plan.warnings.append("containerd's version is not known; taken from its configuration")
    else:
        plan.notes.append(f"containerd {'.'.join(map(str, version))} ({found})")
    return version

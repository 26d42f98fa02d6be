"""The engines of this machine that wherry can be put into, and whether it is in them."""

import os
import tomllib
from typing import Any

from wherry.install import asking, containerd, docker, podman
from wherry.install.containerd_config import load
from wherry.install.doctor.finding import Finding, missing, ok, warning
from wherry.install.errors import InstallError
from wherry.install.host import Host
from wherry.install.json_text import InvalidJson, read_object
from wherry.install.ledger import Ledger
from wherry.install.package import BARE, RUNTIME, SHIM, command_line
from wherry.install.shims import REPLACED, runtime_name, shim_name


def docker_engine() -> list[Finding]:
    """Docker: its version, its image store, and wherry on its PATH."""
    subject = "docker"
    host = Host()
    version = asking.version(host, "dockerd")
    if asking.program(host, "dockerd") is None:
        if host.exists("/snap/bin/docker"):
            return [warning(subject, "from the snap store, which sees no shims of the machine",
                            "install docker-ce or docker.io instead")]  # fmt: skip
        return [ok(subject, "not installed")]
    said = _dotted(version)
    try:
        info = asking.docker_info(_docker_socket())
    except PermissionError:
        return [warning(subject, f"{said}, which you may not ask", command_line("doctor"))]
    except TimeoutError:
        return [warning(subject, f"{said}, which does not answer", "systemctl status docker")]
    except OSError:
        info = {}
    findings = [ok(subject, f"{info.get('ServerVersion') or said}{_not_running(info)}")]
    running = asking.parse_version(str(info.get("ServerVersion", ""))) or version
    again = command_line("install docker")
    if running is not None and running < docker.NAMES_SHIMS:
        return findings + _old_docker(host, info, again)
    findings += _broken_config(host, subject)
    findings.append(_shim_on_path(subject, "dockerd", docker.OWNER, again))
    if info and docker.has_containerd_store(info):
        driver = str(info.get("Driver"))
        findings.append(
            missing(subject, f"containerd has no snapshotter {driver} (storage-driver)", again)
            if driver in docker.SNAPSHOTTERS
            else ok(subject, "containerd's image store holds images for wasi/wasm")
        )
    elif _says(host, docker.config_of(host), docker.STORE) is True:
        restart = "sudo systemctl restart docker"
        findings.append(
            missing(subject, "containerd's image store is chosen, but not in use yet", restart)
            if info
            else ok(subject, "containerd's image store is chosen")
        )
    else:
        findings.append(warning(subject, "the image store cannot hold images for wasi/wasm", again))
    return findings


def _old_docker(host: Host, info: dict[str, Any], again: str) -> list[Finding]:
    """Docker that takes no shim by its name."""
    subject = "docker"
    registered = _says(host, docker.config_of(host), ("runtimes", "wherry", "path"))
    if not isinstance(registered, str):
        return [warning(subject, "wherry is not a runtime of it yet", again)]
    if not os.access(registered, os.X_OK):
        return [missing(subject, f"its runtime wherry is {registered}, which cannot be run", again)]
    if info and not docker.knows_runtime(info):
        restart = "sudo systemctl restart docker"
        return [missing(subject, "has not read yet that wherry is a runtime of it", restart)]
    return [ok(subject, f"its runtime wherry is {registered}")]


def containerd_engine() -> list[Finding]:
    """containerd: its version, wherry on its PATH, the CRI's handler and its way to pull."""
    subject = "containerd"
    host = Host()
    if asking.program(host, "containerd") is None:
        return [ok(subject, "not installed")]
    version = asking.version(host, "containerd")
    running = "" if asking.processes("containerd") else ", not running"
    findings = [ok(subject, f"{_dotted(version)}{running}")]
    again = command_line("install containerd")
    findings.append(_shim_on_path(subject, "containerd", containerd.OWNER, again))
    path = containerd.config_of(host)
    try:
        loaded = load(host, path)
    except InstallError as error:
        return [*findings, warning(subject, str(error))]
    merged = version is not None and version >= (2, 0, 0)
    handler = loaded.handlers(merged=merged).get(containerd.HANDLER)
    if handler is None:
        findings.append(
            warning(subject, "Kubernetes finds no handler 'wherry' in it", again)
            if asking.program(host, "kubelet")
            else ok(subject, "has no handler 'wherry', which Kubernetes alone would need")
        )
        return findings
    if not isinstance(handler, dict) or handler.get("runtime_type") != runtime_name("wherry"):
        findings.append(missing(subject, f"{path}: the handler 'wherry' is another's", again))
        return findings
    findings.append(ok(subject, "the CRI has the handler 'wherry'"))
    if version is not None:
        findings.append(
            ok(subject, "the CRI unpacks images for wasi/wasm")
            if containerd.unpacks_wasm(loaded, version)
            else missing(subject, "the CRI does not unpack images for wasi/wasm", again)
        )
    return findings


def kubernetes() -> list[Finding]:
    """The kubelet, and what starts pods for it."""
    subject = "kubernetes"
    host = Host()
    if asking.program(host, "kubelet") is None:
        return [ok(subject, "no kubelet on this machine")]
    return [ok(subject, f"kubelet {_dotted(asking.version(host, 'kubelet'))}")]


def podman_engine() -> list[Finding]:
    """Podman: its version, and the runtime command."""
    subject = "podman"
    host = Host()
    if asking.program(host, "podman") is None:
        return [ok(subject, "not installed")]
    findings = [ok(subject, _dotted(asking.version(host, "podman")))]
    config = os.environ.get("XDG_CONFIG_HOME") or os.path.expanduser("~/.config")
    own = f"{config}/containers/containers.conf.d/wherry.conf"
    for path in (own, podman.CONTAINERS_CONF):
        runtimes = _toml(host, path).get("engine", {}).get("runtimes", {})
        commands = runtimes.get("wherry") if isinstance(runtimes, dict) else None
        if isinstance(commands, list) and commands:
            findings.append(_command(subject, str(commands[0]), command_line("install podman")))
            return findings
    hint = f"{command_line('install podman')}, or for you alone with --user"
    return [*findings, warning(subject, "wherry is not a runtime of it yet", hint)]


def crio_engine() -> list[Finding]:
    """CRI-O: its version, and the handler."""
    subject = "cri-o"
    host = Host()
    if asking.program(host, "crio") is None:
        return [ok(subject, "not installed")]
    findings = [ok(subject, _dotted(asking.version(host, "crio")))]
    again = command_line("install cri-o")
    if not host.exists(podman.CRIO_CONF):
        return [*findings, warning(subject, "has no handler 'wherry' yet", again)]
    runtime: Any = _toml(host, podman.CRIO_CONF)
    for key in ("crio", "runtime", "runtimes", "wherry", "runtime_path"):
        runtime = runtime.get(key) if isinstance(runtime, dict) else None
    return [*findings, _command(subject, str(runtime or RUNTIME), again)]


def linux_runtimes() -> list[Finding]:
    """runc or crun, to which containers that are no Wasm are handed."""
    host = Host()
    found = [f"{name} {_dotted(asking.version(host, name))}"
             for name in ("runc", "crun") if asking.program(host, name)]  # fmt: skip
    if found:
        return [ok("runtimes", f"{', '.join(found)}: for the Linux containers of a pod")]
    hint = "sudo apt install runc"
    return [warning("runtimes", "neither runc nor crun: pods can hold Wasm containers only", hint)]


def other_shims() -> list[Finding]:
    """The shims that wherry replaces: ours under their name, or the ones that were made for Docker.

    A foreign one is known by its name and by not leading to ours; it is not run.
    """
    host = Host()
    findings = []
    folders = dict.fromkeys([*BARE["PATH"].split(":"), *os.environ.get("PATH", "").split(":")])
    for name in REPLACED:
        found = host.find_program(shim_name(name), ":".join(folders))
        if found is None:
            continue
        if host.resolve(found).endswith(f"/{SHIM}"):
            findings.append(ok("shims", f"{found} is wherry"))
            continue
        findings.append(
            warning("shims", f"{found} is not wherry's: older shims fail "
                    "under containerd 2 ('flag provided but not defined: -info')",
                    f"remove it, then {command_line(f'install containerd --also {name}')}")
        )  # fmt: skip
    return findings


def _broken_config(host: Host, subject: str) -> list[Finding]:
    """A daemon.json that Docker would not start with again."""
    path = docker.config_of(host)
    try:
        read_object((host.read(path) or b"{}").decode() or "{}")
    except (InvalidJson, UnicodeDecodeError) as error:
        hint = "repair it, or Docker does not start again"
        return [missing(subject, f"{path}: {error}", hint)]
    except InstallError as error:
        return [warning(subject, str(error))]
    return []


def _shim_on_path(subject: str, daemon: str, owner: str, again: str) -> Finding:
    """Whether the daemon finds the shim on the PATH it has, or else the one services have."""
    host = Host()
    path = asking.daemon_path(daemon)
    whose = f"the PATH of {daemon}" if path is not None else "the PATH of services"
    found = host.find_program(SHIM, path if path is not None else BARE["PATH"])
    if found:
        return ok(subject, f"{found} is on {whose}")
    if host.exists(f"/usr/local/bin/{SHIM}") or _is_put_into(host, owner):
        return missing(subject, f"{SHIM} is not on {whose}, or leads nowhere", again)
    return warning(subject, f"wherry's shim is not on {whose} yet", again)


def _is_put_into(host: Host, owner: str) -> bool:
    """Whether wherry was installed there, as far as we may see."""
    try:
        return owner in Ledger(host).owners
    except InstallError:
        return False


def _command(subject: str, path: str, again: str) -> Finding:
    if os.access(path, os.X_OK):
        return ok(subject, f"its runtime wherry is {path}")
    return missing(subject, f"its runtime wherry is {path}, which cannot be run", again)


def _docker_socket() -> str:
    named = os.environ.get("DOCKER_HOST", "")
    return named.removeprefix("unix://") if named.startswith("unix://") else docker.SOCKET


def _not_running(info: dict[str, Any]) -> str:
    return "" if info else ", not running"


def _says(host: Host, path: str, keys: tuple[str, ...]) -> Any:
    """What a JSON file says, None for nothing."""
    try:
        value: Any = read_object((host.read(path) or b"{}").decode() or "{}")
    except (InstallError, InvalidJson, UnicodeDecodeError):
        return None
    for key in keys:
        value = value.get(key) if isinstance(value, dict) else None
    return value


def _toml(host: Host, path: str) -> dict[str, Any]:
    try:
        return tomllib.loads((host.read(path) or b"").decode())
    except (InstallError, tomllib.TOMLDecodeError, UnicodeDecodeError):
        return {}


def _dotted(version: asking.Version | None) -> str:
    return ".".join(map(str, version)) if version else "of unknown version"

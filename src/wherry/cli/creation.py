"""The flags of `run` and `create`, and the container they describe for the Engine API."""

from __future__ import annotations

import os

from wherry.cli.errors import UsageError
from wherry.cli.flags import invalid, many, number, switch, text
from wherry.cli.platform import PLATFORMS
from wherry.cli.verify_key import VERIFY_KEY

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from wherry.cli.flags import Arguments, Flag

TIMEOUT_ANNOTATION = "io.wherry.timeout"

NETWORK_FLAGS: tuple[Flag, ...] = (
    many("add-host", "", "Name for /etc/hosts, or for this machine", metavar="NAME:ADDRESS"),
    many("dns", "", "Resolver to ask instead of the machine's", metavar="ADDRESS"),
    many("dns-option", "", "Option for resolv.conf", metavar="OPTION"),
    many("dns-search", "", "Domain that short names are looked for in", metavar="DOMAIN"),
    text("domainname", "", "NIS domain name inside the container", metavar="NAME"),
    many("expose", "", "Open ports to other containers (80, 8000-8010, 53/udp)", metavar="PORT"),
    text("ip", "", "IPv4 address in its network", metavar="ADDRESS"),
    text("ip6", "", "IPv6 address in its network", metavar="ADDRESS"),
    many(
        "link", "", "Know another container by a name", metavar="CONTAINER:ALIAS",
        complete="container",
    ),
    text("mac-address", "", "Hardware address in its network", metavar="MAC"),
    many("net", "", "The same as --network", metavar="NETWORK", complete="network-mode"),
    many(
        "network", "", "Network to join, or 'host', 'none', 'container:NAME'", metavar="NETWORK",
        complete="network-mode",
    ),
    many("network-alias", "", "Further name in its network", metavar="NAME"),
    many(
        "publish", "p", "Publish a port on this machine (8080:80, 127.0.0.1:53:53/udp)",
        metavar="[PORT:]PORT[/udp]",
    ),
    switch("publish-all", "P", "Publish all exposed ports, each at any free one"),
)  # fmt: skip
"""What is the network's, read by `networking`."""

LINUX_FLAGS: tuple[Flag, ...] = (
    many("cap-add", "", "Give a Linux program a capability (NET_ADMIN, ALL)", metavar="NAME"),
    many("cap-drop", "", "Take a capability from a Linux program (CHOWN, ALL)", metavar="NAME"),
    text(
        "cgroupns", "", "Cgroup namespace of a Linux program: private or host",
        complete=("private", "host"),
    ),
    many("device", "", "Give a Linux program a device", metavar="/PATH[:/PATH[:rwm]]"),
    many("group-add", "", "Further group of the user", metavar="GROUP"),
    switch("init", "", "Have a small init run a Linux program, and reap its orphans"),
    switch("privileged", "", "Hold a Linux program by its namespaces alone"),
    many(
        "security-opt", "",
        "How a Linux program is confined (no-new-privileges, seccomp=FILE, seccomp=unconfined)",
        metavar="OPTION",
    ),
    text("shm-size", "", "Size of a Linux program's /dev/shm (64m)", metavar="bytes"),
    many("sysctl", "", "Set a kernel parameter of the container's own", metavar="NAME=VALUE"),
)  # fmt: skip
"""What makes a difference to Linux programs, read by `confinement`."""

FLAGS: tuple[Flag, ...] = (
    *NETWORK_FLAGS,
    *LINUX_FLAGS,
    many("annotation", "", "Annotation for the container's runtime", metavar="KEY=VALUE"),
    many(
        "attach",
        "a",
        "Attach to stdin, stdout or stderr only",
        metavar="STREAM",
        complete=("stdin", "stdout", "stderr"),
    ),
    text("cidfile", "", "Write the container's ID to a file", metavar="FILE", complete="file"),
    text("cpus", "", "How many CPUs it may use (0.5, 2)", metavar="decimal"),
    text("entrypoint", "", "Run this instead of the image's ENTRYPOINT", metavar="PATH"),
    many("env", "e", "Set an environment variable, or pass one on by name", metavar="KEY[=VALUE]"),
    many("env-file", "", "Read environment variables from a file", metavar="FILE", complete="file"),
    text(
        "health-cmd",
        "",
        "Command that tells whether it is healthy ('[\"/check.wasm\"]', or a line for its shell)",
        metavar="COMMAND",
    ),
    text("health-interval", "", "Time between health checks (30s)", metavar="duration"),
    number("health-retries", "", "Failures in a row that make it unhealthy (3)"),
    text(
        "health-start-interval", "", "Time between checks while it starts (5s)", metavar="duration"
    ),
    text("health-start-period", "", "Time in which failures do not count", metavar="duration"),
    text("health-timeout", "", "Time that a check may take (30s)", metavar="duration"),
    text("hostname", "h", "Host name inside the container"),
    switch("interactive", "i", "Keep stdin open"),
    many("label", "l", "Set a label", metavar="KEY[=VALUE]"),
    many("label-file", "", "Read labels from a file", metavar="FILE", complete="file"),
    VERIFY_KEY,
    text("memory", "m", "Memory limit (64m, 1g)", metavar="bytes"),
    many("mount", "", "Mount a folder, volume or tmpfs", metavar="type=…,source=…,target=…"),
    text("name", "", "Name of the container"),
    switch("no-healthcheck", "", "Make no health checks, whatever the image says"),
    number("pids-limit", "", "Limit of processes and threads (-1: none)"),
    text(
        "platform",
        "",
        "Platform of the image (wasi/wasm, linux/amd64)",
        metavar="OS/ARCH",
        complete=PLATFORMS,
    ),
    text(
        "pull",
        "",
        "Pull the image first: always, missing or never",
        default="missing",
        complete=("always", "missing", "never"),
    ),
    switch("quiet", "q", "Do not show the progress of pulling"),
    switch("read-only", "", "Mount the root filesystem read-only"),
    text(
        "restart",
        "",
        "When to restart it: no, on-failure[:N], always, unless-stopped",
        default="no",
        complete=("no", "on-failure", "always", "unless-stopped"),
    ),
    switch("rm", "", "Remove the container and its anonymous volumes when it ends"),
    text("runtime", "", "Runtime to use (io.containerd.NAME.vN)"),
    text("stop-signal", "", "Signal that stops it", metavar="SIGNAL"),
    number("stop-timeout", "", "Seconds to wait for it to stop before it is killed"),
    text("timeout", "", "Kill it after so many seconds; exit code 124", metavar="SECONDS"),
    many("tmpfs", "", "Mount a tmpfs", metavar="/PATH[:OPTIONS]"),
    switch("tty", "t", "Give it a terminal"),
    many("ulimit", "", "Set a limit (nofile=1024:2048)", metavar="NAME=SOFT[:HARD]"),
    text("user", "u", "User name or id, and group", metavar="USER[:GROUP]"),
    many(
        "volume", "v", "Mount a folder or a volume", metavar="SOURCE:/PATH[:ro]", complete="volume"
    ),
    text("workdir", "w", "Working directory inside the container", metavar="/PATH"),
)

_HEALTH_FLAGS = tuple(flag.name for flag in FLAGS if "health" in flag.name)


def describe(arguments: Arguments, image: str, command: list[str]) -> dict[str, Any]:
    """The body of `POST /containers/create`. Raises `UsageError` with exit code 125."""
    streams = _attached(arguments)
    stdin = arguments.switch("interactive")
    document: dict[str, Any] = {
        "Hostname": arguments.text("hostname"),
        "User": arguments.text("user"),
        "AttachStdin": "stdin" in streams,
        "AttachStdout": "stdout" in streams,
        "AttachStderr": "stderr" in streams,
        "Tty": arguments.switch("tty"),
        "OpenStdin": stdin,
        "StdinOnce": stdin and "stdin" in streams,
        "Env": list(environment(arguments)),
        "Cmd": command or None,
        "Image": image,
        "Volumes": {},
        "WorkingDir": arguments.text("workdir"),
        "Labels": dict(_labels(arguments)),
        "HostConfig": _host(arguments),
    }
    if arguments.given("entrypoint"):
        document["Entrypoint"] = [arguments.text("entrypoint")]
    if arguments.text("stop-signal"):
        document["StopSignal"] = arguments.text("stop-signal")
    if arguments.given("stop-timeout"):
        document["StopTimeout"] = arguments.number("stop-timeout")
    if any(arguments.given(name) for name in _HEALTH_FLAGS):
        from wherry.cli.health import describe_healthcheck

        document["Healthcheck"] = describe_healthcheck(arguments)
    if any(arguments.given(flag.name) for flag in NETWORK_FLAGS):
        from wherry.cli.networking import add_networking

        add_networking(arguments, document)
    for volume in arguments.many("volume"):
        from wherry.cli.mounts import parse_volume

        bind, anonymous = parse_volume(volume)
        if bind:
            document["HostConfig"]["Binds"].append(bind)
        else:
            document["Volumes"][anonymous] = {}
    return document


def _attached(arguments: Arguments) -> set[str]:
    """The streams to attach to; none of them when the container is detached."""
    chosen = {stream.lower() for stream in arguments.many("attach")}
    for stream in chosen - {"stdin", "stdout", "stderr"}:
        raise invalid("-a", stream, "the streams are stdin, stdout and stderr")
    if chosen:
        return chosen
    output = {"stdout", "stderr"}
    return output | {"stdin"} if arguments.switch("interactive") else output


def _host(arguments: Arguments) -> dict[str, Any]:
    """`HostConfig`: what the container gets from the machine."""
    host: dict[str, Any] = {
        "Binds": [],
        "ContainerIDFile": arguments.text("cidfile"),
        "AutoRemove": arguments.switch("rm"),
        "RestartPolicy": _restart(arguments),
        "ReadonlyRootfs": arguments.switch("read-only"),
    }
    if arguments.text("runtime"):
        host["Runtime"] = arguments.text("runtime")
    if arguments.text("memory"):
        from wherry.cli.units import parse_size

        host["Memory"] = parse_size(arguments.text("memory"))
    if arguments.text("cpus"):
        host["NanoCpus"] = _cpus(arguments.text("cpus"))
    if arguments.given("pids-limit"):
        host["PidsLimit"] = arguments.number("pids-limit")
    if arguments.many("ulimit"):
        host["Ulimits"] = [_ulimit(limit) for limit in arguments.many("ulimit")]
    if arguments.many("mount"):
        from wherry.cli.mounts import parse_mount

        host["Mounts"] = [parse_mount(mount) for mount in arguments.many("mount")]
    if arguments.many("tmpfs"):
        pairs = (mount.partition(":") for mount in arguments.many("tmpfs"))
        host["Tmpfs"] = {path: options for path, _, options in pairs}
    if any(arguments.given(flag.name) for flag in LINUX_FLAGS):
        from wherry.cli.confinement import add_confinement

        add_confinement(arguments, host)
    annotations = dict(_pair(pair) for pair in arguments.many("annotation"))
    if arguments.text("timeout"):
        annotations[TIMEOUT_ANNOTATION] = _seconds(arguments.text("timeout"))
    if annotations:
        host["Annotations"] = annotations
    if arguments.switch("tty"):
        from wherry.cli.terminal import window_size

        host["ConsoleSize"] = list(window_size())
    return host


def _restart(arguments: Arguments) -> dict[str, Any]:
    policy = arguments.text("restart") or "no"
    name, colon, count = policy.partition(":")
    if colon and (not count.isdecimal() or name != "on-failure"):
        raise invalid("--restart", policy, "a number of restarts goes with on-failure only")
    if name not in ("no", "on-failure", "always", "unless-stopped"):
        raise invalid("--restart", policy, "say no, on-failure[:N], always or unless-stopped")
    if name != "no" and arguments.switch("rm"):
        raise UsageError("--restart and --rm exclude each other", 125)
    return {"Name": name, "MaximumRetryCount": int(count or 0)}


def _cpus(value: str) -> int:
    """Billionths of a CPU."""
    whole, _, fraction = value.partition(".")
    digits = (whole or "0") + f"{fraction:0<9}"
    if len(fraction) > 9 or not (digits.isascii() and digits.isdecimal()):
        raise invalid("--cpus", value, "write a number like 0.5")
    return int(digits)


def _seconds(value: str) -> str:
    try:
        if 0 < float(value) < 1e9:
            return value
    except ValueError:
        pass
    raise invalid("--timeout", value, "write seconds, like 30 or 2.5")


def _ulimit(value: str) -> dict[str, Any]:
    name, equals, limits = value.partition("=")
    soft, colon, hard = limits.partition(":")
    try:
        if not (name and equals):
            raise ValueError(value)
        low = int(soft)
        high = int(hard) if colon else low
    except ValueError:
        raise invalid("--ulimit", value, "write NAME=SOFT or NAME=SOFT:HARD") from None
    if low > high >= 0:
        raise invalid("--ulimit", value, "the soft limit is above the hard one")
    return {"Name": name, "Soft": low, "Hard": high}


def _pair(text: str) -> tuple[str, str]:
    key, _, value = text.partition("=")
    return key, value


def _labels(arguments: Arguments) -> Iterator[tuple[str, str]]:
    for path in arguments.many("label-file"):
        yield from map(_pair, _lines_of(path))
    yield from map(_pair, arguments.many("label"))


def environment(arguments: Arguments) -> Iterator[str]:
    """`KEY=VALUE` each; a bare name passes this process's variable on, if it has it."""
    for path in arguments.many("env-file"):
        for line in _lines_of(path):
            name = line.partition("=")[0]
            if not name or " " in name or "\t" in name:
                raise UsageError(f"{path}: '{name}' is not the name of a variable", 125)
            yield from _variable(line)
    for entry in arguments.many("env"):
        if not entry or entry.startswith("="):
            raise invalid("-e", entry, "write KEY=VALUE or KEY")
        yield from _variable(entry)


def _variable(entry: str) -> Iterator[str]:
    if "=" in entry:
        yield entry
    elif entry in os.environ:
        yield f"{entry}={os.environ[entry]}"


def _lines_of(path: str) -> Iterator[str]:
    """The lines of a file, without empty ones and comments. Raises `UsageError`."""
    try:
        with open(path, encoding="utf-8-sig") as file:
            for line in file:
                entry = line.rstrip("\r\n").lstrip()
                if entry and not entry.startswith("#"):
                    yield entry
    except UnicodeDecodeError:
        raise UsageError(f"{path}: not a text file in UTF-8", 125) from None
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror}", 125) from None

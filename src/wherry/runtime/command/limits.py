"""`ps`, `pause`, `resume` and `update`: what is done by a container's cgroup."""

import sys

from wherry.oci import document
from wherry.oci import runtime as spec
from wherry.runtime.command import linux
from wherry.runtime.command.options import Arguments, Options, UsageError
from wherry.runtime.command.record import FAILED, Record
from wherry.runtime.creation import with_engine_tasks
from wherry.runtime.exits import LaunchError
from wherry.runtime.sandbox.cgroups import Cgroup

_MAX_RESOURCES = 1 << 20

_NUMBERS = {
    "memory": ("memory", "limit"),
    "memory-reservation": ("memory", "reservation"),
    "memory-swap": ("memory", "swap"),
    "cpu-period": ("cpu", "period"),
    "cpu-quota": ("cpu", "quota"),
    "cpu-share": ("cpu", "shares"),
    "pids-limit": ("pids", "limit"),
}
"""Options of `update`, and the fields they set."""


def ps(options: Options) -> int:
    """`ps [--format table|json] ID [PS OPTIONS]`: print the processes of a container."""
    arguments = Arguments(options.arguments, values="format|f")
    if not arguments.rest:
        raise UsageError("ps takes a container id")
    record = linux.find(options, arguments.rest[0])
    pids = processes(record)
    form = arguments.value("format", "table")
    if form == "json":
        sys.stdout.write(f"[{','.join(map(str, pids))}]\n")
    elif form == "table":
        _print_processes(pids, arguments.rest[1:] or ["-ef"])
    else:
        raise UsageError(f"--format is table or json, not {form!r}")
    return 0


def processes(record: Record) -> list[int]:
    """The pids of a container's processes, the first its init's."""
    status, pid = record.status()
    if status in ("stopped", "creating"):
        return []
    others = Cgroup.attach_existing(record.cgroup).pids() if record.cgroup else []
    return [pid, *sorted(set(others) - {pid})]


def _print_processes(pids: list[int], arguments: list[str]) -> None:
    """What ps(1) prints of `pids`: its first line and those with one of them as PID."""
    import subprocess

    try:
        result = subprocess.run(
            ["ps", *arguments], capture_output=True, text=True, errors="replace", check=False
        )
    except FileNotFoundError:
        raise LaunchError("ps(1) is not installed; --format json does without", FAILED) from None
    if result.returncode:
        raise LaunchError(f"ps: {result.stderr.strip() or result.returncode}", FAILED)
    title, *lines = result.stdout.splitlines()
    if "PID" not in title.split():
        raise LaunchError("ps was told to print no column PID", FAILED)
    column = title.split().index("PID")
    wanted = {str(pid) for pid in pids}
    sys.stdout.write(f"{title}\n")
    for line in lines:
        fields = line.split()
        if len(fields) > column and fields[column] in wanted:
            sys.stdout.write(f"{line}\n")


def pause(options: Options) -> int:
    """`pause ID`: stop all processes of a container until `resume`."""
    record = linux.find_locked(options, Arguments(options.arguments).identifier())
    status, _ = record.status()
    if status not in ("running", "created"):
        raise LaunchError(f"container not running: {record.id} is {status}", FAILED)
    try:
        group_of(record).freeze()
        record.write("paused", b"")
    except OSError as error:
        raise LaunchError(f"cannot pause container {record.id}: {error}", FAILED) from None
    return 0


def resume(options: Options) -> int:
    """`resume ID`: let the processes of a paused container go on."""
    record = linux.find_locked(options, Arguments(options.arguments).identifier())
    status, _ = record.status()
    if status != "paused":
        raise LaunchError(f"container not paused: {record.id} is {status}", FAILED)
    try:
        group_of(record).thaw()
        record.remove("paused")
    except OSError as error:
        raise LaunchError(f"cannot resume container {record.id}: {error}", FAILED) from None
    return 0


def update(options: Options) -> int:
    """`update --resources FILE ID`, or options for single limits: change a container's limits.

    What is 0 or not there stays as it is.
    """
    arguments = Arguments(
        options.arguments,
        values=f"resources|r cpuset-cpus cpuset-mems blkio-weight {' '.join(_NUMBERS)}",
    )
    record = linux.find_locked(options, arguments.identifier())
    status, _ = record.status()
    if status not in ("created", "running", "paused"):
        raise LaunchError(f"container not running: {record.id} is {status}", FAILED)
    source = arguments.value("resources")
    resources = _read(source) if source else _from_options(arguments)
    if resources.pids is not None and resources.pids.limit == 0:
        resources.pids = None
    try:
        group = group_of(record)
        group.update(with_engine_tasks(resources) or resources)
    except OSError as error:
        raise LaunchError(f"cannot update container {record.id}: {error}", FAILED) from None
    if group.missing:
        raise LaunchError(f"cannot update container {record.id}: {group.missing[0]}", FAILED)
    return 0


def group_of(record: Record) -> Cgroup:
    """The cgroup of a container. Raises LaunchError if it has none."""
    group = Cgroup.attach_existing(record.cgroup) if record.cgroup else None
    if group is None or not group.procs_files:
        raise LaunchError(f"container {record.id} has no cgroup", FAILED)
    return group


def _read(source: str) -> spec.Resources:
    try:
        if source == "-":
            content = sys.stdin.buffer.read(_MAX_RESOURCES + 1)
        else:
            with open(source, "rb") as file:
                content = file.read(_MAX_RESOURCES + 1)
        return document.decode(content, spec.Resources, source, _MAX_RESOURCES)
    except OSError as error:
        raise LaunchError(f"{source}: {error.strerror}", FAILED) from None
    except document.InvalidDocument as error:
        raise LaunchError(str(error), FAILED) from None


def _from_options(arguments: Arguments) -> spec.Resources:
    resources = spec.Resources(memory=spec.Memory(), cpu=spec.Cpu(), pids=spec.Pids(limit=0))
    for option, (part, field) in _NUMBERS.items():
        if option in arguments:
            try:
                setattr(getattr(resources, part), field, int(arguments.value(option)))
            except ValueError:
                raise UsageError(f"--{option} takes a number") from None
    if resources.cpu is not None:
        resources.cpu.cpus = arguments.value("cpuset-cpus")
        resources.cpu.mems = arguments.value("cpuset-mems")
    return resources


COMMANDS = {"ps": ps, "pause": pause, "resume": resume, "update": update}

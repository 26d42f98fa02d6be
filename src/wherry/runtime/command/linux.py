"""Handing on what is not Wasm: runc or crun takes the place of this process.

It is called with the same arguments and the same root, so that a container of either kind is found
in the same place by whoever asks for it later.
"""

import os

from wherry.runtime.command.main import HandOn
from wherry.runtime.command.options import Options
from wherry.runtime.command.record import FAILED, Foreign, Record
from wherry.runtime.exits import LaunchError

TYPE_CHECKING = False

if TYPE_CHECKING:
    from typing import NoReturn

    from wherry.oci.runtime import Spec

_OF_CRUN = "status"
"""A file that crun, and only crun, keeps in a container's folder."""


def find(options: Options, identifier: str) -> Record:
    """The record of a container of ours; another's command line is handed on.

    Raises LaunchError.
    """
    try:
        return Record.find(options.root, identifier)
    except Foreign:
        become(options, of_container(options.root, identifier))


def find_locked(options: Options, identifier: str) -> Record:
    """The same, locked."""
    record = find(options, identifier)
    record.lock()
    return record


def of_container(root: str, identifier: str) -> str:
    """The Linux runtime that has a container. Raises LaunchError."""
    import shutil

    name = "crun" if os.path.exists(f"{root}/{identifier}/{_OF_CRUN}") else "runc"
    found = shutil.which(name)
    if found is None:
        raise LaunchError(f"container {identifier} was made by {name}, which is gone", FAILED)
    return found


def hand_on(options: Options, config: "Spec") -> "NoReturn":
    """Have the Linux runtime make a container. Raises HandOn or LaunchError."""
    from wherry.oci.runtime import PROGRAMS
    from wherry.runtime.egress import require_enforcer
    from wherry.runtime.linux.installed import find_runtime

    if (config.annotations or {}).get(PROGRAMS) == "wasm":
        raise LaunchError(f"the program is no WebAssembly, and {PROGRAMS} allows no other", 126)
    require_enforcer(config, "a Linux program")
    become(options, find_runtime(config, ""))


def become(options: Options, program: str) -> "NoReturn":
    """Have the Linux runtime `program` take over, with our command line. Raises HandOn."""
    root = [] if options.names_root else ["--root", options.root]
    raise HandOn([program, *root, *options.line])


def is_linux(config: "Spec", bundle: str) -> bool:
    """Whether the program of a bundle is plainly no Wasm, as far as can be seen from outside.

    It saves a Linux container the way into our sandbox and back. A program in a volume, or one that
    is not there, is looked at once the sandbox stands.
    """
    from wherry.runtime.program import is_meant_as_wasm, open_program

    if config.process is None or config.root is None:
        return False
    if config.annotations:
        from wherry.runtime.pod import is_sandbox

        if is_sandbox(config):
            return False
    try:
        flags = os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC
        root = os.open(os.path.join(bundle, config.root.path), flags)
    except OSError:
        return False
    try:
        program, name = open_program(root, config.process)
    except LaunchError:
        return False
    finally:
        os.close(root)
    try:
        volumes = (mount.destination.rstrip("/") for mount in config.mounts or ())
        hidden = any(name.startswith(f"{volume}/") or name == volume for volume in volumes)
        return not hidden and not is_meant_as_wasm(program, name)
    finally:
        os.close(program)

"""A guest that a program of the host's runs: what the container's process becomes in the end."""

import os
import sys as interpreter
from collections.abc import Sequence
from typing import NoReturn

from wherry.runtime import messages
from wherry.runtime.engines.host import HostProgram, words
from wherry.runtime.engines.host.stage import HostRoot, Stage
from wherry.runtime.exits import NOT_RUNNABLE, LaunchError
from wherry.runtime.sandbox import syscalls as sys
from wherry.runtime.sandbox.root import JoinedRoot, MountedRoot, PlainRoot, Preopen


class Hosted:
    """A component that the `wasmtime` command is to run or to serve."""

    def __init__(
        self,
        code: int,
        answer: messages.Code,
        program: HostProgram,
        root: MountedRoot | JoinedRoot | PlainRoot,
        scratch: str,
    ) -> None:
        """Collect what it starts from while the host's root is in sight. `scratch` is a folder.

        `code` is closed. Raises LaunchError and OSError.
        """
        self._facts = answer.facts
        self._stage: Stage | HostRoot
        if isinstance(root, PlainRoot):
            self._stage = HostRoot(program, code)
            self._preopens: Sequence[Preopen] = root.preopens
            return
        if isinstance(root, JoinedRoot):
            # The mounts are still those of who forked us.
            sys.unshare(sys.CLONE_NEWNS)
            sys.mount("", "/", "", sys.MS_REC | sys.MS_SLAVE)
        self._preopens = root.preopens
        self._stage = Stage(program, answer.path, scratch)
        if self._stage.inode() != os.fstat(code).st_ino:
            raise LaunchError("compiled code was replaced while the container was made")
        os.close(code)

    def plan(
        self, args: Sequence[str], env: Sequence[str], workdir: str, memory: int | None
    ) -> None:
        """Decide on the words it is started with. `memory` is the limit of one memory in bytes.

        Raises LaunchError for what cannot be given to it.
        """
        facts = self._facts
        options = words.common(env, workdir, network=facts.sockets, memory=memory)
        if facts.files:
            options += _folders(self._preopens)
        if facts.world == "http":
            self._words = words.serving(options, env, self._stage.code)
        else:
            self._words = words.running(options, args, self._stage.code)
        self._environment = words.environment(env)
        self._title = " ".join(args)

    def enter(self) -> None:
        """Go to where it starts from, once the root was entered. Raises OSError."""
        self._stage.enter()

    def run(self) -> int:
        """Become the program; returns an exit status only if that cannot be."""
        try:
            self._start()
        except LaunchError as error:
            print(f"wherry: {error.message}", file=interpreter.stderr, flush=True)
            return error.exit_code

    def _start(self) -> NoReturn:
        self._stage.start(self._title, self._words, self._environment)


def _folders(preopens: Sequence[Preopen]) -> list[str]:
    """Raises LaunchError for what the command has no words for."""
    options = []
    for host, guest, writable in preopens:
        if not writable:
            raise LaunchError(
                f"{guest} cannot be read-only for the wasmtime command without namespaces"
                " (see 'wherry info')"
            )
        if "::" in host + guest:
            raise LaunchError(f"the guest's directory {guest} has '::' in its path", NOT_RUNNABLE)
        options += ["--dir", f"{host}::{guest}"]
    return options

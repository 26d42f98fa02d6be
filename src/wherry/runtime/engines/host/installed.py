"""Which `wasmtime` command there is on this machine."""

import os

import msgspec

from wherry import programs
from wherry.runtime.engines.host.examination import examine, identity
from wherry.runtime.engines.host.program import HostProgram
from wherry.runtime.exits import LaunchError

OLDEST = 49
"""The first major release that is known to do what is asked of it here."""

HINT = "pip install 'wherry[http]'"


class Installed:
    """The command, examined once for each file that it has been; remembered in `folder`."""

    def __init__(self, folder: str) -> None:
        self._folder = folder
        self._known: dict[str, HostProgram] = {}

    def find(self) -> HostProgram:
        """The command to use. Raises LaunchError if there is none that is new enough."""
        wrong = []
        for path in programs.wasmtime():
            try:
                program = self._examine(path)
            except LaunchError as error:
                wrong.append(error.message)
                continue
            if _major(program) >= OLDEST:
                return program
            wrong.append(f"{path} is release {program.release}, and {OLDEST} or newer is needed")
        raise LaunchError(f"{(*wrong, 'the wasmtime command is not installed')[0]}: {HINT}")

    def _examine(self, path: str) -> HostProgram:
        name = identity(path)
        if name not in self._known:
            self._known[name] = self._recall(name, path) or self._learn(path)
        return self._known[name]

    def _recall(self, name: str, path: str) -> HostProgram | None:
        try:
            with open(f"{self._folder}/{name}.json", "rb") as file:
                known = msgspec.json.decode(file.read(), type=HostProgram)
        except (OSError, msgspec.DecodeError):
            return None
        # The libraries may have moved since, with another release of the system.
        there = all(map(os.path.exists, (*known.libraries.values(), known.loader or path)))
        return known if known.path == path and there else None

    def _learn(self, path: str) -> HostProgram:
        program = examine(path)
        os.makedirs(self._folder, mode=0o700, exist_ok=True)
        temporary = f"{self._folder}/.{program.identity}.{os.urandom(8).hex()}"
        with open(temporary, "wb") as file:
            file.write(msgspec.json.encode(program))
        os.rename(temporary, f"{self._folder}/{program.identity}.json")
        return program


def _major(program: HostProgram) -> int:
    major = program.release.partition(".")[0]
    return int(major) if major.isdecimal() else 0

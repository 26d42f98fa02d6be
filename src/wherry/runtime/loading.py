"""Getting the code of a program from the shim, which keeps the cache, and loading it."""

import os
import socket

from wherry.runtime import messages
from wherry.runtime.engines.embedded import Engine, Loaded
from wherry.runtime.exits import ENGINE_FAILED, LaunchError
from wherry.runtime.facts import Facts


class CodeSource:
    """Gets compiled code over a control socket and loads it into `engine`.

    `bounded` is whether that engine has a limit on memory, which code is compiled for.
    """

    def __init__(self, control: socket.socket, engine: Engine, *, bounded: bool) -> None:
        self._control = control
        self._engine = engine
        self._bounded = bounded

    def get(self, module: int, name: str) -> tuple[int, messages.Code]:
        """Get the code of the module open as `module`, which is closed. Raises LaunchError."""
        messages.send(self._control, messages.NeedCode(name, self._bounded), [module])
        os.close(module)
        packet, descriptors = messages.receive(self._control)
        if not packet:
            os._exit(ENGINE_FAILED)
        answer = messages.decode_any(packet)
        if isinstance(answer, messages.Failed):
            raise LaunchError(answer.message, answer.exit_code)
        if not isinstance(answer, messages.Code) or len(descriptors) != 1:
            raise LaunchError("the shim answered with something else than code")
        return descriptors[0], answer

    def load(self, code: int, facts: Facts) -> Loaded:
        """Load code that is open as `code`, which is closed. Raises LaunchError."""
        # wasmtime maps code by its path, which is out of reach once the root has changed.
        loaded = self._engine.load(f"/proc/self/fd/{code}", facts.component)
        os.close(code)
        return loaded

    def load_file(self, path: str) -> Loaded:
        """Load the code of a module of wherry's own."""
        code, answer = self.get(os.open(path, os.O_RDONLY | os.O_CLOEXEC), path)
        return self.load(code, answer.facts)

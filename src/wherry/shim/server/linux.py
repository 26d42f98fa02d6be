"""What is no Wasm: handed to a Linux runtime, by parts of wherry that are loaded only then."""

from __future__ import annotations

import resource
from typing import TYPE_CHECKING

from wherry.runtime import LaunchError

if TYPE_CHECKING:
    from collections.abc import Callable

    from wherry.runtime import ContainerProcess, CreateRequest, NotWasm
    from wherry.runtime.linux.launcher import LinuxLauncher
    from wherry.shim.protobuf import Any


class LinuxContainers:
    """Makes the Linux containers of this shim."""

    def __init__(self, state: str, awaited: Callable[[int], bool]) -> None:
        """`state` is the folder where runtimes keep theirs; `awaited` tells which further children
        of this process somebody waits for. The limit of open files is the containers' too, as it
        is now.
        """
        self._state = state
        self._awaited = awaited
        self._files = resource.getrlimit(resource.RLIMIT_NOFILE)
        self._launcher: LinuxLauncher | None = None

    async def create(
        self, request: CreateRequest, options: Any | None, why: NotWasm
    ) -> tuple[ContainerProcess, LinuxLauncher]:
        """Make a container, and say by whom. Raises LaunchError."""
        from wherry.runtime.linux.installed import NoLinuxRuntime
        from wherry.runtime.linux.launcher import LinuxLauncher
        from wherry.shim.server.linux_options import OptionsError, read_options

        try:
            wanted = read_options(options)
            if wanted.wasm_only:
                raise LaunchError(f"{why.message}, and Linux programs are not run", why.exit_code)
            if self._launcher is None:
                self._launcher = LinuxLauncher(self._state, self._files, self._awaited)
            return await self._launcher.create(request, wanted), self._launcher
        except NoLinuxRuntime as error:
            raise LaunchError(f"{why.message}: {error.message}", error.exit_code) from None
        except OptionsError as error:
            raise LaunchError(str(error)) from None

    def close(self) -> None:
        """Containers live on."""
        if self._launcher is not None:
            self._launcher.close()

"""Another registry than Docker's: the one in crane, which does less of what may be asked."""

from __future__ import annotations

import contextlib
import re
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass

from tests import peers
from tests.image_tools import tool

_LISTENING = re.compile(r"serving on port (\d+)")


@dataclass
class CraneRegistry:
    """A running `crane registry serve`."""

    port: int
    host: str = "127.0.0.1"

    @property
    def name(self) -> str:
        """What names of its images begin with: `127.0.0.1:PORT`."""
        return f"{self.host}:{self.port}"


@contextlib.contextmanager
def crane_registry() -> Iterator[CraneRegistry]:
    """crane's registry on a free loopback port, in plain HTTP, with all that it has in memory.

    It knows no open ranges, tells nobody how far an upload is, and has no referrers API. The test
    is skipped without it.
    """
    argv = tool("crane").argv("registry", "serve", "--address", "127.0.0.1:0")
    with subprocess.Popen(argv, stderr=subprocess.PIPE, text=True) as process:
        try:
            assert process.stderr is not None
            said = process.stderr.readline()
            if not (found := _LISTENING.search(said)):
                raise peers.PeerFailed(f"crane's registry did not come up: {said}")
            yield CraneRegistry(int(found[1]))
        finally:
            process.kill()

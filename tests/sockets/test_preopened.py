"""Listening sockets that are open from the start, taken by what the languages bring themselves."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.conftest import without
from tests.guests.toolchain import Guests
from tests.runtime.bundles import Bundle
from tests.sockets.containers import running

from wherry.oci.runtime import PORTS
from wherry.runtime import Launcher

pytestmark = [pytest.mark.root, pytest.mark.guests]
Module = Callable[..., Bundle]

PROGRAMS: dict[str, Callable[[Guests], Path]] = {
    "Go": lambda guests: guests.go("preopened"),
    "Rust": lambda guests: guests.rust("preopened"),
}


@pytest.mark.parametrize("language", PROGRAMS)
async def test_a_standard_library_serves_a_socket_it_was_given(
    launcher: Launcher, guests: Guests, module: Module, language: str
) -> None:
    """Behind the sockets come the directories, where they are found as ever."""
    if shutil.which("curl") is None:
        without("curl (apt install curl)")
    for fd, port in ((3, 80), (4, 8080)):
        bundle = module(PROGRAMS[language](guests), fd)
        bundle.config["annotations"] = {PORTS: "80/tcp,8080/tcp"}
        async with running(launcher, bundle) as container:
            assert await container.line() == "listening"
            url = f"http://127.0.0.1:{port}/"
            said = await container.ask("curl", "-sSf", "--max-time", "20", url, url)
            one, other = said.splitlines()
            assert one == other
            assert one.startswith(f"descriptor {fd}, ") and one.endswith(" files in /")
            assert int(one.split()[2]) >= 1  # the module itself

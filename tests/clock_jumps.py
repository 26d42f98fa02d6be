"""A wall clock that jumps by a year, forward and back: run in a virtual machine, which has its own.

Not collected with the other tests, since it sets the clock; see tests/test_virtual_machine.py.
"""

import time
from collections.abc import Iterator

import pytest
from tests.engine_under_test import Wherry
from tests.guests.toolchain import EXAMPLES, Guests

_YEAR = 365 * 86400


@pytest.fixture(params=[_YEAR, -_YEAR], ids=["forward", "back"])
def jump(request: pytest.FixtureRequest) -> Iterator[int]:
    """How far the test's clock jumps; afterwards it goes right again."""
    wall, steady = time.time(), time.monotonic()
    yield request.param
    time.clock_settime(time.CLOCK_REALTIME, wall + time.monotonic() - steady)


def test_containers_that_run_and_new_ones_do_not_notice(
    wherry: Wherry, guests: Guests, jump: int
) -> None:
    loop, exit = wherry.image("loop", guests.wat("loop")), wherry.image("exit", guests.wat("exit"))
    wherry.ok("build", "-q", "-t", "hello", EXAMPLES / "hello")
    said = wherry.ok("run", "--rm", "hello")
    stopped = wherry.ok("run", "-d", loop)
    limited = wherry.ok("run", "-d", "--timeout", "60", loop)
    restarted = wherry.ok("create", "--restart", "on-failure:2", exit, "3")

    time.clock_settime(time.CLOCK_REALTIME, time.time() + jump)

    assert set(wherry.ok("ps", "-q", "--no-trunc").split()) == {stopped, limited}
    wherry.ok("stop", stopped)
    assert wherry.ok("inspect", "-f", "{{.State.ExitCode}}", stopped) == "143"
    wherry.ok("start", stopped)
    wherry.ok("rm", "-f", stopped, limited)
    wherry.ok("start", restarted)
    assert wherry.ok("wait", restarted) == "3"
    assert wherry.ok("run", "--rm", "hello") == said
    wherry.ok("build", "-q", "-t", "again", EXAMPLES / "hello")
    assert wherry.ok("run", "--rm", "again") == said
    briefly = wherry.ok("run", "-d", "--timeout", "1", loop)
    assert wherry.ok("wait", briefly) == "124"

"""Health checks: each container that wants some has a monitor while it runs.

Docker's rules: a check comes `interval` after the container's start and after each check; `retries`
failures in a row make it unhealthy, one success healthy; failures within the start period do not
count while it is starting. A monitor sleeps between its checks, and begins anew where an engine
takes a container over.
"""

import asyncio
import time

from msgspec import UNSET

from wherry.engine.clock import nanoseconds, timestamp
from wherry.engine.containers.container import Container
from wherry.engine.containers.context import Context
from wherry.engine.containers.exec_session import Session
from wherry.engine.containers.execs import Execs
from wherry.engine.containers.healthcheck import Check, read_healthcheck
from wherry.engine.errors import Conflict, EngineError, StartFailed
from wherry.engine.exec_config import ExecConfig
from wherry.engine.inspection import Health, HealthcheckResult

STARTING, HEALTHY, UNHEALTHY = "starting", "healthy", "unhealthy"

_LOGGED = 5
_LONGEST_OUTPUT = 4096
_CUT = "..."
_NO_RESULT = -1
_NO_FILE = 127


class HealthMonitors:
    """The monitors of all running containers."""

    def __init__(self, context: Context, execs: Execs) -> None:
        self._context = context
        self._execs = execs
        self._monitors: dict[str, asyncio.Task[None]] = {}

    def begin(self, container: Container) -> None:
        """The container runs now, or has been taken over."""
        config = container.config
        check = read_healthcheck(config.healthcheck, config.shell or ())
        if check is None:
            return
        before = container.state.health
        log = [] if before is UNSET else before.log
        container.state.health = Health(log=log)
        self._context.note(container)
        self._monitors[container.id] = asyncio.create_task(self._monitor(container, check))

    def end(self, container: Container) -> None:
        """The container runs no more; as in Docker it counts as unhealthy then."""
        monitor = self._monitors.pop(container.id, None)
        if monitor is not None:
            monitor.cancel()
        if container.state.health is not UNSET:
            container.state.health.status = UNHEALTHY

    async def close(self) -> None:
        """Check no more."""
        monitors = [*self._monitors.values()]
        self._monitors.clear()
        for monitor in monitors:
            monitor.cancel()
        await asyncio.gather(*monitors, return_exceptions=True)

    async def _monitor(self, container: Container, check: Check) -> None:
        age = max(0.0, time.time() - nanoseconds(container.state.started_at) / 1e9)
        loop = asyncio.get_running_loop()
        start_period_ends = loop.time() + check.start_period - age
        while True:
            starting = loop.time() < start_period_ends and _status(container) == STARTING
            await asyncio.sleep(check.start_interval if starting else check.interval)
            within_start_period = loop.time() < start_period_ends
            result = await self._probe(container, check)
            if result is not None:
                self._record(container, check, result, within_start_period=within_start_period)

    def _record(
        self,
        container: Container,
        check: Check,
        result: HealthcheckResult,
        *,
        within_start_period: bool,
    ) -> None:
        health = container.state.health
        if health is UNSET:
            return
        before = health.status
        health.log = [*health.log, result][-_LOGGED:]
        if result.exit_code == 0:
            health.failing_streak, health.status = 0, HEALTHY
        elif before != STARTING or not within_start_period:
            health.failing_streak += 1
            if health.failing_streak >= check.retries:
                health.status = UNHEALTHY
        self._context.note(container)
        if health.status != before:
            self._context.tell(container, f"health_status: {health.status}")

    async def _probe(self, container: Container, check: Check) -> HealthcheckResult | None:
        """Make one check; None if the container was paused or has ended: that tells nothing."""
        start = timestamp()
        config = ExecConfig(cmd=check.command, attach_stdout=True, attach_stderr=True)
        try:
            exec = self._execs.create(container, config)
        except Conflict:
            return None
        try:
            session = await self._execs.start(exec, attached=True)
            exit_code, output = await self._follow(container, session, check.timeout)
        except Conflict:
            return None
        except EngineError as error:
            exit_code, output = _NO_RESULT, _explain(error, check)
        finally:
            self._execs.discard(exec)
        if exit_code is None or not container.state.running:
            return None
        return HealthcheckResult(
            start=start, end=timestamp(), exit_code=exit_code, output=_cut(output)
        )

    async def _follow(
        self, container: Container, session: Session, limit: float
    ) -> tuple[int | None, str]:
        """The exit code and the beginning of the output; a check that takes too long is ended.

        None instead of a code if it could not end because the container was paused.
        """
        output = bytearray()
        try:
            async with asyncio.timeout(limit):
                async for _, _, data in session:
                    output += data[: _LONGEST_OUTPUT + 1 - len(output)]
                return await session.wait(), output.decode(errors="replace")
        except TimeoutError:
            paused = container.state.paused
            session.close(at_once=True)
            await session.wait()
        except asyncio.CancelledError:
            session.close(at_once=True)
            raise
        said = f": {output.decode(errors='replace')}" if output else ""
        code = None if paused else _NO_RESULT
        return code, f"Health check exceeded timeout ({limit:g}s){said}"


def _explain(error: EngineError, check: Check) -> str:
    lacks_shell = isinstance(error, StartFailed) and error.exit_code == _NO_FILE and check.in_shell
    if not lacks_shell:
        return error.message
    return (
        f"{error.message} (the image has no shell: write the check as a list of words, "
        'HEALTHCHECK CMD ["/check.wasm"])'
    )


def _cut(output: str) -> str:
    data = output.encode()
    if len(data) <= _LONGEST_OUTPUT:
        return output
    return data[: _LONGEST_OUTPUT - len(_CUT)].decode(errors="ignore") + _CUT


def _status(container: Container) -> str:
    health = container.state.health
    return "" if health is UNSET else health.status

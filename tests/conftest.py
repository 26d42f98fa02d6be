"""What every test may use: peers that are skipped loudly when missing, an engine of one's own.

In CI (`CI=true`) nothing may be missing: what is skipped on a person's machine fails there.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import NoReturn

import pytest
from hypothesis import HealthCheck, settings

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))  # `tests.…` is importable however pytest was started

from tests import debian, peers  # noqa: E402
from tests.engine_under_test import Wherry  # noqa: E402
from tests.guests.toolchain import Guests  # noqa: E402

IN_CI = os.environ.get("CI") == "true"
_MISSING: set[str] = set()
"""Why tests were skipped in this process."""
_NOT_TESTED = "not tested"


def _missing(marker: str) -> str | None:
    """Why tests with `marker` cannot run here, or None when they can."""
    programs = {"containerd": ("containerd", "ctr", "runc"), "dockerd": ("dockerd", "docker")}
    if marker in ("root", *programs) and os.geteuid() != 0:
        return "needs root"
    try:
        for name in programs.get(marker, ()):
            peers.program(name)
    except peers.PeerMissing as error:
        return str(error)
    return None


def without(reason: str, *, even_in_ci: bool = False) -> NoReturn:
    """Skip the running test because of `reason`; in CI fail it instead, unless `even_in_ci`."""
    _MISSING.add(reason)
    if IN_CI and not even_in_ci:
        pytest.fail(f"{reason}, and CI must have it", pytrace=False)
    pytest.skip(reason)


def suite(name: str, *packages: str) -> debian.Suite:
    """A Debian suite with its container engines and `packages`; `without` where it cannot be made.

    Whatever is newer than stable moves, and may be broken on the day of a CI run.
    """
    try:
        return debian.Suite(name, *packages)
    except debian.SuiteMissing as error:
        without(str(error), even_in_ci=name != "trixie")


def busybox() -> Path:
    """The machine's statically linked busybox; `without` where there is none."""
    found = shutil.which("busybox")
    if found is None or not subprocess.run(["ldd", found], capture_output=True).returncode:
        without("busybox-static is not installed")
    return Path(found)


if not IN_CI:  # for which Hypothesis has a profile that says the same
    settings.register_profile("busy", deadline=None, suppress_health_check=[HealthCheck.too_slow])
    settings.load_profile("busy")


def pytest_configure(config: pytest.Config) -> None:
    """What tests start finds the same however pytest was started: short paths, and its signals.

    Podman takes at most 50 characters. Who starts pytest in the background has it ignore SIGINT
    and SIGQUIT, nohup has it ignore SIGHUP, and programs inherit that.
    """
    if hasattr(config, "workerinput"):
        own = Path(config.option.basetemp)  # …/popen-gw0
        config.option.basetemp = own.with_name(own.name.removeprefix("popen-gw"))
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    for number in (signal.SIGQUIT, signal.SIGHUP):
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, signal.SIG_DFL)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What takes minutes comes first, so that processes that share the tests end together."""
    items.sort(key=lambda item: item.path.name != "test_virtual_machine.py")


def pytest_runtest_setup(item: pytest.Item) -> None:
    for marker in ("root", "containerd", "dockerd"):
        if item.get_closest_marker(marker) and (reason := _missing(marker)):
            without(reason)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Put the end of the engine's log beside a failure of a test that uses one.

    What is missing is told in the report: the test may run in another process than who sums up.
    """
    report = yield
    if isinstance(report.longrepr, tuple):
        reason = report.longrepr[2].removeprefix("Skipped: ")
        if reason in _MISSING:
            report.user_properties.append((_NOT_TESTED, reason))
    if report.failed:
        for name, value in getattr(item, "funcargs", {}).items():
            if isinstance(value, Wherry):
                report.sections.append((f"wherryd.log of {name}", value.log()[-3000:]))
    return report


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    reasons = Counter(
        reason
        for report in terminalreporter.stats.get("skipped", ())
        for name, reason in report.user_properties
        if name == _NOT_TESTED
    )
    if reasons:
        terminalreporter.section("NOT TESTED on this machine", sep="!", red=True, bold=True)
        for reason, tests in sorted(reasons.items()):
            terminalreporter.line(f"{reason}: {tests} tests skipped")


@pytest.fixture
def tmp_path(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """As pytest's own, with a shorter name: sockets lie in it, whose paths have 107 bytes."""
    return tmp_path_factory.mktemp(re.sub(r"\W", "_", request.node.name.removeprefix("test_"))[:12])


@pytest.fixture(scope="session")
def guests() -> Guests:
    """Guests by name, compiled on first use and kept in .guests/."""
    return Guests(ROOT / ".guests", missing=without)


@pytest.fixture(scope="module")
def wherry() -> Iterator[Wherry]:
    """The `wherry` command with an engine of its own, shared by one test module."""
    with Wherry() as engine:
        yield engine


@pytest.fixture
def fresh_wherry() -> Iterator[Wherry]:
    """The `wherry` command with an engine of its own, for one test that may break it."""
    with Wherry() as engine:
        yield engine


@pytest.fixture(scope="session")
def dockerd() -> Iterator[peers.Dockerd]:
    """A private dockerd with wherry's shim on its PATH."""
    with peers.dockerd(path=peers.path_with_shim()) as daemon:
        yield daemon


@pytest.fixture(scope="session")
def containerd() -> Iterator[peers.Containerd]:
    """A private containerd with wherry's shim on its PATH."""
    with peers.containerd(path=peers.path_with_shim()) as daemon:
        yield daemon

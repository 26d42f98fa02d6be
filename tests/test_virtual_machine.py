"""What takes another kernel, or a clock that may be set: tests that run in a virtual machine."""

import sys

import pytest
from tests.conftest import ROOT, without
from tests.peers import PeerMissing
from tests.virtual import VirtualMachine

pytestmark = [pytest.mark.root, pytest.mark.slow]

CGROUP_V2 = (
    "tests/runtime/test_cgroups.py",
    "tests/end_to_end/test_sandbox.py::test_its_cgroup_bounds_memory_cpu_and_processes",
    "tests/shim/test_containerd.py::test_out_of_memory_is_told_before_the_exit[host]",
    "tests/shim/test_containerd.py::test_pause_and_resume[host]",
    "tests/shim/test_containerd.py::test_metrics_and_processes[host]",
    "tests/shim/test_linux.py::test_pause_resume_processes_limits_and_statistics",
    "tests/shim/test_linux.py::test_a_killed_child_is_told_as_out_of_memory",
    "tests/linux/test_limits.py",
)


@pytest.mark.parametrize(
    "tests", [CGROUP_V2, ("tests/clock_jumps.py",)], ids=["cgroup-v2", "clock-jumps"]
)
def test_in_a_virtual_machine(tests: tuple[str, ...]) -> None:
    try:
        machine = VirtualMachine()
    except PeerMissing as error:
        without(str(error))
    command = (
        f"cd {ROOT} && export HOME=/tmp PATH=/usr/sbin:/usr/bin:/sbin:/bin"
        " PYTHONDONTWRITEBYTECODE=1\n"
        f"{sys.executable} -m pytest -q --color=no -p no:cacheprovider {' '.join(tests)}"
    )
    outcome = machine.run(command)
    assert outcome.status == 0, outcome.output[-5000:]
    assert " passed" in outcome.output

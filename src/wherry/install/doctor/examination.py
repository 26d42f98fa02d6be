"""All probes, side by side, each with a deadline."""

import threading
from collections.abc import Callable

from wherry.install.doctor import engines, kernel, network, oneself
from wherry.install.doctor.finding import Finding, warning
from wherry.install.errors import InstallError

DEADLINE = 25.0
"""Seconds for all probes together, which run at the same time."""

Probe = Callable[[], list[Finding]]

PROBES: dict[str, Probe] = {
    "wherry": oneself.package,
    "engine": oneself.engine,
    "store": oneself.store,
    "kernel": kernel.kernel,
    "cgroups": kernel.cgroups,
    "users": kernel.users,
    "network": network.network,
    "http": network.http,
    "docker": engines.docker_engine,
    "containerd": engines.containerd_engine,
    "kubernetes": engines.kubernetes,
    "podman": engines.podman_engine,
    "cri-o": engines.crio_engine,
    "runtimes": engines.linux_runtimes,
    "shims": engines.other_shims,
}


def examine(probes: dict[str, Probe] = PROBES, deadline: float = DEADLINE) -> list[Finding]:
    """Run all probes; one that fails or hangs is a finding itself."""
    answers: dict[str, list[Finding]] = {}
    threads = []
    for name, probe in probes.items():
        # Daemonic: one that hangs does not keep the command from ending.
        thread = threading.Thread(target=_run, args=(name, probe, answers), daemon=True)
        thread.start()
        threads.append(thread)
    for thread in threads:
        thread.join(deadline)
        if thread.is_alive():
            deadline = 0.1
    late = [warning("", "did not answer in time; what it asks hangs")]
    return [
        finding if finding.subject else warning(name, finding.text)
        for name in probes
        for finding in answers.get(name, late)
    ]


def _run(name: str, probe: Probe, answers: dict[str, list[Finding]]) -> None:
    try:
        answers[name] = probe()
    except (InstallError, OSError, ValueError) as error:
        answers[name] = [warning(name, f"cannot be examined: {error}")]
    except Exception as error:
        # A person who asks what is wrong must not be shown a traceback.
        answers[name] = [warning(name, f"cannot be examined ({type(error).__name__}: {error})")]

"""The process that holds a pod's namespaces: Kubernetes' sandbox container, without its program.

CRI asks for a container whose program ("pause") does nothing, so that there are namespaces which
the pod's containers join by way of its process. Here that process is a fork that waits: it mounts
no image, loads no engine and runs no guest.
"""

import os
import signal
from typing import NoReturn

from wherry.oci import runtime as spec
from wherry.runtime import messages
from wherry.runtime.exits import SIGNALLED, LaunchError
from wherry.runtime.overseer import Shim
from wherry.runtime.sandbox import capabilities, identity, namespaces, seccomp, sysctls
from wherry.runtime.sandbox import syscalls as sys
from wherry.runtime.sandbox.root import EmptyRoot

_KINDS = ("io.kubernetes.cri.container-type", "io.kubernetes.cri-o.ContainerType")
"""Annotations of containerd and of CRI-O that tell sandboxes from containers."""

_ENDING = frozenset({signal.SIGTERM, signal.SIGINT, signal.SIGQUIT, signal.SIGHUP})


def is_sandbox(config: spec.Spec) -> bool:
    """Whether a bundle is that of a pod's sandbox, whatever its program."""
    annotations = config.annotations or {}
    return any(annotations.get(kind) == "sandbox" for kind in _KINDS)


def prepare(request: messages.Fork, config: spec.Spec, overseer: Shim, only: bytes) -> None:
    """Make the pod's namespaces, and give up all that is not needed to hold them.

    `only` is the seccomp filter that lets it do no more than wait.
    Raises LaunchError and OSError.
    """
    process = config.process or spec.Process()
    if not request.namespaces:
        raise LaunchError("a pod needs namespaces, and the kernel gives us none")
    namespaces.refuse_user(config)
    identity.set_oom_score(process)
    sysctls.check(config)
    namespaces.join(config, None)
    namespaces.set_names(config)
    sysctls.apply(config)
    root = EmptyRoot(os.path.join(request.bundle, config.root.path if config.root else "rootfs"))
    if config.hooks and config.hooks.at_creation:
        overseer.await_hooks()
    root.enter("/")
    os.setsid()
    identity.set_limits(process)
    identity.become(process.user)
    sys.prctl(sys.PR_SET_NAME, b"wherry-pod")
    capabilities.drop_all()
    capabilities.set_no_new_privs()
    overseer.tie_for_good()
    # Process 1 of a namespace does not see signals that are left at their default, unless they are
    # blocked and waited for.
    signal.pthread_sigmask(signal.SIG_BLOCK, _ENDING | {signal.SIGCHLD})
    seccomp.install(only)


def hold() -> NoReturn:
    """Wait for a signal that ends the pod; bury those whose parents are gone, as process 1 must."""
    while True:
        number = signal.sigwait(_ENDING | {signal.SIGCHLD})
        if number != signal.SIGCHLD:
            os._exit(SIGNALLED + number)
        _bury()


def _bury() -> None:
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    except ChildProcessError:
        pass

"""Running a shim: from its listening socket to its last task."""

import asyncio
import gc
import os
import resource
import signal
import socket
import sys
import time
from collections.abc import Callable
from pathlib import Path

from wherry.places import data_folder
from wherry.runtime import Launcher
from wherry.runtime.sandbox import midwife
from wherry.shim.containerd import Images
from wherry.shim.group import Group
from wherry.shim.messages import TASK_SERVICES
from wherry.shim.places import linux_folder
from wherry.shim.server.lifetime import Lifetime
from wherry.shim.server.linux import LinuxContainers
from wherry.shim.server.publisher import Publisher
from wherry.shim.server.service import TaskService
from wherry.shim.server.tasks import Tasks
from wherry.shim.ttrpc.server import Server

_PATIENCE, _POD_PATIENCE = 120.0, 2.0
"""Seconds without tasks and connections: a namespace is likely to be used again, a pod is not."""

_LAST_EVENTS = 2.0
"""Seconds for the last events to be delivered in."""


def serve(
    group: Group,
    listener: socket.socket,
    events_address: str,
    ready: Callable[[], None],
    launcher: Launcher | None,
) -> None:
    """Serve the containers of `group` until nobody needs that any more.

    `ready` is called once everything is there that may be missing.
    """
    asyncio.run(_serve(group, listener, events_address, ready, launcher))


async def _serve(
    group: Group,
    listener: socket.socket,
    events_address: str,
    ready: Callable[[], None],
    launcher: Launcher | None,
) -> None:
    if launcher is None:
        launcher = await Launcher.spawn(Path(data_folder()) / "cache")
    linux = LinuxContainers(linux_folder(group.namespace), lambda pid: pid == launcher.zygote_pid)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    publisher = Publisher(events_address, group.namespace, _report)
    images = None
    if group.containerd != events_address:  # wherryd has no images to ask for
        images = Images(group.containerd, group.namespace, f"{data_folder()}/artifacts")
    tasks = Tasks(launcher, linux, publisher.publish, _report, images)

    def shutdown(now: bool) -> None:
        # A pod's first container is also its last: without any the pod is over.
        if (now or group.pod) and not len(tasks):
            lifetime.end()

    def changed() -> None:
        lifetime.changed()

    methods = TaskService(tasks, shutdown).methods()
    server = Server(dict.fromkeys(TASK_SERVICES, methods), _report, changed)
    lifetime = Lifetime(
        busy=lambda: bool(len(tasks) or server.connections),
        patience=_POD_PATIENCE if group.pod else _PATIENCE,
        hide=group.hide,
        show=lambda: group.show(os.getpid()),
    )
    if midwife.is_needed():
        midwife.take_orphans()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, shutdown, True)
    # A terminal that goes away takes no containers with it.
    loop.add_signal_handler(signal.SIGHUP, lambda: None)
    await server.listen(listener)
    ready()
    gc.freeze()
    lifetime.changed()
    await lifetime.over.wait()
    with group.locked():
        server.close()
        group.clear()
    await publisher.close(_LAST_EVENTS)
    tasks.close()


def _report(line: str) -> None:
    print(time.strftime("%Y-%m-%dT%H:%M:%S"), line, file=sys.stderr, flush=True)

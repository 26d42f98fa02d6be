"""What drives a shim: start one, talk to its task service, hear its events, read its logs.

Works with any containerd shim v2, not only wherry's. Imports nothing of the shim's server or the
runtime. `wherry.shim.client.log` reads the logs that `wherry-log:` addresses make.
"""

from wherry.shim.client.events import Event, EventsServer
from wherry.shim.client.start import ShimError, delete_shim, start_shim
from wherry.shim.client.task import Exit, TaskClient, TaskError, TaskState

__all__ = [
    "Event",
    "EventsServer",
    "Exit",
    "ShimError",
    "TaskClient",
    "TaskError",
    "TaskState",
    "delete_shim",
    "start_shim",
]

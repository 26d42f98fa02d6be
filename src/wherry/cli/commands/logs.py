"""`logs`: what a container has written."""

from __future__ import annotations

from wherry.cli.command import Command
from wherry.cli.flags import switch, text
from wherry.cli.moment import as_query
from wherry.client.frames import FrameDecoder

TYPE_CHECKING = False
if TYPE_CHECKING:
    from wherry.cli.flags import Arguments
    from wherry.cli.session import Session


def _logs(session: Session, arguments: Arguments) -> int:
    (name,) = arguments.words
    container = session.client.get(f"/containers/{name}/json")
    query = {
        "stdout": True,
        "stderr": True,
        "follow": arguments.switch("follow"),
        "timestamps": arguments.switch("timestamps"),
        "tail": arguments.text("tail"),
        "since": as_query(arguments.text("since")),
        "until": as_query(arguments.text("until")),
    }
    response = session.client.request("GET", f"/containers/{container['Id']}/logs", query)
    from wherry.cli.terminal import write_all

    if container["Config"]["Tty"]:
        for data in response:
            write_all(1, data)
        return 0
    decoder = FrameDecoder()
    for data in response:
        for stream, payload in decoder.feed(data):
            write_all(1 if stream == 1 else 2, payload)
    return 0


_TIME = "TIME"

LOGS = Command(
    _logs,
    "Show what a container has written",
    "CONTAINER",
    (
        switch("follow", "f", "Go on as it writes more"),
        text("since", "", "From a time on (2013-01-02T13:23:37Z, 10m)", metavar=_TIME),
        text("tail", "n", "So many lines from the end", metavar="N", default="all"),
        switch("timestamps", "t", "Show when each line was written"),
        text("until", "", "Up to a time (2013-01-02T13:23:37Z, 10m)", metavar=_TIME),
    ),
    least=1,
    most=1,
    complete=("container",),
    examples=("wherry logs -f --tail 20 web", "wherry logs --since 10m -t web"),
)

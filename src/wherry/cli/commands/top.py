"""`top`: the processes of a container."""

from __future__ import annotations

from wherry.cli.columns import align
from wherry.cli.command import UNLIMITED, Command

TYPE_CHECKING = False
if TYPE_CHECKING:
    from wherry.cli.flags import Arguments
    from wherry.cli.session import Session


def _top(session: Session, arguments: Arguments) -> int:
    name, *options = arguments.words
    query = {"ps_args": " ".join(options)}
    processes = session.client.get(f"/containers/{name}/top", query)
    rows = [processes["Titles"], *(processes["Processes"] or ())]
    session.write(align(rows, minimum=20, padding=3))
    return 0


TOP = Command(
    _top,
    "Show the processes of a container",
    "CONTAINER [PS OPTIONS]",
    least=1,
    most=UNLIMITED,
    complete=("container",),
    interspersed=False,
)

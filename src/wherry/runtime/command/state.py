"""`state` and `list`: how containers are."""

import sys

from wherry.runtime.command import linux
from wherry.runtime.command.options import Arguments, Options, UsageError
from wherry.runtime.command.record import Foreign, NoContainer, Record, identifiers


def state(options: Options) -> int:
    """`state ID`: print a container's state (runtime.md, "State") with what runc adds to it."""
    record = linux.find(options, Arguments(options.arguments).identifier())
    sys.stdout.write(document(record) + "\n")
    return 0


def document(record: Record) -> str:
    """The state of a container as JSON."""
    status, pid = record.status()
    # The rest was encoded at `create`: an object that begins in a line of its own.
    rest = record.read("container.json").decode().removeprefix("{")
    if not rest:
        rest = f'\n  "ociVersion": "1.1.0",\n  "id": "{record.id}",\n  "bundle": ""\n}}'
    return f'{{\n  "pid": {pid},\n  "status": "{status}",{rest}'


def list_all(options: Options) -> int:
    """`list [--quiet] [--format table|json]`: print all containers below the root.

    Containers that were handed on to a Linux runtime are listed by that.
    """
    arguments = Arguments(options.arguments, values="format|f", switches="quiet|q")
    if arguments.rest:
        raise UsageError("list takes no arguments")
    form = arguments.value("format", "table")
    if form not in ("table", "json"):
        raise UsageError(f"--format is table or json, not {form!r}")
    documents = []
    for identifier in identifiers(options.root):
        try:
            record = Record.find(options.root, identifier)
        except (Foreign, NoContainer):
            continue
        if "quiet" in arguments:
            sys.stdout.write(f"{identifier}\n")
        else:
            documents.append(document(record))
    if "quiet" in arguments:
        return 0
    if form == "json":
        sys.stdout.write(f"[{','.join(documents)}]\n" if documents else "null\n")
    else:
        _print_table(documents)
    return 0


def _print_table(documents: list[str]) -> None:
    import msgspec

    columns = ["ID", "PID", "STATUS", "BUNDLE", "CREATED", "OWNER"]
    rows = [columns]
    for text in documents:
        found = msgspec.json.decode(text, type=dict[str, object])
        rows.append([str(found.get(column.lower(), "")) for column in columns])
    widths = [max(len(row[column]) for row in rows) for column in range(len(columns))]
    for row in rows:
        cells = (cell.ljust(width + 4) for cell, width in zip(row, widths, strict=True))
        sys.stdout.write("".join(cells).rstrip() + "\n")


COMMANDS = {"state": state, "list": list_all}

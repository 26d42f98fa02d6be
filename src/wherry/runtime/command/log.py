"""The log that a caller names with --log: one line an entry, as logrus writes it in runc."""

import os
import time

from wherry.runtime.command.options import Options


def write(options: Options, level: str, message: str) -> None:
    """Append an entry. A log that cannot be written is no error of the container's.

    containerd shows the last message of level "error" to people; CRI-O and Podman read stderr.
    """
    if not options.log:
        return
    if options.log_format == "json":
        # Not by `json`, which takes as long to import as the rest of most commands to run.
        line = f'{{"level":"{level}","msg":{quoted(message)},"time":"{timestamp()}"}}\n'
    else:
        line = f'time="{timestamp()}" level={level} msg={quoted(message)}\n'
    flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
    try:
        file = os.open(options.log, flags, 0o644)
    except OSError:
        return
    try:
        os.write(file, line.encode(errors="backslashreplace"))
    except OSError:
        return
    finally:
        os.close(file)


def timestamp() -> str:
    """Now, as RFC 3339 has it, in UTC with nanoseconds."""
    seconds, nanoseconds = divmod(time.time_ns(), 1_000_000_000)
    return f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(seconds))}.{nanoseconds:09}Z"


def quoted(text: str) -> str:
    """A JSON string."""
    escaped = "".join(
        f"\\{letter}"
        if letter in '"\\'
        else letter
        if " " <= letter <= "~" or (letter > "\x9f" and not "\ud800" <= letter <= "\udfff")
        else f"\\u{ord(letter):04x}"
        for letter in text
    )
    return f'"{escaped}"'

"""Signals as people write them: "SIGTERM", "term", "15"."""

import re
import signal

from wherry.engine.errors import InvalidRequest

_LAST = 64
_REAL_TIME = re.compile(r"RT(MIN|MAX)(?:([+-])(\d{1,2}))?")


def parse_signal(text: str) -> int:
    """The number of a signal. Raises InvalidRequest."""
    name = text.strip().upper().removeprefix("SIG")
    if name.isdecimal():
        number = int(name) if len(name) < 10 else 0
    elif match := _REAL_TIME.fullmatch(name):
        base = signal.SIGRTMIN if match[1] == "MIN" else signal.SIGRTMAX
        number = base + int((match[2] or "") + (match[3] or "0"))
    else:
        number = getattr(signal, f"SIG{name}", 0)
        if not isinstance(number, signal.Signals):
            number = 0
    if not 0 < number <= _LAST:
        raise InvalidRequest(f"Invalid signal: {text[:80]}")
    return int(number)

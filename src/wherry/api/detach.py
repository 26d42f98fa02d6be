"""The keys by which a person leaves a terminal without ending what runs in it; no I/O."""

DEFAULT = "ctrl-p,ctrl-q"

_CONTROL = {"@": 0, "[": 27, "\\": 28, "]": 29, "^": 30, "_": 31}


class InvalidKeys(ValueError):
    """The text names no sequence of keys."""


class DetachKeys:
    """Looks for the sequence in what is typed, and holds back what might be its beginning."""

    __slots__ = ("_matched", "_sequence", "pressed")

    def __init__(self, keys: str = "") -> None:
        """`keys` is as `--detach-keys` takes it: `ctrl-p,ctrl-q`. Raises InvalidKeys."""
        self._sequence = bytes(_key(key) for key in (keys or DEFAULT).split(","))
        self._matched = 0
        self.pressed = False

    def feed(self, data: bytes) -> bytes:
        """What of `data` (and of what was held back) goes on to the container.

        When `pressed` has become true, the rest was not looked at.
        """
        if not self._matched and self._sequence[0] not in data:
            return data
        passed = bytearray()
        for byte in data:
            if byte == self._sequence[self._matched]:
                self._matched += 1
                if self._matched == len(self._sequence):
                    self.pressed = True
                    break
                continue
            passed += self._sequence[: self._matched]
            self._matched = int(byte == self._sequence[0])
            if not self._matched:
                passed.append(byte)
        return bytes(passed)


def _key(text: str) -> int:
    if len(text) == 1 and text.isascii():
        return ord(text)
    name = text.lower().removeprefix("ctrl-")
    if name != text.lower() and len(name) == 1:
        if "a" <= name <= "z":
            return ord(name) - ord("a") + 1
        if name in _CONTROL:
            return _CONTROL[name]
    raise InvalidKeys(f"detach keys: {text[:20]!r} is neither a character nor ctrl- and a letter")

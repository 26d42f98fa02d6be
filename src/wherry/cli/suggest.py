"""What a person may have meant by a word that is not known."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable


def distance(left: str, right: str) -> int:
    """How many letters to add, drop, change or swap with their neighbour (Damerau-Levenshtein)."""
    before: list[int] = []
    previous = list(range(len(right) + 1))
    for row, a in enumerate(left, 1):
        current = [row]
        for column, b in enumerate(right, 1):
            cost = min(previous[column] + 1, current[-1] + 1, previous[column - 1] + (a != b))
            if row > 1 and column > 1 and a == right[column - 2] and left[row - 2] == b:
                cost = min(cost, before[column - 2] + 1)
            current.append(cost)
        before, previous = previous, current
    return previous[-1]


def nearest(word: str, known: Iterable[str]) -> str:
    """The known word closest to one that was typed, or empty when none is close."""
    best = ""
    least = 1 + max(1, len(word) // 3)
    for candidate in known:
        far = distance(word, candidate)
        if far < least:
            best, least = candidate, far
    return best

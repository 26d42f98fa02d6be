"""Figures: what was measured, how it spreads, and how two compare."""

from __future__ import annotations

import statistics
from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True)
class Sample:
    """Measured values of one thing, in `unit`."""

    unit: str
    values: tuple[float, ...]

    @classmethod
    def of(cls, unit: str, values: Iterable[float]) -> Sample:
        return cls(unit, tuple(values))

    @property
    def median(self) -> float:
        return statistics.median(self.values)

    @property
    def p90(self) -> float:
        """The value that nine of ten stay below."""
        return sorted(self.values)[int(0.9 * (len(self.values) - 1) + 0.5)]

    def __str__(self) -> str:
        if len(self.values) == 1:
            return f"{_short(self.median)} {self.unit}"
        return f"{_short(self.median)} {self.unit} (p90 {_short(self.p90)})"


@dataclass(frozen=True)
class Row:
    """One line of the table.

    `budget` is the ratio to the peer that the design allows, `limit` what it allows in the unit
    itself; `missing` says why there is no figure, or no peer.
    """

    name: str
    wherry: Sample | None = None
    peer_name: str = ""
    peer: Sample | None = None
    budget: float | None = None
    limit: float | None = None
    missing: str = ""

    @property
    def ratio(self) -> float | None:
        """wherry's median as a part of the peer's; less is better."""
        if self.wherry is None or self.peer is None:
            return None
        return self.wherry.median / self.peer.median

    @property
    def kept(self) -> bool | None:
        """Whether the budget is kept; None without a budget or a figure."""
        if self.limit is not None and self.wherry is not None:
            return self.wherry.median <= self.limit
        if self.budget is not None and self.ratio is not None:
            return self.ratio <= self.budget
        return None


def _short(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"

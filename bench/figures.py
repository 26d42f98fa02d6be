"""Figures: what was measured, how it spreads, and how two compare."""

from __future__ import annotations

import statistics
from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True)
class Sample:
    """Measured values of one thing, in `unit`.

    `beside` is what is shown beside the median, instead of the 90th percentile.
    """

    unit: str
    values: tuple[float, ...]
    beside: str = ""

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
        beside = self.beside
        if not beside and len(self.values) > 1:
            beside = f"p90 {_short(self.p90)}"
        return f"{_short(self.median)} {self.unit}" + (f" ({beside})" if beside else "")


@dataclass(frozen=True)
class Row:
    """One line of the table.

    `budget` is the ratio to the peer that the design allows, `limit` what it allows in the unit
    itself; `missing` says why there is no figure, or no peer. Of what is `better_more`, as requests
    a second are, the budget is the least that is allowed.
    """

    name: str
    wherry: Sample | None = None
    peer_name: str = ""
    peer: Sample | None = None
    budget: float | None = None
    limit: float | None = None
    missing: str = ""
    better_more: bool = False

    @property
    def ratio(self) -> float | None:
        """wherry's median as a part of the peer's; less is better, or more where `better_more`."""
        if self.wherry is None or self.peer is None:
            return None
        return self.wherry.median / self.peer.median

    @property
    def kept(self) -> bool | None:
        """Whether the budget is kept; None without a budget or a figure."""
        if self.limit is not None and self.wherry is not None:
            return self.wherry.median <= self.limit
        if self.budget is not None and self.ratio is not None:
            return self.ratio >= self.budget if self.better_more else self.ratio <= self.budget
        return None


def _short(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"

"""Targets: a metric of one way of doing a job, as it is, beside another way's, or over it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

Medians = Mapping[str, Mapping[str, float]]
"""Way -> metric -> median."""


@dataclass(frozen=True, slots=True)
class Target:
    """``how``: "ratio" divides by ``beside``, "over" subtracts it. ``stretch``: wished, not asked."""

    text: str
    way: str
    metric: str
    limit: float
    how: Literal["plain", "ratio", "over"] = "plain"
    beside: str | None = None
    stretch: bool = False

    def value(self, found: Medians) -> float | None:
        """What was measured, or None where one of the two was not."""
        mine = found.get(self.way, {}).get(self.metric)
        if self.how == "plain" or mine is None:
            return mine
        theirs = found.get(self.beside or "", {}).get(self.metric)
        if theirs is None:
            return None
        if self.how == "over":
            return mine - theirs
        return mine / theirs if theirs else math.inf

    def record(self, found: Medians) -> dict[str, object]:
        value = self.value(found)
        return {
            "text": self.text,
            "limit": self.limit,
            "unit": "" if self.how == "ratio" else "MB" if self.metric.endswith("mb") else "s",
            "stretch": self.stretch,
            "value": None if value is None else round(value, 6),
            "reached": None if value is None else value <= self.limit,
        }


def exponent(sizes: Sequence[float], costs: Sequence[float]) -> float:
    """The slope of log cost over log size, by least squares: 1 is linear.

    >>> round(exponent([1, 10, 100], [2, 20, 200]), 6)
    1.0
    """
    xs, ys = [math.log(size) for size in sizes], [math.log(cost) for cost in costs]
    x, y = sum(xs) / len(xs), sum(ys) / len(ys)
    return sum((a - x) * (b - y) for a, b in zip(xs, ys, strict=True)) / sum((a - x) ** 2 for a in xs)

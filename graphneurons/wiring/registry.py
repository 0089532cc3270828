"""Hands out global numbers: one range per source, and negative numbers for what is unknown, with the reason."""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass, field

import numpy as np

from graphneurons.axes.planes import Plane, Shape, check_size
from graphneurons.wiring.records import CONSTANT, FIRST_UNKNOWN, Integers, Junction, JunctionKind, Source, SourceKind


@dataclass
class Registry:
    """Ranges given so far. A source asked for twice keeps its range, so a second walk numbers as the first did."""

    sources: list[Source] = field(default_factory=list)
    junctions: list[Junction] = field(default_factory=list)
    reasons: list[str] = field(default_factory=list)
    _known: dict[tuple[str, str], Source] = field(default_factory=dict)
    _codes: dict[str, int] = field(default_factory=dict)
    _names: set[str] = field(default_factory=set)
    _end: int = 0

    def source(self, kind: SourceKind, name: str, size: int) -> Source:
        """The range of a source, new or as given before."""
        known = self._known.get((kind, name))
        if known is not None and known.size == size:
            return known
        made = Source(kind, name, self._end, size)
        self._end += max(size, 1)
        self._known[kind, name] = made
        self.sources.append(made)
        return made

    def owner(self, number: int) -> Source:
        """The source that a number (>= 0) belongs to."""
        return self.sources[bisect_right(self.sources, number, key=lambda source: source.base) - 1]

    def unknown(self, reason: str) -> int:
        """The number that stands for ``reason``."""
        if reason not in self._codes:
            self._codes[reason] = FIRST_UNKNOWN - len(self.reasons)
            self.reasons.append(reason)
        return self._codes[reason]

    def junction(self, kind: JunctionKind, op: str, shape: Shape, members: list[Integers]) -> Plane:
        """A plane of ``shape`` where ``members`` (broadcastable arrays of numbers) meet.

        Places where only one of them is there, or all are alike, keep its number; the others are indices of a new
        junction, those with equal members one index.
        """
        stored = np.broadcast_shapes(*(member.shape for member in members))
        check_size(int(np.prod(stored, dtype=object)) * len(members))
        rows = np.stack([np.broadcast_to(member, stored).reshape(-1) for member in members])
        there = rows != CONSTANT
        filled = np.where(there, rows, rows[there.argmax(axis=0), np.arange(rows.shape[1])])
        lone = (filled == filled[0]).all(axis=0)
        numbers = filled[0].copy()
        meeting = rows[:, ~lone]
        if meeting.size:
            distinct, rank = _distinct_columns(meeting)
            name = self._free(op)
            source = self.source("junction", name, int(distinct.shape[1]))
            numbers[~lone] = source.base + rank
            self.junctions.append(Junction(name, kind, source.size, tuple(distinct), op))
        return Plane(shape, numbers.reshape(stored))

    def restart(self) -> None:
        """Forgets junctions and keeps all ranges, for another walk over the same graph."""
        self.junctions.clear()
        self._names.clear()

    def _free(self, op: str) -> str:
        name, number = op, 1
        while name in self._names:
            number += 1
            name = f"{op}#{number}"
        self._names.add(name)
        return name


def _distinct_columns(rows: Integers) -> tuple[Integers, Integers]:
    """The different columns of ``rows`` in order of first appearance, and which of them every column is."""
    count = rows.shape[1]
    if any((row[1:] > row[:-1]).all() for row in rows):
        return rows, np.arange(count)
    _, first, inverse = np.unique(rows, axis=1, return_index=True, return_inverse=True)
    order = np.argsort(first, kind="stable")
    rank = np.empty_like(order)
    rank[order] = np.arange(order.size)
    return rows[:, first[order]], rank[inverse.reshape(-1)]

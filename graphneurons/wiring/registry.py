"""Hands out global numbers: one range per source, and negative numbers for what is unknown, with the reason."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from math import prod

import numpy as np

from graphneurons.axes.planes import Plane, Shape, check_size, distinct, fresh, run
from graphneurons.wiring.records import CONSTANT, FIRST_UNKNOWN, Integers, Junction, JunctionKind, Source, SourceKind


@dataclass
class Registry:
    """Ranges given so far. A source asked for twice keeps its range, so a second walk numbers as the first did."""

    sources: list[Source] = field(default_factory=list)
    junctions: list[Junction] = field(default_factory=list)
    reasons: list[str] = field(default_factory=list)
    _bases: list[int] = field(default_factory=list)
    _known: dict[tuple[str, str], Source] = field(default_factory=dict)
    _codes: dict[str, int] = field(default_factory=dict)
    _names: set[str] = field(default_factory=set)
    _end: int = 0

    def source(self, kind: SourceKind, name: str, size: int) -> Source:
        """The range of a source, new or as given before."""
        key = (kind, name)
        known = self._known.get(key)
        if known is not None and known.size == size:
            return known
        made = self._known[key] = Source(kind, name, self._end, size)
        self._end += size or 1
        self._bases.append(made.base)
        self.sources.append(made)
        return made

    def owner(self, number: int) -> Source:
        """The source that a number (>= 0) belongs to."""
        return self.sources[bisect_right(self._bases, number) - 1]

    def owner_of_run(self, first: int, size: int) -> Source | None:
        """The source that ``size`` numbers from ``first`` on belong to; None if they are of several, or of none."""
        if first < 0:
            return None
        source = self.owner(first)
        return source if first + size <= source.base + max(source.size, 1) else None

    def unknown(self, reason: str) -> int:
        """The number that stands for ``reason``."""
        if reason not in self._codes:
            self._codes[reason] = FIRST_UNKNOWN - len(self.reasons)
            self.reasons.append(reason)
        return self._codes[reason]

    def junction(self, kind: JunctionKind, op: str, shape: Shape, members: Sequence[Plane]) -> Plane:
        """A plane of ``shape`` where ``members`` (stored in shapes that broadcast) meet.

        Places where only one of them is there, or all are alike, keep its number; the others are indices of a new
        junction, those with equal members one index.
        """
        if are_apart(members):
            return self.junction_of_all(kind, op, shape, members)
        stored = np.broadcast_shapes(*(member.data.shape for member in members))
        check_size(prod(stored) * len(members))
        # What is the same from one place of an axis to the next (tokens, positions) is worked out once.
        kept = [_changes(members, axis) for axis in range(len(stored))]
        numbers, first = self._numbers(kind, op, [_at(member.data, kept) for member in members])
        for axis, places in enumerate(kept):
            if places is not None and places.size < stored[axis]:
                numbers, first = numbers.repeat(np.diff(places, append=stored[axis]), axis=axis), None
        return Plane(shape, numbers, first, tuple(kept))

    def junction_of_all(self, kind: JunctionKind, op: str, shape: Shape, members: Sequence[Plane]) -> Plane:
        """`junction` of members that `are_apart`: they meet at every place."""
        first = members[0].data
        check_size(first.size * len(members))
        return run(shape, first.shape, self._met(kind, op, [member.data.reshape(-1) for member in members]).base)

    def _numbers(self, kind: JunctionKind, op: str, members: Sequence[Integers]) -> tuple[Integers, int | None]:
        """The numbers of ``members`` that meet, and the first of them where none of them stands twice."""
        stored = np.broadcast_shapes(*(member.shape for member in members))
        rows = np.stack([np.broadcast_to(member, stored).reshape(-1) for member in members])
        there = rows != CONSTANT
        filled = np.where(there, rows, rows[there.argmax(axis=0), np.arange(rows.shape[1])])
        lone = (filled == filled[0]).all(axis=0)
        numbers = filled[0].copy()
        meeting = rows[:, ~lone]
        first = None
        if meeting.size:
            columns, rank = _distinct_columns(meeting)
            source = self._met(kind, op, columns)
            numbers[~lone] = source.base + rank
            first = source.base if source.size == numbers.size else None
        return numbers.reshape(stored), first

    def _met(self, kind: JunctionKind, op: str, members: Iterable[Integers]) -> Source:
        """The source that a new junction of ``members`` is."""
        rows = tuple(members)
        source = self.source("junction", self._free(op), rows[0].size)
        self.junctions.append(Junction(source.id, kind, source.size, rows, op))
        return source

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


def are_apart(members: Sequence[Plane]) -> bool:
    """Whether all are stored alike, have every number but once, and none has a number of another."""
    first = members[0]
    size = first.data.size
    starts: list[int] = []
    for member in members:
        start = member.first
        if start is None or start < 0 or member.data.shape != first.data.shape or size < 2:
            return False
        if any(abs(start - other) < size for other in starts):
            return False
        starts.append(start)
    return True


def _changes(members: Sequence[Plane], axis: int) -> Integers | None:
    """The places along ``axis`` at which any member changes; None where that axis is stored once by all."""
    found = [_changes_of(member, axis) for member in members if member.data.shape[axis] > 1]
    if not found:
        return None
    return found[0] if all(places is found[0] for places in found) else distinct(np.concatenate(found))


def _changes_of(member: Plane, axis: int) -> Integers:
    told = None if member.changes is None else member.changes[axis]
    if told is not None:
        return told
    # Numbers that all differ change everywhere.
    return fresh(member.data, axis) if member.first is None else np.arange(member.data.shape[axis])


def _at(data: Integers, kept: Sequence[Integers | None]) -> Integers:
    """``data`` at the places ``kept`` along every axis it varies on."""
    for axis, places in enumerate(kept):
        if places is not None and 1 < data.shape[axis] != places.size:
            data = data.take(places, axis=axis)
    return data


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

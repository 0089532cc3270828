"""Adds up what tiles say into one entry per neuron and per channel of a weight."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from graphneurons.health.decoding import Numbers
from graphneurons.health.kernels import Buffer, Measuring, Steps, Sums, Weighing, measure, weighed
from graphneurons.health.numbering import Integers, Numbering, Run, Side, Tile, tiles
from graphneurons.health.statistics import Channels, Statistics

Array = npt.NDArray[Any]
Values = tuple[Numbers, Steps | None, Numbers | None]
"""The numbers of a tile, shape (outer, upper, lower); the integers they are, where they are such; and what is to be
multiplied to them, per neuron along the inner axis of neurons (None: nothing)."""
Read = Callable[[Tile], Values]

TILE = 1 << 19
"""Elements per tile: the tile and its squares fit into the third-level cache, and calls cost little beside the work."""

_COUNTED = frozenset({"positive", "zero", "nan", "small", "inf"})
_OPERATIONS = tuple((name, {"low": np.minimum, "high": np.maximum}.get(name, np.add)) for name in Sums._fields)


@dataclass(eq=False)
class Entries:
    """Running sums of neurons, or channels, ``[first, first + size)``; made when there is something to add."""

    first: int
    size: int
    sums: dict[str, Array] = field(default_factory=dict)

    def of(self, name: str) -> Array:
        if name not in self.sums:
            kind = np.int64 if name in _COUNTED else np.float64
            start = {"low": np.inf, "high": -np.inf}.get(name, 0)
            self.sums[name] = np.full(self.size, start, kind)
        return self.sums[name]

    def add(self, at: slice | Integers, is_unique: bool, sums: Sums) -> None:
        for (name, operation), found in zip(_OPERATIONS, sums, strict=True):
            if found is None:
                continue
            into = self.sums.get(name)
            if into is None:
                into = self.of(name)
            if isinstance(at, slice):
                part = into[at]
                operation(part, found.reshape(-1), out=part)
            elif is_unique:
                into[at] = operation(into[at], found.reshape(-1))
            else:
                operation.at(into, at, found.reshape(-1))

    def take(self, other: Entries) -> None:
        """Adds what ``other`` summed."""
        at = slice(other.first - self.first, other.first - self.first + other.size)
        for name, operation in _OPERATIONS:
            if name in other.sums:
                part = self.of(name)[at]
                operation(part, other.sums[name], out=part)


class Index:
    """The numbers (of neurons or of channels) of the entries a tile has along one side."""

    def __init__(self, outer: Integers, side: Integers, count: int) -> None:
        self._outer = outer
        self._side = side
        self._is_run = bool((np.diff(side) == 1).all())
        self._is_unique = self._is_run or bool(np.unique(side).size == side.size)
        # Distinct numbers are as many as there are neurons, so as many entries as that are all different.
        self._all_unique = outer.size * side.size == count

    def span(self, outer: tuple[int, int], side: tuple[int, int]) -> tuple[int, int]:
        """First number in a piece, and how many there are from it to the last."""
        a, b = self._outer[slice(*outer)], self._side[slice(*side)]
        first = int(a.min() + b.min())
        return first, int(a.max() + b.max()) + 1 - first

    def at(self, outer: tuple[int, int], side: tuple[int, int], first: int) -> tuple[slice | Integers, bool]:
        """Where the entries of a tile go, and whether no two go to one place."""
        start, stop = outer
        along = self._side[slice(*side)]
        if stop - start == 1:
            base = int(self._outer[start]) - first
            if self._is_run:
                begin = base + int(along[0])
                return slice(begin, begin + along.size), True
            return along + base, self._is_unique
        return (self._outer[start:stop, None] + (along - first)).reshape(-1), self._all_unique


class Chunk(NamedTuple):
    """What one run of rows of a weight adds up to."""

    neurons: Entries
    channels: Entries


class Summing:
    """How the tiles of one weight add up. ``seed`` picks the random vector of the keys; ``keyed``: whether these are
    summed with all else (see `keys`)."""

    def __init__(self, numbering: Numbering, tiny: float, seed: int, keyed: bool) -> None:
        self.numbering = numbering
        self._tiny = tiny
        self._keyed = keyed
        upper, lower = numbering.upper, numbering.lower
        self._sides: tuple[Side, Side] = (
            "upper" if numbering.upper_neurons else "lower",
            "upper" if numbering.upper_channels else "lower",
        )
        mine, theirs = (upper if side == "upper" else lower for side in self._sides)
        self._neurons = Index(numbering.outer.neurons, mine.neurons, numbering.neurons)
        self._channels = Index(numbering.outer.channels, theirs.channels, numbering.channels)
        self._seed = seed

    def chunk(self, start: int, stop: int, read: Read, buffer: Buffer) -> Chunk:
        """The sums over rows ``[start, stop)`` (see `numbering.rows`)."""
        many = self.numbering.outer.size > 1
        outer = (start, stop) if many else (0, 1)
        upper = (0, self.numbering.upper.size) if many else (start, stop)
        found = []
        for index, side in zip((self._neurons, self._channels), self._sides, strict=True):
            along = upper if side == "upper" else (0, self.numbering.lower.size)
            found.append(Entries(*index.span(outer, along)))
        neurons, channels = found
        how = Measuring(*self._sides, self._tiny, buffer)
        with np.errstate(all="ignore"):
            for piece in tiles(self.numbering, TILE, start, stop):
                self._add(piece, *read(piece), neurons, channels, how)
        return Chunk(neurons, channels)

    def _add(
        self,
        tile: Tile,
        x: Numbers,
        steps: Steps | None,
        scale: Numbers | None,
        neurons: Entries,
        channels: Entries,
        how: Measuring,
    ) -> None:
        mine, theirs = measure(x, how, self._weighing(tile) if self._keyed else None, steps, scale)
        if mine.key is not None:
            np.multiply(mine.key, self._random[0][slice(*tile.outer), None], out=mine.key)
        for entries, index, side, sums in zip(
            (neurons, channels), (self._neurons, self._channels), self._sides, (mine, theirs), strict=True
        ):
            at, is_unique = index.at(tile.outer, tile.upper if side == "upper" else tile.lower, entries.first)
            entries.add(at, is_unique, sums)

    @cached_property
    def _random(self) -> tuple[Numbers, Numbers, Numbers]:
        """Random factors along outer, upper and lower."""
        runs = self.numbering.outer, self.numbering.upper, self.numbering.lower
        outer, upper, lower = [random_factors(run, self._seed) for run in runs]
        return outer, upper, lower

    def _weighing(self, tile: Tile) -> Weighing:
        _, upper, lower = self._random
        return Weighing(upper[slice(*tile.upper)], lower[slice(*tile.lower)])

    def keys(self, wanted: Integers, read: Callable[[Tile], Numbers]) -> Array:
        """The keys of all neurons, right for those that are ``wanted``: tiles without any of these are not read."""
        found = np.zeros(self.numbering.neurons)
        is_wanted = np.zeros(found.size, np.bool_)
        is_wanted[wanted] = True
        side = self._sides[0]
        with np.errstate(all="ignore"):
            for tile in tiles(self.numbering, TILE):
                at, _ = self._neurons.at(tile.outer, tile.upper if side == "upper" else tile.lower, 0)
                if not is_wanted[at].any():
                    continue
                # In float64, as numbers may be so large or small that float32 does not hold their sums.
                key = weighed(read(tile).astype(np.float64), side, self._weighing(tile))
                key *= self._random[0][slice(*tile.outer), None]
                np.add.at(found, np.arange(at.start, at.stop) if isinstance(at, slice) else at, key.reshape(-1))
        return found

    def whole(self) -> Chunk:
        """Empty sums of the whole weight, for those of chunks to be added to."""
        return Chunk(Entries(0, self.numbering.neurons), Entries(0, self.numbering.channels))


def random_factors(run: Run, seed: int) -> npt.NDArray[np.float32]:
    """A number of either sign, at least 1/2 and below 3/2 in size, for every position, equal for equal synapses."""
    # SplitMix64 (Steele, Lea, Flood 2014).
    mixed = run.synapses.astype(np.uint64) + np.uint64(1 + (seed << 40))
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
        mixed = (mixed ^ (mixed >> np.uint64(shift))) * np.uint64(factor)
    mixed ^= mixed >> np.uint64(31)
    size = 0.5 + (mixed >> np.uint64(40)).astype(np.float32) / np.float32(1 << 24)
    found: npt.NDArray[np.float32] = np.where(mixed & np.uint64(1), size, -size).astype(np.float32)
    return found


def statistics_of(entries: Entries, elements: int) -> Statistics:
    """What the sums of all neurons come to; each has ``elements`` weights."""
    nan, inf = _counts(entries, "nan"), _counts(entries, "inf")
    finite = elements - nan - inf
    nothing = finite == 0
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = _floats(np.where(nothing, np.nan, entries.of("total") / finite))
        l2 = _floats(np.where(nothing, np.nan, np.sqrt(entries.of("square"))))
    low = _floats(np.where(nothing, np.nan, entries.of("low")), exact=True)
    high = _floats(np.where(nothing, np.nan, entries.of("high")), exact=True)
    return Statistics(
        elements, low, high, mean, l2,
        *(_counts(entries, name) for name in ("zero", "small", "nan", "inf", "positive")),
    )  # fmt: skip


def channels_of(entries: Entries, elements: int, groups: int) -> Channels:
    return Channels(
        elements,
        groups,
        positive=_counts(entries, "positive"),
        zeros=_counts(entries, "zero"),
        nan=_counts(entries, "nan"),
        l2=_floats(np.sqrt(entries.of("square"))),
    )


def _counts(entries: Entries, name: str) -> npt.NDArray[Any]:
    """Counts as narrow as they may be; where there are none, one zero stands for all."""
    found = entries.sums.get(name)
    if found is None or not found.any():
        return np.broadcast_to(np.int32(0), (entries.size,))
    narrow = found.astype(np.int32) if int(found.max()) < 1 << 31 else found
    narrow.flags.writeable = False
    return narrow


def _floats(found: Array, *, exact: bool = False) -> npt.NDArray[Any]:
    """In float32 where that holds them (to its precision, if not ``exact``): half the memory."""
    with np.errstate(over="ignore", invalid="ignore"):
        narrow = found.astype(np.float32)
        # What is not finite stays what it is: its difference is NaN, which is not above anything.
        lost = np.abs(narrow - found) > (0.0 if exact else 1e-6 * np.abs(found))
    kept = found if lost.any() else narrow
    kept.flags.writeable = False
    return kept

"""Which neuron, channel and synapse every element of a stored weight belongs to, and how to read it in tiles.

The used part of a weight is a row-major array of its factors. Neighbouring factors are split into three runs, `outer`,
`upper` and `lower`, so that every neuron's and every channel's elements can be summed along upper or along lower alone.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from itertools import combinations_with_replacement
from math import prod
from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from graphneurons.analysis import Role, WeightUse

Integers = npt.NDArray[np.int64]
Kind = Literal["neuron", "group", "channel", "tap"]
"""What a factor numbers: ``group`` numbers neurons and channels both."""

_TAP = re.compile(r"k\d+")
MOST_NUMBERED = 1 << 24
"""Entries that the numbers of one run may have."""


class Digit(NamedTuple):
    """One factor: which stored axis it is part of, and how far its neighbours lie apart there."""

    size: int
    kind: Kind
    axis: int
    step: int


class Run(NamedTuple):
    """Neighbouring factors as one axis: what each position of it adds to the number of the neuron, of the channel and
    of the synapse (of a neuron: channel, then tap), and to the place along every stored axis."""

    size: int
    neurons: Integers
    channels: Integers
    synapses: Integers
    places: tuple[Integers, ...]


Side = Literal["upper", "lower"]


class Numbering(NamedTuple):
    """``upper_neurons``: neurons vary along outer and upper only (else along outer and lower only); ``upper_channels``
    likewise. Channels of different groups are different ones."""

    outer: Run
    upper: Run
    lower: Run
    neurons: int
    channels: int
    groups: int
    taps: int
    synapses: int
    upper_neurons: bool
    upper_channels: bool

    @property
    def elements(self) -> int:
        return self.outer.size * self.upper.size * self.lower.size

    def at(self, tile: Tile) -> int:
        """Where the first element of a tile lies in the part."""
        return (tile.outer[0] * self.upper.size + tile.upper[0]) * self.lower.size + tile.lower[0]


class Tile(NamedTuple):
    """A piece that is one run of elements: (start, stop) along outer, upper and lower."""

    outer: tuple[int, int]
    upper: tuple[int, int]
    lower: tuple[int, int]

    @property
    def shape(self) -> tuple[int, int, int]:
        outer, upper, lower = self
        return outer[1] - outer[0], upper[1] - upper[0], lower[1] - lower[0]


class UnnumberedError(Exception):
    """Why elements of a stored weight cannot be given to neurons."""


_LAYER: dict[Role, Kind] = {"neuron": "neuron", "shared": "neuron", "synapse": "channel", "mixed": "channel"}
_TABLE: dict[Role, Kind] = {"lookup": "neuron", "neuron": "channel", "shared": "channel", "synapse": "channel"}


def digits_of(use: WeightUse, groups: int, *, table: bool = False) -> list[Digit]:
    """The factors of ``use``, outermost first, without those of size one. ``groups``: into how many runs its shared
    factors split channels. Of a ``table``, rows are the neurons. Raises `UnnumberedError` for packed formats."""
    parts = part_of(use)
    if len(use.axes) != len(use.weight.shape):
        raise UnnumberedError("its axes are not told")
    found: list[Digit] = []
    split = 1
    for number, (axis, (start, stop)) in enumerate(zip(use.axes, parts, strict=True)):
        step = prod(factor.size for factor in axis.factors)
        if step != stop - start:
            raise UnnumberedError("its elements are packed, or a part of them is used that is no block")
        for factor in axis.factors:
            step //= factor.size or 1
            kinds = _TABLE if table else _LAYER
            is_tap = factor.role == "synapse" and _TAP.fullmatch(factor.name)
            kind: Kind = "tap" if is_tap else kinds.get(factor.role, "channel")
            if not table and factor.role == "shared" and split < groups and groups % (split * factor.size) == 0:
                split, kind = split * factor.size, "group"
            if factor.size != 1:
                found.append(Digit(factor.size, kind, number, step))
    return found


def part_of(use: WeightUse) -> tuple[tuple[int, int], ...]:
    """(start, stop) per stored axis."""
    return use.part or tuple((0, size) for size in use.weight.shape)


def numbered(digits: Sequence[Digit], rank: int) -> Numbering:
    """How to sum a weight with these factors. Raises `UnnumberedError` where it lies in too many small pieces."""
    best: tuple[int, int, int] | None = None
    cost = 0
    merged = _kinds_merged(digits)
    for first, second in combinations_with_replacement(merged, 2):
        outer, upper, lower = digits[:first], digits[first:second], digits[second:]
        one, other = _sides(upper, lower)
        if one is None or other is None:
            continue
        rows, size = _size(upper), _size(outer)
        made = size * (rows * ("upper" in (one, other)) + _size(lower) * ("lower" in (one, other)))
        if best is None or (made, size) < (cost, best[2]):
            best, cost = (first, second, size), made
    if best is None:  # pragma: no cover - a split with every factor outside always serves
        raise UnnumberedError("its neurons cannot be summed")
    first, second, _ = best
    runs = [digits[:first], digits[first:second], digits[second:]]
    if max(map(_size, runs)) > MOST_NUMBERED:
        raise UnnumberedError("its neurons are laid out in too many small pieces")
    one, other = _sides(runs[1], runs[2])
    steps = {
        "neurons": neuron_steps(digits),
        "channels": channel_steps(digits),
        "synapses": _steps(digits, ("channel", "tap"), last="tap"),
    }
    at, made_runs = 0, []
    for run in runs:
        made_runs.append(_run(run, {name: found[at : at + len(run)] for name, found in steps.items()}, rank))
        at += len(run)
    counts = {kind: prod(d.size for d in digits if d.kind == kind) for kind in ("neuron", "group", "channel", "tap")}
    return Numbering(
        outer=made_runs[0],
        upper=made_runs[1],
        lower=made_runs[2],
        neurons=counts["neuron"] * counts["group"],
        channels=counts["group"] * counts["channel"],
        groups=counts["group"],
        taps=counts["tap"],
        synapses=counts["channel"] * counts["tap"],
        upper_neurons=one == "upper",
        upper_channels=other == "upper",
    )


def _kinds_merged(digits: Sequence[Digit]) -> list[int]:
    """Where the kind of factor changes: the only places to split at."""
    inside = [at for at in range(1, len(digits)) if digits[at].kind != digits[at - 1].kind]
    return [0, *inside, len(digits)] if digits else [0]


def _sides(upper: Sequence[Digit], lower: Sequence[Digit]) -> tuple[Side | None, Side | None]:
    """Along which run neurons vary, and along which channels do; None if they do along both."""

    def side(*kinds: Kind) -> Side | None:
        if not any(digit.kind in kinds for digit in lower):
            return "upper"
        return "lower" if not any(digit.kind in kinds for digit in upper) else None

    return side("neuron", "group"), side("group", "channel")


def _size(digits: Sequence[Digit]) -> int:
    return prod(digit.size for digit in digits)


def neuron_steps(digits: Sequence[Digit]) -> list[int]:
    """What a step along each factor adds to the number of the neuron."""
    return _steps(digits, ("neuron", "group"))


def channel_steps(digits: Sequence[Digit]) -> list[int]:
    """What a step along each factor adds to the number of the channel; groups are outermost."""
    return _steps(digits, ("group", "channel"), last="channel")


def _steps(digits: Sequence[Digit], kinds: tuple[Kind, ...], last: Kind | None = None) -> list[int]:
    """What a step along each factor adds to the number made of factors of ``kinds``, those of ``last`` innermost."""
    counted = [at for at, digit in enumerate(digits) if digit.kind in kinds]
    order = sorted(counted, key=lambda at: (digits[at].kind == last, at))
    steps, step = [0] * len(digits), 1
    for at in reversed(order):
        steps[at] = step
        step *= digits[at].size
    return steps


def _run(digits: Sequence[Digit], steps: dict[str, list[int]], rank: int) -> Run:
    def spread(along: Sequence[int]) -> Integers:
        found = np.zeros(1, np.int64)
        for digit, step in zip(digits, along, strict=True):
            found = (found[:, None] + np.arange(digit.size, dtype=np.int64) * step).reshape(-1)
        return found

    places = tuple(spread([digit.step * (digit.axis == axis) for digit in digits]) for axis in range(rank))
    return Run(_size(digits), spread(steps["neurons"]), spread(steps["channels"]), spread(steps["synapses"]), places)


def tiles(numbering: Numbering, most: int, start: int = 0, stop: int | None = None) -> Iterator[Tile]:
    """Tiles of at most ``most`` elements, in order; of outer ``[start, stop)`` rows where these are small, or of upper
    ones where there is one outer (see `rows`)."""
    upper, lower = numbering.upper.size, numbering.lower.size
    count = rows(numbering)[0]
    stop = count if stop is None else stop
    if upper * lower <= most and numbering.outer.size > 1:
        step = max(1, most // max(upper * lower, 1))
        for at in range(start, stop, step):
            yield Tile((at, min(at + step, stop)), (0, upper), (0, lower))
        return
    for at in range(start, stop) if numbering.outer.size > 1 else range(1):
        first, last = (0, upper) if numbering.outer.size > 1 else (start, stop)
        if lower <= most:
            step = max(1, most // max(lower, 1))
            for row in range(first, last, step):
                yield Tile((at, at + 1), (row, min(row + step, last)), (0, lower))
            continue
        for row in range(first, last):
            for column in range(0, lower, most):
                yield Tile((at, at + 1), (row, row + 1), (column, min(column + most, lower)))


def rows(numbering: Numbering) -> tuple[int, int]:
    """How many rows a weight can be divided into, and the elements of each: outer positions, or upper ones where there
    is one outer."""
    if numbering.outer.size > 1:
        return numbering.outer.size, numbering.upper.size * numbering.lower.size
    return numbering.upper.size, numbering.lower.size

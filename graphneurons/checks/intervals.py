"""Interval arithmetic on arrays: between which numbers every element of a value lies, stored once along axes that make
no difference."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import prod

import numpy as np
import numpy.typing as npt

from graphneurons.axes.planes import Plane

Bounds = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]

MOST_BOUNDS = 1 << 18
"""Entries a range may have; beyond, it is told of the whole value."""


@dataclass(frozen=True, slots=True, eq=False)
class Range:
    """``low`` and ``high`` broadcast to the value's ``shape`` and have as many axes; they may be infinite.

    ``layer`` and ``neurons`` (numbers, of the same shape as ``low``): whose neurons the elements are, each by itself
    and heard nowhere else; None where they are no longer told apart. ``integers``: they are stored as integers, so that
    arithmetic on them may wrap around or round.
    """

    shape: tuple[int, ...]
    low: Bounds
    high: Bounds
    layer: str | None = None
    neurons: Integers | None = None
    integers: bool = False

    @property
    def whole(self) -> Range:
        """One range for all of the value."""
        ones = (1,) * len(self.shape)
        low, high = self.low.min().reshape(ones), self.high.max().reshape(ones)
        return Range(self.shape, low, high, integers=self.integers)

    @property
    def anonymous(self) -> Range:
        """The same, of nobody."""
        return replace(self, layer=None, neurons=None)

    @property
    def is_known(self) -> bool:
        """Whether anything is known at all."""
        return bool(np.isfinite(self.low).any() or np.isfinite(self.high).any())

    def along(self, axis: int) -> tuple[Bounds, Bounds]:
        """Vectors of the bounds along one axis: of all that has the same index there."""
        others = tuple(at for at in range(len(self.shape)) if at != axis)
        low, high = self.low.min(axis=others), self.high.max(axis=others)
        size = (self.shape[axis],)
        return np.broadcast_to(low, size), np.broadcast_to(high, size)


def between(shape: Sequence[int], low: float, high: float) -> Range:
    ones = (1,) * len(shape)
    return Range(tuple(shape), np.full(ones, low, np.float64), np.full(ones, high, np.float64))


def made(shape: Sequence[int], low: Bounds, high: Bounds, like: Range | None = None) -> Range | None:
    """A range of a value of ``shape``; elements stay the neurons of ``like``. None where nothing is known, or where the
    bounds do not fit the shape."""
    lead = len(shape) - low.ndim
    low, high = np.broadcast_arrays(low.reshape((1,) * lead + low.shape), high.reshape((1,) * lead + high.shape))
    if low.ndim != len(shape) or any(had not in (1, size) for had, size in zip(low.shape, shape, strict=True)):
        return None
    low, high = np.where(np.isnan(low), -np.inf, low), np.where(np.isnan(high), np.inf, high)
    found = Range(tuple(shape), low, high)
    if low.size > MOST_BOUNDS:
        found = found.whole
    owners = None if like is None or len(like.shape) != len(shape) else like.neurons
    if like is not None and owners is not None:
        fits = all(had in (1, size) for had, size in zip(owners.shape, found.low.shape, strict=True))
        if fits:
            found = replace(found, layer=like.layer, neurons=np.broadcast_to(owners, found.low.shape))
    return found if found.is_known else None


def collapsed(found: Range, axes: Sequence[int]) -> Range:
    """``found`` told once along ``axes``; a neuron is only kept where it is one along them."""
    chosen = tuple(axis for axis in axes if found.low.shape[axis] > 1)
    if not chosen:
        return found
    low, high = found.low.min(axis=chosen, keepdims=True), found.high.max(axis=chosen, keepdims=True)
    if found.neurons is not None:
        first = found.neurons.min(axis=chosen, keepdims=True)
        if (first == found.neurons).all():
            return Range(found.shape, low, high, found.layer, first, found.integers)
    return Range(found.shape, low, high, integers=found.integers)


def product(low: Bounds, high: Bounds, other_low: Bounds, other_high: Bounds) -> tuple[Bounds, Bounds]:
    """Bounds of the product of numbers within two bounds. Nothing real is infinite, so zero times a bound is zero."""
    with np.errstate(all="ignore"):
        corners = [np.nan_to_num(a * b, nan=0.0, posinf=np.inf, neginf=-np.inf)
                   for a in (low, high) for b in (other_low, other_high)]  # fmt: skip
    return np.minimum.reduce(corners), np.maximum.reduce(corners)


def hull(parts: Sequence[Range]) -> Range | None:
    """What holds of every one of them, element by element; all of one shape."""
    if not parts or any(part.shape != parts[0].shape for part in parts):
        return None
    low = np.minimum.reduce(np.broadcast_arrays(*(part.low for part in parts)))
    high = np.maximum.reduce(np.broadcast_arrays(*(part.high for part in parts)))
    return made(parts[0].shape, low, high)


class Moving:
    """Ranges as planes that layout ops can move: every plane holds places in one table of bounds."""

    def __init__(self, parts: Sequence[Range]) -> None:
        self.planes: list[Plane] = []
        lows, highs, owners = [np.zeros(1)], [np.zeros(1)], [np.full(1, -1, np.int64)]
        start = 1
        for part in parts:
            places = np.arange(start, start + part.low.size, dtype=np.int64).reshape(part.low.shape)
            self.planes.append(Plane(part.shape, places))
            lows.append(part.low.reshape(-1))
            highs.append(part.high.reshape(-1))
            owners.append(np.full(part.low.size, -1) if part.neurons is None else part.neurons.reshape(-1))
            start += part.low.size
        self._low: Bounds = np.concatenate(lows)
        self._high: Bounds = np.concatenate(highs)
        self._owners: Integers = np.concatenate(owners)
        self._integers = any(part.integers for part in parts)
        self._layer = parts[0].layer if len(parts) == 1 else None

    def taken(self, plane: Plane) -> Range | None:
        """The range of what was moved; zero where the layout op puts nothing (place 0 of the table)."""
        if plane.data.size > MOST_BOUNDS or not prod(plane.shape):
            return None
        at = np.maximum(plane.data, 0)
        owners = self._owners[at]
        told = self._layer is not None and bool((owners >= 0).all())
        layer = self._layer if told else None
        return Range(plane.shape, self._low[at], self._high[at], layer, owners if told else None, self._integers)

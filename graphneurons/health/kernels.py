"""Statistics of one tile along its two inner axes, at close to the speed of memory.

Products with vectors sum fastest (BLAS), comparisons are counted as packed bits along rows and as bytes down columns,
and one minimum of the squares tells whether there is any zero or subnormal to look for at all. What is not finite, or
too small to be squared, is done again in float64.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from graphneurons.health.decoding import Numbers
from graphneurons.health.numbering import Side

Mask = npt.NDArray[np.bool_]
Array = npt.NDArray[Any]
Buffer = Callable[[str, int], npt.NDArray[np.uint8]]
"""Gives bytes of scratch memory by name."""

# Sums of squares below this may have lost squares that are too small for the type.
_FLOOR = {4: 1e-25, 8: 1e-280}
_LEAST_PACKED = 24
_COUNTS_BITS = hasattr(np, "bitwise_count")


@dataclass(frozen=True, slots=True)
class Sums:
    """Of one tile, per (outer, upper) or per (outer, lower) position. ``key``: the product with a random vector. None
    stands for zeros."""

    square: Array
    positive: Array
    zero: Array | None = None
    nan: Array | None = None
    low: Array | None = None
    high: Array | None = None
    total: Array | None = None
    key: Array | None = None
    small: Array | None = None
    inf: Array | None = None


@dataclass(frozen=True, slots=True)
class Weighing:
    """Random factors along upper and lower; their product is every element's."""

    upper: Numbers
    lower: Numbers


def measure(
    x: Numbers, neurons: Side, channels: Side, tiny: float, weighing: Weighing, buffer: Buffer
) -> tuple[Sums, Sums]:
    """(of neurons, of channels): ``x`` is (outer, upper, lower); neurons lie along one of the two inner axes and the
    other is summed, and so do channels. ``tiny``: the smallest normal number of the stored type."""
    with np.errstate(all="ignore"):
        squares = buffer("squares", x.nbytes).view(x.dtype).reshape(x.shape)
        np.multiply(x, x, out=squares)
        square = _summed(squares, neurons)
        least = squares.min() if x.dtype.itemsize != 4 else squares.view(np.uint32).min().view(np.float32)
        if not np.isfinite(square).all():
            return _exact(x, neurons, channels, tiny, weighing)
        other = _summed(squares, channels)
        low, high = x.min(axis=_axis(neurons)), x.max(axis=_axis(neurons))
        floor = _FLOOR[x.dtype.itemsize]
        mask = buffer("mask", x.size).view(np.bool_).reshape(x.shape)
        zeros: tuple[Array | None, Array | None] = (None, None)
        small = None
        if least <= x.dtype.type(tiny) * x.dtype.type(tiny):
            zeros, small = _small(x, neurons, channels, tiny, squares, mask)
        if _is_lost(square, zeros[0], floor, x, neurons) or _is_lost(other, zeros[1], floor, x, channels):
            return _exact(x, neurons, channels, tiny, weighing)
        np.greater(x, 0, out=mask)
        along, across = _counted(mask, neurons, channels)
        mine = Sums(
            square, along, zeros[0], None, low, high, _summed(x, neurons), _weighed(x, neurons, weighing), small
        )
        return mine, Sums(other, across, zeros[1])


def _small(
    x: Numbers, neurons: Side, channels: Side, tiny: float, squares: Numbers, mask: Mask
) -> tuple[tuple[Array, Array], Array | None]:
    """Zeros along both sides, and subnormals per neuron."""
    np.equal(x, 0, out=mask)
    zeros = _counted(mask, neurons, channels)
    if not tiny:
        return zeros, None
    bound = x.dtype.type(tiny) * x.dtype.type(tiny)
    if bound:
        # Of types so narrow that the squares of subnormals are exact.
        np.less(squares, bound, out=mask)
    else:
        np.equal(squares, 0, out=mask)
        if np.count_nonzero(mask) == int(zeros[0].sum()):
            return zeros, None
        np.less(np.abs(x, out=squares), x.dtype.type(tiny), out=mask)
    small = _counts(mask, neurons) - zeros[0]
    return zeros, small if small.any() else None


def _is_lost(square: Array, zeros: Array | None, floor: float, x: Numbers, side: Side) -> bool:
    """Whether some sum of squares is so small that squares were lost, though not all elements are zero."""
    low = square < floor
    if not low.any():
        return False
    return bool((low & ((0 if zeros is None else zeros) < x.shape[_axis(side)])).any())


def _axis(side: Side) -> int:
    """The axis that is summed for what lies along ``side``."""
    return 2 if side == "upper" else 1


def _summed(x: Numbers, side: Side) -> Array:
    return _product(x, np.ones(x.shape[_axis(side)], x.dtype), side)


def _product(x: Numbers, vector: Numbers, side: Side) -> Array:
    if side == "upper":
        along: Array = x.reshape(-1, x.shape[2]) @ vector
        return along.reshape(x.shape[:2])
    across: Array = np.matmul(vector, x[0])[None] if x.shape[0] == 1 else np.matmul(vector, x)
    return across


def _weighed(x: Numbers, side: Side, weighing: Weighing) -> Array:
    upper, lower = weighing.upper.astype(x.dtype, copy=False), weighing.lower.astype(x.dtype, copy=False)
    along, across = (lower, upper) if side == "upper" else (upper, lower)
    found: Array = _product(x, along, side) * across
    return found


def _counted(mask: Mask, neurons: Side, channels: Side) -> tuple[Array, Array]:
    along = _counts(mask, neurons)
    return along, along if channels == neurons else _counts(mask, channels)


def _counts(mask: Mask, side: Side) -> Array:
    """How many are True along the axis that ``side`` leaves."""
    outer, upper, lower = mask.shape
    if side == "upper":
        if lower < _LEAST_PACKED or not _COUNTS_BITS:
            few: Array = np.count_nonzero(mask, axis=2)
            return few
        packed: Array
        if lower % 64 == 0:
            packed = np.packbits(mask.reshape(-1)).view(np.uint64).reshape(outer, upper, -1)
        else:
            packed = np.packbits(mask, axis=2)
        many: Array = np.bitwise_count(packed).sum(axis=2, dtype=np.int64)
        return many
    found = np.zeros((outer, lower), np.int64)
    octets = mask.view(np.uint8)
    for start in range(0, upper, 255):
        # No more than 255 rows at once, so that a byte holds the count.
        found += np.add.reduce(octets[:, start : start + 255], axis=1, dtype=np.uint8)
    return found


def _exact(x: Numbers, neurons: Side, channels: Side, tiny: float, weighing: Weighing) -> tuple[Sums, Sums]:
    """The same in float64, over what is finite; NaN and infinities are counted."""
    wide = x.astype(np.float64)
    finite = np.isfinite(wide)
    nan, inf = np.isnan(wide), np.isinf(wide)
    positive, zero = wide > 0, wide == 0
    small = (np.abs(wide) < tiny) & ~zero
    clean = np.where(finite, wide, 0)
    squares = clean * clean
    axis = _axis(neurons)
    mine = Sums(
        _summed(squares, neurons),
        _counts(positive, neurons),
        _counts(zero, neurons),
        _counts(nan, neurons),
        np.where(finite, wide, np.inf).min(axis=axis),
        np.where(finite, wide, -np.inf).max(axis=axis),
        _summed(clean, neurons),
        _weighed(clean, neurons, weighing),
        _counts(small, neurons),
        _counts(inf, neurons),
    )
    return mine, Sums(
        _summed(squares, channels), _counts(positive, channels), _counts(zero, channels), _counts(nan, channels)
    )

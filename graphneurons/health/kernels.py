"""Statistics of one tile along its two inner axes, at close to the speed of memory.

Products with vectors sum fastest (BLAS), comparisons are counted as packed bits along rows and as bytes down columns,
and one minimum of the squares tells whether there is any zero or subnormal to look for at all. Integers of a byte are
compared as they are stored, at a quarter of the bytes. Where float32 does not hold the squares, all is done in float64.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from graphneurons.health.decoding import Numbers
from graphneurons.health.numbering import Side

Mask = npt.NDArray[np.bool_]
Array = npt.NDArray[Any]
Buffer = Callable[[str, int], npt.NDArray[np.uint8]]
"""Gives bytes of scratch memory by name."""

# Sums of squares below this may have lost squares that are too small for float32.
_FLOOR = 1e-25
_LEAST_PACKED = 24
_COUNTS_BITS = hasattr(np, "bitwise_count")


class Sums(NamedTuple):
    """Of one tile, per (outer, upper) or per (outer, lower) position. ``key``: the product with a random vector, if
    that is wanted. None of the others stands for zeros."""

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


class Weighing(NamedTuple):
    """Random factors along upper and lower; their product is every element's."""

    upper: Numbers
    lower: Numbers


class Steps(NamedTuple):
    """What the numbers of a tile are made of, where these are whole: ``stored``, of the tile's shape, less ``zero``."""

    stored: Array
    zero: int


class Measuring(NamedTuple):
    """What to measure. Neurons lie along one of the two inner axes and the other is summed, and so do channels.

    ``tiny``: the smallest normal number of the stored type. ``buffer`` is the thread's.
    """

    neurons: Side
    channels: Side
    tiny: float
    buffer: Buffer


def measure(
    x: Numbers, how: Measuring, weighing: Weighing | None, steps: Steps | None = None, scale: Numbers | None = None
) -> tuple[Sums, Sums]:
    """(of neurons, of channels) of a tile ``x`` (outer, upper, lower); floating point errors are to be ignored.

    ``scale``: what is to be multiplied to the numbers of each neuron, positive, along the inner axis that neurons lie
    along; the sums are those of the products. ``weighing`` is None where no key is wanted.
    """
    neurons, channels = how.neurons, how.channels
    squares = how.buffer("squares", x.nbytes).view(x.dtype).reshape(x.shape)
    np.multiply(x, x, out=squares)
    square = _summed(squares, neurons)
    if not np.maximum.reduce(square, axis=None) < np.inf:
        if not np.isfinite(x).all():
            return _broken(x, how, weighing)
        if x.dtype.itemsize == 4:
            return _wide(x, how, weighing)
    weights = None if scale is None else scale * scale
    other = square
    if channels != neurons:
        other = _summed(squares, channels) if weights is None else _product(squares, weights, channels)
    mask = how.buffer("mask", x.size).view(np.bool_).reshape(x.shape)
    zero: Array | None = None
    gone: Array | None = None
    small: Array | None = None
    bits = squares.view(_BITS[x.dtype.itemsize])
    least = int(np.minimum.reduce(bits, axis=None))
    if least < _least_clean(x.dtype.itemsize, how.tiny):
        if not least:
            _compare(np.equal, x, steps, mask)
            zero, gone = _counted(mask, neurons, channels)
        if how.tiny:
            small = _small(x, how, squares, mask, zero)
        if (
            x.dtype.itemsize == 4
            and steps is None
            and scale is None
            and (_is_lost(square, zero, x, neurons) or _is_lost(other, gone, x, channels))
        ):
            return _wide(x, how, weighing)
    low, high = _bounds(x, neurons, steps)
    _compare(np.greater, x, steps, mask)
    positive, across = _counted(mask, neurons, channels)
    total, key = _summed(x, neurons), None if weighing is None else weighed(x, neurons, weighing)
    if scale is not None and weights is not None:
        low, high, total = low * scale, high * scale, total * scale
        key = None if key is None else key * scale
        square = square * weights
        other = square if channels == neurons else other
    mine = Sums(square, positive, zero, None, low, high, total, key, small)
    return mine, Sums(other, across, gone)


_BITS = {4: np.uint32, 8: np.uint64}


@lru_cache(maxsize=64)
def _least_clean(size: int, tiny: float) -> int:
    """Bits of the least square that is neither of a zero nor of a subnormal, nor rounded as a subnormal itself."""
    kind = np.dtype(f"f{size}")
    found = max(float(np.finfo(kind).tiny), float(kind.type(tiny) * kind.type(tiny)))
    return int(np.asarray(found, kind).view(_BITS[size]))


def _compare(operation: np.ufunc, x: Numbers, steps: Steps | None, mask: Mask) -> None:
    """``operation`` of every number and zero."""
    if steps is None:
        operation(x, x.dtype.type(0), out=mask)
    else:
        operation(steps.stored, steps.stored.dtype.type(steps.zero), out=mask)


def _bounds(x: Numbers, neurons: Side, steps: Steps | None) -> tuple[Array, Array]:
    """Least and largest number of every neuron."""
    of, axis = x if steps is None else steps.stored, _axis(neurons)
    low: Array = np.minimum.reduce(of, axis=axis)
    high: Array = np.maximum.reduce(of, axis=axis)
    if steps is None:
        return low, high
    zero = x.dtype.type(steps.zero)
    return low.astype(x.dtype) - zero, high.astype(x.dtype) - zero


def _small(x: Numbers, how: Measuring, squares: Numbers, mask: Mask, zero: Array | None) -> Array | None:
    """Subnormals per neuron; ``squares`` is lost."""
    tiny = x.dtype.type(how.tiny)
    bound = tiny * tiny
    if bound:
        # Of types so narrow that the squares of subnormals are exact.
        np.less(squares, bound, out=mask)
    else:
        np.equal(squares, 0, out=mask)
        if np.count_nonzero(mask) == (0 if zero is None else int(zero.sum())):
            return None
        np.less(np.abs(x, out=squares), tiny, out=mask)
    small = _counts(mask, how.neurons)
    if zero is not None:
        small = small - zero
    return small if small.any() else None


def _is_lost(square: Array, zeros: Array | None, x: Numbers, side: Side) -> bool:
    """Whether some sum of squares is so small that squares were lost, though not all elements are zero."""
    low = square < _FLOOR
    if not low.any():
        return False
    return bool((low & ((0 if zeros is None else zeros) < x.shape[_axis(side)])).any())


def _wide(x: Numbers, how: Measuring, weighing: Weighing | None) -> tuple[Sums, Sums]:
    """The same in float64, which holds the square of every float32."""
    wide = how.buffer("wide", x.size * 8).view(np.float64).reshape(x.shape)
    np.copyto(wide, x)
    return measure(wide, how, weighing)


def _broken(x: Numbers, how: Measuring, weighing: Weighing | None) -> tuple[Sums, Sums]:
    """The same over what is finite; NaN and infinities are counted."""
    neurons, channels = how.neurons, how.channels
    clean = how.buffer("clean", x.nbytes).view(x.dtype).reshape(x.shape)
    gone = how.buffer("gone", x.size).view(np.bool_).reshape(x.shape)
    mask = how.buffer("odd", x.size).view(np.bool_).reshape(x.shape)
    np.logical_not(np.isfinite(x, out=gone), out=gone)
    np.copyto(clean, x)
    low, high = (
        bound.reduce(_filled(clean, limit, gone), axis=_axis(neurons))
        for bound, limit in ((np.minimum, np.inf), (np.maximum, -np.inf))
    )
    mine, theirs = measure(_filled(clean, 0, gone), how, weighing)
    lost = _counted(gone, neurons, channels)
    nan = _counted(np.isnan(x, out=mask), neurons, channels)
    infinite = _counted(np.equal(x, np.inf, out=mask), neurons, channels)
    mine = mine._replace(
        positive=mine.positive + infinite[0], nan=nan[0], inf=lost[0] - nan[0], low=low, high=high,
        zero=None if mine.zero is None else mine.zero - lost[0],
    )  # fmt: skip
    return mine, theirs._replace(
        positive=theirs.positive + infinite[1], nan=nan[1], zero=None if theirs.zero is None else theirs.zero - lost[1]
    )


def _filled(x: Numbers, value: float, where: Mask) -> Numbers:
    np.copyto(x, value, where=where)
    return x


def _axis(side: Side) -> int:
    """The axis that is summed for what lies along ``side``."""
    return 2 if side == "upper" else 1


@lru_cache(maxsize=32)
def _ones(size: int, kind: np.dtype[Any]) -> Numbers:
    found: Numbers = np.ones(size, kind)
    found.flags.writeable = False
    return found


def _summed(x: Numbers, side: Side) -> Array:
    return _product(x, _ones(x.shape[_axis(side)], x.dtype), side)


def _product(x: Numbers, vector: Numbers, side: Side) -> Array:
    if side == "upper":
        along: Array = x.reshape(-1, x.shape[2]) @ vector
        return along.reshape(x.shape[:2])
    across: Array = np.matmul(vector, x[0])[None] if x.shape[0] == 1 else np.matmul(vector, x)
    return across


def weighed(x: Numbers, side: Side, weighing: Weighing) -> Array:
    """The product with the random factors of what lies along ``side``, but for those along outer."""
    upper, lower = weighing.upper.astype(x.dtype, copy=False), weighing.lower.astype(x.dtype, copy=False)
    along, across = (lower, upper) if side == "upper" else (upper, lower)
    found: Array = _product(x, along, side)
    found *= across
    return found


def _counted(mask: Mask, neurons: Side, channels: Side) -> tuple[Array, Array]:
    along = _counts(mask, neurons)
    return along, along if channels == neurons else _counts(mask, channels)


def _counts(mask: Mask, side: Side) -> Array:
    """How many are True along the axis that ``side`` leaves."""
    outer, upper, lower = mask.shape
    if side == "upper":
        if lower < _LEAST_PACKED:
            few: Array = np.count_nonzero(mask, axis=2)
            return few
        if not _COUNTS_BITS:
            return _counts_of_words(mask)
        packed: Array
        if lower % 64 == 0:
            packed = np.packbits(mask.reshape(-1)).view(np.uint64).reshape(outer, upper, -1)
        else:
            packed = np.packbits(mask, axis=2)
        many: Array = np.add.reduce(np.bitwise_count(packed), axis=2, dtype=np.int64)
        return many
    octets = mask.view(np.uint8)
    if upper < 256:
        # So few rows that a byte holds the count.
        down: Array = np.add.reduce(octets, axis=1, dtype=np.uint8)
        return down
    found = np.zeros((outer, lower), np.int64)
    for start in range(0, upper, 255):
        found += np.add.reduce(octets[:, start : start + 255], axis=1, dtype=np.uint8)
    return found


def _counts_of_words(mask: Mask) -> Array:
    """Per row, for a numpy that does not count bits: eight bytes are added at once, no more than 255 times."""
    whole = mask.shape[2] // 8 * 8
    found: Array = np.count_nonzero(mask[:, :, whole:], axis=2)
    words = np.ascontiguousarray(mask[:, :, :whole]).view(np.uint64)
    for start in range(0, words.shape[2], 255):
        octets = np.add.reduce(words[:, :, start : start + 255], axis=2)[..., None].view(np.uint8)
        found = found + np.add.reduce(octets, axis=2, dtype=np.int64)
    return found

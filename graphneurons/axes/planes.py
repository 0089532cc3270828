"""Integer arrays that ride along with tensors: one number per element, stored without the axes it does not vary on.

A `Plane` of shape (2, 64, 224, 224) that numbers channels holds 64 integers. Layout ops act on planes as they act on
the tensors themselves, so whatever a plane numbers (neurons, coordinates of a weight) arrives where the op takes it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from math import prod
from typing import Any

import numpy as np
import numpy.typing as npt

from graphneurons.errors import GraphNeuronsError
from graphneurons.quick import quick

Shape = tuple[int, ...]
Integers = npt.NDArray[np.int64]

NOBODY = -1
"""Where padding or an empty place is: no neuron, no element of the weight."""

MOST_AXES = 32
"""Axes a tensor may have: as many as every numpy can hold."""

LARGEST = 1 << 23
"""Elements a plane may hold. Beyond, structure is not worth its memory and what rides is called unknown."""


class TooLargeError(GraphNeuronsError):
    """A plane would outgrow `LARGEST`; caught inside, and turned into a reason."""


@quick
@dataclass(frozen=True, slots=True)
class Plane:
    """``data`` has one axis per axis of ``shape``, each of full size or of size one (constant along it, or empty).

    ``first`` is told where the stored numbers are known to be ``first``, ``first + 1``, ... each once, in any order:
    that is what most layers send, and none of them needs to be looked at to compare it with another. ``changes``, where
    it is told, has for every axis the places at which the numbers may not be what they are at the place before, the
    first included; None for an axis that is stored once.
    """

    shape: Shape
    data: Integers
    first: int | None = None
    changes: tuple[Integers | None, ...] | None = None

    def varies(self, axis: int) -> bool:
        return bool(self.data.shape[axis] > 1)

    @property
    def is_constant(self) -> bool:
        return self.data.size <= 1

    @property
    def only(self) -> int | None:
        """The one number that stands everywhere; None if there are several, or none."""
        if self.data.size != 1:
            return None
        return int(self.data.item()) if self.first is None else self.first

    def full(self) -> Integers:
        """The plane as an array of its whole shape (a view)."""
        return np.broadcast_to(self.data, self.shape)


def constant(shape: Shape, value: int = 0) -> Plane:
    """One number everywhere. Raises `TooLargeError` for more axes than `MOST_AXES`."""
    if len(shape) > MOST_AXES:
        raise TooLargeError(f"a tensor of {len(shape)} axes is not followed, only up to {MOST_AXES}")
    return Plane(shape, np.full((1,) * len(shape), value, dtype=np.int64), value)


def run(shape: Shape, stored: Shape, first: int = 0) -> Plane:
    """Numbers ``first``, ``first + 1``, ... over a plane that is stored in the shape ``stored``, however large."""
    return Plane(shape, np.arange(first, first + prod(stored), dtype=np.int64).reshape(stored), first)


def along(shape: Shape, axis: int) -> Plane:
    """Numbers 0, 1, ... along ``axis``, constant along the others."""
    check_size(shape[axis])
    if shape[axis] == 0:
        return constant(shape)
    view = [1] * len(shape)
    view[axis] = shape[axis]
    return run(shape, tuple(view))


def check_size(elements: int) -> None:
    """Raises `TooLargeError` if a plane of so many stored elements would be too large."""
    if elements > LARGEST:
        raise TooLargeError(f"the layout varies over {elements} elements, more than the {LARGEST} that are followed")


def _array(shape: Shape, data: npt.NDArray[Any]) -> Plane:
    check_size(data.size)
    return Plane(shape, data) if data.size else constant(shape, NOBODY)


def distinct(numbers: Integers) -> Integers:
    """The different values among ``numbers``, sorted. (`numpy.unique` drags in all of numpy.ma.)"""
    flat = numbers.reshape(-1)
    if flat.size < 2 or (flat[1:] > flat[:-1]).all():
        return flat
    ordered: Integers = np.sort(flat)
    first = np.concatenate([[True], ordered[1:] != ordered[:-1]])
    found: Integers = ordered[first]
    return found


def ranked(numbers: Integers) -> tuple[Integers, Integers]:
    """The different values among ``numbers``, sorted, and for each of them its place among those."""
    found = distinct(numbers)
    return found, np.searchsorted(found, numbers)


def fresh(data: Integers, axis: int) -> Integers:
    """Places along ``axis`` at which ``data`` is not what it is at the place before; the first is always one."""
    before = data[(slice(None),) * axis + (slice(None, -1),)]
    after = data[(slice(None),) * axis + (slice(1, None),)]
    changed = (before != after).any(axis=tuple(at for at in range(data.ndim) if at != axis))
    return np.concatenate([np.zeros(min(1, data.shape[axis]), dtype=np.int64), np.flatnonzero(changed) + 1])


def sampled(plane: Plane, axes: Iterable[int]) -> Plane:
    """``plane`` stored only where it changes along ``axes``, as far as that is told."""
    data, changes = plane.data, plane.changes
    if changes is None:
        return plane
    for axis in axes:
        places = changes[axis]
        if places is not None and places.size < data.shape[axis]:
            data = data.take(places, axis=axis)
    return plane if data is plane.data else Plane(plane.shape, data, plane.first)


def tighten(plane: Plane) -> Plane:
    """The same plane with every axis that turned out constant stored once."""
    data = plane.data
    for axis, size in enumerate(data.shape):
        if size > 1:
            lead = (slice(None),) * axis
            first, last = data[(*lead, slice(0, 1))], data[(*lead, slice(-1, None))]
            # What varies mostly differs at its ends, which is told without looking at all of it.
            if (first == last).all() and (data == first).all():
                data = first
    return plane if data is plane.data else Plane(plane.shape, data)


def transpose(plane: Plane, order: Sequence[int]) -> Plane:
    return Plane(tuple([plane.shape[axis] for axis in order]), plane.data.transpose(order), plane.first)


def reshape(plane: Plane, shape: Shape) -> Plane:
    """``plane`` in another shape of as many elements; axes it does not vary on stay unstored where they can."""
    if plane.shape == shape:
        return plane
    if plane.data.size == 1:
        return Plane(shape, plane.data.reshape((1,) * len(shape)), plane.first)
    if prod(plane.shape) == 0 or prod(shape) == 0:
        return constant(shape)
    widened, packed = _reshaped(plane.shape, plane.data.shape, shape)
    if widened == plane.data.shape:
        made = Plane(shape, plane.data.reshape(packed), plane.first)
        return made if made.first is not None else tighten(made)
    check_size(prod(widened))
    data = np.broadcast_to(plane.data, widened).reshape(packed)
    return tighten(Plane(shape, data))


@lru_cache(maxsize=4096)
def _reshaped(old: Shape, stored: Shape, new: Shape) -> tuple[Shape, Shape]:
    """What has to be stored of a plane of shape ``old``, of which ``stored`` is, and how that is stored in ``new``."""
    widened: list[int] = []
    packed: list[int] = []
    for (start, stop), (first, last) in zip(*_blocks(old, new), strict=True):
        varying = any(stored[axis] > 1 for axis in range(start, stop))
        widened.extend(old[start:stop] if varying else (1,) * (stop - start))
        packed.extend(new[first:last] if varying else (1,) * (last - first))
    return tuple(widened), tuple(packed)


def _blocks(old: Shape, new: Shape) -> tuple[list[tuple[int, int]], list[tuple[int, int]]]:
    """The finest pairing of runs of axes of ``old`` and ``new`` that hold the same number of elements."""
    old_blocks: list[tuple[int, int]] = []
    new_blocks: list[tuple[int, int]] = []
    i = j = 0
    while i < len(old) or j < len(new):
        start, first = i, j
        left = right = 1
        if i < len(old):
            left, i = left * old[i], i + 1
        if j < len(new):
            right, j = right * new[j], j + 1
        while left != right:
            if left < right:
                left, i = left * old[i], i + 1
            else:
                right, j = right * new[j], j + 1
        old_blocks.append((start, i))
        new_blocks.append((first, j))
    return old_blocks, new_blocks


def broadcast(plane: Plane, shape: Shape) -> Plane:
    """``plane`` expanded to ``shape`` as numpy broadcasts."""
    if plane.shape == shape:
        return plane
    lead = len(shape) - len(plane.shape)
    return Plane(shape, plane.data.reshape((1,) * lead + plane.data.shape) if lead else plane.data, plane.first)


def take(plane: Plane, indices: npt.NDArray[Any], axis: int) -> Plane:
    """``numpy.take`` with constant indices of any rank."""
    shape = plane.shape[:axis] + indices.shape + plane.shape[axis + 1 :]
    if not plane.varies(axis):
        ones = (1,) * indices.ndim
        view = plane.data.shape[:axis] + ones + plane.data.shape[axis + 1 :]
        return Plane(shape, plane.data.reshape(view), plane.first)
    check_size(plane.data.size // plane.data.shape[axis] * indices.size)
    return tighten(_array(shape, np.take(plane.data, indices, axis=axis)))


def cut(plane: Plane, axis: int, piece: slice) -> Plane:
    """A slice (of any step) along one axis."""
    size = len(range(*piece.indices(plane.shape[axis])))
    shape = (*plane.shape[:axis], size, *plane.shape[axis + 1 :])
    if not plane.varies(axis):
        return Plane(shape, plane.data, plane.first)
    data = plane.data[(slice(None),) * axis + (piece,)]
    return Plane(shape, data) if data.size else constant(shape)


def join(planes: Sequence[Plane | None], sizes: Sequence[int], axis: int) -> Plane:
    """Concatenation along ``axis``. A None stands for a part (of the given size) where the number does not matter."""
    known = [plane for plane in planes if plane is not None]
    one = known[0]
    shape = (*one.shape[:axis], sum(sizes), *one.shape[axis + 1 :])
    if not any(plane.varies(axis) for plane in known) and all(
        np.array_equal(plane.data, one.data) for plane in known[1:]
    ):
        return Plane(shape, one.data, one.first)
    widest = [max(plane.data.shape[i] for plane in known) for i in range(len(shape))]
    check_size(prod(widest[:axis]) * prod(widest[axis + 1 :]) * sum(sizes))
    parts = []
    for plane, size in zip(planes, sizes, strict=True):
        part = (*widest[:axis], size, *widest[axis + 1 :])
        parts.append(np.broadcast_to(np.int64(NOBODY) if plane is None else plane.data, part))
    return tighten(_array(shape, np.concatenate(parts, axis=axis)))


def pad(plane: Plane, axis: int, before: int, after: int, fill: int | None) -> Plane:
    """``before`` and ``after`` places of ``fill`` around ``axis`` (negative: cut). None: the number does not matter."""
    inner = cut(plane, axis, slice(max(0, -before), plane.shape[axis] + min(0, after)))
    before, after = max(0, before), max(0, after)
    if not before and not after:
        return inner

    def edge(size: int) -> Plane | None:
        return None if fill is None else constant((*inner.shape[:axis], size, *inner.shape[axis + 1 :]), fill)

    return join([edge(before), inner, edge(after)], [before, inner.shape[axis], after], axis)


def gather_flat(plane: Plane, flat: Integers, shape: Shape) -> Plane:
    """Element ``i`` of the result is element ``flat[i]`` of the flattened plane (``NOBODY`` where it is negative)."""
    if plane.is_constant and not (flat < 0).any():
        return constant(shape, int(plane.data.reshape(-1)[0]) if plane.data.size else NOBODY)
    check_size(flat.size)
    check_size(prod(plane.shape))
    values = plane.full().reshape(-1)[flat]
    return tighten(_array(shape, np.where(flat < 0, NOBODY, values).reshape(shape)))

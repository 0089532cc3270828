"""What layout ops of every op set share: their form, and the moves that only positions can say."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import prod
from typing import Any

import numpy as np
import numpy.typing as npt

from graphneurons.axes import planes
from graphneurons.axes.planes import NOBODY, Integers, Plane
from graphneurons.axes.rules.site import NoRule, Shape, Site

Payload = Sequence[Plane | None]
Layout = Callable[[Site, Payload, int | None], tuple[Plane, ...]]


def first(given: Payload) -> Plane:
    """The only operand most layout ops move."""
    plane = given[0] if given else None
    if plane is None:
        raise NoRule("its first operand is left out")
    return plane


def positions(shape: Shape) -> Integers:
    """Every element's place in the flattened tensor."""
    planes.check_size(prod(shape))
    return np.arange(prod(shape), dtype=np.int64).reshape(shape)


def in_range(found: npt.NDArray[Any], size: int) -> Integers:
    """Indices counted from the front; `NoRule` where one is outside the axis."""
    found = np.where(found < 0, found + size, found)
    if found.size and not (int(found.min()) >= 0 and int(found.max()) < size):
        raise NoRule(f"an index is out of range for an axis of size {size}")
    return found


def rearranged(plane: Plane, move: Callable[[Integers], Integers]) -> Plane:
    """``plane`` moved as ``move`` moves an array of positions. For ops no cheaper primitive describes."""
    if plane.is_constant:
        moved = move(np.broadcast_to(np.int64(0), plane.shape))
        return planes.constant(moved.shape, int(plane.data.reshape(-1)[0]) if plane.data.size else NOBODY)
    moved = move(positions(plane.shape))
    return planes.gather_flat(plane, moved.reshape(-1), moved.shape)


def overwritten(base: Plane | None, updates: Plane | None, shape: Shape, flat: Integers) -> Plane:
    """``base`` of ``shape`` with ``updates`` written at the flat places ``flat``; None is what does not matter."""
    pick = positions(shape).reshape(-1)
    pick[flat.reshape(-1)] = prod(shape) + np.arange(flat.size, dtype=np.int64)
    parts = [
        np.broadcast_to(np.int64(NOBODY), prod(size)) if plane is None else plane.full().reshape(-1)
        for plane, size in ((base, shape), (updates, flat.shape))
    ]
    return planes.tighten(Plane(shape, np.concatenate(parts)[pick].reshape(shape)))


def padded(plane: Plane, axis: int, before: int, after: int, mode: str, fill: int | None) -> Plane:
    """``plane`` with an axis padded (or, by negative amounts, cut): with ``fill``, or with what ``mode`` repeats of it.

    ONNX calls the modes edge, wrap and reflect, PyTorch replicate, circular and reflect.
    """
    size = plane.shape[axis]
    if before == 0 and after == 0:
        return plane
    if max(before, after) > planes.LARGEST or size + before + after < 0:
        raise NoRule(f"pads {before} and {after} of an axis of size {size} are out of bounds")
    if mode == "constant" or size == 0:
        return planes.pad(plane, axis, before, after, fill)
    places = np.arange(-before, size + after, dtype=np.int64)
    if mode in ("edge", "replicate"):
        return planes.take(plane, np.clip(places, 0, size - 1), axis)
    if mode in ("wrap", "circular"):
        return planes.take(plane, places % size, axis)
    period = max(1, 2 * (size - 1))
    places = places % period
    return planes.take(plane, np.where(places >= size, period - places, places), axis)

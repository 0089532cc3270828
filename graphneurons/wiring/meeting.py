"""What becomes of ids where several values meet element by element."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from graphneurons.axes import planes
from graphneurons.axes.planes import Plane, Shape
from graphneurons.wiring.records import CONSTANT, MIXED, JunctionKind
from graphneurons.wiring.registry import Registry


class Guest(NamedTuple):
    """One operand of a meeting: its ids in the result's shape, and its own shape (1 where it is broadcast)."""

    plane: Plane
    own: Shape

    @property
    def is_constant(self) -> bool:
        return self.plane.only == CONSTANT

    @property
    def is_mixed(self) -> bool:
        return self.plane.only == MIXED


def guest(plane: Plane, shape: Shape) -> Guest:
    """An operand that numpy broadcasts to ``shape``."""
    if plane.shape == shape:
        return Guest(plane, shape)
    lead = (1,) * (len(shape) - len(plane.shape))
    return Guest(planes.broadcast(plane, shape), lead + plane.shape)


def meet(registry: Registry, kind: JunctionKind, op: str, shape: Shape, guests: Sequence[Guest]) -> Plane:
    """The ids of a sum or product of ``guests``: equal ids pass, constants leave the others what they are, a mean or
    a variance (mixed, and broadcast along the others' features) only scales them, and different ids form a junction."""
    present = [item for item in guests if not item.is_constant]
    if not present:
        return planes.constant(shape, CONSTANT)
    if len(present) == 1:
        return _of_shape(present[0].plane, shape)
    content = [item for item in present if not (item.is_mixed and _scales(item, present))]
    distinct: list[Guest] = []
    for item in content or present[:1]:
        if not any(_same(item.plane, other.plane) for other in distinct):
            distinct.append(item)
    if len(distinct) == 1:
        return _of_shape(distinct[0].plane, shape)
    return registry.junction(kind, op, shape, [item.plane for item in distinct])


def _of_shape(plane: Plane, shape: Shape) -> Plane:
    return plane if plane.shape == shape else Plane(shape, plane.data, plane.first)


def _scales(item: Guest, others: Sequence[Guest]) -> bool:
    """Whether ``item`` is one number along some axis that another guest's neurons lie along."""
    return any(
        item.own[axis] == 1 and other.plane.data.shape[axis] > 1
        for other in others
        if other is not item
        for axis in range(len(item.own))
    )


def _same(a: Plane, b: Plane) -> bool:
    if a.first is not None and b.first is not None and a.first != b.first:
        return False
    return a.data is b.data or np.array_equal(a.data, b.data)

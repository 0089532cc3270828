"""Sequences of tensors, ridden as one tensor with a leading axis that numbers its elements.

All elements must have one shape, as the pieces of a split of attention heads have; other sequences are not followed.
"""

from __future__ import annotations

from collections.abc import Mapping

from graphneurons.axes import planes
from graphneurons.axes.moving import Layout, Payload
from graphneurons.axes.planes import Plane
from graphneurons.axes.rules.site import NoRule, Site


def _position(site: Site, index: int, size: int) -> int:
    numbers = site.integers(index)
    if not numbers:
        raise NoRule(f"its position (operand {index}) is computed while the model runs")
    if not -size <= numbers[0] < size:
        raise NoRule(f"position {numbers[0]} is out of range for a sequence of {size}")
    return numbers[0] % size


def _sequence(plane: Plane | None) -> Plane:
    if plane is None or not plane.shape:
        raise NoRule("the sequence it reads is not known")
    return plane


def _construct(site: Site, given: Payload, fill: int | None) -> tuple[Plane, ...]:
    shapes = {site.shape(index) for index in range(len(site.op.inputs))}
    if len(shapes) != 1 or None in shapes:
        raise NoRule("its elements differ in shape")
    elements = [None if plane is None else planes.reshape(plane, (1, *plane.shape)) for plane in given]
    return (planes.join(elements, [1] * len(elements), 0),)


def _split(site: Site, given: Payload, fill: int | None) -> tuple[Plane, ...]:
    plane = _sequence(given[0])
    axis = site.axis(site.number("axis", 0), len(plane.shape))
    size = plane.shape[axis]
    sizes = site.integers(1) if site.has(1) else (1,)
    if not sizes or min(sizes) < 1 or len(set(sizes)) != 1 or size % sizes[0]:
        raise NoRule(f"it splits an axis of size {size} into pieces of different sizes")
    count, each = size // sizes[0], sizes[0]
    apart = planes.reshape(plane, (*plane.shape[:axis], count, each, *plane.shape[axis + 1 :]))
    order = (axis, *(at for at in range(len(apart.shape)) if at != axis))
    moved = planes.transpose(apart, order)
    if site.has(1) or site.number("keepdims", 1):
        return (moved,)
    return (planes.reshape(moved, (count, *plane.shape[:axis], *plane.shape[axis + 1 :])),)


def _at(site: Site, given: Payload, fill: int | None) -> tuple[Plane, ...]:
    plane = _sequence(given[0])
    at = _position(site, 1, plane.shape[0])
    return (planes.reshape(planes.cut(plane, 0, slice(at, at + 1)), plane.shape[1:]),)


def _concatenate(site: Site, given: Payload, fill: int | None) -> tuple[Plane, ...]:
    plane = _sequence(given[0])
    count, shape = plane.shape[0], plane.shape[1:]
    fresh = bool(site.number("new_axis", 0))
    axis = site.axis(site.number("axis", 0), len(shape) + fresh)
    order = [at + 1 for at in range(len(shape))]
    order.insert(axis, 0)
    moved = planes.transpose(plane, order)
    if fresh:
        return (moved,)
    return (planes.reshape(moved, (*shape[:axis], count * shape[axis], *shape[axis + 1 :])),)


def _insert(site: Site, given: Payload, fill: int | None) -> tuple[Plane, ...]:
    shape, element = site.shape(0), site.shape(1)
    if shape is None or element is None or shape[1:] != element:
        raise NoRule("the element it inserts differs in shape from the others")
    at = shape[0] if not site.has(2) else _position(site, 2, shape[0] + 1)
    sequence, fresh = given[0], given[1]
    before = None if sequence is None else planes.cut(sequence, 0, slice(0, at))
    after = None if sequence is None else planes.cut(sequence, 0, slice(at, shape[0]))
    single = None if fresh is None else planes.reshape(fresh, (1, *element))
    return (planes.join([before, single, after], [at, 1, shape[0] - at], 0),)


LAYOUTS: Mapping[str, Layout] = {
    "SequenceConstruct": _construct,
    "SplitToSequence": _split,
    "SequenceAt": _at,
    "ConcatFromSequence": _concatenate,
    "SequenceInsert": _insert,
}
"""Op type -> how it moves planes."""

PAYLOADS: Mapping[str, tuple[int, ...] | None] = {"SequenceConstruct": None, "SequenceInsert": (0, 1)}
"""Which operands carry elements, as in `graphneurons.axes.layouts.PAYLOADS`."""

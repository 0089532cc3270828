"""ATen's layout ops that take tensors apart or put several together, run on planes (see `aten_layouts`)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from math import prod

import numpy as np

from graphneurons.axes import planes
from graphneurons.axes.aten_layouts import axis_of, numbers
from graphneurons.axes.moving import Layout, Payload, first
from graphneurons.axes.planes import Plane
from graphneurons.axes.rules.site import NoRule, Shape, Site


def _pieces(plane: Plane, axis: int, sizes: Sequence[int]) -> tuple[Plane, ...]:
    if len(sizes) > planes.LARGEST or sum(sizes) != plane.shape[axis] or min(sizes, default=0) < 0:
        raise NoRule(f"pieces of {list(sizes)[:8]} do not make an axis of size {plane.shape[axis]}")
    ends = np.cumsum([0, *sizes]).tolist()
    return tuple(planes.cut(plane, axis, slice(a, b)) for a, b in pairwise(ends))


def _split(site: Site, given: Payload, fill: int | None) -> tuple[Plane, ...]:
    plane = first(given)
    axis = axis_of(site, plane)
    size = plane.shape[axis]
    listed = numbers(site, "split_sizes") or numbers(site, "split_size")
    if listed is None or (len(listed) == 1 and listed[0] != size):
        each = max(1, listed[0] if listed else size)
        listed = tuple(min(each, size - start) for start in range(0, size, each)) or (0,)
    return _pieces(plane, axis, listed)


def _chunk(site: Site, given: Payload, fill: int | None) -> tuple[Plane, ...]:
    plane = first(given)
    axis = axis_of(site, plane)
    size = plane.shape[axis]
    each = -(-size // max(1, site.number("chunks", 1))) or 1
    return _pieces(plane, axis, [min(each, size - start) for start in range(0, size, each)] or [0])


def _tensor_split(fixed: int | None) -> Layout:
    def split(site: Site, given: Payload, fill: int | None) -> tuple[Plane, ...]:
        plane = first(given)
        axis = axis_of(site, plane) if fixed is None else min(fixed, len(plane.shape) - 1)
        size = plane.shape[axis]
        at = numbers(site, "indices")
        if at is None:
            count = site.number("sections", 0)
            if count < 1:
                raise NoRule("how it splits is computed while the model runs")
            return _pieces(plane, axis, [size // count + (index < size % count) for index in range(count)])
        ends = [0, *(min(max(place + size if place < 0 else place, 0), size) for place in at), size]
        return tuple(planes.cut(plane, axis, slice(a, max(a, b))) for a, b in pairwise(ends))

    return split


def _joined(site: Site, given: Payload, shapes: Sequence[Shape], axis: int) -> Plane:
    """The operands, in the shapes given, next to each other. PyTorch leaves out those of shape (0,)."""
    kept = [index for index, shape in enumerate(shapes) if shape != (0,)]
    if not kept:
        return planes.constant((0,))
    apart = [None if (plane := given[index]) is None else planes.reshape(plane, shapes[index]) for index in kept]
    return planes.join(apart, [shapes[index][axis] for index in kept], axis)


def _shapes(site: Site) -> list[Shape]:
    found = []
    for index in range(len(site.op.inputs)):
        shape = site.shape(index)
        if shape is None:
            raise NoRule(f"the shape of operand {index} is not known")
        found.append(shape)
    return found


def _cat(site: Site, given: Payload, fill: int | None) -> tuple[Plane, ...]:
    shapes = _shapes(site)
    rank = max(map(len, shapes))
    return (_joined(site, given, shapes, site.axis(site.number("dim", site.number("axis", 0)), rank)),)


def _stack(site: Site, given: Payload, fill: int | None) -> tuple[Plane, ...]:
    shapes = _shapes(site)
    axis = site.axis(site.number("dim", 0), len(shapes[0]) + 1)
    return (_joined(site, given, [(*shape[:axis], 1, *shape[axis:]) for shape in shapes], axis),)


def _along(least: int, axis: int) -> Layout:
    """hstack and its like: operands get at least ``least`` axes and are joined along ``axis``."""

    def join(site: Site, given: Payload, fill: int | None) -> tuple[Plane, ...]:
        shapes = [_at_least(shape, least) for shape in _shapes(site)]
        return (_joined(site, given, shapes, min(axis, len(shapes[0]) - 1)),)

    return join


def _at_least(shape: Shape, rank: int) -> Shape:
    """numpy's atleast_1d, _2d and _3d."""
    if len(shape) == 0:
        return (1,) * rank
    if len(shape) == 1 and rank > 1:
        return (1, shape[0]) if rank == 2 else (1, shape[0], 1)
    return (*shape, 1) if len(shape) == 2 and rank == 3 else shape


def _column_stack(site: Site, given: Payload, fill: int | None) -> tuple[Plane, ...]:
    shapes = [(*shape, *(1,) * (2 - len(shape))) if len(shape) < 2 else shape for shape in _shapes(site)]
    return (_joined(site, given, shapes, 1),)


def _at_least_of(rank: int) -> Layout:
    def widen(site: Site, given: Payload, fill: int | None) -> tuple[Plane, ...]:
        return tuple(
            planes.constant(_at_least(shape, rank)) if plane is None else planes.reshape(plane, _at_least(shape, rank))
            for plane, shape in zip(given, _shapes(site), strict=False)
        )

    return widen


def _meshgrid(site: Site, given: Payload, fill: int | None) -> tuple[Plane, ...]:
    sizes = [prod(shape) for shape in _shapes(site)]
    made = []
    for at, plane in enumerate(given):
        view = tuple(size if index == at else 1 for index, size in enumerate(sizes))
        one = planes.constant(view) if plane is None else planes.reshape(plane, view)
        whole = planes.broadcast(one, tuple(sizes))
        swaps = site.text("indexing", "ij") == "xy" and len(sizes) > 1
        made.append(planes.transpose(whole, (1, 0, *range(2, len(sizes)))) if swaps else whole)
    return tuple(made)


LAYOUTS: Mapping[str, Layout] = {
    **dict.fromkeys(
        ("split", "split_copy", "split_with_sizes", "split_with_sizes_copy", "unsafe_split", "unsafe_split_with_sizes"),
        _split,
    ),
    **dict.fromkeys(("chunk", "unsafe_chunk"), _chunk),
    "tensor_split": _tensor_split(None),
    "hsplit": _tensor_split(1),
    "vsplit": _tensor_split(0),
    "dsplit": _tensor_split(2),
    **dict.fromkeys(("cat", "concat", "concatenate"), _cat),
    "stack": _stack,
    "hstack": _along(1, 1),
    **dict.fromkeys(("vstack", "row_stack"), _along(2, 0)),
    "dstack": _along(3, 2),
    "column_stack": _column_stack,
    "atleast_1d": _at_least_of(1),
    "atleast_2d": _at_least_of(2),
    "atleast_3d": _at_least_of(3),
    "meshgrid": _meshgrid,
}
"""Op -> how it moves planes."""

PAYLOADS: Mapping[str, tuple[int, ...] | None] = dict.fromkeys(
    ("cat", "concat", "concatenate", "stack", "hstack", "vstack", "row_stack", "dstack", "column_stack", "meshgrid",
     "atleast_1d", "atleast_2d", "atleast_3d")
)  # fmt: skip

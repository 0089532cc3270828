"""Ids through ops that pick positions by an index only the running model knows: where they do not vary, they pass."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from graphneurons.axes.planes import Plane, Shape
from graphneurons.graph import Op


def picked(op: Op, data: Plane, indices: Shape | None, shape: Shape) -> Plane | None:
    """The ids of output 0 (of ``shape``) of an op that picks from ``data`` by indices of shape ``indices``; None where
    ids vary along what it picks from, or nobody knows what it picks from."""
    if op.domain or op.type not in _PICKING:
        return None
    first, last = _PICKING[op.type](op, data.shape, indices, shape)
    rank = len(data.shape)
    if len(shape) < first + last or any(data.varies(axis) for axis in range(first, rank - last)):
        return None
    front, back = data.data.shape[:first], data.data.shape[rank - last :]
    stored = front + (1,) * (len(shape) - first - last) + back
    if any(size not in (1, whole) for size, whole in zip(stored, shape, strict=True)):
        return None
    return Plane(shape, data.data.reshape(stored))


def _along_axis(op: Op, data: Shape, indices: Shape | None, shape: Shape) -> tuple[int, int]:
    given = op.attributes.get("axis", 0)
    axis = given % max(1, len(data)) if isinstance(given, int) else 0
    return axis, len(data) - axis - 1


def _last_axis(op: Op, data: Shape, indices: Shape | None, shape: Shape) -> tuple[int, int]:
    given = op.attributes.get("axis", -1)
    axis = given % max(1, len(data)) if isinstance(given, int) else len(data) - 1
    return axis, len(data) - axis - 1


def _after_tuples(op: Op, data: Shape, indices: Shape | None, shape: Shape) -> tuple[int, int]:
    """GatherND: the axes that its index tuples, as long as the last axis of the indices, do not reach."""
    batch = op.attributes.get("batch_dims", 0)
    if not indices or not isinstance(batch, int) or not 0 <= batch <= len(data) - indices[-1]:
        return 0, 0
    return batch, len(data) - batch - indices[-1]


def _resized_axis(op: Op, data: Shape, indices: Shape | None, shape: Shape) -> tuple[int, int]:
    """The axes before and after the one whose size differs."""
    if len(data) != len(shape):
        return 0, 0
    differing = [axis for axis, (a, b) in enumerate(zip(data, shape, strict=True)) if a != b]
    if len(differing) != 1:
        return 0, 0
    return differing[0], len(data) - differing[0] - 1


_PICKING: Mapping[str, Callable[[Op, Shape, Shape | None, Shape], tuple[int, int]]] = {
    "Gather": _along_axis,
    "GatherElements": _along_axis,
    "GatherND": _after_tuples,
    "Compress": _along_axis,
    "TopK": _last_axis,
    "Slice": _resized_axis,
}

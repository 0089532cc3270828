"""Layout ops of ATen, run on planes (see `graphneurons.axes.layouts`). Attributes have the names of ATen's schemas."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import prod

import numpy as np

from graphneurons.axes import planes
from graphneurons.axes.moving import Layout, Payload, first, rearranged
from graphneurons.axes.planes import Plane
from graphneurons.axes.rules.site import NoRule, Shape, Site


def numbers(site: Site, *names: str) -> tuple[int, ...] | None:
    """The first of the attributes ``names`` that is there, one integer or a list of them, as a list."""
    for name in names:
        value = site.op.attributes.get(name)
        if isinstance(value, int):
            return (value,)
        if isinstance(value, tuple) and all(isinstance(item, int) for item in value):
            return tuple(item for item in value if isinstance(item, int))
    return None


def _wanted(site: Site, *names: str) -> tuple[int, ...]:
    found = numbers(site, *names)
    if found is None:
        raise NoRule(f"its {names[0]} is not known before the model runs")
    return found


def axis_of(site: Site, plane: Plane, name: str = "dim", default: int = 0) -> int:
    """The axis attribute ``name`` gives, counted from the front."""
    return site.axis(site.number(name, default), len(plane.shape))


def sized(old: Shape, wanted: Sequence[int]) -> Shape:
    """What a reshape to ``wanted`` makes of ``old``: one -1 takes what is left."""
    shape = list(wanted)
    if shape.count(-1) == 1:
        others = -prod(shape)
        if others == 0 or prod(old) % others:
            raise NoRule(f"{list(old)} cannot be viewed as {list(wanted)}")
        shape[shape.index(-1)] = prod(old) // others
    if prod(shape) != prod(old) or min(shape, default=0) < 0:
        raise NoRule(f"{list(old)} cannot be viewed as {list(wanted)}")
    return tuple(shape)


def _view(site: Site, given: Payload, fill: int | None) -> tuple[Plane, ...]:
    plane = first(given)
    wanted = numbers(site, "size", "shape")
    if wanted is None:
        raise NoRule("it reads the bytes as another type")
    return (planes.reshape(plane, sized(plane.shape, wanted)),)


def _like(site: Site) -> Shape:
    shape = site.shape(1)
    if shape is None:
        raise NoRule("the shape of its second operand is not known")
    return shape


def _view_as(site: Site, given: Payload, fill: int | None) -> tuple[Plane, ...]:
    plane = first(given)
    return (planes.reshape(plane, sized(plane.shape, _like(site))),)


def _ravel(site: Site, given: Payload, fill: int | None) -> tuple[Plane, ...]:
    plane = first(given)
    return (planes.reshape(plane, (prod(plane.shape),)),)


def _permute(site: Site, given: Payload, fill: int | None) -> tuple[Plane, ...]:
    plane = first(given)
    rank = len(plane.shape)
    order = [site.axis(axis, rank) for axis in _wanted(site, "dims")]
    if sorted(order) != list(range(rank)):
        raise NoRule(f"dims {order} are no permutation of {rank} axes")
    return (planes.transpose(plane, order),)


def _swapped(one: str, other: str) -> Layout:
    def swap(site: Site, given: Payload, fill: int | None) -> tuple[Plane, ...]:
        plane = first(given)
        order = list(range(len(plane.shape)))
        if order:
            a, b = axis_of(site, plane, one), axis_of(site, plane, other)
            order[a], order[b] = order[b], order[a]
        return (planes.transpose(plane, order),)

    return swap


def _reversed(site: Site, given: Payload, fill: int | None) -> tuple[Plane, ...]:
    plane = first(given)
    return (planes.transpose(plane, tuple(reversed(range(len(plane.shape))))),)


def _matrix_transposed(site: Site, given: Payload, fill: int | None) -> tuple[Plane, ...]:
    plane = first(given)
    rank = len(plane.shape)
    if rank < 2:
        raise NoRule("a matrix transpose needs two axes")
    return (planes.transpose(plane, (*range(rank - 2), rank - 1, rank - 2)),)


def _movedim(site: Site, given: Payload, fill: int | None) -> tuple[Plane, ...]:
    plane = first(given)
    order = _moved_order(len(plane.shape), _wanted(site, "source"), _wanted(site, "destination"))
    return (planes.transpose(plane, order),)


def _moved_order(rank: int, source: Sequence[int], destination: Sequence[int]) -> tuple[int, ...]:
    away = [axis % rank for axis in source]
    order = [axis for axis in range(rank) if axis not in away]
    for place, axis in sorted(zip((axis % rank for axis in destination), away, strict=True)):
        order.insert(place, axis)
    return tuple(order)


def _expand(site: Site, given: Payload, fill: int | None) -> tuple[Plane, ...]:
    plane = first(given)
    return (_expanded(plane, _wanted(site, "size")),)


def _expanded(plane: Plane, size: Sequence[int]) -> Plane:
    lead = len(size) - len(plane.shape)
    old = (1,) * lead + plane.shape
    if lead < 0 or any(a != b and a != 1 and b != -1 for a, b in zip(old, size, strict=True)):
        raise NoRule(f"{list(plane.shape)} does not expand to {list(size)}")
    return planes.broadcast(plane, tuple(a if b == -1 else b for a, b in zip(old, size, strict=True)))


def _expand_as(site: Site, given: Payload, fill: int | None) -> tuple[Plane, ...]:
    return (_expanded(first(given), _like(site)),)


def _broadcast_tensors(site: Site, given: Payload, fill: int | None) -> tuple[Plane, ...]:
    shape = np.broadcast_shapes(
        *(found for index in range(len(site.op.inputs)) if (found := site.shape(index)) is not None)
    )
    return tuple(planes.constant(shape) if plane is None else _expanded(plane, shape) for plane in given)


def _slice(site: Site, given: Payload, fill: int | None) -> tuple[Plane, ...]:
    plane = first(given)
    axis = axis_of(site, plane)
    bounds = slice(site.op.attributes.get("start"), site.op.attributes.get("end"), site.number("step", 1))
    return (planes.cut(plane, axis, bounds),)


def _narrow(site: Site, given: Payload, fill: int | None) -> tuple[Plane, ...]:
    plane = first(given)
    axis = axis_of(site, plane)
    if "start" not in site.op.attributes:
        raise NoRule("where it starts is computed while the model runs")
    start = site.number("start", 0) % max(1, plane.shape[axis] + 1)
    return (planes.cut(plane, axis, slice(start, start + site.number("length", 0))),)


def _select(site: Site, given: Payload, fill: int | None) -> tuple[Plane, ...]:
    plane = first(given)
    axis = axis_of(site, plane)
    if "index" not in site.op.attributes:
        raise NoRule("which index it selects is computed while the model runs")
    return (_without(plane, axis, site.number("index", 0)),)


def _without(plane: Plane, axis: int, index: int) -> Plane:
    size = plane.shape[axis]
    if not -size <= index < size:
        raise NoRule(f"index {index} is out of range for an axis of size {size}")
    piece = planes.cut(plane, axis, slice(index % size, index % size + 1))
    return planes.reshape(piece, (*plane.shape[:axis], *plane.shape[axis + 1 :]))


def _unbind(site: Site, given: Payload, fill: int | None) -> tuple[Plane, ...]:
    plane = first(given)
    axis = axis_of(site, plane)
    return tuple(_without(plane, axis, index) for index in range(plane.shape[axis]))


def _unsqueeze(site: Site, given: Payload, fill: int | None) -> tuple[Plane, ...]:
    plane = first(given)
    axis = site.axis(site.number("dim", 0), len(plane.shape) + 1)
    return (planes.reshape(plane, (*plane.shape[:axis], 1, *plane.shape[axis:])),)


def _squeeze(site: Site, given: Payload, fill: int | None) -> tuple[Plane, ...]:
    plane = first(given)
    rank = len(plane.shape)
    chosen = numbers(site, "dim")
    axes = set(range(rank)) if chosen is None else {site.axis(axis, rank) for axis in chosen if rank}
    return (planes.reshape(plane, tuple(s for axis, s in enumerate(plane.shape) if s != 1 or axis not in axes)),)


def _flatten(site: Site, given: Payload, fill: int | None) -> tuple[Plane, ...]:
    plane = first(given)
    if not plane.shape:
        return (planes.reshape(plane, (1,)),)
    start, end = axis_of(site, plane, "start_dim"), axis_of(site, plane, "end_dim", -1)
    shape = plane.shape
    return (planes.reshape(plane, (*shape[:start], prod(shape[start : end + 1]), *shape[end + 1 :])),)


def _unflatten(site: Site, given: Payload, fill: int | None) -> tuple[Plane, ...]:
    plane = first(given)
    axis = axis_of(site, plane)
    inner = sized((plane.shape[axis],), _wanted(site, "sizes"))
    return (planes.reshape(plane, (*plane.shape[:axis], *inner, *plane.shape[axis + 1 :])),)


def _pixel_shuffle(site: Site, given: Payload, fill: int | None) -> tuple[Plane, ...]:
    plane = first(given)
    r = site.number("upscale_factor", 1)
    if len(plane.shape) < 3 or r < 1 or plane.shape[-3] % (r * r):
        raise NoRule(f"upscale_factor {r} does not fit {list(plane.shape)}")
    *lead, c, h, w = plane.shape
    n = len(lead)
    apart = planes.reshape(plane, (*lead, c // (r * r), r, r, h, w))
    apart = planes.transpose(apart, (*range(n), n, n + 3, n + 1, n + 4, n + 2))
    return (planes.reshape(apart, (*lead, c // (r * r), h * r, w * r)),)


def _pixel_unshuffle(site: Site, given: Payload, fill: int | None) -> tuple[Plane, ...]:
    plane = first(given)
    r = site.number("downscale_factor", 1)
    if len(plane.shape) < 3 or r < 1 or plane.shape[-2] % r or plane.shape[-1] % r:
        raise NoRule(f"downscale_factor {r} does not fit {list(plane.shape)}")
    *lead, c, h, w = plane.shape
    n = len(lead)
    apart = planes.reshape(plane, (*lead, c, h // r, r, w // r, r))
    apart = planes.transpose(apart, (*range(n), n, n + 2, n + 4, n + 1, n + 3))
    return (planes.reshape(apart, (*lead, c * r * r, h // r, w // r)),)


def _channel_shuffle(site: Site, given: Payload, fill: int | None) -> tuple[Plane, ...]:
    plane = first(given)
    g = site.number("groups", 1)
    if len(plane.shape) < 3 or g < 1 or plane.shape[1] % g:
        raise NoRule(f"{g} groups do not fit {list(plane.shape)}")
    n, c, *rest = plane.shape
    apart = planes.reshape(plane, (n, g, c // g, *rest))
    order = (0, 2, 1, *range(3, len(rest) + 3))
    return (planes.reshape(planes.transpose(apart, order), plane.shape),)


def _roll(site: Site, given: Payload, fill: int | None) -> tuple[Plane, ...]:
    plane = first(given)
    shifts, dims = _wanted(site, "shifts"), numbers(site, "dims") or ()
    if not dims:
        flat = planes.reshape(plane, (prod(plane.shape),))
        return (planes.reshape(_rolled(flat, 0, shifts[0]), plane.shape),)
    for shift, axis in zip(shifts, dims, strict=False):
        plane = _rolled(plane, site.axis(axis, len(plane.shape)), shift)
    return (plane,)


def _rolled(plane: Plane, axis: int, shift: int) -> Plane:
    if not plane.varies(axis):
        return plane
    size = plane.shape[axis]
    return planes.take(plane, (np.arange(size, dtype=np.int64) - shift) % size, axis)


def _flip(site: Site, given: Payload, fill: int | None) -> tuple[Plane, ...]:
    return (_flipped(first(given), _wanted(site, "dims"), site),)


def _flipped(plane: Plane, axes: Sequence[int], site: Site) -> Plane:
    for axis in axes:
        plane = planes.cut(plane, site.axis(axis, len(plane.shape)), slice(None, None, -1))
    return plane


def _mirrored(axis: int) -> Layout:
    return lambda site, given, fill: (_flipped(first(given), (axis,), site),)


def _rot90(site: Site, given: Payload, fill: int | None) -> tuple[Plane, ...]:
    a, b = numbers(site, "dims") or (0, 1)
    turns = site.number("k", 1)
    return (rearranged(first(given), lambda array: np.rot90(array, turns, (a, b))),)


def _diagonal(site: Site, given: Payload, fill: int | None) -> tuple[Plane, ...]:
    a, b = site.number("dim1", 0), site.number("dim2", 1)
    offset = site.number("offset", site.number("diagonal", 0))
    return (rearranged(first(given), lambda array: np.diagonal(array, offset, a, b)),)


def _repeat(site: Site, given: Payload, fill: int | None) -> tuple[Plane, ...]:
    plane = first(given)
    repeats = _wanted(site, "repeats", "dims")
    rank = max(len(repeats), len(plane.shape))
    repeats = (1,) * (rank - len(repeats)) + tuple(repeats)
    plane = planes.reshape(plane, (1,) * (rank - len(plane.shape)) + plane.shape)
    for axis, count in enumerate(repeats):
        size = plane.shape[axis]
        if count != 1:
            shape = (*plane.shape[:axis], size * count, *plane.shape[axis + 1 :])
            if not plane.varies(axis):
                plane = Plane(shape, plane.data)
            else:
                planes.check_size(size * count)
                plane = planes.take(plane, np.arange(size * count, dtype=np.int64) % size, axis)
    return (plane,)


def _repeat_interleave(site: Site, given: Payload, fill: int | None) -> tuple[Plane, ...]:
    plane = first(given)
    times = site.number("repeats", 0)
    if times < 1 and "repeats" not in site.op.attributes:
        raise NoRule("how often it repeats is computed while the model runs")
    if "dim" not in site.op.attributes:
        plane = planes.reshape(plane, (prod(plane.shape),))
    axis = axis_of(site, plane)
    planes.check_size(plane.shape[axis] * times)
    return (planes.take(plane, np.arange(plane.shape[axis] * times, dtype=np.int64) // max(1, times), axis),)


def _unfold(site: Site, given: Payload, fill: int | None) -> tuple[Plane, ...]:
    plane = first(given)
    axis, size, step = axis_of(site, plane, "dimension"), site.number("size", 1), max(1, site.number("step", 1))
    count = (plane.shape[axis] - size) // step + 1
    planes.check_size(max(0, count) * size)
    windows = np.arange(count, dtype=np.int64)[:, None] * step + np.arange(size, dtype=np.int64)
    taken = planes.take(plane, windows, axis)
    rank = len(taken.shape)
    return (planes.transpose(taken, (*(i for i in range(rank) if i != axis + 1), axis + 1)),)


LAYOUTS: Mapping[str, Layout] = {
    **dict.fromkeys(("view", "reshape", "_unsafe_view", "_reshape_alias", "view_copy", "resize"), _view),
    **dict.fromkeys(("view_as", "reshape_as"), _view_as),
    **dict.fromkeys(("permute", "permute_copy"), _permute),
    **dict.fromkeys(("transpose", "transpose_copy"), _swapped("dim0", "dim1")),
    "swapaxes": _swapped("axis0", "axis1"),
    "swapdims": _swapped("dim0", "dim1"),
    **dict.fromkeys(("t", "t_copy", "numpy_T"), _reversed),
    **dict.fromkeys(("mT", "mH", "adjoint", "matrix_H"), _matrix_transposed),
    **dict.fromkeys(("movedim", "moveaxis"), _movedim),
    **dict.fromkeys(("expand", "expand_copy", "broadcast_to"), _expand),
    "expand_as": _expand_as,
    "broadcast_tensors": _broadcast_tensors,
    **dict.fromkeys(("slice", "slice_copy"), _slice),
    **dict.fromkeys(("narrow", "narrow_copy"), _narrow),
    **dict.fromkeys(("select", "select_copy"), _select),
    **dict.fromkeys(("unbind", "unbind_copy"), _unbind),
    **dict.fromkeys(("unsqueeze", "unsqueeze_copy"), _unsqueeze),
    **dict.fromkeys(("squeeze", "squeeze_copy"), _squeeze),
    "flatten": _flatten,
    "unflatten": _unflatten,
    "ravel": _ravel,
    "pixel_shuffle": _pixel_shuffle,
    "pixel_unshuffle": _pixel_unshuffle,
    **dict.fromkeys(("channel_shuffle", "native_channel_shuffle"), _channel_shuffle),
    "roll": _roll,
    "flip": _flip,
    "fliplr": _mirrored(1),
    "flipud": _mirrored(0),
    "rot90": _rot90,
    **dict.fromkeys(("diagonal", "diagonal_copy", "diag", "linalg_diagonal"), _diagonal),
    **dict.fromkeys(("repeat", "tile"), _repeat),
    "repeat_interleave": _repeat_interleave,
    **dict.fromkeys(("unfold", "unfold_copy"), _unfold),
}
"""ATen's ops that move elements along axes; others are in `aten_joining` and `aten_indexing`."""

RESHAPING = frozenset(
    name
    for name, move in LAYOUTS.items()
    if move in (_view, _view_as, _unsqueeze, _squeeze, _flatten, _unflatten, _ravel)
)

PAYLOADS: Mapping[str, tuple[int, ...] | None] = {"broadcast_tensors": None}

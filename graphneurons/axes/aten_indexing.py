"""ATen's layout ops with indices, windows and padding, run on planes (see `graphneurons.axes.aten_layouts`)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import prod
from typing import Any

import numpy as np

from graphneurons.axes import planes
from graphneurons.axes.aten_layouts import numbers
from graphneurons.axes.moving import Layout, Payload, first, in_range, overwritten, padded, positions
from graphneurons.axes.planes import Integers, Plane
from graphneurons.axes.rules.site import NoRule, Site


def _indices(site: Site, operand: int, size: int) -> Integers:
    value = site.value(operand)
    if value is None:
        raise NoRule(f"its indices (operand {operand}) are computed while the model runs")
    if value.dtype == bool:
        raise NoRule("it picks by a mask")
    return in_range(value.astype(np.int64), size)


def _index_select(site: Site, given: Payload, fill: int | None) -> tuple[Plane, ...]:
    plane = first(given)
    axis = site.axis(site.number("dim", 0), max(1, len(plane.shape)))
    return (planes.take(plane, _indices(site, 1, plane.shape[axis]).reshape(-1), axis),)


def _embedding(site: Site, given: Payload, fill: int | None) -> tuple[Plane, ...]:
    plane = first(given)
    return (planes.take(plane, _indices(site, 1, plane.shape[0]), 0),)


def _take(site: Site, given: Payload, fill: int | None) -> tuple[Plane, ...]:
    plane = first(given)
    found = _indices(site, 1, prod(plane.shape))
    return (planes.gather_flat(plane, found.reshape(-1), found.shape),)


def _gather(site: Site, given: Payload, fill: int | None) -> tuple[Plane, ...]:
    plane = first(given)
    if "dim" not in site.op.attributes:
        return _take(site, given, fill)
    axis = site.axis(site.number("dim", 0), len(plane.shape))
    return (planes.gather_flat(plane, (flat := _along(site, plane.shape, axis)).reshape(-1), flat.shape),)


def _along(site: Site, shape: Sequence[int], axis: int) -> Integers:
    """The flat places ``torch.gather`` reads, or ``scatter`` writes."""
    found = _indices(site, 1, shape[axis])
    if found.ndim != len(shape):
        raise NoRule(f"indices of shape {list(found.shape)} do not fit {list(shape)}")
    sizes = [min(a, b) if b != 1 else a for a, b in zip(shape, found.shape, strict=True)]
    sizes[axis] = found.shape[axis]
    found = np.broadcast_to(found, sizes)
    region = positions(tuple(shape))[tuple(slice(0, n) if i != axis else slice(None) for i, n in enumerate(sizes))]
    return np.take_along_axis(region, found, axis)


def _index(site: Site, given: Payload, fill: int | None) -> tuple[Plane, ...]:
    plane = first(given)
    picks, axes = _picks(site, plane.shape, len(site.op.inputs))
    if len(axes) == 1:
        return (planes.take(plane, picks[axes[0]], axes[0]),)
    flat = positions(plane.shape)[tuple(picks)]
    return (planes.gather_flat(plane, flat.reshape(-1), flat.shape),)


def _picks(site: Site, shape: Sequence[int], stop: int) -> tuple[list[Any], list[int]]:
    """What numpy's advanced indexing takes for operands 1 to ``stop``, and the axes that are picked from."""
    picks: list[Any] = []
    axes: list[int] = []
    for operand in range(1, stop):
        if not site.has(operand):
            picks.append(slice(None))
            continue
        if len(picks) >= len(shape):
            raise NoRule(f"more indices than the {len(shape)} axes")
        axes.append(len(picks))
        picks.append(_indices(site, operand, shape[len(picks)]))
    return picks, axes


def _index_put(site: Site, given: Payload, fill: int | None) -> tuple[Plane, ...]:
    shape, last = site.shape(0), len(site.op.inputs) - 1
    if shape is None or site.number("accumulate", 0):
        raise NoRule("it adds up where it writes")
    picks, _ = _picks(site, shape, last)
    flat = positions(shape)[tuple(picks)]
    updates = given[last]
    return (overwritten(given[0], None if updates is None else _fitted(updates, flat.shape), shape, flat),)


def _fitted(plane: Plane, shape: Sequence[int]) -> Plane:
    lead = len(shape) - len(plane.shape)
    if lead < 0 or any(a not in (1, b) for a, b in zip((1,) * lead + plane.shape, shape, strict=True)):
        raise NoRule(f"{list(plane.shape)} does not fit {list(shape)}")
    return planes.broadcast(plane, tuple(shape))


def _scatter(site: Site, given: Payload, fill: int | None) -> tuple[Plane, ...]:
    shape, source = site.shape(0), given[2] if len(given) > 2 else None
    if shape is None or site.text("reduce"):
        raise NoRule("it adds up where it scatters")
    flat = _along(site, shape, site.axis(site.number("dim", 0), len(shape)))
    if source is not None:
        for axis, size in enumerate(flat.shape):
            source = planes.cut(source, axis, slice(0, size))
    return (overwritten(given[0], source, shape, flat),)


def _select_scatter(site: Site, given: Payload, fill: int | None) -> tuple[Plane, ...]:
    shape, at = site.shape(0), site.op.attributes.get("index")
    if shape is None or not isinstance(at, int):
        raise NoRule("where it writes is computed while the model runs")
    axis = site.axis(site.number("dim", 0), len(shape))
    return (overwritten(given[0], given[1], shape, np.take(positions(shape), at % shape[axis], axis)),)


def _slice_scatter(site: Site, given: Payload, fill: int | None) -> tuple[Plane, ...]:
    shape = site.shape(0)
    if shape is None:
        raise NoRule("the shape of its first operand is not known")
    axis = site.axis(site.number("dim", 0), len(shape))
    piece = slice(site.op.attributes.get("start"), site.op.attributes.get("end"), site.number("step", 1))
    return (overwritten(given[0], given[1], shape, positions(shape)[(slice(None),) * axis + (piece,)]),)


def _pad(site: Site, given: Payload, fill: int | None) -> tuple[Plane, ...]:
    plane = first(given)
    amounts = numbers(site, "pad", "padding")
    if amounts is None or len(amounts) % 2 or len(amounts) > 2 * len(plane.shape):
        raise NoRule("its padding is computed while the model runs")
    mode = _MODES.get(site.op.type) or site.text("mode", "constant")
    for number in range(len(amounts) // 2):
        axis = len(plane.shape) - 1 - number
        plane = padded(plane, axis, amounts[2 * number], amounts[2 * number + 1], mode, fill)
    return (plane,)


_MODES = {
    **{f"reflection_pad{rank}d": "reflect" for rank in (1, 2, 3)},
    **{f"replication_pad{rank}d": "replicate" for rank in (1, 2, 3)},
    "_pad_circular": "circular",
    "constant_pad_nd": "constant",
}


def _im2col(site: Site, given: Payload, fill: int | None) -> tuple[Plane, ...]:
    """(n, c, h, w) to (n, c*kh*kw, windows): every window's elements below each other."""
    plane = first(given)
    unbatched = len(plane.shape) == 3
    if unbatched:
        plane = planes.reshape(plane, (1, *plane.shape))
    sizes = [numbers(site, name) or (default,) for name, default in _WINDOW]
    kernel, dilation, padding, stride = ((*size, *size)[:2] for size in sizes)
    for number in range(2):
        axis = 2 + 2 * number
        plane = planes.pad(plane, axis, padding[number], padding[number], fill)
        count = (plane.shape[axis] - dilation[number] * (kernel[number] - 1) - 1) // max(1, stride[number]) + 1
        steps = np.arange(kernel[number], dtype=np.int64)[:, None] * dilation[number]
        planes.check_size(max(0, count) * kernel[number])
        plane = planes.take(plane, steps + np.arange(count, dtype=np.int64) * stride[number], axis)
    n, c, kh, oh, kw, ow = plane.shape
    made = planes.reshape(planes.transpose(plane, (0, 1, 2, 4, 3, 5)), (n, c * kh * kw, oh * ow))
    return (planes.reshape(made, made.shape[1:]) if unbatched else made,)


_WINDOW = (("kernel_size", 1), ("dilation", 1), ("padding", 0), ("stride", 1))

LAYOUTS: Mapping[str, Layout] = {
    "index_select": _index_select,
    "embedding": _embedding,
    "take": _take,
    **dict.fromkeys(("gather", "take_along_dim"), _gather),
    **dict.fromkeys(("index", "_unsafe_index"), _index),
    **dict.fromkeys(("index_put", "_unsafe_index_put"), _index_put),
    "scatter": _scatter,
    "select_scatter": _select_scatter,
    "slice_scatter": _slice_scatter,
    **dict.fromkeys((*_MODES, "pad"), _pad),
    "im2col": _im2col,
}
"""ATen's ops that move elements to or from places."""

PAYLOADS: Mapping[str, tuple[int, ...] | None] = {
    **dict.fromkeys(("index_put", "_unsafe_index_put"), (0, -1)),
    "scatter": (0, 2),
    "select_scatter": (0, 1),
    "slice_scatter": (0, 1),
}

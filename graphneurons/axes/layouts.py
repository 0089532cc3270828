"""Layout ops, run on planes: they move elements and compute nothing, so no rule is written for them.

Every function takes the `Site`, one plane per operand (None for operands that are no payload, and for payloads whose
numbers do not matter) and the number to fill empty places with (None: it does not matter). It returns one plane per
output. `NoRule` says why it cannot be done: an index or a shape that only the running model knows.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import prod

import numpy as np

from graphneurons.axes import aten_indexing, aten_joining, aten_layouts, indexing_layouts, planes, sequence_layouts
from graphneurons.axes.moving import Layout, Payload, first, padded
from graphneurons.axes.planes import Plane
from graphneurons.axes.rules.site import NoRule, Shape, Site
from graphneurons.graph import Op


def _known(site: Site, index: int, what: str) -> tuple[int, ...]:
    numbers = site.integers(index)
    if numbers is None:
        raise NoRule(f"its {what} (operand {index}) is computed while the model runs")
    return numbers


def _axes(site: Site, rank: int, name: str = "axes", index: int = 1) -> tuple[int, ...] | None:
    """Axes from the attribute (older opsets) or from the operand (newer ones); None if neither is there."""
    numbers = site.numbers(name)
    if numbers is None and site.has(index):
        numbers = _known(site, index, name)
    return None if numbers is None else tuple(site.axis(axis, rank) for axis in numbers)


def target_shape(old: Shape, wanted: Sequence[int], keep_zero: bool) -> Shape:
    """What Reshape makes of ``old``: 0 copies the axis (unless ``keep_zero``), -1 takes what is left."""
    shape = [old[i] if size == 0 and not keep_zero and i < len(old) else size for i, size in enumerate(wanted)]
    elements = prod(old)
    if shape.count(-1) == 1:
        others = -prod(shape)
        if others == 0:
            if elements:
                raise NoRule(f"{list(old)} cannot be reshaped to {list(wanted)}")
            shape[shape.index(-1)] = 0
        elif elements % others:
            raise NoRule(f"{list(old)} cannot be reshaped to {list(wanted)}; check --dim and --shape")
        else:
            shape[shape.index(-1)] = elements // others
    if any(size < 0 for size in shape) or prod(shape) != elements:
        raise NoRule(f"{list(old)} cannot be reshaped to {list(wanted)}; check --dim and --shape")
    return tuple(shape)


def _reshape(site: Site, given: Payload, fill: int | None) -> tuple[Plane, ...]:
    plane = first(given)
    wanted = site.numbers("shape") if not site.has(1) else _known(site, 1, "shape")
    if wanted is None:
        raise NoRule("its shape is given neither as attribute nor as operand")
    return (planes.reshape(plane, target_shape(plane.shape, wanted, bool(site.number("allowzero", 0)))),)


def _transpose(site: Site, given: Payload, fill: int | None) -> tuple[Plane, ...]:
    plane = first(given)
    rank = len(plane.shape)
    order = site.numbers("perm") or tuple(reversed(range(rank)))
    if sorted(order) != list(range(rank)):
        raise NoRule(f"perm {list(order)} is no permutation of the {rank} axes")
    return (planes.transpose(plane, order),)


def _squeeze(site: Site, given: Payload, fill: int | None) -> tuple[Plane, ...]:
    plane = first(given)
    axes = _axes(site, len(plane.shape))
    if axes is None:
        axes = tuple(axis for axis, size in enumerate(plane.shape) if size == 1)
    if any(plane.shape[axis] != 1 for axis in axes):
        raise NoRule(f"it squeezes axes {list(axes)} of {list(plane.shape)}, which are not of size 1")
    return (planes.reshape(plane, tuple(size for axis, size in enumerate(plane.shape) if axis not in axes)),)


def _unsqueeze(site: Site, given: Payload, fill: int | None) -> tuple[Plane, ...]:
    plane = first(given)
    numbers = site.numbers("axes")
    if numbers is None:
        numbers = _known(site, 1, "axes")
    rank = len(plane.shape) + len(numbers)
    axes = {site.axis(axis, rank) for axis in numbers}
    if len(axes) != len(numbers):
        raise NoRule(f"axes {list(numbers)} name one axis twice")
    sizes = iter(plane.shape)
    return (planes.reshape(plane, tuple(1 if axis in axes else next(sizes) for axis in range(rank))),)


def _flatten(site: Site, given: Payload, fill: int | None) -> tuple[Plane, ...]:
    plane = first(given)
    rank = len(plane.shape)
    axis = site.number("axis", 1)
    if not -rank <= axis <= rank:
        raise NoRule(f"axis {axis} is out of range for a tensor of rank {rank}")
    axis = axis + rank if axis < 0 else axis
    return (planes.reshape(plane, (prod(plane.shape[:axis]), prod(plane.shape[axis:]))),)


def _expand(site: Site, given: Payload, fill: int | None) -> tuple[Plane, ...]:
    plane = first(given)
    return (planes.broadcast(plane, broadcast_shapes([plane.shape, _known(site, 1, "shape")])),)


def broadcast_shapes(shapes: Sequence[Shape]) -> Shape:
    """numpy's broadcasting of ``shapes``; `NoRule` where they do not fit."""
    rank = max(map(len, shapes), default=0)
    result = [1] * rank
    for shape in shapes:
        for axis, size in enumerate(shape, rank - len(shape)):
            if size != 1 and result[axis] not in (1, size):
                raise NoRule(
                    f"shapes {', '.join(str(list(s)) for s in shapes)} do not broadcast; check --dim and --shape"
                )
            result[axis] = size if result[axis] == 1 else result[axis]
    return tuple(result)


def _slice(site: Site, given: Payload, fill: int | None) -> tuple[Plane, ...]:
    plane = first(given)
    rank = len(plane.shape)
    if site.has(1):
        starts, ends = _known(site, 1, "starts"), _known(site, 2, "ends")
        axes = _known(site, 3, "axes") if site.has(3) else tuple(range(len(starts)))
        steps = _known(site, 4, "steps") if site.has(4) else (1,) * len(starts)
    else:
        starts, ends = site.numbers("starts") or (), site.numbers("ends") or ()
        axes, steps = site.numbers("axes") or tuple(range(len(starts))), (1,) * len(starts)
    if not len(starts) == len(ends) == len(axes) == len(steps) or 0 in steps:
        raise NoRule(f"starts {list(starts)}, ends {list(ends)}, axes {list(axes)}, steps {list(steps)} do not fit")
    for start, end, axis, step in zip(starts, ends, axes, steps, strict=True):
        at = site.axis(axis, rank)
        plane = planes.cut(plane, at, slice_of(start, end, step, plane.shape[at]))
    return (plane,)


def slice_of(start: int, end: int, step: int, size: int) -> slice:
    """ONNX's Slice as a Python slice: ends below the first element include it when the step is negative."""
    if step > 0:
        first, last = (min(max(value + size if value < 0 else value, 0), size) for value in (start, end))
        return slice(first, last, step)
    first = min(max(start + size if start < 0 else start, 0), size - 1)
    last = min(max(end + size if end < 0 else end, -1), size - 1)
    return slice(first, None if last < 0 else last, step) if size else slice(0, 0)


def split_sizes(site: Site, size: int) -> tuple[int, ...]:
    """How Split divides an axis of ``size`` over its outputs."""
    outputs = len(site.op.outputs)
    given = site.numbers("split") or (_known(site, 1, "split") if site.has(1) else None)
    if given is None:
        each = -(-size // max(1, site.number("num_outputs", outputs)))
        given = tuple(max(0, min(each, size - each * index)) for index in range(outputs))
    if len(given) != outputs or sum(given) != size or min(given, default=0) < 0:
        raise NoRule(f"split {list(given)} does not divide an axis of size {size} over {outputs} outputs")
    return given


def _split(site: Site, given: Payload, fill: int | None) -> tuple[Plane, ...]:
    plane = first(given)
    axis = site.axis(site.number("axis", 0), len(plane.shape))
    pieces, start = [], 0
    for size in split_sizes(site, plane.shape[axis]):
        pieces.append(planes.cut(plane, axis, slice(start, start + size)))
        start += size
    return tuple(pieces)


def _concat(site: Site, given: Payload, fill: int | None) -> tuple[Plane, ...]:
    shapes = []
    for index in range(len(site.op.inputs)):
        shape = site.shape(index)
        if shape is None:
            raise NoRule(f"the shape of operand {index} is not known")
        shapes.append(shape)
    if not shapes:
        raise NoRule("it has no operands")
    axis = site.axis(site.number("axis", 1), len(shapes[0]))
    for shape in shapes[1:]:
        if len(shape) != len(shapes[0]) or any(
            a != b for i, (a, b) in enumerate(zip(shape, shapes[0], strict=True)) if i != axis
        ):
            raise NoRule(f"shapes {', '.join(str(list(s)) for s in shapes[:4])} do not fit along axis {axis}")
    return (planes.join(given, [shape[axis] for shape in shapes], axis),)


def _pad(site: Site, given: Payload, fill: int | None) -> tuple[Plane, ...]:
    plane = first(given)
    rank = len(plane.shape)
    amounts = site.numbers("pads") or site.numbers("paddings") or _known(site, 1, "pads")
    axes = _axes(site, rank, "axes", 3) if site.has(3) else None
    axes = tuple(range(rank)) if axes is None else axes
    if len(amounts) != 2 * len(axes):
        raise NoRule(f"pads {list(amounts)} do not fit {len(axes)} axes")
    mode = site.text("mode", "constant")
    for position, axis in enumerate(axes):
        plane = padded(plane, axis, amounts[position], amounts[position + len(axes)], mode, fill)
    return (plane,)


def _tile(site: Site, given: Payload, fill: int | None) -> tuple[Plane, ...]:
    plane = first(given)
    repeats = _known(site, 1, "repeats")
    if site.has(2):
        axis = site.axis(_known(site, 2, "axis")[0], len(plane.shape))
        repeats = tuple(repeats[0] if at == axis else 1 for at in range(len(plane.shape)))
    if len(repeats) != len(plane.shape) or min(repeats, default=0) < 0:
        raise NoRule(f"repeats {list(repeats)} do not fit shape {list(plane.shape)}")
    for axis, count in enumerate(repeats):
        size = plane.shape[axis]
        if count != 1 and not plane.varies(axis):
            plane = Plane((*plane.shape[:axis], size * count, *plane.shape[axis + 1 :]), plane.data)
        elif count != 1:
            planes.check_size(size * count)
            plane = planes.take(plane, np.arange(size * count, dtype=np.int64) % max(1, size), axis)
    return (plane,)


def _blocks(site: Site, plane: Plane) -> tuple[int, int, int, int, int]:
    block = site.number("blocksize", 0)
    if len(plane.shape) != 4 or block < 1:
        raise NoRule(f"blocksize {block} does not fit shape {list(plane.shape)}")
    n, c, h, w = plane.shape
    return n, c, h, w, block


def _depth_to_space(site: Site, given: Payload, fill: int | None) -> tuple[Plane, ...]:
    n, c, h, w, b = _blocks(site, plane := first(given))
    if c % (b * b):
        raise NoRule(f"{c} channels do not divide by blocksize {b} squared")
    inner = c // (b * b)
    if site.text("mode", "DCR") == "DCR":
        apart = planes.transpose(planes.reshape(plane, (n, b, b, inner, h, w)), (0, 3, 4, 1, 5, 2))
    else:
        apart = planes.transpose(planes.reshape(plane, (n, inner, b, b, h, w)), (0, 1, 4, 2, 5, 3))
    return (planes.reshape(apart, (n, inner, h * b, w * b)),)


def _space_to_depth(site: Site, given: Payload, fill: int | None) -> tuple[Plane, ...]:
    n, c, h, w, b = _blocks(site, plane := first(given))
    if h % b or w % b:
        raise NoRule(f"{h} x {w} does not divide by blocksize {b}")
    apart = planes.transpose(planes.reshape(plane, (n, c, h // b, b, w // b, b)), (0, 3, 5, 1, 2, 4))
    return (planes.reshape(apart, (n, b * b * c, h // b, w // b)),)


def _center_crop_pad(site: Site, given: Payload, fill: int | None) -> tuple[Plane, ...]:
    plane = first(given)
    rank = len(plane.shape)
    wanted = _known(site, 1, "shape")
    axes = tuple(site.axis(axis, rank) for axis in site.numbers("axes") or range(rank))
    if len(wanted) != len(axes) or max(wanted, default=0) > planes.LARGEST or min(wanted, default=0) < 0:
        raise NoRule(f"shape {list(wanted)} does not fit {len(axes)} axes")
    for axis, size in zip(axes, wanted, strict=True):
        more = size - plane.shape[axis]
        before = more // 2 if more >= 0 else -((-more) // 2)
        plane = planes.pad(plane, axis, before, more - before, fill)
    return (plane,)


def _along_time(site: Site, given: Payload, fill: int | None) -> tuple[Plane, ...]:
    plane = first(given)
    if plane.varies(site.axis(site.number("time_axis", 0), len(plane.shape))):
        raise NoRule("it reverses an axis that neurons lie along, by lengths only the running model knows")
    return (plane,)


def _stack(site: Site, given: Payload, fill: int | None) -> tuple[Plane, ...]:
    plane = first(given)
    rank = len(plane.shape) + 1
    axis = site.axis(site.number("axis", 0), rank)
    size = site.number("size", 1)
    apart = planes.reshape(plane, (*plane.shape[:axis], 1, *plane.shape[axis:]))
    return (planes.broadcast(apart, (*plane.shape[:axis], size, *plane.shape[axis:])),)


def _unstack(site: Site, given: Payload, fill: int | None) -> tuple[Plane, ...]:
    plane = first(given)
    axis = site.axis(site.number("axis", 0), len(plane.shape))
    if plane.varies(axis):
        raise NoRule("every iteration takes another neuron of the axis it loops over")
    return (planes.reshape(planes.cut(plane, axis, slice(0, 1)), (*plane.shape[:axis], *plane.shape[axis + 1 :])),)


def _concat_quantized(site: Site, given: Payload, fill: int | None) -> tuple[Plane, ...]:
    """com.microsoft QLinearConcat: (scale, zero point) of the result, then (tensor, scale, zero point) of each part."""
    parts = range(2, len(site.op.inputs), 3)
    shapes = [site.shape(index) for index in parts]
    if not shapes or None in shapes:
        raise NoRule("the shapes of its parts are not known")
    known = [shape for shape in shapes if shape is not None]
    axis = site.axis(site.number("axis", 0), len(known[0]))
    return (planes.join([given[index] for index in parts], [shape[axis] for shape in known], axis),)


LAYOUTS: Mapping[str, Layout] = {
    "Reshape": _reshape,
    "Transpose": _transpose,
    "Squeeze": _squeeze,
    "Unsqueeze": _unsqueeze,
    "Flatten": _flatten,
    "Expand": _expand,
    "Slice": _slice,
    "Split": _split,
    "Concat": _concat,
    "Pad": _pad,
    "Tile": _tile,
    "DepthToSpace": _depth_to_space,
    "SpaceToDepth": _space_to_depth,
    "CenterCropPad": _center_crop_pad,
    "ReverseSequence": _along_time,
    "Stack": _stack,
    "Unstack": _unstack,
    "QLinearConcat": _concat_quantized,
    **indexing_layouts.LAYOUTS,
    **sequence_layouts.LAYOUTS,
    **aten_layouts.LAYOUTS,
    **aten_joining.LAYOUTS,
    **aten_indexing.LAYOUTS,
}
"""Op type -> how it moves planes. ATen's ops are in lower case, so no name stands for two."""

def transposed(op: Op, plane: Plane) -> Plane:
    """``plane`` through a Transpose whose attribute was found to fit."""
    order = op.attributes.get("perm")
    if not isinstance(order, tuple) or not order:
        return planes.transpose(plane, range(len(plane.shape))[::-1])
    return planes.transpose(plane, [axis for axis in order if isinstance(axis, int)])


RESHAPING = frozenset({"Reshape", "Squeeze", "Unsqueeze", "Flatten", *aten_layouts.RESHAPING})
"""Op types that give what they read another shape and nothing else: where the shape is known, that says all."""

PAYLOADS: Mapping[str, tuple[int, ...] | None] = {
    "Concat": None,
    "QLinearConcat": None,
    **indexing_layouts.PAYLOADS,
    **sequence_layouts.PAYLOADS,
    **aten_layouts.PAYLOADS,
    **aten_joining.PAYLOADS,
    **aten_indexing.PAYLOADS,
}
"""Which operands carry elements (None: all of them). Only the first does where nothing else is said."""

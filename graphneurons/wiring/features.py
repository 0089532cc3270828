"""Which axes of a model's inputs hold features: those some weight contracts, found by riding each axis on its own."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from math import prod

from graphneurons.axes import planes
from graphneurons.axes.binding import Binding
from graphneurons.axes.carrying import carry
from graphneurons.axes.labelling import OperandLabel
from graphneurons.axes.layouts import LAYOUTS
from graphneurons.axes.notation import Rule
from graphneurons.axes.planes import Plane, Shape
from graphneurons.axes.resolving import Resolution
from graphneurons.axes.rules.site import NoRule
from graphneurons.axes.steps import Layout, Step, payload, told_by_shapes
from graphneurons.graph import Op
from graphneurons.wiring.arriving import arriving, brought, given_constant

Key = tuple[str, int]
Riding = tuple[tuple[Key, Plane], ...]


@dataclass(frozen=True, slots=True)
class Features:
    """``axes``: input name -> its feature axes; an input no weight contracts (a mask, indices) is missing."""

    axes: Mapping[str, tuple[int, ...]]


def find_features(resolution: Resolution, labels: Mapping[str, Mapping[int, OperandLabel]]) -> Features:
    """Where the axes of every input arrive first. ``labels``: op name -> labels of its weight operands.

    Where several ops contract an input differently (a convolution its channels, a linear all it has), the fewest axes
    count: that numbering is right for both.
    """
    riding: dict[str, Riding] = {}
    entries = [op.output for op in resolution.graph.ops if op.type == "Entry"]
    for name in (*(value.name for value in resolution.graph.inputs), *entries):
        shape = resolution.shapes.get(name)
        if shape is not None:
            riding[name] = tuple(
                ((name, axis), planes.along(shape, axis)) for axis, size in enumerate(shape) if size <= planes.LARGEST
            )
    found: dict[str, list[tuple[int, ...]]] = {}
    # What rides in alike on ops that do the same arrives alike, and leaves them alike where shapes tell how.
    before: dict[Hashable, Sequence[Riding | None]] = {}
    for op, doing in resolution.running:
        inputs = op.inputs
        coming = [riding.get(inputs[index]) for index in doing.fed]
        if not any(coming):
            continue
        own = labels.get(op.name)
        alike = (doing, id(own), *map(id, coming))
        made = before.get(alike)
        if made is None:
            items = [riding.get(name) for name in inputs]
            if own is None:
                made = _leaving(resolution, op, doing.step, items)
            else:
                made = ()
                _note(resolution, op, doing.step, own, items, found)
            if own is not None or told_by_shapes(op, doing.step):
                before[alike] = made
        for name, leaving in zip(op.outputs, made, strict=False):
            if leaving is not None:
                riding[name] = leaving
    return Features({name: _fewest(options, resolution.shapes[name]) for name, options in found.items()})


def _fewest(options: Sequence[tuple[int, ...]], shape: Shape) -> tuple[int, ...]:
    """Of several sets of axes, the one that spans the fewest indices."""
    return min((axes for axes in options if axes), key=lambda axes: prod(shape[axis] for axis in axes), default=())


def _leaving(resolution: Resolution, op: Op, step: Step, coming: Sequence[Riding | None]) -> Sequence[Riding | None]:
    """What rides in on the operands, as it leaves in every output."""
    if isinstance(step, Rule) and op.output:
        passed = _unmoved(step, op, coming, resolution.shapes)
        if passed is not None:
            return [passed if name == op.output else None for name in op.outputs]
    left = dict(_moved(resolution, op, step, coming))
    return [left.get(name) for name in op.outputs]


def _unmoved(step: Rule, op: Op, coming: Sequence[Riding | None], shapes: Mapping[str, Shape]) -> Riding | None:
    """What leaves an elementwise op as it came: all that a map reads, or all that one of several operands brings, none
    of which is broadcast."""
    if step.kind == "map":
        return coming[0] or ()
    riding = [items for items in coming if items]
    shape = shapes.get(op.output)
    if len(riding) != 1 or len(op.outputs) != 1 or any(plane.shape != shape for _, plane in riding[0]):
        return None
    return riding[0]


def _note(
    resolution: Resolution,
    op: Op,
    step: Step,
    labels: Mapping[int, OperandLabel],
    given: Sequence[Riding | None],
    found: dict[str, list[tuple[int, ...]]],
) -> None:
    if not isinstance(step, Binding):
        return
    constant = given_constant(resolution, op)
    for index, label in labels.items():
        for partner, names in brought(step, index, label, constant):
            items = given[partner] if partner < len(given) else None
            arrived: dict[str, list[int]] = {name: [] for (name, _), _ in items or ()}
            for (name, axis), plane in items or ():
                try:
                    numbers = arriving(step, partner, names, plane).data
                except (NoRule, planes.TooLargeError):
                    continue
                known = numbers[numbers >= 0]
                if known.size > 1 and (known != known[0]).any():
                    arrived[name].append(axis)
            for name, axes in arrived.items():
                found.setdefault(name, []).append(tuple(sorted(set(axes))))


def _moved(resolution: Resolution, op: Op, step: Step, coming: Sequence[Riding | None]) -> list[tuple[str, Riding]]:
    """What rides in on the operands, as it leaves in every output. An axis that comes in on several of them is carried
    once where the op only moves elements, and once per operand elsewhere; the first to arrive counts."""
    made: list[tuple[str, dict[Key, Plane]]] = [(name, {}) for name in op.outputs]
    if isinstance(step, Layout):
        carried = payload(op)
        keys = dict.fromkeys(key for index in carried for key, _ in coming[index] or ())
        for key in keys:
            given = [dict(items or ()).get(key) if at in carried else None for at, items in enumerate(coming)]
            _place(made, key, _laid_out(resolution, op, given))
    else:
        for index, items in enumerate(coming):
            for key, plane in items or ():
                _place(made, key, [_through(resolution, op, step, index, n, plane) for n in range(len(made))])
    shapes = resolution.shapes
    return [
        (name, _told(tuple([item for item in items.items() if item[1].shape == shapes.get(name)]), coming))
        for name, items in made
        if name and items and name not in resolution.constants
    ]


def _told(made: Riding, coming: Sequence[Riding | None]) -> Riding:
    """``made``, or that of the operands which it does not differ from: what is one object is looked at once."""
    for items in coming:
        if items and len(items) == len(made) and all(map(_alike, items, made)):
            return items
    return made


def _alike(one: tuple[Key, Plane], other: tuple[Key, Plane]) -> bool:
    return one[0] == other[0] and one[1] is other[1]


def _place(made: Sequence[tuple[str, dict[Key, Plane]]], key: Key, planes_out: Sequence[Plane | None]) -> None:
    for (_, items), plane in zip(made, planes_out, strict=False):
        if plane is not None:
            items.setdefault(key, plane)


def _laid_out(resolution: Resolution, op: Op, given: Sequence[Plane | None]) -> Sequence[Plane | None]:
    try:
        return LAYOUTS[op.type](resolution.site(op), given, None)
    except (NoRule, planes.TooLargeError):
        return ()


def _through(resolution: Resolution, op: Op, step: object, index: int, number: int, plane: Plane) -> Plane | None:
    shape = resolution.shapes.get(op.outputs[number])
    if shape is None:
        return None
    if isinstance(step, Rule):
        return planes.broadcast(plane, shape)
    if isinstance(step, Binding) and step.rule.kind not in ("softmax", "lookup"):
        axes = step.operands[index] if index < len(step.operands) else None
        result = step.results[number] if number < len(step.results) else None
        if axes is not None and result is not None and step.rule.operands[index].contracts:
            mixed = frozenset() if step.rule.kind == "normalisation" else step.mixed
            try:
                return carry(plane, axes, result, shape, step.sizes, mixed)
            except (NoRule, planes.TooLargeError):
                return None
    return None

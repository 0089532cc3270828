"""Which axes of a model's inputs hold features: those some weight contracts, found by riding each axis on its own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import prod

import numpy as np

from graphneurons.axes import planes
from graphneurons.axes.binding import Binding
from graphneurons.axes.carrying import carry
from graphneurons.axes.labelling import OperandLabel
from graphneurons.axes.layouts import LAYOUTS
from graphneurons.axes.notation import Rule
from graphneurons.axes.planes import Plane
from graphneurons.axes.resolving import Layout, Resolution, payload
from graphneurons.axes.rules.site import NoRule
from graphneurons.graph import Op
from graphneurons.wiring.arriving import arriving, contracted, partners

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
                ((name, axis), planes.along(shape, axis))
                for axis, size in enumerate(shape)
                if size <= planes.LARGEST
            )
    found: dict[str, list[tuple[int, ...]]] = {}
    for op in resolution.graph.ops:
        brought = [riding.get(name) for name in op.inputs]
        if not any(brought):
            continue
        step = resolution.steps[op.name]
        if isinstance(step, Rule) and step.kind == "map" and op.output:
            riding[op.output] = brought[0] or ()
            continue
        if op.name in labels:
            _note(resolution, op, labels[op.name], brought, found)
            continue
        for index, items in enumerate(brought):
            for name, moved in _moved(resolution, op, index, items or ()):
                have = dict(riding.get(name, ()))
                riding[name] = tuple({**dict(moved), **have}.items())
    shapes = resolution.shapes
    return Features(
        {
            name: min((axes for axes in options if axes), key=lambda axes: prod(shapes[name][a] for a in axes), default=())
            for name, options in found.items()
        }
    )


def _note(
    resolution: Resolution,
    op: Op,
    labels: Mapping[int, OperandLabel],
    brought: Sequence[Riding | None],
    found: dict[str, list[tuple[int, ...]]],
) -> None:
    step = resolution.steps[op.name]
    if not isinstance(step, Binding):
        return
    constant = [not name or name in resolution.constants for name in op.inputs]
    for index, label in labels.items():
        for partner in partners(step, index, label, constant):
            items = brought[partner] if partner < len(brought) else None
            names = contracted(step, index, partner, label)
            arrived: dict[str, list[int]] = {name: [] for (name, _), _ in items or ()}
            for (name, axis), plane in items or ():
                try:
                    numbers = arriving(step, partner, names, plane)
                except (NoRule, planes.TooLargeError):
                    continue
                if numbers.size > 1 and np.unique(numbers[numbers >= 0]).size > 1:
                    arrived[name].append(axis)
            for name, axes in arrived.items():
                found.setdefault(name, []).append(tuple(sorted(set(axes))))


def _moved(resolution: Resolution, op: Op, index: int, items: Riding) -> list[tuple[str, Riding]]:
    """What rides in on operand ``index``, as it leaves in every output."""
    step = resolution.steps[op.name]
    made: list[tuple[str, Riding]] = []
    for number, name in enumerate(op.outputs):
        shape = resolution.shapes.get(name)
        if not name or shape is None or name in resolution.constants:
            continue
        moved = []
        for key, plane in items:
            try:
                through = _through(resolution, op, step, index, number, plane, shape)
            except (NoRule, planes.TooLargeError):
                continue
            if through is not None and through.shape == shape:
                moved.append((key, through))
        if moved:
            made.append((name, tuple(moved)))
    return made


def _through(
    resolution: Resolution, op: Op, step: object, index: int, number: int, plane: Plane, shape: tuple[int, ...]
) -> Plane | None:
    if isinstance(step, Rule):
        return planes.broadcast(plane, shape)
    if isinstance(step, Layout):
        if index not in payload(op):
            return None
        given: list[Plane | None] = [None] * len(op.inputs)
        given[index] = plane
        return LAYOUTS[op.type](resolution.site(op), given, None)[number]
    if isinstance(step, Binding) and step.rule.kind not in ("softmax", "lookup"):
        axes = step.operands[index] if index < len(step.operands) else None
        result = step.results[number] if number < len(step.results) else None
        if axes is not None and result is not None and step.rule.operands[index].contracts:
            mixed = frozenset() if step.rule.kind == "normalisation" else step.mixed
            return carry(plane, axes, result, shape, step.sizes, mixed)
    return None

"""Sums and products of channels that are not as many: a member of a coupled group was cut, another was not."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from graphneurons.analysis import Analysis
from graphneurons.axes.rules.site import Shape
from graphneurons.axes.steps import Unknown
from graphneurons.checks.declared import is_dynamic, with_other_sizes
from graphneurons.graph import ModelGraph, Op

_FARTHEST = 64


@dataclass(frozen=True, slots=True)
class Unequal:
    """An elementwise op whose operands do not broadcast, whatever sizes dynamic dimensions have. ``layers``: those that
    make the operands, nearest first."""

    op: Op
    shapes: tuple[Shape, ...]
    layers: tuple[str, ...]


def unequal(analysis: Analysis) -> Iterator[Unequal]:
    """In graph order; what follows from one has no shape, and is not told again."""
    graph, resolution = analysis.graph, analysis.resolution
    if resolution is None:
        return
    failed = []
    for op in graph.ops:
        step = resolution.steps.get(op.name)
        if isinstance(step, Unknown) and step.has_rule and "do not broadcast" in step.reason:
            shapes = [resolution.shapes.get(name) for name in op.inputs if name]
            known = tuple(shape for shape in shapes if shape is not None)
            if len(known) == len(shapes):
                failed.append((op, known))
    other = with_other_sizes(graph, resolution) if failed and is_dynamic(graph) else resolution.shapes
    made = {layer.op.name: layer.id for layer in reversed(analysis.layers)}
    for op, known in failed:
        if other is not None and _differ(op, known, other):
            yield Unequal(op, known, _makers(op, graph, made))


def _differ(op: Op, shapes: tuple[Shape, ...], other: Mapping[str, Shape]) -> bool:
    """Whether the operands disagree along an axis whose sizes do not depend on dynamic dimensions."""
    again = [other.get(name) for name in op.inputs if name]
    rank = max(map(len, shapes))
    for axis in range(-rank, 0):
        sizes = set()
        for one, two in zip(shapes, again, strict=True):
            if two is None or len(one) != len(two):
                return False
            if -axis <= len(one):
                sizes.add(one[axis] if one[axis] == two[axis] else 1)
        if len(sizes - {1}) > 1:
            return True
    return False


def _makers(op: Op, graph: ModelGraph, made: Mapping[str, str]) -> tuple[str, ...]:
    """The first layers met on the way up from every operand, nearest first."""
    found: dict[str, None] = {}
    waiting = deque((name, 0) for name in reversed(op.inputs))
    seen = set(op.inputs)
    while waiting:
        name, steps = waiting.popleft()
        maker = graph.producer.get(name)
        if maker is None or steps > _FARTHEST:
            continue
        if maker.name in made:
            found.setdefault(made[maker.name])
            continue
        fresh = [each for each in maker.inputs if each not in seen]
        seen.update(fresh)
        waiting.extend((each, steps + 1) for each in fresh)
    return tuple(found)

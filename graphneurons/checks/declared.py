"""Shapes that a file declares against those its ops compute: where they contradict each other, whatever sizes the
dynamic dimensions have."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from graphneurons.analysis import Analysis
from graphneurons.axes.resolving import Resolution, resolve
from graphneurons.axes.rules.site import Shape
from graphneurons.axes.rules.tables import TRACED
from graphneurons.errors import GraphNeuronsError
from graphneurons.graph import CONTROL, Dim, ModelGraph, Op


@dataclass(frozen=True, slots=True)
class Contradiction:
    """``op`` computes ``value`` with the shape ``computed``, and the file says ``declared``. ``following``: how many
    more values are contradicted because they are computed from it."""

    value: str
    op: Op
    declared: tuple[Dim, ...]
    computed: Shape
    following: int


def contradictions(analysis: Analysis) -> Iterator[Contradiction]:
    """Values whose declared shape is not what their op makes of its operands, first causes only.

    Shapes of a model with dynamic dimensions are computed a second time with other sizes: only what contradicts the
    file both times is told, so that no default for a dynamic dimension is taken for the model's own.
    """
    graph, resolution = analysis.graph, analysis.resolution
    if resolution is None or any(op.domain in TRACED for op in graph.ops[:1]):
        return
    told = {name for name, value in graph.declared.items() if value.shape}
    found = _contradicted(graph, resolution.shapes, told - _steered(graph))
    if found and is_dynamic(graph):
        other = with_other_sizes(graph, resolution)
        found = {} if other is None else _confirmed(graph, found, resolution.shapes, other)
    causes: dict[str, str] = {}
    follow: dict[str, int] = {}
    for op in graph.ops:
        reached = next((causes[name] for name in op.inputs if name in causes), None)
        for name in op.outputs:
            if name not in found:
                continue
            causes[name] = reached or name
            follow[causes[name]] = follow.get(causes[name], -1) + 1
    for name, count in follow.items():
        yield Contradiction(name, graph.producer[name], found[name], resolution.shapes[name], count)


def _contradicted(graph: ModelGraph, shapes: Mapping[str, Shape], names: set[str]) -> dict[str, tuple[Dim, ...]]:
    found = {}
    for name in sorted(names):
        declared, computed = graph.declared[name].shape, shapes.get(name)
        if declared is not None and computed is not None and name in graph.producer and _differ(declared, computed):
            found[name] = declared
    return found


def _differ(declared: tuple[Dim, ...], computed: Shape) -> bool:
    if len(declared) != len(computed):
        return True
    return any(isinstance(dim, int) and dim >= 0 and dim != size for dim, size in zip(declared, computed, strict=True))


def _steered(graph: ModelGraph) -> set[str]:
    """Values that control flow can give another shape from run to run."""
    found: set[str] = set()
    for op in graph.ops:
        if op.domain == CONTROL or any(name in found for name in op.inputs):
            found.update(op.outputs)
    return found


def is_dynamic(graph: ModelGraph) -> bool:
    return any(value.shape is None or any(not isinstance(dim, int) for dim in value.shape) for value in graph.inputs)


def with_other_sizes(graph: ModelGraph, resolution: Resolution) -> Mapping[str, Shape] | None:
    """All shapes where dynamic dimensions of the inputs are twice as large; None where the model does not allow it."""
    shapes = {}
    for value in graph.inputs:
        known = resolution.shapes.get(value.name)
        if value.shape is None or known is None or len(known) != len(value.shape):
            continue
        shapes[value.name] = tuple(
            size if isinstance(dim, int) else 2 * size for dim, size in zip(value.shape, known, strict=True)
        )
    try:
        return resolve(graph, shapes).shapes
    except GraphNeuronsError:
        return None


def _confirmed(
    graph: ModelGraph, found: dict[str, tuple[Dim, ...]], shapes: Mapping[str, Shape], other: Mapping[str, Shape]
) -> dict[str, tuple[Dim, ...]]:
    """Those that differ from the file in axes whose sizes do not depend on dynamic dimensions."""
    kept = {}
    for name, declared in found.items():
        one, two = shapes[name], other.get(name)
        if two is None or len(one) != len(two):
            continue
        fixed = tuple(size if size == again else None for size, again in zip(one, two, strict=True))
        if len(declared) != len(one) or any(
            isinstance(dim, int) and size is not None and 0 <= dim != size
            for dim, size in zip(declared, fixed, strict=True)
        ):
            kept[name] = declared
    return kept

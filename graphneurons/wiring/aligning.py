"""Which neurons a modulator is aligned with: biases, gains, normalisation scales."""

from __future__ import annotations

from functools import lru_cache

from graphneurons.axes import planes
from graphneurons.axes.binding import Binding, Factors
from graphneurons.axes.carrying import carry
from graphneurons.axes.planes import Plane, Shape
from graphneurons.axes.steps import Step
from graphneurons.graph import Op
from graphneurons.wiring.records import Source
from graphneurons.wiring.registry import Registry


def aligned_plane(step: Step, op: Op, index: int, shape: Shape, result: Plane) -> Plane | None:
    """The ids of ``result`` (output 0 of the op) in the shape of the modulating operand ``index``: what every element
    of it modulates. None where the rule does not line them up."""
    if not isinstance(step, Binding):
        return _narrowed(result, shape)
    axes = step.operands[index] if index < len(step.operands) else None
    made = step.results[0] if step.results else None
    if axes is None or made is None or len(made) != len(result.shape):
        return None
    carried = {name for names in axes for name in names}
    result = planes.sampled(result, [at for at, own in enumerate(made) if len(own) == 1 and own[0] not in carried])
    return carry(result, made, axes, shape, step.sizes)


def _narrowed(result: Plane, shape: Shape) -> Plane | None:
    """``result`` along the axes that an operand of ``shape``, broadcast by numpy, has."""
    names = _broadcast(len(result.shape), shape)
    if names is None:
        return None
    axes, kept = names
    result = planes.sampled(result, [at for at, own in enumerate(axes) if own not in kept])
    return carry(result, axes, kept, shape, {name: size for (name,), size in zip(axes, result.shape, strict=True)})


@lru_cache(maxsize=4096)
def _broadcast(rank: int, shape: Shape) -> tuple[tuple[Factors, ...], tuple[Factors, ...]] | None:
    """A factor for each axis of a result of ``rank``, and those that an operand of ``shape`` has of them."""
    lead = rank - len(shape)
    if lead < 0:
        return None
    axes = tuple((f"r{axis}",) for axis in range(rank))
    return axes, tuple(() if size == 1 else axes[lead + axis] for axis, size in enumerate(shape))


def modulated_source(registry: Registry, plane: Plane) -> Source | None:
    """The one source whose neurons a modulator is aligned with; None if several."""
    if plane.first is not None:
        return registry.owner_of_run(plane.first, plane.data.size)
    numbers = plane.data.reshape(-1)
    known = numbers[numbers >= 0]
    if not known.size or known.size < numbers.size:
        return None
    first, last = registry.owner(int(known.min())), registry.owner(int(known.max()))
    return first if first is last else None

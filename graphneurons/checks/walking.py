"""What a walk over a graph knows so far: ranges of values, and the activations that neurons come to.

Nothing is assumed of inputs but what the policy declares and what their types hold. Sizes of dynamic dimensions are
not assumed either: what differs along an axis whose size may change is told once for all of the axis.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import inf

import numpy as np

from graphneurons.analysis import Analysis
from graphneurons.axes.resolving import Resolution
from graphneurons.axes.rules.site import Shape
from graphneurons.checks.bending import Bend
from graphneurons.checks.contracting import Sums
from graphneurons.checks.intervals import MOST_BOUNDS, Bounds, Range, between, collapsed, made
from graphneurons.graph import ModelGraph, Op
from graphneurons.health.decoding import is_readable
from graphneurons.load.reading import read

ENDS: Mapping[str, tuple[float, float]] = {
    "uint8": (0.0, 255.0), "int8": (-128.0, 127.0), "uint16": (0.0, 65535.0), "int16": (-32768.0, 32767.0),
    "bool": (0.0, 1.0),
}  # fmt: skip
"""The smallest and the largest number of a type."""

ROUNDING = 2.0**-21
"""By how much of their size bounds of computed values are widened, as runtimes round every one."""


def _size(bounds: Bounds) -> Bounds:
    return np.where(np.isfinite(bounds), np.abs(bounds), 0.0)


@dataclass(frozen=True, slots=True)
class Stop:
    """An activation (or a quantization, which is flat beyond its ends) with the range of what comes in."""

    op: Op
    kind: str
    bend: Bend
    before: Range


@dataclass(eq=False)
class Walk:
    """One model. ``known``: value name -> its range, of the values that some activation depends on; ``stops``: the
    activations that neurons of a layer come to, each of them heard there only."""

    analysis: Analysis
    resolution: Resolution
    sums: Sums
    other: Mapping[str, Shape] | None = None
    known: dict[str, Range] = field(default_factory=dict)
    stops: list[Stop] = field(default_factory=list)
    convex: dict[str, int] = field(default_factory=dict)

    @property
    def graph(self) -> ModelGraph:
        return self.analysis.graph

    def shape(self, name: str) -> Shape | None:
        return self.resolution.shapes.get(name)

    def tell(self, name: str, found: Range | None) -> None:
        """Keeps what is known of a value, whatever sizes dynamic dimensions have."""
        shape = self.shape(name)
        if found is None or shape != found.shape or 0 in shape:
            return
        if self.other is not None:
            other = self.other.get(name)
            if other is None or len(other) != len(shape):
                found = found.whole
            else:
                found = collapsed(found, [at for at, size in enumerate(shape) if other[at] != size])
        if not found.integers:
            low, high = found.low - ROUNDING * _size(found.low), found.high + ROUNDING * _size(found.high)
            found = replace(found, low=low, high=high)
        if found.is_known:
            self.known[name] = found

    def is_fixed(self, name: str, axes: Sequence[int]) -> bool:
        """Whether a value has the same sizes along these axes whatever dynamic dimensions are."""
        shape = self.shape(name)
        other = shape if self.other is None else self.other.get(name)
        if shape is None or other is None or len(other) != len(shape):
            return False
        return all(shape[axis] == other[axis] for axis in axes)

    def input(self, op: Op, operand: int = 0) -> Range | None:
        """What is known of an operand that holds real numbers."""
        found = self.any_input(op, operand)
        return None if found is None or found.integers else found

    def any_input(self, op: Op, operand: int = 0) -> Range | None:
        """What is known of an operand; of nobody's neurons if something else reads it too."""
        name = op.inputs[operand] if operand < len(op.inputs) else ""
        found = self.known.get(name)
        if found is None or found.layer is None:
            return found
        heard = len(self.graph.consumers.get(name, ())) + (name in self.graph.outputs)
        return found if heard == 1 and op.inputs.count(name) == 1 else found.anonymous

    def constant(self, op: Op, operand: int) -> Bounds | None:
        """The numbers of a stored operand."""
        ref = self.graph.weights.get(op.inputs[operand]) if operand < len(op.inputs) else None
        if ref is None or not 0 < ref.elements <= MOST_BOUNDS or not is_readable(ref.dtype):
            return None
        return read(ref).astype(np.float64)

    def has(self, op: Op, operand: int) -> bool:
        return operand < len(op.inputs) and bool(op.inputs[operand])

    def operand(self, op: Op, operand: int) -> Range | None:
        """What is known of an operand, computed or stored."""
        found = self.input(op, operand)
        numbers = self.constant(op, operand) if found is None else None
        return found if numbers is None else Range(numbers.shape, numbers, numbers)

    def through(self, op: Op, kind: str, bend: Bend, before: Range | None) -> Range | None:
        """What an activation makes of ``before``."""
        shape = self.shape(op.output)
        if shape is None:
            return None
        if before is None:
            before = between(shape, -inf, inf)
        elif before.layer is not None:
            self.stops.append(Stop(op, kind, bend, before))
        return made(shape, *bend.bounds(before.low, before.high))


def quantized(walk: Walk, op: Op, found: Range | None, scale_at: int, zero_at: int | None) -> Range | None:
    """Numbers as integers of a stored scale and zero point: flat beyond the ends of their type."""
    scale, has_zero = walk.constant(op, scale_at), zero_at is not None and walk.has(op, zero_at)
    ref = walk.graph.weights.get(op.inputs[zero_at]) if has_zero and zero_at is not None else None
    zero = walk.constant(op, zero_at) if ref is not None and zero_at is not None else np.zeros(1)
    dtype = ref.dtype if ref is not None else "" if has_zero or "output_dtype" in op.attributes else "uint8"
    if scale is None or scale.size != 1 or dtype not in ENDS or zero is None or zero.size != 1:
        return None
    return rounded(walk, op, found, float(scale.reshape(-1)[0]), float(zero.reshape(-1)[0]), ENDS[dtype])


def rounded(
    walk: Walk, op: Op, found: Range | None, step: float, offset: float, ends: tuple[float, float]
) -> Range | None:
    """Numbers divided by ``step``, rounded, shifted by ``offset`` and clipped to ``ends``."""
    least, most = ends
    if not step > 0:
        return None
    bend = Bend(
        lambda x: np.clip(np.rint(x / step) + offset, least, most),
        below=(least - offset) * step,
        above=(most - offset) * step,
        least=least,
        most=most,
        rests=offset == least,
    )
    made_of = walk.through(op, op.type, bend, found)
    return None if made_of is None else replace(made_of, integers=True)

"""Which scale and zero point make numbers of a weight's integers, as its op or a DequantizeLinear says."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np
import numpy.typing as npt

from graphneurons.analysis import WeightUse
from graphneurons.graph import Filled, ModelGraph, Op, WeightRef
from graphneurons.health.decoding import Numbers, is_readable
from graphneurons.health.numbering import Integers, Numbering, Run, Side, Tile, UnnumberedError, part_of
from graphneurons.load.reading import read

MOST_SCALES = 1 << 22
_MOST_STEPS = 16


@dataclass(frozen=True, slots=True, eq=False)
class Quantization:
    """``(stored - zero) * scale``. Both have one axis per stored axis, of size one where they do not change along it;
    ``blocks``: how many neighbours along each axis share an entry. ``scale`` is None where nobody tells it."""

    scale: npt.NDArray[np.float32] | None
    zero: npt.NDArray[np.float32] | None
    blocks: tuple[int, ...]

    def tiny(self, is_integer: bool) -> float:
        """The magnitude below which restored numbers are subnormal; 0 where there can be none."""
        if self.scale is None:
            return 0.0
        sizes = np.abs(self.scale[self.scale != 0])
        steps = is_integer and (self.zero is None or bool((self.zero == np.rint(self.zero)).all()))
        return 0.0 if steps and not (sizes < 2.0**-126).any() else 2.0**-126


# Op type -> operand of the weight -> operands of its scale and zero point (None: there is none), and the axis of the
# operand along which a vector of them runs.
_OPERANDS: dict[str, dict[int, tuple[int | None, int | None, int]]] = {
    "QLinearConv": {3: (4, 5, 0)},
    "ConvInteger": {1: (None, 3, 0)},
    "QLinearMatMul": {0: (1, 2, -2), 3: (4, 5, -1)},
    "MatMulInteger": {0: (None, 2, -2), 1: (None, 3, -1)},
    "MatMulIntegerToFloat": {0: (2, 4, -2), 1: (3, 5, -1)},
    "DynamicQuantizeMatMul": {1: (2, 3, -1)},
    "QGemm": {0: (1, 2, 0), 3: (4, 5, 1)},
    "QAttention": {1: (4, 7, -1)},
    "DynamicQuantizeLSTM": {1: (8, 9, 0), 2: (10, 11, 0)},
}


def quantization_of(use: WeightUse, op: Op, graph: ModelGraph) -> Quantization | None:
    """How to restore ``use``'s weight; None where it holds numbers as they are. Raises `UnnumberedError` where it can
    be told that it is quantized, but not how."""
    ref = use.weight
    found = quantizer_of(use, op, graph)
    if found is None:
        return Quantization(None, None, (1,) * len(ref.shape)) if ref.is_integer else None
    scale, zero, order, axis, block = found
    scales = _spread(scale, ref, order, axis, block) if scale is not None else None
    zeros = _spread(zero, ref, order, axis, block) if zero is not None else None
    if zeros is not None and not zeros.any():
        zeros = None
    if scales is None and zeros is None:
        return Quantization(None, None, (1,) * len(ref.shape))
    blocks = [1] * len(ref.shape)
    if block and scales is not None and scales.shape[order[axis]] > 1:
        blocks[order[axis]] = block
    return Quantization(scales, zeros, tuple(blocks))


def quantizer_of(
    use: WeightUse, op: Op, graph: ModelGraph
) -> tuple[WeightRef | None, WeightRef | None, tuple[int, ...], int, int] | None:
    """Scale, zero point, the stored axes in the order in which they meet them, the axis they run along, and block size:
    of the op itself, or of a DequantizeLinear (PyTorch's dequantize) after nothing but Transpose and Identity."""
    waiting = [(use.weight.name, tuple(range(len(use.weight.shape))))]
    for name, order in waiting:
        operands = _OPERANDS.get(op.type, {}).get(use.input)
        if operands is not None and op.inputs[use.input] == name and order:
            scale, zero, along = operands
            if op.type == "QGemm" and bool(op.attributes.get("transB" if use.input else "transA", 0)):
                along = 1 - along
            return _constant(graph, op, scale), _constant(graph, op, zero), order, along % len(order), 0
        for reader in graph.consumers.get(name, ()):
            if len(waiting) >= _MOST_STEPS or reader.inputs[0] != name:
                continue
            if reader.type == "DequantizeLinear":
                axis, block = reader.attributes.get("axis", 1), reader.attributes.get("block_size", 0)
                if not isinstance(axis, int) or not isinstance(block, int):
                    raise UnnumberedError("the attributes of its DequantizeLinear are malformed")
                rank = max(len(order), 1)
                return _constant(graph, reader, 1), _constant(graph, reader, 2), order, axis % rank, block
            if reader.domain == "quantized_decomposed":
                traced = _traced(graph, reader)
                if traced is not None:
                    axis = reader.attributes.get("axis", 0)
                    return *traced, order, (axis if isinstance(axis, int) else 0) % max(len(order), 1), 0
            if reader.type == "Identity":
                waiting.append((reader.output, order))
            if reader.type == "Transpose":
                perm = reader.attributes.get("perm", tuple(reversed(range(len(order)))))
                if isinstance(perm, tuple) and sorted(perm, key=str) == sorted(range(len(order)), key=str):
                    waiting.append((reader.output, tuple(order[int(at)] for at in perm if isinstance(at, int))))
    return None


def _traced(graph: ModelGraph, op: Op) -> tuple[WeightRef | None, WeightRef | None] | None:
    """Scale and zero point of one of PyTorch's dequantizing ops: operands per channel, plain numbers per tensor."""
    if op.type == "dequantize_per_channel":
        return _constant(graph, op, 1), _constant(graph, op, 2)
    scale, zero = op.attributes.get("scale"), op.attributes.get("zero_point", 0)
    if op.type != "dequantize_per_tensor" or not isinstance(scale, int | float) or not isinstance(zero, int):
        return None
    return (
        WeightRef(f"{op.name}.scale", "float32", (), Filled(float(scale))),
        WeightRef(f"{op.name}.zero_point", "int32", (), Filled(zero)),
    )


def _constant(graph: ModelGraph, op: Op, operand: int | None) -> WeightRef | None:
    if operand is None or operand >= len(op.inputs) or not op.inputs[operand]:
        return None
    found = graph.weights.get(op.inputs[operand])
    if found is None:
        raise UnnumberedError("its scale or zero point is computed, not stored")
    return found


def _spread(values: WeightRef, ref: WeightRef, order: Sequence[int], axis: int, block: int) -> npt.NDArray[np.float32]:
    """Scales or zero points with one axis per stored axis."""
    if values.elements > MOST_SCALES or not is_readable(values.dtype):
        raise UnnumberedError(f"its scales or zero points ({values.elements} of type {values.dtype}) are not read")
    numbers: Numbers = read(values).astype(np.float32)
    rank, sizes = len(ref.shape), [ref.shape[at] for at in order]
    if numbers.size == 1:
        return numbers.reshape((1,) * rank)
    allowed = [{1, size} for size in sizes]
    if numbers.ndim == rank:
        shape = list(numbers.shape)
    elif numbers.ndim == 1:
        shape = [size if at == axis else 1 for at, size in enumerate(numbers.shape * rank)]
    else:
        # The scales (directions, rows) of a recurrent weight (directions, inputs, rows).
        shape = [numbers.shape[0], 1, *numbers.shape[1:]]
    if block and numbers.ndim == rank:
        allowed[axis] = {-(-sizes[axis] // block)}
    if len(shape) != rank or any(size not in fitting for size, fitting in zip(shape, allowed, strict=True)):
        raise UnnumberedError(f"its scale of shape {list(numbers.shape)} fits none of its axes")
    inverse = [order.index(at) for at in range(rank)]
    return np.ascontiguousarray(numbers.reshape(shape).transpose(inverse))


class Restorer:
    """Restores tiles of one weight use."""

    def __init__(self, quantization: Quantization, use: WeightUse, numbering: Numbering) -> None:
        starts = [start for start, _ in part_of(use)]
        self._zero = _Spread(quantization.zero, quantization.blocks, starts, numbering)
        self._scale = _Spread(quantization.scale, quantization.blocks, starts, numbering)

    def restore(self, x: Numbers, tile: Tile) -> None:
        """``x`` (outer, upper, lower), in place."""
        self.shift(x, tile)
        self._scale.apply(np.multiply, x, tile)

    def shift(self, x: Numbers, tile: Tile) -> None:
        """Subtracts zero points, in place."""
        self._zero.apply(np.subtract, x, tile)

    def scale_along(self, side: Side) -> Numbers | None:
        """The scale of every position of an inner run, if it changes along that alone."""
        return self._scale.along(side)


class _Spread:
    """Numbers per place of a weight, applied to tiles of it."""

    def __init__(
        self, values: Numbers | None, blocks: Sequence[int], starts: Sequence[int], numbering: Numbering
    ) -> None:
        self._values = np.zeros(0) if values is None else values.reshape(-1)
        runs = (numbering.outer, numbering.upper, numbering.lower)
        if values is None or values.size == 1:
            self._at = [np.zeros(run.size, np.int64) for run in runs] if values is not None else []
            self._block = 1
            return
        places = [[place.size > 1 and bool(place.any()) for place in run.places] for run in runs]
        for axis, block in enumerate(blocks):
            if block > 1 and sum(varies[axis] for varies in places) > 1:
                values = np.repeat(values, block, axis)
                if values.size > MOST_SCALES:
                    raise UnnumberedError("its scales come in blocks across the factors of an axis")
                blocks = [1 if at == axis else size for at, size in enumerate(blocks)]
        self._values = values.reshape(-1)
        steps = [prod(values.shape[axis + 1 :]) * (values.shape[axis] > 1) for axis in range(values.ndim)]
        self._at = [_numbers(run, varies, starts, blocks, steps) for run, varies in zip(runs, places, strict=True)]
        still = [axis for axis in range(values.ndim) if not any(varies[axis] for varies in places)]
        self._at[0] = self._at[0] + sum(starts[axis] // blocks[axis] * steps[axis] for axis in still)
        self._block = _repeats(self._at[2])

    def along(self, side: Side) -> Numbers | None:
        if not self._values.size:
            return None
        inner = self._at[1 if side == "upper" else 2]
        rest = [at for at in self._at if at is not inner]
        if any((at != at[0]).any() for at in rest):
            return None
        found: Numbers = self._values[inner + sum(at[0] for at in rest)]
        return found

    def apply(self, operation: np.ufunc, x: Numbers, tile: Tile) -> None:
        if not self._values.size:
            return
        if self._values.size == 1:
            operation(x, x.dtype.type(self._values[0]), out=x)
            return
        outer, upper, lower = (
            at[slice(*bounds)] for at, bounds in zip(self._at, (tile.outer, tile.upper, tile.lower), strict=True)
        )
        block = self._block if len(lower) == len(self._at[2]) else 1
        lower = lower[::block]
        factors = self._values[outer[:, None, None] + _once(upper)[:, None] + _once(lower)]
        if block > 1 and factors.shape[2] > 1:
            view = x.reshape(*x.shape[:2], -1, block)
            operation(view, factors[..., None], out=view)
            return
        operation(x, factors, out=x)


def _numbers(
    run: Run, varies: Sequence[bool], starts: Sequence[int], blocks: Sequence[int], steps: Sequence[int]
) -> Integers:
    found = np.zeros(run.size, np.int64)
    for axis, place in enumerate(run.places):
        if varies[axis]:
            found += (starts[axis] * _first(run, axis) + place) // blocks[axis] * steps[axis]
    return found


def _first(run: Run, axis: int) -> int:
    """1 in the run that holds the innermost factor of the axis: it counts where the part starts."""
    place: npt.NDArray[Any] = run.places[axis]
    return int(place.size > 1 and int(place[place > 0].min(initial=np.iinfo(np.int64).max)) == 1)


def _once(at: Integers) -> Integers:
    return at[:1] if at.size and (at == at[0]).all() else at


def _repeats(at: Integers) -> int:
    """The length of the equal runs that ``at`` falls into (1: none)."""
    changes = np.flatnonzero(np.diff(at))
    if not changes.size:
        return 1
    length = int(changes[0]) + 1
    if at.size % length or not np.array_equal(at, np.repeat(at[::length], length)):
        return 1
    return length

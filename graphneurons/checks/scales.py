"""Which stored scale and zero point belong to which stored weight, and along which of its axes they run."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from graphneurons.analysis import Analysis, Layer, WeightUse
from graphneurons.axes.layouts import LAYOUTS
from graphneurons.graph import Op, WeightRef
from graphneurons.health.numbering import UnnumberedError
from graphneurons.health.quantizing import quantizer_of
from graphneurons.load.reading import read
from graphneurons.naming import unique_ids

MOST_READ = 1 << 22

# Op type -> operands that are scales, of weights and of activations alike.
SCALES: Mapping[str, tuple[int, ...]] = {
    "QuantizeLinear": (1,),
    "DequantizeLinear": (1,),
    "QLinearConv": (1, 4, 6),
    "QLinearMatMul": (1, 4, 6),
    "MatMulIntegerToFloat": (2, 3),
    "DynamicQuantizeMatMul": (2,),
    "QGemm": (1, 4, 7),
    "QAttention": (3, 4),
    "DynamicQuantizeLSTM": (8, 10),
    "QLinearAdd": (1, 4, 6),
    "QLinearMul": (1, 4, 6),
    "QLinearSigmoid": (1, 3),
    "QLinearLeakyRelu": (1, 3),
    "QLinearSoftmax": (1, 3),
    "QLinearGlobalAveragePool": (1, 3),
    "QLinearAveragePool": (1, 3),
    "MatMulNBits": (2,),
    "MatMulBnb4": (2,),
    "GatherBlockQuantized": (2,),
    "QMoE": (3, 6, 9),
    "quantize_per_channel": (1,),
    "dequantize_per_channel": (1,),
}
_BLOCKED = frozenset({"MatMulNBits", "MatMulBnb4", "GatherBlockQuantized"})
"""Ops whose scales come one per block."""


@dataclass(frozen=True, slots=True, eq=False)
class Quantized:
    """A stored weight of a layer with its quantization. ``axis``: of the stored tensor, along which a vector of scales
    runs; ``block``: how many neighbours share one (0: all)."""

    layer: Layer
    use: WeightUse
    scale: WeightRef | None
    zero: WeightRef | None
    axis: int
    block: int

    @property
    def per_axis(self) -> bool:
        """Whether there is one scale per index of the axis."""
        return self.scale is not None and self.block == 0 and self.scale.elements > 1 and len(self.scale.shape) == 1


@dataclass(frozen=True, slots=True, eq=False)
class Scale:
    """``layer``: whose weight or output it scales, if that is known. ``blocked``: one per block of synapses; those
    may be negative, as the sign that gains the most range is chosen, and zero where a block is."""

    layer: str | None
    name: str
    values: npt.NDArray[np.float64]
    blocked: bool


def quantized_weights(analysis: Analysis) -> Iterator[Quantized]:
    """The weights of layers that have a scale, each stored tensor once."""
    ops = {op.name: op for op in analysis.graph.ops}
    seen: set[str] = set()
    for layer in analysis.layers:
        for use in layer.weights:
            if use.weight.name in seen:
                continue
            found = _told(layer, use, ops[layer.op.name], analysis)
            if found is not None:
                seen.add(use.weight.name)
                yield found


def _told(layer: Layer, use: WeightUse, op: Op, analysis: Analysis) -> Quantized | None:
    try:
        found = quantizer_of(use, op, analysis.graph)
    except UnnumberedError:
        return None
    if found is None:
        return None
    scale, zero, order, axis, block = found
    if scale is None:
        scale = _scale_behind(op, analysis)
    return Quantized(layer, use, scale, zero, order[axis] if order else 0, block)


_FARTHEST = 6


def _scale_behind(op: Op, analysis: Analysis) -> WeightRef | None:
    """The stored scale that what ConvInteger or MatMulInteger sums is multiplied by, alone or with the activation's."""
    if op.type not in ("ConvInteger", "MatMulInteger"):
        return None
    graph, name = analysis.graph, op.output
    for _ in range(_FARTHEST):
        readers = graph.consumers.get(name, ())
        if len(readers) != 1:
            return None
        reader = readers[0]
        if reader.type == "Mul" and len(reader.inputs) == 2:
            other = reader.inputs[1 - reader.inputs.index(name)]
            maker = graph.producer.get(other)
            names = [other, *(maker.inputs if maker is not None and maker.type == "Mul" else ())]
            found = [graph.weights[each] for each in names if each in graph.weights]
            return found[0] if len(found) == 1 and found[0].dtype.startswith(("float", "bfloat")) else None
        if reader.type not in ("Cast", "Identity", "Reshape"):
            return None
        name = reader.output
    return None


def all_scales(analysis: Analysis, quantized: Sequence[Quantized]) -> Iterator[Scale]:
    """Every stored scale, of weights and of activations, each tensor once."""
    layers = {each.scale.name: each.layer.id for each in quantized if each.scale is not None}
    ids = {layer.id for layer in analysis.layers}
    for modulator in analysis.modulators:
        if modulator.kind == "quantization" and modulator.of in ids:
            for use in modulator.weights:
                layers.setdefault(use.weight.name, str(modulator.of))
    made = {layer.op.name: layer.id for layer in analysis.layers}
    seen: set[str] = set()
    for op in analysis.graph.ops:
        for operand in SCALES.get(op.type, ()):
            ref = analysis.graph.weights.get(op.inputs[operand]) if operand < len(op.inputs) else None
            if ref is None or ref.name in seen or ref.elements > MOST_READ or not ref.dtype.startswith(("float", "bf")):
                continue
            seen.add(ref.name)
            blocked = op.type in _BLOCKED or bool(op.attributes.get("block_size", 0))
            values = read(ref).astype(np.float64).reshape(-1)
            yield Scale(layers.get(ref.name, made.get(op.name)), ref.name, values, blocked)
    for each in quantized:
        ref = each.scale
        if ref is not None and ref.name not in seen and ref.elements <= MOST_READ:
            seen.add(ref.name)
            yield Scale(each.layer.id, ref.name, read(ref).astype(np.float64).reshape(-1), each.block > 0)


@dataclass(frozen=True, slots=True, eq=False)
class Scaled:
    """A stored tensor with the scale and zero point an op applies to it, whether they fit or not. ``is_neurons``: the
    op takes ``axis`` for its neurons."""

    layer: str | None
    weight: WeightRef
    scale: WeightRef | None
    zero: WeightRef | None
    axis: int
    is_neurons: bool


# Op type -> operands of the weight, its scale and its zero point, and the axis of the neurons.
_APPLIED: Mapping[str, tuple[int, int, int, int]] = {"QLinearConv": (3, 4, 5, 0), "QLinearMatMul": (3, 4, 5, -1)}


def scaled_tensors(analysis: Analysis) -> Iterator[Scaled]:
    """Stored weights with one scale per index of an axis, as DequantizeLinear and the QLinear ops meet them."""
    graph = analysis.graph
    layers = {layer.op.name: layer.id for layer in analysis.layers}
    for op in graph.ops:
        blocked = bool(op.attributes.get("block_size", 0))
        if op.type == "DequantizeLinear" and not blocked:
            axis = op.attributes.get("axis", 1)
            places = (0, 1, 2, axis if isinstance(axis, int) else 1)
        elif op.type in _APPLIED:
            places = _APPLIED[op.type]
        else:
            continue
        weight, scale, zero = (_stored(analysis, op, at) for at in places[:3])
        if weight is None or not weight.shape or not -len(weight.shape) <= places[3] < len(weight.shape):
            continue
        reader = _reader(op, analysis) if op.type == "DequantizeLinear" else op
        name = layers.get(reader.name) or unique_ids([(reader, weight.name)])[0]
        yield Scaled(name, weight, scale, zero, places[3] % len(weight.shape), op.type in _APPLIED)


def _reader(op: Op, analysis: Analysis) -> Op:
    """The op that takes what a DequantizeLinear makes for its weight, behind ops that only move it."""
    reader = next(iter(analysis.graph.consumers.get(op.output, ())), op)
    for _ in range(_FARTHEST):
        readers = analysis.graph.consumers.get(reader.output, ())
        if not readers or (reader.type not in LAYOUTS and reader.type not in ("Identity", "Cast")):
            break
        reader = readers[0]
    return reader


def _stored(analysis: Analysis, op: Op, operand: int) -> WeightRef | None:
    return analysis.graph.weights.get(op.inputs[operand]) if operand < len(op.inputs) else None

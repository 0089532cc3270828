"""Normalisations that could be folded into the weights they act on alone: exporters do so, or not."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from graphneurons.analysis import Analysis, Layer, Modulator, WeightUse
from graphneurons.errors import DataError
from graphneurons.graph import ModelGraph, Op, WeightRef
from graphneurons.health.decoding import is_readable
from graphneurons.load.reading import read

Vector = npt.NDArray[np.float64]

_NORMALISING = frozenset({
    "BatchNormalization", "batch_norm", "cudnn_batch_norm", "native_batch_norm", "_native_batch_norm_legit_no_training",
    "BatchNorm1d", "BatchNorm2d", "BatchNorm3d",
})  # fmt: skip
_SUMS = frozenset({"Add", "add"})
_EPSILON = 1e-5
_MOST_STEPS = 8


@dataclass(frozen=True, slots=True, eq=False)
class Folded:
    """What a normalisation makes of a layer: its neurons times ``scale``, and ``bias`` instead of its own.

    ``modulators``: (id, position) of the stored vectors that are told by it.
    """

    scale: Vector
    bias: Vector
    modulators: frozenset[tuple[str, int]]
    dtype: str
    name: str


def folded(analysis: Analysis) -> Mapping[str, Folded]:
    """Layers, by id, whose output goes to one batch normalisation and nowhere else, but for a bias before it."""
    by_op: dict[str, list[Modulator]] = {}
    for modulator in analysis.modulators:
        by_op.setdefault(modulator.op.name, []).append(modulator)
    found: dict[str, Folded] = {}
    for layer in analysis.layers:
        made = _fold(layer, analysis, by_op) if layer.kind != "recurrent" else None
        if made is not None:
            found[layer.id] = made
    return found


def _fold(layer: Layer, analysis: Analysis, by_op: Mapping[str, list[Modulator]]) -> Folded | None:
    graph, size = analysis.graph, layer.neurons
    biases = [each for each in by_op.get(layer.op.name, ()) if each.kind == "bias"]
    value = layer.op.output
    op = _reader(analysis, value)
    if op is not None and op.type in _SUMS:
        adding = [each for each in by_op.get(op.name, ()) if each.kind == "bias"]
        if len(adding) != 1 or len(adding[0].weights) != 1:
            return None
        biases += adding
        value = op.output
        op = _reader(analysis, value)
    if op is None or op.type not in _NORMALISING or len(op.inputs) < 5 or op.inputs[0] != value:
        return None
    if op.attributes.get("training_mode") or op.attributes.get("training"):
        return None
    vectors: list[Vector] = []
    for at, otherwise in ((1, 1.0), (2, 0.0), (3, None), (4, None)):
        ref = _stored(graph, op.inputs[at])
        if ref is None and otherwise is not None and not op.inputs[at]:
            vectors.append(np.full(size, otherwise))
            continue
        numbers = None if ref is None else _numbers(ref, size)
        if numbers is None:
            return None
        vectors.append(numbers)
    total = np.zeros(size)
    for each in biases:
        for use in each.weights:
            numbers = _numbers(use.weight, size) if use.part is None else None
            if numbers is None:
                return None
            total += numbers
    gain, shift, mean, variance = vectors
    epsilon = op.attributes.get("epsilon", op.attributes.get("eps", _EPSILON))
    with np.errstate(all="ignore"):
        scale = gain / np.sqrt(variance + (epsilon if isinstance(epsilon, float) else _EPSILON))
        bias = (total - mean) * scale + shift
    used = [each for each in by_op.get(op.name, ()) if each.kind == "normalisation"]
    told = frozenset((each.id, at) for each in (*used, *biases) for at in range(len(each.weights)))
    names = [use.weight for each in used for use in each.weights]
    return Folded(scale, bias, told, names[0].dtype if names else "float32", names[0].name if names else op.inputs[1])


def _numbers(ref: WeightRef, size: int) -> Vector | None:
    """``size`` numbers that are stored; None where there are more or fewer, or they cannot be read."""
    if ref.elements != size or not is_readable(ref.dtype):
        return None
    try:
        return read(ref).astype(np.float64).reshape(-1)
    except DataError:
        # Whoever needs the bytes of every weight asks for these too, and says what is wrong.
        return None


def _stored(graph: ModelGraph, name: str) -> WeightRef | None:
    """The stored tensor a value is, handed on as it is or not."""
    for _ in range(_MOST_STEPS):
        ref = graph.weights.get(name)
        op = graph.producer.get(name)
        if ref is not None or op is None or op.type != "Identity":
            return ref
        name = op.inputs[0]
    return None


def _reader(analysis: Analysis, value: str) -> Op | None:
    """The only op that reads a value which is no output of the model."""
    readers = analysis.graph.consumers.get(value, ())
    return readers[0] if len(readers) == 1 and value not in analysis.graph.outputs else None


def gain_of(use: WeightUse, graph: ModelGraph) -> tuple[Vector, str] | None:
    """Gains of a weight normalisation (the stored rows are divided by their norms and multiplied with these), and what
    they are called; None where ``use`` goes through none, or one that is not along its neurons."""
    name = use.weight.name
    roles = [axis.role for axis in use.axes]
    if use.part is not None or not roles or roles[0] not in ("neuron", "shared") or {*roles[1:]} - {"synapse"}:
        return None
    for op in graph.consumers.get(name, ()):
        found = None
        if op.type in _WEIGHT_NORMALISING and op.inputs[0] == name and op.attributes.get("dim", 0) == 0:
            found = op.inputs[1]
        elif op.type == "ReduceL2" and _is_per_row(op, use, graph):
            found = _multiplied(op.output, name, graph)
        ref = None if found is None else graph.weights.get(found)
        numbers = None if ref is None else _numbers(ref, use.axes[0].size)
        if ref is not None and numbers is not None and ref.shape[:1] == numbers.shape:
            return numbers, ref.name
    return None


def _is_per_row(op: Op, use: WeightUse, graph: ModelGraph) -> bool:
    """Whether a norm is taken of every neuron, and of nothing less."""
    shape = tuple([use.axes[0].size] + [1] * (len(use.axes) - 1))
    declared = graph.declared.get(op.output)
    along = op.attributes.get("axes")
    if declared is not None and declared.shape is not None:
        return declared.shape == shape
    return op.attributes.get("keepdims", 1) == 1 and along == tuple(range(1, len(use.axes)))


def _multiplied(norm: str, weight: str, graph: ModelGraph) -> str | None:
    """What is g in ``weight / norm * g`` or ``weight * (g / norm)``."""
    for op in graph.consumers.get(norm, ()):
        if op.type != "Div" or op.inputs[1] != norm:
            continue
        for reader in graph.consumers.get(op.output, ()):
            if reader.type == "Mul":
                other = next((each for each in reader.inputs if each != op.output), None)
                if op.inputs[0] == weight:
                    return other
                if other == weight:
                    return op.inputs[0]
    return None


_WEIGHT_NORMALISING = frozenset({"_weight_norm", "_weight_norm_interface"})

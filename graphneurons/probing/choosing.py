"""Which layer is meant, and which value of the model holds what its neurons put out, before or after activation."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from graphneurons.activations import activated
from graphneurons.analysis import Analysis, Layer
from graphneurons.axes.resolving import Resolution
from graphneurons.axes.steps import Layout
from graphneurons.errors import UsageError
from graphneurons.graph import ModelGraph, Op
from graphneurons.probing.placing import neurons_at

_FARTHEST = 12
_STEPS_OVER = frozenset({"Cast", "CastLike", "Identity", "Dropout", "QuantizeLinear", "DequantizeLinear"})
_JOINT = frozenset({"Softmax", "LogSoftmax", "Hardmax"})
"""Of all neurons at once, so that it is no one's output."""


@dataclass(frozen=True, slots=True)
class Chosen:
    """``value``: the name of the tensor to read; ``after``: the activation that made it, if one did."""

    value: str
    after: str | None


def choose(analysis: Analysis, layer: Layer, *, after: bool) -> Chosen:
    """The value that holds the neurons of ``layer``.

    A neuron is the weights that together put out one scalar, its bias a modulator of that scalar. So *before* the
    activation is the sum with its bias, also where the bias is added by an op of its own; a normalisation in between is
    none of it. *After* is what the activation leaves, through normalisation, scale and layout, as `activation_of` finds
    it; where there is none, where it acts on a part of the neurons only (the gate of a gated MLP made by one layer), or
    on all at once (softmax), or where several neurons meet in what it leaves, after is before.

    Integers that a sum of quantized numbers gives are read where they have been scaled back. After is also after an
    output is quantized, for there lies a ReLU that quantization has taken in.

    Raises `UsageError` where ``before`` is asked for and the op keeps it inside (LSTM, fused activations).
    """
    resolution = analysis.resolution
    if resolution is None:
        raise UsageError("this analysis was not made by analyze(); analyze the model again", file=analysis.model.path)
    graph = analysis.graph
    op = _scaled_back(graph, graph.producer[layer.op.output])
    found = activated(op, resolution)
    if found is None or found.part or found.name in _JOINT:
        value = _with_bias(analysis, resolution, layer, op)
        return Chosen(_quantized(graph, value) if after else value, None)
    inside = found.value == op.output
    if after:
        left = Chosen(_quantized(graph, found.value if inside else _halved(graph, found.value)), found.name)
        if inside or _is_told(analysis, resolution, layer, left.value):
            return left
        value = _with_bias(analysis, resolution, layer, op)
        return Chosen(value, None) if _is_told(analysis, resolution, layer, value) else left
    if inside:
        raise UsageError(
            f"{op.qualified} applies {found.name} itself, so that only what comes after can be read; "
            "leave out --before",
            file=analysis.model.path,
            where=layer.id,
        )
    return Chosen(_with_bias(analysis, resolution, layer, op), None)


def _is_told(analysis: Analysis, resolution: Resolution, layer: Layer, value: str) -> bool:
    """Whether it can be told which neuron stands where in ``value``."""
    try:
        neurons_at(resolution, analysis, layer, value)
    except UsageError:
        return False
    return True


def _scaled_back(graph: ModelGraph, op: Op) -> Op:
    """``op``; or the product that makes real numbers of the integers it puts out."""
    steps = list(_followers(graph, op)) if op.type in ("MatMulInteger", "ConvInteger") else []
    if len(steps) > 1 and steps[0].type == "Cast" and steps[1].type == "Mul":
        return steps[1]
    return op


def _quantized(graph: ModelGraph, value: str) -> str:
    """``value``, or what is left of it where it is quantized at once and made a real number again."""
    readers = graph.consumers.get(value, ())
    if len(readers) == 1 and readers[0].type == "QuantizeLinear" and readers[0].inputs[0] == value:
        again = graph.consumers.get(readers[0].output, ())
        if again and all(reader.type == "DequantizeLinear" for reader in again):
            return again[0].output
    return value


def _with_bias(analysis: Analysis, resolution: Resolution, layer: Layer, op: Op) -> str:
    """What ``op`` puts out; or the sum of it and the bias, where the next op that computes adds one."""
    adding = {item.op.name for item in analysis.modulators if item.kind == "bias" and item.of == layer.id} - {op.name}
    for step in _followers(analysis.graph, op) if adding else ():
        if step.name in adding:
            return step.output
        if step.type not in _STEPS_OVER and not isinstance(resolution.steps[step.name], Layout):
            break
    return op.output


def _followers(graph: ModelGraph, op: Op) -> Iterator[Op]:
    """The ops after ``op``, as long as each is the only one that reads what the one before puts out."""
    for _ in range(_FARTHEST):
        readers = [reader for reader in graph.consumers.get(op.output, ()) if reader.type != "Shape"]
        if len(readers) != 1:
            return
        op = readers[0]
        yield op


def _halved(graph: ModelGraph, value: str) -> str:
    """``value``, or what follows where that is one half of it: the last step of a GELU that is spelled out."""
    from graphneurons.load.reading import read

    readers = graph.consumers.get(value, ())
    maker = graph.producer.get(value)
    if len(readers) != 1 or maker is None or maker.type not in ("Mul", "mul") or readers[0].type not in ("Mul", "mul"):
        return value
    other = [name for name in readers[0].inputs if name and name != value]
    ref = graph.weights.get(other[0]) if len(other) == 1 else None
    if ref is None or ref.elements != 1 or float(read(ref).reshape(-1)[0]) != 0.5:
        return value
    return readers[0].output

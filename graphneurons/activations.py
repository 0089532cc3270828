"""Which activation modifies the output of a layer: read off the ops that follow, spelled-out ones included."""

from __future__ import annotations

from collections.abc import Collection

from graphneurons.graph import ModelGraph, Op

_NAMED = {
    "BiasGelu": "Gelu",
    "FastGelu": "Gelu",
    "GemmFastGelu": "Gelu",
    "BiasSplitGelu": "Gelu",
    "QuickGelu": "QuickGelu",
    "QLinearSigmoid": "Sigmoid",
    "QLinearLeakyRelu": "LeakyRelu",
    "QLinearSoftmax": "Softmax",
    "Swish": "SiLU",
    **{
        name: name
        for name in [
            "Relu",
            "LeakyRelu",
            "PRelu",
            "Elu",
            "Celu",
            "Selu",
            "ThresholdedRelu",
            "Sigmoid",
            "HardSigmoid",
            "HardSwish",
            "Tanh",
            "Softplus",
            "Softsign",
            "Softmax",
            "LogSoftmax",
            "Hardmax",
            "Gelu",
            "Mish",
            "Erf",
        ]
    },
}
_CLIP = "Clip"
_TRANSPARENT = frozenset(
    [
        "Reshape",
        "Transpose",
        "Squeeze",
        "Unsqueeze",
        "Flatten",
        "Identity",
        "Cast",
        "CastLike",
        "Dropout",
        "QuantizeLinear",
        "DequantizeLinear",
        "BatchNormalization",
        "DynamicQuantizeLinear",
    ]
)
_SPLITS = frozenset({"Split", "split_with_sizes", "chunk", "unbind"})
_ARITHMETIC = frozenset({"Add", "Sub", "Mul", "Div"})
_FARTHEST = 12


def activation_of(op: Op, graph: ModelGraph, constants: Collection[str]) -> str | None:
    """The name of the activation on the output of ``op``, or None where there is none or several paths leave it.

    Spelled-out forms are told by their shape: ``x * Sigmoid(x)`` is SiLU, ``x * (1 + Erf(x / sqrt 2)) / 2`` is Gelu.
    """
    own = op.attributes.get("activation")
    if isinstance(own, str) and own:
        return own
    listed = op.attributes.get("activations")
    if isinstance(listed, tuple) and listed:
        return ", ".join(dict.fromkeys(str(name) for name in listed))
    if op.type in _RECURRENT:
        return _RECURRENT[op.type]
    if op.type in _NAMED:
        return _NAMED[op.type]
    values, found = _after(op.output, graph, constants)
    if found is None and values:
        # A gate and what it gates, made by one layer and split apart.
        found = next((name for value in values if (name := _after(value, graph, constants)[1])), None)
    return found


def _after(value: str, graph: ModelGraph, constants: Collection[str]) -> tuple[tuple[str, ...], str | None]:
    """The activation on ``value``; or the values it is split into before any."""
    for _ in range(_FARTHEST):
        readers = graph.consumers.get(value, ())
        if not readers or value in graph.outputs:
            return (), None
        if len(readers) == 1 and readers[0].type in _SPLITS and len(readers[0].outputs) > 1:
            return readers[0].outputs, None
        if len(readers) > 1 and all(reader.type == "Slice" for reader in readers):
            return tuple(reader.output for reader in readers), None
        if len(readers) > 1:
            return (), _spelled_out(value, readers, graph, constants)
        reader = readers[0]
        if reader.type in _NAMED:
            return (), _NAMED[reader.type]
        if reader.type == _CLIP:
            return (), "Clip"
        if not _passes(reader, value, constants):
            return (), None
        value = reader.output
    return (), None


_RECURRENT = {"LSTM": "Sigmoid, Tanh", "GRU": "Sigmoid, Tanh", "RNN": "Tanh", "DynamicQuantizeLSTM": "Sigmoid, Tanh"}


def _passes(op: Op, value: str, constants: Collection[str]) -> bool:
    """Whether ``op`` leaves its operand what it is, up to a constant scale, shift or layout."""
    if op.type in _TRANSPARENT:
        return op.inputs[0] == value
    return op.type in _ARITHMETIC and all(name in constants for name in op.inputs if name and name != value)


def _spelled_out(value: str, readers: tuple[Op, ...], graph: ModelGraph, constants: Collection[str]) -> str | None:
    """The activation written as several ops that all start at ``value`` and end in a product with it."""
    for reader in readers:
        seen = [reader.type]
        step = reader
        for _ in range(_FARTHEST):
            followers = graph.consumers.get(step.output, ())
            if len(followers) != 1:
                break
            step = followers[0]
            seen.append(step.type)
            if step.type == "Mul" and not all(name in constants for name in step.inputs if name != seen[-2]):
                found = _gate(seen)
                if found and _leads_back(step, value, graph):
                    return found
    return None


def _gate(seen: list[str]) -> str | None:
    if "Erf" in seen:
        return "Gelu"
    if "Softplus" in seen and "Tanh" in seen:
        return "Mish"
    if "Tanh" in seen:
        return "Gelu"
    if "Sigmoid" in seen:
        return "SiLU" if seen[0] == "Sigmoid" else "QuickGelu"
    return "HardSwish" if "HardSigmoid" in seen else None


def _leads_back(op: Op, value: str, graph: ModelGraph) -> bool:
    """Whether one operand of ``op`` is ``value`` itself, or ``value`` scaled."""
    for name in op.inputs:
        producer = graph.producer.get(name)
        if name == value or (producer is not None and producer.type in ("Mul", "Div") and value in producer.inputs):
            return True
    return False

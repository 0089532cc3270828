"""Which activation modifies the output of a layer: read off the ops that follow, spelled-out ones included."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

from graphneurons.axes.resolving import Resolution
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
_MEASURES = frozenset({"Shape", "Size"})
_SPLITS = frozenset({"Split", "split_with_sizes", "chunk", "unbind"})
_ARITHMETIC = frozenset({"Add", "Sub", "Mul", "Div"})
_SPELLED = frozenset(
    [
        *_ARITHMETIC,
        "Cast",
        "Clip",
        "Erf",
        "Exp",
        "HardSigmoid",
        "Log",
        "Neg",
        "Pow",
        "Reciprocal",
        "Sigmoid",
        "Softplus",
        "Sqrt",
        "Tanh",
    ]
)
"""What activations are spelled out with: each value by itself, so that no gate of other neurons is taken for one."""
_FARTHEST = 12
_ATEN = {
    **dict.fromkeys(["_softmax", "_safe_softmax", "softmax"], "Softmax"),
    **dict.fromkeys(["_log_softmax", "log_softmax"], "LogSoftmax"),
    **dict.fromkeys(["clamp", "clamp_max", "clamp_min", "hardtanh", "relu6"], "Clip"),
    **dict.fromkeys(["_unsafe_view", "reshape", "unflatten", "view", "view_as", "reshape_as"], "Reshape"),
    **dict.fromkeys(["permute", "t", "transpose", "swapaxes", "movedim"], "Transpose"),
    **dict.fromkeys(["alias", "clone", "contiguous", "detach"], "Identity"),
    **dict.fromkeys(["_to_copy", "to", "type_as"], "Cast"),
    **dict.fromkeys(["dropout", "native_dropout", "feature_dropout"], "Dropout"),
    **dict.fromkeys(["batch_norm", "native_batch_norm", "_native_batch_norm_legit_no_training"], "BatchNormalization"),
    **dict.fromkeys(["_prelu_kernel", "prelu"], "PRelu"),
    "add": "Add", "celu": "Celu", "div": "Div", "elu": "Elu", "erf": "Erf", "flatten": "Flatten", "gelu": "Gelu",
    "hardsigmoid": "HardSigmoid", "hardswish": "HardSwish", "leaky_relu": "LeakyRelu", "mish": "Mish", "mul": "Mul",
    "relu": "Relu", "selu": "Selu", "sigmoid": "Sigmoid", "silu": "Swish", "slice": "Slice", "softplus": "Softplus",
    "split": "Split", "squeeze": "Squeeze", "sub": "Sub", "tanh": "Tanh", "unsqueeze": "Unsqueeze",
    "lstm": "LSTM", "gru": "GRU", "lstm_cell": "LSTM", "gru_cell": "GRU", "rnn_tanh": "RNN", "rnn_tanh_cell": "RNN",
    "rnn_relu": "Relu", "rnn_relu_cell": "Relu",
}  # fmt: skip
_MODULES = {**{f"BatchNorm{d}d": "BatchNormalization" for d in (1, 2, 3)}, "PReLU": "PRelu"}


def kind_of(op: Op) -> str:
    """The type of ``op`` as ONNX names it, for PyTorch's functions and modules too."""
    if op.domain == "aten":
        return _ATEN.get(op.type, op.type)
    return _MODULES.get(op.type, op.type) if op.domain == "torch.nn" else op.type


@dataclass(frozen=True, slots=True)
class Activated:
    """An activation: its ``name``, and the ``value`` it leaves. ``part``: it acts on a part of the neurons only."""

    name: str
    value: str
    part: bool = False


def activation_of(op: Op, resolution: Resolution) -> str | None:
    """The name of the activation on the output of ``op``, or None where there is none or several paths leave it.

    Spelled-out forms are told by their shape: ``x * Sigmoid(x)`` is SiLU, ``x * (1 + Erf(x / sqrt 2)) / 2`` is Gelu.
    """
    found = activated(op, resolution)
    return None if found is None else found.name


def activated(op: Op, resolution: Resolution) -> Activated | None:
    """The activation on the output of ``op`` with the value it leaves: that of ``op`` itself where it is fused. What
    follows a spelled-out form (a last factor of one half) is not counted in."""
    own = op.attributes.get("activation")
    if isinstance(own, str) and own:
        return Activated(own, op.output)
    listed = op.attributes.get("activations")
    if isinstance(listed, tuple) and listed:
        return Activated(", ".join(dict.fromkeys(str(name) for name in listed)), op.output)
    inside = _RECURRENT.get(kind_of(op)) or _NAMED.get(kind_of(op))
    if inside is not None:
        return Activated(inside, op.output)
    values, found = _after(op.output, resolution)
    if found is None and values:
        # A gate and what it gates, made by one layer and split apart.
        parts = (_after(value, resolution)[1] for value in values)
        found = next((replace(part, part=True) for part in parts if part is not None), None)
    return found


def _after(value: str, resolution: Resolution) -> tuple[tuple[str, ...], Activated | None]:
    """The activation on ``value``; or the values it is split into before any."""
    consumers, outputs = resolution.readers, resolution.graph.outputs
    for _ in range(_FARTHEST):
        readers = consumers.get(value, ())
        if len(readers) > 1 or (readers and readers[0].type in _MEASURES):
            readers = [reader for reader in readers if reader.type not in _MEASURES]
        if not readers or value in outputs:
            return (), None
        if len(readers) > 1:
            if all(kind_of(reader) == "Slice" for reader in readers):
                return tuple(reader.output for reader in readers), None
            return (), _spelled_out(value, readers, resolution)
        reader = readers[0]
        kind = kind_of(reader)
        if kind in _TRANSPARENT or kind in _ARITHMETIC:
            if not _passes(reader, kind, value, resolution.constants):
                return (), None
            value = reader.output
        elif kind in _NAMED:
            return (), Activated(_NAMED[kind], reader.output)
        elif kind in _SPLITS and len(reader.outputs) > 1:
            return reader.outputs, None
        else:
            return (), Activated("Clip", reader.output) if kind == _CLIP else None
    return (), None


_RECURRENT = {"LSTM": "Sigmoid, Tanh", "GRU": "Sigmoid, Tanh", "RNN": "Tanh", "DynamicQuantizeLSTM": "Sigmoid, Tanh"}


def _passes(op: Op, kind: str, value: str, constants: Collection[str]) -> bool:
    """Whether ``op``, a layout or arithmetic, leaves its operand what it is, up to a constant scale or shift."""
    if kind in _TRANSPARENT:
        return op.inputs[0] == value
    for name in op.inputs:  # noqa: SIM110 - quicker
        if name != value and name and name not in constants:
            return False
    return True


def _spelled_out(value: str, readers: Sequence[Op], resolution: Resolution) -> Activated | None:
    """The activation written as several ops that all start at ``value`` and end in a product with it."""
    constants = resolution.constants
    for reader in readers:
        if kind_of(reader) not in _SPELLED:
            continue
        seen = [kind_of(reader)]
        step = reader
        for _ in range(_FARTHEST):
            followers = resolution.readers.get(step.output, ())
            if len(followers) != 1:
                break
            step = followers[0]
            if kind_of(step) not in _SPELLED:
                break
            seen.append(kind_of(step))
            if kind_of(step) == "Mul" and not all(name in constants for name in step.inputs if name != seen[-2]):
                found = _gate(seen)
                if found and _leads_back(step, value, resolution.graph):
                    return Activated(found, step.output)
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
        if name == value or (producer is not None and kind_of(producer) in ("Mul", "Div") and value in producer.inputs):
            return True
    return False

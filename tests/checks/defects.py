"""Defects to inject: each changes one thing in a healthy model and says which rule has to find it, and where."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper

from tests.checks.models import Random, attribute, node, replace, weight


@dataclass(frozen=True)
class Expected:
    """``layer`` and ``neurons`` of the finding; None where the rule names none."""

    code: str
    layer: str | None = None
    neurons: tuple[int, ...] | None = None
    policy: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Defect:
    """``inject`` changes the model in place and returns what has to be found. ``runs``: onnxruntime still loads it."""

    name: str
    model: str
    inject: Callable[[onnx.ModelProto, Random], Expected]


# Weight, layer, axis of its neurons, by model.
PLACES = {
    "mlp": ("fc1.weight", "fc1", 0),
    "matmul_mlp": ("fc1.weight", "fc1", 1),
    "cnn": ("body.weight", "body", 0),
    "head": ("proj.weight", "proj", 1),
}


def _neurons(made: onnx.ModelProto, random: Random, kind: str, change: Callable[..., None], code: str) -> Expected:
    name, layer, axis = PLACES[kind]
    values = weight(made, name)
    rows = np.moveaxis(values, axis, 0)
    # Copies are only copies among neurons that read the same: the two halves of `body` do not.
    half = rows.shape[0] // 2
    chosen = tuple(sorted(int(each) for each in random.choice(half, 2, replace=False)))
    change(rows, chosen, random)
    replace(made, name, values)
    return Expected(code, layer, chosen)


def _zero(rows: Any, chosen: tuple[int, ...], random: Random) -> None:
    rows[list(chosen)] = 0


def _copy(rows: Any, chosen: tuple[int, ...], random: Random) -> None:
    rows[chosen[1]] = rows[chosen[0]]


def _multiply(rows: Any, chosen: tuple[int, ...], random: Random) -> None:
    rows[chosen[1]] = rows[chosen[0]] * np.float32(-2)


def _nan(rows: Any, chosen: tuple[int, ...], random: Random) -> None:
    for each in chosen:
        rows[(each, *(int(random.integers(size)) for size in rows.shape[1:]))] = np.nan


def _infinite(rows: Any, chosen: tuple[int, ...], random: Random) -> None:
    for each in chosen:
        rows[(each, *(int(random.integers(size)) for size in rows.shape[1:]))] = -np.inf


def _constant(rows: Any, chosen: tuple[int, ...], random: Random) -> None:
    rows[chosen[0]] = 0.25
    rows[chosen[1]] = -0.5


def _tiny(rows: Any, chosen: tuple[int, ...], random: Random) -> None:
    rows[list(chosen)] *= np.float32(1e-41)


def _explode(rows: Any, chosen: tuple[int, ...], random: Random) -> None:
    rows[list(chosen)] *= np.float32(3000)


def _overflow(rows: Any, chosen: tuple[int, ...], random: Random) -> None:
    rows[list(chosen)] *= np.float32(1e6)


ON_NEURONS: dict[str, tuple[Callable[..., None], str]] = {
    "zeroed neurons": (_zero, "GN202"),
    "duplicated neuron": (_copy, "GN204"),
    "multiple of a neuron": (_multiply, "GN205"),
    "NaN": (_nan, "GN201"),
    "infinity": (_infinite, "GN201"),
    "constant neurons": (_constant, "GN206"),
    "subnormal neurons": (_tiny, "GN207"),
    "exploding neurons": (_explode, "GN208"),
    "float16 overflow": (_overflow, "GN305"),
}


def _on_neurons(kind: str, change: Callable[..., None], code: str) -> Callable[[onnx.ModelProto, Random], Expected]:
    return lambda made, random: _neurons(made, random, kind, change, code)


def _unread(made: onnx.ModelProto, random: Random) -> Expected:
    chosen = tuple(sorted(int(each) for each in random.choice(24, 3, replace=False)))
    values = weight(made, "fc2.weight")
    values[:, list(chosen)] = 0
    replace(made, "fc2.weight", values)
    return Expected("GN209", "fc1", chosen)


def _unread_in_groups(made: onnx.ModelProto, random: Random) -> Expected:
    chosen = int(random.integers(8))
    values = weight(made, "body.weight")
    values[6 * (chosen // 4) : 6 * (chosen // 4) + 6, chosen % 4] = 0
    replace(made, "body.weight", values)
    return Expected("GN209", "stem", (chosen,))


def _silence(made: onnx.ModelProto, random: Random) -> Expected:
    chosen = int(random.integers(24))
    rows, bias = weight(made, "fc1.weight"), weight(made, "fc1.bias")
    bias[chosen] = -np.abs(rows[chosen]).sum() * 1.01
    replace(made, "fc1.bias", bias)
    return Expected("GN203", "fc1", (chosen,), {"input-ranges": {"x": [-1.0, 1.0]}})


def _silence_after_sigmoid(made: onnx.ModelProto, random: Random) -> Expected:
    chosen = int(random.integers(10))
    columns, bias = weight(made, "fc2.weight"), weight(made, "fc2.bias")
    bias[chosen] = -np.clip(columns[:, chosen], 0, None).sum() * 1.01
    replace(made, "fc2.bias", bias)
    return Expected("GN203", "fc2", (chosen,))


def _silence_conv(made: onnx.ModelProto, random: Random) -> Expected:
    chosen = int(random.integers(8))
    rows, bias = weight(made, "stem.weight"), weight(made, "stem.bias")
    bias[chosen] = -np.clip(rows[chosen], 0, None).sum() * 1.01
    replace(made, "stem.bias", bias)
    return Expected("GN203", "stem", (chosen,), {"input-ranges": {"x": [0.0, 1.0]}})


def _saturate(made: onnx.ModelProto, random: Random) -> Expected:
    chosen = int(random.integers(24))
    columns, bias = weight(made, "fc1.weight"), weight(made, "fc1.bias")
    bias[chosen] = -np.abs(columns[:, chosen]).sum() - 20
    replace(made, "fc1.bias", bias)
    return Expected("GN210", "fc1", (chosen,), {"input-ranges": {"x": [-1.0, 1.0]}})


def _nan_bias(made: onnx.ModelProto, random: Random) -> Expected:
    chosen = int(random.integers(10))
    bias = weight(made, "fc2.bias")
    bias[chosen] = np.nan
    replace(made, "fc2.bias", bias)
    return Expected("GN201", "fc2", (chosen,))


def _conv_axis(made: onnx.ModelProto, random: Random) -> Expected:
    attribute(node(made, "/dq0"), "axis", 1)
    replace(made, "conv.scale", weight(made, "conv.scale")[:3])
    replace(made, "conv.zero", np.zeros(3, np.int8))
    return Expected("GN301", "conv")


def _linear_axis(made: onnx.ModelProto, random: Random) -> Expected:
    attribute(node(made, "/dq1"), "axis", 0)
    replace(made, "fc.scale", np.full(8, 0.01, np.float32))
    replace(made, "fc.zero", np.zeros(8, np.int8))
    return Expected("GN301", "fc")


def _scale_length(made: onnx.ModelProto, random: Random) -> Expected:
    replace(made, "conv.scale", weight(made, "conv.scale")[:5])
    replace(made, "conv.zero", np.zeros(5, np.int8))
    return Expected("GN302", "conv")


def _zero_length(made: onnx.ModelProto, random: Random) -> Expected:
    replace(made, "conv.zero", np.zeros(5, np.int8))
    return Expected("GN302", "conv")


def _bad_scale(value: float) -> Callable[[onnx.ModelProto, Random], Expected]:
    def inject(made: onnx.ModelProto, random: Random) -> Expected:
        chosen = int(random.integers(8))
        scale = weight(made, "conv.scale")
        scale[chosen] = value
        replace(made, "conv.scale", scale)
        return Expected("GN303", "conv", (chosen,))

    return inject


def _clip(made: onnx.ModelProto, random: Random) -> Expected:
    chosen = int(random.integers(8))
    values = weight(made, "conv.weight_q").astype(np.int64)
    values[chosen] *= 8
    replace(made, "conv.weight_q", values.clip(-128, 127).astype(np.int8))
    return Expected("GN304", "conv", (chosen,), {"thresholds": {"GN304": {"least-synapses": 16, "most-share": 0.2}}})


def _one_scale(made: onnx.ModelProto, random: Random) -> Expected:
    values = weight(made, "conv.weight_q")
    small = tuple(sorted(int(each) for each in random.choice(8, 3, replace=False)))
    values[list(small)] = random.integers(-1, 2, size=(3, *values.shape[1:]))
    values[list(small), 0, 0, 0] = 1
    replace(made, "conv.weight_q", values)
    replace(made, "conv.scale", np.float32(0.01))
    replace(made, "conv.zero", np.int8(0))
    return Expected("GN306", "conv", small)


def _untie(made: onnx.ModelProto, random: Random) -> Expected:
    table = weight(made, "embed.weight")
    made.graph.initializer.append(numpy_helper.from_array(np.ascontiguousarray(table.T), "head.weight"))
    made.graph.node.remove(node(made, "/head/Transpose"))
    node(made, "/head/MatMul").input[1] = "head.weight"
    return Expected("GN103", "head")


def _drop_bias(made: onnx.ModelProto, random: Random) -> Expected:
    del node(made, "/fc1/Gemm").input[2:]
    return Expected("GN102")


def _lose_output(made: onnx.ModelProto, random: Random) -> Expected:
    extra = helper.make_node("Gemm", ["r", "aux.weight"], ["aux"], name="/aux/Gemm", transB=1)
    made.graph.node.append(extra)
    made.graph.initializer.append(numpy_helper.from_array(random.normal(size=(4, 24)).astype(np.float32), "aux.weight"))
    return Expected("GN106", "aux")


def _train_dropout(made: onnx.ModelProto, random: Random) -> Expected:
    made.graph.initializer.append(numpy_helper.from_array(np.float32(0.5), "ratio"))
    made.graph.initializer.append(numpy_helper.from_array(np.array(True), "training"))
    made.graph.node.insert(2, helper.make_node("Dropout", ["r", "ratio", "training"], ["d"], name="/drop/Dropout"))
    node(made, "/fc2/Gemm").input[0] = "d"
    return Expected("GN104")


def normalise(made: onnx.ModelProto, training: int) -> None:
    for name, value in (("gain", 1.0), ("shift", 0.0), ("mean", 0.0), ("var", 1.0)):
        values = np.full(8, value, np.float32) + np.arange(8, dtype=np.float32) * np.float32(0.01)
        made.graph.initializer.append(numpy_helper.from_array(values, f"bn.{name}"))
    inputs = ["c1", "bn.gain", "bn.shift", "bn.mean", "bn.var"]
    outputs = ["n1", "m1", "v1"] if training else ["n1"]
    made.graph.node.insert(
        1, helper.make_node("BatchNormalization", inputs, outputs, name="/bn/BN", training_mode=training)
    )
    node(made, "/stem/Relu").input[0] = "n1"


def _train_batch_norm(made: onnx.ModelProto, random: Random) -> Expected:
    normalise(made, 1)
    return Expected("GN104", "stem")


def _unfold(made: onnx.ModelProto, random: Random) -> Expected:
    normalise(made, 0)
    return Expected("GN105", "stem")


def _prune_half(made: onnx.ModelProto, random: Random) -> Expected:
    replace(made, "stem.weight", weight(made, "stem.weight")[:6])
    replace(made, "stem.bias", weight(made, "stem.bias")[:6])
    return Expected("GN107", "body")


def _transpose(made: onnx.ModelProto, random: Random) -> Expected:
    replace(made, "fc1.weight", np.ascontiguousarray(weight(made, "fc1.weight").T))
    return Expected("GN107", "fc1")


def _rename_output(made: onnx.ModelProto, random: Random) -> Expected:
    return Expected("GN109", policy={"outputs": ["logits"]})


def _rename_input(made: onnx.ModelProto, random: Random) -> Expected:
    return Expected("GN108", policy={"inputs": ["pixels"]})


DEFECTS: tuple[Defect, ...] = (
    *(
        Defect(name, kind, _on_neurons(kind, change, code))
        for name, (change, code) in ON_NEURONS.items()
        for kind in PLACES
    ),
    Defect("columns zeroed", "mlp", _unread),
    Defect("columns of a group zeroed", "cnn", _unread_in_groups),
    Defect("silent ReLU", "mlp", _silence),
    Defect("silent ReLU after a sigmoid", "matmul_mlp", _silence_after_sigmoid),
    Defect("silent ReLU of a convolution", "cnn", _silence_conv),
    Defect("saturated sigmoid", "matmul_mlp", _saturate),
    Defect("NaN in a bias", "mlp", _nan_bias),
    Defect("NaN in an added bias", "matmul_mlp", _nan_bias),
    Defect("QDQ axis of a convolution", "qdq", _conv_axis),
    Defect("QDQ axis of a linear layer", "qdq", _linear_axis),
    Defect("too few scales", "qdq", _scale_length),
    Defect("too few zero points", "qdq", _zero_length),
    Defect("too few scales, QOperator", "qoperator", _scale_length),
    Defect("scale zero", "qdq", _bad_scale(0.0)),
    Defect("scale NaN", "qdq", _bad_scale(float("nan"))),
    Defect("scale negative, QOperator", "qoperator", _bad_scale(-0.01)),
    Defect("clipped", "qdq", _clip),
    Defect("one scale for all", "qdq", _one_scale),
    Defect("untied embedding", "head", _untie),
    Defect("dropped bias", "mlp", _drop_bias),
    Defect("lost output", "mlp", _lose_output),
    Defect("dropout in training mode", "mlp", _train_dropout),
    Defect("batch normalisation in training mode", "cnn", _train_batch_norm),
    Defect("batch normalisation not folded", "cnn", _unfold),
    Defect("pruned without what is coupled", "cnn", _prune_half),
    Defect("transposed weight", "mlp", _transpose),
    Defect("renamed output", "mlp", _rename_output),
    Defect("renamed input", "cnn", _rename_input),
)

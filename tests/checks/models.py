"""Small healthy models, and helpers that change one thing in a copy of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

import graphneurons
from graphneurons.checks.base import Finding, ModelReport, Subject
from graphneurons.checks.policy import Policy, parse_policy
from graphneurons.checks.running import run

Weights = dict[str, np.ndarray[Any, Any]]
Random = np.random.Generator


def model(
    nodes: Iterable[onnx.NodeProto],
    weights: Weights,
    inputs: dict[str, list[int]],
    outputs: Iterable[str],
    opset: int = 20,
) -> onnx.ModelProto:
    graph = helper.make_graph(
        list(nodes),
        "graph",
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in inputs.items()],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in outputs],
        [numpy_helper.from_array(value, name) for name, value in weights.items()],
    )
    imports = [helper.make_opsetid("", opset)]
    return helper.make_model(graph, opset_imports=imports, ir_version=10, producer_name="tests")


def mlp(random: Random) -> onnx.ModelProto:
    """Gemm 12 -> 24, ReLU, Gemm -> 10."""
    weights = {
        "fc1.weight": random.normal(size=(24, 12)).astype(np.float32),
        "fc1.bias": random.normal(size=24).astype(np.float32) * 0.1,
        "fc2.weight": random.normal(size=(10, 24)).astype(np.float32),
        "fc2.bias": random.normal(size=10).astype(np.float32) * 0.1,
    }
    nodes = [
        helper.make_node("Gemm", ["x", "fc1.weight", "fc1.bias"], ["h"], name="/fc1/Gemm", transB=1),
        helper.make_node("Relu", ["h"], ["r"], name="/relu/Relu"),
        helper.make_node("Gemm", ["r", "fc2.weight", "fc2.bias"], ["y"], name="/fc2/Gemm", transB=1),
    ]
    return model(nodes, weights, {"x": [1, 12]}, ["y"])


def matmul_mlp(random: Random) -> onnx.ModelProto:
    """The same with weights stored (in, out), biases added, and a sigmoid between."""
    weights = {
        "fc1.weight": random.normal(size=(12, 24)).astype(np.float32),
        "fc1.bias": random.normal(size=24).astype(np.float32) * 0.1,
        "fc2.weight": random.normal(size=(24, 10)).astype(np.float32),
        "fc2.bias": random.normal(size=10).astype(np.float32) * 0.1,
    }
    nodes = [
        helper.make_node("MatMul", ["x", "fc1.weight"], ["m"], name="/fc1/MatMul"),
        helper.make_node("Add", ["fc1.bias", "m"], ["h"], name="/fc1/Add"),
        helper.make_node("Sigmoid", ["h"], ["r"], name="/act/Sigmoid"),
        helper.make_node("MatMul", ["r", "fc2.weight"], ["m2"], name="/fc2/MatMul"),
        helper.make_node("Add", ["fc2.bias", "m2"], ["h2"], name="/fc2/Add"),
        helper.make_node("Relu", ["h2"], ["y"], name="/out/Relu"),
    ]
    return model(nodes, weights, {"x": [1, 7, 12]}, ["y"])


def cnn(random: Random) -> onnx.ModelProto:
    """Conv 3 -> 8, ReLU, Conv 8 -> 12 in two groups, ReLU, mean, Gemm -> 5."""
    weights = {
        "stem.weight": random.normal(size=(8, 3, 3, 3)).astype(np.float32),
        "stem.bias": random.normal(size=8).astype(np.float32) * 0.1,
        "body.weight": random.normal(size=(12, 4, 3, 3)).astype(np.float32),
        "body.bias": random.normal(size=12).astype(np.float32) * 0.1,
        "head.weight": random.normal(size=(5, 12)).astype(np.float32),
        "head.bias": random.normal(size=5).astype(np.float32) * 0.1,
    }
    nodes = [
        helper.make_node("Conv", ["x", "stem.weight", "stem.bias"], ["c1"], name="/stem/Conv", pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["c1"], ["r1"], name="/stem/Relu"),
        helper.make_node("Conv", ["r1", "body.weight", "body.bias"], ["c2"], name="/body/Conv", group=2),
        helper.make_node("Relu", ["c2"], ["r2"], name="/body/Relu"),
        helper.make_node("GlobalAveragePool", ["r2"], ["p"], name="/pool/Pool"),
        helper.make_node("Flatten", ["p"], ["f"], name="/pool/Flatten"),
        helper.make_node("Gemm", ["f", "head.weight", "head.bias"], ["y"], name="/head/Gemm", transB=1),
    ]
    return model(nodes, weights, {"x": [1, 3, 8, 8]}, ["y"])


def head(random: Random) -> onnx.ModelProto:
    """A table whose rows are also the neurons of the last layer: tied by a Transpose."""
    weights = {
        "embed.weight": random.normal(size=(40, 16)).astype(np.float32),
        "proj.weight": random.normal(size=(16, 16)).astype(np.float32),
    }
    nodes = [
        helper.make_node("Gather", ["embed.weight", "ids"], ["e"], name="/embed/Gather"),
        helper.make_node("MatMul", ["e", "proj.weight"], ["h"], name="/proj/MatMul"),
        helper.make_node("Tanh", ["h"], ["t"], name="/act/Tanh"),
        helper.make_node("Transpose", ["embed.weight"], ["turned"], name="/head/Transpose", perm=[1, 0]),
        helper.make_node("MatMul", ["t", "turned"], ["y"], name="/head/MatMul"),
    ]
    made = model(nodes, weights, {}, ["y"])
    made.graph.input.append(helper.make_tensor_value_info("ids", TensorProto.INT64, [1, 6]))
    return made


def qdq(random: Random) -> onnx.ModelProto:
    """A Conv and a MatMul whose int8 weights go through DequantizeLinear, per neuron."""
    conv = random.normal(size=(8, 3, 3, 3)).astype(np.float32)
    linear = random.normal(size=(8, 6)).astype(np.float32)
    scale = np.abs(conv).max(axis=(1, 2, 3)) / 127
    columns = np.abs(linear).max(axis=0) / 127
    weights = {
        "conv.weight_q": np.round(conv / scale[:, None, None, None]).astype(np.int8),
        "conv.scale": scale.astype(np.float32),
        "conv.zero": np.zeros(8, np.int8),
        "fc.weight_q": np.round(linear / columns).astype(np.int8),
        "fc.scale": columns.astype(np.float32),
        "fc.zero": np.zeros(6, np.int8),
    }
    nodes = [
        helper.make_node("DequantizeLinear", ["conv.weight_q", "conv.scale", "conv.zero"], ["cw"], name="/dq0", axis=0),
        helper.make_node("Conv", ["x", "cw"], ["c"], name="/conv/Conv"),
        helper.make_node("Relu", ["c"], ["r"], name="/relu/Relu"),
        helper.make_node("GlobalAveragePool", ["r"], ["p"], name="/pool/Pool"),
        helper.make_node("Flatten", ["p"], ["f"], name="/pool/Flatten"),
        helper.make_node("DequantizeLinear", ["fc.weight_q", "fc.scale", "fc.zero"], ["lw"], name="/dq1", axis=1),
        helper.make_node("MatMul", ["f", "lw"], ["y"], name="/fc/MatMul"),
    ]
    return model(nodes, weights, {"x": [1, 3, 8, 8]}, ["y"])


def qoperator(random: Random) -> onnx.ModelProto:
    """A QLinearConv with one scale per neuron."""
    weights = {
        "xs": np.float32(0.02), "xz": np.uint8(128), "ys": np.float32(0.05), "yz": np.uint8(128),
        "conv.weight_q": random.integers(-120, 120, size=(8, 3, 3, 3)).astype(np.int8),
        "conv.scale": random.uniform(0.01, 0.02, size=8).astype(np.float32),
        "conv.zero": np.zeros(8, np.int8),
    }  # fmt: skip
    names = ["q", "xs", "xz", "conv.weight_q", "conv.scale", "conv.zero", "ys", "yz"]
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "xs", "xz"], ["q"], name="/quantize"),
        helper.make_node("QLinearConv", names, ["c"], name="/conv/QLinearConv"),
        helper.make_node("DequantizeLinear", ["c", "ys", "yz"], ["y"], name="/dequantize"),
    ]
    return model(nodes, {name: np.asarray(value) for name, value in weights.items()}, {"x": [1, 3, 8, 8]}, ["y"])


HEALTHY: dict[str, Callable[[Random], onnx.ModelProto]] = {
    "mlp": mlp, "matmul_mlp": matmul_mlp, "cnn": cnn, "head": head, "qdq": qdq, "qoperator": qoperator,
}  # fmt: skip


def weight(made: onnx.ModelProto, name: str) -> np.ndarray[Any, Any]:
    return numpy_helper.to_array(next(each for each in made.graph.initializer if each.name == name)).copy()


def replace(made: onnx.ModelProto, name: str, value: np.ndarray[Any, Any]) -> None:
    """Stores ``value`` in place of the initializer ``name``."""
    next(each for each in made.graph.initializer if each.name == name).CopyFrom(numpy_helper.from_array(value, name))


def node(made: onnx.ModelProto, name: str) -> onnx.NodeProto:
    return next(each for each in made.graph.node if each.name == name)


def attribute(found: onnx.NodeProto, name: str, value: Any) -> None:
    """Sets an attribute, whether it was there or not."""
    for each in list(found.attribute):
        if each.name == name:
            found.attribute.remove(each)
    found.attribute.append(helper.make_attribute(name, value))


def checked(made: onnx.ModelProto, folder: Path, policy: Policy | dict[str, Any] | None = None) -> ModelReport:
    """The report on a model saved in ``folder``."""
    path = folder / "model.onnx"
    onnx.save(made, path)
    chosen = policy if isinstance(policy, Policy) else parse_policy(policy or {}, "policy")
    return run(Subject(graphneurons.analyze(path), chosen))


def found(report: ModelReport, code: str) -> list[Finding]:
    return [finding for finding in report.findings if finding.code == code]

"""Scales are found wherever quantization writes them: behind layout ops, after integer sums, one per block."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import graphneurons
from graphneurons.checks.base import Finding, Subject
from graphneurons.checks.policy import parse_policy
from graphneurons.checks.running import run
from tests.checks.models import Weights
from tests.checks.test_ranges import MS, op

RANDOM = np.random.default_rng(9)
STEP = np.float32(0.01)


def findings(path: Path, nodes: list[onnx.NodeProto], weights: Weights, x: list[int]) -> list[Finding]:
    integer = nodes[0].op_type.endswith("Integer")
    graph = helper.make_graph(
        nodes, "g", [helper.make_tensor_value_info("x", TensorProto.UINT8 if integer else TensorProto.FLOAT, x)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in weights.items()],
    )  # fmt: skip
    opsets = [helper.make_opsetid("", 21), helper.make_opsetid(MS, 1)]
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=10), path)
    policy = parse_policy({"select": ["GN3"], "ignore": ["GN308"]}, "policy")
    return list(run(Subject(graphneurons.analyze(path), policy)).findings)


def rows(coarse: tuple[int, ...] = (), clipped: tuple[int, ...] = ()) -> np.ndarray[Any, Any]:
    """int8 (8, 64): neurons ``coarse`` within two steps, ``clipped`` with every fourth synapse at the end."""
    made = RANDOM.integers(-100, 101, (8, 64)).astype(np.int8)
    made[:, 0] = 100
    for neuron in coarse:
        made[neuron] = RANDOM.integers(-2, 3, 64)
        made[neuron, 0] = 2
    for neuron in clipped:
        made[neuron, ::4] = -127
    return made


def dequantized(*after: onnx.NodeProto, **more: int) -> list[onnx.NodeProto]:
    return [op("DequantizeLinear", "w s", "d", **more), *after]


# How -> nodes, weights of int8 rows (neurons, synapses), shape of x.
WAYS: dict[str, Any] = {
    "Gemm": lambda w: (dequantized(op("Gemm", "x d", "y", transB=1)), {"w": w, "s": STEP}, [2, 64]),
    "Transpose after": lambda w: (
        dequantized(op("Transpose", "d", "t"), op("MatMul", "x t", "y")), {"w": w, "s": STEP}, [2, 64],
    ),
    "Reshape and Transpose after": lambda w: (
        dequantized(op("Reshape", "d to", "r"), op("Transpose", "r", "t"), op("MatMul", "x t", "y")),
        {"w": w.reshape(2, 4, 64), "s": STEP, "to": np.array([8, 64])}, [2, 64],
    ),
    "Transpose before": lambda w: (
        [op("Transpose", "w", "t"), op("DequantizeLinear", "t s", "d"), op("MatMul", "x d", "y")],
        {"w": w, "s": STEP}, [2, 64],
    ),
    "Conv": lambda w: (
        dequantized(op("Conv", "x d", "y")), {"w": w.reshape(8, 16, 2, 2), "s": STEP}, [1, 16, 6, 6],
    ),
    "ConvTranspose in groups": lambda w: (
        dequantized(op("ConvTranspose", "x d", "y", group=2)),
        {"w": np.ascontiguousarray(w.reshape(2, 4, 16, 4).transpose(0, 2, 1, 3)).reshape(32, 4, 2, 2), "s": STEP},
        [1, 32, 6, 6],
    ),
    "MatMulInteger": lambda w: (
        [op("MatMulInteger", "x w", "m"), op("Cast", "m", "c", to=TensorProto.FLOAT), op("Mul", "xs s", "k"),
         op("Mul", "c k", "y")],
        {"w": np.ascontiguousarray(w.T), "s": STEP, "xs": STEP}, [2, 64],
    ),
    "ConvInteger": lambda w: (
        [op("ConvInteger", "x w", "m"), op("Cast", "m", "c", to=TensorProto.FLOAT), op("Mul", "s c", "y")],
        {"w": w.reshape(8, 16, 2, 2), "s": STEP}, [1, 16, 6, 6],
    ),
    "DynamicQuantizeMatMul": lambda w: (
        [op("DynamicQuantizeMatMul", "x w s", "y", MS)], {"w": np.ascontiguousarray(w.T), "s": STEP}, [2, 64],
    ),
}  # fmt: skip


@pytest.mark.parametrize("way", WAYS)
def test_neurons_that_one_scale_does_not_serve(way: str, tmp_path: Path) -> None:
    found = findings(tmp_path / "m.onnx", *_with_dynamic_scale(way, rows(coarse=(1, 5))))
    assert [(each.code, each.neurons, each.evidence["scale"]) for each in found] == [("GN306", (1, 5), "0.01")]
    assert findings(tmp_path / "m.onnx", *_with_dynamic_scale(way, rows())) == []


@pytest.mark.parametrize("way", WAYS)
def test_neurons_that_were_clipped(way: str, tmp_path: Path) -> None:
    found = findings(tmp_path / "m.onnx", *_with_dynamic_scale(way, rows(clipped=(3,))))
    assert [(each.code, each.neurons, each.evidence["worst_share"]) for each in found] == [("GN304", (3,), 0.25)]


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("value", [0.0, np.nan, -0.1])
def test_scales_that_are_no_positive_numbers(way: str, value: float, tmp_path: Path) -> None:
    nodes, weights, x = _with_dynamic_scale(way, rows())
    found = findings(tmp_path / "m.onnx", nodes, {**weights, "s": np.float32(value)}, x)
    assert "GN303" in [each.code for each in found]
    assert {each.weight for each in found if each.code == "GN303"} == {"s"}


def _with_dynamic_scale(way: str, made: np.ndarray[Any, Any]) -> Any:
    """The nodes of a way; the activation's scale is computed where the model runs, not stored."""
    nodes, weights, x = WAYS[way](made)
    if "xs" in weights:
        weights.pop("xs")
        nodes = [*nodes[:1], op("ReduceMax", "f", "xs", keepdims=0), *nodes[1:]]
        nodes.insert(1, op("Cast", "x", "f", to=TensorProto.FLOAT))
    return nodes, weights, x


def test_scales_of_a_transposed_weight_are_counted_at_its_layer(tmp_path: Path) -> None:
    nodes = dequantized(op("Transpose", "d", "t"), op("MatMul", "x t", "y"), axis=0)
    weights = {"w": rows(), "s": np.full(5, STEP)}
    found = findings(tmp_path / "m.onnx", nodes, weights, [2, 64])
    assert ("GN302", "/y") in [(each.code, each.layer) for each in found]


@pytest.mark.parametrize("kind", ["MatMulNBits", "MatMulBnb4"])
def test_scales_of_blocks(kind: str, tmp_path: Path) -> None:
    attributes: dict[str, Any] = {"K": 32, "N": 6, "block_size": 16}
    attributes |= {"bits": 4} if kind == "MatMulNBits" else {"quant_type": 1}
    shape = (6, 2, 8) if kind == "MatMulNBits" else (96,)
    weights = {
        "w": RANDOM.integers(0, 256, shape).astype(np.uint8),
        "s": RANDOM.uniform(-1, 1, 12).astype(np.float32),
    }
    nodes = [op(kind, "x w s", "y", MS, **attributes)]
    assert [each.code for each in findings(tmp_path / "m.onnx", nodes, weights, [2, 32])] == []
    weights["s"][7] = np.inf
    found = findings(tmp_path / "m.onnx", nodes, weights, [2, 32])
    assert [(each.code, each.layer, each.evidence["bad"]) for each in found] == [("GN303", "/y", 1)]


def test_dequantized_weights_that_float16_cannot_hold(tmp_path: Path) -> None:
    nodes = dequantized(op("Gemm", "x d", "y", transB=1), axis=0)
    scales = np.full(8, STEP)
    scales[2] = 1e3
    found = findings(tmp_path / "m.onnx", nodes, {"w": rows(), "s": scales}, [2, 64])
    assert [(each.code, each.neurons, each.evidence["largest"]) for each in found] == [("GN305", (2,), "100000")]


def _square(path: Path, matrix: np.ndarray[Any, Any], over: int | None) -> Path:
    """``x @ matrix``, in float or as a QLinearMatMul with one scale per index of what is left of axis ``over``."""
    if over is None:
        nodes, weights = [op("MatMul", "x w", "y")], {"w": matrix}
    else:
        scale = (np.abs(matrix).max(axis=over) / 127).astype(np.float32)
        steps = np.round(matrix / np.expand_dims(scale, over)).clip(-127, 127).astype(np.int8)
        nodes = [
            op("QuantizeLinear", "x a b", "q"), op("QLinearMatMul", "q a b w s z a b", "p"),
            op("DequantizeLinear", "p a b", "y"),
        ]  # fmt: skip
        weights = {"a": STEP, "b": np.int8(0), "w": steps, "s": scale, "z": np.zeros(len(matrix), np.int8)}
    graph = helper.make_graph(
        nodes, "g", [helper.make_tensor_value_info("x", TensorProto.FLOAT, [2, len(matrix)])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in weights.items()],
    )  # fmt: skip
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10), path)
    return path


def test_a_wrong_axis_in_a_square_integer_op_is_seen_against_the_float_model_only(tmp_path: Path) -> None:
    matrix = (RANDOM.normal(size=(16, 16)) * np.exp(RANDOM.normal(size=(16, 1)))).astype(np.float32)
    before = _square(tmp_path / "float.onnx", matrix, None)
    policy = {"select": ["GN3", "GN506"], "ignore": ["GN308"], "thresholds": {"GN506": {"most": 0.05}}}
    for over, codes in ((0, set()), (1, {"GN506"})):
        now = _square(tmp_path / "int8.onnx", matrix, over)
        assert graphneurons.check(now, policy).findings == ()
        assert {each.code for each in graphneurons.check(now, policy, against=str(before)).findings} == codes

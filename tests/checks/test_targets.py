"""What int8 would lose of floating-point layers, and shapes the file declares that its ops do not compute."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from tests.checks.models import HEALTHY, checked, found, model, replace, weight


def _made(name: str) -> onnx.ModelProto:
    return HEALTHY[name](np.random.default_rng(0))


def _lost(rows: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """The share of every row's synapses that quantizing it by its own scale sets to zero."""
    rows = rows.reshape(rows.shape[0], -1).astype(np.float64)
    steps = np.abs(rows).max(axis=1, keepdims=True) / 127
    return ((np.round(rows / steps) == 0) & (rows != 0)).sum(axis=1) / (rows != 0).sum(axis=1)


@pytest.mark.parametrize(("name", "layer", "axis"), [("mlp", "fc2", 0), ("matmul_mlp", "fc1", 1), ("cnn", "body", 0)])
def test_neurons_that_int8_cannot_hold_beside_an_outlier(name: str, layer: str, axis: int, tmp_path: Path) -> None:
    made = _made(name)
    values = weight(made, f"{layer}.weight")
    rows = np.moveaxis(values, axis, 0)
    rows[3].reshape(-1)[5] = 4e3
    rows[4].reshape(-1)[1] = 30
    replace(made, f"{layer}.weight", values)
    expected = _lost(rows)
    # matmul_mlp's fc1 has 12 synapses.
    policy = {"thresholds": {"GN307": {"least-synapses": 8}, "GN208": {"most-times-median": 1e9}}}
    (finding,) = found(checked(made, tmp_path, policy), "GN307")
    assert (finding.layer, finding.neurons) == (layer, (3,)) == (layer, tuple(np.flatnonzero(expected > 0.5)))
    assert finding.evidence == {"worst_share": round(float(expected[3]), 4), "largest": "4000"}


def test_half_of_the_synapses_has_to_be_lost(tmp_path: Path) -> None:
    random = np.random.default_rng(1)
    values = random.normal(size=(4, 512)).astype(np.float32)
    values[0, 7], values[1, 7], values[2, 7] = 60, 160, 200
    values[3, 9:] = 0
    values[3, 7] = 1e4
    # Zeros stay what they are.
    values = np.concatenate([values, np.zeros((1, 512), np.float32)])
    values[4, :20] = random.normal(size=20)
    values[4, 3] = 30
    nodes = [helper.make_node("Gemm", ["x", "w"], ["y"], name="/fc/Gemm", transB=1)]
    made = model(nodes, {"w": values}, {"x": [1, 512]}, ["y"])
    (finding,) = found(checked(made, tmp_path, {"select": ["GN307"]}), "GN307")
    # The last has only nine synapses that are not zero: too few to say anything.
    assert finding.neurons == (2,)
    assert 0.5 < float(finding.evidence["worst_share"]) == round(float(_lost(values)[2]), 4)


def test_many_large_synapses_are_no_outliers(tmp_path: Path) -> None:
    values = np.random.default_rng(1).normal(size=(4, 512)).astype(np.float32)
    values[:, ::16] = 300
    nodes = [helper.make_node("Gemm", ["x", "w"], ["y"], name="/fc/Gemm", transB=1)]
    made = model(nodes, {"w": values}, {"x": [1, 512]}, ["y"])
    assert checked(made, tmp_path, {"select": ["GN307"]}).findings == ()


def test_heavy_tails_are_no_outliers(tmp_path: Path) -> None:
    """Student's t with 4 degrees of freedom, which has no fourth moment."""
    values = np.random.default_rng(2).standard_t(4, size=(256, 1024)).astype(np.float32)
    nodes = [helper.make_node("Gemm", ["x", "w"], ["y"], name="/fc/Gemm", transB=1)]
    made = model(nodes, {"w": values}, {"x": [1, 1024]}, ["y"])
    assert checked(made, tmp_path, {"select": ["GN307", "GN308"]}).findings == ()


@pytest.mark.parametrize("dtype", [np.float16, np.float64])
def test_outliers_of_other_floats(dtype: type, tmp_path: Path) -> None:
    values = np.random.default_rng(1).normal(size=(4, 64)).astype(dtype)
    values[2, 3] = 4e3
    nodes = [
        helper.make_node("Cast", ["w"], ["c"], name="/cast", to=TensorProto.FLOAT),
        helper.make_node("Gemm", ["x", "c"], ["y"], name="/fc/Gemm", transB=1),
    ]
    made = model(nodes, {"w": values}, {"x": [1, 64]}, ["y"])
    assert [each.neurons for each in found(checked(made, tmp_path, {"select": ["GN307"]}), "GN307")] == [(2,)]


def test_a_layer_that_one_scale_would_not_serve(tmp_path: Path) -> None:
    made = _made("cnn")
    values = weight(made, "body.weight")
    values[4:] *= np.float32(0.004)
    replace(made, "body.weight", values)
    (finding,) = found(checked(made, tmp_path), "GN308")
    assert (finding.layer, finding.severity) == ("body", "info")
    steps = np.abs(values).max(axis=(1, 2, 3)) / (np.abs(values).max() / 127)
    assert finding.neurons == tuple(np.flatnonzero(steps <= 2.5))
    assert found(checked(made, tmp_path, {"thresholds": {"GN308": {"most-share": 0.9}}}), "GN308") == []


def _declare(made: onnx.ModelProto, **shapes: list[Any]) -> None:
    for name, shape in shapes.items():
        made.graph.value_info.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, shape))


def _outputs(made: onnx.ModelProto, **shapes: list[Any]) -> None:
    del made.graph.output[:]
    for name, shape in shapes.items():
        made.graph.output.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, shape))


DECLARED: dict[str, tuple[dict[str, list[Any]], dict[str, list[Any]], list[tuple[str | None, str]]]] = {
    # value_info, outputs, (layer, what the message says)
    "right": ({"c1": [1, 8, 8, 8], "p": [1, 12, 1, 1]}, {"y": [1, 5]}, []),
    "dynamic": ({"c1": ["n", 8, "h", None]}, {"y": ["n", 5]}, []),
    "empty": ({"c1": []}, {}, []),
    "neurons": ({"c1": [1, 9, 8, 8]}, {"y": [1, 5]}, [("stem", "value c1 is declared [1, 9, 8, 8], but Conv makes")]),
    "output": ({}, {"y": [1, 7]}, [("head", "the output y is declared [1, 7], but Gemm makes [1, 5]")]),
    "rank": ({"p": [1, 12]}, {}, [(None, "but GlobalAveragePool makes [1, 12, 1, 1]")]),
    "causes": (
        {"c1": [1, 9, 8, 8], "r1": [1, 9, 8, 8], "p": [1, 12, 1, 1]},
        {"y": [1, 6]},
        [("head", "[1, 6]"), ("stem", "(and 1 more that follow from it)")],
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", DECLARED)
def test_declared_shapes_are_held_against_computed_ones(name: str, tmp_path: Path) -> None:
    values, outputs, expected = DECLARED[name]
    made = _made("cnn")
    _declare(made, **values)
    if outputs:
        _outputs(made, **outputs)
    findings = found(checked(made, tmp_path), "GN608")
    assert [each.layer for each in findings] == [layer for layer, _ in expected]
    for finding, (_, text) in zip(findings, expected, strict=True):
        assert text in finding.message, finding.message


def test_defaults_of_dynamic_dimensions_are_not_held_against_the_file(tmp_path: Path) -> None:
    made = _made("cnn")
    for axis in (2, 3):
        made.graph.input[0].type.tensor_type.shape.dim[axis].dim_param = "side"
    _declare(made, c1=[1, 8, 32, 32], c2=[1, 13, 30, 30])
    findings = found(checked(made, tmp_path), "GN608")
    # Whether the sides are 32 only the caller knows; the 13 channels are wrong whatever they are.
    assert [(each.layer, each.evidence["value"]) for each in findings] == [("body", "c2")]
    assert findings[0].evidence["declared"] == [1, 13, 30, 30]


def test_branches_may_have_other_shapes_than_declared(tmp_path: Path) -> None:
    def branch(name: str, columns: int) -> onnx.GraphProto:
        stored = numpy_helper.from_array(np.ones((1, columns), np.float32), f"{name}.value")
        output = helper.make_tensor_value_info(f"{name}.out", TensorProto.FLOAT, [1, columns])
        return helper.make_graph(
            [helper.make_node("Identity", [stored.name], [output.name])], name, [], [output], [stored]
        )

    made = _made("cnn")
    made.graph.input.append(helper.make_tensor_value_info("flag", TensorProto.BOOL, []))
    node = helper.make_node("If", ["flag"], ["z"], then_branch=branch("a", 3), else_branch=branch("b", 5))
    made.graph.node.extend([node, helper.make_node("Neg", ["z"], ["minus"])])
    made.graph.output.append(helper.make_tensor_value_info("minus", TensorProto.FLOAT, [1, 5]))
    assert found(checked(made, tmp_path), "GN608") == []


def test_states_of_a_loop_may_grow(tmp_path: Path) -> None:
    info = helper.make_tensor_value_info
    body = helper.make_graph(
        [
            helper.make_node("Concat", ["v", "row"], ["longer"], axis=0),
            helper.make_node("Identity", ["going"], ["go"]),
        ],
        "body",
        [info("i", TensorProto.INT64, []), info("going", TensorProto.BOOL, []), info("v", TensorProto.FLOAT, None)],
        [info("go", TensorProto.BOOL, []), info("longer", TensorProto.FLOAT, [3, 2])],
    )
    made = _made("cnn")
    for name, value in {"row": np.ones((1, 2), np.float32), "times": np.array(5), "yes": np.array(True)}.items():
        made.graph.initializer.append(numpy_helper.from_array(value, name))
    made.graph.input.append(info("first", TensorProto.FLOAT, [1, 2]))
    made.graph.node.append(helper.make_node("Loop", ["times", "yes", "first"], ["last"], body=body))
    made.graph.node.append(helper.make_node("Neg", ["last"], ["minus"]))
    made.graph.output.append(info("minus", TensorProto.FLOAT, [6, 2]))
    assert found(checked(made, tmp_path), "GN608") == []

"""Neurons that nothing reads, behind residual sums and gates: what is told changes nothing in the running model."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import graphneurons
from graphneurons.checks.base import Subject
from graphneurons.checks.policy import parse_policy
from graphneurons.checks.running import run
from tests.checks.test_ranges import normal, observed, op

POLICY = parse_policy({"select": ["GN209"]}, "policy")


def stream(gated: bool = False, normalised: bool = False) -> onnx.ModelProto:
    """stem -> relu -> [b1 -> relu -> b2, +] -> relu -> pool -> head; the stem's channels ride past the block."""
    nodes = [
        op("Conv", "x stem", "c0", pads=[1, 1, 1, 1]), op("Relu", "c0", "r0"),
        op("Conv", "r0 b1", "c1", pads=[1, 1, 1, 1]), op("Relu", "c1", "r1"), op("Conv", "r1 b2", "c2"),
        op("Mul" if gated else "Add", "c2 r0", "a"), op("Relu", "a", "r2"), op("GlobalAveragePool", "r2", "p"),
        op("Flatten", "p", "f"),
        *([op("LayerNormalization", "f gain", "n")] if normalised else []),
        op("Gemm", "n head" if normalised else "f head", "y", transB=1),
    ]  # fmt: skip
    weights = {"stem": normal(8, 3, 3, 3), "b1": normal(6, 8, 3, 3), "b2": normal(8, 6, 1, 1), "head": normal(5, 8)}
    if normalised:
        weights["gain"] = np.ones(8, np.float32)
    graph = helper.make_graph(
        nodes, "g", [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 3, 6, 6])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(value, name) for name, value in weights.items()],
    )  # fmt: skip
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)


def stored(made: onnx.ModelProto, name: str) -> tuple[onnx.TensorProto, np.ndarray]:
    tensor = next(each for each in made.graph.initializer if each.name == name)
    return tensor, numpy_helper.to_array(tensor).copy()


def zero(made: onnx.ModelProto, name: str, columns: list[int]) -> None:
    tensor, values = stored(made, name)
    values[:, columns] = 0
    tensor.CopyFrom(numpy_helper.from_array(values, name))


def found(made: onnx.ModelProto, path: Path) -> list[tuple[str | None, tuple[int, ...] | None]]:
    onnx.save(made, path)
    return [(each.layer, each.neurons) for each in run(Subject(graphneurons.analyze(path), POLICY)).findings]


@pytest.mark.parametrize("gated", [False, True])
def test_channels_of_a_stream_that_nothing_reads(gated: bool, tmp_path: Path) -> None:
    made = stream(gated)
    assert found(made, tmp_path / "m.onnx") == []
    zero(made, "head", [2, 6])
    # The stem is still read by the block.
    assert found(made, tmp_path / "m.onnx") == [("/c2", (2, 6))]
    zero(made, "b1", [2, 3])
    told = found(made, tmp_path / "m.onnx")
    assert told == [("/c0", (2,)), ("/c2", (2, 6))]
    x = {"x": normal(1, 3, 6, 6)}
    before = observed(made, ["y"], x)["y"]
    for name, rows in (("stem", [2]), ("b2", [2, 6])):
        tensor, values = stored(made, name)
        values[rows] += 3
        tensor.CopyFrom(numpy_helper.from_array(values, name))
    assert np.array_equal(observed(made, ["y"], x)["y"], before)
    # What is not told does change it.
    tensor, values = stored(made, "stem")
    values[3] += 3
    tensor.CopyFrom(numpy_helper.from_array(values, "stem"))
    assert not np.array_equal(observed(made, ["y"], x)["y"], before)


def test_every_channel_moves_the_mean_of_a_normalised_stream(tmp_path: Path) -> None:
    made = stream(normalised=True)
    zero(made, "head", [2, 6])
    assert found(made, tmp_path / "m.onnx") == []


def test_a_stream_that_is_an_output_is_read(tmp_path: Path) -> None:
    made = stream()
    zero(made, "head", [2])
    made.graph.output.append(helper.make_tensor_value_info("a", TensorProto.FLOAT, None))
    assert found(made, tmp_path / "m.onnx") == []


def test_neurons_that_were_mixed_on_the_way_are_read(tmp_path: Path) -> None:
    made = stream(gated=True)
    gate = next(each for each in made.graph.node if each.op_type == "Mul")
    gate.input[1] = "mean"
    made.graph.initializer.append(numpy_helper.from_array(np.array([1]), "axes"))
    made.graph.node.insert(2, op("ReduceMean", "r0 axes", "mean"))
    zero(made, "b1", [3])
    assert found(made, tmp_path / "m.onnx") == []

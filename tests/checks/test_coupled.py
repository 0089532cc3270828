"""Sums and products of channels that are not as many (GN107)."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper

import graphneurons
from graphneurons.checks.coupled import unequal
from tests.checks.models import checked, found, model


def _residual(width: int, op: str = "Add", first: int | str = 1) -> onnx.ModelProto:
    """Conv to 8 channels and Conv to ``width``, which meet."""
    random = np.random.default_rng(0)
    weights = {
        "left.weight": random.normal(size=(8, 3, 1, 1)).astype(np.float32),
        "right.weight": random.normal(size=(width, 3, 1, 1)).astype(np.float32),
    }
    nodes = [
        helper.make_node("Conv", ["x", "left.weight"], ["l"], name="/left/Conv"),
        helper.make_node("Conv", ["x", "right.weight"], ["c"], name="/right/Conv"),
        helper.make_node("Relu", ["c"], ["r"], name="/right/Relu"),
        helper.make_node(op, ["l", "r"], ["y"], name="/meet"),
    ]
    made = model(nodes, weights, {"x": [1, 3, 4, 4]}, ["y"])
    if isinstance(first, str):
        made.graph.input[0].type.tensor_type.shape.dim[0].dim_param = first
    return made


@pytest.mark.parametrize("op", ["Add", "Mul", "Sub", "Div"])
@pytest.mark.parametrize("first", [1, "n"])
def test_channels_that_are_not_as_many_are_told_with_both_layers(op: str, first: int | str, tmp_path: Path) -> None:
    (finding,) = found(checked(_residual(7, op, first), tmp_path, {"select": ["GN107"]}), "GN107")
    assert finding.layer == "left"
    assert finding.evidence["layers"] == ["left", "right"]
    assert f"{op} /meet: shapes [1, 8, 4, 4], [1, 7, 4, 4] do not broadcast" == finding.message


@pytest.mark.parametrize("width", [8, 1])
def test_what_broadcasts_is_not_told(width: int, tmp_path: Path) -> None:
    assert found(checked(_residual(width), tmp_path, {"select": ["GN107"]}), "GN107") == []


def test_sizes_that_somebody_chose_for_dynamic_dimensions_are_not_the_models_fault(tmp_path: Path) -> None:
    weights = {"table": np.ones((3, 8), np.float32), "weight": np.ones((8, 8), np.float32)}
    nodes = [
        helper.make_node("MatMul", ["x", "weight"], ["m"], name="/fc"),
        helper.make_node("Add", ["m", "table"], ["y"], name="/add"),
    ]
    made = model(nodes, weights, {"x": [1, 8]}, ["y"])
    made.graph.input[0].type.tensor_type.shape.dim[0].dim_param = "n"
    onnx.save(made, tmp_path / "m.onnx")
    assert list(unequal(graphneurons.analyze(tmp_path / "m.onnx", dims={"n": 2}))) == []
    made.graph.initializer[0].dims[:] = [4, 6]
    onnx.save(made, tmp_path / "m.onnx")
    assert [each.op.name for each in unequal(graphneurons.analyze(tmp_path / "m.onnx", dims={"n": 4}))] == ["/add"]

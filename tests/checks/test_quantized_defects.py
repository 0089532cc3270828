"""What onnxruntime's quantizer writes is clean; with one scale per synapse channel, the layer and the axis are told."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

import graphneurons
from graphneurons.checks.base import Finding, Subject
from graphneurons.checks.policy import parse_policy
from graphneurons.checks.running import run
from tests.checks.models import attribute
from tests.zoo.exporting import How
from tests.zoo.quantizing import quantized

# Infinite scales (GN303) are what the quantizer makes of some attention masks.
POLICY = parse_policy({"select": ["GN3"], "ignore": ["GN303"]}, "policy")
MODELS: tuple[tuple[str, How, str], ...] = (
    ("mlp_2d", "legacy", "qdq_channels"), ("cnn_bn", "legacy", "qdq_channels"), ("resnet50", "legacy", "qdq_channels"),
    ("mobilenet", "legacy", "qdq_channels"), ("bert", "legacy", "qdq_channels"), ("gpt2", "legacy", "qdq_channels"),
)  # fmt: skip


def _findings(path: Path) -> list[Finding]:
    return list(run(Subject(graphneurons.analyze(path), POLICY)).findings)


@pytest.mark.parametrize(("name", "how", "scheme"), MODELS)
def test_scales_moved_to_a_synapse_axis_are_found(name: str, how: How, scheme: str, tmp_path: Path) -> None:
    path = quantized(name, how, scheme)
    assert _findings(path) == []
    analysis = graphneurons.analyze(path)
    uses = {use.weight.name: (layer.id, use) for layer in analysis.layers for use in layer.weights}
    made = onnx.load(path)
    stored = {each.name: each for each in made.graph.initializer}
    nodes = [each for each in made.graph.node if each.op_type == "DequantizeLinear" and each.input[0] in uses]
    random = np.random.default_rng([*name.encode()])
    node = nodes[int(random.integers(len(nodes)))]
    layer, use = uses[node.input[0]]
    axis = next(at for at, each in enumerate(use.axes) if each.role == "synapse" and each.size > 1)
    zero = numpy_helper.to_array(stored[node.input[2]])
    for operand, kind in ((1, np.dtype(np.float32)), (2, zero.dtype)):
        values = np.full(use.axes[axis].size, 0.01 if operand == 1 else 0).astype(kind)
        made.graph.initializer.append(numpy_helper.from_array(values, f"injected.{operand}"))
        node.input[operand] = f"injected.{operand}"
    attribute(node, "axis", axis)
    onnx.save(made, tmp_path / "model.onnx")
    found = [each for each in _findings(tmp_path / "model.onnx") if each.code == "GN301"]
    assert [(each.layer, each.weight, each.axis) for each in found] == [(layer, node.input[0], axis)]

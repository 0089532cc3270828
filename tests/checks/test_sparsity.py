"""N:M sparsity holds or fails along the synapses of every layout, and along nothing else."""

from __future__ import annotations

import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import graphneurons
from graphneurons.checks import patterns
from graphneurons.checks.base import Finding, Subject
from graphneurons.checks.policy import parse_policy
from graphneurons.checks.running import run
from tests.checks.test_ranges import MS, op

RANDOM = np.random.default_rng(2)
POLICY = parse_policy({"select": ["GN403"], "hardware": {"sparsity": "2:4"}}, "policy")


def sparse(neurons: int, taps: int, channels: int) -> np.ndarray[Any, Any]:
    """(neurons, taps, channels) with two of four neighbouring channels zero."""
    made = RANDOM.uniform(0.1, 1, (neurons, taps, channels // 4, 4)).astype(np.float32)
    left_out = np.argsort(RANDOM.random(made.shape), axis=-1)[..., :2]
    np.put_along_axis(made, left_out, 0, -1)
    return made.reshape(neurons, taps, channels)


# Layout -> (neurons, taps, channels), how they are stored, the nodes, x, the axis of the synapses.
LAYOUTS: dict[str, Any] = {
    "Gemm": ((6, 1, 16), lambda w: w[:, 0], [op("Gemm", "x w", "y", transB=1)], [2, 16], 1),
    "Gemm in out": ((6, 1, 16), lambda w: w[:, 0].T, [op("Gemm", "x w", "y")], [2, 16], 0),
    "MatMul": ((6, 1, 16), lambda w: w[:, 0].T, [op("MatMul", "x w", "y")], [1, 3, 16], 0),
    "MatMul of a transpose": (
        (6, 1, 16), lambda w: w[:, 0], [op("Transpose", "w", "t"), op("MatMul", "x t", "y")], [1, 3, 16], 1,
    ),
    "Conv": ((6, 9, 8), lambda w: w.transpose(0, 2, 1).reshape(6, 8, 3, 3), [op("Conv", "x w", "y")], [1, 8, 5, 5], 1),
    "Conv in groups": (
        (6, 4, 8), lambda w: w.transpose(0, 2, 1).reshape(6, 8, 2, 2), [op("Conv", "x w", "y", group=2)],
        [1, 16, 5, 5], 1,
    ),
    "Conv 1d": ((6, 3, 8), lambda w: w.transpose(0, 2, 1), [op("Conv", "x w", "y")], [1, 8, 9], 1),
    "Conv of a transpose": (
        (6, 4, 8), lambda w: w.reshape(6, 2, 2, 8),
        [op("Transpose", "w", "t", perm=[0, 3, 1, 2]), op("Conv", "x t", "y")], [1, 8, 5, 5], 3,
    ),
    "Attention": (
        (24, 1, 8), lambda w: w[:, 0].T, [op("Attention", "x w", "y", MS, num_heads=2)], [1, 5, 8], 0,
    ),
    "QDQ": (
        (6, 1, 16), lambda w: np.where(w[:, 0] == 0, 7, 90).astype(np.uint8),
        [op("DequantizeLinear", "w s z", "d", axis=0), op("Gemm", "x d", "y", transB=1)], [2, 16], 1,
    ),
}  # fmt: skip


def findings(path: Path, name: str, values: np.ndarray[Any, Any]) -> list[Finding]:
    _, stored, nodes, x, _ = LAYOUTS[name]
    weights = {"w": np.ascontiguousarray(stored(values))}
    if name == "QDQ":
        weights |= {"s": np.full(6, 0.1, np.float32), "z": np.full(6, 7, np.uint8)}
    graph = helper.make_graph(
        nodes, "g", [helper.make_tensor_value_info("x", TensorProto.FLOAT, x)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(value, key) for key, value in weights.items()],
    )  # fmt: skip
    opsets = [helper.make_opsetid("", 20), helper.make_opsetid(MS, 1)]
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=10), path)
    return list(run(Subject(graphneurons.analyze(path), POLICY)).findings)


@pytest.mark.parametrize("name", LAYOUTS)
def test_neighbours_lie_along_the_synapses(name: str, tmp_path: Path) -> None:
    shape, *_, axis = LAYOUTS[name]
    values = sparse(*shape)
    assert findings(tmp_path / "m.onnx", name, values) == []
    values[4, -1, 4:8] = 1
    values[1, 0, 0:4] = 1
    assert [(each.neurons, each.axis) for each in findings(tmp_path / "m.onnx", name, values)] == [((1, 4), axis)]


@pytest.mark.parametrize("name", ["Gemm", "Gemm in out", "Conv", "Conv in groups"])
def test_the_pattern_along_neurons_or_taps_does_not_count(name: str, tmp_path: Path) -> None:
    shape, *_ = LAYOUTS[name]
    neurons, taps, channels = shape
    values = np.ones((neurons, taps, channels), np.float32)
    values[::2] = 0
    found = findings(tmp_path / "m.onnx", name, values)
    assert [each.neurons for each in found] == [tuple(range(1, neurons, 2))]
    values[:] = 1
    values[:, 1::2] = 0
    assert [each.neurons for each in findings(tmp_path / "m.onnx", name, values)] == [tuple(range(neurons))]


def test_channels_that_fill_no_run_are_told(tmp_path: Path) -> None:
    nodes = [op("Conv", "x w", "c"), op("Conv", "c d", "y", group=6)]
    weights = {"w": np.ones((6, 3, 1, 1), np.float32), "d": np.ones((6, 1, 3, 3), np.float32)}
    graph = helper.make_graph(
        nodes, "g", [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 3, 5, 5])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(value, key) for key, value in weights.items()],
    )  # fmt: skip
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10), tmp_path / "m.onnx")
    (finding,) = run(Subject(graphneurons.analyze(tmp_path / "m.onnx"), POLICY)).findings
    # A depthwise convolution has no neighbouring channels at all.
    assert (finding.layer, finding.message) == ("/c", "3 synapses along axis 1 are no multiple of 4")


@pytest.mark.parametrize("at_once", [1, 30, 60])
@pytest.mark.parametrize("name", LAYOUTS)
def test_large_weights_are_read_in_slabs(
    name: str, at_once: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shape, *_ = LAYOUTS[name]
    values = sparse(*shape)
    read: list[int] = []
    whole = patterns._read_rows
    monkeypatch.setattr(patterns, "AT_ONCE", at_once)
    monkeypatch.setattr(patterns, "_read_rows", lambda ref, rows: read.append(rows[1] - rows[0]) or whole(ref, rows))
    assert findings(tmp_path / "m.onnx", name, values) == []
    assert len(read) > 1
    values[0, 0, 0:4] = 1
    values[shape[0] - 1, -1, shape[2] - 4 :] = 1
    assert [each.neurons for each in findings(tmp_path / "m.onnx", name, values)] == [(0, shape[0] - 1)]


def test_a_weight_of_half_a_gigabyte_takes_little_memory(tmp_path: Path) -> None:
    rows, wide = 8192, 16384
    weight = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[rows, wide], data_location=TensorProto.EXTERNAL)
    for key, value in (("location", "w.bin"), ("offset", "0"), ("length", str(4 * rows * wide))):
        weight.external_data.add(key=key, value=value)
    with (tmp_path / "w.bin").open("wb") as file:
        file.truncate(4 * rows * wide)
        file.seek(4 * (5000 * wide + 8))
        file.write(np.ones(3, np.float32).tobytes())
    graph = helper.make_graph(
        [op("Gemm", "x w", "y", transB=1)], "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, wide])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)], [weight],
    )  # fmt: skip
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10), tmp_path / "m.onnx")
    subject = Subject(graphneurons.analyze(tmp_path / "m.onnx"), POLICY)
    tracemalloc.start()
    (finding,) = run(subject).findings
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert finding.neurons == (5000,)
    assert peak < 100 << 20

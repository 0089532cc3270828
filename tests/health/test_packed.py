"""Packed tables and 4-bit floats are summed as the numbers that onnxruntime unpacks, also with permuted blocks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

import graphneurons
from graphneurons.health import Health, WeightHealth, scan

RANDOM = np.random.default_rng(4)
ROWS, BLOCK = 10, 16


def _saved(path: Path, node: Any, weights: dict[str, np.ndarray], x: tuple[int, list[int]]) -> Health:
    graph = helper.make_graph(
        [node], "g", [helper.make_tensor_value_info("x", *x)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(value, name) for name, value in weights.items()],
    )  # fmt: skip
    opsets = [helper.make_opsetid("", 21), helper.make_opsetid("com.microsoft", 1)]
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=10), path)
    return scan(graphneurons.analyze(path))


def _run(path: Path, x: np.ndarray) -> np.ndarray:
    found: np.ndarray = onnxruntime.InferenceSession(path).run(None, {"x": x})[0]
    return found


def _agrees(found: WeightHealth, matrix: np.ndarray) -> None:
    rows = found.neurons
    assert (rows.size, rows.elements, found.units) == (*matrix.shape, "dequantized")
    np.testing.assert_allclose(rows.min, matrix.min(axis=1), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(rows.max, matrix.max(axis=1), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(rows.l2, np.linalg.norm(matrix, axis=1), rtol=1e-5)
    np.testing.assert_allclose(rows.mean, matrix.mean(axis=1), rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(found.channels.l2, np.linalg.norm(matrix, axis=0), rtol=1e-5)


@pytest.mark.parametrize("zeros", [False, True])
@pytest.mark.parametrize("kind", ["int4", "uint4", "uint8 of 4", "uint8 of 8"])
@pytest.mark.parametrize("width", [64, 40])
def test_packed_tables(kind: str, zeros: bool, width: int, tmp_path: Path) -> None:
    bits = 8 if kind == "uint8 of 8" else 4
    blocks = -(-width // BLOCK)
    if kind.startswith("uint8"):
        data = RANDOM.integers(0, 256, (ROWS, width * bits // 8)).astype(np.uint8)
        zero = RANDOM.integers(0, 256, (ROWS, -(-blocks * bits // 8))).astype(np.uint8)
    else:
        low, high = (-8, 8) if kind == "int4" else (0, 16)
        data = RANDOM.integers(low, high, (ROWS, width)).astype(getattr(ml_dtypes, kind))
        zero = RANDOM.integers(low, high, (ROWS, blocks)).astype(data.dtype)
    weights = {"w": data, "s": RANDOM.uniform(0.1, 1, (ROWS, blocks)).astype(np.float32)}
    node = helper.make_node(
        "GatherBlockQuantized", ["w", "x", "s"], ["y"], domain="com.microsoft", block_size=BLOCK, gather_axis=0,
        quantize_axis=1, bits=bits,
    )  # fmt: skip
    if zeros:
        weights["z"] = zero
        node.input.append("z")
    path = tmp_path / "m.onnx"
    health = _saved(path, node, weights, (TensorProto.INT64, [ROWS]))
    assert health.skipped == ()
    _agrees(health.lookups[0], _run(path, np.arange(ROWS)))


@pytest.mark.parametrize("quant_type", [0, 1])
def test_four_bit_floats(quant_type: int, tmp_path: Path) -> None:
    neurons, synapses = 6, 48
    weights = {
        "w": RANDOM.integers(0, 256, neurons * synapses // 2).astype(np.uint8),
        "s": RANDOM.uniform(0.1, 1, neurons * synapses // 32).astype(np.float32),
    }
    node = helper.make_node(
        "MatMulBnb4", ["x", "w", "s"], ["y"], domain="com.microsoft", K=synapses, N=neurons, block_size=32,
        quant_type=quant_type,
    )  # fmt: skip
    path = tmp_path / "m.onnx"
    health = _saved(path, node, weights, (TensorProto.FLOAT, [synapses, synapses]))
    assert health.skipped == ()
    _agrees(health.weights[0], _run(path, np.eye(synapses, dtype=np.float32)).T)


@pytest.mark.parametrize("zeros", [False, True])
def test_blocks_of_permuted_synapses(zeros: bool, tmp_path: Path) -> None:
    neurons, synapses, block = 6, 64, 16
    blocks = synapses // block
    weights: dict[str, np.ndarray] = {
        "w": RANDOM.integers(0, 256, (neurons, blocks, block // 2)).astype(np.uint8),
        "s": RANDOM.uniform(0.1, 1, neurons * blocks).astype(np.float32),
        "g": RANDOM.permutation(np.arange(synapses) // block).astype(np.int32),
    }
    node = helper.make_node(
        "MatMulNBits", ["x", "w", "s", "", "g"], ["y"], domain="com.microsoft", K=synapses, N=neurons, bits=4,
        block_size=block,
    )  # fmt: skip
    if zeros:
        weights["z"] = RANDOM.integers(0, 256, (neurons, blocks // 2)).astype(np.uint8)
        node.input[3] = "z"
    path = tmp_path / "m.onnx"
    health = _saved(path, node, weights, (TensorProto.FLOAT, [synapses, synapses]))
    assert health.skipped == ()
    codes = np.stack([weights["w"] & 15, weights["w"] >> 4], axis=-1).reshape(neurons, synapses).astype(np.float32)
    zero = np.full((neurons, blocks), 8, np.float32)
    if zeros:
        zero = np.stack([weights["z"] & 15, weights["z"] >> 4], axis=-1).reshape(neurons, blocks).astype(np.float32)
    expected = (codes - zero[:, weights["g"]]) * weights["s"].reshape(neurons, blocks)[:, weights["g"]]
    _agrees(health.weights[0], expected)
    if not zeros:
        # With permuted blocks onnxruntime's CPU kernel leaves packed zero points out and takes 8 for all of them.
        np.testing.assert_allclose(_run(path, np.eye(synapses, dtype=np.float32)).T, expected, rtol=1e-5, atol=1e-5)


def test_permutations_that_name_no_block_are_told(tmp_path: Path) -> None:
    weights = {
        "w": np.zeros((6, 2, 8), np.uint8),
        "s": np.ones(12, np.float32),
        "g": np.full(32, 2, np.int32),
    }
    node = helper.make_node(
        "MatMulNBits", ["x", "w", "s", "", "g"], ["y"], domain="com.microsoft", K=32, N=6, bits=4, block_size=16
    )
    health = _saved(tmp_path / "m.onnx", node, weights, (TensorProto.FLOAT, [2, 32]))
    assert [each.reason for each in health.skipped] == ["its g_idx names blocks that do not exist"]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"s": np.ones((ROWS, 3), np.float32)}, "its scales are not stored, too many to be held, or do not fit"),
        ({"z": np.zeros((ROWS, 1), np.uint8)}, f"its zero points of shape [{ROWS}, 1] do not fit its blocks"),
    ],
)
def test_tables_whose_scales_do_not_fit_are_told(change: dict[str, np.ndarray], reason: str, tmp_path: Path) -> None:
    weights = {"w": np.zeros((ROWS, 64), np.uint8), "s": np.ones((ROWS, 4), np.float32), **change}
    node = helper.make_node(
        "GatherBlockQuantized", ["w", "x", "s", *(["z"] if "z" in weights else [])], ["y"], domain="com.microsoft",
        block_size=BLOCK, quantize_axis=1, bits=8,
    )  # fmt: skip
    health = _saved(tmp_path / "m.onnx", node, weights, (TensorProto.INT64, [4]))
    assert [each.reason.removesuffix(" its blocks") for each in health.skipped] == [reason.removesuffix(" its blocks")]

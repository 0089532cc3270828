"""Quantized weights are summed as the numbers they stand for: through QDQ, integer ops and packed blocks."""

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
from graphneurons.health import Health, scan
from tests.health.naive import agrees

RANDOM = np.random.default_rng(11)


def saved(
    path: Path, nodes: list[Any], weights: dict[str, np.ndarray], x: list[int], kind: int = TensorProto.FLOAT
) -> str:
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", kind, x)],
        [helper.make_tensor_value_info(nodes[-1].output[0], TensorProto.FLOAT, None)],
        [numpy_helper.from_array(value, name) for name, value in weights.items()],
    )
    opsets = [helper.make_opsetid("", 21), helper.make_opsetid("com.microsoft", 1)]
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=10), path)
    return str(path)


def scanned(path: str) -> tuple[graphneurons.Analysis, Health]:
    analysis = graphneurons.analyze(path)
    return analysis, scan(analysis)


def restored(q: np.ndarray, scale: np.ndarray, zero: np.ndarray | int) -> np.ndarray:
    return (q.astype(np.float32) - np.asarray(zero, np.float32)) * scale.astype(np.float32)


def of_type(dtype: str, shape: tuple[int, ...]) -> np.ndarray:
    if dtype in ("int4", "uint4"):
        low, high = (-8, 8) if dtype == "int4" else (0, 16)
        return RANDOM.integers(low, high, shape).astype(getattr(ml_dtypes, dtype))
    if dtype.startswith("float8"):
        return RANDOM.normal(size=shape).astype(getattr(ml_dtypes, dtype))
    info = np.iinfo(dtype)
    return RANDOM.integers(info.min, info.max, shape, endpoint=True).astype(dtype)


@pytest.mark.parametrize("dtype", ["int8", "uint8", "int16", "uint16", "int4", "uint4", "float8_e4m3fn"])
@pytest.mark.parametrize("transposed", [False, True])
@pytest.mark.parametrize("along", ["tensor", "neurons", "synapses", "blocks"])
def test_weights_behind_dequantize_linear(dtype: str, transposed: bool, along: str, tmp_path: Path) -> None:
    shape = (12, 96)
    q = of_type(dtype, shape)
    sizes = {"tensor": (), "neurons": (12,), "synapses": (96,), "blocks": (12, 6)}[along]
    scale = RANDOM.uniform(0.01, 1, sizes).astype(np.float32)
    zero = of_type(dtype, sizes) if not dtype.startswith("float8") else np.zeros(sizes, q.dtype)
    attributes: dict[str, int] = {
        "neurons": {"axis": 0},
        "synapses": {"axis": 1},
        "blocks": {"axis": 1, "block_size": 16},
    }.get(along, {})
    read = {"blocks": lambda v: np.repeat(v, 16, 1), "neurons": lambda v: v[:, None]}.get(along, lambda v: v)
    expected = restored(q, read(scale), read(zero.astype(np.float32)))
    nodes = [helper.make_node("DequantizeLinear", ["w", "s", "z"], ["d"], **attributes)]
    if transposed:
        nodes += [helper.make_node("Transpose", ["d"], ["t"]), helper.make_node("MatMul", ["x", "t"], ["y"])]
    else:
        nodes.append(helper.make_node("Gemm", ["x", "d"], ["y"], transB=1))
    analysis, health = scanned(saved(tmp_path / "m.onnx", nodes, {"w": q, "s": scale, "z": zero}, [2, 96]))
    assert health.weights[0].units == "dequantized"
    agrees(health.weights[0], analysis.layers[0].weights[0], expected, 2.0**-126)


def test_a_transpose_before_dequantize_linear_turns_its_axis(tmp_path: Path) -> None:
    q, scale = of_type("int8", (7, 5)), RANDOM.uniform(0.1, 1, 7).astype(np.float32)
    nodes = [
        helper.make_node("Transpose", ["w"], ["t"], perm=[1, 0]),
        helper.make_node("DequantizeLinear", ["t", "s"], ["d"], axis=1),
        helper.make_node("MatMul", ["x", "d"], ["y"]),
    ]
    analysis, health = scanned(saved(tmp_path / "m.onnx", nodes, {"w": q, "s": scale}, [2, 5]))
    agrees(health.weights[0], analysis.layers[0].weights[0], restored(q, scale[:, None], 0), 2.0**-126)


def test_integer_convolutions(tmp_path: Path) -> None:
    q, scale, zero = (
        of_type("uint8", (6, 2, 3, 3)),
        RANDOM.uniform(0.1, 1, 6).astype(np.float32),
        of_type("uint8", (6,)),
    )
    one, none = np.float32(0.5), np.uint8(3)
    weights = {"xs": one, "xz": none, "w": q, "ws": scale, "wz": zero, "ys": one, "yz": none}
    names = ["x", "xs", "xz", "w", "ws", "wz", "ys", "yz"]
    nodes = [helper.make_node("QLinearConv", names, ["y"], group=2)]
    kind = TensorProto.UINT8
    analysis, health = scanned(
        saved(tmp_path / "m.onnx", nodes, {k: np.asarray(v) for k, v in weights.items()}, [1, 4, 8, 8], kind)
    )
    expected = restored(q, scale[:, None, None, None], zero[:, None, None, None])
    agrees(health.weights[0], analysis.layers[0].weights[0], expected, 2.0**-126, 2)
    assert health.weights[0].taps == 9

    nodes = [helper.make_node("ConvInteger", ["x", "w", "xz", "wz1"], ["y"], group=2)]
    weights = {"w": q, "xz": none, "wz1": np.uint8(100)}
    analysis, health = scanned(
        saved(tmp_path / "n.onnx", nodes, {k: np.asarray(v) for k, v in weights.items()}, [1, 4, 8, 8], kind)
    )
    assert health.weights[0].units == "steps"
    agrees(health.weights[0], analysis.layers[0].weights[0], q.astype(np.float32) - 100, 0, 2)


def test_integer_matrices_have_scales_per_column(tmp_path: Path) -> None:
    q, scale, zero = of_type("int8", (5, 7)), RANDOM.uniform(0.1, 1, 7).astype(np.float32), of_type("int8", (7,))
    weights = {"s": np.float32(0.5), "z": np.int8(3), "w": q, "ws": scale, "wz": zero}
    nodes = [helper.make_node("QLinearMatMul", ["x", "s", "z", "w", "ws", "wz", "s", "z"], ["y"])]
    path = saved(tmp_path / "m.onnx", nodes, {k: np.asarray(v) for k, v in weights.items()}, [2, 5], TensorProto.INT8)
    analysis, health = scanned(path)
    agrees(health.weights[0], analysis.layers[0].weights[0], restored(q, scale, zero), 2.0**-126)


@pytest.mark.parametrize(
    ("bits", "zeros"),
    [(2, "none"), (2, "packed"), (4, "none"), (4, "packed"), (4, "floats"), (8, "none"), (8, "packed")],
)
def test_packed_blocks_are_unpacked_as_onnxruntime_does(bits: int, zeros: str, tmp_path: Path) -> None:
    neurons, synapses, block = 6, 70, 32
    blocks = -(-synapses // block)
    packed = RANDOM.integers(0, 256, (neurons, blocks, block * bits // 8)).astype(np.uint8)
    weights = {"w": packed, "s": RANDOM.uniform(0.1, 1, (neurons, blocks)).astype(np.float32)}
    names = ["x", "w", "s"]
    if zeros == "packed":
        weights["z"] = RANDOM.integers(0, 256, (neurons, -(-blocks * bits // 8))).astype(np.uint8)
        names.append("z")
    elif zeros == "floats":
        weights["z"] = RANDOM.uniform(0, 9, (neurons, blocks)).astype(np.float32)
        names.append("z")
    node = helper.make_node(
        "MatMulNBits", names, ["y"], domain="com.microsoft", K=synapses, N=neurons, bits=bits, block_size=block
    )
    path = saved(tmp_path / "m.onnx", [node], weights, [synapses, synapses])
    analysis, health = scanned(path)
    session = onnxruntime.InferenceSession(path)
    matrix = session.run(None, {"x": np.eye(synapses, dtype=np.float32)})[0].T
    found = health.weights[0].neurons
    assert (found.size, found.elements, health.weights[0].units) == (neurons, synapses, "dequantized")
    np.testing.assert_allclose(found.min, matrix.min(axis=1), rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(found.max, matrix.max(axis=1), rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(found.l2, np.linalg.norm(matrix, axis=1), rtol=1e-5)
    np.testing.assert_allclose(found.mean, matrix.mean(axis=1), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(health.weights[0].channels.l2, np.linalg.norm(matrix, axis=0), rtol=1e-5)
    assert analysis.layers[0].neurons == neurons


def test_formats_that_are_not_unpacked_are_named_with_the_reason(tmp_path: Path) -> None:
    packed = np.zeros((6, 32), np.uint8)
    names = ["x", "w", "s", "t", "u"]
    node = helper.make_node("MatMulBlockQuantizedFp4Weight", names, ["y"], domain="com.microsoft", block_size=16)
    weights = {"w": packed, "s": np.ones((6, 4), np.float32), "t": np.float32(1), "u": np.float32(1)}
    path = saved(tmp_path / "m.onnx", [node], weights, [2, 64])
    _, health = scanned(path)
    reason = "the packed format of MatMulBlockQuantizedFp4Weight is not unpacked"
    assert [(s.name, s.reason) for s in health.skipped] == [("w", reason)]
    assert not health.layers[0].scanned


def test_a_scale_of_zero_or_nan_shows_in_its_neuron(tmp_path: Path) -> None:
    q = np.full((3, 4), 5, np.int8)
    scale = np.array([0.0, np.nan, 2.0], np.float32)
    nodes = [
        helper.make_node("DequantizeLinear", ["w", "s"], ["d"], axis=0),
        helper.make_node("Gemm", ["x", "d"], ["y"], transB=1),
    ]
    _, health = scanned(saved(tmp_path / "m.onnx", nodes, {"w": q, "s": scale}, [2, 4]))
    found = health.weights[0].neurons
    assert found.dead.tolist() == [True, False, False]
    assert found.broken.tolist() == [False, True, False]
    assert found.constant.tolist() == [False, False, True]
    scales = next(m for m in health.modulators if m.name == "s")
    assert (scales.nan.tolist(), scales.zeros.tolist()) == ([1], [0])


@pytest.mark.parametrize("layout", ["rows", "columns"])
@pytest.mark.parametrize("dtype", ["int8", "uint8"])
@pytest.mark.parametrize("zero", [None, 3])
@pytest.mark.parametrize("odd", [None, 0.0, -0.5, 1e-25, 1e-40, 1e30])
def test_scales_of_any_size_and_sign(
    layout: str, dtype: str, zero: int | None, odd: float | None, tmp_path: Path
) -> None:
    """Integers whose scales are ordinary are scaled once they are summed, others one by one."""
    shape = (12, 96) if layout == "rows" else (96, 12)
    q = of_type(dtype, shape)
    axis = 0 if layout == "rows" else 1
    scale = RANDOM.uniform(0.01, 1, 12).astype(np.float32)
    if odd is not None:
        scale[5] = odd
    weights = {"w": q, "s": scale}
    names = ["w", "s"]
    if zero is not None:
        weights["z"] = np.full(12, zero, dtype)
        names.append("z")
    nodes = [
        helper.make_node("DequantizeLinear", names, ["d"], axis=axis),
        helper.make_node("Gemm", ["x", "d"], ["y"], transB=1 - axis),
    ]
    with np.errstate(all="ignore"):
        expected = restored(q, scale[:, None] if layout == "rows" else scale, zero or 0)
    analysis, health = scanned(saved(tmp_path / "m.onnx", nodes, weights, [1, 96]))
    agrees(health.weights[0], analysis.layers[0].weights[0], expected, 2.0**-126)

"""What interval arithmetic proves holds in the running model, and is as tight as it can be for one layer."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

import graphneurons
from graphneurons.checks import ranges
from graphneurons.checks.walking import Walk
from tests.checks.models import Weights

RANDOM = np.random.default_rng(5)
CHANNELS = 6
LOW = RANDOM.uniform(-2, 0.5, CHANNELS).astype(np.float32)
WIDTH = RANDOM.uniform(0.1, 2, CHANNELS).astype(np.float32)


def normal(*shape: int) -> np.ndarray[Any, Any]:
    return RANDOM.normal(size=shape).astype(np.float32)


def op(kind: str, inputs: str, output: str, domain: str = "", **attributes: Any) -> onnx.NodeProto:
    return helper.make_node(kind, inputs.split(), output.split(), name=f"/{output}", domain=domain, **attributes)


def flat(nodes: Iterable[onnx.NodeProto], **weights: np.ndarray[Any, Any]) -> tuple[list[onnx.NodeProto], Weights]:
    """Nodes on `x` (batch, 6), every entry within a range of its own."""
    return list(nodes), {"low": LOW, "width": WIDTH, **weights}


def spatial(nodes: Iterable[onnx.NodeProto], **weights: np.ndarray[Any, Any]) -> tuple[list[onnx.NodeProto], Weights]:
    """Nodes on `x` (batch, 6, 4, 4), every channel within a range of its own."""
    head = [op("Reshape", "x shape", "m"), op("Expand", "m wide", "s")]
    wide = {"shape": np.array([-1, CHANNELS, 1, 1]), "wide": np.array([1, CHANNELS, 4, 4])}
    return [*head, *nodes], {"low": LOW, "width": WIDTH, **wide, **weights}


def alike(*shape: int) -> np.ndarray[Any, Any]:
    """Weights of one sign per channel and neuron, whatever the tap: channels are constant along space here, so that
    taps of different signs never see their worst cases together."""
    return np.abs(normal(*shape)) * np.sign(normal(*shape[:2])).reshape(*shape[:2], *(1,) * (len(shape) - 2))


MS = "com.microsoft"
SCALE, ZERO = np.float32(0.03), np.uint8(128)
Q = RANDOM.integers(-120, 120, (5, 6)).astype(np.int8)
NEURON_SCALES = RANDOM.uniform(0.01, 0.02, 5).astype(np.float32)

# Name -> nodes and weights; the last node makes y. Those in TIGHT reach their bounds.
MODELS: dict[str, tuple[list[onnx.NodeProto], Weights]] = {
    "gemm": flat([op("Gemm", "x w b", "y", transB=1, alpha=-0.5, beta=2.0)], w=normal(5, 6), b=normal(5)),
    "gemm in out": flat([op("Gemm", "x w b", "y")], w=normal(6, 5), b=normal(1)),
    "matmul": flat([op("MatMul", "x w", "h"), op("Add", "b h", "y")], w=normal(6, 5), b=normal(5)),
    "turned": flat([op("Transpose", "w", "t", perm=[1, 0]), op("MatMul", "x t", "y")], w=normal(5, 6)),
    "scaled": flat(
        [op("Gemm", "x w", "h", transB=1), op("Mul", "h g", "m"), op("Sub", "b m", "n"), op("Neg", "n", "y")],
        w=normal(5, 6), g=normal(5), b=normal(5),
    ),
    "divided": flat([op("Gemm", "x w", "h", transB=1), op("Div", "h g", "y")], w=normal(5, 6), g=normal(5)),
    "conv": spatial([op("Conv", "s w b", "y")], w=alike(4, 6, 3, 3), b=normal(4)),
    "conv in groups": spatial([op("Conv", "s w b", "y", group=3)], w=normal(9, 2, 1, 1), b=normal(9)),
    "depthwise": spatial([op("Conv", "s w", "y", group=6)], w=alike(6, 1, 2, 2)),
    "batch norm": spatial(
        [op("Conv", "s w", "h"), op("BatchNormalization", "h g b mean var", "y", epsilon=0.01)],
        w=normal(4, 6, 1, 1), g=normal(4), b=normal(4), mean=normal(4), var=normal(4) ** 2,
    ),
    "shuffle": spatial(
        [op("Reshape", "s a", "r"), op("Transpose", "r", "t", perm=[0, 2, 1, 3, 4]), op("Reshape", "t c", "k"),
         op("Conv", "k w", "y", group=2)],
        a=np.array([-1, 2, 3, 4, 4]), c=np.array([-1, 6, 4, 4]), w=normal(4, 3, 1, 1),
    ),
    "flatten": spatial([op("MaxPool", "s", "p", kernel_shape=[2, 2]), op("Flatten", "p", "f"), op("Gemm", "f w", "y")],
                       w=np.ascontiguousarray(alike(3, 6, 3, 3).reshape(3, 54).T)),
    "halves": flat(
        [op("Split", "x", "a b", num_outputs=2, axis=1), op("Concat", "b a", "c", axis=1), op("Gemm", "c w", "y")],
        w=normal(6, 5),
    ),
    "slice": flat([op("Slice", "x at to ax", "c"), op("MatMul", "c w", "y")], w=normal(3, 5),
                  at=np.array([2]), to=np.array([5]), ax=np.array([1])),
    "picked": flat([op("Gather", "x at", "c", axis=1), op("MatMul", "c w", "y")], w=normal(3, 5),
                   at=np.array([4, 0, 1])),
    "mean": spatial([op("ReduceMean", "s axes", "p", keepdims=0), op("Gemm", "p w", "y")], w=normal(6, 5),
                    axes=np.array([2, 3])),
    "pool": spatial([op("GlobalAveragePool", "s", "p"), op("Conv", "p w", "y")], w=normal(5, 6, 1, 1)),
    "after relu": flat([op("Relu", "x", "r"), op("Gemm", "r w b", "y")], w=normal(6, 5), b=normal(5)),
    "after sigmoid": flat([op("Sigmoid", "x", "r"), op("Gemm", "r w b", "y")], w=normal(6, 5), b=normal(5)),
    "after clip": flat([op("Clip", "x a c", "r"), op("Gemm", "r w b", "y")], w=normal(6, 5), b=normal(5),
                       a=np.float32(-0.3), c=np.float32(0.9)),
    "fused gemm": flat([op("FusedGemm", "x w b", "y", MS, transB=1, activation="LeakyRelu", activation_alpha=0.2)],
                       w=normal(5, 6), b=normal(5)),
    "fused matmul": flat([op("FusedMatMul", "x w", "y", MS, transB=1, alpha=0.3)], w=normal(5, 6)),
    "fused conv": spatial([op("FusedConv", "s w b", "y", MS, activation="Clip", activation_params=[-1.0, 2.0])],
                          w=normal(4, 6, 1, 1), b=normal(4)),
    "qdq weight": flat([op("DequantizeLinear", "q qs", "w", axis=0), op("Gemm", "x w", "y", transB=1)],
                       q=Q, qs=NEURON_SCALES),
    "conv transpose": spatial([op("ConvTranspose", "s w b", "y", group=2, strides=[2, 2])],
                              w=normal(6, 2, 3, 3), b=normal(4)),
    "padded": spatial([op("Add", "s ten", "t"), op("Conv", "t w", "y", pads=[1, 1, 1, 1])],
                      w=-np.abs(normal(4, 6, 3, 3)), ten=np.float32(10)),
    "strided": spatial([op("Add", "s ten", "t"), op("ConvTranspose", "t w", "y", strides=[3, 3])],
                       w=-np.abs(normal(6, 4, 2, 2)), ten=np.float32(10)),
    "layer norm": flat([op("LayerNormalization", "x g b", "n"), op("Gemm", "n w", "y")], g=normal(6), b=normal(6),
                       w=normal(6, 5)),
    "softmax": flat([op("Softmax", "x", "n"), op("Gemm", "n w", "y")], w=normal(6, 5)),
    "gate": flat([op("Gemm", "x w", "h"), op("Split", "h", "a b", num_outputs=2, axis=1), op("Sigmoid", "b", "s"),
                  op("Mul", "a s", "y")], w=normal(6, 8)),
    "silu": flat([op("Sigmoid", "x", "s"), op("Mul", "x s", "m"), op("Gemm", "m w", "y")], w=normal(6, 5)),
    **{
        kind.lower(): flat([op("Mul", "x k", "d"), op(kind, "d", "n", **attributes), op("Gemm", "n w", "y")],
                           w=normal(6, 5), k=np.float32(3))
        for kind, attributes in {
            "Gelu": {}, "Elu": {"alpha": 0.5}, "Selu": {}, "Celu": {"alpha": 2.0}, "Softplus": {}, "Softsign": {},
            "Mish": {}, "HardSwish": {}, "HardSigmoid": {"alpha": 0.4, "beta": 0.3}, "LeakyRelu": {}, "Erf": {},
            "ThresholdedRelu": {"alpha": 0.7}, "Tanh": {}, "Exp": {}, "Abs": {},
        }.items()
    },
    "residual": flat([op("Gemm", "x w", "h"), op("Add", "h x", "a"), op("Max", "a x", "y")], w=normal(6, 6)),
    "chosen": flat([op("Where", "c x k", "h"), op("Gemm", "h w", "y")], w=normal(6, 5), k=normal(6),
                   c=np.array([True, False, True, True, False, False])),
    "half": flat([op("Cast", "x", "h", to=TensorProto.FLOAT16), op("Cast", "h", "f", to=TensorProto.FLOAT),
                  op("Gemm", "f w", "y")], w=normal(6, 5)),
    "qdq": flat(
        [op("QuantizeLinear", "x s z", "q"), op("DequantizeLinear", "q s z", "d"), op("Gemm", "d w", "h"),
         op("QuantizeLinear", "h s z", "k"), op("DequantizeLinear", "k s z", "y")],
        w=normal(6, 5), s=SCALE, z=ZERO,
    ),
    "qlinear matmul": flat(
        [op("QuantizeLinear", "x s z", "q"), op("QLinearMatMul", "q s z w ws wz t z", "k"),
         op("DequantizeLinear", "k t z", "y")],
        w=np.ascontiguousarray(Q.T), ws=NEURON_SCALES, wz=np.zeros(5, np.int8), s=SCALE, z=ZERO, t=np.float32(0.1),
    ),
    "qlinear conv": spatial(
        [op("QuantizeLinear", "s qs z", "q"), op("QLinearConv", "q qs z w ws wz t z b", "k"),
         op("DequantizeLinear", "k t z", "y")],
        w=Q[:, :, None, None], ws=NEURON_SCALES, wz=np.zeros(5, np.int8), qs=SCALE, z=ZERO, t=np.float32(0.1),
        b=RANDOM.integers(-900, 900, 5).astype(np.int32),
    ),
    "blocks": flat(
        [op("MatMulNBits", "x w s", "y", MS, K=6, N=5, bits=4, block_size=16)],
        w=RANDOM.integers(0, 256, (5, 1, 8)).astype(np.uint8), s=RANDOM.uniform(0.1, 0.5, 5).astype(np.float32),
    ),
}  # fmt: skip
TIGHT = (
    "gemm", "gemm in out", "matmul", "turned", "scaled", "divided", "conv", "conv in groups", "depthwise", "batch norm",
    "shuffle", "flatten", "halves", "slice", "picked", "mean", "pool", "after relu", "after sigmoid", "after clip",
    "fused gemm", "fused matmul", "fused conv", "qdq weight", "leakyrelu", "tanh", "elu", "blocks",
)  # fmt: skip


def _built(name: str, path: Path) -> onnx.ModelProto:
    nodes, weights = MODELS[name]
    graph = helper.make_graph(
        [op("Mul", "u width", "v"), op("Add", "v low", "x"), *nodes],
        "g",
        [helper.make_tensor_value_info("u", TensorProto.FLOAT, ["n", CHANNELS])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(np.asarray(value), key) for key, value in weights.items()],
    )
    opsets = [helper.make_opsetid("", 22), helper.make_opsetid(MS, 1)]
    made = helper.make_model(graph, opset_imports=opsets, ir_version=10)
    onnx.save(made, path)
    return made


@pytest.fixture
def everything(monkeypatch: pytest.MonkeyPatch) -> None:
    """All values are looked at, not only those an activation depends on."""
    monkeypatch.setattr(ranges, "_needed", lambda graph: {each.name for each in graph.ops})


def walk_of(path: Path, declared: dict[str, tuple[float, float]]) -> Walk:
    walk = ranges.walked(graphneurons.analyze(path), declared)
    assert walk is not None
    return walk


def observed(made: onnx.ModelProto, names: Iterable[str], feed: dict[str, np.ndarray[Any, Any]]) -> dict[str, Any]:
    """Values of the running model by name."""
    return next(observations(made, names, [feed]))


def observations(
    made: onnx.ModelProto, names: Iterable[str], feeds: Iterable[dict[str, np.ndarray[Any, Any]]]
) -> Iterator[dict[str, Any]]:
    names = list(names)
    there = {each.name for each in made.graph.output}
    made.graph.output.extend(onnx.ValueInfoProto(name=name) for name in names if name not in there)
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(made.SerializeToString(), options, providers=["CPUExecutionProvider"])
    for feed in feeds:
        yield dict(zip(names, session.run(names, feed), strict=True))


@pytest.mark.usefixtures("everything")
@pytest.mark.parametrize("name", MODELS)
def test_every_value_lies_where_it_is_proved_to(name: str, tmp_path: Path) -> None:
    made = _built(name, tmp_path / "m.onnx")
    walk = walk_of(tmp_path / "m.onnx", {"u": (0.0, 1.0)})
    assert "y" in walk.known
    corners = np.array(list(product([0, 1], repeat=CHANNELS)), np.float32)
    between = RANDOM.uniform(0, 1, (300, CHANNELS)).astype(np.float32)
    names = [each for each in walk.known if each != "u" and each in walk.graph.producer]
    for key, value in observed(made, names, {"u": np.concatenate([corners, between])}).items():
        known = walk.known[key]
        low, high = (np.broadcast_to(each, (1, *value.shape[1:])) for each in (known.low, known.high))
        assert (value >= low).all(), key
        assert (value <= high).all(), key
        if key == "y" and name in TIGHT:
            others = tuple(at for at in range(value.ndim) if at != 1)
            scale = float(np.abs(value).max())
            assert np.abs(value.max(axis=others) - high.max(axis=others)).max() < 1e-4 * scale
            assert np.abs(value.min(axis=others) - low.min(axis=others)).max() < 1e-4 * scale


def test_nothing_is_taken_for_granted_of_integers(tmp_path: Path) -> None:
    nodes = [op("Add", "x x", "a"), op("Cast", "a", "f", to=TensorProto.FLOAT), op("Relu", "f", "y")]
    graph = helper.make_graph(
        nodes, "g", [helper.make_tensor_value_info("x", TensorProto.UINT8, [4])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [4])],
    )  # fmt: skip
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10), tmp_path / "m.onnx")
    walk = walk_of(tmp_path / "m.onnx", {})
    # 200 + 200 wraps around.
    assert set(walk.known) == {"x", "y"}
    assert walk.known["x"].integers


def test_weights_that_are_computed_are_not_taken_for_the_stored_ones(tmp_path: Path) -> None:
    nodes = [op("Mul", "w k", "d"), op("Gemm", "x d", "h"), op("Relu", "h", "y")]
    weights = {"w": normal(6, 5), "k": normal(5)}
    graph = helper.make_graph(
        nodes, "g", [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 6])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(value, key) for key, value in weights.items()],
    )  # fmt: skip
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10), tmp_path / "m.onnx")
    walk = walk_of(tmp_path / "m.onnx", {"x": (0.0, 1.0)})
    assert "h" not in walk.known


def test_what_differs_along_a_dynamic_axis_is_told_of_all_of_it(tmp_path: Path) -> None:
    nodes = [
        op("Sigmoid", "x", "s"), op("Concat", "x s", "c", axis=0), op("Slice", "c one many zero", "cut"),
        op("Relu", "cut", "y"),
    ]  # fmt: skip
    weights = {"one": np.array([1]), "many": np.array([1000]), "zero": np.array([0])}
    graph = helper.make_graph(
        nodes, "g", [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 4])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(value, key) for key, value in weights.items()],
    )  # fmt: skip
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10), tmp_path / "m.onnx")
    # Of one row of x nothing is left in the cut, but of two rows one is.
    assert float(walk_of(tmp_path / "m.onnx", {"x": (0.0, 5.0)}).known["cut"].high.max()) >= 5

"""Graphs written node by node: control flow, and ops no exporter writes for a small model."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from tests.zoo.exporting import kept

Array = np.ndarray
Nodes = Sequence[onnx.NodeProto]
node = helper.make_node


def numbers(*shape: int, seed: int = 0) -> Array:
    return np.random.default_rng([*shape, seed]).standard_normal(shape).astype(np.float32)


@dataclass(frozen=True)
class Graph:
    """``nodes`` read ``inputs`` and ``stored`` and make ``y``."""

    nodes: Nodes
    stored: Mapping[str, Array]
    shapes: Mapping[str, tuple[int, ...]] = field(default_factory=lambda: {"x": (2, 3, 4, 6)})
    version: int = 18
    outputs: tuple[str, ...] = ("y",)

    def inputs(self) -> list[Array]:
        return [numbers(*shape, seed=index + 1) for index, shape in enumerate(self.shapes.values())]

    def model(self) -> onnx.ModelProto:
        given = [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in self.shapes.items()]
        made = [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in self.outputs]
        stored = [numpy_helper.from_array(array, name) for name, array in self.stored.items()]
        body = helper.make_graph(list(self.nodes), "graph", given, made, stored)
        opsets = [helper.make_opsetid("", self.version), helper.make_opsetid("com.microsoft", 1)]
        return helper.make_model(body, opset_imports=opsets, ir_version=10)


def image(channels: int, into: int, nodes: Nodes, version: int = 18, **stored: Any) -> Graph:
    """``a``: a 1 x 1 convolution of an image to ``channels``; ``nodes`` make ``b`` of it, which is convolved again."""
    weights = {"first": numbers(channels, 3, 1, 1), "second": numbers(5, into, 1, 1)}
    both = [node("Conv", ["x", "first"], ["a"]), *nodes, node("Conv", ["b", "second"], ["y"])]
    return Graph(both, {**weights, **_arrays(stored)}, version=version)


def rows(width: int, into: int, nodes: Nodes, version: int = 18, **stored: Any) -> Graph:
    """``a``: a linear of (2, 6, 7) rows to ``width``; ``nodes`` make ``b`` of it, which goes through a linear again."""
    weights = {"first": numbers(7, width), "second": numbers(into, 5)}
    both = [node("MatMul", ["x", "first"], ["a"]), *nodes, node("MatMul", ["b", "second"], ["y"])]
    return Graph(both, {**weights, **_arrays(stored)}, {"x": (2, 6, 7)}, version)


def _arrays(stored: Mapping[str, Any]) -> dict[str, Array]:
    return {
        name: value if isinstance(value, np.ndarray) else np.array(value, dtype=np.int64)
        for name, value in stored.items()
    }


def branch(name: str, nodes: Nodes, result: str, stored: Mapping[str, Array] | None = None) -> onnx.GraphProto:
    """A branch of an If: no inputs, one result."""
    weights = [numpy_helper.from_array(array, key) for key, array in (stored or {}).items()]
    return helper.make_graph(
        list(nodes), name, [], [helper.make_tensor_value_info(result, TensorProto.FLOAT, None)], weights
    )


def lstm(source: str, name: str, width: int, hidden: int) -> tuple[list[onnx.NodeProto], dict[str, Array]]:
    """An LSTM over (time, batch, width) whose outputs come as (time, batch, hidden)."""
    stored = {f"{name}_w": numbers(1, 4 * hidden, width), f"{name}_r": numbers(1, 4 * hidden, hidden, seed=3)}
    nodes = [
        node("LSTM", [source, f"{name}_w", f"{name}_r"], [f"{name}_y"], hidden_size=hidden),
        node("Squeeze", [f"{name}_y", "one"], [name]),
    ]
    return nodes, stored


def nested_ifs() -> Graph:
    """Two LSTMs in two levels of Ifs, whose condition is computed from the input; a linear reads whichever ran."""
    first, first_stored = lstm("a", "left", 4, 6)
    second, second_stored = lstm("a", "right", 4, 6)
    inner = node(
        "If", ["deep"], ["inner"],
        then_branch=branch("inner_then", first, "left", first_stored),
        else_branch=branch("inner_else", second, "right", second_stored),
    )  # fmt: skip
    third, third_stored = lstm("a", "other", 4, 6)
    nodes = [
        node("MatMul", ["x", "first"], ["a"]),
        node("ReduceSum", ["x"], ["total"], keepdims=0),
        node("Greater", ["total", "zero"], ["wide"]),
        node("Less", ["total", "hundred"], ["deep"]),
        node(
            "If", ["wide"], ["b"],
            then_branch=branch("outer_then", [inner], "inner"),
            else_branch=branch("outer_else", third, "other", third_stored),
        ),
        node("MatMul", ["b", "second"], ["y"]),
    ]  # fmt: skip
    stored = {
        "first": numbers(7, 4), "second": numbers(6, 5), "one": np.array([1]), "zero": np.array(0, np.float32),
        "hundred": np.array(100, np.float32),
    }  # fmt: skip
    return Graph(nodes, stored, {"x": (3, 2, 7)})


def loop() -> Graph:
    """A Loop that carries a state of 6 units through a linear and keeps every step; half of it is swapped each time."""
    body = helper.make_graph(
        [
            node("MatMul", ["state", "again"], ["sum"]),
            node("Add", ["sum", "a"], ["added"]),
            node("Tanh", ["added"], ["felt"]),
            node("Split", ["felt"], ["low", "high"], axis=-1, num_outputs=2),
            node("Concat", ["high", "low"], ["next"], axis=-1),
            node("Identity", ["go"], ["on"]),
            node("Identity", ["next"], ["kept"]),
        ],
        "body",
        [
            helper.make_tensor_value_info("turn", TensorProto.INT64, []),
            helper.make_tensor_value_info("go", TensorProto.BOOL, []),
            helper.make_tensor_value_info("state", TensorProto.FLOAT, [2, 6]),
        ],
        [
            helper.make_tensor_value_info("on", TensorProto.BOOL, []),
            helper.make_tensor_value_info("next", TensorProto.FLOAT, [2, 6]),
            helper.make_tensor_value_info("kept", TensorProto.FLOAT, [2, 6]),
        ],
    )
    nodes = [
        node("MatMul", ["x", "first"], ["a"]),
        node("MatMul", ["x", "begin"], ["start"]),
        node("Loop", ["times", "yes", "start"], ["last", "all"], body=body),
        node("MatMul", ["last", "second"], ["p"]),
        node("MatMul", ["all", "third"], ["q"]),
        node("Add", ["p", "q"], ["y"]),
    ]
    stored = {
        "first": numbers(7, 6), "begin": numbers(7, 6, seed=2), "again": numbers(6, 6), "second": numbers(6, 5),
        "third": numbers(6, 5, seed=2), "times": np.array(4), "yes": np.array(True),
    }  # fmt: skip
    return Graph(nodes, stored, {"x": (2, 7)})


def scan() -> Graph:
    """A recurrent cell as a Scan over time, backwards outputs and all: h = tanh(x W + h R) beside a running sum."""
    body = helper.make_graph(
        [
            node("MatMul", ["step", "into"], ["read"]),
            node("MatMul", ["h", "again"], ["back"]),
            node("Add", ["read", "back"], ["both"]),
            node("Tanh", ["both"], ["h_next"]),
            node("Add", ["total", "h_next"], ["total_next"]),
            node("Identity", ["h_next"], ["out"]),
        ],
        "body",
        [
            helper.make_tensor_value_info("h", TensorProto.FLOAT, [2, 6]),
            helper.make_tensor_value_info("total", TensorProto.FLOAT, [2, 6]),
            helper.make_tensor_value_info("step", TensorProto.FLOAT, [2, 4]),
        ],
        [
            helper.make_tensor_value_info("h_next", TensorProto.FLOAT, [2, 6]),
            helper.make_tensor_value_info("total_next", TensorProto.FLOAT, [2, 6]),
            helper.make_tensor_value_info("out", TensorProto.FLOAT, [2, 6]),
        ],
    )
    nodes = [
        node("MatMul", ["x", "first"], ["a"]),
        node("Scan", ["h0", "h0", "a"], ["h_last", "sums", "all"], body=body, num_scan_inputs=1, scan_input_axes=[1],
             scan_output_axes=[1]),
        node("MatMul", ["sums", "second"], ["p"]),
        node("ReduceMax", ["all", "time"], ["peak"], keepdims=0),
        node("MatMul", ["peak", "third"], ["q"]),
        node("Add", ["p", "q"], ["y"]),
    ]  # fmt: skip
    stored = {
        "first": numbers(7, 4), "into": numbers(4, 6), "again": numbers(6, 6), "second": numbers(6, 5),
        "third": numbers(6, 5, seed=2), "h0": np.zeros((2, 6), np.float32), "time": np.array([1]),
    }  # fmt: skip
    return Graph(nodes, stored, {"x": (2, 3, 7)})


def given_state() -> Graph:
    """An LSTM whose first state is computed, in both directions, its last states read."""
    nodes = [
        node("MatMul", ["x", "first"], ["a"]),
        node("MatMul", ["s", "start"], ["h0"]),
        node("LSTM", ["a", "w", "r", "", "", "h0"], ["out", "h", "c"], hidden_size=3, direction="bidirectional"),
        node("Transpose", ["out"], ["t"], perm=[0, 2, 3, 1]),
        node("Reshape", ["t", "shape"], ["b"]),
        node("MatMul", ["b", "second"], ["p"]),
        node("ReduceSum", ["h", "front"], ["both"], keepdims=0),
        node("Concat", ["both", "cell"], ["c2"], axis=-1),
        node("Gather", ["c", "zero"], ["cell"], axis=0),
        node("MatMul", ["c2", "third"], ["q"]),
        node("Add", ["p", "q"], ["y"]),
    ]
    nodes[7], nodes[8] = nodes[8], nodes[7]
    stored = {
        "first": numbers(7, 4), "start": numbers(5, 3), "w": numbers(2, 12, 4), "r": numbers(2, 12, 3),
        "second": numbers(6, 5), "third": numbers(6, 5, seed=2), "shape": np.array([0, 0, -1]),
        "front": np.array([0]), "zero": np.array(0),
    }  # fmt: skip
    return Graph(nodes, stored, {"x": (4, 2, 7), "s": (2, 2, 5)})


def unrolled_sequence() -> Graph:
    """Pieces of a tensor travel in a sequence, in another order."""
    nodes = [
        node("SplitToSequence", ["a", "sizes"], ["pieces"], axis=-1),
        node("SequenceAt", ["pieces", "two"], ["last"]),
        node("SequenceAt", ["pieces", "zero"], ["front"]),
        node("SequenceConstruct", ["last", "front", "last"], ["others"]),
        node("ConcatFromSequence", ["others"], ["b"], axis=-1),
    ]
    return rows(6, 8, nodes, sizes=[2, 1, 3], two=np.array(2), zero=np.array(0))


def attention(op: str, domain: str, version: int, key: int = 12, value: int = 12, **attributes: Any) -> Graph:
    """Three linears into an attention op that has no weights."""
    widths = {"q": 12, "k": key, "v": value}
    nodes = [node("MatMul", ["x", f"w{name}"], [name]) for name in widths]
    nodes.append(node(op, list(widths), ["b"], domain=domain, **attributes))
    nodes.append(node("MatMul", ["b", "second"], ["y"]))
    stored = {f"w{name}": numbers(7, width) for name, width in widths.items()}
    stored["second"] = numbers(12 if key < 12 else value, 5)
    return Graph(nodes, stored, {"x": (2, 6, 7)}, version)


def skip_normalised() -> Graph:
    nodes = [
        node("MatMul", ["x", "other"], ["c"]),
        node("SkipLayerNormalization", ["a", "c", "gamma", "beta", "bias"], ["n", "", "", "s"], domain="com.microsoft"),
        node("BiasGelu", ["n", "beta"], ["g"], domain="com.microsoft"),
        node("SkipSimplifiedLayerNormalization", ["g", "s", "gamma"], ["b"], domain="com.microsoft"),
    ]
    more = {name: numbers(8, seed=index) for index, name in enumerate(("gamma", "beta", "bias"))}
    return rows(8, 8, nodes, other=numbers(7, 8, seed=5), **more)


def packed_bits() -> Graph:
    """MatMulNBits: 4-bit weights in blocks of 16."""
    nodes = [
        node("MatMulNBits", ["a", "bits", "scales"], ["c"], domain="com.microsoft", K=32, N=6, bits=4, block_size=16),
        node("Relu", ["c"], ["b"]),
    ]
    bits = np.random.default_rng(0).integers(0, 256, (6, 2, 8), dtype=np.uint8)
    return rows(32, 6, nodes, bits=bits, scales=np.abs(numbers(12)))


def quantized_convolutions() -> Graph:
    """QuantizeLinear, two QLinearConv with a shuffle between them, DequantizeLinear."""
    quantized = np.random.default_rng(0)
    names = ["xs", "xz", "ws", "wz", "ys", "yz"]
    nodes = [
        node("QuantizeLinear", ["x", "xs", "xz"], ["xq"]),
        node("QLinearConv", ["xq", "xs", "xz", "w1", "ws", "wz", "ys", "yz"], ["a"]),
        node("Reshape", ["a", "apart"], ["r"]),
        node("Transpose", ["r"], ["t"], perm=[0, 2, 1, 3, 4]),
        node("Reshape", ["t", "together"], ["b"]),
        node("QLinearConv", ["b", "ys", "yz", "w2", "ws", "wz", "ys", "yz"], ["c"], group=2),
        node("DequantizeLinear", ["c", "ys", "yz"], ["y"]),
    ]
    scales = [0.03, 128, 0.02, 0, 0.05, 120]
    stored = {
        name: np.array(value, np.float32 if name.endswith("s") else np.int8 if name == "wz" else np.uint8)
        for name, value in zip(names, scales, strict=True)
    }
    stored |= {
        "w1": quantized.integers(-99, 99, (6, 3, 1, 1), dtype=np.int8),
        "w2": quantized.integers(-99, 99, (4, 3, 1, 1), dtype=np.int8),
        "apart": np.array([0, 2, 3, 4, 6]),
        "together": np.array([0, 6, 4, 6]),
    }
    return Graph(nodes, stored)


def routed() -> Graph:
    """The largest two of four features, wherever they are, and what a computed index picks."""
    nodes = [
        node("TopK", ["a", "two"], ["best", "which"]),
        node("ReduceSum", ["best", "last"], ["s"], keepdims=1),
        node("Mul", ["a", "s"], ["b"]),
    ]
    return rows(4, 4, nodes, two=[2], last=[-1])


def picked_by_activation() -> Graph:
    """Feature by feature, an index the model computes says where each comes from."""
    nodes = [
        node("TopK", ["a", "four"], ["best", "which"]),
        node("GatherElements", ["a", "which"], ["b"], axis=-1),
    ]
    return rows(4, 4, nodes, four=[4])


GRAPHS: dict[str, Graph] = {
    "nested_ifs": nested_ifs(),
    "loop": loop(),
    "scan": scan(),
    "given_state": given_state(),
    "sequence": unrolled_sequence(),
    "depth_to_space_dcr": image(12, 3, [node("DepthToSpace", ["a"], ["b"], blocksize=2)]),
    "depth_to_space_crd": image(12, 3, [node("DepthToSpace", ["a"], ["b"], blocksize=2, mode="CRD")]),
    "space_to_depth": image(4, 16, [node("SpaceToDepth", ["a"], ["b"], blocksize=2)]),
    "gather_grid": image(
        6, 6, [node("Gather", ["a", "i"], ["g"], axis=1), node("Reshape", ["g", "s"], ["b"])],
        i=[[4, 0, -1], [1, 1, 2]], s=[0, 6, 4, 6],
    ),
    "gather_elements": rows(
        5, 3, [node("GatherElements", ["a", "i"], ["b"], axis=-1)], i=np.tile(np.array([3, 0, -1]), (2, 6, 1))
    ),
    "gather_nd": rows(
        5, 3,
        [
            node("Transpose", ["a"], ["t"], perm=[2, 0, 1]),
            node("GatherND", ["t", "i"], ["g"]),
            node("Transpose", ["g"], ["b"], perm=[1, 2, 0]),
        ],
        i=[[4], [0], [2]],
    ),
    "scatter_nd": rows(
        3, 6,
        [
            node("Transpose", ["a"], ["t"], perm=[2, 0, 1]),
            node("ScatterND", ["zeros", "i", "t"], ["g"]),
            node("Transpose", ["g"], ["b"], perm=[1, 2, 0]),
        ],
        i=[[4], [0], [2]], zeros=np.zeros((6, 2, 6), np.float32),
    ),
    "scatter_elements": rows(
        4, 4,
        [
            node("Slice", ["a", "zero", "two", "last"], ["u"]),
            node("ScatterElements", ["a", "i", "u"], ["b"], axis=2),
        ],
        zero=[0], two=[2], last=[2], i=np.tile(np.array([3, 1]), (2, 6, 1)),
    ),
    "compress": image(5, 3, [node("Compress", ["a", "k"], ["b"], axis=1)], k=np.array([True, False, True, True])),
    "pad_reflect": image(4, 9, [node("Pad", ["a", "p"], ["b"], mode="reflect")], p=[0, 3, 0, 0, 0, 2, 0, 0]),
    "pad_edge": image(4, 7, [node("Pad", ["a", "p"], ["b"], mode="edge")], p=[0, 1, 0, 1, 0, 2, 0, 0]),
    "pad_wrap": image(4, 8, [node("Pad", ["a", "p"], ["b"], mode="wrap")], version=19, p=[0, 1, 0, 1, 0, 3, 0, 0]),
    "pad_cut": image(6, 5, [node("Pad", ["a", "p"], ["b"])], p=[0, -2, 0, 0, 0, 1, 0, 0]),
    "tile": image(3, 6, [node("Tile", ["a", "r"], ["b"])], r=[1, 2, 1, 1]),
    "center_crop": image(7, 4, [node("CenterCropPad", ["a", "s"], ["b"], axes=[1])], s=[4]),
    "center_pad": image(4, 7, [node("CenterCropPad", ["a", "s"], ["b"], axes=[1])], s=[7]),
    "reverse_sequence": rows(
        4, 4, [node("ReverseSequence", ["a", "n"], ["b"], time_axis=1, batch_axis=0)], n=[3, 6]
    ),
    "slice_backwards": image(
        7, 3, [node("Slice", ["a", "s", "e", "x1", "t"], ["b"])], s=[-1], e=[-(2**63)], x1=[1], t=[-3]
    ),
    "split_uneven": image(
        7, 7,
        [node("Split", ["a"], ["p", "q", "r"], axis=1, num_outputs=3), node("Concat", ["r", "p", "q"], ["b"], axis=1)],
    ),
    "concat_constant": rows(4, 8, [node("Concat", ["c", "a", "c"], ["b"], axis=-1)], c=numbers(2, 6, 2)),
    "where_by_channel": rows(
        6, 6, [node("MatMul", ["x", "o"], ["d"]), node("Where", ["m", "a", "d"], ["b"])],
        o=numbers(7, 6, seed=3), m=np.array([True, False, True, True, False, False]),
    ),
    "maximum": rows(6, 6, [node("MatMul", ["x", "o"], ["d"]), node("Max", ["a", "d"], ["b"])], o=numbers(7, 6, seed=3)),
    "running_sum": rows(4, 4, [node("CumSum", ["a", "last"], ["b"])], last=np.array(-1)),
    "local_response": image(6, 6, [node("LRN", ["a"], ["b"], size=3)]),
    "lp_normalised": rows(6, 6, [node("LpNormalization", ["a"], ["b"], axis=-1, p=2)]),
    "resized": image(3, 3, [node("Resize", ["a", "", "s"], ["b"], mode="linear")], s=np.float32([1, 1, 2, 2])),
    "fused_matmul": rows(
        6, 6, [node("Transpose", ["a"], ["t"], perm=[0, 2, 1]),
               node("FusedMatMul", ["t", "w"], ["b"], domain="com.microsoft", transA=1, transB=1)],
        w=numbers(6, 6, seed=4),
    ),
    "onnx_attention": attention("Attention", "", 23, q_num_heads=3, kv_num_heads=3, value=6),
    "onnx_grouped_attention": attention("Attention", "", 23, q_num_heads=6, kv_num_heads=2, key=4, value=4),
    "multi_head_attention": attention("MultiHeadAttention", "com.microsoft", 18, num_heads=3, value=12),
    "skip_normalised": skip_normalised(),
    "packed_bits": packed_bits(),
    "quantized_convolutions": quantized_convolutions(),
    "routed": routed(),
    "picked_by_activation": picked_by_activation(),
}  # fmt: skip


def written(name: str, graph: Graph | None = None) -> Path:
    """The file of the graph ``name``: one of `GRAPHS`, or ``graph``."""
    model = (graph or GRAPHS[name]).model()
    made_by = hashlib.sha256(model.SerializeToString(deterministic=True)).hexdigest()[:12]
    return kept(f"{name}.{made_by}", "graphs", lambda path: onnx.save(model, str(path)))

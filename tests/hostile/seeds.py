"""The small valid models that the fuzzer starts from: one per kind of thing the program reads."""

from __future__ import annotations

from collections.abc import Callable

from onnx import ModelProto, TensorProto, helper

from .build import FLOAT, INT8, INT64, UINT8, bare, integers, linear, mlp, model, node, value, weight
from .external import outside
from .functions import LINEAR, call, calling, conv, with_if
from .graphs import branches, graph, linear_ml, loops, scan, sequences, shared_names
from .nonsense import packed, recurrent
from .tensors import LINEAR as FLAT
from .tensors import VALUES, sparse, sparse_weight

IMAGE = {"x": [1, 4, 8, 8]}


def cnn() -> ModelProto:
    """Grouped convolution, normalisation, pooling, flattening, a linear head."""
    nodes = [
        node("Conv", ["x", "w1", "b1"], ["c"], "conv", group=2, pads=[1, 1, 1, 1]),
        node("BatchNormalization", ["c", "g", "be", "m", "va"], ["n"], "bn"),
        node("Relu", ["n"], ["r"], "relu"),
        node("MaxPool", ["r"], ["p"], "pool", kernel_shape=[2, 2], strides=[2, 2]),
        node("Resize", ["p", "", "sc"], ["u"], "resize"),
        node("GlobalAveragePool", ["u"], ["a"], "average"),
        node("Flatten", ["a"], ["f"], "flatten"),
        node("Gemm", ["f", "w2", "b2"], ["y"], "head", transB=1),
    ]
    scales = TensorProto(name="sc", data_type=FLOAT, dims=[4], float_data=[1, 1, 2, 2])
    weights = [weight("w1", 6, 2, 3, 3), *(weight(name, 6) for name in ("b1", "g", "be", "m", "va")), scales]
    return model(nodes, IMAGE, weights=[*weights, weight("w2", 3, 6), weight("b2", 3)])


def transposed() -> ModelProto:
    up = node("ConvTranspose", ["x", "w1"], ["y"], "up", group=2, strides=[2, 2], output_padding=[1, 1])
    return model([up], IMAGE, [value("y", [1, 6, 18, 18])], [weight("w1", 4, 3, 3, 3)])


def lstm() -> ModelProto:
    cell = node("LSTM", ["x", "w1", "r1", "b1"], ["s", "h"], "lstm", hidden_size=3, direction="bidirectional")
    merge = node("Reshape", ["t", "f"], ["q"], "merge")
    turn = node("Transpose", ["s"], ["t"], "turn", perm=[0, 2, 1, 3])
    head = node("MatMul", ["q", "w2"], ["y"], "head")
    weights = [weight("w1", 2, 12, 4), weight("r1", 2, 12, 3), weight("b1", 2, 24), integers("f", 0, 0, -1)]
    return model([cell, turn, merge, head], {"x": [5, 1, 4]}, [value("y", [5, 1, 2])], [*weights, weight("w2", 6, 2)])


def einsums() -> ModelProto:
    nodes = [
        node("Einsum", ["x", "w1"], ["h"], "heads", equation="bsi,ihd->bhsd"),
        node("Einsum", ["h", "w2"], ["y"], "out", equation="bhsd,hdo->bso"),
    ]
    return model(
        nodes, {"x": [1, 5, 4]}, [value("y", [1, 5, 4])], [weight("w1", 4, 2, 3), weight("w2", 2, 3, 4)], opset=13
    )


def quantized() -> ModelProto:
    """QDQ: a weight stored in int8, per channel."""
    nodes = [
        node("QuantizeLinear", ["x", "xs", "xz"], ["q"], "quantize"),
        node("DequantizeLinear", ["q", "xs", "xz"], ["d"], "dequantize"),
        node("DequantizeLinear", ["w1", "ws", "wz"], ["w"], "weight", axis=1),
        node("MatMul", ["d", "w"], ["y"], "fc1"),
    ]
    weights = [weight("xs"), weight("xz", dtype=UINT8), weight("w1", 4, 6, dtype=INT8), weight("ws", 6)]
    return model(nodes, weights=[*weights, weight("wz", 6, dtype=INT8)])


def qoperator() -> ModelProto:
    names = ["x", "xs", "xz", "w1", "ws", "wz", "ys", "yz"]
    weights = [weight("w1", 4, 2, 3, 3, dtype=INT8), weight("wz", dtype=INT8)]
    weights += [weight(name) for name in ("xs", "ws", "ys")] + [weight(name, dtype=UINT8) for name in ("xz", "yz")]
    return model(
        [node("QLinearConv", names, ["y"], "qconv", group=2)],
        [value("x", [1, 4, 8, 8], UINT8)],
        [value("y", [1, 4, 6, 6], UINT8)],
        weights,
    )


def chosen() -> ModelProto:
    then = graph([node("MatMul", ["x", "w1"], ["t"], "inner")], {}, ["t"], [weight("w1", 4, 4)], name="then")
    other = graph([node("Identity", ["x"], ["e"], "same")], {}, ["e"], name="else")
    return branches(then, other)


def layouts() -> ModelProto:
    """A weight that is reshaped, turned, cut, glued and cast before it is used."""
    nodes = [
        node("Reshape", ["w1", "s"], ["a"], "reshape"),
        node("Transpose", ["a"], ["b"], "turn", perm=[1, 0]),
        node("Slice", ["b", "z", "n", "z"], ["c"], "cut"),
        node("Slice", ["b", "n", "e", "z"], ["d"], "rest"),
        node("Concat", ["d", "c"], ["w"], "glue", axis=0),
        node("Gather", ["w", "i"], ["v"], "pick", axis=1),
        node("Unsqueeze", ["v", "z"], ["u"], "unsqueeze"),
        node("Squeeze", ["u", "z"], ["q"], "squeeze"),
        node("Cast", ["q"], ["k"], "cast", to=FLOAT),
        node("MatMul", ["x", "k"], ["y"], "fc1"),
    ]
    weights = [weight("w1", 2, 3, 4), integers("s", 6, 4), integers("z", 0), integers("n", 2), integers("e", 4)]
    return model(nodes, weights=[*weights, integers("i", 5, 0, 3)])


def attention() -> ModelProto:
    """Heads split by Reshape and Transpose, shapes computed while the model runs."""
    nodes = [
        node("MatMul", ["x", "w1"], ["h"], "qkv"),
        node("Split", ["h"], ["q", "k", "v"], "split", axis=2),
        node("Shape", ["x"], ["sh"], "shape"),
        node("Slice", ["sh", "zero", "two"], ["bs"], "front"),
        node("Concat", ["bs", "hd"], ["to"], "target", axis=0),
        *(node("Reshape", [name, "to"], [f"{name}r"], f"heads {name}") for name in "qkv"),
        *(node("Transpose", [f"{name}r"], [f"{name}t"], f"turn {name}", perm=[0, 2, 1, 3]) for name in "qv"),
        node("Transpose", ["kr"], ["kt"], "turn k", perm=[0, 2, 3, 1]),
        node("MatMul", ["qt", "kt"], ["sc"], "scores"),
        node("Softmax", ["sc"], ["p"], "softmax"),
        node("MatMul", ["p", "vt"], ["o"], "mix"),
        node("Transpose", ["o"], ["ot"], "back", perm=[0, 2, 1, 3]),
        node("Reshape", ["ot", "flat"], ["f"], "merge"),
        node("MatMul", ["f", "w2"], ["u"], "out"),
        node("Add", ["u", "x"], ["y"], "residual"),
    ]
    shapes = [integers("zero", 0), integers("two", 2), integers("hd", 2, 2), integers("flat", 0, 0, 4)]
    return model(
        nodes,
        {"x": ["batch", "seq", 4]},
        [value("y", ["batch", "seq", 4])],
        [weight("w1", 4, 12), weight("w2", 4, 4), *shapes],
        opset=13,
    )


def fused_attention() -> ModelProto:
    ops = [
        node("EmbedLayerNormalization", ["i", "", "word", "pos", "", "g", "b"], ["e", "m"], "embed", "com.microsoft"),
        node("Attention", ["e", "w1", "b1"], ["y"], "attention", "com.microsoft", num_heads=2),
    ]
    weights = [weight("word", 10, 4), weight("pos", 6, 4), weight("g", 4), weight("b", 4)]
    weights += [weight("w1", 4, 12), weight("b1", 12)]
    inputs = [value("i", [1, 6], TensorProto.INT32)]
    return model(ops, inputs, [value("y", [1, 6, 4])], weights, domains={"com.microsoft": 1})


def experts() -> ModelProto:
    moe = node("MoE", ["x", "r", "w1", "", "w2"], ["y"], "moe", "com.microsoft", k=1, activation_type="relu")
    inputs = {"x": [5, 4], "r": [5, 3]}
    return model([moe], inputs, weights=[weight("w1", 3, 8, 4), weight("w2", 3, 4, 8)], domains={"com.microsoft": 1})


def embedding() -> ModelProto:
    nodes = [
        node("Gather", ["w1", "i"], ["e"], "embed"),
        node("LayerNormalization", ["e", "g", "b"], ["n"], "norm"),
        node("PRelu", ["n", "sl"], ["p"], "prelu"),
        node("Transpose", ["w1"], ["t"], "tie"),
        node("MatMul", ["p", "t"], ["y"], "head"),
    ]
    weights = [weight("w1", 10, 4), weight("g", 4), weight("b", 4), weight("sl", 4)]
    return model(nodes, [value("i", [1, 6], INT64)], [value("y", [1, 6, 10])], weights)


def filled() -> ModelProto:
    one = helper.make_tensor("one", FLOAT, [1], [1.0])
    nodes = [
        node("ConstantOfShape", ["s"], ["w"], "fill", value=one),
        node("Constant", [], ["c"], "const", value=bare("c", [4], float_data=[1.0] * 4)),
        node("MatMul", ["x", "w"], ["h"], "fc1"),
        node("Tile", ["c", "two"], ["t"], "tile"),
        node("Mul", ["h", "t"], ["y"], "scale"),
    ]
    return model(nodes, weights=[integers("s", 4, 8), integers("two", 2)])


def shuffled() -> ModelProto:
    nodes = [
        node("Conv", ["x", "w1"], ["c"], "conv"),
        node("Reshape", ["c", "s"], ["a"], "split"),
        node("Transpose", ["a"], ["b"], "turn", perm=[0, 2, 1, 3, 4]),
        node("Reshape", ["b", "f"], ["d"], "flat"),
        node("Conv", ["d", "w2"], ["e"], "depthwise", group=6),
        node("DepthToSpace", ["e"], ["y"], "space", blocksize=1),
    ]
    weights = [
        weight("w1", 6, 4, 1, 1),
        weight("w2", 6, 1, 3, 3),
        integers("s", 1, 2, 3, 8, 8),
        integers("f", 1, 6, 8, 8),
    ]
    return model(nodes, IMAGE, [value("y", [1, 6, 6, 6])], weights)


def external() -> ModelProto:
    entries = [("location", "w.bin"), ("offset", "16"), ("length", "64")]
    return linear(outside(entries))


def scoped() -> ModelProto:
    made = mlp()
    for op in made.graph.node:
        op.name = f"/block/{op.name}/{op.op_type}"
        op.metadata_props.add(key="namespace", value=f": Net/block: Block/{op.name}: Linear")
        op.metadata_props.add(key="pkg.torch.onnx.name_scopes", value=f"['', 'block', 'block.{op.name}']")
    return made


SEEDS: dict[str, Callable[[], ModelProto]] = {
    "mlp": mlp,
    "cnn": cnn,
    "transposed convolution": transposed,
    "lstm": lstm,
    "gru": lambda: recurrent("GRU", 3, 3, hidden_size=3),
    "einsums": einsums,
    "QDQ": quantized,
    "QLinearConv": qoperator,
    "If": chosen,
    "If, shared names": shared_names,
    "Loop": lambda: loops(2),
    "Scan": scan,
    "sequences": sequences,
    "function": lambda: calling([LINEAR], call("F", ["x", "w1"], ["h"]), call("F", ["h", "w1"], ["y"])),
    "function with attributes": lambda: conv(groups=2),
    "function with an If": with_if,
    "layouts": layouts,
    "attention": attention,
    "fused attention": fused_attention,
    "experts": experts,
    "packed": packed,
    "embedding": embedding,
    "filled": filled,
    "channel shuffle": shuffled,
    "sparse": lambda: sparse_weight(sparse(VALUES, FLAT)),
    "linear regressor": linear_ml,
    "external data": external,
    "scopes": scoped,
}

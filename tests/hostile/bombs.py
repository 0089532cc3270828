"""Small files that ask for a great deal of memory or time. Most are valid: the answer is exit 0, within bounds."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

from onnx import ModelProto, NodeProto, TensorProto

from . import protobuf as pb
from .build import FLOAT, INT64, UINT8, boolean, graph, integers, linear, mlp, model, node, through, value, weight
from .case import Case, not_silent, noted, valid
from .graphs import wrap_bytes

W = weight("w1", 4, 4)
HUGE = 2**40


def fill(name: str, *sizes: int) -> tuple[NodeProto, TensorProto]:
    return node("ConstantOfShape", [f"{name} sizes"], [name], f"fill {name}"), integers(f"{name} sizes", *sizes)


def filled(*sizes: int) -> ModelProto:
    op, sizes_ = fill("v", *sizes)
    return through(op, last="v", weights=[sizes_], inputs={"x": [1, sizes[-2]]})


def changed(*steps: NodeProto, last: str, weights: Sequence[TensorProto] = (), rows: int = 4) -> ModelProto:
    return through(*steps, last=last, weights=[W, *weights], inputs={"x": [1, rows]})


def doubling(kind: str, times: int) -> ModelProto:
    """w1 concatenated with itself (or added to itself) ``times`` times."""
    settings = {"axis": 1} if kind == "Concat" else {}
    names = ["w1", *(f"v{i}" for i in range(times))]
    steps = [node(kind, [a, a], [b], f"{kind} {b}", **settings) for a, b in pairwise(names)]
    return changed(*steps, last=names[-1])


def shapes_doubling() -> ModelProto:
    """A tiny integer vector concatenated with itself 40 times, and then used as a shape."""
    names = ["s", *(f"v{i}" for i in range(40))]
    steps = [node("Concat", [a, a], [b], f"cat {b}", axis=0) for a, b in pairwise(names)]
    return changed(*steps, node("Reshape", ["w1", names[-1]], ["r"], "odd"), last="r", weights=[integers("s", 1)])


def long_chain(count: int) -> ModelProto:
    """A weight transposed ``count`` times."""
    names = ["w1", *(f"v{i}" for i in range(count))]
    return changed(*(node("Transpose", [a], [b], f"t{b}") for a, b in pairwise(names)), last=names[-1])


def diamonds(count: int) -> ModelProto:
    """2^count paths from x to y."""
    nodes = [node("MatMul", ["x", "w1"], ["v0"], "fc1")]
    for i in range(count):
        nodes += [
            node("Relu", [f"v{i}"], [f"l{i}"], f"left{i}"),
            node("Tanh", [f"v{i}"], [f"r{i}"], f"right{i}"),
            node("Add", [f"l{i}", f"r{i}"], [f"v{i + 1}" if i < count - 1 else "y"], f"sum{i}"),
        ]
    return model(nodes, weights=[W])


def residual(count: int) -> ModelProto:
    nodes = []
    for i in range(count):
        nodes += [
            node("MatMul", [f"v{i}" if i else "x", "w1"], [f"h{i}"], f"fc{i}"),
            node("Add", [f"v{i}" if i else "x", f"h{i}"], [f"v{i + 1}" if i < count - 1 else "y"], f"add{i}"),
        ]
    return model(nodes, weights=[W])


def all_to_all(count: int) -> ModelProto:
    """Every op adds all before it: count^2 / 2 edges."""
    names = ["x", *(f"v{i}" for i in range(count))]
    nodes = [node("Sum", names[: i + 1], [names[i + 1]], f"s{i}") for i in range(count)]
    return model([*nodes, node("MatMul", [names[-1], "w1"], ["y"], "fc1")], weights=[W])


def fan_in(count: int, kind: str) -> ModelProto:
    nodes = [node("MatMul", ["x", "w1"], ["h"], "fc1")]
    nodes += [node("Relu", ["h"], [f"v{i}"]) for i in range(count)]
    settings = {"axis": 1} if kind == "Concat" else {}
    return model([*nodes, node(kind, [f"v{i}" for i in range(count)], ["y"], "join", **settings)], weights=[W])


def split_wide(count: int) -> ModelProto:
    nodes = [node("Split", ["x"], [f"v{i}" for i in range(count)], "split", axis=1)]
    nodes.append(node("Concat", [f"v{i}" for i in reversed(range(count))], ["h"], "join", axis=1))
    return model(
        [*nodes, node("MatMul", ["h", "w1"], ["y"], "fc1")],
        {"x": [1, count]},
        weights=[weight("w1", count, 2)],
        opset=12,
    )


def relu_chain(count: int) -> bytes:
    """A chain of ``count`` ops, by hand: a million nodes are slow to build with the library."""
    first = pb.chunk(1, pb.chunk(1, "x") + pb.chunk(1, "w1") + pb.chunk(2, "v0") + pb.chunk(4, "MatMul"))
    parts = [first]
    for i in range(count - 1):
        end = "y" if i == count - 2 else f"v{i + 1}"
        parts.append(pb.chunk(1, pb.chunk(1, f"v{i}") + pb.chunk(2, end) + pb.chunk(4, "Relu")))
    ends = graph([], {"x": [1, 4]}, [value("y", ["rows", "columns"])], [W])
    return wrap_bytes(b"".join(parts) + ends.SerializeToString())


def layers(count: int) -> ModelProto:
    """``count`` layers of their own weights."""
    names = ["x", *(f"v{i}" for i in range(count - 1)), "y"]
    nodes = [node("MatMul", [a, f"w{i}"], [b], f"fc{i}") for i, (a, b) in enumerate(pairwise(names))]
    return model(nodes, weights=[weight(f"w{i}", 4, 4) for i in range(count)])


def weights_only(count: int) -> ModelProto:
    return model([node("Relu", ["x"], ["y"])], weights=[weight(f"w{i}", 1) for i in range(count)])


def deep_scopes(depth: int) -> ModelProto:
    made = mlp()
    for op in made.graph.node:
        op.name = "/" + "/".join(f"block{i}" for i in range(depth)) + f"/{op.name}"
    return made


def many_scopes(count: int) -> ModelProto:
    made = layers(count)
    for i, op in enumerate(made.graph.node):
        op.name = "/" + "/".join(f"s{i}_{j}" for j in range(100)) + "/MatMul"
    return made


def trips(count: int) -> ModelProto:
    body = graph(
        [node("MatMul", ["s", "w1"], ["t"], "fc1"), node("Identity", ["k"], ["o"])],
        [value("i", [], INT64), boolean("k"), value("s", [1, 4])],
        [boolean("o"), value("t"), value("t2")],
    )
    body.node.append(node("Relu", ["t"], ["t2"], "act"))
    loop = node("Loop", ["n", "", "x"], ["y", "all"], "loop", body=body)
    return model([loop], outputs=["y", value("all", ["n", 1, 4])], weights=[W, integers("n", count, scalar=True)])


def constant_loop(count: int) -> ModelProto:
    """A Loop over constants only, whose result is a weight."""
    body = graph(
        [node("Add", ["s", "s"], ["t"], "double"), node("Identity", ["k"], ["o"])],
        [value("i", [], INT64), boolean("k"), value("s", [4, 4])],
        [boolean("o"), value("t")],
    )
    loop = node("Loop", ["n", "", "w1"], ["v"], "loop", body=body)
    return changed(loop, last="v", weights=[integers("n", count, scalar=True)])


def ranged(limit: int) -> ModelProto:
    """Rows of a weight picked by a constant Range of ``limit`` numbers."""
    ends = [integers(name, number, scalar=True) for name, number in (("a", 0), ("b", limit), ("c", 1))]
    steps = [
        node("Range", ["a", "b", "c"], ["i"], "range"),
        node("Mod", ["i", "four"], ["j"], "mod"),
        node("Gather", ["w1", "j"], ["v"], "odd"),
    ]
    return changed(*steps, last="v", weights=[*ends, integers("four", 4, scalar=True)], rows=limit)


def picked(count: int) -> ModelProto:
    """Columns of a weight picked by a million stored indices."""
    pick = node("Gather", ["w1", "i"], ["v"], "odd", axis=1)
    return changed(pick, last="v", weights=[integers("i", *[i * 7 % 4 for i in range(count)])])


def filled_conv(out: int, into: int) -> ModelProto:
    op, sizes = fill("v", out, into, 3, 3)
    return model(
        [op, node("Conv", ["x", "v"], ["y"], "conv")],
        {"x": [1, into, 8, 8]},
        [value("y", [1, out, 6, 6])],
        [sizes],
    )


def table(rows: int) -> ModelProto:
    op, sizes = fill("v", rows, 8)
    return model([op, node("Gather", ["v", "i"], ["y"], "look")], [value("i", [3], INT64)], weights=[sizes])


def wide_input(*sizes: int) -> ModelProto:
    """Layout ops over an input that could never be held."""
    steps = [
        node("Transpose", ["x"], ["t"], "turn", perm=[2, 1, 0]),
        node("Reshape", ["t", "s"], ["r"], "flat"),
        node("Transpose", ["r"], ["q"], "turn again"),
        node("MatMul", ["q", "w1"], ["y"], "fc1"),
    ]
    return model(steps, {"x": sizes}, weights=[weight("w1", 4, 2), integers("s", 4, -1)])


def merged(rows: int) -> ModelProto:
    """A layer of 2^40 neurons, reshaped so that its channels change places with the batch."""
    op, sizes = fill("v", 4, rows)
    steps = [
        op,
        node("MatMul", ["x", "v"], ["h"], "fc1"),
        node("Reshape", ["h", "s"], ["r"], "split"),
        node("Transpose", ["r"], ["t"], "turn", perm=[1, 0]),
        node("Reshape", ["t", "f"], ["y"], "flat"),
    ]
    return model(steps, weights=[sizes, integers("s", 2**20, -1), integers("f", 1, -1)])


def shuffles(count: int) -> ModelProto:
    nodes, last = [node("MatMul", ["x", "w1"], ["v0"], "fc1")], "v0"
    for i in range(count):
        nodes += [
            node("Reshape", [last, "s"], [f"a{i}"], f"split{i}"),
            node("Transpose", [f"a{i}"], [f"b{i}"], f"turn{i}", perm=[0, 2, 1]),
            node("Reshape", [f"b{i}", "f"], [f"v{i + 1}"], f"flat{i}"),
        ]
        last = f"v{i + 1}"
    nodes.append(node("MatMul", [last, "w2"], ["y"], "fc2"))
    weights = [weight("w1", 4, 58), weight("w2", 58, 3), integers("s", 1, 2, 29), integers("f", 1, 58)]
    return model(nodes, weights=weights)


def padded(amount: int) -> ModelProto:
    return changed(node("Pad", ["w1", "p"], ["v"], "odd"), last="v", weights=[integers("p", 0, 0, 0, amount)])


def expanded() -> ModelProto:
    steps = [
        node("Unsqueeze", ["w1", "two"], ["u"], "unsqueeze"),
        node("Expand", ["u", "e"], ["b"], "odd"),
        node("Reshape", ["b", "r"], ["v"], "merge"),
    ]
    return changed(*steps, last="v", weights=[integers("two", 2), integers("e", 4, 4, HUGE), integers("r", 4, -1)])


def resized() -> ModelProto:
    grow = TensorProto(name="k", data_type=FLOAT, dims=[4], float_data=[1, 1, 1e12, 1e12])
    steps = [node("Conv", ["x", "w1"], ["h"], "conv"), node("Resize", ["h", "", "k"], ["y"], "grow")]
    return model(steps, {"x": [1, 4, 8, 8]}, [value("y", [1, 4, None, None])], [weight("w1", 4, 4, 3, 3), grow])


def one_hot() -> ModelProto:
    steps = [node("OneHot", ["i", "d", "on"], ["h"], "hot"), node("MatMul", ["h", "v"], ["y"], "fc1")]
    op, sizes = fill("v", HUGE, 4)
    ends = [integers("d", HUGE, scalar=True), weight("on", 2), sizes]
    return model([op, *steps], [value("i", [3], INT64)], weights=ends)


def packed_huge() -> ModelProto:
    """2^42 packed elements that no byte stands for."""
    op, sizes = fill("v", HUGE, 1, 16)
    op.attribute.add(name="value", type=4).t.CopyFrom(TensorProto(dims=[1], data_type=UINT8, raw_data=b"\0"))
    scales, scale_sizes = fill("s", HUGE)
    pack = node("MatMulNBits", ["x", "v", "s"], ["y"], "odd", "com.microsoft", K=32, N=HUGE, bits=4, block_size=32)
    return model([op, scales, pack], {"x": [1, 32]}, weights=[sizes, scale_sizes], domains={"com.microsoft": 1})


def einsum_letters(count: int) -> ModelProto:
    letters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"[:count]
    return model(
        [node("Einsum", ["x", "w1"], ["y"], "odd", equation=f"{letters},{letters}->{letters[::-1]}")],
        {"x": [1] * count},
        [value("y", [1] * count)],
        [weight("w1", *[1] * count)],
    )


def too_large(folder: Path) -> Path:
    """A model of 2.2 GB that takes no room on the disk: its weight is a hole."""
    size = 2_200_000_000
    body = pb.number(1, 25_000) + pb.number(1, 22_000) + pb.number(2, FLOAT) + pb.chunk(8, "w1")
    body += pb.tag(9, pb.CHUNK) + pb.varint(size)
    rest = model([node("MatMul", ["x", "w1"], ["y"], "fc1")], {"x": [1, 25_000]}).graph.SerializeToString()
    start = pb.tag(5, pb.CHUNK) + pb.varint(len(body) + size) + body
    head = pb.number(1, 8) + pb.chunk(8, pb.number(2, 17)) + pb.tag(7, pb.CHUNK)
    head += pb.varint(len(rest) + len(start) + size) + rest + start
    path = folder / "model.onnx"
    with open(path, "wb") as file:
        file.write(head)
        file.truncate(len(head) + size)
    return path


def hole(folder: Path) -> Path:
    """Nothing but 60 GB of zeros."""
    path = folder / "model.onnx"
    with open(path, "wb") as file:
        file.truncate(60 * 10**9)
    return path


def long_name() -> ModelProto:
    made = mlp()
    name = "n" * 2**20
    made.graph.initializer[0].name = made.graph.node[0].input[1] = made.graph.node[0].name = name
    return made


def long_attribute() -> ModelProto:
    return model(
        [node("Custom", ["x", "w1"], ["y"], "odd", "acme.ai", numbers=[1] * 10**6, names=["a"] * 10**5)],
        weights=[W],
        domains={"acme.ai": 1},
    )


def alone(name: str, make: object) -> Case:
    return valid(name, lambda _: make(), alone=True)


CASES: tuple[Case, ...] = (
    alone("weight of 2^33 equal elements", lambda: filled(2**13, 2**20)),
    alone("weight of 2^80 equal elements", lambda: filled(HUGE, HUGE)),
    alone("Conv weight of 2^83 equal elements", lambda: filled_conv(HUGE, HUGE)),
    alone("table of 2^50 rows", lambda: table(2**50)),
    alone("layer of 2^40 neurons, reshaped", lambda: merged(HUGE)),
    alone("packed weight of 2^45 elements", packed_huge),
    not_silent("ConstantOfShape, 2^62 squared", lambda _: filled(2**62, 2**62)),
    not_silent("ConstantOfShape, negative", lambda _: filled(4, -4), "v"),
    alone("weight of rank 10,000, filled", lambda: filled(*[1] * 9998, 4, 2)),
    alone(
        "weight tiled 2^40 times",
        lambda: changed(node("Tile", ["w1", "r"], ["v"], "odd"), last="v", weights=[integers("r", 1, HUGE)]),
    ),
    alone("weight expanded to 2^44", expanded),
    alone("weight padded to 2^40", lambda: padded(HUGE)),
    alone("weight concatenated with itself 50 times", lambda: doubling("Concat", 50)),
    alone("weight added to itself 5,000 times", lambda: doubling("Add", 5000)),
    noted("shape concatenated with itself 40 times", lambda _: shapes_doubling(), "w1", alone=True),
    alone("weight transposed 20,000 times", lambda: long_chain(20_000)),
    alone("Range of 2^40 rows", lambda: ranged(HUGE)),
    alone("Range of 10^7 rows", lambda: ranged(10**7)),
    alone("a million columns picked", lambda: picked(10**6)),
    alone("Loop of 10^13 trips", lambda: trips(10**13)),
    alone("Loop of 10^13 trips over constants", lambda: constant_loop(10**13)),
    alone("one-hot of 2^40", one_hot),
    alone("Resize by 10^12", resized),
    alone("Einsum of 52 letters", lambda: einsum_letters(52)),
    alone("input of 2^93 elements", lambda: wide_input(2**31, 2**31, 2**31)),
    alone("input of 4 x 2^20 x 2^20", lambda: wide_input(4, 2**20, 2**20)),
    alone(
        "input of rank 2,000",
        lambda: linear(weight("w1", 4, 2), inputs={"x": [1] * 1999 + [4]}, outputs=[value("y", [1] * 1999 + [2])]),
    ),
    alone("2^200 paths", lambda: diamonds(200)),
    alone("2^20000 paths", lambda: diamonds(20_000)),
    alone("residual stream of 10,000 blocks", lambda: residual(10_000)),
    alone("500 ops that each read all before", lambda: all_to_all(500)),
    alone("Concat of 50,000", lambda: fan_in(50_000, "Concat")),
    alone("Sum of 50,000", lambda: fan_in(50_000, "Sum")),
    alone("Split into 20,000 and back", lambda: split_wide(20_000)),
    alone("5,000 channel shuffles", lambda: shuffles(5000)),
    alone("100,000 ops", lambda: relu_chain(100_000)),
    Case("1,000,000 ops", "OK", lambda _: relu_chain(1_000_000), alone=True, slow=True, limit=30.0, memory=2 * 2**30),
    alone("5,000 layers", lambda: layers(5000)),
    valid("200,000 weights nobody uses", lambda _: weights_only(200_000), alone=True, weightless=True),
    alone("scopes 10,000 deep", lambda: deep_scopes(10_000)),
    alone("500 layers in scopes 100 deep, none shared", lambda: many_scopes(500)),
    alone("names of 1 MB", long_name),
    alone("attribute of a million numbers", long_attribute),
    Case("file of 2.2 GB", "OK", too_large, alone=True, checker="no protobuf library reads more than 2 GiB"),
    Case("60 GB of zeros", "E", hole, alone=True),
)

"""Graphs that do not hang together, go in circles or are far too deep; and odd graphs that are right."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from onnx import AttributeProto, GraphProto, ModelProto, NodeProto, TypeProto, helper

from . import protobuf as pb
from .build import (
    FLOAT,
    INT64,
    boolean,
    branches,
    graph,
    integers,
    linear,
    mlp,
    model,
    node,
    typed,
    value,
    weight,
)
from .case import Case, not_silent, noted, refused, valid

W = weight("w1", 4, 4)


def chain(*pairs: tuple[str, str], outputs: Sequence[str] = ("y",)) -> ModelProto:
    """Relu ops named r0, r1, ... that read and write what the pairs say; x is the input, and w1 is multiplied first."""
    first = node("MatMul", ["x", "w1"], ["h"], "fc1")
    return model(
        [first, *(node("Relu", [a], [b], f"r{i}") for i, (a, b) in enumerate(pairs))], outputs=outputs, weights=[W]
    )


def circle(count: int) -> ModelProto:
    nodes = [node("Relu", [f"v{i}"], [f"v{(i + 1) % count}"], f"r{i}") for i in range(count)]
    return model([*nodes, node("Add", ["x", "v0"], ["y"], "sum")])


def in_then(*nodes: NodeProto, out: str = "t") -> ModelProto:
    then = graph(nodes, {}, [out], name="then")
    other = graph([node("Identity", ["x"], ["e"], "else")], {}, ["e"], name="else")
    return branches(then, other, [W])


def attribute(name: str, kind: int, payload: bytes) -> bytes:
    return pb.chunk(1, name) + payload + pb.number(20, kind)


def if_levels(depth: int, both: bool) -> bytes:
    """Ifs inside Ifs, by hand: the library recurses. ``both``: each branch holds the next level, 2^depth leaves."""
    leaf = pb.chunk(1, pb.chunk(1, "x") + pb.chunk(2, "leaf") + pb.chunk(4, "Identity")) + pb.chunk(2, "leaf")
    leaf += pb.chunk(12, pb.chunk(1, "leaf"))
    heads: list[bytes] = []
    tails: list[bytes] = []
    size, whole = len(leaf), leaf

    def around(before: bytes, field: int, after: bytes) -> None:
        nonlocal size
        heads.append(before + pb.tag(field, pb.CHUNK) + pb.varint(size))
        tails.append(after)
        size += len(heads[-1]) + len(after)

    for level in range(depth):
        name = f"v{level}"
        kind = pb.number(20, AttributeProto.GRAPH)
        other = pb.chunk(1, "else_branch") + pb.chunk(6, whole) + kind
        around(pb.chunk(1, "then_branch"), 6, kind)
        start = pb.chunk(1, "c") + pb.chunk(2, name) + pb.chunk(3, f"if{level}") + pb.chunk(4, "If")
        around(start, 5, pb.chunk(5, other))
        last = graph([], [value("x", [1, 4]), boolean("c")], [value(name, ["rows", "columns"])])
        ends = pb.chunk(2, name) + pb.chunk(12, pb.chunk(1, name))
        around(b"", 1, last.SerializeToString() if level == depth - 1 else ends)
        if both:
            whole = b"".join([*reversed(heads), leaf, *tails])
    return wrap_bytes(b"".join([*reversed(heads), leaf, *tails]))


def wrap_bytes(body: bytes) -> bytes:
    return pb.number(1, 8) + pb.chunk(7, body) + pb.chunk(8, pb.number(2, 17))


def deep_type(depth: int) -> bytes:
    kind = pb.chunk(1, pb.number(1, FLOAT))
    for _ in range(depth):
        kind = pb.chunk(4, pb.chunk(1, kind))
    return mlp().graph.SerializeToString() + pb.chunk(13, pb.chunk(1, "deep") + pb.chunk(2, kind))


def loops(depth: int) -> ModelProto:
    """Loops inside Loops; the innermost multiplies the state with w1."""

    def state(level: object) -> list[Any]:
        return [value(f"i{level}", [], INT64), boolean(f"k{level}"), value(f"s{level}", [1, 4])]

    body = graph(
        [node("MatMul", ["s0", "w1"], ["t0"], "fc1"), node("Identity", ["k0"], ["o0"])], state(0), [boolean("o0"), "t0"]
    )
    for level in range(1, depth):
        inside = node("Loop", ["n", f"k{level}", f"s{level}"], [f"t{level}"], f"loop{level}", body=body)
        body = graph(
            [inside, node("Identity", [f"k{level}"], [f"o{level}"])],
            state(level),
            [boolean(f"o{level}"), f"t{level}"],
            name=f"body{level}",
        )
    outer = node("Loop", ["n", "c", "x"], ["y"], "loop", body=body)
    return model([outer], [value("x", [1, 4]), boolean("c")], weights=[W, integers("n", 3, scalar=True)])


def renamed(made: ModelProto, **fields: Any) -> ModelProto:
    for key, item in fields.items():
        setattr(made, key, item)
    return made


def opsets(*pairs: tuple[str, int]) -> ModelProto:
    made = mlp()
    del made.opset_import[:]
    made.opset_import.extend(helper.make_opsetid(domain, version) for domain, version in pairs)
    return made


def no_op_type() -> ModelProto:
    made = mlp()
    made.graph.node[1].ClearField("op_type")
    return made


def scan() -> ModelProto:
    body = graph([node("MatMul", ["e", "w1"], ["o"], "fc1")], {"e": [1, 4]}, ["o"])
    step = node("Scan", ["x"], ["y"], "scan", body=body, num_scan_inputs=1)
    return model([step], {"x": [5, 1, 4]}, [value("y", [5, 1, 4])], [W])


def sequences() -> ModelProto:
    nodes = [
        node("SequenceConstruct", ["x", "x"], ["list"], "list"),
        node("SequenceAt", ["list", "i"], ["item"], "item"),
        node("MatMul", ["item", "w1"], ["y"], "fc1"),
    ]
    return model(nodes, weights=[W, integers("i", 1, scalar=True)])


def kinds_of_input() -> ModelProto:
    tensor = helper.make_tensor_type_proto(FLOAT, [1, 4])
    inputs = [
        value("x", [1, 4]),
        typed("sequence", helper.make_sequence_type_proto(tensor)),
        typed("optional", helper.make_optional_type_proto(tensor)),
        typed("map", helper.make_map_type_proto(INT64, tensor)),
        typed("sparse", helper.make_sparse_tensor_type_proto(FLOAT, [4, 4])),
    ]
    return model([node("MatMul", ["x", "w1"], ["y"], "fc1")], inputs, weights=[W])


def linear_ml() -> ModelProto:
    classify = node("LinearRegressor", ["x"], ["y"], "linear", "ai.onnx.ml", coefficients=[0.5] * 8, targets=2)
    return model([classify], domains={"ai.onnx.ml": 3})


def metadata() -> ModelProto:
    made = mlp()
    helper.set_model_props(made, {"a": "b" * 10_000, "": "", "c": "\n"})
    note = made.graph.quantization_annotation.add(tensor_name="w1")
    note.quant_parameter_tensor_names.add(key="SCALE_TENSOR", value="nowhere")
    return made


def shared_names() -> ModelProto:
    """Both branches use the same inner names, each with a weight of its own."""

    def branch(size: int) -> GraphProto:
        ops = [node("MatMul", ["x", "w"], ["h"], "inner"), node("Relu", ["h"], ["o"], "relu")]
        return graph(ops, {}, ["o"], [weight("w", 4, size)])

    return branches(branch(4), branch(4))


def contradiction() -> ModelProto:
    made = mlp()
    made.graph.value_info.append(value("h", [1, 9]))
    return made


def bad_input(**kind: Any) -> ModelProto:
    return model([node("MatMul", ["x", "w1"], ["y"], "fc1")], [typed("x", TypeProto(**kind))], weights=[W])


CASES: tuple[Case, ...] = (
    refused("two ops write one value", lambda _: chain(("h", "y"), ("x", "y")), "y"),
    refused("an op writes a weight", lambda _: chain(("h", "w1"), ("w1", "y")), "w1"),
    refused("an op writes an input", lambda _: chain(("h", "x"), ("x", "y")), "x"),
    refused("one op writes a value twice", lambda _: model([node("Split", ["x"], ["y", "y"], "odd", axis=1)]), "y"),
    refused("two weights of one name", lambda _: model([node("MatMul", ["x", "w1"], ["y"])], weights=[W, W]), "w1"),
    refused("two inputs of one name", lambda _: linear(W, inputs=[value("x", [1, 4]), value("x", [2, 4])]), "x"),
    refused("op reads itself", lambda _: chain(("y", "y")), "y"),
    refused("circle of 2", lambda _: circle(2), "v"),
    refused("circle of 5,000", lambda _: circle(5000), "v"),
    refused("op reads what nobody writes", lambda _: chain(("nobody", "y")), "nobody"),
    refused("output nobody writes", lambda _: chain(("h", "y"), outputs=["y", "nobody"]), "nobody"),
    refused("branch reads what nobody writes", lambda _: in_then(node("Relu", ["nobody"], ["t"], "r")), "nobody"),
    refused("branch output nobody writes", lambda _: in_then(node("Relu", ["x"], ["t"], "r"), out="nobody"), "nobody"),
    refused("circle in a branch", lambda _: in_then(node("Relu", ["t"], ["s"], "r"), node("Relu", ["s"], ["t"], "q"))),
    refused("branch reads the If's own output", lambda _: in_then(node("Relu", ["y"], ["t"], "r")), "y"),
    refused("op without a type", lambda _: no_op_type(), "act"),
    refused("Ifs 40 deep", lambda _: if_levels(40, False)),
    refused("Ifs 10,000 deep", lambda _: if_levels(10_000, False), alone=True),
    refused("types 3,000 deep", lambda _: wrap_bytes(deep_type(3000))),
    noted("ops not sorted", lambda _: chain(("a", "y"), ("h", "a")), "order"),
    noted("opset of the future", lambda _: opsets(("", 999)), "999"),
    noted("opset 0", lambda _: opsets(("", 0))),
    noted("negative opset", lambda _: opsets(("", -1))),
    noted("no opset", lambda _: opsets()),
    noted("opset given twice", lambda _: opsets(("", 13), ("", 17))),
    noted(
        "domain not declared", lambda _: model([node("Gelu", ["x"], ["y"], "odd", "com.microsoft")]), "com.microsoft"
    ),
    valid("declared shape disagrees", lambda _: contradiction()),
    not_silent("input without a type", lambda _: bad_input(), "x"),
    not_silent("input of negative size", lambda _: linear(W, inputs={"x": [1, -4]}), "x"),
    not_silent("input of size 2^62", lambda _: linear(W, inputs={"x": [2**62, 4]}), "x"),
    not_silent("input of element type 999", lambda _: bad_input(tensor_type={"elem_type": 999}), "x"),
    not_silent("no ops, no outputs", lambda _: model([], outputs=[])),
    valid("Ifs 24 deep", lambda _: if_levels(24, False), weightless=True),
    valid("Ifs 12 deep, 4,096 branches", lambda _: if_levels(12, True), weightless=True),
    valid("Loops 12 deep", lambda _: loops(12)),
    valid("Scan", lambda _: scan()),
    valid("sequences", lambda _: sequences()),
    valid("inputs of every kind", lambda _: kinds_of_input()),
    valid("weights in attributes", lambda _: linear_ml()),
    valid("metadata", lambda _: metadata()),
    valid("branches share names", lambda _: shared_names()),
    valid("branch reads an outer weight", lambda _: in_then(node("MatMul", ["x", "w1"], ["t"], "inner"))),
    valid("ops without names", lambda _: model([node("MatMul", ["x", "w1"], ["y"])], weights=[W])),
    valid(
        "ops that share a name",
        lambda _: model([node("MatMul", ["x", "w1"], ["h"], "fc"), node("Relu", ["h"], ["y"], "fc")], weights=[W]),
    ),
    valid("op nobody reads", lambda _: chain(("h", "y"), ("h", "dead"))),
    valid("no inputs", lambda _: model([node("Relu", ["w1"], ["y"], "act")], inputs={}, weights=[W]), weightless=True),
    valid(
        "output is an input",
        lambda _: model([node("Relu", ["x"], ["y"])], outputs=["y", value("x", [1, 4])]),
        weightless=True,
    ),
    valid(
        "optional input left out",
        lambda _: model([node("Clip", ["x", "", "m"], ["y"], "clip")], weights=[weight("m")]),
        weightless=True,
    ),
    valid(
        "optional outputs left out",
        lambda _: model(
            [node("LSTM", ["x", "w1", "r1"], ["", "y"], "odd", hidden_size=3)],
            {"x": [5, 1, 4]},
            [value("y", [1, 1, 3])],
            [weight("w1", 1, 12, 4), weight("r1", 1, 12, 3)],
        ),
    ),
    valid("one value, both operands", lambda _: model([node("Mul", ["x", "x"], ["y"], "square")]), weightless=True),
    valid(
        "domain ai.onnx by name",
        lambda _: model(
            [node("MatMul", ["x", "w1"], ["y"], "fc1", "ai.onnx")], weights=[W], opset=None, domains={"ai.onnx": 17}
        ),
        checker="knows the domain by its empty name only",
    ),
    valid(
        "opset 1",
        lambda _: model(
            [node("MatMul", ["x", "w1"], ["y"], "fc1")], {"x": [1, 4], "w1": [4, 4]}, weights=[W], opset=1, ir_version=3
        ),
    ),
    valid("opset 28", lambda _: linear(W, opset=28, ir_version=14)),
    *(valid(f"IR version {n}", lambda _, n=n: renamed(as_inputs(), ir_version=n)) for n in (3, 4, 10)),
    valid(
        "IR version of the future", lambda _: renamed(mlp(), ir_version=99), checker="knows IR versions up to its own"
    ),
    valid("dynamic sizes", lambda _: linear(W, inputs={"x": ["batch", 4]})),
    valid("sizes unknown", lambda _: linear(W, inputs={"x": [None, None]})),
    valid(
        "declared values nobody has",
        lambda _: model(
            [node("MatMul", ["x", "w1"], ["y"], "fc1")], weights=[W], graph_fields={"value_info": [value("ghost", [7])]}
        ),
    ),
    valid("documentation of 1 MB", lambda _: linear(W, doc_string="d" * 2**20)),
    valid("empty batch", lambda _: linear(W, inputs={"x": [0, 4]})),
)


def as_inputs() -> ModelProto:
    """IR version 3 wants every weight among the inputs."""
    made = mlp()
    made.graph.input.extend(value(t.name, list(t.dims)) for t in made.graph.initializer)
    return made

"""Nodes and tensors that are read off the wire say what protobuf would have said of them."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest
from onnx import GraphProto, ModelProto, NodeProto, TensorProto, helper

from graphneurons.errors import LoadError
from graphneurons.load import load_bytes
from graphneurons.load.repeats import Repeats
from graphneurons.load.wire import LONG, skim
from tests.load.building import HEADER, chunk, floats, graph, model, raw, value

TIMES = 4


def chain(*kinds: NodeProto, weights: tuple[TensorProto, ...] = (), **arguments: Any) -> ModelProto:
    """``kinds`` one after the other, `TIMES` times, each node reading what the one before makes."""
    nodes, at = [], "x"
    for index in range(TIMES * len(kinds)):
        made = NodeProto()
        made.CopyFrom(kinds[index % len(kinds)])
        made.name = made.name and f"block.{index}/{made.name}"
        made.output[0] = f"v{index}"
        if made.input:
            made.input[0] = at
            at = f"v{index}"
        nodes.append(made)
    stored = [raw(f"w{index}", TensorProto.FLOAT, [2, 2], bytes([index] * 16)) for index in range(TIMES)]
    return model(graph(nodes, outputs=[at], weights=[*stored, *weights]), **arguments)


def node(kind: str, *inputs: str, name: str = "op", **attributes: Any) -> NodeProto:
    return helper.make_node(kind, ["x", *inputs], [""], name=name, **attributes)


def constant() -> NodeProto:
    return helper.make_node("Constant", [], ["c"], name="c", value=floats("", 3))


def with_metadata() -> NodeProto:
    made = node("Relu", name="relu")
    made.metadata_props.add(key="namespace", value=": Model/encoder: Encoder/relu: ReLU")
    return made


def branching(size: int = 1) -> NodeProto:
    names = ["x", *(f"r{index}" for index in range(size))]
    branch = graph([helper.make_node("Relu", [a], [b]) for a, b in pairwise(names)], [], names[-1:])
    if size > 1:
        branch.node.insert(0, helper.make_node("Custom", ["x"], ["long"], domain="d", text="t" * LONG))
    return helper.make_node("If", ["x"], [""], name="if", then_branch=branch, else_branch=branch)


def captures(name: str) -> ModelProto:
    """A loop whose body reads ``name``, before a chain."""
    made = chain(node("Relu"), node("Tanh"))
    inside = helper.make_node("Relu", [name], [name if name == "state" else "r"])
    body = graph([inside], ["n", "go", "state"], ["go", "state"])
    made.graph.node.insert(0, helper.make_node("Loop", ["", "", "x"], ["looped"], name="loop", body=body))
    return made


def calling(*order: int) -> ModelProto:
    body = [helper.make_node("Relu", ["a"], ["t"], name="inner"), helper.make_node("Tanh", ["t"], ["b"])]
    inside = [body[index] for index in order]
    function = helper.make_function("local", "Twice", ["a"], ["b"], inside, [helper.make_opsetid("", 20)])
    return chain(node("Twice", domain="local"), node("Relu"), functions=[function])


def changed(change: Callable[[GraphProto], object], *kinds: NodeProto) -> ModelProto:
    made = chain(*(kinds or (node("MatMul", "w0"), node("Transpose", perm=[1, 0]), node("Relu"))))
    change(made.graph)
    return made


def backwards(proto: ModelProto) -> bytes:
    """The same model, the last fields of each node and tensor first, as nobody writes them."""
    rest = ModelProto()
    rest.CopyFrom(proto)
    del rest.graph.node[:], rest.graph.initializer[:]
    fields = b""
    for number, messages in ((1, proto.graph.node), (5, proto.graph.initializer)):
        for message in messages:
            pieces = [_alone(message, field.name) for field, _ in reversed(message.ListFields())]
            fields += chunk(number, b"".join(pieces))
    outer = rest.graph.SerializeToString()
    rest.ClearField("graph")
    return rest.SerializeToString() + chunk(7, fields + outer)


def _alone(message: Any, name: str) -> bytes:
    copy = type(message)()
    copy.CopyFrom(message)
    for field, _ in message.ListFields():
        if field.name != name:
            copy.ClearField(field.name)
    written: bytes = copy.SerializeToString()
    return written


def taken(data: bytes) -> tuple[int, int]:
    """How many nodes and initializers need no parsing."""
    repeats = Repeats()
    parsed = ModelProto.FromString(skim(data, "m", repeats).structure).graph
    return len(repeats.heads.names) - len(parsed.node), len(repeats.refills.names) - len(parsed.initializer)


def cuts_nothing(fields: bytes) -> bool:
    """Whether all of a graph of these ``fields`` is left to the parser."""
    data = HEADER + chunk(7, fields)
    return skim(data, "m", Repeats()).structure == data


def said(data: bytes) -> str:
    try:
        found = load_bytes(data)
    except LoadError as error:
        return str(error)
    return repr((found.ops, found.inputs, found.outputs, found.weights, found.declared, found.notices))


MODELS: dict[str, ModelProto] = {
    "plain": chain(node("MatMul", "w0"), node("Relu")),
    "attributes": chain(node("LeakyRelu", alpha=-0.5), node("Transpose", perm=[1, 0])),
    "optional inputs": chain(node("Clip", "", "w1")),
    "no names": chain(node("Relu", name=""), node("Tanh")),
    "constants": chain(constant(), node("Relu")),
    "metadata": chain(with_metadata()),
    "tensors of their own": chain(node("Custom", domain="d", table=floats("", 3))),
    "subgraphs": chain(branching(), node("Relu")),
    "long subgraphs": chain(branching(100), node("Relu")),
    "a subgraph that reads what is made later": captures("v4"),
    "a subgraph that gives back what it reads": captures("state"),
    "functions": calling(0, 1),
    "functions out of order": calling(1, 0),
    "overloads": changed(lambda g: [setattr(op, "overload", "o") for op in g.node]),
    "domains": chain(node("Gelu", domain="com.microsoft"), node("Relu", domain="ai.onnx")),
    "long names": changed(lambda g: setattr(g.node[4], "name", "n" * 200)),
    "long attributes": chain(node("Custom", domain="d", text="t" * 400), node("Custom", domain="d", text="t" * LONG)),
    "names that are not ASCII": changed(lambda g: setattr(g.node[4], "name", "é")),
    "other tensors": chain(
        node("Relu"),
        weights=(
            floats("typed", 2, 2), raw("int", TensorProto.INT32, [2, 2], bytes(16)), raw("none", 1, [0], b""),
            raw("nothing", 1, [0], b""), raw("flat", TensorProto.FLOAT, [4], bytes(16)), raw("é", 1, [4], bytes(16)),
            raw("wide", 1, [50], bytes(200)), raw("wider", 1, [50], bytes(range(200))),
            raw("long", 1, [512], bytes(2048)),
        ),
    ),
    "inputs with defaults": changed(lambda g: g.input.append(value("w1", (2, 2)))),
    "inputs with two defaults": changed(lambda g: g.input.extend([value("w1", (2, 2)), value("w1", (2, 2))])),
    "out of order": changed(lambda g: g.node.sort(key=lambda op: -len(op.op_type))),
    "first of its kind last": changed(lambda g: g.node.reverse()),
    "reads nothing": changed(lambda g: g.node[5].input.__setitem__(0, "nothing")),
    "made twice": changed(lambda g: g.node[5].output.__setitem__(0, "v3")),
    "named twice": changed(lambda g: setattr(g.node[5], "name", g.node[3].name)),
    "stored twice": changed(lambda g: setattr(g.initializer[3], "name", "w2")),
    "stored and made": changed(lambda g: setattr(g.initializer[3], "name", "v2")),
    "a tensor without a name": changed(lambda g: setattr(g.initializer[3], "name", "")),
    "too little data": changed(lambda g: setattr(g.initializer[3], "raw_data", bytes(12))),
    "its own result": changed(lambda g: g.node[5].input.__setitem__(0, "v5")),
    "a kind without an op type": changed(lambda g: [op.ClearField("op_type") for op in g.node[2::3]]),
}  # fmt: skip


@pytest.mark.parametrize("name", list(MODELS))
def test_the_order_of_fields_makes_no_difference(name: str) -> None:
    data, other = MODELS[name].SerializeToString(), backwards(MODELS[name])
    assert ModelProto.FromString(other) == MODELS[name]
    assert taken(data) > (0, 0) == taken(other)
    assert said(data) == said(other)


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("out of order", "nodes are not in the order they run"),
        ("functions out of order", "nodes are not in the order they run"),
        ("a subgraph that reads what is made later", "nodes are not in the order they run"),
        ("reads nothing", "block.5/op (makes v5): reads 'nothing', which nothing in the file makes"),
        ("made twice", "v3: the value is defined twice"),
        ("stored and made", "v2: the value is defined twice"),
        ("inputs with two defaults", "w1: the value is defined twice"),
        ("a subgraph that gives back what it reads", "state: the value is defined twice"),
        ("its own result", "the op needs its own result 'v5': the graph has a cycle"),
    ],
)
def test_what_is_odd_in_nodes_that_are_not_parsed_is_seen(name: str, says: str) -> None:
    assert says in said(MODELS[name].SerializeToString())


def test_the_first_of_each_kind_is_parsed() -> None:
    assert taken(MODELS["plain"].SerializeToString()) == (2 * (TIMES - 1), TIMES - 1)
    assert taken(MODELS["attributes"].SerializeToString())[0] == 2 * (TIMES - 1)
    assert taken(MODELS["other tensors"].SerializeToString()) == (TIMES - 1, TIMES - 1 + 2)


@pytest.mark.parametrize("odd", [chunk(3, b"other"), chunk(1, b"w1"), chunk(2, b"more")])
def test_a_node_with_names_in_two_places_is_left_to_the_parser(odd: bytes) -> None:
    """Protobuf takes the last name, and all of the inputs."""
    op = chunk(1, b"x") + chunk(2, b"y") + chunk(3, b"n") + chunk(4, b"Relu")
    assert cuts_nothing(chunk(1, op + odd) * 3)
    assert not cuts_nothing(chunk(1, op) * 3)


@pytest.mark.parametrize(
    "tail",
    [
        b"",
        b"\x20\x01",
        b"\x22\x04Rel",
        b"\x22\x84\x00Relu\x2a",
        b"\x22\x04Relu\x2a\x80",
        b"\x22\x04Relu\x1a\x7fname",
        b"\x22\x02Or" * 65,
        b"\x22\x04Relu\x32\xff\x01" + bytes(255),
    ],
)
def test_what_is_not_whole_or_too_much_is_left_to_the_parser(tail: bytes) -> None:
    op = chunk(1, chunk(1, b"x") + chunk(2, b"y") + chunk(3, b"n") + tail)
    assert cuts_nothing(op * 3)


@pytest.mark.parametrize(
    "tensor",
    [
        b"\x08\x02\x10\x01\x42\x01w\x4a\x08" + bytes(7),
        b"\x08\x02\x10\x01\x42\x01w\x4a\x08" + bytes(8) + b"\x40\x01",
        b"\x08\x02\x10\x01\x42\x81\x00w\x4a\x08" + bytes(8),
        b"\x08\x02\x10\x01\x42\x01\xff\x4a\x08" + bytes(8),
        b"\x08\x02\x10\x01\x42\x7fw\x4a\x08" + bytes(8),
        b"\x08\x02\x10\x01\x4a\x08" + bytes(8),
        b"\x08\x02\x10\x01\x42\x01w",
        b"\x10\x01\x08\x02\x42\x01w\x4a\x08" + bytes(8),
    ],
)
def test_tensors_that_are_not_whole_or_say_more_are_left_to_the_parser(tensor: bytes) -> None:
    assert cuts_nothing(chunk(5, tensor) * 3)

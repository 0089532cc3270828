"""Local functions: that call themselves, explode, do not fit their calls; and the many forms that are right."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from onnx import AttributeProto, FunctionProto, ModelProto, NodeProto, helper

from .build import boolean, function, graph, integers, model, node, reference, value, weight
from .case import Case, not_silent, noted, refused, valid

W = weight("w1", 4, 4)


def calling(functions: Sequence[FunctionProto], *calls: NodeProto, **fields: Any) -> ModelProto:
    made = calls or (node("F", ["x", "w1"], ["y"], "call", "local"),)
    return model(list(made), weights=[W], domains={"local": 1}, functions=functions, **fields)


def call(name: str, inputs: Sequence[str] = ("a",), outputs: Sequence[str] = ("b",), label: str = "") -> NodeProto:
    return node(name, inputs, outputs, label or f"call {name}", "local")


def simple(name: str, *nodes: NodeProto) -> FunctionProto:
    return function(name, ["a"], ["b"], nodes)


def ring(count: int) -> ModelProto:
    """Every function calls the next, the last the first."""
    return calling([simple(f"F{i}", call(f"F{(i + 1) % count}")) for i in range(count)], call("F0", ["x"], ["y"]))


def tower(count: int) -> ModelProto:
    made = [simple("F0", node("Relu", ["a"], ["b"], "relu"))]
    made += [simple(f"F{i}", call(f"F{i - 1}")) for i in range(1, count)]
    return calling(made, call(f"F{count - 1}", ["x"], ["y"]))


def laughs(levels: int, width: int = 2) -> ModelProto:
    """Each function calls the one below ``width`` times: ``width ** levels`` ops if written out."""
    made = [function("F0", ["a", "w"], ["b"], [node("MatMul", ["a", "w"], ["b"], "inner")])]
    for level in range(1, levels + 1):
        names = ["a", *(f"v{i}" for i in range(width - 1)), "b"]
        steps = [call(f"F{level - 1}", [names[i], "w"], [names[i + 1]], f"c{i}") for i in range(width)]
        made.append(function(f"F{level}", ["a", "w"], ["b"], steps))
    return calling(made, node(f"F{levels}", ["x", "w1"], ["y"], "call", "local"))


LINEAR = function("F", ["a", "w"], ["b"], [node("MatMul", ["a", "w"], ["b"], "inner")])


def body(*nodes: NodeProto, **fields: Any) -> FunctionProto:
    return function("F", ["a", "w"], ["b"], nodes, **fields)


def conv(attributes: Sequence[str] = ("groups",), **given: Any) -> ModelProto:
    inner = node("Conv", ["a", "w"], ["b"], "inner", group=reference("group", "groups", AttributeProto.INT))
    made = node("F", ["x", "w2"], ["y"], "call", "local", **given)
    return model(
        [made],
        {"x": [1, 4, 8, 8]},
        [value("y", [1, 4, 6, 6])],
        [weight("w2", 4, 2, 3, 3)],
        domains={"local": 1},
        functions=[body(inner, attributes=attributes)],
    )


def default() -> ModelProto:
    made = conv(())
    made.functions[0].attribute_proto.append(helper.make_attribute("groups", 2))
    return made


def overloaded() -> ModelProto:
    one, two = (body(node(kind, ["a", "w"], ["b"], kind)) for kind in ("MatMul", "Add"))
    one.overload, two.overload = "one", "two"
    first, second = call("F", ["x", "w1"], ["h"]), call("F", ["h", "w1"], ["y"])
    first.overload, second.overload = "one", "two"
    return calling([one, two], first, second, ir_version=10)


def overload_missing() -> ModelProto:
    made = overloaded()
    made.graph.node[0].overload = "three"
    return made


def with_if() -> ModelProto:
    then = graph([node("MatMul", ["a", "w"], ["t"], "inner")], {}, ["t"], name="then")
    other = graph([node("Identity", ["a"], ["e"], "same")], {}, ["e"], name="else")
    chosen = node("If", ["c"], ["b"], "choose", then_branch=then, else_branch=other)
    made = function("F", ["a", "w", "c"], ["b"], [chosen])
    return calling(
        [made], node("F", ["x", "w1", "c"], ["y"], "call", "local"), inputs=[value("x", [1, 4]), boolean("c")]
    )


def called_in_branch() -> ModelProto:
    then = graph([node("F", ["x", "w1"], ["t"], "call", "local")], {}, ["t"], name="then")
    other = graph([node("Identity", ["x"], ["e"], "same")], {}, ["e"], name="else")
    chosen = node("If", ["c"], ["y"], "choose", then_branch=then, else_branch=other)
    return calling([LINEAR], chosen, inputs=[value("x", [1, 4]), boolean("c")])


def recursive_through_branch() -> ModelProto:
    then = graph([node("F", ["a", "w"], ["t"], "again", "local")], {}, ["t"], name="then")
    other = graph([node("Identity", ["a"], ["e"], "same")], {}, ["e"], name="else")
    test = [
        node("ReduceSum", ["a"], ["s"], "sum", keepdims=0),
        node("Cast", ["s"], ["c"], "cast", to=9),
        node("If", ["c"], ["b"], "choose", then_branch=then, else_branch=other),
    ]
    return calling([body(*test)])


def shadow() -> ModelProto:
    """A function that says what the standard Relu is."""
    made = function("Relu", ["a"], ["b"], [node("Sigmoid", ["a"], ["b"], "inner")], domain="")
    return model(
        [node("MatMul", ["x", "w1"], ["h"], "fc1"), node("Relu", ["h"], ["y"], "act")], weights=[W], functions=[made]
    )


CASES: tuple[Case, ...] = (
    refused("calls itself", lambda _: ring(1), "F0"),
    refused("two call each other", lambda _: ring(2), "F0"),
    refused("ring of 500", lambda _: ring(500), "F"),
    refused("calls itself in a branch", lambda _: recursive_through_branch(), "F"),
    not_silent("chain of 3,000", lambda _: tower(3000), alone=True),
    not_silent("2^24 ops", lambda _: laughs(24), alone=True),
    not_silent("2^200 ops", lambda _: laughs(200), alone=True),
    not_silent("16^16 ops", lambda _: laughs(16, 16), alone=True),
    not_silent("given twice", lambda _: calling([LINEAR, LINEAR]), "F"),
    refused(
        "input given twice", lambda _: calling([function("F", ["a", "a"], ["b"], [node("Relu", ["a"], ["b"])])]), "F"
    ),
    refused("output nobody writes", lambda _: calling([body(node("Relu", ["a"], ["c"], "inner"))]), "F"),
    refused("body reads what nobody writes", lambda _: calling([body(node("Relu", ["z"], ["b"], "inner"))]), "z"),
    refused(
        "body reads a value of its caller", lambda _: calling([body(node("MatMul", ["a", "w1"], ["b"], "inner"))]), "w1"
    ),
    refused(
        "body goes in a circle",
        lambda _: calling([body(node("Relu", ["c"], ["b"], "p"), node("Relu", ["b"], ["c"], "q"))]),
    ),
    refused(
        "two ops of the body write one value",
        lambda _: calling([body(node("Relu", ["a"], ["b"]), node("Relu", ["w"], ["b"]))]),
    ),
    refused("more inputs than it has", lambda _: calling([LINEAR], call("F", ["x", "w1", "x"], ["y"])), "F"),
    refused("more outputs than it has", lambda _: calling([LINEAR], call("F", ["x", "w1"], ["y", "z"])), "F"),
    not_silent("fewer inputs than it needs", lambda _: calling([LINEAR], call("F", ["x"], ["y"])), "F"),
    not_silent("overload that is not there", lambda _: overload_missing()),
    not_silent("without a name", lambda _: calling([LINEAR, function("", ["a"], ["b"], [node("Relu", ["a"], ["b"])])])),
    noted("shadows a standard op", lambda _: shadow(), "Relu"),
    noted("without an opset", lambda _: calling([body(node("MatMul", ["a", "w"], ["b"], "inner"), opset=None)])),
    noted("attribute the call does not give", lambda _: conv(), "call"),
    noted("reference to an attribute nobody declares", lambda _: conv((), groups=2), "inner"),
    noted("calls a function that is not there", lambda _: calling([], call("G", ["x", "w1"], ["y"])), "w1"),
    valid("called twice", lambda _: calling([LINEAR], call("F", ["x", "w1"], ["h"]), call("F", ["h", "w1"], ["y"]))),
    valid("five deep", lambda _: tower(5), weightless=True),
    valid("2^8 ops", lambda _: laughs(8)),
    valid("nobody calls it", lambda _: calling([LINEAR, simple("G", node("Relu", ["a"], ["b"]))])),
    valid("attribute from the caller", lambda _: conv(groups=2)),
    valid("attribute by default", lambda _: default()),
    valid("overloads", lambda _: overloaded()),
    valid("holds an If", lambda _: with_if()),
    valid("called in a branch", lambda _: called_in_branch()),
    valid(
        "optional input left out",
        lambda _: calling([body(node("Clip", ["a", "w"], ["b"], "clip"))], call("F", ["x", ""], ["y"])),
        weightless=True,
    ),
    valid(
        "names that the caller uses too",
        lambda _: calling([function("F", ["y", "x"], ["w1"], [node("MatMul", ["y", "x"], ["w1"], "call")])]),
    ),
    valid(
        "body without ops, input to output",
        lambda _: calling([function("F", ["a", "w"], ["a"], [])], call("F", ["x", "w1"], ["y"])),
        weightless=True,
    ),
    valid(
        "a Constant in the body",
        lambda _: calling(
            [
                body(
                    node("Constant", [], ["c"], "const", value=weight("t", 4, 4)),
                    node("MatMul", ["a", "c"], ["b"], "inner"),
                )
            ]
        ),
    ),
    valid(
        "shape computed in the body",
        lambda _: calling(
            [
                body(
                    node("Constant", [], ["s"], "const", value=integers("t", -1, 4)),
                    node("Reshape", ["w", "s"], ["r"], "shape"),
                    node("MatMul", ["a", "r"], ["b"], "inner"),
                )
            ]
        ),
    ),
)

"""Local functions: written out where that is possible, counted before anything is written."""

from __future__ import annotations

from itertools import pairwise

import pytest
from onnx import FunctionProto, ModelProto, NodeProto, helper

from graphneurons.errors import LoadError
from graphneurons.load import flatten
from tests.load.building import floats, graph, loaded, model

node = helper.make_node
OPSETS = [helper.make_opsetid("", 18), helper.make_opsetid("d", 1)]


def function(
    name: str, nodes: list[NodeProto], inputs: list[str] | None = None, outputs: list[str] | None = None,
    attributes: list[str] | None = None, domain: str = "d",
) -> FunctionProto:  # fmt: skip
    return helper.make_function(domain, name, inputs or ["a"], outputs or ["b"], nodes, OPSETS, attributes or [])


def calling(nodes: list[NodeProto], *functions: FunctionProto, **arguments: object) -> ModelProto:
    made = model(nodes, functions=list(functions), **arguments)
    made.opset_import.append(helper.make_opsetid("d", 1))
    return made


def test_a_call_becomes_the_ops_of_the_body() -> None:
    body = [node("MatMul", ["a", "w"], ["t"], "mm"), node("Relu", ["t"], ["b"])]
    calls = [
        node("F", ["x", "w1"], ["h"], "first", domain="d"),
        node("F", ["h", "w1"], ["y"], "second", domain="d"),
    ]
    found = loaded(calling(calls, function("F", body, ["a", "w"]), weights=[floats("w1", 4, 4)]))
    assert [(op.name, op.type, op.inputs, op.outputs, op.version) for op in found.ops] == [
        ("mm", "MatMul", ("x", "w1"), ("t",), 18),
        ("first/Relu_1", "Relu", ("t",), ("h",), 18),
        ("second/mm", "MatMul", ("h", "w1"), ("second/t",), 18),
        ("second/Relu_1", "Relu", ("second/t",), ("y",), 18),
    ]
    assert found.notices == ()


def test_constants_inside_are_one_stored_tensor_under_two_names() -> None:
    body = [node("Constant", [], ["k"], value=floats("t", 4)), node("Add", ["a", "k"], ["b"])]
    calls = [node("F", ["x"], ["h"], "one", domain="d"), node("F", ["h"], ["y"], "two", domain="d")]
    found = loaded(calling(calls, function("F", body)))
    assert set(found.weights) == {"k", "two/k"}
    assert found.weights["k"] == found.weights["two/k"]
    assert [op.inputs for op in found.ops] == [("x", "k"), ("h", "two/k")]


def test_attributes_come_from_the_call_or_the_default() -> None:
    body = node("Selu", ["a"], ["b"])
    for name, source in (("alpha", "alpha"), ("gamma", "g")):
        attribute = body.attribute.add(name=name, type=1)
        attribute.ref_attr_name = source
    made = function("F", [body], attributes=["alpha"])
    made.attribute_proto.append(helper.make_attribute("g", 3.0))
    calls = [
        node("F", ["x"], ["h"], domain="d", alpha=2.0),
        node("F", ["h"], ["y"], domain="d", alpha=4.0, g=5.0),
    ]
    found = loaded(calling(calls, made))
    assert [dict(op.attributes) for op in found.ops] == [{"alpha": 2.0, "gamma": 3.0}, {"alpha": 4.0, "gamma": 5.0}]


def test_attributes_pass_through_calls_inside() -> None:
    leaf = node("Selu", ["a"], ["b"])
    leaf.attribute.add(name="alpha", type=1).ref_attr_name = "inner"
    call = node("G", ["a"], ["b"], domain="d")
    call.attribute.add(name="inner", type=1).ref_attr_name = "outer"
    functions = [function("F", [call], attributes=["outer"]), function("G", [leaf], attributes=["inner"])]
    found = loaded(calling([node("F", ["x"], ["y"], domain="d", outer=7.0)], *functions))
    assert dict(found.ops[0].attributes) == {"alpha": 7.0}


def test_a_constant_may_take_its_value_from_the_call() -> None:
    constant = node("Constant", [], ["k"])
    constant.attribute.add(name="value_floats", type=6).ref_attr_name = "values"
    body = [constant, node("Add", ["a", "k"], ["b"])]
    call = node("F", ["x"], ["y"], domain="d", values=[1.0, 2.0])
    found = loaded(calling([call], function("F", body, attributes=["values"])))
    assert found.weights["k"].shape == (2,)


def test_what_the_call_leaves_out() -> None:
    leaf = node("Clip", ["a", "low"], ["b"], "clip")
    leaf.attribute.add(name="odd", type=1).ref_attr_name = "odd"
    found = loaded(
        calling([node("F", ["x"], ["y"], "call", domain="d")], function("F", [leaf], ["a", "low"], attributes=["odd"]))
    )
    assert (found.ops[0].inputs, dict(found.ops[0].attributes)) == (("x", ""), {})
    assert [notice.code for notice in found.notices] == ["input-not-given", "attribute-not-given"]


def test_an_input_may_be_an_output() -> None:
    found = loaded(calling([node("F", ["x"], ["y"], "call", domain="d")], function("F", [], ["a"], ["a"])))
    assert [(op.qualified, op.inputs, op.outputs) for op in found.ops] == [("Identity", ("x",), ("y",))]


def test_control_flow_inside_a_function() -> None:
    branch = graph([node("MatMul", ["a", "w"], ["t"])], [], ["t"])
    body = [node("If", ["c"], ["b"], "if", then_branch=branch, else_branch=branch)]
    made = calling(
        [node("F", ["x", "c", "w1"], ["y"], "call", domain="d")], function("F", body, ["a", "c", "w"]),
        inputs=["x", "c"], weights=[floats("w1", 4, 4)],
    )  # fmt: skip
    found = loaded(made)
    assert [(op.type, op.inputs, op.outputs) for op in found.ops] == [
        ("MatMul", ("x", "w1"), ("t",)),
        ("MatMul", ("x", "w1"), ("if/else_branch/t",)),
        ("Merge", ("t", "if/else_branch/t"), ("y",)),
    ]


def test_overloads_are_told_apart() -> None:
    relu, neg = function("F", [node("Relu", ["a"], ["b"])]), function("F", [node("Neg", ["a"], ["b"])])
    neg.overload = "two"
    calls = [node("F", ["x"], ["h"], domain="d"), node("F", ["h"], ["y"], domain="d")]
    calls[1].overload = "two"
    assert [op.type for op in loaded(calling(calls, relu, neg)).ops] == ["Relu", "Neg"]
    calls[1].overload = "three"
    found = loaded(calling(calls, relu, neg))
    assert [op.type for op in found.ops] == ["Relu", "F"]
    assert [notice.code for notice in found.notices] == ["unknown-overload"]


def test_a_function_shadows_a_standard_op() -> None:
    shadow = function("Relu", [node("Neg", ["a"], ["b"])], domain="")
    found = loaded(model([node("Relu", ["x"], ["y"])], functions=[shadow]))
    assert [op.type for op in found.ops] == ["Neg"]
    assert [(notice.code, notice.where) for notice in found.notices] == [("shadowed-op", "function Relu")]


def test_scopes_of_a_call_and_its_body_join() -> None:
    body = [node("MatMul", ["a", "a"], ["t"], "/fc/MatMul"), node("Relu", ["t"], ["b"])]
    call = node("F", ["x"], ["y"], "/encoder/layers.0/F", domain="d")
    found = loaded(calling([call], function("F", body)))
    assert [op.scope for op in found.ops] == [("encoder", "layers", "0", "fc"), ("encoder", "layers", "0")]


@pytest.mark.parametrize(
    ("functions", "says"),
    [
        ([function("F", [node("F", ["a"], ["b"], domain="d")])], "function d.F: the function calls itself;"),
        (
            [
                function("F", [node("G", ["a"], ["b"], domain="d")]),
                function("G", [node("F", ["a"], ["b"], domain="d")]),
            ],
            "function d.F: the function calls itself through function d.G; no runtime can run it",
        ),
        ([function("F", [node("Relu", ["a"], ["c"])])], "function d.F: its output 'b' is never made"),
        ([function("F", [node("Relu", ["z"], ["b"], "r")])], r"r \(makes b\): reads 'z', which nothing"),
        ([function("F", [node("Relu", ["x"], ["b"], "r")])], r"r \(makes b\): reads 'x', which nothing"),
        ([function("F", [node("Relu", ["a"], ["b"])] * 2)], "function d.F: the value 'b' is defined 2 times"),
        ([function("F", [node("Relu", ["a"], ["b"])])] * 2, "function d.F: the function is defined twice"),
        ([function("F", [node("Relu", ["b"], ["b"])])], "needs its own result 'y': the graph has a cycle"),
    ],
)
def test_malformed_functions_are_refused(functions: list[FunctionProto], says: str) -> None:
    with pytest.raises(LoadError, match=says):
        loaded(calling([node("F", ["x"], ["y"], "call", domain="d")], *functions))


def test_recursion_through_a_branch_is_refused_even_if_never_called() -> None:
    branch = graph([node("F", ["a"], ["t"], domain="d")], [], ["t"])
    recursive = function("F", [node("If", ["a"], ["b"], then_branch=branch, else_branch=branch)])
    with pytest.raises(LoadError, match="calls itself"):
        loaded(calling([node("Relu", ["x"], ["y"])], recursive))


def test_more_arguments_than_parameters_are_refused() -> None:
    body = function("F", [node("Relu", ["a"], ["b"])])
    for call in (node("F", ["x", "x"], ["y"], "c", domain="d"), node("F", ["x"], ["y", "z"], "c", domain="d")):
        with pytest.raises(LoadError, match=r"c \(makes y\): function d.F is called with more inputs or outputs"):
            loaded(calling([call], body))


def tower(height: int, width: int) -> list[FunctionProto]:
    """Functions that call the next one ``width`` times each: width ** height ops written out."""
    made = []
    for level in range(height):
        kind = f"F{level + 1}" if level + 1 < height else "Relu"
        names = ["a", *(f"t{index}" for index in range(width - 1)), "b"]
        made.append(
            function(
                f"F{level}",
                [
                    node(kind, [before], [after], domain="d" if kind != "Relu" else "")
                    for before, after in pairwise(names)
                ],
            )
        )
    return made


def test_a_billion_laughs_stay_a_call() -> None:
    found = loaded(calling([node("F0", ["x"], ["y"], "call", domain="d")], *tower(30, 10)))
    assert [op.qualified for op in found.ops] == ["d.F0"]
    assert [(notice.code, notice.where) for notice in found.notices] == [("function-too-large", "function d.F0")]


def test_many_moderate_calls_share_one_budget(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(flatten, "EXPANSION", 250)
    calls = [node("F0", [f"v{index}"], [f"v{index + 1}"], domain="d") for index in range(5)]
    found = loaded(calling(calls, *tower(2, 8), inputs=["v0"], outputs=["v5"]))
    kinds = [op.type for op in found.ops]
    assert kinds.count("F0") == 2
    assert kinds.count("Relu") == 3 * 64


def test_heavy_bodies_cost_more_than_their_nodes() -> None:
    """1,000 calls of one node each, but every call would read a branch of 5,000 initializers again."""
    branch = graph([], [], ["a"], [floats(f"w{index}", 1) for index in range(5000)])
    body = [node("If", ["a"], ["b"], then_branch=branch, else_branch=branch)]
    calls = [node("F", [f"v{index}"], [f"v{index + 1}"], domain="d") for index in range(1000)]
    found = loaded(calling(calls, function("F", body), inputs=["v0"], outputs=["v1000"]))
    assert [notice.code for notice in found.notices] == ["function-too-large"]
    assert sum(op.type == "F" for op in found.ops) > 900


def test_chains_of_calls_have_a_depth() -> None:
    assert len(loaded(calling([node("F0", ["x"], ["y"], domain="d")], *tower(32, 1))).ops) == 1
    with pytest.raises(LoadError, match="functions call each other more than 32 deep"):
        loaded(calling([node("F0", ["x"], ["y"], domain="d")], *tower(3000, 1)))


def test_a_graph_handed_to_a_function_stays_closed() -> None:
    branch = graph([node("Relu", ["x"], ["t"])], [], ["t"])
    inside = node("If", ["a"], ["b"], "if")
    for name in ("then_branch", "else_branch"):
        inside.attribute.add(name=name, type=5).ref_attr_name = "g"
    call = node("F", ["x"], ["y"], "call", domain="d", g=branch)
    found = loaded(calling([call], function("F", [inside], attributes=["g"])))
    assert [op.type for op in found.ops] == ["If"]
    assert {notice.code for notice in found.notices} == {"control-flow-kept", "attribute-not-given"}

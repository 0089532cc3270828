"""If, Loop, Scan and attribute subgraphs written out flat."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from onnx import NodeProto, TensorProto, helper

from graphneurons.errors import LoadError
from graphneurons.graph import CONTROL, ModelGraph, Op
from tests.load.building import floats, graph, loaded, model

node = helper.make_node


def flat(found: ModelGraph) -> list[tuple[str, tuple[str, ...], tuple[str, ...]]]:
    return [(op.qualified, op.inputs, op.outputs) for op in found.ops]


def op(found: ModelGraph, kind: str, index: int = 0) -> Op:
    return [op for op in found.ops if op.type == kind][index]


def branching() -> NodeProto:
    then = graph([node("Gemm", ["x", "w"], ["t"], "gemm")], [], ["t"], [floats("w", 4, 4)])
    other = graph([node("Gemm", ["x", "w"], ["t"], "gemm"), node("Relu", ["t"], ["r"])], [], ["r"], [floats("w", 4, 2)])
    return node("If", ["c"], ["y"], "choose", then_branch=then, else_branch=other)


def test_both_branches_of_if_merge() -> None:
    found = loaded(model([branching()], inputs=["x", "c"]))
    assert flat(found) == [
        ("Gemm", ("x", "w"), ("t",)),
        ("Gemm", ("x", "choose/else_branch/w"), ("choose/else_branch/t",)),
        ("Relu", ("choose/else_branch/t",), ("r",)),
        (f"{CONTROL}.Merge", ("t", "r"), ("y",)),
    ]
    assert [op.name for op in found.ops] == [
        "gemm", "choose/else_branch/gemm", "choose/else_branch/Relu_1", "choose/out",
    ]  # fmt: skip
    assert {name: (ref.name, ref.shape) for name, ref in found.weights.items()} == {
        "w": ("w", (4, 4)), "choose/else_branch/w": ("w", (4, 2)),
    }  # fmt: skip
    assert found.notices == ()


def test_a_branch_may_return_what_it_captures() -> None:
    branch = graph([], [], ["x"])
    found = loaded(model([node("If", ["c"], ["y"], then_branch=branch, else_branch=branch)], inputs=["x", "c"]))
    assert flat(found) == [(f"{CONTROL}.Merge", ("x", "x"), ("y",))]


def test_declarations_follow_renamed_values() -> None:
    made = model([branching()], inputs=["x", "c"])
    for attribute, shape in zip(made.graph.node[0].attribute, ([1], [2]), strict=True):
        attribute.g.value_info.append(helper.make_tensor_value_info("t", TensorProto.FLOAT, shape))
        del attribute.g.output[:]
        attribute.g.output.append(helper.make_tensor_value_info("t", TensorProto.FLOAT, None))
    shapes = {name: value.shape for name, value in loaded(made).declared.items()}
    by_branch = {attribute.name: index for index, attribute in enumerate(made.graph.node[0].attribute)}
    first = ([1], [2])[by_branch["then_branch"]]
    assert shapes["t"] == tuple(first)
    assert shapes["choose/else_branch/t"] == ((2,) if first == [1] else (1,))


@pytest.mark.parametrize(
    ("made", "why"),
    [
        (node("If", ["c"], ["y"], "n", then_branch=graph([], [], ["x"])), "a branch is missing"),
        (node("If", ["c"], ["y"], "n"), "a branch is missing"),
        (
            node("If", ["c"], ["y", "z"], "n", then_branch=graph([], [], ["x"]), else_branch=graph([], [], ["x"])),
            "a branch has fewer outputs than the op",
        ),
        (
            node("If", ["c"], ["y"], "n", then_branch=graph([], ["a"], ["x"]), else_branch=graph([], [], ["x"])),
            "a branch has inputs",
        ),
        (node("Loop", ["", "c"], ["y"], "n"), "its body is missing"),
        (node("Loop", ["", "c", "x"], ["y"], "n", body=graph([], ["i"], ["x"])), "1 states are passed to a body of 1"),
        (node("Loop", ["", "c", "x"], ["y"], "n", body=graph([], ["i", "k", "s"], ["k"])), "body's 1 outputs do not"),
        (node("Loop", ["", "c", ""], ["y"], "n", body=graph([], ["i", "k", "s"], ["k", "s"])), "no initial value"),
        (
            node("Loop", ["", "c", "x"], ["y"], "n", body=graph([], ["i", "k", "s"], ["k", "s"], [floats("s", 4)])),
            "an input of the body is an initializer too",
        ),
        (node("Scan", ["x"], ["y"], "n", num_scan_inputs=1), "its body is missing"),
        (node("Scan", ["x"], ["y"], "n", body=graph([], ["s"], ["s"])), "1 operands are passed to a body of 1"),
        (
            node("Scan", ["x"], ["y"], "n", body=graph([], ["s"], ["s"]), num_scan_inputs=1, scan_input_axes=[0, 1]),
            "its axes do not match",
        ),
    ],
)
def test_what_cannot_be_entered_stays_closed(made: NodeProto, why: str) -> None:
    found = loaded(model([made, node("Relu", ["x"], ["r"])], inputs=["x", "c"], outputs=["r"]))
    assert [op.qualified for op in found.ops] == [made.op_type, "Relu"]
    assert [notice.code for notice in found.notices] == ["control-flow-kept"]
    assert found.notices[0].where.startswith("n")
    assert why in found.notices[0].message


def looping(nodes: Sequence[NodeProto], states: int, returned: Sequence[str], outputs: Sequence[str]) -> ModelGraph:
    """A Loop over ``states`` states s0, s1, ... that start as x0, x1, ..."""
    names = [f"s{index}" for index in range(states)]
    body = graph(nodes, ["i", "k", *names], ["k", *returned], [floats("v", 4, 4)])
    initial = [f"x{index}" for index in range(states)]
    made = node("Loop", ["m", "c", *initial], outputs, "loop", body=body)
    return loaded(model([made], inputs=["m", "c", *initial], outputs=[name for name in outputs if name]))


def test_a_loop_carries_its_states_and_stacks_the_rest() -> None:
    found = looping([node("MatMul", ["s0", "v"], ["t"]), node("Relu", ["t"], ["r"])], 1, ["t", "r"], ["y", "z"])
    assert flat(found) == [
        (f"{CONTROL}.Iteration", (), ("i",)),
        (f"{CONTROL}.Iteration", (), ("k",)),
        (f"{CONTROL}.Carry", ("x0",), ("s0",)),
        ("MatMul", ("s0", "v"), ("t",)),
        ("Relu", ("t",), ("r",)),
        (f"{CONTROL}.Merge", ("x0", "t"), ("y",)),
        (f"{CONTROL}.Stack", ("r",), ("z",)),
    ]
    assert op(found, "Carry").attributes == {"feedback": "t"}
    assert op(found, "Stack").attributes == {"axis": 0}


def test_a_state_returned_unchanged_goes_by_its_outer_name() -> None:
    """How TensorFlow exports pass the weights of a loop."""
    nodes = [
        node("MatMul", ["s0", "s1"], ["t"]),
        node("Identity", ["s1"], ["w1"]),
        node("Identity", ["w1"], ["w2"]),
    ]
    found = looping(nodes, 2, ["t", "w2"], ["y", "w"])
    assert op(found, "MatMul").inputs == ("s0", "x1")
    assert [carry.inputs for carry in found.ops if carry.type == "Carry"] == [("x0",)]
    assert found.ops[-1].qualified == "Identity"
    assert (found.ops[-1].inputs, found.ops[-1].outputs) == (("x1",), ("w",))


def test_states_that_swap_places_are_carried() -> None:
    found = looping([], 2, ["s1", "s0"], ["y", "z"])
    carries = [carry for carry in found.ops if carry.type == "Carry"]
    assert [(carry.inputs, carry.attributes["feedback"]) for carry in carries] == [(("x0",), "s1"), (("x1",), "s0")]


def test_an_unchanged_state_is_seen_through_a_loop_inside() -> None:
    inner = graph([node("Add", ["a", "b"], ["d"])], ["j", "l", "a", "b"], ["l", "d", "b"])
    outer = [node("Loop", ["m", "c", "s0", "s1"], ["t", "u"], "inner", body=inner)]
    found = looping(outer, 2, ["t", "u"], ["y", ""])
    assert op(found, "Add").inputs == ("a", "x1")
    assert [carry.inputs for carry in found.ops if carry.type == "Carry"] == [("x0",), ("s0",)]


def test_a_long_chain_of_copies_that_ends_in_a_circle_is_refused_quickly() -> None:
    chain = [node("Identity", [f"a{index + 1}"], [f"a{index}"]) for index in range(20_000)]
    with pytest.raises(LoadError, match="the graph has a cycle"):
        looping([*chain, node("Identity", ["a19999"], ["a20000"])], 1, ["a0"], ["y"])


def scanning(opset: int, inputs: list[str], **attributes: object) -> ModelGraph:
    body = graph([node("Add", ["s", "e"], ["t"]), node("Relu", ["t"], ["r"])], ["s", "e"], ["t", "r"])
    made = node("Scan", inputs, ["y", "z"], "scan", body=body, num_scan_inputs=1, **attributes)
    return loaded(model([made], inputs=["x", "q"], outputs=["y", "z"], opset=opset))


def test_scan_unstacks_carries_and_stacks() -> None:
    found = scanning(16, ["x", "q"], scan_input_axes=[1], scan_output_axes=[-1])
    assert flat(found) == [
        (f"{CONTROL}.Unstack", ("q",), ("e",)),
        (f"{CONTROL}.Carry", ("x",), ("s",)),
        ("Add", ("s", "e"), ("t",)),
        ("Relu", ("t",), ("r",)),
        (f"{CONTROL}.Merge", ("x", "t"), ("y",)),
        (f"{CONTROL}.Stack", ("r",), ("z",)),
    ]
    assert op(found, "Unstack").attributes == {"axis": 1}
    assert op(found, "Stack").attributes == {"axis": -1}


def test_scan_8_maps_over_a_batch_too() -> None:
    found = scanning(8, ["", "x", "q"])
    assert [op.type for op in found.ops] == [
        "Unstack", "Unstack", "Unstack", "Carry", "Add", "Relu", "Merge", "Stack", "Stack", "Stack",
    ]  # fmt: skip
    batch = {unstack.inputs[0]: unstack.output for unstack in found.ops[:2]}
    assert set(batch) == {"x", "q"}
    assert op(found, "Carry").inputs == (batch["x"],)
    assert found.producer["y"].type == found.producer["z"].type == "Stack"
    assert found.producer[found.producer["y"].inputs[0]].type == "Merge"
    assert found.notices == ()


def test_other_subgraphs_are_entered_beside_their_op() -> None:
    decoder = graph([node("MatMul", ["ids", "w"], ["logits"])], ["ids"], ["logits"], [floats("w", 4, 4)])
    made = node("BeamSearch", ["x"], ["y"], "beam", domain="com.microsoft", decoder=decoder, eos_token_id=2)
    made_model = model([made])
    made_model.opset_import.append(helper.make_opsetid("com.microsoft", 1))
    found = loaded(made_model)
    assert flat(found) == [
        (f"{CONTROL}.Entry", (), ("ids",)),
        ("MatMul", ("ids", "w"), ("logits",)),
        ("com.microsoft.BeamSearch", ("x",), ("y",)),
    ]
    assert found.ops[-1].attributes == {"eos_token_id": 2}
    assert found.declared["ids"].shape == (4,)
    assert found.weights["w"].shape == (4, 4)


def test_names_inside_never_hide_names_outside() -> None:
    branch = graph([node("Relu", ["x"], ["h"])], [], ["h"])
    nodes = [
        node("Neg", ["x"], ["h"]),
        node("If", ["c"], ["t"], "if", then_branch=branch, else_branch=branch),
        node("Add", ["h", "t"], ["y"]),
    ]
    found = loaded(model(nodes, inputs=["x", "c"]))
    assert op(found, "Merge").inputs == ("if/then_branch/h", "if/else_branch/h")
    assert op(found, "Add").inputs == ("h", "t")


def test_a_branch_may_read_what_is_made_later() -> None:
    branch = graph([node("Relu", ["late"], ["b"])], [], ["b"])
    nodes = [
        node("If", ["c"], ["y"], "if", then_branch=branch, else_branch=branch),
        node("Neg", ["x"], ["late"]),
    ]
    found = loaded(model(nodes, inputs=["x", "c"]))
    assert [op.type for op in found.ops] == ["Neg", "Relu", "Relu", "Merge"]
    assert [notice.code for notice in found.notices] == ["unsorted-nodes"]


def test_a_subgraph_that_reads_nothing_known_is_refused() -> None:
    branch = graph([node("Relu", ["nowhere"], ["b"], "r")], [], ["b"])
    with pytest.raises(LoadError, match=r"r \(makes b\): reads 'nowhere', which nothing in the file makes"):
        loaded(model([node("If", ["c"], ["y"], then_branch=branch, else_branch=branch)], inputs=["x", "c"]))


def test_30_levels_are_entered() -> None:
    def nested(depth: int) -> NodeProto:
        made = node("Relu", ["x"], ["y0"])
        for level in range(1, depth + 1):
            inner = graph([made], [], [f"y{level - 1}"])
            made = node("If", ["x"], [f"y{level}"], then_branch=inner, else_branch=graph([], [], ["x"]))
        return made

    assert len(loaded(model([nested(30)], outputs=["y30"])).ops) == 31

"""What coupled groups say of small graphs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import graphneurons
from graphneurons.analysis import Analysis
from graphneurons.wiring.group_records import Group

Cuts = dict[str, list[list[int]]]


@pytest.fixture
def analyzed(tmp_path: Path):
    """Analyzes a graph written as text, with weights of the shapes given."""

    def analyze(nodes, inputs, outputs, weights, constants=()) -> Analysis:  # type: ignore[no-untyped-def]
        stored = [numpy_helper.from_array(np.zeros(shape, np.float32), name) for name, shape in weights.items()]
        stored += [numpy_helper.from_array(np.array(value, np.int64), name) for name, value in dict(constants).items()]
        graph = helper.make_graph(
            [
                helper.make_node(op, read.split(), made.split(), name=made.split()[0], **rest)
                for op, read, made, rest in nodes
            ],
            "g",
            [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in inputs.items()],
            [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in outputs],
            stored,
        )
        path = tmp_path / "model.onnx"
        onnx.save(
            helper.make_model(
                graph, opset_imports=[helper.make_opsetid("", 18), helper.make_opsetid("com.microsoft", 1)]
            ),
            path,
        )
        return graphneurons.analyze(path)

    return analyze


def told(group: Group) -> dict[str, list[list[int]]]:
    """``NAME[AXIS]`` -> the coordinates of every index."""
    return {f"{m.root}[{m.axis}]": m.coordinates(group.size).tolist() for m in group.members}


def free(analysis: Analysis) -> list[Group]:
    return [group for group in analysis.groups if group.fixed is None]


def test_the_hidden_neurons_of_an_mlp(analyzed) -> None:
    analysis = analyzed(
        [
            ("Gemm", "x w1 b1", "h", {"transB": 1}),
            ("Relu", "h", "r", {}),
            ("Gemm", "r w2", "y", {}),
        ],
        {"x": [2, 3]},
        ["y"],
        {"w1": (4, 3), "b1": (4,), "w2": (4, 5)},
    )
    (group,) = free(analysis)
    each = [[0], [1], [2], [3]]
    assert told(group) == {"w1[0]": each, "b1[0]": each, "w2[0]": each}
    assert [(m.root, m.axis, [(u.of, u.role) for u in m.uses]) for m in group.members] == [
        ("w1", 0, [("h", "neuron")]),
        ("b1", 0, [("h", "modulator")]),
        ("w2", 0, [("y", "synapse")]),
    ]
    assert (group.id, group.size, group.granularity, group.alternatives) == ("h", 4, "neuron", ())
    assert {g.id: g.fixed for g in analysis.groups if g.fixed} == {
        "y": "output 'y' of the model",
        "h:synapses": "input 'x' of the model, axis 1",
    }
    assert [(root, axis, at.tolist()) for root, axis, at in group.cut(2)] == [
        ("w1", 0, [2]),
        ("b1", 0, [2]),
        ("w2", 0, [2]),
    ]


def test_a_residual_sum_ties_what_it_adds(analyzed) -> None:
    analysis = analyzed(
        [
            ("MatMul", "x a", "p", {}),
            ("MatMul", "p b", "q", {}),
            ("Add", "p q", "s", {}),
            ("MatMul", "s c", "y", {}),
        ],
        {"x": [2, 3]},
        ["y"],
        {"a": (3, 4), "b": (4, 4), "c": (4, 5)},
    )
    (group,) = free(analysis)
    assert set(told(group)) == {"a[1]", "b[0]", "b[1]", "c[0]"}


def test_concatenated_channels_stay_apart(analyzed) -> None:
    analysis = analyzed(
        [
            ("MatMul", "x a", "p", {}),
            ("MatMul", "x b", "q", {}),
            ("Concat", "p q", "s", {"axis": 1}),
            ("MatMul", "s c", "y", {}),
        ],
        {"x": [2, 3]},
        ["y"],
        {"a": (3, 2), "b": (3, 3), "c": (5, 4)},
    )
    first, second = free(analysis)
    assert told(first) == {"a[1]": [[0], [1]], "c[0]": [[0], [1]]}
    assert told(second) == {"b[1]": [[0], [1], [2]], "c[0]": [[2], [3], [4]]}


@pytest.mark.parametrize(
    ("order", "coordinates"),
    [([0, 1, 2, 3], [[0, 1, 2, 3], [4, 5, 6, 7]]), ([0, 2, 3, 1], [[0, 2, 4, 6], [1, 3, 5, 7]])],
    ids=["channels first", "channels last"],
)
def test_flattening_after_a_convolution(analyzed, order, coordinates) -> None:
    analysis = analyzed(
        [
            ("Conv", "x k", "c", {}),
            ("Transpose", "c", "t", {"perm": order}),
            ("Flatten", "t", "f", {}),
            ("MatMul", "f w", "y", {}),
        ],
        {"x": [1, 3, 3, 3]},
        ["y"],
        {"k": (2, 3, 2, 2), "w": (8, 5)},
    )
    (group,) = free(analysis)
    assert told(group) == {"k[0]": [[0], [1]], "w[0]": coordinates}


def test_grouped_convolutions_are_cut_by_group_or_across_groups(analyzed) -> None:
    analysis = analyzed(
        [
            ("Conv", "x a", "p", {}),
            ("Conv", "p b", "q", {"group": 2}),
            ("Conv", "q c", "y", {}),
        ],
        {"x": [1, 3, 4, 4]},
        ["y"],
        {"a": (6, 3, 1, 1), "b": (4, 3, 1, 1), "c": (5, 4, 1, 1)},
    )
    by_kind = {(group.granularity, group.size): told(group) for group in free(analysis)}
    assert by_kind == {
        ("block", 2): {
            "a[0]": [[0, 1, 2], [3, 4, 5]],
            "b[0]": [[0, 1], [2, 3]],
            "c[1]": [[0, 1], [2, 3]],
        },
        ("across blocks", 3): {"a[0]": [[0, 3], [1, 4], [2, 5]], "b[1]": [[0], [1], [2]]},
        ("across blocks", 2): {"b[0]": [[0, 2], [1, 3]], "c[1]": [[0, 2], [1, 3]]},
    }
    whole = next(group for group in free(analysis) if group.granularity == "block")
    assert set(whole.alternatives) == {group.id for group in free(analysis) if group is not whole}


def test_depthwise_convolutions_tie_what_they_read_and_make(analyzed) -> None:
    analysis = analyzed(
        [("Conv", "x a", "p", {}), ("Conv", "p b", "q", {"group": 6}), ("Conv", "q c", "y", {})],
        {"x": [1, 3, 4, 4]},
        ["y"],
        {"a": (6, 3, 1, 1), "b": (6, 1, 3, 3), "c": (5, 6, 1, 1)},
    )
    (group,) = free(analysis)
    assert set(told(group)) == {"a[0]", "b[0]", "c[1]"}
    assert group.granularity == "neuron"


def attention(heads: int, shared: int, width: int) -> tuple[list, dict, dict]:  # type: ignore[type-arg]
    """Attention of ``heads`` query heads and ``shared`` key and value heads; nodes, weights and constants."""
    nodes = []
    for name in ("q", "k", "v"):
        nodes += [
            ("MatMul", f"x w{name}", f"{name}1", {}),
            ("Reshape", f"{name}1 s{name}", f"{name}2", {}),
            ("Transpose", f"{name}2", f"{name}3", {"perm": [0, 2, 3, 1] if name == "k" else [0, 2, 1, 3]}),
        ]
    for name in ("k", "v") if heads != shared else ():
        nodes += [
            ("Unsqueeze", f"{name}3 two", f"{name}4", {}),
            ("Expand", f"{name}4 e{name}", f"{name}5", {}),
            ("Reshape", f"{name}5 f{name}", f"{name}6", {}),
        ]
    k, v = ("k6", "v6") if heads != shared else ("k3", "v3")
    nodes += [
        ("MatMul", f"q3 {k}", "scores", {}),
        ("Softmax", "scores", "soft", {"axis": -1}),
        ("MatMul", f"soft {v}", "mixed", {}),
        ("Transpose", "mixed", "turned", {"perm": [0, 2, 1, 3]}),
        ("Reshape", "turned so", "joined", {}),
        ("MatMul", "joined wo", "y", {}),
    ]
    rows, narrow = heads * width, shared * width
    weights = {"wq": (7, rows), "wk": (7, narrow), "wv": (7, narrow), "wo": (rows, 5)}
    repeat = heads // shared
    constants = {
        "sq": [1, 4, heads, width],
        "sk": [1, 4, shared, width],
        "sv": [1, 4, shared, width],
        "so": [1, 4, rows],
        "two": [2],
        "ek": [1, shared, repeat, width, 4],
        "ev": [1, shared, repeat, 4, width],
        "fk": [1, heads, width, 4],
        "fv": [1, heads, 4, width],
    }
    return nodes, weights, constants


def test_heads_are_cut_whole_or_all_narrower(analyzed) -> None:
    nodes, weights, constants = attention(2, 2, 3)
    analysis = analyzed(nodes, {"x": [1, 4, 7]}, ["y"], weights, constants)
    head, width, value = free(analysis)
    whole = [[0, 1, 2], [3, 4, 5]]
    across = [[0, 3], [1, 4], [2, 5]]
    assert (head.granularity, told(head)) == ("head", {"wq[1]": whole, "wk[1]": whole, "wv[1]": whole, "wo[0]": whole})
    assert (width.granularity, told(width)) == ("head width", {"wq[1]": across, "wk[1]": across})
    assert (value.granularity, told(value)) == ("head width", {"wv[1]": across, "wo[0]": across})
    assert set(head.alternatives) == {width.id, value.id}
    assert width.alternatives == (head.id,)


def test_query_heads_that_share_a_key_head(analyzed) -> None:
    nodes, weights, constants = attention(4, 2, 3)
    analysis = analyzed(nodes, {"x": [1, 4, 7]}, ["y"], weights, constants)
    told_of = [told(group) for group in free(analysis) if group.granularity == "head"]
    rows = np.arange(12).reshape(2, 2, 3)
    by_key_head = rows.reshape(2, 6).tolist()
    by_place = rows.transpose(1, 0, 2).reshape(2, 6).tolist()
    narrow = [[0, 1, 2], [3, 4, 5]]
    assert {"wq[1]": by_key_head, "wk[1]": narrow, "wv[1]": narrow, "wo[0]": by_key_head} in told_of
    assert {"wq[1]": by_place, "wo[0]": by_place} in told_of


def test_heads_inside_one_op(analyzed) -> None:
    projections = [("MatMul", f"x w{name}", name, {}) for name in "qkv"]
    fused = ("MultiHeadAttention", "q k v", "mixed", {"num_heads": 2, "domain": "com.microsoft"})
    analysis = analyzed(
        [*projections, fused, ("MatMul", "mixed wo", "y", {})],
        {"x": [1, 4, 7]},
        ["y"],
        {"wq": (7, 6), "wk": (7, 6), "wv": (7, 6), "wo": (6, 5)},
    )
    whole, across = [[0, 1, 2], [3, 4, 5]], [[0, 3], [1, 4], [2, 5]]
    assert [told(group) for group in free(analysis)] == [
        {"wq[1]": whole, "wk[1]": whole, "wv[1]": whole, "wo[0]": whole},
        {"wq[1]": across, "wk[1]": across},
        {"wv[1]": across, "wo[0]": across},
    ]


def test_channels_laid_out_in_space_are_cut_together(analyzed) -> None:
    analysis = analyzed(
        [
            ("Conv", "x a", "p", {}),
            ("DepthToSpace", "p", "q", {"blocksize": 2, "mode": "DCR"}),
            ("Conv", "q c", "y", {}),
        ],
        {"x": [1, 3, 2, 2]},
        ["y"],
        {"a": (8, 3, 1, 1), "c": (5, 2, 3, 3)},
    )
    (group,) = free(analysis)
    assert told(group) == {"a[0]": [[0, 2, 4, 6], [1, 3, 5, 7]], "c[1]": [[0], [1]]}


def test_two_factors_of_one_axis_that_are_the_same_cannot_be_cut(analyzed) -> None:
    turned = [
        ("Reshape", "p square", "p2", {}),
        ("Transpose", "p2", "p3", {"perm": [0, 2, 1]}),
        ("Add", "p2 p3", "q", {}),
    ]
    analysis = analyzed(
        [("MatMul", "x a", "p", {}), *turned, ("Reshape", "q flat", "s", {}), ("MatMul", "s c", "y", {})],
        {"x": [5, 3]},
        ["y"],
        {"a": (3, 4), "c": (4, 6)},
        {"square": [5, 2, 2], "flat": [5, 4]},
    )
    assert free(analysis) == []


def test_an_lstm_is_cut_by_unit_in_all_its_gates(analyzed) -> None:
    analysis = analyzed(
        [
            ("LSTM", "x w r b", "s", {"hidden_size": 2}),
            ("Squeeze", "s one", "h", {}),
            ("MatMul", "h o", "y", {}),
        ],
        {"x": [5, 1, 3]},
        ["y"],
        {"w": (1, 8, 3), "r": (1, 8, 2), "b": (1, 16), "o": (2, 4)},
        {"one": [1]},
    )
    (group,) = free(analysis)
    rows = [[0, 2, 4, 6], [1, 3, 5, 7]]
    assert told(group) == {
        "w[1]": rows,
        "r[1]": rows,
        "b[1]": [[*range(0, 16, 2)], [*range(1, 16, 2)]],
        "r[2]": [[0], [1]],
        "o[0]": [[0], [1]],
    }


def test_different_uses_of_one_axis_make_different_groups(analyzed) -> None:
    analysis = analyzed(
        [
            ("MatMul", "x a", "p", {}),
            ("Split", "p sizes", "p1 p2", {"axis": 1}),
            ("Relu", "p1", "r", {}),
            ("Tanh", "p2", "t", {}),
            ("Concat", "r t", "s", {"axis": 1}),
            ("MatMul", "s c", "y", {}),
        ],
        {"x": [2, 3]},
        ["y"],
        {"a": (3, 4), "c": (4, 5)},
        {"sizes": [2, 2]},
    )
    assert [told(group) for group in free(analysis)] == [
        {"a[1]": [[0], [1]], "c[0]": [[0], [1]]},
        {"a[1]": [[2], [3]], "c[0]": [[2], [3]]},
    ]


@pytest.mark.parametrize(
    ("node", "reason"),
    [
        (("CumSum", "p axis", "q", {}), "CumSum 'q': mixed in an order that means something"),
        (("ArgMax", "p", "q", {"axis": 1, "keepdims": 1}), "ArgMax 'q': reduced in an order that may mean something"),
        (("Foo", "p", "q", {}), "Foo 'q': no rule says what Foo does"),
        (("TopK", "p axis", "q i", {}), "TopK 'q': TopK: the order of the values is computed while the model runs"),
        (("LRN", "p", "q", {"size": 3}), "LRN 'q': mixed in an order that means something"),
        (("Trilu", "p", "q", {}), "Trilu 'q' keeps a triangle"),
        (("Gather", "p zero", "q", {"axis": 1}), "Gather 'q' picks it out"),
    ],
    ids=lambda case: case[0] if isinstance(case, tuple) else "",
)
def test_what_means_something_in_order_cannot_be_cut(analyzed, node, reason) -> None:
    analysis = analyzed(
        [("MatMul", "x a", "p", {}), node],
        {"x": [2, 3]},
        ["q"],
        {"a": (3, 4)},
        {"axis": [1], "zero": 0},
    )
    (found,) = [
        group
        for group in analysis.groups
        if any(m.root == "a" and m.axis == 1 and 0 in m.coordinates(group.size) for m in group.members)
    ]
    assert found.fixed == reason


def test_a_shuffle_that_leaves_no_whole_slices_says_so(analyzed) -> None:
    shuffle = [
        ("Reshape", "p split", "p2", {}),
        ("Transpose", "p2", "p3", {"perm": [0, 2, 1]}),
        ("Reshape", "p3 back", "q", {}),
    ]
    analysis = analyzed(
        [("MatMul", "x a", "p", {}), *shuffle, ("Add", "p q", "s", {}), ("MatMul", "s c", "y", {})],
        {"x": [2, 3]},
        ["y"],
        {"a": (3, 6), "c": (6, 5)},
        {"split": [2, 2, 3], "back": [2, 6]},
    )
    fixed = [group.fixed for group in analysis.groups if any(m.root == "a" and m.axis == 1 for m in group.members)]
    assert set(fixed) == {"no way was found to cut it that leaves no holes where its axes are taken apart or joined"}


def test_an_analysis_made_by_hand_has_no_groups_to_tell(analyzed) -> None:
    from dataclasses import replace

    analysis = analyzed([("MatMul", "x a", "y", {})], {"x": [2, 3]}, ["y"], {"a": (3, 4)})
    with pytest.raises(ValueError, match=r"get it from graphneurons\.analyze"):
        _ = replace(analysis, resolution=None).groups


def test_groups_grow_linearly_with_depth(analyzed) -> None:
    def blocks(count: int) -> Analysis:
        nodes, weights, value = [("MatMul", "x w", "v0", {})], {"w": (3, 8)}, "v0"
        for number in range(count):
            nodes += [
                ("MatMul", f"{value} a{number}", f"h{number}", {}),
                ("Relu", f"h{number}", f"r{number}", {}),
                ("MatMul", f"r{number} b{number}", f"o{number}", {}),
                ("Add", f"{value} o{number}", f"v{number + 1}", {}),
            ]
            weights |= {f"a{number}": (8, 16), f"b{number}": (16, 8)}
            value = f"v{number + 1}"
        return analyzed([*nodes, ("MatMul", f"{value} z", "y", {})], {"x": [2, 3]}, ["y"], weights | {"z": (8, 5)})

    stream = next(group for group in blocks(40).groups if group.id == "v0")
    assert stream.size == 8
    assert len(stream.members) == 2 + 2 * 40
    from graphneurons.wiring.coupling import couple

    few, many = (couple(blocks(count).resolution).ledger for count in (10, 40))
    assert many.count - few.count == 30 * (16 + 8)
    assert len(many.pairs) - len(few.pairs) == 30

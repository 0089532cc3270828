"""The whole analysis on small graphs: what counts once, what is left unlabelled, what steers shapes."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import graphneurons
from graphneurons.analysis import Analysis
from graphneurons.load import load_bytes

RANDOM = np.random.default_rng(7)


def analysis_of(
    nodes: Sequence[onnx.NodeProto],
    weights: dict[str, Sequence[int] | np.ndarray],
    inputs: dict[str, Sequence[int | str]],
    outputs: Sequence[str],
    **options: object,
) -> Analysis:
    def stored(name: str, what: Sequence[int] | np.ndarray) -> onnx.TensorProto:
        array = what if isinstance(what, np.ndarray) else RANDOM.normal(size=tuple(what)).astype(np.float32)
        return numpy_helper.from_array(array, name)

    graph = helper.make_graph(
        list(nodes),
        "g",
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, list(shape)) for name, shape in inputs.items()],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in outputs],
        [stored(name, what) for name, what in weights.items()],
    )
    opsets = [helper.make_opsetid("", 20), helper.make_opsetid("com.microsoft", 1), helper.make_opsetid("acme", 1)]
    model = helper.make_model(graph, opset_imports=opsets)
    return graphneurons.analyze(load_bytes(model.SerializeToString()), **options)  # type: ignore[arg-type]


def node(kind: str, inputs: Sequence[str], outputs: Sequence[str], **attributes: object) -> onnx.NodeProto:
    return helper.make_node(kind, list(inputs), list(outputs), name=outputs[0] + "_op", **attributes)


def roles(analysis: Analysis, layer: int = 0, weight: int = 0) -> list[str]:
    return [axis.role for axis in analysis.layers[layer].weights[weight].axes]


def test_a_shared_linear_counts_once_and_is_listed_twice() -> None:
    analysis = analysis_of(
        [node("MatMul", ["x", "w"], ["a"]), node("Relu", ["a"], ["b"]), node("MatMul", ["b", "w"], ["y"])],
        {"w": (6, 6)},
        {"x": (2, 6)},
        ["y"],
    )
    first, second = analysis.layers
    assert (first.tied_to, second.tied_to) == (None, first.id)
    assert analysis.totals.neurons == 6
    assert analysis.totals.synapses == analysis.totals.parameters == 36
    assert (first.activation, second.activation) == ("Relu", None)


def test_a_tied_head_is_table_and_layer_and_one_set_of_parameters() -> None:
    analysis = analysis_of(
        [
            node("Cast", ["ids"], ["i"], to=TensorProto.INT64),
            node("Gather", ["table", "i"], ["e"]),
            node("Transpose", ["table"], ["head"], perm=[1, 0]),
            node("MatMul", ["e", "head"], ["y"]),
        ],
        {"table": (11, 4)},
        {"ids": (2, 3)},
        ["y"],
    )
    assert analysis.totals == graphneurons.Totals(11, 44, 44, 44, 44)
    assert roles(analysis) == ["neuron", "synapse"]
    assert [axis.role for axis in analysis.lookups[0].weights[0].axes] == ["lookup", "neuron"]


@pytest.mark.parametrize(
    ("between", "shape", "expected"),
    [
        ([("Transpose", {"perm": [1, 0]})], (7, 5), ["neuron", "synapse"]),
        ([("Identity", {}), ("Cast", {"to": TensorProto.FLOAT})], (5, 7), ["synapse", "neuron"]),
        ([("Transpose", {"perm": [2, 0, 1]}), ("Flatten", {"axis": 1})], (7, 1, 5), ["neuron", "shared", "synapse"]),
        ([("Transpose", {"perm": [1, 2, 0]}), ("Flatten", {"axis": 2})], (7, 5, 1), ["neuron", "synapse", "shared"]),
    ],
)
def test_roles_come_back_through_layouts(
    between: list[tuple[str, dict[str, object]]], shape: tuple[int, ...], expected: list[str]
) -> None:
    nodes, name = [], "w"
    for index, (kind, attributes) in enumerate(between):
        nodes.append(node(kind, [name], [f"w{index}"], **attributes))
        name = f"w{index}"
    analysis = analysis_of([*nodes, node("MatMul", ["x", name], ["y"])], {"w": shape}, {"x": (2, 5)}, ["y"])
    assert roles(analysis) == expected
    assert (analysis.layers[0].neurons, analysis.layers[0].synapses_per_neuron) == (7, 5)


def test_a_packed_projection_is_used_in_parts() -> None:
    nodes = [node("Split", ["w"], ["q", "k", "v"], axis=1, num_outputs=3)]
    nodes += [node("MatMul", ["x", part], [f"{part}y"]) for part in "qkv"]
    analysis = analysis_of([*nodes, node("Sum", ["qy", "ky", "vy"], ["y"])], {"w": (4, 15)}, {"x": (2, 4)}, ["y"])
    assert [layer.weights[0].part for layer in analysis.layers] == [
        ((0, 4), (0, 5)),
        ((0, 4), (5, 10)),
        ((0, 4), (10, 15)),
    ]
    assert analysis.totals.neurons == 15
    assert analysis.totals.synapses == analysis.totals.parameters == 60


def test_low_rank_updates_modulate_the_weight_they_are_added_to() -> None:
    analysis = analysis_of(
        [node("MatMul", ["b", "a"], ["ba"]), node("Add", ["w", "ba"], ["sum"]), node("MatMul", ["x", "sum"], ["y"])],
        {"w": (5, 7), "b": (5, 2), "a": (2, 7)},
        {"x": (3, 5)},
        ["y"],
    )
    assert [use.weight.name for use in analysis.layers[0].weights] == ["w"]
    assert {use.weight.name for item in analysis.modulators for use in item.weights} == {"a", "b"}
    assert analysis.totals.synapses == 35
    assert analysis.totals.parameters == 35 + 10 + 14


def test_an_op_nobody_knows_is_unlabelled_with_the_reason() -> None:
    analysis = analysis_of(
        [node("Mystery", ["x", "w"], ["y"], domain="acme"), node("MatMul", ["y", "v"], ["z"])],
        {"w": (4, 5), "v": (6, 2)},
        {"x": (2, 4)},
        ["z"],
    )
    (unlabelled,) = analysis.unlabelled
    assert (unlabelled.name, unlabelled.shape) == ("w", (4, 5))
    assert unlabelled.reason == "no rule says what acme.Mystery does"
    assert analysis.totals.labelled_elements == 12
    assert analysis.totals.weight_elements == 32
    (segment,) = analysis.wiring.segments(analysis.wiring.synapses[analysis.layers[0].id][0].neurons)
    assert segment.source.startswith("unknown: ")


def test_a_contradiction_is_unlabelled_and_names_the_axis() -> None:
    analysis = analysis_of([node("MatMul", ["x", "w"], ["y"])], {"w": (4, 5)}, {"x": (2, 3)}, ["y"])
    assert not analysis.layers
    assert "axis 0 of operand 1 has size 4" in analysis.unlabelled[0].reason


def test_shapes_computed_by_the_graph_are_followed() -> None:
    nodes = [
        node("Shape", ["x"], ["s"]),
        node("Gather", ["s", "zero"], ["n"]),
        node("Unsqueeze", ["n", "axes"], ["n1"]),
        node("Concat", ["n1", "rest"], ["target"], axis=0),
        node("Reshape", ["x", "target"], ["flat"]),
        node("MatMul", ["flat", "w"], ["y"]),
    ]
    small = {"zero": np.array(0), "axes": np.array([0]), "rest": np.array([-1])}
    analysis = analysis_of(nodes, {**small, "w": (12, 5)}, {"x": ("batch", 3, 4)}, ["y"], dims={"batch": 6})
    (layer,) = analysis.layers
    (segment,) = analysis.wiring.segments(analysis.wiring.synapses[layer.id][0].neurons)
    assert (segment.source, segment.start, segment.stop, segment.step) == ("input:x", 0, 12, 1)


def test_a_wrong_layer_lists_near_names() -> None:
    analysis = analysis_of([node("MatMul", ["x", "w"], ["y"])], {"w": (4, 5)}, {"x": (2, 4)}, ["y"])
    assert analysis.layer("y_op").neurons == 5
    with pytest.raises(graphneurons.UsageError, match="no layer is called 'y_oq'; near it are y_op"):
        analysis.layer("y_oq")


def test_the_package_and_an_analysis_never_import_torch() -> None:
    code = (
        "import sys, graphneurons; assert not {'numpy', 'onnx', 'torch'} & set(sys.modules); "
        "graphneurons.analyze('fixtures/transformer.onnx'); graphneurons.load('fixtures/mlp.onnx'); "
        "assert not {'torch', 'sympy', 'pandas', 'numpy.ma', 'networkx'} & set(sys.modules), sorted(sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_the_networkx_graph_has_every_op_weight_and_edge() -> None:
    graph = graphneurons.load("fixtures/mlp.onnx").nx
    kinds = [data["kind"] for _, data in graph.nodes(data=True)]
    assert {kind: kinds.count(kind) for kind in set(kinds)} == {"op": 3, "weight": 4, "input": 1, "value": 3}
    assert graph.nodes["value", "layers.0.weight"]["weight"].shape == (3, 2)
    assert [data["input"] for _, _, data in graph.in_edges(("op", graph_op(graph, "Gemm")), data=True)] == [0, 1, 2]


def graph_op(graph: object, kind: str) -> str:
    return next(name for (which, name), data in graph.nodes(data=True) if which == "op" and data["type"] == kind)  # type: ignore[attr-defined]

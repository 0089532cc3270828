"""Both directions of the wiring of real graphs: grouped and recurrent layers, junctions, networkx."""

from __future__ import annotations

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

import graphneurons
from graphneurons.errors import UsageError
from graphneurons.wiring.graphs import neuron_graph
from graphneurons.wiring.tracing import feeds, readers, reads


def analyzed(tmp_path, nodes, weights, shape, name="x"):
    graph = helper.make_graph(
        nodes,
        "graph",
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(np.zeros(size, np.float32), key) for key, size in weights.items()],
    )
    path = tmp_path / "model.onnx"
    path.write_bytes(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)]).SerializeToString())
    return graphneurons.analyze(str(path))


@pytest.fixture
def grouped(tmp_path):
    """Two groups: channels 0 to 2 make neurons 0 and 1, channels 3 to 5 neurons 2 and 3."""
    nodes = [
        helper.make_node("Conv", ["x", "first.weight"], ["a"], group=2),
        helper.make_node("Conv", ["a", "second.weight"], ["b"], group=4, pads=[1] * 4),
        helper.make_node("Add", ["a", "b"], ["y"], name="sum"),
    ]
    return analyzed(tmp_path, nodes, {"first.weight": (4, 3, 1, 1), "second.weight": (4, 1, 3, 3)}, [1, 6, 8, 8])


@pytest.mark.parametrize(("type", "shape"), [("Conv", (4, 3, 1, 1)), ("ConvTranspose", (6, 2, 1, 1))])
def test_a_neuron_reads_its_group_only(tmp_path, type, shape):
    made = analyzed(tmp_path, [helper.make_node(type, ["x", "w"], ["y"], group=2)], {"w": shape}, [1, 6, 8, 8])
    name = made.layers[0].id
    (synapses,) = made.wiring.synapses[name]
    assert synapses.groups == 2
    assert synapses.neurons.size == 6
    assert [link.channel for link in reads(made.wiring, name, 1)] == [0, 1, 2]
    assert [link.channel for link in reads(made.wiring, name, 2)] == [3, 4, 5]
    assert [link.sender for link in reads(made.wiring, name, 3)] == [("input:x", 3), ("input:x", 4), ("input:x", 5)]
    assert [link.receivers for link in feeds(made.wiring, "input:x", 4)] == [range(2, 4)]


def test_depthwise_is_one_to_one(grouped):
    (link,) = reads(grouped.wiring, "second", 2)
    assert (link.sender, link.channel, link.port) == (("first", 2), 2, 0)
    assert [(link.receiver, link.receivers) for link in feeds(grouped.wiring, "first", 2)] == [
        ("second", range(2, 3)),
        ("junction:sum", range(2, 3)),
    ]


def test_junctions_read_index_by_index(grouped):
    assert [(link.sender, link.port) for link in reads(grouped.wiring, "junction:sum", 3)] == [
        (("first", 3), 0),
        (("second", 3), 1),
    ]


def test_a_recurrent_unit_reads_the_units_of_its_direction(tmp_path):
    nodes = [
        helper.make_node("LSTM", ["x", "cell.W", "cell.R"], ["out"], hidden_size=3, direction="bidirectional"),
        helper.make_node("Identity", ["out"], ["y"]),
    ]
    made = analyzed(tmp_path, nodes, {"cell.W": (2, 12, 5), "cell.R": (2, 12, 3)}, [7, 1, 5])
    name = made.layers[0].id
    assert made.wiring.source[name].size == 6
    own = [link for link in reads(made.wiring, name, 4) if link.port == 1]
    assert [link.sender for link in own] == [(name, 3), (name, 4), (name, 5)]
    assert [link.channel for link in own] == [3, 4, 5]
    assert [link.sender for link in reads(made.wiring, name, 4) if link.port == 0] == [("input:x", i) for i in range(5)]
    assert [link.receivers for link in feeds(made.wiring, name, 1)] == [range(3)]
    assert [link.receivers for link in feeds(made.wiring, "input:x", 1)] == [range(6)]


def test_padding_is_left_out_and_reasons_are_listed_once(tmp_path):
    nodes = [
        helper.make_node("Pad", ["x", "pads"], ["p"]),
        helper.make_node("Foo", ["x"], ["f"], domain="acme"),
        helper.make_node("Conv", ["p", "padded.weight"], ["c"]),
        helper.make_node("Add", ["c", "c"], ["y"]),
    ]
    graph = helper.make_graph(
        nodes,
        "graph",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 2, 8, 8])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [
            numpy_helper.from_array(np.array([0, 1, 0, 0, 0, 1, 0, 0], np.int64), "pads"),
            numpy_helper.from_array(np.zeros((3, 4, 1, 1), np.float32), "padded.weight"),
        ],
    )
    path = tmp_path / "padded.onnx"
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("acme", 1)]
    path.write_bytes(helper.make_model(graph, opset_imports=opsets).SerializeToString())
    made = graphneurons.analyze(str(path))
    assert [(link.sender, link.channel) for link in reads(made.wiring, "padded", 0)] == [
        (("input:x", 0), 1),
        (("input:x", 1), 2),
    ]


def test_names_and_ranges_are_checked(grouped):
    with pytest.raises(UsageError, match="nothing in the wiring is called 'third'"):
        reads(grouped.wiring, "third", 0)
    with pytest.raises(UsageError, match="first has neurons 0 to 3, not 4"):
        feeds(grouped.wiring, "first", 4)
    with pytest.raises(UsageError, match="first has neurons 0 to 3, not -1"):
        neuron_graph(grouped.wiring, "first", -1)


def test_readers_are_all_that_feeds_finds(grouped):
    among = readers(grouped.wiring)
    assert {name: [port.receiver for port in found] for name, found in among.items()} == {
        "input:x": ["first"],
        "first": ["second", "junction:sum"],
        "second": ["junction:sum"],
    }
    for neuron in range(4):
        assert feeds(grouped.wiring, "first", neuron, among) == feeds(grouped.wiring, "first", neuron)


def test_every_connection_is_found_from_both_ends(grouped):
    wiring = grouped.wiring
    back = {
        (link.sender, (link.receiver, neuron), link.port, link.channel)
        for source in wiring.sources
        for neuron in range(source.size)
        for link in reads(wiring, source.name, neuron)
    }
    forth = {
        (link.sender, (link.receiver, receiver), link.port, link.channel)
        for source in wiring.sources
        for neuron in range(source.size)
        for link in feeds(wiring, source.name, neuron)
        for receiver in link.receivers
    }
    assert back == forth
    assert len(back) == 4 * 3 + 4 + 4 * 2


def test_nx_has_its_documented_attributes(grouped):
    graph = grouped.wiring.nx
    assert dict(graph.nodes(data=True)) == {
        "first": {"kind": "layer", "size": 4},
        "second": {"kind": "layer", "size": 4},
        "input:x": {"kind": "input", "size": 6},
        "junction:sum": {"kind": "junction", "size": 4},
    }
    assert list(graph.edges(data=True)) == [
        ("first", "second", {"kind": "synapses", "weight": 0, "channels": 4}),
        ("first", "junction:sum", {"kind": "member", "member": 0, "channels": 4}),
        ("second", "junction:sum", {"kind": "member", "member": 1, "channels": 4}),
        ("input:x", "first", {"kind": "synapses", "weight": 0, "channels": 6}),
    ]
    assert grouped.wiring.nx is graph


def test_the_graph_around_a_neuron(grouped):
    graph = neuron_graph(grouped.wiring, "second", 2, up=2, down=1)
    assert set(graph.nodes) == {
        *[("input:x", channel) for channel in (3, 4, 5)],
        *[("first", 2), ("second", 2), ("junction:sum", 2)],
    }
    assert graph.get_edge_data(("first", 2), ("second", 2)) == {0: {"port": 0, "channel": 2}}
    down = neuron_graph(grouped.wiring, "input:x", 0, up=1, down=2)
    assert ("first", 0) in down
    assert ("second", 1) in down
    assert ("first", 2) not in down

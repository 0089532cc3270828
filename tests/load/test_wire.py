"""The skimmer: what it cuts, what it leaves, and what it says of bytes that are not protobuf."""

from __future__ import annotations

import random

import onnx
import pytest
from onnx import TensorProto, helper

from graphneurons.errors import LoadError
from graphneurons.load.wire import DATA_FIELDS, DEEPEST, LONG, skim
from tests.load.building import HEADER, chunk, floats, graph, model, raw, varint


def with_graph(*fields: bytes) -> bytes:
    return HEADER + chunk(7, b"".join(fields))


def restored(data: bytes) -> onnx.ModelProto:
    """The model as parsed after skimming, with every cut undone."""
    skimmed = skim(data, "m")
    found = onnx.ModelProto.FromString(skimmed.structure)
    waiting = [found]
    while waiting:
        message = waiting.pop()
        for field, content in message.ListFields():
            if field.type == field.TYPE_MESSAGE:
                waiting += list(content) if hasattr(content, "__len__") else [content]
        if isinstance(message, TensorProto):
            cut = skimmed.cut(message.raw_data)
            if cut is not None:
                message.ClearField("raw_data")
                number = {name: number for number, name in DATA_FIELDS.items()}[cut.field]
                payload = data[cut.offset : cut.offset + cut.length]
                message.MergeFromString(chunk(number, payload))
    return found


def everywhere() -> onnx.ModelProto:
    """Long and short data in every place a tensor can be."""
    long, short = floats("long", 600), floats("short", 3)
    stored = raw("raw", TensorProto.FLOAT, [300], bytes(range(200)) * 6)
    whole = helper.make_tensor("whole", TensorProto.INT64, [900], range(-3, 897))
    sparse = helper.make_sparse_tensor(
        floats("values", 400), helper.make_tensor("indices", TensorProto.INT64, [400], range(400)), [1000]
    )
    branch = graph([helper.make_node("Constant", [], ["c"], value=long)], [], ["c"], [stored])
    nodes = [
        helper.make_node("Constant", [], ["k"], value=stored),
        helper.make_node("If", ["x"], ["y"], "choose", then_branch=branch, else_branch=branch),
        helper.make_node("Custom", [], ["z"], domain="d", many=[long, short], sparse=sparse, lots=[sparse]),
    ]
    made = graph(nodes, weights=[long, short, stored, whole])
    made.sparse_initializer.append(sparse)
    function = helper.make_function("d", "F", ["a"], ["b"], [nodes[0]], [helper.make_opsetid("", 20)])
    function.attribute_proto.append(helper.make_attribute("table", long))
    found = model(made, functions=[function])
    training = found.training_info.add()
    training.initialization.CopyFrom(graph([], [], [], [long]))
    training.algorithm.CopyFrom(branch)
    return found


def test_nothing_but_long_data_is_lost() -> None:
    made = everywhere()
    assert restored(made.SerializeToString()) == made


def test_structure_holds_no_long_data() -> None:
    data = everywhere().SerializeToString()
    assert len(skim(data, "m").structure) < len(data) / 4


def test_a_model_without_long_data_is_left_alone() -> None:
    data = model([helper.make_node("Relu", ["x"], ["y"])], weights=[floats("w", 3)]).SerializeToString()
    assert skim(data, "m").structure == data


def test_a_marker_cannot_be_forged() -> None:
    first = skim(everywhere().SerializeToString(), "m")
    second = skim(everywhere().SerializeToString(), "m")
    mark = next(t.raw_data for t in onnx.ModelProto.FromString(first.structure).graph.initializer if t.name == "raw")
    assert first.cut(mark) is not None
    assert second.cut(mark) is None
    assert first.cut(b"\0" * len(mark)) is None


def test_lengths_of_every_size_survive() -> None:
    for size in (LONG - 4, LONG, 16380, 16384, 2**21):
        made = model([helper.make_node("Relu", ["x"], ["y"])], weights=[raw("w", 1, [size // 4], bytes(size))])
        assert restored(made.SerializeToString()) == made


def test_every_truncation_is_refused() -> None:
    data = everywhere().SerializeToString()
    rng = random.Random(1)
    for cut in rng.sample(range(len(HEADER) + 1, len(data) // 3), 200):
        with pytest.raises(LoadError, match="not a readable ONNX file"):
            skim(data[:cut], "m")


def test_unknown_fields_and_closed_groups_are_passed_over() -> None:
    group = varint(100 << 3 | 3) + varint(1 << 3) + b"\x05" + varint(100 << 3 | 4)
    data = group + model([helper.make_node("Relu", ["x"], ["y"])]).SerializeToString() + chunk(99, b"abc")
    assert onnx.ModelProto.FromString(skim(data, "m").structure).graph.node[0].op_type == "Relu"


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (HEADER + b"\x0a", "the file ends in the middle of a field at byte 7"),
        (HEADER + b"\x3a\x7f", "a field of 127 bytes runs past the end of its model at byte 6"),
        (HEADER + b"\x3a" + b"\xff" * 11, "a number of more than 10 bytes at byte 7"),
        (HEADER + b"\x08" + b"\x80" * 20, "a number of more than 10 bytes"),
        (HEADER + b"\x38\x01", "field 7 of a model with wire type 0 instead of 2"),
        (with_graph(b"\x29" + bytes(8)), "field 5 of a graph with wire type 1 instead of 2"),
        (HEADER + b"\x3b\x3c", "a protobuf group, which ONNX never uses"),
        (HEADER + varint(99 << 3 | 3) + b"\x08\x01", "the file ends in the middle of a field"),
        (HEADER + varint(99 << 3 | 3) + varint(98 << 3 | 4), "a protobuf group that is not closed"),
        (HEADER + b"\x0e", "wire type 6, which does not exist"),
        (HEADER + b"\x02\x01a", "a field with number 0"),
        (HEADER + b"\x00\x01", "a field with number 0"),
        (
            with_graph(chunk(5, chunk(8, b"w") + chunk(12, b"d" * LONG) + b"\x48\x01")),
            "w: not a readable .* field 9 of a tensor",
        ),
    ],
)
def test_malformed_bytes_are_refused_by_place(data: bytes, says: str) -> None:
    with pytest.raises(LoadError, match=says):
        skim(data, "m")


def test_data_given_twice_is_refused_by_name() -> None:
    tensor = chunk(8, b"w") + chunk(9, bytes(LONG)) + chunk(4, bytes(8))
    with pytest.raises(LoadError, match=r"m: w: the tensor holds its data twice \(raw_data and float_data"):
        skim(with_graph(chunk(5, tensor)), "m")


def test_short_data_given_twice_is_refused_by_name() -> None:
    tensor = b"\x08\x01\x10\x01" + chunk(8, b"w") + chunk(9, bytes(4)) + chunk(9, bytes(4))
    with pytest.raises(LoadError, match=r"m: w: the tensor holds its data twice \(raw_data and raw_data"):
        skim(with_graph(chunk(5, tensor)), "m")
    named = b"\x08\x01\x10\x01" + chunk(8, b"J\x04JJ") + chunk(9, b"JJJJ")
    assert skim(with_graph(chunk(5, named)), "m").structure == with_graph(chunk(5, named))


def test_a_file_of_tiny_fields_is_refused() -> None:
    with pytest.raises(LoadError, match="more than 512 MiB or 3,000,000 tiny fields; this is no network"):
        skim(with_graph(b"\x0a\x00" * 3_300_000), "m")


def test_a_packed_list_in_short_pieces_is_left_to_the_parser() -> None:
    tensor = b"\x08\x02\x10\x01" + chunk(8, b"w") + chunk(4, bytes(4)) + chunk(4, bytes(4))
    found = onnx.ModelProto.FromString(skim(with_graph(chunk(5, tensor)), "m").structure)
    assert list(found.graph.initializer[0].float_data) == [0, 0]


def test_a_field_given_twice_is_reported() -> None:
    data = with_graph() + chunk(7, b"")
    assert [name for name, _ in skim(data, "m").repeated] == ["model.graph"]


def test_deep_nesting_is_refused_before_anything_is_parsed() -> None:
    inner = chunk(1, chunk(3, b"n" * LONG))
    for _ in range(DEEPEST + 1):
        inner = chunk(1, chunk(5, chunk(6, inner)))
    with pytest.raises(LoadError, match=f"nested more than {DEEPEST} deep"):
        skim(with_graph(inner), "m")


def test_100_000_levels_are_refused_without_recursion() -> None:
    sizes, total = [], LONG
    for _ in range(100_000):
        sizes.append(total)
        total += 1 + len(varint(total))
    data = b"".join(
        (b"\x0a", b"\x2a", b"\x32")[index % 3] + varint(size) for index, size in enumerate(reversed(sizes))
    ) + bytes(LONG)
    with pytest.raises(LoadError, match="nested more than"):
        skim(HEADER + chunk(7, data), "m")

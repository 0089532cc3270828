"""What a tensor may declare, and how it is refused: by name, in words."""

from __future__ import annotations

import pytest
from onnx import AttributeProto, GraphProto, ModelProto, SparseTensorProto, TensorProto, helper

from graphneurons.errors import LoadError
from graphneurons.graph import Inline, Sparse
from tests.load.building import floats, graph, loaded, model, raw

RELU = helper.make_node("Relu", ["x"], ["y"])
FLOAT, INT32, INT64, STRING = 1, 6, 7, 8


def holding(*weights: TensorProto) -> ModelProto:
    return model([RELU], weights=weights)


def tensor(**fields: object) -> TensorProto:
    return TensorProto(**{"name": "w", "data_type": FLOAT, "dims": [2], **fields})


@pytest.mark.parametrize(
    ("bad", "says"),
    [
        (tensor(raw_data=b"\0" * 7), "raw_data has 7 bytes, but its shape and data type need 8"),
        (tensor(raw_data=b"\0" * 9), "raw_data has 9 bytes"),
        (tensor(dims=[600], raw_data=b"\0" * 2396), "raw_data has 2396 bytes, but its shape and data type need 2400"),
        (tensor(dims=[600], float_data=[0.0] * 599), "float_data has 2396 bytes"),
        (tensor(float_data=[1.0]), "float_data has 1 entries, but the shape needs 2"),
        (tensor(dims=[2000], data_type=INT64, int64_data=[-1] * 1999), "int64_data has 1999 entries"),
        (tensor(raw_data=b"\0" * 8, float_data=[1, 2]), "holds its data twice"),
        (tensor(float_data=[1, 2], int32_data=[1, 2]), "holds its data twice"),
        (tensor(dims=[600], raw_data=b"\0" * 2400, int64_data=[5]), "holds its data twice"),
        (tensor(int32_data=[1, 2]), "float32 data cannot be in int32_data, only in raw_data or float_data"),
        (tensor(dims=[600], data_type=INT64, float_data=[1.0] * 600), "int64 data cannot be in float_data"),
        (tensor(), "no data, but 2 elements; was its data file left behind"),
        (tensor(data_type=0, raw_data=b"\0" * 8), "data type 0 is not one that ONNX defines"),
        (tensor(data_type=99, raw_data=b"\0" * 8), "data type 99 is not one that ONNX defines"),
        (tensor(dims=[-1]), "dimension -1 is negative"),
        (tensor(dims=[1 << 62, 4]), r"more than 2\^40 elements"),
        (tensor(dims=[1 << 32, 1 << 32]), r"more than 2\^40 elements"),
        (tensor(dims=[0, 1 << 62]), r"more than 2\^40 elements"),
        (tensor(dims=[1] * 10_000), "rank 10000 is more than any runtime takes"),
        (tensor(data_type=STRING, raw_data=b"ab"), "string data cannot be in raw_data"),
        (tensor(data_type=STRING, string_data=[b"a"]), "string_data has 1 entries, but the shape needs 2"),
        (tensor(data_type=22, dims=[3], raw_data=b"\0"), "raw_data has 1 bytes, but its shape and data type need 2"),
        (tensor(data_type=22, dims=[3], int32_data=[1, 2, 3]), "int32_data has 3 entries, but the shape needs 2"),
        (tensor(raw_data=b"\0" * 8, segment=TensorProto.Segment(begin=0, end=1)), "stored in segments"),
    ],
)
def test_a_malformed_tensor_is_refused_by_name(bad: TensorProto, says: str) -> None:
    with pytest.raises(LoadError, match=f"<memory>: w: .*{says}"):
        loaded(holding(bad))


def test_odd_but_sound_tensors_are_taken() -> None:
    found = loaded(
        holding(
            tensor(name="empty", dims=[0, 7]),
            tensor(name="scalar", dims=[], float_data=[2.0]),
            tensor(name="one", dims=[1, 1, 1], raw_data=b"\0" * 4),
            tensor(name="int4", data_type=22, dims=[3], raw_data=b"\0\0"),
            tensor(name="bytes", data_type=2, dims=[2], int32_data=[255, -1]),
        )
    )
    assert {name: ref.shape for name, ref in found.weights.items()} == {
        "empty": (0, 7), "scalar": (), "one": (1, 1, 1), "int4": (3,), "bytes": (2,),
    }  # fmt: skip
    assert found.weights["bytes"].storage == Inline(b"\xff\xff")
    assert found.notices == ()


BAD = raw("bad", FLOAT, [2], b"\0")


def in_constant() -> ModelProto:
    return model([helper.make_node("Constant", [], ["y"], value=BAD)], inputs=[])


def in_attribute() -> ModelProto:
    return model([helper.make_node("Custom", ["x"], ["y"], "c", domain="d", table=BAD)])


def in_attribute_list() -> ModelProto:
    return model([helper.make_node("Custom", ["x"], ["y"], "c", domain="d", tables=[floats("good", 2), BAD])])


def in_branch() -> ModelProto:
    branch = graph([helper.make_node("Add", ["x", "bad"], ["b"])], [], ["b"], [BAD])
    return model([helper.make_node("If", ["x"], ["y"], then_branch=branch, else_branch=branch)])


def in_open_branch() -> ModelProto:
    """An If that is not entered, since a branch is missing."""
    return model([helper.make_node("If", ["x"], ["y"], then_branch=graph([], [], [], [BAD]))])


def in_function() -> ModelProto:
    body = [helper.make_node("Constant", [], ["b"], value=BAD)]
    function = helper.make_function("d", "Unused", [], ["b"], body, [helper.make_opsetid("", 20)])
    return model([RELU], functions=[function])


def in_branch_of_function() -> ModelProto:
    branch = graph([helper.make_node("Constant", [], ["c"], value=BAD)], [], ["c"])
    body = [helper.make_node("If", ["a"], ["b"], then_branch=branch, else_branch=branch)]
    function = helper.make_function("d", "Unused", ["a"], ["b"], body, [helper.make_opsetid("", 20)])
    return model([RELU], functions=[function])


def in_default() -> ModelProto:
    function = helper.make_function("d", "Unused", ["a"], ["a"], [], [helper.make_opsetid("", 20)])
    function.attribute_proto.append(helper.make_attribute("table", BAD))
    return model([RELU], functions=[function])


def in_training() -> ModelProto:
    made = model([RELU])
    made.training_info.add().algorithm.CopyFrom(GraphProto(initializer=[BAD]))
    return made


def in_sparse_values() -> ModelProto:
    made = model([RELU])
    indices = helper.make_tensor("i", INT64, [2], [0, 1])
    made.graph.sparse_initializer.append(SparseTensorProto(values=BAD, indices=indices, dims=[4]))
    return made


def in_sparse_attribute() -> ModelProto:
    made = in_attribute()
    attribute = made.graph.node[0].attribute[0]
    attribute.Clear()
    attribute.name, attribute.type = "s", AttributeProto.SPARSE_TENSOR
    attribute.sparse_tensor.values.CopyFrom(BAD)
    return made


@pytest.mark.parametrize(
    "make",
    [
        in_constant, in_attribute, in_attribute_list, in_branch, in_open_branch, in_function, in_branch_of_function,
        in_default, in_training, in_sparse_values, in_sparse_attribute,
    ],
    ids=lambda make: make.__name__,
)  # fmt: skip
def test_tensors_are_checked_wherever_they_are(make: object) -> None:
    assert callable(make)
    with pytest.raises(LoadError, match=r"bad.*: raw_data has 1 bytes, but its shape and data type need 8"):
        loaded(make())


def sparse(indices: TensorProto, dims: list[int], values: TensorProto | None = None) -> ModelProto:
    made = model([RELU])
    values = values or helper.make_tensor("s", FLOAT, [2], [1.0, 2.0])
    made.graph.sparse_initializer.append(SparseTensorProto(values=values, indices=indices, dims=dims))
    return made


def int64(*numbers: int, shape: tuple[int, ...] = ()) -> TensorProto:
    return helper.make_tensor("i", INT64, shape or (len(numbers),), numbers)


@pytest.mark.parametrize(
    ("made", "says"),
    [
        (sparse(int64(0, 6), [2, 3]), r"s: sparse indices lie outside shape \[2, 3\]"),
        (sparse(int64(-1, 5), [2, 3]), "s: sparse indices lie outside"),
        (sparse(int64(0, 0, 2, 0, shape=(2, 2)), [2, 3]), "s: sparse indices lie outside"),
        (sparse(int64(5, 1), [2, 3]), "s: sparse indices are not in ascending order"),
        (sparse(int64(1, 1), [2, 3]), "s: sparse indices .* one comes twice"),
        (sparse(int64(0, 1, 2), [2, 3]), r"s: sparse indices must be int64 of shape \[2\] or \[2, 2\]"),
        (sparse(helper.make_tensor("i", INT32, [2], [0, 1]), [2, 3]), "s: sparse indices must be int64 .* not int32"),
        (sparse(int64(0, 1), [1]), "s: 2 sparse values do not fit into shape"),
        (sparse(int64(0, 1), [1 << 31, 1 << 31]), r"s: .* more than 2\^40 elements"),
        (sparse(int64(0, 1), [4], floats("s", 1, 2)), "s: sparse values must have rank 1, not 2"),
        (sparse(int64(0, 1), [4], floats("", 2)), "an initializer: it has no name"),
    ],
)
def test_sparse_tensors_that_cannot_be_are_refused(made: ModelProto, says: str) -> None:
    with pytest.raises(LoadError, match=says):
        loaded(made)


def test_a_sparse_tensor_is_a_weight_of_its_dense_shape() -> None:
    ref = loaded(sparse(int64(1, 5), [2, 3])).weights["s"]
    assert (ref.name, ref.shape, ref.dtype) == ("s", (2, 3), "float32")
    assert isinstance(ref.storage, Sparse)


def test_long_indices_in_the_file_are_checked() -> None:
    values = helper.make_tensor("s", FLOAT, [500], [1.0] * 500)
    good, bad = int64(*range(500)), int64(*range(1, 501))
    assert loaded(sparse(good, [500], values)).weights["s"].shape == (500,)
    with pytest.raises(LoadError, match="s: sparse indices lie outside"):
        loaded(sparse(bad, [500], values))

"""Tensors whose sizes, types and data disagree, wherever a tensor can stand; and every kind of tensor that is right."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from onnx import ModelProto, NodeProto, SparseTensorProto, TensorProto, helper

from .build import (
    FLOAT,
    INT64,
    bare,
    branches,
    function,
    graph,
    integers,
    linear,
    mlp,
    model,
    node,
    through,
    value,
    weight,
)
from .case import Case, Maker, not_silent, noted, refused, valid

T = TensorProto
FOUR = bytes(64)
"""Raw data of a (4, 4) float32 tensor."""


def cast(tensor: TensorProto, **fields: Any) -> ModelProto:
    """``tensor`` of any type, cast to float and multiplied with x."""
    return through(
        node("Cast", [tensor.name], ["f"], "widen", to=FLOAT),
        last="f",
        weights=[tensor],
        **{"opset": 23, "ir_version": 11, **fields},
    )


def sparse(
    values: TensorProto | None = None, indices: TensorProto | None = None, dims: tuple[int, ...] = (4, 4)
) -> SparseTensorProto:
    made = SparseTensorProto(dims=dims)
    if values is not None:
        made.values.CopyFrom(values)
    if indices is not None:
        made.indices.CopyFrom(indices)
    return made


VALUES = weight("w1", 3)
LINEAR = integers("", 1, 6, 11)
PAIRS = T(data_type=INT64, dims=[3, 2], raw_data=np.array([[0, 1], [1, 2], [3, 3]], np.int64).tobytes())


def pairs(*rows: tuple[int, int]) -> TensorProto:
    return T(data_type=INT64, dims=[len(rows), 2], raw_data=np.array(rows, np.int64).tobytes())


def sparse_weight(tensor: SparseTensorProto) -> ModelProto:
    return model([node("MatMul", ["x", "w1"], ["y"], "fc1")], graph_fields={"sparse_initializer": [tensor]})


def sparse_constant(tensor: SparseTensorProto) -> ModelProto:
    return through(node("Constant", [], ["w1"], "const", sparse_value=tensor), last="w1")


def constant(**attributes: Any) -> ModelProto:
    return through(node("Constant", [], ["w1"], "const", **attributes), last="w1")


def without_value() -> ModelProto:
    made = constant(value=weight("t", 4, 4))
    made.graph.node[0].attribute[0].ClearField("t")
    return made


# A bad tensor at every site a tensor can stand at.
def in_branch(tensor: TensorProto) -> ModelProto:
    then = graph([node("MatMul", ["x", tensor.name], ["t"], "inner")], {}, ["t"], [tensor])
    return branches(then, graph([node("Identity", ["x"], ["e"])], {}, ["e"]))


def in_function(tensor: TensorProto) -> ModelProto:
    body = [node("Constant", [], ["w"], "const", value=tensor), node("MatMul", ["a", "w"], ["b"], "inner")]
    call = node("F", ["x"], ["y"], "call", "local")
    return model([call], domains={"local": 1}, functions=[function("F", ["a"], ["b"], body)])


def in_attribute(tensor: TensorProto) -> ModelProto:
    return model([node("Custom", ["x"], ["y"], "custom", "my.domain", table=tensor)], domains={"my.domain": 1})


def in_list(tensor: TensorProto) -> ModelProto:
    return model([node("Custom", ["x"], ["y"], "custom", "my.domain", tables=[tensor])], domains={"my.domain": 1})


def in_fill(tensor: TensorProto) -> ModelProto:
    fill = node("ConstantOfShape", ["s"], ["w"], "fill", value=tensor)
    return through(fill, last="w", weights=[integers("s", 4, 4)])


def in_training(tensor: TensorProto) -> ModelProto:
    made = mlp()
    made.training_info.add().initialization.CopyFrom(graph([], {}, [], [tensor], name="init"))
    return made


SITES: dict[str, Callable[[TensorProto], ModelProto]] = {
    "initializer": linear,
    "Constant": lambda tensor: constant(value=tensor),
    "branch": in_branch,
    "function body": in_function,
    "attribute": in_attribute,
    "attribute list": in_list,
    "training info": in_training,
}

WHERE = {"Constant": "const", "function body": "const", "attribute": "custom", "attribute list": "custom"}
"""What an error calls the tensor, where it goes by the name of the op that holds it."""

BROKEN: dict[str, TensorProto] = {
    "raw_data too short": bare("w1", [4, 4], raw_data=FOUR[:-4]),
    "raw_data too long": bare("w1", [4, 4], raw_data=FOUR + b"\0"),
    "raw_data empty": bare("w1", [4, 4], raw_data=b""),
    "no data": bare("w1", [4, 4]),
    "too few float_data": bare("w1", [4, 4], float_data=[1.0] * 15),
    "too many float_data": bare("w1", [4, 4], float_data=[1.0] * 17),
    "raw_data and float_data": bare("w1", [4, 4], raw_data=FOUR, float_data=[1.0] * 16),
    "float_data and int32_data": bare("w1", [4, 4], float_data=[1.0] * 16, int32_data=[1] * 16),
    "floats in int64_data": bare("w1", [4, 4], int64_data=[1] * 16),
    "halves in float_data": bare("w1", [4, 4], T.FLOAT16, float_data=[1.0] * 16),
    "ints in float_data": bare("w1", [4, 4], INT64, float_data=[1.0] * 16),
    "negative size": bare("w1", [4, -4], raw_data=FOUR),
    "two negative sizes": bare("w1", [-4, -4], raw_data=FOUR),
    "size 2^62": bare("w1", [4, 2**62], raw_data=FOUR),
    "size -2^63": bare("w1", [-(2**63), 1], raw_data=FOUR),
    "product overflows to 16": bare("w1", [2**60 + 1, 16], raw_data=FOUR),
    "product overflows to 0": bare("w1", [2**32, 2**32], raw_data=b""),
    "zero times 2^62": bare("w1", [0, 2**62], raw_data=b""),
    "zero times 2^62 squared": bare("w1", [2**62, 0, 2**62], raw_data=b""),
    "bytes overflow": bare("w1", [2**62 + 4, 4], raw_data=FOUR),
    "rank 10,000": bare("w1", [1] * 10_000, raw_data=b"\0" * 4),
    "rank 10,000 of zeros": bare("w1", [0] * 10_000),
    "no type": bare("w1", [4, 4], T.UNDEFINED, raw_data=FOUR),
    "type 999": bare("w1", [4, 4], raw_data=FOUR),
    "type -1": bare("w1", [4, 4], raw_data=FOUR),
    "string with raw_data": bare("w1", [4, 4], T.STRING, raw_data=FOUR),
    "too few strings": bare("w1", [4, 4], T.STRING, string_data=[b"a"] * 3),
    "int4 one byte short": bare("w1", [3, 3], T.INT4, raw_data=bytes(4)),
    "int4 not packed": bare("w1", [4, 4], T.INT4, raw_data=bytes(16)),
    "int4 in int32_data, too few": bare("w1", [4, 4], T.INT4, int32_data=[0] * 7),
    "float8 two bytes each": bare("w1", [4, 4], T.FLOAT8E4M3FN, raw_data=bytes(32)),
    "bfloat16 four bytes each": bare("w1", [4, 4], T.BFLOAT16, raw_data=FOUR),
    "complex half": bare("w1", [4, 4], T.COMPLEX64, float_data=[1.0] * 16),
    "segment": bare("w1", [4, 4], raw_data=FOUR, segment=T.Segment(begin=0, end=4)),
}


def unknown_type(number: int) -> bytes:
    """The enum field by hand: the library refuses to write what it does not know."""
    from . import protobuf as pb

    data = linear(bare("w1", [4, 4], raw_data=FOUR)).SerializeToString()
    return pb.replaced(data, (7, 5, 2), pb.number(2, number))


def made_of(name: str, tensor: TensorProto) -> Maker:
    if name.startswith("type "):
        return lambda _: unknown_type(int(name.split()[1]))
    return lambda _: linear(tensor)


DTYPES = [
    (name, number)
    for name, number in T.DataType.items()
    if name not in ("UNDEFINED", "STRING", "COMPLEX64", "COMPLEX128", "FLOAT")
]


def versions(number: int) -> dict[str, int]:
    """The oldest operator set and file format in which Cast knows the type: runtimes lag behind."""
    if number in (T.UINT2, T.INT2, T.FLOAT6E2M3, T.FLOAT6E3M2):
        return {"opset": 28, "ir_version": 14}
    return {"opset": 25, "ir_version": 12} if number == T.FLOAT8E8M0 else {"opset": 23, "ir_version": 11}


def of_type(number: int) -> ModelProto:
    """A weight of any type, 15 elements so that packed types end within a byte."""
    bits = {T.INT4: 4, T.UINT4: 4, T.FLOAT4E2M1: 4, T.INT2: 2, T.UINT2: 2, T.FLOAT6E2M3: 6, T.FLOAT6E3M2: 6}
    size = bits.get(number) or helper.tensor_dtype_to_np_dtype(number).itemsize * 8
    tensor = bare("w1", [5, 3], number, raw_data=bytes((15 * size + 7) // 8))
    return cast(tensor, inputs={"x": [1, 5]}, **versions(number))


def typed_field(number: int, field: str, count: int = 16) -> ModelProto:
    return cast(bare("w1", [4, 4], number, **{field: [0] * count}))


FORMS: dict[str, Any] = {
    "value_float": 1.5,
    "value_floats": [1.0, 2.0],
    "value_int": 3,
    "value_ints": [1, 2],
    "value_string": "a",
    "value_strings": ["a", "b"],
}


def every_constant() -> ModelProto:
    nodes: list[NodeProto] = [node("Constant", [], [key], key, **{key: item}) for key, item in FORMS.items()]
    return model([*nodes, node("Mul", ["x", "value_float"], ["y"], "scale")])


def as_input_too() -> ModelProto:
    made = linear(weight("w1", 4, 4), ir_version=3)
    made.graph.input.append(value("w1", [4, 4]))
    return made


def as_output_too() -> ModelProto:
    return linear(weight("w1", 4, 4), outputs=["y", value("w1", [4, 4])])


CASES: tuple[Case, ...] = (
    *(refused(name, made_of(name, tensor), "w1") for name, tensor in BROKEN.items()),
    *(
        refused(f"{what}, {site}", lambda _, put=put, what=what: put(BROKEN[what]), WHERE.get(site, "w1"))
        for what in ("raw_data too short", "size 2^62")
        for site, put in SITES.items()
        if site != "initializer"
    ),
    refused("ConstantOfShape, value without data", lambda _: in_fill(bare("w1", [1])), "fill"),
    not_silent("ConstantOfShape, two values", lambda _: in_fill(weight("w1", 2)), "fill"),
    refused("initializer without a name", lambda _: model([node("Relu", ["x"], ["y"])], weights=[weight("", 4)])),
    refused("Constant without a value", lambda _: constant(), "const"),
    refused("Constant with two values", lambda _: constant(value=weight("t", 4, 4), value_float=1.0), "const"),
    refused("Constant whose value is a float", lambda _: constant(value=1.0), "const"),
    refused("Constant whose tensor is missing", lambda _: without_value(), "const"),
    refused("sparse, index out of range", lambda _: sparse_weight(sparse(VALUES, integers("", 1, 6, 16))), "w1"),
    refused("sparse, negative index", lambda _: sparse_weight(sparse(VALUES, integers("", -1, 6, 11))), "w1"),
    refused("sparse, index 2^62", lambda _: sparse_weight(sparse(VALUES, integers("", 1, 6, 2**62))), "w1"),
    refused("sparse, pair out of range", lambda _: sparse_weight(sparse(VALUES, pairs((0, 1), (1, 2), (3, 4)))), "w1"),
    refused("sparse, too few indices", lambda _: sparse_weight(sparse(VALUES, integers("", 1, 6))), "w1"),
    refused("sparse, unsorted", lambda _: sparse_weight(sparse(VALUES, integers("", 6, 1, 11))), "w1"),
    refused("sparse, index twice", lambda _: sparse_weight(sparse(VALUES, integers("", 1, 1, 11))), "w1"),
    refused("sparse, float indices", lambda _: sparse_weight(sparse(VALUES, weight("", 3))), "w1"),
    refused(
        "sparse, indices of rank 3", lambda _: sparse_weight(sparse(VALUES, weight("", 3, 2, 1, dtype=INT64))), "w1"
    ),
    refused("sparse, values of rank 2", lambda _: sparse_weight(sparse(weight("w1", 3, 1), LINEAR)), "w1"),
    refused("sparse, more values than elements", lambda _: sparse_weight(sparse(VALUES, LINEAR, (1, 2))), "w1"),
    refused("sparse, negative size", lambda _: sparse_weight(sparse(VALUES, LINEAR, (4, -4))), "w1"),
    refused("sparse, 2^124 elements", lambda _: sparse_weight(sparse(VALUES, LINEAR, (2**62, 2**62))), "w1"),
    refused("sparse, no values", lambda _: sparse_weight(sparse(None, LINEAR))),
    refused("sparse, no indices", lambda _: sparse_weight(sparse(VALUES, None)), "w1"),
    refused(
        "sparse Constant, index out of range",
        lambda _: sparse_constant(sparse(VALUES, integers("", 1, 6, 99))),
        "const",
    ),
    refused(
        "sparse Constant, short values", lambda _: sparse_constant(sparse(bare("w1", [3], raw_data=b"ab"), LINEAR))
    ),
    valid("sparse weight, flat indices", lambda _: sparse_weight(sparse(VALUES, LINEAR))),
    valid("sparse weight, pairs", lambda _: sparse_weight(sparse(VALUES, PAIRS))),
    valid("sparse weight with 2^40 elements", lambda _: wide_sparse()),
    valid("sparse Constant", lambda _: sparse_constant(sparse(VALUES, LINEAR))),
    valid("sparse with nothing in it", lambda _: sparse_weight(sparse(weight("w1", 0), integers("")))),
    *(valid(f"weight of type {name.lower()}", lambda _, number=number: of_type(number)) for name, number in DTYPES),
    valid("float16 in int32_data", lambda _: typed_field(T.FLOAT16, "int32_data")),
    valid("int8 in int32_data", lambda _: typed_field(T.INT8, "int32_data")),
    valid("int4 in int32_data", lambda _: typed_field(T.INT4, "int32_data", 8)),
    valid("double in double_data", lambda _: typed_field(T.DOUBLE, "double_data")),
    valid("uint32 in uint64_data", lambda _: typed_field(T.UINT32, "uint64_data")),
    valid("complex in float_data", lambda _: complex_weight(), weightless=True),
    valid("string weight, looked up", lambda _: strings()),
    valid(
        "scalar weights",
        lambda _: through(node("Expand", ["w1", "s"], ["w"]), last="w", weights=[weight("w1"), integers("s", 4, 2)]),
    ),
    valid("rank 8 weight", lambda _: linear(weight("w1", 1, 1, 1, 1, 1, 1, 4, 2), outputs=[value("y", [1] * 7 + [2])])),
    valid("vector weight", lambda _: linear(weight("w1", 4), outputs=[value("y", [1])])),
    valid(
        "weight nobody uses",
        lambda _: model([node("Relu", ["x"], ["y"])], weights=[weight("w1", 4, 4)]),
        weightless=True,
    ),
    valid("weight that is an input too", lambda _: as_input_too()),
    valid("weight that is an output too", lambda _: as_output_too()),
    valid("every form of Constant", lambda _: every_constant(), weightless=True),
    valid(
        "Constant with an empty list",
        lambda _: model(
            [
                node("Constant", [], ["c"], "const", value_ints=helper.make_attribute("value_ints", [], attr_type=7)),
                node("Reshape", ["w1", "c"], ["s"]),
                node("Mul", ["x", "s"], ["y"]),
            ],
            weights=[weight("w1")],
        ),
        weightless=True,
    ),
    noted("string weight in MatMul", lambda _: linear(bare("w1", [4, 1], T.STRING, string_data=[b"a"] * 4)), "w1"),
)


def wide_sparse() -> ModelProto:
    return sparse_weight(sparse(VALUES, LINEAR, (4, 2**38)))


def complex_weight() -> ModelProto:
    tensor = bare("w1", [4, 4], T.COMPLEX64, float_data=[0.0] * 32)
    return model([node("Identity", ["w1"], ["y"], "same")], outputs=[value("y", [4, 4], T.COMPLEX64)], weights=[tensor])


def strings() -> ModelProto:
    table = bare("w1", [4], T.STRING, string_data=[b"a", b"\xff\xfe", b"", b"d"])
    return model(
        [node("Gather", ["w1", "i"], ["y"], "pick")],
        [value("i", [2], INT64)],
        [value("y", [2], T.STRING)],
        [table],
    )

"""Short ways to build small ONNX models, and bytes on the protobuf wire."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from onnx import GraphProto, ModelProto, NodeProto, TensorProto, helper

from graphneurons.graph import ModelGraph
from graphneurons.load import load_bytes

HEADER = b"\x08\x0a\x42\x02\x10\x14"
"""IR version 10 and operator set 20."""


def value(name: str, shape: Sequence[int | str] | None = (4,), kind: int = TensorProto.FLOAT) -> Any:
    return helper.make_tensor_value_info(name, kind, shape)


def graph(
    nodes: Iterable[NodeProto],
    inputs: Iterable[str] = ("x",),
    outputs: Iterable[str] = ("y",),
    weights: Iterable[TensorProto] = (),
    name: str = "g",
) -> GraphProto:
    return helper.make_graph(
        list(nodes), name, [value(name) for name in inputs], [value(name) for name in outputs], list(weights)
    )


def model(nodes: Iterable[NodeProto] | GraphProto, opset: int = 20, **arguments: Any) -> ModelProto:
    functions = arguments.pop("functions", ())
    made = nodes if isinstance(nodes, GraphProto) else graph(nodes, **arguments)
    return helper.make_model(made, opset_imports=[helper.make_opsetid("", opset)], functions=functions, ir_version=10)


def loaded(proto: ModelProto) -> ModelGraph:
    return load_bytes(proto.SerializeToString())


def floats(name: str, *shape: int) -> TensorProto:
    count = 1
    for size in shape:
        count *= size
    return helper.make_tensor(name, TensorProto.FLOAT, shape, [float(index) for index in range(count)])


def raw(name: str, kind: int, shape: Sequence[int], stored: bytes) -> TensorProto:
    return TensorProto(name=name, data_type=kind, dims=shape, raw_data=stored)


def varint(number: int) -> bytes:
    out = bytearray()
    while number >= 0x80:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*out, number])


def chunk(field: int, payload: bytes) -> bytes:
    """A length-delimited field."""
    return varint(field << 3 | 2) + varint(len(payload)) + payload

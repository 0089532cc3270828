"""Files broken in the protobuf wire format, and odd encodings every parser must accept."""

from __future__ import annotations

from onnx import ModelProto, TensorProto

from . import protobuf as pb
from .build import FLOAT, INT64, bare, linear, mlp, model, node, weight
from .case import Case, not_silent, noted, refused, seeded, valid
from .tensors import cast

IR, PRODUCER, GRAPH, OPSET = 1, 2, 7, 8
NODE, INITIALIZER, INPUT = 1, 5, 11
DIMS, RAW = 1, 9


def whole() -> bytes:
    return mlp().SerializeToString()


def cut(share: float) -> bytes:
    data = whole()
    return data[: int(len(data) * share)]


def in_graph(extra: bytes) -> bytes:
    """The MLP with ``extra`` bytes at the end of its graph."""
    data = whole()
    body = next(part.payload for part in pb.fields(data) if part.number == GRAPH)
    return pb.replaced(data, (GRAPH,), pb.chunk(GRAPH, body + extra))


def in_first(kind: int, extra: bytes) -> bytes:
    """The MLP with ``extra`` bytes at the end of its first node or initializer."""
    data = whole()
    body = next(part.payload for part in pb.fields(data) if part.number == GRAPH)
    inner = next(part.payload for part in pb.fields(body) if part.number == kind)
    return pb.replaced(data, (GRAPH, kind), pb.chunk(kind, inner + extra))


def rewired(path: tuple[int, ...], field: bytes) -> bytes:
    return pb.replaced(whole(), path, field)


def group(depth: int, number: int = 300) -> bytes:
    return pb.tag(number, pb.GROUP) * depth + pb.tag(number, pb.END_GROUP) * depth


def merged_graph() -> bytes:
    """``graph`` given twice: parsers merge the two, so every node and weight comes from one or the other."""
    first = model([node("MatMul", ["x", "w1"], ["h"], "fc1")], outputs=["h"], weights=[weight("w1", 4, 4)])
    second = model([node("MatMul", ["h", "w2"], ["y"], "fc2")], inputs={}, weights=[weight("w2", 4, 4)])
    return first.SerializeToString() + ModelProto(graph=second.graph).SerializeToString()


def raw_twice() -> bytes:
    tensor = weight("w1", 4, 4).SerializeToString() + pb.chunk(RAW, b"\x11" * 64)
    return rebuilt(tensor)


def rebuilt(tensor: bytes) -> bytes:
    """fc1 with a hand-written tensor ``w1`` of shape (4, 4)."""
    return pb.replaced(
        linear(weight("w1", 4, 4)).SerializeToString(), (GRAPH, INITIALIZER), pb.chunk(INITIALIZER, tensor)
    )


def reversed_fields() -> bytes:
    """Every field of the model, its graph and its tensors in the opposite order, repeated ones kept in order."""

    def turned(data: bytes, deeper: tuple[int, ...]) -> bytes:
        parts = sorted(pb.fields(data), key=lambda part: -part.number)
        return pb.joined(
            [
                part._replace(payload=turned(part.payload, deeper[1:])) if deeper and part.number == deeper[0] else part
                for part in parts
            ]
        )

    return turned(whole(), (GRAPH, INITIALIZER))


def padded_lengths() -> bytes:
    """Lengths and tags in more bytes than they need."""
    out = b""
    for part in pb.fields(whole()):
        key = pb.varint(part.number << 3 | part.wire, pad=2)
        out += key + (pb.varint(len(part.payload), pad=3) if part.wire == pb.CHUNK else b"") + part.payload
    return out


def packed_dims() -> bytes:
    return rebuilt(
        pb.chunk(DIMS, pb.varint(4) * 2)
        + pb.number(2, FLOAT)
        + pb.chunk(8, "w1")
        + pb.chunk(RAW, weight("w1", 4, 4).raw_data)
    )


def unpacked_floats() -> bytes:
    return rebuilt(
        pb.number(DIMS, 4) * 2 + pb.number(2, FLOAT) + pb.chunk(8, "w1") + (pb.tag(4, pb.FIXED32) + b"\0\0\0?") * 16
    )


def floats_in_pieces() -> bytes:
    half = pb.chunk(4, b"\0\0\0?" * 8)
    return rebuilt(pb.number(DIMS, 4) * 2 + half + pb.number(2, FLOAT) + pb.chunk(8, "w1") + half)


LONG = b"\x80" * 10 + b"\x01"

CASES: tuple[Case, ...] = (
    refused("empty", b"", "empty"),
    refused("one zero byte", b"\0"),
    refused("zeros", bytes(4096)),
    refused("all ones", b"\xff" * 4096),
    refused("random, 4 KiB", lambda _: seeded("random").randbytes(4096)),
    refused("random, 1 MiB", lambda _: seeded("random, large").randbytes(2**20)),
    refused("random after a real start", lambda _: whole()[:60] + seeded("start").randbytes(2048)),
    *(refused(f"cut to {share:.0%}", lambda _, share=share: cut(share)) for share in (0.05, 0.25, 0.5, 0.75, 0.97)),
    refused("last byte missing", lambda _: whole()[:-1]),
    refused("cut inside raw_data", lambda _: linear(weight("w1", 4, 4000)).SerializeToString()[:30_000]),
    refused("garbage after the model", lambda _: whole() + b"\xff\xff\xff\xff"),
    refused("zeros after the model", lambda _: whole() + bytes(64)),
    refused("tag of eleven bytes", lambda _: LONG + whole()),
    refused("length of eleven bytes", lambda _: pb.tag(PRODUCER, pb.CHUNK) + LONG + whole()),
    refused("varint that never ends", lambda _: whole() + pb.tag(IR, pb.VARINT) + b"\x80" * 5),
    refused("length past the end", lambda _: whole() + pb.tag(PRODUCER, pb.CHUNK) + pb.varint(100) + b"short"),
    *(
        refused(
            f"length {size}", lambda _, size=size: whole() + pb.tag(PRODUCER, pb.CHUNK) + pb.varint(size) + b"short"
        )
        for size in (2**31 - 1, 2**31, 2**32, 2**63, 2**64 - 1)
    ),
    *(
        refused(
            f"raw_data length {size}",
            lambda _, size=size: rebuilt(pb.number(DIMS, 4) * 2 + pb.number(2, 1) + pb.tag(9, 2) + pb.varint(size)),
        )
        for size in (65, 2**31, 2**63, 2**64 - 64)
    ),
    refused("graph as a number", lambda _: rewired((GRAPH,), pb.number(GRAPH, 7))),
    refused("graph as fixed32", lambda _: rewired((GRAPH,), pb.tag(GRAPH, pb.FIXED32) + b"abcd")),
    refused("initializer as a number", lambda _: rewired((GRAPH, INITIALIZER), pb.number(INITIALIZER, 7))),
    refused("node as fixed64", lambda _: rewired((GRAPH, NODE), pb.tag(NODE, pb.FIXED64) + bytes(8))),
    refused("raw_data as a number", lambda _: rewired((GRAPH, INITIALIZER, RAW), pb.number(RAW, 7)), "w1"),
    refused("dims as a broken pack", lambda _: rewired((GRAPH, INITIALIZER, DIMS), pb.chunk(DIMS, b"\x80"))),
    refused("wire type 6", lambda _: whole() + b"\x0e\0"),
    refused("wire type 7", lambda _: whole() + b"\x0f\0"),
    refused("wire type 7 in a graph", lambda _: in_graph(b"\x0f\0")),
    refused("wire type 6 in a tensor", lambda _: in_first(INITIALIZER, b"\x0e\0")),
    refused("field number 0", lambda _: whole() + b"\x02\x01a"),
    refused("field number 0 in a node", lambda _: in_first(NODE, b"\x02\x01a")),
    refused("field number past 2^29", lambda _: whole() + pb.tag(2**30, pb.VARINT) + b"\x01"),
    refused("group never closed", lambda _: whole() + pb.tag(300, pb.GROUP)),
    refused("group never closed, in a tensor", lambda _: in_first(INITIALIZER, pb.tag(300, pb.GROUP))),
    refused("group closed but never opened", lambda _: whole() + pb.tag(300, pb.END_GROUP)),
    refused("group closed by another number", lambda _: whole() + pb.tag(300, pb.GROUP) + pb.tag(301, pb.END_GROUP)),
    refused("groups 100,000 deep", lambda _: whole() + group(100_000)),
    refused("groups 100,000 deep in a tensor", lambda _: in_first(INITIALIZER, group(100_000))),
    refused("node name is not UTF-8", lambda _: in_first(NODE, pb.chunk(3, b"\xff\xfe"))),
    refused("node input is not UTF-8", lambda _: in_first(NODE, pb.chunk(1, b"\xc3("))),
    refused("op type is a lone surrogate", lambda _: in_first(NODE, pb.chunk(4, b"\xed\xa0\x80"))),
    refused("tensor name is not UTF-8", lambda _: in_first(INITIALIZER, pb.chunk(8, b"\xff"))),
    refused("input name is not UTF-8", lambda _: in_graph(pb.chunk(INPUT, pb.chunk(1, b"\xf8\x88")))),
    noted("graph given twice", lambda _: merged_graph(), "graph"),
    not_silent("raw_data given twice", lambda _: raw_twice()),
    valid("unknown field in the model", lambda _: whole() + pb.chunk(500, "from a later version")),
    valid("unknown number in the graph", lambda _: in_graph(pb.number(501, 2**63))),
    valid("unknown fixed fields in a node", lambda _: in_first(NODE, b"\xf9\x1f" + bytes(8) + b"\xfd\x1f" + bytes(4))),
    valid("unknown field in a tensor", lambda _: in_first(INITIALIZER, pb.chunk(500, bytes(100)))),
    valid("unknown group, closed", lambda _: whole() + group(20)),
    valid("unknown group in a tensor", lambda _: in_first(INITIALIZER, group(5))),
    valid("fields in reverse order", lambda _: reversed_fields()),
    valid("padded varints", lambda _: padded_lengths()),
    valid("packed dims", lambda _: packed_dims()),
    valid("float_data not packed", lambda _: unpacked_floats()),
    valid("float_data in two packs", lambda _: floats_in_pieces()),
    valid("ir_version twice", lambda _: pb.number(IR, 3) + whole()),
    valid("producer name twice", lambda _: whole() + pb.chunk(PRODUCER, "a") + pb.chunk(PRODUCER, "b")),
    valid("no elements, empty raw_data", lambda _: linear(bare("w1", [4, 0], raw_data=b""))),
    valid("no elements, no data field", lambda _: linear(bare("w1", [4, 0]))),
    valid("int64 weight in int64_data", lambda _: cast(bare("w1", [4, 2], INT64, int64_data=range(8)))),
    valid("uint64 weight in uint64_data", lambda _: cast(bare("w1", [4, 2], TensorProto.UINT64, uint64_data=range(8)))),
)

"""Ways to damage a model in its bytes and in its wire format. All take the randomness they use."""

from __future__ import annotations

from random import Random

from . import protobuf as pb

NUMBERS = [0, 1, -1, 2, 3, 8, 16, 127, 255, 2**15, 2**31 - 1, 2**31, 2**32, 2**40, 2**62, 2**63 - 1, -(2**63)]
MESSAGES: dict[str, dict[int, str]] = {
    "model": {7: "graph", 8: "opset", 14: "entry", 20: "training", 25: "function"},
    "training": {1: "graph", 2: "graph", 3: "entry", 4: "entry"},
    "graph": {1: "node", 5: "tensor", 11: "value", 12: "value", 13: "value", 14: "note", 15: "sparse", 16: "entry"},
    "node": {5: "attribute", 9: "entry"},
    "attribute": {5: "tensor", 6: "graph", 10: "tensor", 11: "graph", 14: "type", 22: "sparse", 23: "sparse"},
    "tensor": {13: "entry"},
    "sparse": {1: "tensor", 2: "tensor"},
    "value": {2: "type"},
    "type": {1: "tensor type", 4: "sequence", 9: "sequence"},
    "sequence": {1: "type"},
    "tensor type": {2: "shape"},
    "shape": {1: "dim"},
    "function": {7: "node", 9: "opset", 11: "attribute", 12: "value"},
}


def bytewise(data: bytes, other: bytes, random: Random) -> bytes:
    out = bytearray(data)
    for _ in range(random.choice((1, 1, 2, 4, 8))):
        at = random.randrange(len(out) + 1)
        end = min(len(out), at + random.randrange(1, 20))
        kind = random.randrange(7)
        if kind == 0 and at < len(out):
            out[at] ^= 1 << random.randrange(8)
        elif kind == 1 and at < len(out):
            out[at] = random.choice((0, 1, 0x7F, 0x80, 0xFF, random.randrange(256)))
        elif kind == 2:
            out[at:at] = random.randbytes(random.randrange(1, 9))
        elif kind == 3:
            del out[at:end]
        elif kind == 4:
            out[at:at] = out[at:end]
        elif kind == 5:
            start = random.randrange(len(other))
            out[at:end] = other[start : start + random.randrange(1, 200)]
        elif random.random() < 0.2:
            del out[at:]
    return bytes(out)


def wirewise(data: bytes, other: bytes, random: Random) -> bytes:
    """Change one field somewhere in the tree of messages, and keep all the lengths around it right."""
    levels: list[tuple[list[pb.Field], int]] = []
    kind = "model"
    while True:
        parts = list(pb.fields(data))
        if not parts:
            return pb.joined(levels[0][0] if levels else [])
        index = random.randrange(len(parts))
        inner = MESSAGES.get(kind, {}).get(parts[index].number)
        if inner is None or parts[index].wire != pb.CHUNK or random.random() < 0.2:
            break
        levels.append((parts, index))
        data, kind = parts[index].payload, inner
    damaged = _damaged(parts, index, other, random)
    for outer, at in reversed(levels):
        part = outer[at]
        outer_bytes = [pb.joined([each]) for each in outer]
        outer_bytes[at] = pb.chunk(part.number, damaged)
        damaged = b"".join(outer_bytes)
    return damaged


def _damaged(parts: list[pb.Field], index: int, other: bytes, random: Random) -> bytes:
    part = parts[index]
    whole = [pb.joined([each]) for each in parts]
    kind = random.randrange(10)
    if kind == 0:
        whole[index] = b""
    elif kind == 1:
        whole[index] *= random.choice((2, 2, 3, 40))
    elif kind == 2:
        whole[index] = pb.joined([part._replace(number=random.choice((1, 2, 5, 7, 9, 13, 15, 20, 99, 2**28)))])
    elif kind == 3:
        size = random.choice((0, 1, len(part.payload) + 1, 2**31, 2**63, 2**64 - 1))
        whole[index] = pb.tag(part.number, pb.CHUNK) + pb.varint(size) + part.payload
    elif kind == 4:
        whole[index] = pb.tag(part.number, random.randrange(8)) + part.payload
    elif kind == 5:
        whole[index] = pb.number(part.number, random.choice(NUMBERS))
    elif kind == 6:
        whole[index] = pb.chunk(part.number, part.payload[: random.randrange(len(part.payload) + 1)])
    elif kind == 7:
        random.shuffle(whole)
    elif kind == 8:
        whole[index] = pb.chunk(part.number, random.choice([each.payload for each in pb.fields(other)]))
    else:
        whole[index] = pb.chunk(part.number, random.randbytes(random.randrange(20)))
    return b"".join(whole)

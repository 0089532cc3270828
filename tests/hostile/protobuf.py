"""The protobuf wire format by hand: to write what no library will."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

VARINT, FIXED64, CHUNK, GROUP, END_GROUP, FIXED32 = range(6)


class Field(NamedTuple):
    number: int
    wire: int
    payload: bytes
    """Value as it stands in the file, without the length in front of a chunk."""


def varint(value: int, pad: int = 0) -> bytes:
    """``value`` (64 bits, two's complement) with ``pad`` needless continuation bytes."""
    value &= 2**64 - 1
    out = bytearray()
    while True:
        low, value = value & 0x7F, value >> 7
        if not value:
            break
        out.append(low | 0x80)
    if not pad:
        return bytes([*out, low])
    return bytes([*out, low | 0x80, *[0x80] * (pad - 1), 0])


def tag(number: int, wire: int) -> bytes:
    return varint(number << 3 | wire)


def chunk(number: int, payload: bytes | str) -> bytes:
    data = payload.encode() if isinstance(payload, str) else payload
    return tag(number, CHUNK) + varint(len(data)) + data


def number(field: int, value: int) -> bytes:
    return tag(field, VARINT) + varint(value)


def read_varint(data: bytes, at: int) -> tuple[int, int]:
    value = 0
    for index in range(10):
        byte = data[at + index]
        value |= (byte & 0x7F) << 7 * index
        if byte < 0x80:
            return value, at + index + 1
    raise ValueError("a varint longer than ten bytes")


def fields(data: bytes) -> Iterator[Field]:
    """The fields of one well-formed message; ValueError or IndexError where it is not one."""
    at = 0
    while at < len(data):
        key, at = read_varint(data, at)
        wire, start = key & 7, at
        if not key >> 3:
            raise ValueError("field number 0")
        if wire == VARINT:
            _, at = read_varint(data, at)
        elif wire == CHUNK:
            size, start = read_varint(data, at)
            at = start + size
        elif wire in (FIXED32, FIXED64):
            at += 4 if wire == FIXED32 else 8
        else:
            raise ValueError("a group")
        if at > len(data):
            raise ValueError("a field that ends past the end")
        yield Field(key >> 3, wire, data[start:at])


def joined(parts: list[Field]) -> bytes:
    return b"".join(
        chunk(part.number, part.payload) if part.wire == CHUNK else tag(part.number, part.wire) + part.payload
        for part in parts
    )


def replaced(data: bytes, path: tuple[int, ...], value: bytes) -> bytes:
    """``data`` with the first field at ``path`` (numbers from the outermost) replaced by ``value``, tag and all."""
    out: list[bytes] = []
    done = False
    for part in fields(data):
        whole = joined([part])
        if part.number == path[0] and not done:
            done = True
            whole = value if len(path) == 1 else chunk(part.number, replaced(part.payload, path[1:], value))
        out.append(whole)
    if not done:
        raise ValueError(f"no field {path[0]}")
    return b"".join(out)

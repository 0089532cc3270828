"""The element types of onnx.proto: their numbers, names, widths and the typed field that may hold them."""

from __future__ import annotations

from typing import NamedTuple


class DType(NamedTuple):
    """``bits`` per element in ``raw_data`` (0: strings); ``field`` is the typed data field of TensorProto."""

    name: str
    bits: int
    field: str


DTYPES: dict[int, DType] = {
    1: DType("float32", 32, "float_data"),
    2: DType("uint8", 8, "int32_data"),
    3: DType("int8", 8, "int32_data"),
    4: DType("uint16", 16, "int32_data"),
    5: DType("int16", 16, "int32_data"),
    6: DType("int32", 32, "int32_data"),
    7: DType("int64", 64, "int64_data"),
    8: DType("string", 0, "string_data"),
    9: DType("bool", 8, "int32_data"),
    10: DType("float16", 16, "int32_data"),
    11: DType("float64", 64, "double_data"),
    12: DType("uint32", 32, "uint64_data"),
    13: DType("uint64", 64, "uint64_data"),
    14: DType("complex64", 64, "float_data"),
    15: DType("complex128", 128, "double_data"),
    16: DType("bfloat16", 16, "int32_data"),
    17: DType("float8e4m3fn", 8, "int32_data"),
    18: DType("float8e4m3fnuz", 8, "int32_data"),
    19: DType("float8e5m2", 8, "int32_data"),
    20: DType("float8e5m2fnuz", 8, "int32_data"),
    21: DType("uint4", 4, "int32_data"),
    22: DType("int4", 4, "int32_data"),
    23: DType("float4e2m1", 4, "int32_data"),
    24: DType("float8e8m0", 8, "int32_data"),
    25: DType("uint2", 2, "int32_data"),
    26: DType("int2", 2, "int32_data"),
    27: DType("float6e2m3", 6, "int32_data"),
    28: DType("float6e3m2", 6, "int32_data"),
}

BITS: dict[str, int] = {dtype.name: dtype.bits for dtype in DTYPES.values()}


def stored_bytes(elements: int, bits: int) -> int:
    """Length of ``raw_data``: elements narrower than a byte are packed without gaps, and the last byte is filled up."""
    return (elements * bits + 7) // 8


def typed_entries(elements: int, dtype: DType) -> int:
    """How many numbers the typed field holds: complex ones take two, and a 4- or 2-bit type packs a whole byte."""
    if dtype.name.startswith("complex"):
        return 2 * elements
    return stored_bytes(elements, dtype.bits) if dtype.bits in (2, 4) else elements

"""Stored bytes of every element type as float32 or float64 numbers, a tile at a time and into a given buffer."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

Octets = npt.NDArray[np.uint8]
Numbers = npt.NDArray[Any]
"""float32, or float64 where float32 would not hold every value."""

Decoder = Callable[[Octets, Numbers], None]
"""Reads bytes (as many as the numbers need) into numbers."""

_MINI = {
    # bits, exponent bits, mantissa bits, bias, codes that are not numbers
    "float8e4m3fn": (8, 4, 3, 7, "last"),
    "float8e4m3fnuz": (8, 4, 3, 8, "minus zero"),
    "float8e5m2": (8, 5, 2, 15, "ieee"),
    "float8e5m2fnuz": (8, 5, 2, 16, "minus zero"),
    "float8e8m0": (8, 8, 0, 127, "unsigned"),
    "float6e2m3": (6, 2, 3, 1, ""),
    "float6e3m2": (6, 3, 2, 3, ""),
    "float4e2m1": (4, 2, 1, 1, ""),
}
_CAST = {
    "float32": "<f4", "float64": "<f8", "bool": "u1",
    **{f"{sign}int{bits}": f"<{sign[:1] or 'i'}{bits // 8}" for sign in ("", "u") for bits in (8, 16, 32, 64)},
}  # fmt: skip
_WIDE = frozenset({"float64", "int32", "uint32", "int64", "uint64"})
_TINY = {"float16": 2.0**-14, "bfloat16": 2.0**-126, "float64": 2.0**-1022, "float8e8m0": 0.0}
_HALF_SCALE = np.float32(2.0**112)
_HALF_INFINITY = 0x7C00


def is_readable(dtype: str) -> bool:
    """Whether elements of this type are real numbers that can be read here."""
    return dtype in _CAST or dtype in _MINI or dtype in ("float16", "bfloat16", "int4", "uint4", "int2", "uint2")


def number_type(dtype: str) -> npt.DTypeLike:
    """What elements of ``dtype`` are decoded to: float32 where it holds them exactly, else float64 (64-bit integers
    beyond 2^53 are rounded)."""
    return np.float64 if dtype in _WIDE else np.float32


def smallest_normal(dtype: str) -> float:
    """Magnitude below which nonzero numbers of a float type are subnormal; 0 for integers, which have none."""
    if dtype in _TINY:
        return _TINY[dtype]
    if dtype in _MINI:
        return float(2.0 ** (1 - _MINI[dtype][3]))
    return 2.0**-126 if dtype == "float32" else 0.0


def rounding(dtype: str) -> float:
    """The relative distance of neighbouring numbers of a float type, and of float32 for integers that are scaled."""
    if dtype in _MINI:
        return float(2.0 ** -_MINI[dtype][2])
    return {"float16": 2.0**-10, "bfloat16": 2.0**-7, "float64": 2.0**-52}.get(dtype, 2.0**-23)


def decoder(dtype: str) -> Decoder:
    """How to decode ``dtype``. Integers come as they are stored, without scale or zero point."""
    if dtype in _CAST:
        native = np.dtype(_CAST[dtype])
        return lambda stored, into: np.copyto(into, stored.view(native), casting="unsafe")
    if dtype == "float16":
        return _half
    if dtype == "bfloat16":
        return _brain
    if dtype in ("float6e2m3", "float6e3m2"):
        return lambda stored, into: _six(stored, into, _values(dtype))
    table = _table(dtype)
    return lambda stored, into: _looked_up(table, stored, into)


def _half(stored: Octets, into: Numbers) -> None:
    # A cast costs seven times as much. Shifted, exponent and mantissa mean 2**-112 times the number, subnormals too.
    # Infinities and NaN, whose exponent is largest, would come out as 65536 and more: those tiles are cast.
    signed = stored.view("<i2")
    if signed.size and (signed.max() >= _HALF_INFINITY or signed.view("<u2").max() >= 0x8000 | _HALF_INFINITY):
        np.copyto(into, stored.view("<f2"))
        return
    wide = into.view(np.int32)
    np.copyto(wide, signed)
    np.left_shift(wide, 13, out=wide)
    np.bitwise_and(wide, np.int32(-0x70002000), out=wide)
    np.multiply(into, _HALF_SCALE, out=into)


def _brain(stored: Octets, into: Numbers) -> None:
    wide = into.view(np.uint32)
    np.copyto(wide, stored.view("<u2"))
    np.left_shift(wide, 16, out=wide)


def _looked_up(table: npt.NDArray[np.float32], stored: Octets, into: Numbers) -> None:
    np.take(table, stored, axis=0, out=into.reshape(stored.size, table.shape[1]), mode="clip")


def _six(stored: Octets, into: Numbers, values: npt.NDArray[np.float32]) -> None:
    bits = np.unpackbits(stored, bitorder="little")[: into.size * 6].reshape(into.size, 6)
    into[...] = values[np.packbits(bits, axis=1, bitorder="little").reshape(-1)]


@lru_cache(maxsize=16)
def _table(dtype: str) -> npt.NDArray[np.float32]:
    """The numbers a byte holds, low-order bits first: (256, elements per byte)."""
    values = _values(dtype)
    bits = values.size.bit_length() - 1
    shifts = np.arange(0, 8, bits)
    codes = (np.arange(256)[:, None] >> shifts) & (values.size - 1)
    return np.ascontiguousarray(values[codes])


@lru_cache(maxsize=16)
def _values(dtype: str) -> npt.NDArray[np.float32]:
    """The number of every code."""
    if dtype in ("int4", "int2", "uint4", "uint2"):
        size = 1 << int(dtype[-1])
        codes = np.arange(size)
        signed = codes if dtype.startswith("u") else (codes + size // 2) % size - size // 2
        return signed.astype(np.float32)
    bits, exponents, mantissas, bias, special = _MINI[dtype]
    codes = np.arange(1 << bits)
    mantissa = codes & ((1 << mantissas) - 1)
    exponent = (codes >> mantissas) & ((1 << exponents) - 1)
    if special == "unsigned":
        return np.where(codes == 255, np.nan, 2.0 ** (exponent - bias)).astype(np.float32)
    fraction = np.where(exponent > 0, 1.0, 0.0) + mantissa / (1 << mantissas)
    size = fraction * 2.0 ** (np.maximum(exponent, 1) - bias)
    numbers = np.where(codes >> (bits - 1), -size, size)
    if special == "last":
        numbers[(codes & 0x7F) == 0x7F] = np.nan
    elif special == "minus zero":
        numbers[0x80] = np.nan
    elif special == "ieee":
        top = exponent == (1 << exponents) - 1
        numbers[top] = np.where(mantissa[top] > 0, np.nan, np.copysign(np.inf, numbers[top]))
    found: npt.NDArray[np.float32] = numbers.astype(np.float32)
    return found

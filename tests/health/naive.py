"""The same statistics the slow way: the whole weight in float64, factor by factor, without tiles."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import Any

import ml_dtypes
import numpy as np

from graphneurons.analysis import Analysis, Axis, Factor, Layer, ModelInfo, OpRef, Totals, WeightUse
from graphneurons.graph import FileSlice, Inline, ModelGraph, Op, Storage, WeightRef
from graphneurons.health import WeightHealth
from graphneurons.wiring.records import Synapses, Wiring

TYPES: dict[str, Any] = {
    "float64": np.float64, "float32": np.float32, "float16": np.float16, "bfloat16": ml_dtypes.bfloat16,
    "float8e4m3fn": ml_dtypes.float8_e4m3fn, "float8e4m3fnuz": ml_dtypes.float8_e4m3fnuz,
    "float8e5m2": ml_dtypes.float8_e5m2, "float8e5m2fnuz": ml_dtypes.float8_e5m2fnuz,
    "float8e8m0": ml_dtypes.float8_e8m0fnu, "float4e2m1": ml_dtypes.float4_e2m1fn,
    "float6e2m3": ml_dtypes.float6_e2m3fn, "float6e3m2": ml_dtypes.float6_e3m2fn,
    "int8": np.int8, "uint8": np.uint8, "int16": np.int16, "uint16": np.uint16, "int32": np.int32, "int64": np.int64,
    "int4": ml_dtypes.int4, "uint4": ml_dtypes.uint4, "int2": ml_dtypes.int2, "uint2": ml_dtypes.uint2,
}  # fmt: skip
BITS = {"int4": 4, "uint4": 4, "float4e2m1": 4, "int2": 2, "uint2": 2, "float6e2m3": 6, "float6e3m2": 6}
CODES = {8: np.uint8, 16: np.uint16, 32: np.uint32, 64: np.uint64}


def values_of(codes: np.ndarray, dtype: str) -> np.ndarray:
    """Codes, one per element, as float64."""
    kind = np.dtype(TYPES[dtype])
    if dtype.startswith("int") and dtype in BITS:
        return codes.astype(np.uint8).view(kind).astype(np.int8).astype(np.float64)
    return codes.astype(CODES[kind.itemsize * 8]).view(kind).astype(np.float64)


def stored(codes: np.ndarray, dtype: str) -> bytes:
    """Codes as raw_data: elements below one byte packed without gaps."""
    bits = BITS.get(dtype)
    if bits is None:
        return codes.astype(CODES[np.dtype(TYPES[dtype]).itemsize * 8]).tobytes()
    flat = codes.reshape(-1).astype(np.uint8)
    spread = np.unpackbits(flat[:, None], axis=1, bitorder="little")[:, :bits]
    return np.packbits(spread.reshape(-1), bitorder="little").tobytes()


@dataclass(frozen=True)
class Naive:
    """One entry per neuron or per channel."""

    elements: int
    min: np.ndarray
    max: np.ndarray
    mean: np.ndarray
    l2: np.ndarray
    zeros: np.ndarray
    subnormals: np.ndarray
    nan: np.ndarray
    inf: np.ndarray
    positive: np.ndarray
    negative: np.ndarray


def summarized(rows: np.ndarray, tiny: float) -> Naive:
    """Statistics of every row of a float64 matrix."""
    finite = np.isfinite(rows)
    clean = np.where(finite, rows, 0)
    count = finite.sum(axis=1)
    some = count > 0
    with np.errstate(all="ignore"):
        return Naive(
            rows.shape[1],
            np.where(some, np.where(finite, rows, np.inf).min(axis=1, initial=np.inf), np.nan),
            np.where(some, np.where(finite, rows, -np.inf).max(axis=1, initial=-np.inf), np.nan),
            np.where(some, [math.fsum(row) for row in clean] / np.maximum(count, 1), np.nan),
            np.where(some, np.sqrt((clean * clean).sum(axis=1)), np.nan),
            (rows == 0).sum(axis=1),
            ((np.abs(rows) < tiny) & (rows != 0)).sum(axis=1),
            np.isnan(rows).sum(axis=1),
            np.isinf(rows).sum(axis=1),
            (rows > 0).sum(axis=1),
            (rows < 0).sum(axis=1),
        )


def matrices(use: WeightUse, values: np.ndarray, groups: int) -> tuple[np.ndarray, np.ndarray]:
    """(neurons x synapses, channels x all that reads them) of the stored values."""
    if use.part:
        values = values[tuple(slice(*bounds) for bounds in use.part)]
    factors = [factor for axis in use.axes for factor in axis.factors]
    values = values.reshape([factor.size for factor in factors])
    outside = [at for at, factor in enumerate(factors) if factor.role in ("neuron", "shared")]
    taps = [at for at, factor in enumerate(factors) if re.fullmatch(r"k\d+", factor.name) and factor.role == "synapse"]
    inside = [at for at in range(len(factors)) if at not in outside and at not in taps]
    split = [at for at in outside if factors[at].role == "shared" and groups > 1]
    rest = [at for at in outside if at not in split]

    def matrix(first: list[int], second: list[int]) -> np.ndarray:
        rows = int(np.prod([factors[at].size for at in first], dtype=int))
        columns = int(np.prod([factors[at].size for at in second], dtype=int))
        return values.transpose(*first, *second).reshape(rows, columns)

    return matrix(outside, inside + taps), matrix(split + inside, rest + taps)


def agrees(health: WeightHealth, use: WeightUse, values: np.ndarray, tiny: float, groups: int = 1) -> None:
    """Asserts that a scan says what the naive way says of ``values`` (the whole stored tensor, as it is meant)."""
    rows, columns = matrices(use, values.astype(np.float64), groups)
    neurons, channels = summarized(rows, tiny), summarized(columns, tiny)
    found = health.neurons
    assert (found.size, found.elements) == rows.shape
    for name in ("zeros", "subnormals", "nan", "inf", "positive", "negative"):
        np.testing.assert_array_equal(getattr(found, name), getattr(neurons, name), err_msg=name)
    for name in ("min", "max"):
        np.testing.assert_array_equal(getattr(found, name), getattr(neurons, name), err_msg=name)
    np.testing.assert_allclose(found.l2, neurons.l2, rtol=2e-6)
    with np.errstate(all="ignore"):
        scale = np.where(np.isfinite(neurons.l2), neurons.l2, 0) / np.sqrt(max(rows.shape[1], 1))
    np.testing.assert_array_equal(np.isnan(found.mean), np.isnan(neurons.mean))
    assert (np.abs(np.nan_to_num(found.mean - neurons.mean)) <= 4e-6 * scale + 1e-300).all()
    assert (health.channels.size, health.channels.elements) == columns.shape
    for name in ("zeros", "nan", "positive", "negative"):
        np.testing.assert_array_equal(
            getattr(health.channels, name), getattr(channels, name), err_msg=f"channel {name}"
        )
    np.testing.assert_allclose(health.channels.l2, np.nan_to_num(channels.l2), rtol=2e-6)


def axes_of(*axes: tuple[Factor, ...]) -> tuple[Axis, ...]:
    return tuple(Axis(math.prod(f.size for f in axis), axis[0].role, axis) for axis in axes)


def one_layer(use: WeightUse, groups: int = 1, others: tuple[WeightUse, ...] = (), file: str = "") -> Analysis:
    """An analysis of one layer that uses these weights and nothing else."""
    op = Op("op", "MatMul", "", ("x", use.weight.name), ("y",))
    uses = (use, *others)
    graph = ModelGraph(ModelInfo(file), (op,), (), ("y",), {each.weight.name: each.weight for each in uses})
    neurons = math.prod(f.size for axis in use.axes for f in axis.factors if f.role in ("neuron", "shared"))
    layer = Layer("layer", (), "linear", OpRef("MatMul", "", "op", "y"), neurons, 0, 0, None, uses)
    wiring = Wiring((), (), {"layer": (Synapses("layer", 0, np.zeros(0, np.int64), groups),)})
    return Analysis(graph.info, Totals(0, 0, 0, 0, 0), (layer,), (), (), (), (), graph, wiring)


def inline(codes: np.ndarray, dtype: str, shape: tuple[int, ...], name: str = "w") -> WeightRef:
    return WeightRef(name, dtype, shape, Inline(stored(codes, dtype)))


def in_file(path: str, codes: np.ndarray, dtype: str, shape: tuple[int, ...], skip: int) -> WeightRef:
    """The weight in a file, ``skip`` bytes from its start."""
    data = stored(codes, dtype)
    with open(path, "wb") as file:
        file.write(b"\xff" * skip + data + b"\xff" * 3)
    storage: Storage = FileSlice(path, skip, len(data))
    return WeightRef("w", dtype, shape, storage)

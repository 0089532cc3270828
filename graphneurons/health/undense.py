"""Sums of weights that are not stored element by element: filled with one value, or sparse. Neither is made dense."""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np
import numpy.typing as npt

from graphneurons.analysis import WeightUse
from graphneurons.errors import DataError
from graphneurons.graph import Filled, Sparse
from graphneurons.health.decoding import is_readable, number_type, smallest_normal
from graphneurons.health.fetching import Files, Flat
from graphneurons.health.numbering import Digit, UnnumberedError, channel_steps, neuron_steps, part_of
from graphneurons.health.summing import Chunk, Entries
from graphneurons.load.reading import file_of, read, strides

_PIECE = 1 << 16


def counts_of(digits: list[Digit]) -> tuple[int, int, int]:
    """(neurons, channels, synapses of a neuron) of a weight with these factors."""
    sizes = {kind: prod(d.size for d in digits if d.kind == kind) for kind in ("neuron", "group", "channel", "tap")}
    return sizes["neuron"] * sizes["group"], sizes["group"] * sizes["channel"], sizes["channel"] * sizes["tap"]


def filled(use: WeightUse, storage: Filled, digits: list[Digit]) -> Chunk:
    """The sums of a weight all of whose elements are one value."""
    ref = use.weight
    if not is_readable(ref.dtype):
        raise UnnumberedError(f"values of type {ref.dtype} are no real numbers")
    scalar = type(ref)(ref.name, ref.dtype, (), Filled(storage.value))
    value = float(read(scalar))
    neurons, channels, synapses = counts_of(digits)
    fan_out = neurons * synapses // channels if channels else 0
    tiny = smallest_normal(ref.dtype)

    def entries(size: int, each: int) -> Entries:
        finite = np.isfinite(value)
        sums = {
            "low": value if finite else np.inf,
            "high": value if finite else -np.inf,
            "total": value * each if finite else 0.0,
            "square": value * value * each if finite else 0.0,
            "positive": each * (value > 0),
            "zero": each * (value == 0),
            "small": each * (0 < abs(value) < tiny),
            "nan": each * bool(np.isnan(value)),
            "inf": each * bool(np.isinf(value)),
        }
        return Entries(0, size, {name: np.broadcast_to(np.asarray(found), (size,)) for name, found in sums.items()})

    return Chunk(entries(neurons, synapses), entries(channels, fan_out))


def sparse(use: WeightUse, storage: Sparse, digits: list[Digit], files: Files) -> Chunk:
    """The sums of a sparse weight: of its stored values, and zeros for all others."""
    ref = use.weight
    values, indices = storage.values, storage.indices
    if not is_readable(values.dtype):
        raise UnnumberedError(f"values of type {values.dtype} are no real numbers")
    neurons, channels, synapses = counts_of(digits)
    found = Chunk(Entries(0, neurons), Entries(0, channels))
    rank, count = len(ref.shape), values.elements
    numbers = Flat(values, ((0, count),), files)
    flat = indices.shape == (count,)
    width = 1 if flat else rank
    where = Flat(indices, tuple((0, size) for size in indices.shape), files)
    tiny = smallest_normal(values.dtype)
    for start in range(0, count, _PIECE):
        stop = min(start + _PIECE, count)
        places = where.numbers(start * width, stop * width).astype(np.int64).reshape(-1, width)
        if not flat:
            places = places @ strides(ref.shape)[:, None]
        if int(places.min()) < 0 or int(places.max()) >= ref.elements:
            raise DataError("sparse indices lie outside its shape", file=file_of(indices), where=ref.name)
        coordinates = np.unravel_index(places[:, 0], ref.shape)
        x = numbers.numbers(start, stop).astype(number_type("float64"))
        inside = np.ones(stop - start, bool)
        shifted = []
        for coordinate, (low, high) in zip(coordinates, part_of(use), strict=True):
            inside &= (coordinate >= low) & (coordinate < high)
            shifted.append(coordinate - low)
        x, shifted = x[inside], [coordinate[inside] for coordinate in shifted]
        for entries, along in ((found.neurons, neuron_steps(digits)), (found.channels, channel_steps(digits))):
            at = np.zeros(x.size, np.int64)
            for digit, step in zip(digits, along, strict=True):
                at += shifted[digit.axis] // digit.step % digit.size * step
            _scatter(entries, at, x, tiny)
    fan_out = neurons * synapses // channels if channels else 0
    for entries, each in ((found.neurons, synapses), (found.channels, fan_out)):
        implied = each - entries.of("stored").astype(np.int64)
        entries.of("zero")[...] += implied
        for name, operation in (("low", np.minimum), ("high", np.maximum)):
            entries.sums[name] = np.where(implied > 0, operation(entries.of(name), 0), entries.of(name))
        del entries.sums["stored"]
    return found


def _scatter(entries: Entries, at: npt.NDArray[np.int64], x: npt.NDArray[Any], tiny: float) -> None:
    finite = np.isfinite(x)
    clean = np.where(finite, x, 0)
    added = {
        "stored": np.ones(x.size, np.int64), "total": clean, "square": clean * clean, "positive": x > 0, "zero": x == 0,
        "small": (np.abs(x) < tiny) & (x != 0), "nan": np.isnan(x), "inf": np.isinf(x),
    }  # fmt: skip
    for name, found in added.items():
        into = entries.of(name)
        np.add.at(into, at, found.astype(into.dtype))
    np.minimum.at(entries.of("low"), at, np.where(finite, x, np.inf))
    np.maximum.at(entries.of("high"), at, np.where(finite, x, -np.inf))

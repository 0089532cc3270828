"""One stored weight where it is used, ready to be summed: where its numbers come from and how they are numbered."""

from __future__ import annotations

import os
from dataclasses import dataclass
from math import prod

import numpy as np

from graphneurons.analysis import WeightUse
from graphneurons.axes.rules.packed import PACKED
from graphneurons.errors import DataError
from graphneurons.graph import Absent, External, Filled, ModelGraph, Op, Sparse
from graphneurons.health.decoding import Numbers, is_readable, rounding, smallest_normal
from graphneurons.health.fetching import MOST_VARINTS, Files, Flat
from graphneurons.health.kernels import Steps
from graphneurons.health.nbits import Blocks
from graphneurons.health.numbering import Digit, Numbering, Tile, UnnumberedError, digits_of, numbered, part_of, rows
from graphneurons.health.packed import Bnb4, Gathered, packed
from graphneurons.health.quantizing import Quantization, Restorer, quantization_of
from graphneurons.health.statistics import Units
from graphneurons.health.summing import Chunk, Summing, Values
from graphneurons.load.dtypes import BITS
from graphneurons.load.reading import file_of

MOST_ENTRIES = 1 << 22
"""Neurons and channels of one weight beyond which it is not scanned: their statistics would not fit into memory."""

_CHUNK = 1 << 25
_VARIED = frozenset({"float16", "bfloat16", "float32", "float64"})
"""Types of so many values that neurons seldom agree in their sums by chance."""
_PACKED = frozenset({*PACKED, "QMoE"})


@dataclass(frozen=True, slots=True, eq=False)
class Weight:
    """``bits``: how many bits of precision a stored number has; ``rounding``: how far a number may be off, relative to
    it, and still be called a multiple; ``after``: of integers that may be summed before they are scaled, the zero point
    of all (None: not one) and the scale along the inner axis of neurons (None: no scale)."""

    use: WeightUse
    summing: Summing
    units: Units
    source: Flat | Blocks | Gathered | Bnb4
    restorer: Restorer | None
    bits: int
    rounding: float
    files: Files
    after: tuple[int | None, Numbers | None] | None = None

    @property
    def numbering(self) -> Numbering:
        return self.summing.numbering

    def read(self, tile: Tile) -> Numbers:
        """The numbers of a tile, as they are meant; valid until the thread reads again."""
        start = self.numbering.at(tile)
        found = self.source.numbers(start, start + prod(tile.shape)).reshape(tile.shape)
        if self.restorer is not None:
            with np.errstate(all="ignore"):
                self.restorer.restore(found, tile)
        return found

    def values(self, tile: Tile) -> Values:
        """As `read`; integers whose scales go with the neurons are left to be scaled when they are summed."""
        if self.after is None or self.restorer is None or not isinstance(self.source, Flat):
            return self.read(tile), None, None
        start, size = self.numbering.at(tile), prod(tile.shape)
        zero, scale = self.after
        stored = None if zero is None else self.source.octets(start, start + size)
        steps = None
        if stored is not None and zero is not None:
            steps = Steps(stored.reshape(tile.shape), zero)
            x = self.files.buffer("numbers", 4 * size).view(np.float32).reshape(tile.shape)
            np.copyto(x, steps.stored)
            if zero:
                x -= np.float32(zero)
        else:
            x = self.source.numbers(start, start + size).reshape(tile.shape)
            self.restorer.shift(x, tile)
        if scale is not None:
            scale = scale[slice(*(tile.upper if self.numbering.upper_neurons else tile.lower))]
        return x, steps, scale

    def pieces(self) -> list[tuple[int, int]]:
        """Runs of rows of about 32 MB each, whatever the number of threads: results depend on them, by a rounding."""
        count, size = rows(self.numbering)
        if not self.numbering.elements:
            return []
        step = max(1, _CHUNK // max(size * self.source.number_type.itemsize, 1))
        return [(start, min(start + step, count)) for start in range(0, count, step)]

    def sum(self, start: int, stop: int) -> Chunk:
        return self.summing.chunk(start, stop, self.values, self.files.buffer)


def prepared(use: WeightUse, op: Op, graph: ModelGraph, groups: int, seed: int, files: Files, *, table: bool) -> Weight:
    """``use`` at ``op``, ready to be summed. Raises `UnnumberedError` with the reason where its numbers are not known,
    and `DataError` where its bytes cannot be had."""
    if op.type in _PACKED:
        blocks = packed(use, op, graph, files)
        summing = _summing(blocks.digits, 2, 2.0**-126, seed, keyed=True)
        return Weight(use, summing, "dequantized", blocks, None, 3, 2.0**-22, files)
    return unpacked(use, op, graph, digits_of(use, groups, table=table), seed, files)


def unpacked(use: WeightUse, op: Op, graph: ModelGraph, digits: list[Digit], seed: int, files: Files) -> Weight:
    """As `prepared`, for a weight whose stored elements are its numbers, with these factors."""
    ref = use.weight
    if not is_readable(ref.dtype):
        raise UnnumberedError(f"values of type {ref.dtype} are no real numbers")
    quantization = quantization_of(use, op, graph)
    told = quantization is not None and quantization.scale is not None
    units: Units = "stored" if quantization is None else "dequantized" if told else "steps"
    tiny = smallest_normal(ref.dtype) if quantization is None else quantization.tiny(ref.is_integer)
    if getattr(ref.storage, "encoding", "raw") != "raw" and ref.elements > MOST_VARINTS:
        raise UnnumberedError(f"{ref.elements} numbers stored as varints are too many to be read; save it as raw_data")
    summing = _summing(digits, len(ref.shape), tiny, seed, keyed=ref.dtype not in _VARIED)
    restorer = None if quantization is None else Restorer(quantization, use, summing.numbering)
    source = Flat(ref, part_of(use), files)
    bits = BITS[ref.dtype] - 1 if ref.is_integer else round(-np.log2(rounding(ref.dtype)))
    exact = 2.0**-50 if ref.dtype == "float64" else 2.0**-22
    after = None
    if quantization is not None and restorer is not None and ref.is_integer:
        after = _after(quantization, restorer, summing.numbering, source)
    return Weight(use, summing, units, source, restorer, bits, exact, files, after)


_SIZES = 2.0**-60, 2.0**60
"""Scales within which no number or square is too small or too large for float32."""


def _after(
    quantization: Quantization, restorer: Restorer, numbering: Numbering, source: Flat
) -> tuple[int | None, Numbers | None] | None:
    """How integers are scaled after they were summed (see `Weight`); None where they cannot be."""
    if not numbering.elements:
        return None
    zeros = np.zeros(1, np.float32) if quantization.zero is None else quantization.zero
    if source.number_type != np.float32 or not np.array_equal(zeros, np.rint(zeros)) or np.abs(zeros).max() > 1 << 16:
        return None
    scale = None
    if quantization.scale is not None:
        if not ((quantization.scale >= _SIZES[0]) & (quantization.scale <= _SIZES[1])).all():
            return None
        scale = restorer.scale_along("upper" if numbering.upper_neurons else "lower")
        if scale is None:
            return None
    zero = int(zeros.reshape(-1)[0])
    return zero if zeros.size == 1 and source.holds(zero) else None, scale


def _summing(digits: list[Digit], rank: int, tiny: float, seed: int, *, keyed: bool) -> Summing:
    limit(digits)
    return Summing(numbered(digits, rank), tiny, seed, keyed)


def limit(digits: list[Digit]) -> None:
    """Raises `UnnumberedError` for weights of so many neurons or channels that statistics of them would not fit."""
    neurons = prod(digit.size for digit in digits if digit.kind in ("neuron", "group"))
    channels = prod(digit.size for digit in digits if digit.kind in ("channel", "group"))
    if neurons > MOST_ENTRIES or channels > MOST_ENTRIES:
        raise UnnumberedError(f"{neurons:,} neurons of {channels:,} channels are too many for statistics of each")


def check_present(use: WeightUse) -> None:
    """Raises `DataError` where the bytes of a weight are not there."""
    storage, ref = use.weight.storage, use.weight
    if isinstance(storage, Absent):
        raise DataError(storage.why, file=file_of(ref), where=ref.name)
    refs = (storage.values, storage.indices) if isinstance(storage, Sparse) else (ref,)
    for each in refs:
        if isinstance(each.storage, External) and not each.storage.present and each.elements:
            there = os.path.lexists(os.path.join(each.storage.directory, each.storage.location))
            missing = "is missing; put it back beside the model"
            why = "could not be opened; look at its permissions" if there else missing
            raise DataError(f"the file with its external data {why}", file=file_of(each), where=ref.name)


def is_dense(use: WeightUse) -> bool:
    """Whether every element is stored."""
    return not isinstance(use.weight.storage, (Filled, Sparse))

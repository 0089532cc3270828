"""Stored integers as the numbers they stand for: what `graphneurons.health` knows of scales, for blocks of a weight."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from graphneurons.analysis import WeightUse
from graphneurons.errors import DataError
from graphneurons.graph import ModelGraph, Op
from graphneurons.health.fetching import Files
from graphneurons.health.nbits import Blocks
from graphneurons.health.numbering import UnnumberedError
from graphneurons.health.quantizing import Quantization, quantization_of

Floats = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Restoring:
    """``(stored - zero) * scale``, by position along every stored axis."""

    quantization: Quantization

    def restored(self, stored: Floats, starts: Sequence[int]) -> Floats:
        """A piece of the weight that starts at position ``starts`` of its axes."""
        for values, change in ((self.quantization.zero, np.subtract), (self.quantization.scale, np.multiply)):
            if values is None:
                continue
            spread = values
            for axis, (start, size) in enumerate(zip(starts, stored.shape, strict=True)):
                if values.shape[axis] != 1:
                    spread = spread.take(np.arange(start, start + size) // self.quantization.blocks[axis], axis)
            stored = change(stored, spread)
        return stored


@dataclass(frozen=True)
class Packed:
    """A matrix (``rows``, ``columns``) of 2-, 4- or 8-bit numbers in blocks (MatMulNBits)."""

    use: WeightUse
    op: Op
    graph: ModelGraph
    rows: int
    columns: int

    def numbers(self, start: int, stop: int) -> Floats:
        """Numbers ``[start, stop)`` in row-major order."""
        with Files() as files:
            found: Floats = Blocks(self.use, self.op, self.graph, files).numbers(start, stop).astype(np.float32)
        return found


def packed_of(use: WeightUse, op: Op, graph: ModelGraph) -> Packed | None:
    """The matrix that ``use`` packs, or None where its stored axes are the labelled ones. Raises `DataError` for
    formats that are not unpacked."""
    if op.type != "MatMulNBits":
        return None
    try:
        with Files() as files:
            blocks = Blocks(use, op, graph, files)
    except UnnumberedError as why:
        raise DataError(f"it cannot be unpacked: {why}", where=use.weight.name) from None
    return Packed(use, op, graph, blocks.rows, blocks.columns)


def restoring(use: WeightUse, op: Op, graph: ModelGraph) -> Restoring | None:
    """How to restore ``use``'s weight, or None where it holds numbers as they are. Where only the zero point is told,
    numbers are in steps. Raises `DataError` where it can be told that it is quantized, but not how."""
    try:
        found = quantization_of(use, op, graph)
    except UnnumberedError as why:
        raise DataError(f"its integers cannot be restored: {why}", where=use.weight.name) from None
    return None if found is None or (found.scale is None and found.zero is None) else Restoring(found)

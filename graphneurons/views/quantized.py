"""Stored integers as the numbers they stand for, where a DequantizeLinear says so."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from graphneurons.analysis import WeightUse
from graphneurons.graph import ModelGraph
from graphneurons.load.reading import read

LARGEST_SCALE = 1 << 24


@dataclass(frozen=True, slots=True)
class Quantization:
    """``(stored - zero) * scale``; ``scale`` and ``zero`` have the rank of the weight, and an axis of theirs is 1 where
    they do not change along it, or shorter by ``block`` where one entry serves a block of positions."""

    scale: npt.NDArray[np.float32]
    zero: npt.NDArray[np.float32]
    block: int

    def restored(self, stored: npt.NDArray[np.float32], first: int, rest: Sequence[int]) -> npt.NDArray[np.float32]:
        """A piece of the weight that starts at position ``first`` of axis 0 and at ``rest`` of the others."""
        scale, zero = self.scale, self.zero
        for axis, (start, size) in enumerate(zip((first, *rest), stored.shape, strict=True)):
            if scale.shape[axis] == 1:
                continue
            at = np.arange(start, start + size) // (self.block or 1)
            scale = scale.take(at, axis)
            zero = zero.take(at, axis) if zero.shape[axis] != 1 else zero
        restored: npt.NDArray[np.float32] = (stored - zero) * scale
        return restored


def quantization_of(use: WeightUse, graph: ModelGraph) -> Quantization | None:
    """How to restore ``use``'s weight, or None where it holds numbers as they are (or nobody says)."""
    for op in graph.consumers.get(use.weight.name, ()):
        if op.type != "DequantizeLinear" or op.inputs[0] != use.weight.name:
            continue
        scale = graph.weights.get(op.inputs[1])
        zero = graph.weights.get(op.inputs[2]) if len(op.inputs) > 2 else None
        if scale is None or scale.elements > LARGEST_SCALE:
            return None
        axis, block = op.attributes.get("axis", 1), op.attributes.get("block_size", 0)
        if not isinstance(axis, int) or not isinstance(block, int):
            return None
        rank = len(use.weight.shape)
        scales = _spread(read(scale).astype(np.float32), rank, axis % max(rank, 1))
        zeros = _spread(read(zero).astype(np.float32), rank, axis % max(rank, 1)) if zero is not None else None
        if scales is None:
            return None
        return Quantization(scales, zeros if zeros is not None else np.zeros((1,) * rank, np.float32), block)
    return None


def _spread(values: npt.NDArray[np.float32], rank: int, axis: int) -> npt.NDArray[np.float32] | None:
    if values.size == 1:
        return values.reshape((1,) * rank)
    if values.ndim == 1:
        return values.reshape((1,) * axis + (-1,) + (1,) * (rank - axis - 1))
    return values if values.ndim == rank else None

"""com.microsoft MatMulNBits: rows of 2-, 4- or 8-bit numbers in blocks, each with its scale and zero point."""

from __future__ import annotations

from math import prod

import numpy as np
import numpy.typing as npt

from graphneurons.analysis import WeightUse
from graphneurons.graph import ModelGraph, Op, WeightRef
from graphneurons.health.decoding import Numbers, decoder
from graphneurons.health.fetching import Files, Stored
from graphneurons.health.numbering import Digit, UnnumberedError
from graphneurons.health.quantizing import MOST_SCALES
from graphneurons.load.reading import read


class Blocks:
    """The matrix (N, K) that a MatMulNBits holds, dequantized, as one row of numbers in row-major order."""

    number_type = np.dtype(np.float32)

    def __init__(self, use: WeightUse, op: Op, graph: ModelGraph, files: Files) -> None:
        self.rows, self.columns = attribute(op, "N"), attribute(op, "K")
        bits, self._block = attribute(op, "bits", 4), attribute(op, "block_size")
        if bits not in (2, 4, 8):
            raise UnnumberedError(f"numbers of {bits} bits in a MatMulNBits are not read")
        self._blocks = -(-self.columns // self._block)
        self._row = self._blocks * -(-self._block * bits // 8)
        if use.weight.elements != self.rows * self._row or self._block * bits % 8:
            raise UnnumberedError(f"shape {list(use.weight.shape)} does not hold {self.rows} x {self.columns} numbers")
        self._stored = Stored(use.weight, files)
        self._decode = decoder(f"uint{bits}")
        self._files = files
        self._scale = self._per_block(operand(graph, op, 2), bits, "scales")
        zero = operand(graph, op, 3)
        wanted = (self.rows, self._blocks)
        self._zero = (
            np.full((1, 1), 1 << (bits - 1), np.float32) if zero is None else self._per_block(zero, bits, "zero points")
        )
        self._zero = np.broadcast_to(self._zero, wanted)
        order = operand(graph, op, 4)
        self._order: npt.NDArray[np.int64] | None = None
        if order is not None:
            self._order = read(order, 1 << 24).astype(np.int64).reshape(-1)[: self.columns]
            if self._order.size != self.columns or self._order.min() < 0 or self._order.max() >= self._blocks:
                raise UnnumberedError("its g_idx names blocks that do not exist")

    @property
    def digits(self) -> list[Digit]:
        return [Digit(self.rows, "neuron", 0, 1), Digit(self.columns, "channel", 1, 1)]

    def numbers(self, start: int, stop: int) -> Numbers:
        """Numbers ``[start, stop)``; valid until the thread asks again."""
        first, last = start // self.columns, -(-stop // self.columns)
        count = last - first
        stored = self._stored.bytes(first * self._row, last * self._row)
        wide = self._files.buffer("numbers", count * self._blocks * self._block * 4).view(np.float32)
        self._decode(stored, wide)
        view = wide.reshape(count, self._blocks, self._block)
        if self._order is None:
            view -= self._zero[first:last, :, None]
            view *= self._scale[first:last, :, None]
            matrix = view.reshape(count, -1)[:, : self.columns]
        else:
            matrix = view.reshape(count, -1)[:, : self.columns]
            matrix -= self._zero[first:last][:, self._order]
            matrix *= self._scale[first:last][:, self._order]
        flat = matrix if matrix.shape[1] == view.shape[1] * view.shape[2] else np.ascontiguousarray(matrix)
        offset = start - first * self.columns
        found: Numbers = flat.reshape(-1)[offset : offset + stop - start]
        return found

    def _per_block(self, ref: WeightRef | None, bits: int, what: str) -> npt.NDArray[np.float32]:
        """Scales or zero points (N, blocks); packed ones have as many bits as the numbers, rows in whole bytes."""
        wanted = self.rows * self._blocks
        if ref is None or ref.elements > MOST_SCALES or wanted > MOST_SCALES:
            raise UnnumberedError(f"its {what} are not stored, or too many to be held")
        values = read(ref)
        if ref.dtype == "uint8" and what == "zero points":
            columns = -(-self._blocks * bits // 8)
            if values.size != self.rows * columns:
                raise UnnumberedError(f"its {what} of shape {list(ref.shape)} do not fit its blocks")
            wide = np.empty(values.size * 8 // bits, np.float32)
            self._decode(np.ascontiguousarray(values).reshape(-1), wide)
            return np.ascontiguousarray(wide.reshape(self.rows, -1)[:, : self._blocks])
        if values.size != wanted:
            raise UnnumberedError(f"its {what} of shape {list(ref.shape)} do not fit its blocks")
        found: npt.NDArray[np.float32] = values.astype(np.float32).reshape(self.rows, self._blocks)
        return found


def attribute(op: Op, name: str, default: int = 0, least: int = 1) -> int:
    """An integer attribute of a packed format, from ``least`` up. Raises `UnnumberedError` for another."""
    value = op.attributes.get(name, default)
    if not isinstance(value, int) or value < least:
        raise UnnumberedError(f"attribute {name} of its {op.type} is {value}")
    return value


def operand(graph: ModelGraph, op: Op, index: int) -> WeightRef | None:
    """A stored operand, None where it is left out. Raises `UnnumberedError` where it is computed."""
    if index >= len(op.inputs) or not op.inputs[index]:
        return None
    found = graph.weights.get(op.inputs[index])
    if found is None or prod(found.shape) == 0:
        raise UnnumberedError(f"operand {index} of its {op.type} is computed, not stored")
    return found

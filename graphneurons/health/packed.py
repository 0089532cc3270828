"""com.microsoft's other packed weights: GatherBlockQuantized, a table in blocks, and MatMulBnb4, NF4 or FP4 numbers."""

from __future__ import annotations

from collections.abc import Mapping
from math import prod

import numpy as np
import numpy.typing as npt

from graphneurons.analysis import WeightUse
from graphneurons.graph import ModelGraph, Op
from graphneurons.health.decoding import Numbers, decoder
from graphneurons.health.fetching import Files, Stored
from graphneurons.health.nbits import Blocks, attribute, operand
from graphneurons.health.numbering import Digit, UnnumberedError
from graphneurons.health.quantizing import MOST_SCALES
from graphneurons.load.dtypes import BITS
from graphneurons.load.reading import read

_NF4 = (
    -1.0, -0.6961928009986877, -0.5250730514526367, -0.39491748809814453, -0.28444138169288635, -0.18477343022823334,
    -0.09105003625154495, 0.0, 0.07958029955625534, 0.16093020141124725, 0.24611230194568634, 0.33791524171829224,
    0.44070982933044434, 0.5626170039176941, 0.7229568362236023, 1.0,
)  # fmt: skip
"""The 16 numbers of NF4, as the QLoRA paper (Dettmers et al. 2023, appendix E) lists them."""
_FP4 = (0.0, 0.0052083333, 0.6666666667, 1.0, 0.3333333333, 0.5, 0.1666666667, 0.25)
"""The 8 magnitudes of bitsandbytes' FP4; the highest bit is the sign."""


def packed(use: WeightUse, op: Op, graph: ModelGraph, files: Files) -> Blocks | Gathered | Bnb4:
    """The numbers a packed weight stands for. Raises `UnnumberedError` for formats that are not unpacked."""
    kinds: Mapping[str, type[Blocks] | type[Gathered] | type[Bnb4]] = {
        "MatMulNBits": Blocks, "GatherBlockQuantized": Gathered, "MatMulBnb4": Bnb4,
    }  # fmt: skip
    if op.type not in kinds:
        raise UnnumberedError(f"the packed format of {op.type} is not unpacked")
    return kinds[op.type](use, op, graph, files)


class Gathered:
    """The table of a GatherBlockQuantized (rows, width), dequantized, as one row of numbers in row-major order."""

    number_type = np.dtype(np.float32)

    def __init__(self, use: WeightUse, op: Op, graph: ModelGraph, files: Files) -> None:
        ref = use.weight
        axes = attribute(op, "gather_axis", 0, 0), attribute(op, "quantize_axis", 1, 0)
        if len(ref.shape) != 2 or axes != (0, 1) or ref.dtype not in ("uint8", "int4", "uint4", "int8"):
            raise UnnumberedError("a GatherBlockQuantized of other than rows of a table is not unpacked")
        is_bytes = ref.dtype in ("uint8", "int8")
        bits = attribute(op, "bits", 4) if is_bytes else 4
        if bits not in (2, 4, 8) or (ref.dtype == "int8" and bits != 8):
            raise UnnumberedError(f"numbers of {bits} bits in a GatherBlockQuantized are not read")
        self.rows, pack = ref.shape[0], 8 // bits if is_bytes else 1
        self.columns = ref.shape[1] * pack
        size = attribute(op, "block_size", 128)
        self._bits = BITS[ref.dtype] * ref.shape[1]
        if self._bits % 8:
            raise UnnumberedError("rows of its table share bytes")
        blocks = -(-self.columns // size)
        self._block = np.arange(self.columns) // size
        dtype = f"uint{bits}" if is_bytes and ref.dtype == "uint8" else ref.dtype
        self._decode = decoder(dtype)
        self._stored, self._files = Stored(ref, files), files
        scales, zeros = operand(graph, op, 2), operand(graph, op, 3)
        if scales is None or scales.shape != (self.rows, blocks) or scales.elements > MOST_SCALES:
            raise UnnumberedError("its scales are not stored, too many to be held, or do not fit its blocks")
        self._scale = read(scales).astype(np.float32)
        self._zero: Numbers = np.full((1, 1), (1 << (bits - 1)) if ref.dtype == "uint8" else 0, np.float32)
        if zeros is not None:
            values = np.ascontiguousarray(read(zeros))
            if is_bytes and pack > 1:
                wide = np.empty(values.size * pack, np.float32)
                self._decode(values.reshape(-1).view(np.uint8), wide)
                values = wide
            if values.size < self.rows * blocks or values.size % self.rows:
                raise UnnumberedError(f"its zero points of shape {list(zeros.shape)} do not fit its blocks")
            self._zero = values.astype(np.float32).reshape(self.rows, -1)[:, :blocks]
        self._zero = np.broadcast_to(self._zero, (self.rows, blocks))

    @property
    def digits(self) -> list[Digit]:
        return [Digit(self.rows, "neuron", 0, 1), Digit(self.columns, "channel", 1, 1)]

    def numbers(self, start: int, stop: int) -> Numbers:
        """Numbers ``[start, stop)``; valid until the thread asks again."""
        first, last = start // self.columns, -(-stop // self.columns)
        stored = self._stored.bytes(first * self._bits // 8, last * self._bits // 8)
        wide = self._files.buffer("numbers", (last - first) * self.columns * 4).view(np.float32)
        self._decode(stored, wide)
        view = wide.reshape(last - first, self.columns)
        view -= self._zero[first:last][:, self._block]
        view *= self._scale[first:last][:, self._block]
        offset = start - first * self.columns
        found: Numbers = view.reshape(-1)[offset : offset + stop - start]
        return found


class Bnb4:
    """The matrix (N, K) of a MatMulBnb4, dequantized: bytes hold two numbers, the first in the high-order bits, and
    blocks run along the flattened matrix."""

    number_type = np.dtype(np.float32)

    def __init__(self, use: WeightUse, op: Op, graph: ModelGraph, files: Files) -> None:
        rows, columns, self._size = attribute(op, "N"), attribute(op, "K"), attribute(op, "block_size")
        kind = attribute(op, "quant_type", least=0)
        self._shape = rows, columns
        count = rows * columns
        if count % 2 or prod(use.weight.shape) != count // 2 or kind not in (0, 1):
            raise UnnumberedError(f"shape {list(use.weight.shape)} does not hold {rows} x {columns} numbers of 4 bits")
        values = np.array(_NF4 if kind else (*_FP4, *(-each for each in _FP4)), np.float32)
        codes = np.arange(256)
        self._table = np.stack([values[codes >> 4], values[codes & 15]], axis=1)
        largest = operand(graph, op, 2)
        if largest is None or largest.elements != -(-count // self._size) or largest.elements > MOST_SCALES:
            raise UnnumberedError("its scales are not stored, too many to be held, or do not fit its blocks")
        self._scale: npt.NDArray[np.float32] = read(largest).astype(np.float32).reshape(-1)
        self._stored, self._files = Stored(use.weight, files), files

    @property
    def digits(self) -> list[Digit]:
        return [Digit(self._shape[0], "neuron", 0, 1), Digit(self._shape[1], "channel", 1, 1)]

    def numbers(self, start: int, stop: int) -> Numbers:
        """Numbers ``[start, stop)``; valid until the thread asks again."""
        first, last = start // 2, -(-stop // 2)
        stored = self._stored.bytes(first, last)
        wide = self._files.buffer("numbers", (last - first) * 8).view(np.float32)
        np.take(self._table, stored, axis=0, out=wide.reshape(-1, 2), mode="clip")
        found: Numbers = wide[start - 2 * first : start - 2 * first + stop - start]
        found *= self._scale[np.arange(start, stop) // self._size]
        return found

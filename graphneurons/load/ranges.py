"""A run of a tensor's elements, read without the rest of it."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from graphneurons.errors import DataError
from graphneurons.graph import External, FileSlice, Filled, Inline, InMemory, WeightRef
from graphneurons.load.dtypes import BITS, stored_bytes
from graphneurons.load.reading import file_of, read

if TYPE_CHECKING:
    import numpy

WHOLE_LIMIT = 1 << 26
"""Elements up to which a tensor whose encoding allows no seeking is read whole."""


def read_range(ref: WeightRef, start: int, stop: int) -> numpy.ndarray:
    """Elements ``[start, stop)`` of ``ref`` in row-major order, one-dimensional, in the types `read` gives.

    Only their bytes are read where the encoding has a fixed width; otherwise the tensor is, up to 2^26 elements.
    Raises `DataError` naming tensor and file.
    """
    if not 0 <= start <= stop <= ref.elements:
        raise DataError(f"elements {start} to {stop} of {ref.elements}", file=file_of(ref), where=ref.name)
    storage, count = ref.storage, stop - start
    if isinstance(storage, Filled):
        return read(replace(ref, shape=(count,)))
    if isinstance(storage, InMemory):
        held: numpy.ndarray = storage.array().reshape(-1)[start:stop]
        return held
    bits = BITS.get(ref.dtype, 0)
    seekable = bits and start * bits % 8 == 0
    encoding = "raw" if isinstance(storage, External) else getattr(storage, "encoding", "")
    if seekable and encoding == "raw":
        offset, length = start * bits // 8, stored_bytes(count, bits)
        if isinstance(storage, Inline):
            piece = Inline(storage.data[offset : offset + length])
            return read(replace(ref, shape=(count,), storage=piece))
        if isinstance(storage, (External, FileSlice)):
            moved = replace(storage, offset=storage.offset + offset, length=length)
            return read(replace(ref, shape=(count,), storage=moved))
    whole: numpy.ndarray = read(ref, WHOLE_LIMIT).reshape(-1)[start:stop]
    return whole

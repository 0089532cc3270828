"""Bytes of stored tensors, read where they are wanted into buffers that are used again."""

from __future__ import annotations

import os
from contextlib import ExitStack
from math import prod
from threading import Lock, local
from typing import Any

import numpy as np
import numpy.typing as npt

from graphneurons.errors import DataError, LoadError
from graphneurons.graph import Absent, External, FileSlice, Inline, InMemory, WeightRef
from graphneurons.health.decoding import Numbers, Octets, decoder, number_type
from graphneurons.load.dtypes import BITS
from graphneurons.load.paths import RefusedError, open_inside, open_model
from graphneurons.load.reading import file_of, read

_ALIGNMENT = 4096
MOST_VARINTS = 1 << 24
"""Elements up to which tensors stored as lists of varints are read: these cannot be read in pieces."""


class Files:
    """Files that are open while a scan lasts, and the buffers of its threads. Use as a context manager."""

    def __init__(self) -> None:
        self._open: dict[object, tuple[int, int]] = {}
        self._stack = ExitStack()
        self._lock = Lock()
        self._buffers = local()

    def __enter__(self) -> Files:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def descriptor(self, ref: WeightRef, storage: External | FileSlice) -> int:
        """The open file that holds ``ref``. Raises `DataError` where it cannot be opened or was cut since."""
        with self._lock:
            key = storage.path if isinstance(storage, FileSlice) else (storage.directory, storage.location)
            if key not in self._open:
                descriptor = _opened(ref, storage)
                self._stack.callback(os.close, descriptor)
                self._open[key] = descriptor, os.fstat(descriptor).st_size
            descriptor, size = self._open[key]
        if size < storage.offset + storage.length:
            raise _error(ref, "the file is shorter than when it was loaded; load it again")
        return descriptor

    def buffer(self, name: str, size: int) -> Octets:
        """``size`` bytes of this thread's buffer ``name``, which begins on a page; what was in it is lost."""
        held: Octets | None = getattr(self._buffers, name, None)
        if held is None or held.size < size:
            raw = np.empty(size + _ALIGNMENT, np.uint8)
            start = -raw.ctypes.data % _ALIGNMENT
            held = raw[start : start + size]
            setattr(self._buffers, name, held)
        return held[:size]


def _opened(ref: WeightRef, storage: External | FileSlice) -> int:
    if isinstance(storage, FileSlice):
        try:
            return open_model(storage.path)
        except LoadError as error:
            raise _error(ref, error.message) from None
    try:
        return open_inside(storage.directory, storage.location)[0]
    except RefusedError as refused:
        raise _error(ref, f"external data location {refused}") from None
    except FileNotFoundError:
        raise _error(ref, "the file with its external data is missing; put it back beside the model") from None
    except OSError as error:
        raise _error(ref, f"the data file cannot be opened ({error.strerror}); put it back") from None


class Stored:
    """The bytes of one dense stored tensor: of a file, or held in memory."""

    def __init__(self, ref: WeightRef, files: Files) -> None:
        self._ref = ref
        self._files = files
        storage = ref.storage
        self._held: Octets | None = None
        self._offset = 0
        encoding = getattr(storage, "encoding", "raw")
        if isinstance(storage, Absent):
            raise _error(ref, storage.why)
        if isinstance(storage, InMemory):
            self._held = _octets(storage.array())
        elif encoding != "raw":
            self._held = _packed(ref)
        elif isinstance(storage, Inline):
            self._held = np.frombuffer(storage.data, np.uint8)
        elif isinstance(storage, (External, FileSlice)):
            self._offset = storage.offset
            self._descriptor = files.descriptor(ref, storage)
        # A tensor whose elements lie in memory is one element per byte at least, whatever its type says.
        unpacked = isinstance(storage, InMemory) or encoding != "raw"
        self.bits = max(BITS[ref.dtype], 8) if unpacked else BITS[ref.dtype]
        self.dtype = _whole_bytes(ref.dtype) if unpacked else ref.dtype
        self.in_file = self._held is None

    def bytes(self, start: int, stop: int) -> Octets:
        """Bytes ``[start, stop)`` of the tensor; valid until the thread asks again."""
        if self._held is not None:
            return self._held[start:stop]
        buffer = self._files.buffer("stored", stop - start)
        view, done = memoryview(buffer.data), 0
        try:
            while done < stop - start:
                count = _read_at(self._descriptor, view[done:], self._offset + start + done)
                if not count:
                    raise _error(self._ref, "the file ends before the tensor does")
                done += count
        except OSError as error:
            raise _error(self._ref, f"the bytes cannot be read ({error.strerror})") from None
        return buffer


_SEEKING = Lock()


def _read_at(descriptor: int, view: memoryview, offset: int) -> int:
    if hasattr(os, "preadv"):
        return os.preadv(descriptor, [view], offset)
    with _SEEKING:
        os.lseek(descriptor, offset, os.SEEK_SET)
        found = os.read(descriptor, len(view))
    view[: len(found)] = found
    return len(found)


def _octets(array: npt.NDArray[Any]) -> Octets:
    """The bytes of an array in row-major order, shared where it lies so."""
    if array.dtype.byteorder == ">":
        array = array.astype(array.dtype.newbyteorder("<"))
    return np.ascontiguousarray(array).reshape(-1).view(np.uint8)


def _whole_bytes(dtype: str) -> str:
    """The type of integers below one byte when each has a byte of its own."""
    return {"int4": "int8", "int2": "int8", "uint4": "uint8", "uint2": "uint8"}.get(dtype, dtype)


def _packed(ref: WeightRef) -> Octets:
    return _octets(read(ref, MOST_VARINTS))


class Flat:
    """The used part of a stored tensor as one row of numbers in row-major order, read from anywhere to anywhere.

    ``part``: (start, stop) per stored axis.
    """

    def __init__(self, ref: WeightRef, part: tuple[tuple[int, int], ...], files: Files) -> None:
        self._stored = Stored(ref, files)
        self._decode = decoder(self._stored.dtype)
        self._files = files
        self.number_type = np.dtype(number_type(self._stored.dtype))
        self._is_direct = self._stored.dtype in ("float32", "float64")
        self._integer = {"int8": np.int8, "uint8": np.uint8}.get(self._stored.dtype)
        cut = [axis for axis, piece in enumerate(part) if piece != (0, ref.shape[axis])]
        inner = cut[-1] if cut else 0
        steps = [prod(ref.shape[axis + 1 :]) for axis in range(len(part))]
        self._base = sum(start * step for (start, _), step in zip(part, steps, strict=True))
        sizes = [stop - start for start, stop in part]
        # A run lies in one piece: the last axis that is cut, with all behind it.
        self._run = prod(sizes[inner:])
        self._outer = list(zip(sizes[:inner], steps[:inner], strict=True))

    def numbers(self, start: int, stop: int) -> Numbers:
        """Numbers ``[start, stop)``; valid until the thread asks again."""
        first, last = start // self._run, (stop - 1) // self._run
        if first == last or not self._outer:
            return self._piece(self._base + self._at(first) + start - first * self._run, stop - start, None)
        into = self._files.buffer("numbers", (stop - start) * self.number_type.itemsize).view(self.number_type)
        done = 0
        for run in range(first, last + 1):
            begin = max(start, run * self._run) - run * self._run
            count = min(stop, (run + 1) * self._run) - run * self._run - begin
            self._piece(self._base + self._at(run) + begin, count, into[done : done + count])
            done += count
        return into

    def octets(self, start: int, stop: int) -> npt.NDArray[Any] | None:
        """Integers ``[start, stop)`` as they are stored, where that is a byte each and in one run; valid until the
        thread asks again."""
        first = start // self._run
        if self._integer is None or (first != (stop - 1) // self._run and self._outer):
            return None
        begin = self._base + self._at(first) + start - first * self._run
        return self._stored.bytes(begin, begin + stop - start).view(self._integer)

    def holds(self, value: int) -> bool:
        """Whether `octets` may be such that ``value`` is of their type."""
        return self._integer is not None and bool(np.iinfo(self._integer).min <= value <= np.iinfo(self._integer).max)

    def _at(self, run: int) -> int:
        """How far from the first run lies run number ``run``."""
        found = 0
        for size, step in reversed(self._outer):
            run, index = divmod(run, size)
            found += index * step
        return found

    def _piece(self, element: int, count: int, into: Numbers | None) -> Numbers:
        bits = self._stored.bits
        # Elements below one byte are read from the first whole byte on.
        skip = element % _PER_WHOLE_BYTES.get(bits, 1)
        stored = self._stored.bytes((element - skip) * bits // 8, -(-(element + count) * bits // 8))
        if into is None and self._is_direct:
            direct: Numbers = stored.view(self.number_type)
            if direct.flags.aligned:
                return direct
        if into is None:
            into = self._files.buffer("numbers", count * self.number_type.itemsize).view(self.number_type)
        if bits >= 8:
            self._decode(stored, into)
            return into
        whole = skip + count if bits == 6 else stored.size * 8 // bits
        wide = self._files.buffer("unpacked", whole * 4).view(np.float32)
        self._decode(stored, wide)
        into[...] = wide[skip : skip + count]
        return into


_PER_WHOLE_BYTES = {6: 4, 4: 2, 2: 4}
"""Bits per element -> how many elements fill whole bytes."""


def _error(ref: WeightRef, what: str) -> DataError:
    return DataError(what, file=file_of(ref), where=ref.name)

"""Reads the bytes of weights, and of nothing else, when someone asks for them."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from graphneurons.errors import DataError, LoadError
from graphneurons.graph import Absent, External, FileSlice, Filled, Inline, InMemory, Sparse, Storage, WeightRef
from graphneurons.load.dtypes import BITS, DTYPES, stored_bytes, typed_entries
from graphneurons.load.paths import RefusedError, open_inside, open_model
from graphneurons.load.wording import quoted

if TYPE_CHECKING:
    import numpy

_BY_NAME = {dtype.name: dtype for dtype in DTYPES.values()}
_NATIVE = {
    "float16": "<f2", "float32": "<f4", "float64": "<f8", "complex64": "<c8", "complex128": "<c16", "bool": "?",
    **{f"{sign}int{bits}": f"<{sign[:1] or 'i'}{bits // 8}" for sign in ("", "u") for bits in (8, 16, 32, 64)},
}  # fmt: skip
_ML_DTYPES = {
    "bfloat16": "bfloat16", "float8e4m3fn": "float8_e4m3fn", "float8e4m3fnuz": "float8_e4m3fnuz",
    "float8e5m2": "float8_e5m2", "float8e5m2fnuz": "float8_e5m2fnuz", "float8e8m0": "float8_e8m0fnu",
    "float4e2m1": "float4_e2m1fn", "float6e2m3": "float6_e2m3fn", "float6e3m2": "float6_e3m2fn",
}  # fmt: skip
_DENSE_LIMIT = 1 << 20
_MOST_AT_ONCE = 1 << 30


def read(ref: WeightRef, limit: int | None = None) -> numpy.ndarray:
    """The elements of ``ref``, in its shape. Refuses more than ``limit`` elements.

    2- and 4-bit integers come as (u)int8, one element each; bfloat16, float8, float6 and float4 in the types of
    ``ml_dtypes``. A sparse tensor is made dense only up to 2^20 elements. Raises `DataError` naming tensor and file.
    """
    if limit is not None and ref.elements > limit:
        raise _error(ref, f"{ref.elements} elements are more than the {limit} asked for")
    storage = ref.storage
    if isinstance(storage, Filled):
        return _filled(ref, storage)
    if isinstance(storage, InMemory):
        held: numpy.ndarray = storage.array()
        return held
    if isinstance(storage, Absent):
        raise _error(ref, storage.why)
    if isinstance(storage, Sparse):
        return _dense(ref, storage)
    if ref.dtype == "string":
        raise _error(ref, "strings are not read")
    if isinstance(storage, Inline):
        return decoded(storage.data, ref, storage.encoding)
    encoding = storage.encoding if isinstance(storage, FileSlice) else "raw"
    return decoded(_bytes(ref, storage), ref, encoding)


def digest(path: str | os.PathLike[str]) -> str:
    """SHA-256 of a file in hexadecimal, read in pieces. Raises `LoadError` where it cannot be opened."""
    # Takes longer to import than most models to load.
    import hashlib

    found = hashlib.sha256()
    with os.fdopen(open_model(os.fspath(path)), "rb", buffering=0) as file:
        while piece := file.read(1 << 20):
            found.update(piece)
    return found.hexdigest()


def file_of(ref: WeightRef) -> str | None:
    """The file that holds the bytes of ``ref``, as a person would name it."""
    storage = ref.storage
    if isinstance(storage, FileSlice):
        return storage.path
    if isinstance(storage, External):
        return os.path.join(storage.directory, storage.location)
    return None


def decoded(stored: bytes | bytearray, ref: WeightRef, encoding: str) -> numpy.ndarray:
    """``stored`` as the elements of ``ref``. ``encoding``: ``raw``, or the TensorProto field of packed varints."""
    import numpy

    dtype = _BY_NAME[ref.dtype]
    if encoding != "raw":
        numbers = _varints(stored, typed_entries(ref.elements, dtype), ref)
        if dtype.bits == 6:
            return _cast((numbers & 63).astype(numpy.uint8), ref)
        width = max(dtype.bits, 8)
        stored = numbers.astype(f"<u{width // 8}").tobytes()
    wanted = stored_bytes(ref.elements, dtype.bits)
    if len(stored) != wanted:
        raise _error(ref, f"{len(stored)} bytes stored, but shape {list(ref.shape)} of {ref.dtype} needs {wanted}")
    native = _NATIVE.get(ref.dtype)
    if native is not None:
        return numpy.frombuffer(stored, dtype=native).reshape(ref.shape)
    whole = numpy.frombuffer(stored, dtype=numpy.uint8)
    if dtype.bits == 6:
        return _cast(_six_bit(whole, ref.elements), ref)
    if dtype.bits in (2, 4):
        return _cast(_unpacked(whole, dtype.bits, ref.elements), ref)
    return _cast(whole if dtype.bits == 8 else whole.view("<u2"), ref)


def _unpacked(whole: numpy.ndarray, bits: int, elements: int) -> numpy.ndarray:
    import numpy

    shifts = numpy.arange(0, 8, bits, dtype=numpy.uint8)
    split = (whole[:, None] >> shifts) & numpy.uint8((1 << bits) - 1)
    found: numpy.ndarray = split.reshape(-1)[:elements]
    return found


def _six_bit(whole: numpy.ndarray, elements: int) -> numpy.ndarray:
    import numpy

    bits = numpy.unpackbits(whole, bitorder="little")[: elements * 6].reshape(elements, 6)
    return numpy.packbits(bits, axis=1, bitorder="little").reshape(elements)


def _cast(codes: numpy.ndarray, ref: WeightRef) -> numpy.ndarray:
    """Unsigned codes as the values they stand for."""
    import numpy

    codes = codes.reshape(ref.shape)
    if ref.dtype.startswith("uint"):
        return codes
    if ref.dtype.startswith("int"):
        sign = 1 << BITS[ref.dtype] - 1
        return (codes.astype(numpy.int8) ^ sign) - numpy.int8(sign)
    return codes.view(_ml_dtype(ref))


def _ml_dtype(ref: WeightRef) -> Any:
    """The type numpy lacks. Newer versions of onnx bring ``ml_dtypes``, older ones do not."""
    try:
        import ml_dtypes

        return getattr(ml_dtypes, _ML_DTYPES[ref.dtype])
    except (ImportError, AttributeError):
        raise _error(ref, f"{ref.dtype} is read through the package ml_dtypes; install or update it") from None


def _varints(stored: bytes | bytearray, wanted: int, ref: WeightRef) -> numpy.ndarray:
    """Packed varints as uint64 (negative int32 and int64 are ten bytes long, in two's complement)."""
    import numpy

    octets = numpy.frombuffer(stored, dtype=numpy.uint8)
    ends = numpy.flatnonzero(octets < 0x80)
    if len(ends) != wanted or (len(octets) and octets[-1] >= 0x80):
        raise _error(ref, f"{len(ends)} numbers stored, but shape {list(ref.shape)} of {ref.dtype} needs {wanted}")
    starts = numpy.concatenate(([0], ends[:-1] + 1)) if wanted else ends
    lengths = ends - starts + 1
    if wanted and int(lengths.max()) > 10:
        raise _error(ref, "a stored number has more than 10 bytes")
    numbers = numpy.zeros(wanted, dtype=numpy.uint64)
    for place in range(int(lengths.max()) if wanted else 0):
        reaching = lengths > place
        septets = (octets[starts[reaching] + place] & 0x7F).astype(numpy.uint64)
        numbers[reaching] |= septets << numpy.uint64(7 * place)
    return numbers


def _filled(ref: WeightRef, storage: Filled) -> numpy.ndarray:
    import numpy

    native = _NATIVE.get(ref.dtype)
    value: Any = numpy.array(storage.value)
    filled = value.astype(native) if native else _cast(_as_codes(value, ref), _scalar(ref))
    found: numpy.ndarray = numpy.broadcast_to(filled, ref.shape)
    return found


def _as_codes(value: Any, ref: WeightRef) -> numpy.ndarray:
    import numpy

    if ref.dtype in _ML_DTYPES:
        width = "<u2" if BITS[ref.dtype] == 16 else "u1"
        return numpy.asarray(value.astype(_ml_dtype(ref))).view(width)
    return numpy.asarray(value.astype(numpy.uint8) & numpy.uint8((1 << BITS[ref.dtype]) - 1))


def _scalar(ref: WeightRef) -> WeightRef:
    return WeightRef(ref.name, ref.dtype, (), ref.storage)


def _dense(ref: WeightRef, storage: Sparse) -> numpy.ndarray:
    import numpy

    if ref.elements > _DENSE_LIMIT:
        raise _error(ref, f"a sparse tensor of {ref.elements} elements is never made dense")
    values, indices = read(storage.values), read(storage.indices)
    flat = indices if indices.ndim == 1 else indices @ strides(ref.shape)
    if len(flat) and (int(flat.min()) < 0 or int(flat.max()) >= ref.elements):
        raise _error(ref, f"sparse indices lie outside shape {list(ref.shape)}")
    dense = numpy.zeros(ref.elements, dtype=values.dtype)
    dense[flat] = values
    return dense.reshape(ref.shape)


def strides(shape: tuple[int, ...]) -> numpy.ndarray:
    """Elements from one index to the next, per axis, of a dense tensor in row-major order."""
    import numpy

    return numpy.array([*numpy.cumprod((1, *shape[:0:-1]))[::-1]][: len(shape)], dtype=numpy.int64)


def _bytes(ref: WeightRef, storage: Storage) -> bytearray:
    """The stored bytes; the file is opened anew, under the same rules as when it was loaded."""
    if isinstance(storage, External):
        try:
            descriptor, _ = open_inside(storage.directory, storage.location)
        except RefusedError as refused:
            raise _error(ref, f"external data location {quoted(storage.location)} {refused}") from None
        except OSError as error:
            raise _error(ref, f"the data file cannot be opened ({error.strerror}); put it back") from None
    elif isinstance(storage, FileSlice):
        try:
            descriptor = open_model(storage.path)
        except LoadError as error:
            raise _error(ref, error.message) from None
    else:  # pragma: no cover - callers handle every other storage
        raise _error(ref, "no bytes are stored")
    with os.fdopen(descriptor, "rb", buffering=0) as file:
        if os.fstat(descriptor).st_size < storage.offset + storage.length:
            raise _error(ref, "the file is shorter than when it was loaded; load it again")
        return _filled_buffer(file, storage.offset, storage.length, ref)


def _filled_buffer(file: Any, offset: int, length: int, ref: WeightRef) -> bytearray:
    try:
        stored = bytearray(length)
        file.seek(offset)
        view, done = memoryview(stored), 0
        while done < length:
            count = file.readinto(view[done : done + _MOST_AT_ONCE])
            if not count:
                raise _error(ref, "the file ends before the tensor does")
            done += count
    except OSError as error:
        raise _error(ref, f"the bytes cannot be read ({error.strerror})") from None
    except MemoryError:
        raise _error(ref, f"{length} bytes do not fit into memory") from None
    return stored


def _error(ref: WeightRef, what: str) -> DataError:
    return DataError(what, file=file_of(ref), where=ref.name)

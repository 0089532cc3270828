"""Bytes of weights: every data type in every place it can be stored, against onnx's own reader."""

from __future__ import annotations

import hashlib
import math
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy
import onnx
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, external_data_helper, helper, numpy_helper

from graphneurons.errors import DataError, LoadError
from graphneurons.graph import External, FileSlice, Filled, Inline, WeightRef
from graphneurons.load import load
from graphneurons.load.dtypes import DTYPES
from graphneurons.load.reading import digest, read
from tests.load.building import loaded, model

KINDS = [number for number in DTYPES if number != TensorProto.STRING]
SHAPES = [(), (5,), (3, 7), (0, 4), (21, 101)]


def stored(kind: int, shape: tuple[int, ...], in_raw: bool) -> TensorProto:
    """Random bit patterns of one kind, as ``raw_data`` or in the typed field."""
    rng = numpy.random.default_rng(kind * 100 + len(shape))
    count, bits = math.prod(shape), DTYPES[kind].bits
    raw = rng.integers(0, 256, (count * bits + 7) // 8, dtype=numpy.uint8)
    if kind == TensorProto.BOOL:
        raw &= 1
    if bits in (2, 4, 6) and count * bits % 8:
        raw[-1] &= (1 << count * bits % 8) - 1
    tensor = TensorProto(name="w", data_type=kind, dims=shape)
    if in_raw:
        tensor.raw_data = raw.tobytes()
        return tensor
    field = getattr(tensor, DTYPES[kind].field)
    if DTYPES[kind].field in ("float_data", "double_data"):
        field.extend(raw.view("<f4" if DTYPES[kind].field == "float_data" else "<f8").tolist())
    elif bits == 6:
        field.extend(
            numpy.packbits(numpy.unpackbits(raw, bitorder="little")[: count * 6].reshape(count, 6), 1, "little")[
                :, 0
            ].tolist()
        )
    else:
        signed = {6: "<i4", 7: "<i8", 5: "<i2", 3: "<i1"}.get(kind, f"<u{max(bits, 8) // 8}")
        field.extend(raw.view(signed).tolist())
    return tensor


def expected(tensor: TensorProto) -> NDArray[numpy.generic]:
    return numpy_helper.to_array(tensor)


def bits_of(array: NDArray[numpy.generic]) -> bytes:
    """The values, whatever type holds them: onnx gives 4-bit integers a type of their own."""
    if array.dtype.name in ("int4", "uint4", "int2", "uint2"):
        array = array.astype(numpy.int8)
    elif array.dtype.name == "uint8":
        array = array.view(numpy.int8)
    return array.tobytes()


@pytest.mark.parametrize("in_raw", [True, False], ids=["raw", "typed"])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: DTYPES[kind].name)
def test_every_type_reads_as_onnx_reads_it(kind: int, shape: tuple[int, ...], in_raw: bool, tmp_path: Path) -> None:
    tensor = stored(kind, shape, in_raw)
    made = model([helper.make_node("Relu", ["x"], ["y"])], weights=[tensor])
    path = tmp_path / "m.onnx"
    path.write_bytes(made.SerializeToString())
    for graph in (loaded(made), load(path)):
        ref = graph.weights["w"]
        assert (ref.name, ref.dtype, ref.shape) == ("w", DTYPES[kind].name, shape)
        found = read(ref)
        assert found.shape == shape
        assert bits_of(found) == bits_of(expected(tensor))


def test_long_data_stays_in_the_file(tmp_path: Path) -> None:
    path = tmp_path / "m.onnx"
    path.write_bytes(
        model([helper.make_node("Relu", ["x"], ["y"])], weights=[stored(1, (21, 101), True)]).SerializeToString()
    )
    storage = load(path).weights["w"].storage
    assert isinstance(storage, FileSlice)
    assert (storage.path, storage.length, storage.encoding) == (str(path), 21 * 101 * 4, "raw")


def test_a_packed_float_list_is_read_as_raw(tmp_path: Path) -> None:
    path = tmp_path / "m.onnx"
    path.write_bytes(
        model([helper.make_node("Relu", ["x"], ["y"])], weights=[stored(1, (21, 101), False)]).SerializeToString()
    )
    storage = load(path).weights["w"].storage
    assert isinstance(storage, FileSlice)
    assert storage.encoding == "raw"


def external(tmp_path: Path) -> tuple[Path, NDArray[numpy.float32]]:
    array = numpy.arange(600, dtype=numpy.float32).reshape(20, 30)
    made = model([helper.make_node("Relu", ["x"], ["y"])], weights=[numpy_helper.from_array(array, "w")])
    external_data_helper.convert_model_to_external_data(made, location="w.bin", size_threshold=0)
    onnx.save(made, tmp_path / "m.onnx")
    return tmp_path / "m.onnx", array


def test_external_data_is_read(tmp_path: Path) -> None:
    path, array = external(tmp_path)
    ref = load(path).weights["w"]
    assert isinstance(ref.storage, External)
    assert ref.storage.present
    assert numpy.array_equal(read(ref), array)


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (lambda file: file.unlink(), "w: the data file cannot be opened .*; put it back"),
        (lambda file: file.write_bytes(b"x"), "w: the file is shorter than when it was loaded"),
        (lambda file: file.rename(file.with_name("b")) and file.symlink_to("b"), "w: .* goes through a symbolic link"),
    ],
)
def test_a_data_file_that_changed_is_refused(tmp_path: Path, spoil: Callable[[Path], object], says: str) -> None:
    path, _ = external(tmp_path)
    ref = load(path).weights["w"]
    spoil(tmp_path / "w.bin")
    with pytest.raises(DataError, match=says) as caught:
        read(ref)
    assert caught.value.file == str(tmp_path / "w.bin")


def test_a_model_file_that_vanished_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "m.onnx"
    path.write_bytes(
        model([helper.make_node("Relu", ["x"], ["y"])], weights=[stored(1, (21, 101), True)]).SerializeToString()
    )
    ref = load(path).weights["w"]
    path.unlink()
    with pytest.raises(DataError, match="w: no such file"):
        read(ref)


def test_more_than_the_limit_is_not_read() -> None:
    ref = WeightRef("w", "float32", (1 << 40,), External("", "gone", 0, 1 << 42, False))
    with pytest.raises(DataError, match="w: 1099511627776 elements are more than the 1000 asked for"):
        read(ref, limit=1000)


def test_strings_are_not_read() -> None:
    made = model([helper.make_node("Relu", ["x"], ["y"])], weights=[helper.make_tensor("w", 8, [2], ["a", "b"])])
    ref = loaded(made).weights["w"]
    assert (ref.dtype, ref.shape) == ("string", (2,))
    with pytest.raises(DataError, match="w: strings are not read"):
        read(ref)


@pytest.mark.parametrize(
    ("dtype", "value"),
    [("float32", 1.5), ("int64", -3), ("bool", 1), ("bfloat16", 2.0), ("uint4", 9), ("float16", 0.5)],
)
def test_filled_costs_nothing(dtype: str, value: float) -> None:
    found = read(WeightRef("w", dtype, (1 << 20, 1 << 20), Filled(value)))
    assert found.shape == (1 << 20, 1 << 20)
    assert found.strides == (0, 0)
    assert float(found[5, 7]) == value


def test_without_ml_dtypes_its_types_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ml_dtypes", None)
    for storage in (Inline(b"\0" * 4), Filled(1.0)):
        with pytest.raises(DataError, match="w: bfloat16 is read through the package ml_dtypes; install or update it"):
            read(WeightRef("w", "bfloat16", (2,), storage))


def sparse_ref(dims: list[int], indices: TensorProto) -> WeightRef:
    values = helper.make_tensor("w", TensorProto.FLOAT, [2], [1.0, 2.0])
    made = model([helper.make_node("Relu", ["x"], ["y"])])
    made.graph.sparse_initializer.append(helper.make_sparse_tensor(values, indices, dims))
    return loaded(made).weights["w"]


def test_a_small_sparse_tensor_is_read_in_both_forms() -> None:
    want = [[0, 1, 0], [0, 0, 2]]
    flat = sparse_ref([2, 3], helper.make_tensor("i", TensorProto.INT64, [2], [1, 5]))
    pairs = sparse_ref([2, 3], helper.make_tensor("i", TensorProto.INT64, [2, 2], [0, 1, 1, 2]))
    assert read(flat).tolist() == want
    assert read(pairs).tolist() == want


def test_a_large_sparse_tensor_is_never_made_dense() -> None:
    ref = sparse_ref([1 << 19, 1 << 19], helper.make_tensor("i", TensorProto.INT64, [2], [1, 5]))
    with pytest.raises(DataError, match="w: a sparse tensor of 274877906944 elements is never made dense"):
        read(ref)


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"\x01\x02", "2 numbers stored, but shape .3. of int64 needs 3"),
        (b"\x01\x02\x83", "2 numbers stored"),
        (b"\x01\x02" + b"\xff" * 12 + b"\x01", "a stored number has more than 10 bytes"),
    ],
)
def test_damaged_packed_numbers_are_refused(data: bytes, says: str) -> None:
    with pytest.raises(DataError, match=says):
        read(WeightRef("w", "int64", (3,), Inline(data, "int64_data")))


def test_digest_is_sha256(tmp_path: Path) -> None:
    path = tmp_path / "f"
    path.write_bytes(b"abc" * 1_000_000)
    assert digest(path) == hashlib.sha256(b"abc" * 1_000_000).hexdigest()
    with pytest.raises(LoadError, match="no such file"):
        digest(tmp_path / "gone")


def test_names_of_weights_survive_replacing_storage() -> None:
    ref = replace(WeightRef("w", "float32", (2,), Inline(b"\0" * 8)), storage=Inline(b"\0" * 4))
    with pytest.raises(DataError, match=r"w: 4 bytes stored, but shape \[2\] of float32 needs 8"):
        read(ref)

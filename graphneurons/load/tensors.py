"""TensorProto to `WeightRef`: what it declares is checked in Python integers, and where its bytes lie is remembered.

Every rule here is onnx.proto's (TensorProto, SparseTensorProto): one data field, of the kind its data type wants, as
long as its dims say; external data inside the model's folder.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, NoReturn

from graphneurons.errors import LoadError
from graphneurons.graph import Attribute, FileSlice, Inline, Sparse, Storage, WeightRef
from graphneurons.load.dtypes import DTYPES, DType, stored_bytes, typed_entries
from graphneurons.load.externals import Externals
from graphneurons.load.notices import Notices
from graphneurons.load.repeats import Repeats
from graphneurons.load.wire import Buffer, Cut, Skimmed
from graphneurons.load.wording import quoted

MOST_ELEMENTS = 1 << 40
HIGHEST_RANK = 64
_EXTERNAL = 1
_COUNTED = 16 << 20
_CONTINUED = bytes(range(128, 256))
_FIELDS = ("float_data", "int32_data", "string_data", "int64_data", "double_data", "uint64_data")
_PLAIN = [1, 2, 8, 9]
"""Numbers of the fields that most tensors have, and no others: dims, data_type, name and raw_data."""

_PACKS = {8: "B", 16: "H", 32: "I", 64: "Q"}


@dataclass
class Tensors:
    """Turns the tensors of one model file into `WeightRef`s. ``attributes``: as written in the file -> what was read of
    them, for nodes that have the same."""

    path: str
    buffer: Buffer
    skimmed: Skimmed
    notices: Notices
    externals: Externals
    in_memory: bool = False
    indices_left: int = field(default=64 << 20)
    attributes: dict[tuple[bytes, ...], Mapping[str, Attribute]] = field(default_factory=dict)
    _sizes: dict[tuple[int, ...], int] = field(default_factory=dict)

    def refuse(self, where: str, what: str) -> NoReturn:
        raise LoadError(what, file=self.path, where=where)

    def text(self, stored: str | bytes, where: str) -> str:
        """A string of the file. The parser hands over bytes where they are not UTF-8: that raises `LoadError`."""
        if type(stored) is not str:
            self.refuse(where, f"a name in the file is not UTF-8 ({quoted(stored)}); protobuf strings must be")
        return stored

    def all_of(self, protos: Iterable[Any], repeats: Repeats | None) -> Iterator[WeightRef]:
        """The initializers of a graph, each read when it is asked for. Raises `LoadError` as `weight`."""
        if repeats is None:
            for tensor in protos:
                yield self.weight(tensor, tensor.name or "an initializer without a name")
            return
        parsed = self.all_of(protos, None)
        found: list[WeightRef] = []
        refills = repeats.refills
        for name, data, like in zip(refills.names, refills.data, refills.likes, strict=True):
            if like == len(found):
                ref = next(parsed)
            else:
                first = found[like]
                ref = WeightRef(name, first.dtype, first.shape, Inline(data))
            found.append(ref)
            yield ref

    def weight(self, tensor: Any, where: str, name: str = "") -> WeightRef:
        """The reference to ``tensor``, called ``name`` or else by its own name. Raises `LoadError` naming ``where``."""
        fields = tensor.ListFields()
        if [descriptor.number for descriptor, _ in fields] == _PLAIN:
            (_, dims), (_, number), (_, own), (_, raw) = fields
            if type(own) is str:
                dtype = self._dtype(number, where)
                if dtype.bits:
                    shape = self.shape(dims, where)
                    return WeightRef(name or own, dtype.name, shape, self._raw(raw, dtype, self._size(shape), where))
        own = self.text(tensor.name, "a tensor")
        dtype = self._dtype(tensor.data_type, where)
        shape = self.shape(tensor.dims, where)
        if tensor.HasField("segment"):
            self.refuse(where, "the tensor is stored in segments, which no runtime reads; export it whole")
        return WeightRef(name or own, dtype.name, shape, self._storage(tensor, dtype, shape, where))

    def sparse(self, tensor: Any, where: str, name: str = "") -> WeightRef:
        """The reference to a SparseTensorProto; its indices are checked where they are few enough to be read."""
        from graphneurons.load.sparse import check_indices

        shape = self.shape(tensor.dims, where)
        values = self.weight(tensor.values, f"{where} (values)")
        indices = self.weight(tensor.indices, f"{where} (indices)")
        stored = len(values.shape) == 1 and values.shape[0]
        if len(values.shape) != 1:
            self.refuse(where, f"sparse values must have rank 1, not {len(values.shape)}")
        if indices.dtype != "int64" or indices.shape not in ((stored,), (stored, len(shape))):
            self.refuse(
                where,
                f"sparse indices must be int64 of shape [{stored}] or [{stored}, {len(shape)}], "
                f"not {indices.dtype} {list(indices.shape)}",
            )
        if stored > values.elements or (stored and stored > _product(shape)):
            self.refuse(where, f"{stored} sparse values do not fit into shape {list(shape)}")
        self.indices_left = check_indices(self, indices, shape, where, self.indices_left)
        return WeightRef(name or values.name, values.dtype, shape, Sparse(values, indices))

    def shape(self, dims: Iterable[int], where: str) -> tuple[int, ...]:
        shape = tuple(dims)
        if shape in self._sizes:
            return shape
        if len(shape) > HIGHEST_RANK:
            self.refuse(where, f"rank {len(shape)} is more than any runtime takes ({HIGHEST_RANK})")
        for dim in shape:
            if dim < 0:
                self.refuse(where, f"dimension {dim} is negative")
        if _product(shape, skip_zero=True) > MOST_ELEMENTS:
            self.refuse(where, f"shape {list(shape)} has more than 2^40 elements; the file is damaged")
        self._sizes[shape] = _product(shape)
        return shape

    def _size(self, shape: tuple[int, ...]) -> int:
        """Elements of a shape that was checked."""
        return self._sizes[shape]

    def _raw(self, raw: bytes, dtype: DType, elements: int, where: str) -> Storage:
        """Where the bytes of a tensor lie that holds ``raw`` and nothing else."""
        cut = self.skimmed.cut(raw)
        if cut is None:
            self._expect(len(raw), stored_bytes(elements, dtype.bits), "raw_data", where)
            return Inline(raw)
        if cut.field not in ("raw_data", dtype.field):
            self.refuse(where, f"{dtype.name} data cannot be in {cut.field}, only in raw_data or {dtype.field}")
        return self._cut(cut, dtype, elements, where)

    def _dtype(self, number: int, where: str) -> DType:
        found = DTYPES.get(number)
        if found is None:
            self.refuse(where, f"data type {number} is not one that ONNX defines")
        return found

    def _storage(self, tensor: Any, dtype: DType, shape: tuple[int, ...], where: str) -> Storage:
        present = [descriptor.name for descriptor, _ in tensor.ListFields() if descriptor.name in _FIELDS]
        raw: bytes = tensor.raw_data
        cut = self.skimmed.cut(raw) if raw else None
        present += [cut.field if cut else "raw_data"] if raw else []
        if len(present) > 1:
            self.refuse(where, f"the tensor holds its data twice ({' and '.join(present)})")
        elements = _product(shape)
        if tensor.data_location == _EXTERNAL:
            if present:
                self.refuse(where, f"the tensor holds data ({present[0]}) and names external data too")
            if not dtype.bits:
                self.refuse(where, "strings cannot be external data")
            return self.externals.stored(tensor.external_data, stored_bytes(elements, dtype.bits), where)
        if len(tensor.external_data):
            self.externals.unused(tensor.external_data, where)
        if not present:
            if elements:
                self.refuse(where, f"the tensor has no data, but {elements} elements; was its data file left behind?")
            return Inline(b"", "raw" if dtype.bits else "string_data")
        if present[0] not in ("raw_data", dtype.field):
            self.refuse(where, f"{dtype.name} data cannot be in {present[0]}, only in raw_data or {dtype.field}")
        if not dtype.bits:
            return self._strings(tensor, elements, present[0], where)
        if raw:
            return self._raw(raw, dtype, elements, where)
        entries = getattr(tensor, present[0])
        wanted = typed_entries(elements, dtype)
        if len(entries) != wanted:
            self.refuse(where, f"{present[0]} has {len(entries)} entries, but the shape needs {wanted}")
        return Inline(_packed(entries, dtype))

    def _strings(self, tensor: Any, elements: int, stored: str, where: str) -> Storage:
        if stored != "string_data":
            self.refuse(where, "string data cannot be in raw_data")
        if len(tensor.string_data) != elements:
            self.refuse(where, f"string_data has {len(tensor.string_data)} entries, but the shape needs {elements}")
        return Inline(b"", "string_data")

    def _cut(self, cut: Cut, dtype: DType, elements: int, where: str) -> Storage:
        wanted = typed_entries(elements, dtype)
        encoding = cut.field
        if cut.field == "raw_data":
            encoding = "raw"
            self._expect(cut.length, stored_bytes(elements, dtype.bits), cut.field, where)
        elif cut.field in ("float_data", "double_data"):
            # A packed list of IEEE numbers is byte for byte what raw_data would be.
            encoding = "raw"
            self._expect(cut.length, wanted * (4 if cut.field == "float_data" else 8), cut.field, where)
        else:
            self._count(cut, wanted, where)
        if self.in_memory:
            return Inline(self.buffer[cut.offset : cut.offset + cut.length], encoding)
        return FileSlice(self.path, cut.offset, cut.length, encoding)

    def _count(self, cut: Cut, wanted: int, where: str) -> None:
        """Entries of a packed list of varints; of long ones only bounds are known without reading them."""
        if cut.length > _COUNTED:
            if not wanted <= cut.length <= 10 * wanted:
                self.refuse(where, f"{cut.field} has {cut.length} bytes, which cannot be {wanted} numbers")
            return
        stored = self.buffer[cut.offset : cut.offset + cut.length]
        found = len(stored.translate(None, _CONTINUED))
        if found != wanted or stored[-1] >= 0x80:
            self.refuse(where, f"{cut.field} has {found} entries, but the shape needs {wanted}")

    def _expect(self, found: int, wanted: int, what: str, where: str) -> None:
        if found != wanted:
            self.refuse(where, f"{what} has {found} bytes, but its shape and data type need {wanted}")


def _product(shape: tuple[int, ...], skip_zero: bool = False) -> int:
    """Number of elements, counted no further than one step past `MOST_ELEMENTS`, so that 10,000 dims cost nothing."""
    if 0 in shape and not skip_zero:
        return 0
    product = 1
    for dim in shape:
        product *= dim or 1
        if product > MOST_ELEMENTS:
            break
    return product


def _packed(entries: Any, dtype: DType) -> bytes:
    """A short typed field as the ``raw_data`` it stands for."""
    if dtype.field in ("float_data", "double_data"):
        return struct.pack(f"<{len(entries)}{'f' if dtype.field == 'float_data' else 'd'}", *entries)
    if dtype.bits == 6:
        sixes = [entry & 63 for entry in entries] + [0] * (-len(entries) % 4)
        fours = zip(*[iter(sixes)] * 4, strict=True)
        groups = (a | b << 6 | c << 12 | d << 18 for a, b, c, d in fours)
        return b"".join(group.to_bytes(3, "little") for group in groups)[: stored_bytes(len(entries), 6)]
    width = max(dtype.bits, 8)
    mask = (1 << width) - 1
    return struct.pack(f"<{len(entries)}{_PACKS[width]}", *[entry & mask for entry in entries])

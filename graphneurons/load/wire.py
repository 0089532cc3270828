"""Skims a ModelProto on the protobuf wire: cuts long weight data out, so that only the structure is parsed.

Protobuf copies every byte it parses. Here the file is walked over a memory map, tag by tag, and the payload of every
long ``raw_data`` or packed typed field is replaced by a marker that says where it lies. What remains is handed to
onnx's own parser. Pages that hold weights are never touched. A marker starts with a random nonce drawn per call, so
that no file can forge one.

Field numbers are those of onnx.proto (ModelProto, GraphProto, NodeProto, AttributeProto, TensorProto, FunctionProto,
TrainingInfoProto, SparseTensorProto); encoding after https://protobuf.dev/programming-guides/encoding/.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from mmap import mmap
from typing import NoReturn

from graphneurons.errors import LoadError
from graphneurons.load.repeats import Repeats

Buffer = bytes | mmap
Readers = Mapping[int, Callable[[bytes], bool]]

LONG = 1024
"""Data of fewer bytes than this is left where it is: it costs less than a page."""

DEEPEST = 32
"""Subgraphs inside subgraphs, as onnxruntime bounds them."""

MOST_STRUCTURE = 1 << 29
MOST_FIELDS = 3_000_000
"""Fields of a few bytes: parsed, each takes twenty times the room. Longer ones (64 bytes and more) do not count."""

_MODEL, _GRAPH, _NODE, _ATTRIBUTE, _FUNCTION, _TRAINING, _SPARSE, _TENSOR, _DATA = range(9)
_NAMES = ("model", "graph", "node", "attribute", "function", "training_info", "sparse tensor", "tensor", "data")
_CHILDREN: tuple[dict[int, int], ...] = (
    {7: _GRAPH, 20: _TRAINING, 25: _FUNCTION},
    {1: _NODE, 5: _TENSOR, 15: _SPARSE},
    {5: _ATTRIBUTE},
    {5: _TENSOR, 6: _GRAPH, 10: _TENSOR, 11: _GRAPH, 22: _SPARSE, 23: _SPARSE},
    {7: _NODE, 11: _ATTRIBUTE},
    {1: _GRAPH, 2: _GRAPH},
    {1: _TENSOR, 2: _TENSOR},
    {4: _DATA, 5: _DATA, 7: _DATA, 9: _DATA, 10: _DATA, 11: _DATA},
)
_SINGULAR: dict[int, dict[int, str]] = {
    _MODEL: {7: "graph"},
    _ATTRIBUTE: {5: "t", 6: "g", 22: "sparse_tensor"},
    _TRAINING: {1: "initialization", 2: "algorithm"},
    _SPARSE: {1: "values", 2: "indices"},
}
DATA_FIELDS = {
    4: "float_data", 5: "int32_data", 7: "int64_data", 9: "raw_data", 10: "double_data", 11: "uint64_data",
}  # fmt: skip
# Short initializers are looked into as well, so that data given twice is seen: protobuf would keep the last.
_WATCHED = {_GRAPH: 5 << 3 | 2}
_UNPACKED = {_DATA: (0, 1, 5)}
_MARK = struct.Struct("<BQQ")
_RAW_DATA_TAG = b"\x4a"


@dataclass(frozen=True, slots=True)
class Cut:
    """Where a data field's payload lies: ``length`` bytes from ``offset``, in the encoding of ``field``."""

    field: str
    offset: int
    length: int


@dataclass(frozen=True, slots=True)
class Skimmed:
    """``structure`` parses as a ModelProto. ``top`` holds the (field, wire type) pairs met at the top level."""

    structure: bytes
    nonce: bytes
    repeated: tuple[tuple[str, int], ...]
    top: frozenset[tuple[int, int]]

    def cut(self, raw_data: bytes) -> Cut | None:
        """The cut a tensor's ``raw_data`` stands for, if it is a marker of this call."""
        if len(raw_data) != len(self.nonce) + _MARK.size or not raw_data.startswith(self.nonce):
            return None
        field, offset, length = _MARK.unpack_from(raw_data, len(self.nonce))
        return Cut(DATA_FIELDS[field], offset, length)


class _Frame:
    """A message that is being walked; ``slot`` is where its length goes once it is known what was cut inside."""

    __slots__ = ("cut", "end", "kind", "length_bytes", "removed", "seen", "slot", "start")

    def __init__(self, kind: int, start: int, end: int, slot: int, length_bytes: bytes) -> None:
        self.kind = kind
        self.start = start
        self.end = end
        self.slot = slot
        self.length_bytes = length_bytes
        self.removed = 0
        self.cut = False
        self.seen: set[int] | None = None


def damaged(path: str, what: str, at: int, where: str = "") -> NoReturn:
    raise LoadError(
        f"not a readable ONNX file: {what} at byte {at}; download or export it again", file=path, where=where
    )


def _varint(buffer: Buffer, position: int, path: str) -> tuple[int, int]:
    value = shift = 0
    start = position
    while True:
        byte = buffer[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, position
        shift += 7
        if shift > 63:
            damaged(path, "a number of more than 10 bytes", start)


def _encoded(value: int) -> bytes:
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def skim(buffer: Buffer, path: str, repeats: Repeats | None = None) -> Skimmed:
    """Cut long weight data out of the ModelProto in ``buffer``, and whatever ``repeats`` takes of its main graph.

    Raises `LoadError` where the bytes are not well-formed protobuf as far as they are walked (short submessages are
    left to the parser), nested deeper than `DEEPEST`, or hold more structure than `MOST_STRUCTURE` bytes.
    """
    try:
        return _skim(buffer, path, {} if repeats is None else repeats.readers)
    except IndexError:
        damaged(path, "the file ends in the middle of a field", len(buffer))


def _skim(buffer: Buffer, path: str, main_readers: Readers) -> Skimmed:
    nonce = os.urandom(16)
    pieces: list[bytes] = []
    repeated: list[tuple[str, int]] = []
    top: set[tuple[int, int]] = set()
    frame = _Frame(_MODEL, 0, len(buffer), -1, b"")
    stack: list[_Frame] = []
    children, least, end, watched = _CHILDREN[_MODEL], 0, frame.end, -1
    readers: Readers = {}
    position = pending = depth = fields = kept = 0
    while True:
        if position >= end:
            if position > end:
                damaged(path, f"a field runs past the end of its {_NAMES[frame.kind]}", position)
            kept += position - pending
            if kept > MOST_STRUCTURE:
                _too_much(path)
            if position > pending:
                pieces.append(buffer[pending:position])
            pending = position
            if not stack:
                break
            closed, frame = frame, stack.pop()
            if closed.removed:
                length = _encoded(closed.end - closed.start - closed.removed)
                frame.removed += closed.removed + len(closed.length_bytes) - len(length)
                pieces[closed.slot] = length
            if closed.kind == _GRAPH:
                depth -= 1
            children, end = _CHILDREN[frame.kind], frame.end
            least = 0 if frame.kind in (_MODEL, _TENSOR) else LONG
            watched = _WATCHED.get(frame.kind, -1)
            readers = main_readers if frame.kind == _GRAPH and len(stack) == 1 else {}
            continue
        fields += 1
        if fields > MOST_FIELDS and fields > MOST_FIELDS + (kept + position - pending) // 64:
            _too_much(path)
        at = position
        tag = buffer[position]
        position += 1
        if tag >= 0x80:
            tag, position = _varint(buffer, at, path)
        wire = tag & 7
        if wire == 2:
            counted = position
            length_byte = buffer[position]
            position += 1
            if length_byte < 0x80:
                stop = position + length_byte
            elif buffer[position] < 0x80:
                stop = position + 1 + length_byte - 0x80 + (buffer[position] << 7)
                position += 1
            else:
                long_length, position = _varint(buffer, counted, path)
                stop = position + long_length
            if stop > end:
                damaged(path, f"a field of {stop - position} bytes runs past the end of its {_NAMES[frame.kind]}", at)
            reader = readers.get(tag)
            if stop - position < least and tag > 7:
                if reader is not None and reader(buffer[position:stop]):
                    if at > pending:
                        pieces.append(buffer[pending:at])
                    kept += stop - pending
                    frame.removed += stop - at
                    position = pending = stop
                    continue
                if tag == watched:
                    _check_short(buffer, position, stop, path)
                position = stop
                continue
            field = tag >> 3
            if reader is not None:
                reader(b"")  # Too long to be read: counted among what is parsed.
            if not frame.kind:
                top.add((field, wire))
            child = children.get(field)
            if child is None:
                if not field:
                    damaged(path, "a field with number 0", at)
                position = stop
                continue
            if child == _DATA:
                if stop > position:
                    _once(buffer, frame, field, stop - position >= LONG, at, path)
                if stop - position < LONG:
                    position = stop
                    continue
                marker = nonce + _MARK.pack(field, position, stop - position)
                replaced = _RAW_DATA_TAG + _encoded(len(marker)) + marker
                kept += at - pending
                pieces += (buffer[pending:at], replaced)
                frame.removed += stop - at - len(replaced)
                position = pending = stop
                continue
            name = _SINGULAR.get(frame.kind, {}).get(field)
            if name is not None:
                if frame.seen is None:
                    frame.seen = set()
                if field in frame.seen:
                    repeated.append((f"{_NAMES[frame.kind]}.{name}", at))
                frame.seen.add(field)
            if child == _GRAPH:
                depth += 1
                if depth > DEEPEST + 1:
                    raise LoadError(f"subgraphs are nested more than {DEEPEST} deep (at byte {at})", file=path)
            kept += counted - pending
            if kept > MOST_STRUCTURE:
                _too_much(path)
            length_bytes = buffer[counted:position]
            pieces += (buffer[pending:counted], length_bytes)
            pending = position
            stack.append(frame)
            frame = _Frame(child, position, stop, len(pieces) - 1, length_bytes)
            children, end = _CHILDREN[child], stop
            least = 0 if child == _TENSOR else LONG
            watched = _WATCHED.get(child, -1)
            readers = main_readers if child == _GRAPH and len(stack) == 1 else {}
            continue
        field = tag >> 3
        if not frame.kind:
            top.add((field, wire))
        if not field:
            damaged(path, "a field with number 0", at)
        if wire == 0:
            _, position = _varint(buffer, position, path)
        elif wire == 5:
            position += 4
        elif wire == 1:
            position += 8
        elif wire == 3 and field not in children:
            position = _skip_group(buffer, position, end, field, path)
        elif wire in (3, 4):
            damaged(path, "a protobuf group, which ONNX never uses,", at)
        else:
            damaged(path, f"wire type {wire}, which does not exist,", at)
        child = children.get(field)
        if child is not None:
            if wire not in _UNPACKED.get(child, ()) or field == 9:
                damaged(
                    path,
                    f"field {field} of a {_NAMES[frame.kind]} with wire type {wire} instead of 2",
                    at,
                    _tensor_name(buffer, frame, path),
                )
            if frame.seen is None:
                frame.seen = set()
            frame.seen.add(field)
    return Skimmed(b"".join(pieces), nonce, tuple(repeated), frozenset(top))


def _skip_group(buffer: Buffer, position: int, end: int, field: int, path: str) -> int:
    """Past the end of an unknown group (deprecated in protobuf, but a parser skips them)."""
    groups = [field]
    while groups:
        at = position
        tag, position = _varint(buffer, position, path)
        wire, field = tag & 7, tag >> 3
        if wire == 0:
            _, position = _varint(buffer, position, path)
        elif wire == 2:
            length, position = _varint(buffer, position, path)
            position += length
        elif wire == 3:
            groups.append(field)
        elif wire == 4 and groups.pop() == field:
            continue
        elif wire in (1, 5):
            position += 8 if wire == 1 else 4
        else:
            damaged(path, "a protobuf group that is not closed", at)
        if position > end or len(groups) > DEEPEST:
            damaged(path, "a protobuf group that is not closed", at)
    return position


def _check_short(buffer: Buffer, start: int, end: int, path: str) -> None:
    """Refuse a short tensor that holds ``raw_data`` twice. One that does has its tag twice, whatever else it holds."""
    if buffer[start:end].count(_RAW_DATA_TAG) < 2:
        return
    frame = _Frame(_TENSOR, start, end, -1, b"")
    position = start
    while position < end:
        at = position
        tag, position = _varint(buffer, position, path)
        if tag & 7 in (0, 2):
            length, position = _varint(buffer, position, path)
            if tag & 7 == 2:
                position += length
                if tag == _RAW_DATA_TAG[0] and length:
                    _once(buffer, frame, 9, False, at, path)
        else:
            position += 8 if tag & 7 == 1 else 4


def _once(buffer: Buffer, frame: _Frame, field: int, cut: bool, at: int, path: str) -> None:
    """A marker takes the place of ``raw_data``: a second data field beside it would go unnoticed, so it ends here.

    A short packed list in several pieces is left to the parser, which joins them.
    """
    if frame.seen is None:
        frame.seen = set()
    elif frame.seen and (cut or field == 9 or frame.seen != {field} or frame.cut):
        both = " and ".join(DATA_FIELDS[seen] for seen in (*sorted(frame.seen), field))
        raise LoadError(
            f"the tensor holds its data twice ({both}, at byte {at}); export the model again",
            file=path,
            where=_tensor_name(buffer, frame, path) or "a tensor without a name",
        )
    frame.seen.add(field)
    frame.cut = frame.cut or cut


def _tensor_name(buffer: Buffer, frame: _Frame, path: str) -> str:
    """The name of the tensor that is being walked, for messages; empty if it is no tensor, or none can be read."""
    position = frame.start if frame.kind == _TENSOR else frame.end
    while position < frame.end:
        tag, position = _varint(buffer, position, path)
        length = 8 if tag & 7 == 1 else 4
        if tag & 7 in (0, 2):
            length, position = _varint(buffer, position, path)
        if tag == 8 << 3 | 2:
            return buffer[position : min(position + length, frame.end)].decode("utf-8", errors="backslashreplace")
        position += length if tag & 7 else 0
    return ""


def _too_much(path: str) -> NoReturn:
    raise LoadError(
        f"the structure alone (everything but weight data) has more than {MOST_STRUCTURE >> 20} MiB or "
        f"{MOST_FIELDS:,} tiny fields; this is no network",
        file=path,
    )

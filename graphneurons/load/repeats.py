"""Nodes and tensors that differ from an earlier one in names and numbers alone: read off the wire, never parsed.

A graph of fifty thousand nodes holds a few dozen kinds of them. Here the first of each kind is left to protobuf, which
checks all of it; what follows with the same bytes after (nodes) or before (tensors) its names is like the first. Only
what every writer writes is read: fields in the order of their numbers, short ASCII names. All else is left to protobuf.
Field numbers are those of onnx.proto (NodeProto, TensorProto).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from typing import Any

_INPUT, _OUTPUT, _NAME = (number << 3 | 2 for number in (1, 2, 3))
_RAW_DATA = 9 << 3 | 2
_AFTER_NAMES = frozenset(number << 3 | 2 for number in (4, 5, 6, 7, 8, 9))
"""op_type, attribute, doc_string, domain, overload and metadata_props."""

_MOST_FIELDS = 64
"""Fields after a node's names. Real ones have fewer; a file of nothing else is not to take long."""

_MOST_NAMES = range(16)
"""Inputs, or outputs, of a node that are read here: of those with more, protobuf makes quicker work."""

_LONGEST = 256
"""Bytes after a node's names. Where there are more they are tensors, subgraphs or metadata: hardly ever met again."""

# dims, one by one, then data_type, then the tag of name.
_before_name = re.compile(rb"(?:\x08[\x80-\xff]{0,8}[\x00-\x7f])*\x10[\x00-\x7f]\x42").match


@dataclass(slots=True)
class Heads:
    """The names in the nodes of a graph, column by column; ``sources``: which parsed node says the rest of each."""

    names: list[str] = field(default_factory=list)
    inputs: list[tuple[str, ...]] = field(default_factory=list)
    outputs: list[tuple[str, ...]] = field(default_factory=list)
    sources: list[int] = field(default_factory=list)

    def add(self, name: str, inputs: tuple[str, ...], outputs: tuple[str, ...], source: int) -> None:
        self.names.append(name)
        self.inputs.append(inputs)
        self.outputs.append(outputs)
        self.sources.append(source)


@dataclass(slots=True)
class Refills:
    """The initializers of a graph, column by column. ``likes``: the first that has the shape and data type of each;
    where that is the tensor itself, protobuf parses it and nothing else is said."""

    names: list[str] = field(default_factory=list)
    data: list[bytes] = field(default_factory=list)
    likes: list[int] = field(default_factory=list)


def names_of(proto: Any) -> tuple[str, tuple[str, ...], tuple[str, ...]]:
    """Name, inputs and outputs of a NodeProto."""
    return proto.name, tuple(proto.input[:]), tuple(proto.output[:])


class Repeats:
    """What was found in the nodes and initializers of a model's main graph, in the order of the file."""

    def __init__(self) -> None:
        self.heads = Heads()
        self.refills = Refills()
        self.names: dict[str, str] = {"": ""}
        """Every name that was read of a value: most are met twice, and one string of each is enough."""
        self.in_order = True
        """Whether no node was seen to read what only a later one makes."""
        self.readers: dict[int, Callable[[bytes], bool]] = {1 << 3 | 2: self._node, 5 << 3 | 2: self._tensor}
        """By their tags in a GraphProto. Each takes a field's payload, and says whether it needs no parsing."""
        self._unread: list[int] = []
        """Positions of the nodes whose names were not read either."""
        self._parsed = 0
        self._kinds: dict[str, int] = {}
        self._shapes: dict[tuple[bytes, int], int] = {}

    def complete(self, protos: Sequence[Any]) -> None:
        """Read the names that were not read yet of the nodes that were parsed."""
        heads = self.heads
        for at in self._unread:
            proto = protos[heads.sources[at]]
            heads.names[at], heads.inputs[at], heads.outputs[at] = names_of(proto)
        if self._unread:
            self.in_order = False
            columns = (*heads.inputs, *heads.outputs)
            self.names = {"": "", **{name: name for names in columns for name in names}}

    def reads_only(self, defined: Collection[str], fed: Sequence[str]) -> bool:
        """Whether every name the nodes read is one of ``defined``: what they make, and what is ``fed`` to them."""
        self.names.update(zip(fed, fed, strict=True))
        return len(self.names) == 1 + len(defined)

    def _node(self, data: bytes) -> bool:
        text = data.decode("latin-1")
        names = self.names
        once = names.setdefault
        inputs: list[str] = []
        outputs: list[str] = []
        own = ""
        at = 0
        try:
            # One byte of length: where there are more, what was read is no ASCII.
            for _ in _MOST_NAMES:
                if data[at] != _INPUT:
                    break
                start = at + 2
                at = start + data[at + 1]
                name = text[start:at]
                inputs.append(once(name, name))
            for _ in _MOST_NAMES:
                if data[at] != _OUTPUT:
                    break
                start = at + 2
                at = start + data[at + 1]
                name = text[start:at]
                outputs.append(name)
                if name and name in names:
                    self.in_order = False
                names[name] = name
            if data[at] == _NAME:
                start = at + 2
                at = start + data[at + 1]
                own = text[start:at]
        except IndexError:
            at = len(data)
        rest = text[at:]
        source = self._kinds.get(rest)
        if not (text.isascii() or text[:at].isascii()) or (source is None and not _holds_no_names(data, at)):
            self._unread.append(len(self.heads.names))
            self.heads.add("", (), (), self._parsed)
            self._parsed += 1
            return False
        heads = self.heads
        heads.names.append(own)
        heads.inputs.append(tuple(inputs))
        heads.outputs.append(tuple(outputs))
        if source is None:
            if len(rest) <= _LONGEST:
                self._kinds[rest] = self._parsed
            heads.sources.append(self._parsed)
            self._parsed += 1
            return False
        heads.sources.append(source)
        return True

    def _tensor(self, data: bytes) -> bool:
        refills = self.refills
        here = like = len(refills.likes)
        name, start = "", len(data)
        before = _before_name(data)
        if before is not None:
            try:
                named = before.end()
                at = named + 1 + data[named]
                length = data[at + 1]
                start = at + 2
                if length >= 0x80:
                    length += (data[start] - 1) << 7
                    start += 1
                # One byte of length before the name: where there are more, this is no ASCII.
                if data[at] == _RAW_DATA and start + length == len(data) and data[named:at].isascii():
                    name = data[named + 1 : at].decode()
                    like = self._shapes.setdefault((before[0], length), here)
            except IndexError:
                pass
        refills.names.append(self.names.setdefault(name, name) if like != here else "")
        refills.data.append(data[start:] if like != here else b"")
        refills.likes.append(like)
        return like != here


def _holds_no_names(data: bytes, at: int) -> bool:
    """Whether a few fields follow from ``at`` to the end, none of which is a node's name, input or output."""
    try:
        for _ in range(_MOST_FIELDS):
            if data[at] not in _AFTER_NAMES:
                return False
            length = data[at + 1]
            at += 2
            if length >= 0x80:
                length += (data[at] - 1) << 7
                at += 1
            at += length
            if at >= len(data):
                return at == len(data)
    except IndexError:
        pass
    return False

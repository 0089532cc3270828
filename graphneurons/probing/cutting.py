"""Cuts an ONNX model at one value: only what that value depends on is kept, as the file writes it.

Nodes, attributes, functions, operator sets and the IR version are the file's own. Weights are put in one by one, read
as the loader reads them: external data only from inside the model's folder, reached through no link. The model that
comes out names no file, so that a runtime opens none.
"""

from __future__ import annotations

import mmap
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from math import prod
from typing import Any

import numpy as np
import numpy.typing as npt

from graphneurons.errors import DataError, LoadError
from graphneurons.graph import External, ModelGraph, WeightRef
from graphneurons.load.dtypes import DTYPES, stored_bytes
from graphneurons.load.externals import Externals
from graphneurons.load.notices import Notices
from graphneurons.load.paths import open_model
from graphneurons.load.reading import read
from graphneurons.load.wire import DATA_FIELDS, Buffer, Skimmed, skim
from graphneurons.probing.untrained import Draws

LARGEST = (1 << 31) - (1 << 20)
"""Bytes one protobuf message may have, with room for what is around the weights."""

LARGE = 1 << 20
"""Bytes from which on an initializer is handed over apart from the message."""

NOWHERE = "graphneurons/handed over in memory"

_EXTERNAL = 1
_NATIVE = {
    "float16": "<f2", "float32": "<f4", "float64": "<f8",
    **{f"{sign}int{bits}": f"<{sign[:1] or 'i'}{bits // 8}" for sign in ("", "u") for bits in (8, 16, 32, 64)},
}  # fmt: skip
_FIELD_NUMBERS = {name: number for number, name in DATA_FIELDS.items()}


@dataclass(frozen=True)
class Origin:
    """A model that can be opened again: the file ``path``, or ``data`` in memory (``path`` is then what it is called).
    ``size``: how many bytes the file had when it was analyzed."""

    path: str
    data: bytes | None = None
    size: int | None = None

    @contextmanager
    def opened(self) -> Iterator[Buffer]:
        if self.data is not None:
            yield self.data
            return
        descriptor = open_model(self.path)
        try:
            buffer = mmap.mmap(descriptor, 0, access=mmap.ACCESS_READ)
        except (OSError, ValueError) as error:
            raise LoadError(f"the file cannot be read ({error})", file=self.path) from None
        finally:
            os.close(descriptor)
        with buffer:
            if self.size is not None and len(buffer) != self.size:
                raise LoadError("the file has changed since it was analyzed; analyze it again", file=self.path)
            yield buffer


@dataclass(frozen=True, slots=True, eq=False)
class Filled:
    """``model``: a serialized ModelProto; ``apart``: large initializers by name. The model says they are external data,
    of a file there is none of, so that a runtime takes them from memory: a message may have 2 GiB, and is copied."""

    model: bytes
    apart: Mapping[str, npt.NDArray[Any]]


@dataclass(frozen=True, slots=True)
class Cut:
    """A model that puts out ``value`` of another and holds only what that depends on. ``inputs``: which of the inputs
    it needs, in the file's order; ``flat``: the flat graph, where the value is made inside a function."""

    origin: Origin
    value: str
    inputs: tuple[str, ...]
    flat: ModelGraph | None = None

    def filled(self, draws: Draws | None = None) -> Filled:
        """The model with its weights, or with those that ``draws`` gives. Raises `DataError` where weights are missing
        or are too many for one message."""
        if self.flat is not None:
            from graphneurons.probing.inlining import inlined

            return Filled(inlined(self.flat, self.value, draws).SerializeToString(), {})
        with self.origin.opened() as buffer:
            model, skimmed = _structure(buffer, self.origin.path)
            _trim(model, self.value)
            filling = _Filling(self.origin, buffer, skimmed, draws)
            filling.fill(model)
            return Filled(model.SerializeToString(), filling.apart)


def cut(origin: Origin, graph: ModelGraph, value: str) -> Cut:
    """The model in ``origin``, of which ``graph`` was made, cut at ``value``. Raises `DataError` where ``value`` is
    made in a loop or a branch."""
    with origin.opened() as buffer:
        model, _ = _structure(buffer, origin.path)
        if any(value in node.output for node in model.graph.node):
            return Cut(origin, value, _trim(model, value))
    from graphneurons.probing.inlining import inlined_inputs

    return Cut(origin, value, inlined_inputs(graph, value), graph)


def _structure(buffer: Buffer, path: str) -> tuple[Any, Skimmed]:
    import onnx

    skimmed = skim(buffer, path)
    return onnx.ModelProto.FromString(skimmed.structure), skimmed


def _trim(model: Any, value: str) -> tuple[str, ...]:
    """Takes everything out of ``model`` that ``value`` does not need; the names of the inputs that are left."""
    import onnx

    graph = model.graph
    kept = _needed(graph.node, value)
    names = {value, *(name for at in kept for name in _read_by(graph.node[at]))}
    stored = {tensor.name for tensor in graph.initializer} | {t.values.name for t in graph.sparse_initializer}
    inputs = tuple(info.name for info in graph.input if info.name in names and info.name not in stored)
    trimmed = onnx.GraphProto(name=graph.name or "cut")
    trimmed.node.extend(graph.node[at] for at in kept)
    trimmed.initializer.extend(tensor for tensor in graph.initializer if tensor.name in names)
    trimmed.sparse_initializer.extend(t for t in graph.sparse_initializer if t.values.name in names)
    trimmed.input.extend(info for info in graph.input if info.name in names)
    trimmed.output.append(onnx.ValueInfoProto(name=value))
    functions = _called(model.functions, trimmed.node)
    model.graph.CopyFrom(trimmed)
    for left_out in ("functions", "training_info", "metadata_props"):
        model.ClearField(left_out)
    model.functions.extend(functions)
    return inputs


def _needed(nodes: Sequence[Any], value: str) -> list[int]:
    """Positions of the nodes that ``value`` depends on."""
    maker = {name: at for at, node in enumerate(nodes) for name in node.output if name}
    found: set[int] = set()
    waiting = [maker[value]]
    while waiting:
        at = waiting.pop()
        if at not in found:
            found.add(at)
            waiting.extend(maker[name] for name in _read_by(nodes[at]) if name in maker)
    return sorted(found)


def _read_by(node: Any) -> Iterator[str]:
    """The names a node reads, those its subgraphs may capture included."""
    yield from (name for name in node.input if name)
    for graph in _graphs(node):
        for inner in graph.node:
            yield from _read_by(inner)
        yield from (info.name for info in graph.output)


def _graphs(node: Any) -> Iterator[Any]:
    for attribute in node.attribute:
        if attribute.HasField("g"):
            yield attribute.g
        yield from attribute.graphs


def _called(functions: Sequence[Any], nodes: Sequence[Any]) -> list[Any]:
    """The functions that ``nodes`` call, and those that they call, in the file's order."""
    by_key = {(function.domain, function.name, function.overload): function for function in functions}
    found: set[tuple[str, str, str]] = set()
    waiting = list(nodes)
    while waiting:
        node = waiting.pop()
        waiting.extend(inner for graph in _graphs(node) for inner in graph.node)
        key = (node.domain, node.op_type, node.overload)
        if key in by_key and key not in found:
            found.add(key)
            waiting.extend(by_key[key].node)
    return [function for key, function in by_key.items() if key in found]


@dataclass
class _Filling:
    """Puts the weights back into a trimmed structure."""

    origin: Origin
    buffer: Buffer
    skimmed: Skimmed
    draws: Draws | None
    apart: dict[str, npt.NDArray[Any]] = field(default_factory=dict)
    filled: int = 0

    def fill(self, model: Any) -> None:
        directory = None if self.origin.data is not None else os.path.dirname(self.origin.path)
        self.externals = Externals(self.origin.path, directory, Notices())
        self._graph(model.graph, outer=True)
        for function in model.functions:
            self._nodes(function.node)

    def _graph(self, graph: Any, *, outer: bool = False) -> None:
        for tensor in graph.initializer:
            if not (outer and self._set_apart(tensor)):
                self._tensor(tensor, tensor.name)
        for sparse in graph.sparse_initializer:
            self._tensor(sparse.values, "")
            self._tensor(sparse.indices, "")
        self._nodes(graph.node)

    def _nodes(self, nodes: Sequence[Any]) -> None:
        for node in nodes:
            # A Constant is called by what it puts out.
            name = node.output[0] if node.op_type == "Constant" and node.output else ""
            for attribute in node.attribute:
                if attribute.HasField("t"):
                    self._tensor(attribute.t, name)
                for tensor in attribute.tensors:
                    self._tensor(tensor, "")
                sparse = [attribute.sparse_tensor] if attribute.HasField("sparse_tensor") else []
                for item in (*sparse, *attribute.sparse_tensors):
                    self._tensor(item.values, "")
                    self._tensor(item.indices, "")
            for graph in _graphs(node):
                self._graph(graph)

    def _set_apart(self, tensor: Any) -> bool:
        """Whether ``tensor`` is large and of a type numpy has: it is then read into memory of its own."""
        dtype = DTYPES[tensor.data_type]
        native = _NATIVE.get(dtype.name)
        shape = tuple(tensor.dims)
        if native is None or dtype.bits * prod(shape) < 8 * LARGE:
            return False
        piece = self.skimmed.cut(tensor.raw_data) if tensor.raw_data else None
        if tensor.data_location == _EXTERNAL:
            stored = read(WeightRef(tensor.name, dtype.name, shape, self._storage(tensor)))
        elif piece is not None and piece.field in ("raw_data", "float_data", "double_data"):
            # A packed list of IEEE numbers is byte for byte what raw_data would be.
            stored = np.frombuffer(self.buffer, native, prod(shape), piece.offset).copy()
        else:
            return False
        if self.draws is not None and self.draws.concerns(tensor.name):
            drawn = self.draws.raw(tensor.name, dtype.name, shape, stored.tobytes(), dtype.bits)
            stored = np.frombuffer(drawn, native)
        self.apart[tensor.name] = stored.reshape(shape)
        for name in (*_FIELD_NUMBERS, "external_data"):
            tensor.ClearField(name)
        tensor.data_location = _EXTERNAL
        tensor.external_data.add(key="location", value=NOWHERE)
        return True

    def _tensor(self, tensor: Any, name: str) -> None:
        if tensor.data_location == _EXTERNAL:
            tensor.raw_data = self._external(tensor)
            tensor.ClearField("external_data")
            tensor.ClearField("data_location")
        else:
            piece = self.skimmed.cut(tensor.raw_data) if tensor.raw_data else None
            if piece is not None:
                self._room_for(piece.length)
                payload = self.buffer[piece.offset : piece.offset + piece.length]
                tensor.ClearField("raw_data")
                tensor.MergeFromString(_tagged(_FIELD_NUMBERS[piece.field], payload))
        if self.draws is not None and self.draws.concerns(name):
            _redraw(tensor, name, self.draws)
        self.filled += tensor.ByteSize()

    def _room_for(self, more: int) -> None:
        if self.filled + more > LARGEST:
            raise DataError(
                "the weights up to this layer are more than the 2 GiB that fit into one ONNX message; "
                "choose an earlier layer",
                file=self.origin.path,
            )

    def _external(self, tensor: Any) -> bytes:
        storage = self._storage(tensor)
        self._room_for(storage.length)
        found: bytes = read(WeightRef(tensor.name, "uint8", (storage.length,), storage)).tobytes()
        return found

    def _storage(self, tensor: Any) -> External:
        length = stored_bytes(prod(tensor.dims), DTYPES[tensor.data_type].bits)
        return self.externals.stored(tensor.external_data, length, tensor.name)


def _redraw(tensor: Any, name: str, draws: Draws) -> None:
    from onnx import numpy_helper

    dtype = DTYPES[tensor.data_type]
    stored = tensor.raw_data or numpy_helper.to_array(tensor).tobytes()
    drawn = draws.raw(name, dtype.name, tuple(tensor.dims), stored, dtype.bits)
    for name_of_field in _FIELD_NUMBERS:
        tensor.ClearField(name_of_field)
    tensor.raw_data = drawn


def _tagged(number: int, payload: bytes) -> bytes:
    """One length-delimited field on the protobuf wire."""
    length, size = bytearray(), len(payload)
    while size > 0x7F:
        length.append(size & 0x7F | 0x80)
        size >>= 7
    length.append(size)
    return bytes([number << 3 | 2]) + bytes(length) + payload

"""A ``.pt2`` archive (`torch.export.save`) to a `ModelGraph`, without torch: its JSON is read, its pickles never.

Weights that are stored plainly are slices of the archive itself; those in pickles have names and shapes, and no values.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from math import prod
from typing import Any

from graphneurons.errors import DataError, LoadError
from graphneurons.graph import Absent, FileSlice, InMemory, ModelGraph, ModelInfo, Notice, Storage, WeightRef
from graphneurons.load.aliasing import hidden_writes
from graphneurons.load.archives import Archive
from graphneurons.load.dtypes import BITS, stored_bytes
from graphneurons.load.programs import Program, Ref, written
from graphneurons.load.serialized import Reader

MOST_JSON_BYTES = 256 << 20
MOST_JSON_ITEMS = 4_000_000
"""Lists, objects and their items in one JSON: each becomes an object of Python."""

PICKLED = "the archive keeps it in a pickle, and pickles are never opened: they can run code"
_MODELS = ("models/model.json", "serialized_exported_program.json")
_CONFIGS = (("data/weights/", "model_weights_config.json"), ("data/constants/", "model_constants_config.json"))
_MARKS = ("archive_format", *_MODELS)


def is_program(path: str) -> bool:
    """Whether a zip file is an exported program, by the names of its entries."""
    if path.lower().endswith(".pt2"):
        return True
    try:
        names = Archive(path).entries
    except LoadError:
        return False
    return any(mark in names for mark in _MARKS) and not any(name.endswith("data.pkl") for name in names)


def load_archive(path: str) -> ModelGraph:
    """The graph of the archive ``path``. Raises `LoadError`."""
    archive = Archive(path)
    names = [name for name in archive.entries if name in _MODELS] or sorted(
        name for name in archive.entries if name.startswith("models/") and name.endswith(".json")
    )
    if not names:
        raise LoadError(_not_a_program(archive), file=path)
    if len(names) > 1:
        raise LoadError(
            f"holds {len(names)} models ({', '.join(names[:3])}); save each in a file of its own", file=path
        )
    reader = Reader(path)
    whole = reader.mapping(_parsed(archive, names[0]), names[0])
    module = reader.mapping(whole.get("graph_module"), "graph_module")
    program = reader.program(module.get("graph"))
    stored = _stored(archive, reader)
    signature = reader.mapping(module.get("signature"), "signature")
    aliases, weights = _weights(reader, signature, program, stored)
    inputs = {name for name in program.inputs if name in aliases or name in program.values}
    kept = Program(
        tuple(name for name in program.inputs if name in inputs),
        program.calls,
        tuple(item for item in _returned(reader, signature) or program.outputs),
        program.values,
    )
    version = whole.get("torch_version")
    opset = whole.get("opset_version")
    aten = opset.get("aten", 0) if isinstance(opset, dict) else 0
    producer = f"torch.export {version}" if isinstance(version, str) else "torch.export"
    info = ModelInfo(path, producer[:80], 0, (("aten", aten if isinstance(aten, int) else 0),), archive.bytes)
    return written(kept, info, weights, aliases, _notices(program))


def _not_a_program(archive: Archive) -> str:
    inner = next((name for name in archive.entries if name.endswith((".pt2", ".zip", ".onnx"))), None)
    if inner is not None:
        return f"an archive that holds {inner!r}; unpack it and give the file inside"
    return "a zip archive without models/model.json, so no exported program; save one with torch.export.save"


def _parsed(archive: Archive, name: str) -> Any:
    data = archive.read(name, MOST_JSON_BYTES)
    items = data.count(b",") + data.count(b"[") + data.count(b"{")
    if items > MOST_JSON_ITEMS:
        raise LoadError(f"{items} items are more than the {MOST_JSON_ITEMS} this reads", file=archive.path, where=name)
    try:
        return json.loads(data)
    except RecursionError:
        raise LoadError("the JSON is nested too deep", file=archive.path, where=name) from None
    except (ValueError, UnicodeDecodeError) as error:
        raise LoadError(f"not JSON ({error}); export it again", file=archive.path, where=name) from None
    except MemoryError:
        raise LoadError("the JSON does not fit into memory", file=archive.path, where=name) from None


@dataclass(frozen=True, slots=True)
class _Stored:
    """What the archive says of one tensor. ``entry`` names where it lies: tied weights share it."""

    entry: str
    storage: Storage
    dtype: str
    shape: tuple[int, ...]


def _stored(archive: Archive, reader: Reader) -> dict[str, _Stored]:
    found: dict[str, _Stored] = {}
    for folder, name in _CONFIGS:
        if folder + name not in archive.entries:
            continue
        config = reader.mapping(_parsed(archive, folder + name), name)
        for weight, told in reader.mapping(config.get("config", config), name).items():
            item = reader.mapping(told, weight)
            meta = item.get("tensor_meta")
            if meta is None:
                continue
            dtype, shape = reader.tensor(meta, weight)
            entry = folder + reader.text(item.get("path_name"), weight)
            storage = _storage(archive, reader, weight, entry, item, dtype, shape)
            found[weight] = _Stored(f"{entry} {meta.get('storage_offset')} {shape}", storage, dtype, shape)
    return found


def _storage(
    archive: Archive,
    reader: Reader,
    weight: str,
    name: str,
    item: Mapping[str, Any],
    dtype: str,
    shape: tuple[int, ...],
) -> Storage:
    """Where the elements lie. Raises `LoadError` where the entry is not as large as the tensor needs."""
    if item.get("use_pickle"):
        return Absent(PICKLED)
    entry = archive.entries.get(name)
    if entry is None:
        return Absent(f"the archive has no entry {name!r}; export it again")
    if not entry.plain:
        return Absent("its bytes are compressed, which torch.export.save never does")
    meta = reader.mapping(item.get("tensor_meta"), weight)
    strides = tuple(reader.size(size, weight) for size in reader.items(meta.get("strides"), weight))
    offset = reader.size(meta.get("storage_offset"), weight)
    if len(strides) != len(shape) or offset < 0 or min(strides, default=0) < 0:
        raise reader.fail(f"strides {list(strides)} do not fit shape {list(shape)}", weight)
    last = (
        offset + sum((size - 1) * step for size, step in zip(shape, strides, strict=True))
        if prod(shape)
        else offset - 1
    )
    bits = BITS[dtype]
    if stored_bytes(last + 1, bits) > entry.size:
        raise LoadError(
            f"{entry.size} bytes stored, but shape {list(shape)} of {dtype} needs {stored_bytes(last + 1, bits)}",
            file=archive.path,
            where=weight,
        )
    length = stored_bytes(prod(shape), bits)
    start = entry.start + offset * bits // 8
    steps = zip(shape, strides, _row_major(shape), strict=True)
    if all(size < 2 or step == wanted for size, step, wanted in steps):
        return FileSlice(archive.path, start, length)
    whole = WeightRef(
        weight, dtype, (last + 1 - offset,), FileSlice(archive.path, start, (last + 1 - offset) * bits // 8)
    )
    return InMemory(partial(_strided, whole, shape, strides))


def _row_major(shape: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(prod(shape[axis + 1 :]) for axis in range(len(shape)))


def _strided(whole: WeightRef, shape: tuple[int, ...], strides: tuple[int, ...]) -> Any:
    """The elements of a tensor that is not stored row by row. Strides were checked against the stored bytes."""
    import numpy

    from graphneurons.load.reading import read

    flat = read(whole)
    if prod(shape) > flat.size:
        raise DataError(f"{prod(shape)} elements are read from {flat.size} stored ones", where=whole.name)
    steps = tuple(step * flat.itemsize for step in strides)
    return numpy.lib.stride_tricks.as_strided(flat, shape, steps, writeable=False)


def _weights(
    reader: Reader, signature: Mapping[str, Any], program: Program, stored: Mapping[str, _Stored]
) -> tuple[dict[str, str], dict[str, WeightRef]]:
    """Input of the graph -> weight, and the weights: what lies in one place of the archive is one weight."""
    aliases: dict[str, str] = {}
    weights: dict[str, WeightRef] = {}
    first: dict[str, str] = {}
    for item in reader.items(signature.get("input_specs"), "input_specs"):
        kind, spec = next(iter(reader.mapping(item, "input_specs").items()), ("", None))
        key = _TARGETS.get(kind)
        if key is None:
            continue
        spec = reader.mapping(spec, "input_specs")
        value = reader.text(reader.mapping(spec.get("arg"), kind).get("name"), kind)
        name = reader.text(spec.get(key), kind)
        known = program.values.get(value)
        if known is None:
            continue
        found = stored.get(name)
        shape = tuple(size for size in known.shape or () if isinstance(size, int))
        if found is not None and (found.shape, found.dtype) != (shape, known.dtype):
            raise reader.fail(f"stored as {found.dtype} {list(found.shape)}, used as {known.dtype} {list(shape)}", name)
        name = first.setdefault(found.entry, name) if found is not None else name
        aliases[value] = name
        storage = found.storage if found is not None else Absent(PICKLED)
        weights.setdefault(name, WeightRef(name, known.dtype, shape, storage, kind == "parameter"))
    return aliases, weights


_TARGETS = {"parameter": "parameter_name", "buffer": "buffer_name", "tensor_constant": "tensor_constant_name"}


def _returned(reader: Reader, signature: Mapping[str, Any]) -> list[Ref]:
    found: list[Ref] = []
    for item in reader.items(signature.get("output_specs"), "output_specs"):
        spec = reader.mapping(item, "output_specs").get("user_output")
        argument = spec.get("arg") if isinstance(spec, dict) else None
        tensor = argument.get("as_tensor") if isinstance(argument, dict) else None
        if isinstance(tensor, dict):
            found.append(Ref(reader.text(tensor.get("name"), "output_specs")))
    return found


def _notices(program: Program) -> list[Notice]:
    """Writes into views: what reads the viewed tensor later is not told of them."""
    advice = "run program.run_decompositions({}) and save again"
    return [
        Notice("in-place-view", call.name, f"{call.target} writes over memory that is read elsewhere; {advice}")
        for call in hidden_writes(program)
    ]

"""Lock files: what a model was when it was last agreed on, in JSON that can be reviewed."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from typing import Any, TypeVar

import numpy as np

from graphneurons.analysis import Analysis, Layer
from graphneurons.checks.stored import read_stored
from graphneurons.comparing.fingerprints import Fingerprint, Item, items_of
from graphneurons.comparing.pairing import without_matrix
from graphneurons.comparing.sketches import PROJECTIONS
from graphneurons.errors import UsageError, printable
from graphneurons.graph import ModelGraph
from graphneurons.wiring.records import Source

VERSION = 2
_SUM = frozenset(("junction",))
_MOST_SUMMANDS = 8
UNTOLD = "?"
"""In place of an activation, where it cannot be told whether there is one."""
_MOST_FOLLOWED = 24
_BENDING = frozenset({"sigmoid", "erf", "tanh", "softplus", "where", "greater", "exp", "relu", "clip", "silu", "gelu"})
_PASSING = frozenset({
    "reshape", "transpose", "split", "slice", "squeeze", "unsqueeze", "flatten", "cast", "identity", "add", "mul",
    "div", "splittosequence", "sequenceat", "view", "permute", "chunk", "getitem", "t",
})  # fmt: skip
_LARGEST = 1e100
"""Of the numbers of a fingerprint, so that what is computed of them stays finite."""
_WRITING = "`graphneurons lock MODEL -o LOCK`"


@dataclass(frozen=True, slots=True)
class Port:
    """An input or output: ``shape`` is what the file declares, ``?`` for what it does not."""

    name: str
    dtype: str
    shape: str


@dataclass(frozen=True, slots=True)
class LockedLayer:
    """What is kept of a layer but its weights. ``reads``: sources of its synapses, by name (of a sum, what is
    added). ``wires``: a digest of which of their neurons feed which synapse. ``activation``: ``?`` where it cannot be
    told."""

    id: str
    kind: str
    neurons: int
    synapses_per_neuron: int
    activation: str
    role: str
    dtype: str
    tied_to: str
    reads: tuple[str, ...]
    wires: str


@dataclass(frozen=True, slots=True)
class Lock:
    """What is kept of a model. ``items``: fingerprints of its weights, tables, modulators and unlabelled weights."""

    neurons: int
    synapses: int
    parameters: int
    inputs: tuple[Port, ...]
    outputs: tuple[Port, ...]
    layers: tuple[LockedLayer, ...]
    items: tuple[Item, ...]


@dataclass(frozen=True, slots=True)
class Reference:
    """What a model is compared with: a lock, or another model, whose weights can be read again."""

    lock: Lock
    analysis: Analysis | None = None


def reference_of(model: Any) -> Reference:
    """A lock, an analysis, or the path of a lock file or a model as something to compare with.

    Raises `UsageError` for a file that is neither, and `DataError` where bytes of weights are missing.
    """
    if isinstance(model, Reference):
        return model
    if isinstance(model, Lock):
        return Reference(model)
    if isinstance(model, str | os.PathLike) and os.fspath(model).lower().endswith(".json"):
        return Reference(read_lock(os.fspath(model)))
    if not isinstance(model, Analysis):
        from graphneurons.analyzing import analyze

        model = analyze(model)
    return Reference(lock(model), model)


def lock(analysis: Analysis) -> Lock:
    """What is to be kept of an analyzed model. Reads every weight once, in pieces; raises `DataError` where bytes are
    missing or cannot be read."""
    inputs, outputs = ports(analysis)
    summands = _summands(analysis)
    return Lock(
        analysis.totals.neurons,
        analysis.totals.synapses,
        analysis.totals.parameters,
        inputs,
        outputs,
        tuple(_locked(layer, analysis, summands) for layer in analysis.layers),
        tuple(items_of(analysis)),
    )


def _untold(layer: Layer, graph: ModelGraph) -> str:
    """`UNTOLD` if a part of an activation that an exporter may have written out follows a layer, through nothing but
    layout and arithmetic; ``""`` where the layer surely has none."""
    waiting, seen = [layer.op.output], set[str]()
    while waiting and len(seen) < _MOST_FOLLOWED:
        for op in graph.consumers.get(waiting.pop(), ()):
            kind = op.type.partition(".")[0].lower()
            if kind in _BENDING:
                return UNTOLD
            if kind in _PASSING and op.name not in seen:
                seen.add(op.name)
                waiting.extend(name for name in op.outputs if name)
    return ""


def ports(analysis: Analysis) -> tuple[tuple[Port, ...], tuple[Port, ...]]:
    """Inputs and outputs of a model."""
    graph = analysis.graph
    return (
        tuple(_port(value.name, value) for value in graph.inputs),
        tuple(_port(name, graph.declared.get(name)) for name in graph.outputs),
    )


def _port(name: str, value: Any) -> Port:
    shape = None if value is None else value.shape
    told = "?" if shape is None else "x".join("?" if size is None else str(size) for size in shape)
    return Port(name, "" if value is None else value.dtype, told)


def _locked(layer: Layer, analysis: Analysis, summands: Mapping[str, frozenset[str]]) -> LockedLayer:
    reads = {name for source in _sources(layer, analysis) for name in summands[source.name]}
    return LockedLayer(
        layer.id, layer.kind, layer.neurons, layer.synapses_per_neuron,
        layer.activation or _untold(layer, analysis.graph), layer.role or "",
        "+".join(dict.fromkeys(use.weight.dtype for use in layer.weights)), layer.tied_to or "",
        tuple(sorted(reads)), _wires(layer, analysis),
    )  # fmt: skip


def _summands(analysis: Analysis) -> Mapping[str, frozenset[str]]:
    """Every source -> what a lock says is read there: of a sum the few things that are added, else ``junction``."""
    wiring = analysis.wiring
    found: dict[str, frozenset[str]] = {}
    for source in wiring.sources:
        if source.kind != "junction":
            found[source.name] = frozenset((source.name,))
            continue
        junction = wiring.junction[source.id]
        places = {
            int(at)
            for member in junction.members
            for at in np.unique(np.searchsorted(wiring.bases, member[member >= 0], side="right") - 1)
        }
        members = [found.get(wiring.sources[at].name, _SUM) for at in sorted(places)]
        told = frozenset().union(*members)
        few = junction.kind == "sum" and 0 < len(told) <= _MOST_SUMMANDS
        found[source.name] = told if few and not told & _SUM else _SUM
    return found


def _sources(layer: Layer, analysis: Analysis) -> Iterator[Source]:
    for synapses in analysis.wiring.synapses.get(layer.id, ()):
        known = np.unique(synapses.neurons[synapses.neurons >= 0])
        for at in np.unique(np.searchsorted(analysis.wiring.bases, known, side="right")):
            yield analysis.wiring.sources[int(at) - 1]


def _wires(layer: Layer, analysis: Analysis) -> str:
    """A digest of which neuron of its source feeds every synapse, whatever sources are called and numbered; ``""``
    where that is not known of all, and for recurrent layers, whose directions exporters pack otherwise."""
    if layer.kind == "recurrent":
        return ""
    digest = hashlib.sha256()
    for synapses in analysis.wiring.synapses.get(layer.id, ()):
        numbers = synapses.neurons
        if (numbers < -1).any():
            return ""
        at = np.searchsorted(analysis.wiring.bases, numbers, side="right") - 1
        inside = np.where(numbers >= 0, numbers - analysis.wiring.bases[np.maximum(at, 0)], -1)
        _, order, ordinal = np.unique(np.where(numbers >= 0, at, -1), return_index=True, return_inverse=True)
        first_met = np.argsort(np.argsort(order))[ordinal.reshape(-1)]
        digest.update(np.stack((first_met, inside)).astype("<i8").tobytes())
    return digest.hexdigest()[:12]


def dumps(found: Lock) -> str:
    """A lock as JSON, one layer, weight or parameter per line, so that two of them compare line by line."""
    for item in found.items:
        numbers = (item.fingerprint.norm, item.fingerprint.total, *item.fingerprint.sketch)
        if not all(abs(each) <= _LARGEST for each in numbers):
            raise UsageError(f"its norm is larger than {_LARGEST:g}, which a lock cannot hold", where=item.name)
    lines = [f' "graphneurons_lock": {VERSION}']
    lines += [f' "{name}": {getattr(found, name)}' for name in ("neurons", "synapses", "parameters")]
    for name in ("inputs", "outputs"):
        lines.append(f' "{name}": {json.dumps([asdict(port) for port in getattr(found, name)])}')
    lines.append(f' "layers": {_listed([asdict(layer) for layer in found.layers])}')
    lines.append(f' "weights": {_listed([_told(item) for item in found.items])}')
    return "{\n" + ",\n".join(lines) + "\n}\n"


def _listed(entries: Sequence[Mapping[str, Any]]) -> str:
    if not entries:
        return "[]"
    return "[\n" + ",\n".join(f"  {json.dumps(entry, allow_nan=False)}" for entry in entries) + "\n ]"


def _told(item: Item) -> dict[str, Any]:
    named = {"of": item.holder, "kind": item.kind, "name": item.name, "aligned": item.of, "recurrent": item.recurrent}
    return {**named, **asdict(item.fingerprint)}


def read_lock(path: str) -> Lock:
    """The lock in a file. Raises `UsageError` for one that is damaged or of another version."""
    found = read_stored(path, "lock", VERSION, _WRITING)
    try:
        counts: dict[tuple[str, bool], int] = {}
        items = tuple(_item(each, counts) for each in _list(found, "weights"))
        return Lock(
            _number(found, "neurons"),
            _number(found, "synapses"),
            _number(found, "parameters"),
            tuple(_made(Port, each) for each in _list(found, "inputs")),
            tuple(_made(Port, each) for each in _list(found, "outputs")),
            tuple(_made(LockedLayer, each) for each in _list(found, "layers")),
            items,
        )
    except (TypeError, KeyError, ValueError) as error:
        raise UsageError(f"is a damaged lock: {printable(str(error))}", file=path) from None


def _item(given: Any, counts: dict[tuple[str, bool], int]) -> Item:
    if not isinstance(given, dict):
        raise ValueError("a weight is no object")
    named = {key: given.get(key) for key in ("of", "kind", "name", "aligned")}
    wrong = next((key for key, value in named.items() if not isinstance(value, str)), None)
    if wrong is not None or not isinstance(given.get("recurrent"), bool):
        raise ValueError(f"{wrong or 'recurrent'} is missing or of another type")
    rest = {key: value for key, value in given.items() if key not in named and key != "recurrent"}
    value = _made(Fingerprint, rest)
    if len(value.sketch) not in (0, PROJECTIONS):
        raise ValueError(f"sketch is no list of {PROJECTIONS} numbers")
    if not all(abs(each) <= _LARGEST for each in (value.norm, value.total, *value.sketch)):
        raise ValueError(f"a number of {value.rows} x {value.columns} weights is larger than {_LARGEST:g}, or none")
    mark = (str(named["of"]), named["kind"] in ("weight", "table", "stored"))
    counts[mark] = counts.get(mark, -1) + 1
    holder, kind, name, aligned = (str(each) for each in named.values())
    return Item(holder, kind, counts[mark], name, aligned, value, None, given["recurrent"])


def _list(given: Mapping[str, Any], name: str) -> list[Any]:
    if not isinstance(given[name], list):
        raise ValueError(f"{name} is no list")
    found: list[Any] = given[name]
    return found


def _number(given: Mapping[str, Any], name: str) -> int:
    value = given[name]
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < 1 << 63:
        raise ValueError(f"{name} is {printable(str(value), 60)}")
    return value


_KINDS: Mapping[str, tuple[type, ...]] = {
    "int": (int,), "str": (str,), "float": (int, float), "tuple[str, ...]": (str,), "tuple[float, ...]": (int, float),
}  # fmt: skip
Record = TypeVar("Record", Port, LockedLayer, Fingerprint)


def _made(record: type[Record], given: Any) -> Record:
    """``given``, with lists as tuples, as a ``record`` if it has its fields. Raises ValueError."""
    if not isinstance(given, dict):
        raise ValueError("a layer is no object")
    made: dict[str, Any] = {}
    for each in fields(record):
        value = given[each.name]
        kind = str(each.type)
        if kind.startswith("tuple"):
            if not isinstance(value, list):
                raise ValueError(f"{each.name} is no list")
            value = tuple(value)
        entries = value if isinstance(value, tuple) else (value,)
        if any(not isinstance(entry, _KINDS[kind]) or isinstance(entry, bool) for entry in entries):
            raise ValueError(f"{each.name} is {printable(str(value), 60)}")
        made[each.name] = value
    if set(given) - set(made):
        raise ValueError(f"unknown field {sorted(set(given) - set(made))[0]!r}")
    return record(**made)


def kept(found: Lock) -> Lock:
    """``found`` as it is when it was written and read back."""
    return replace(found, items=tuple(without_matrix(item) for item in found.items))

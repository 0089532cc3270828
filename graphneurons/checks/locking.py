"""Lock files: what a model was when it was last agreed on, in JSON that can be reviewed."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from graphneurons.analysis import Analysis, Layer
from graphneurons.checks.stored import read_stored
from graphneurons.errors import DataError, UsageError, printable
from graphneurons.health import Health, LayerHealth
from graphneurons.health import scan as scanned
from graphneurons.health.decoding import is_readable
from graphneurons.load.reading import read

if TYPE_CHECKING:
    pass

VERSION = 1
_LISTED = 16


@dataclass(frozen=True, slots=True)
class LockedLayer:
    """What is kept of a layer. ``reads``: sources of its synapses, by name. ``norms``: the L2 norms of its neurons in
    ascending order, at most 16 of them spread evenly, which no renaming, transposing or reordering changes; empty where
    the weights were not read. ``norm``: of the whole layer."""

    id: str
    kind: str
    neurons: int
    synapses_per_neuron: int
    activation: str
    role: str
    dtype: str
    tied_to: str
    reads: tuple[str, ...]
    norm: float
    norms: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Lock:
    """What is kept of a model. ``inputs`` and ``outputs`` are names."""

    neurons: int
    synapses: int
    parameters: int
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    layers: tuple[LockedLayer, ...]


def lock_of(model: Any) -> Lock:
    """The lock of a model, or the one in a lock file. Raises `UsageError` for a file that is neither.

    The weights are read to tell how far they drift; where their bytes are missing, only the structure is kept.
    """
    if isinstance(model, Lock):
        return model
    if isinstance(model, Analysis):
        return lock(model)
    from graphneurons.analyzing import analyze

    if isinstance(model, str | os.PathLike) and os.fspath(model).lower().endswith(".json"):
        return read_lock(os.fspath(model))
    return lock(analyze(model))


def lock(analysis: Analysis, health: Health | None = None) -> Lock:
    """What is to be kept of an analyzed model."""
    if health is None:
        try:
            health = scanned(analysis)
        except DataError:
            health = None
    measured: Mapping[str, LayerHealth] = {} if health is None else health.layer
    return Lock(
        analysis.totals.neurons,
        analysis.totals.synapses,
        analysis.totals.parameters,
        tuple(value.name for value in analysis.graph.inputs),
        tuple(analysis.graph.outputs),
        tuple(_locked(layer, analysis, measured.get(layer.id)) for layer in analysis.layers),
    )


def _locked(layer: Layer, analysis: Analysis, health: LayerHealth | None) -> LockedLayer:
    reads = dict.fromkeys(
        source.name if source.kind != "junction" else "junction" for source in _sources(layer, analysis)
    )
    norms: tuple[float, ...] = ()
    norm = 0.0
    if health is not None and health.neurons is not None and health.scanned:
        raw = np.nan_to_num(health.neurons.l2.astype(np.float64), nan=0.0, posinf=0.0)
        values = np.sort(raw * _normalising(layer, analysis, raw.size))
        norm = _short(float(np.sqrt(np.square(values).sum())))
        if values.size:
            places = np.linspace(0, values.size - 1, min(_LISTED, values.size)).round().astype(int)
            norms = tuple(_short(float(values[at])) for at in places)
    return LockedLayer(
        layer.id, layer.kind, layer.neurons, layer.synapses_per_neuron, layer.activation or "", layer.role or "",
        "+".join(dict.fromkeys(use.weight.dtype for use in layer.weights)), layer.tied_to or "",
        tuple(sorted(reads)), norm, norms,
    )  # fmt: skip


def _normalising(layer: Layer, analysis: Analysis, neurons: int) -> npt.NDArray[np.float64]:
    """What a batch normalisation that alone reads the layer multiplies its neurons by: the weights count as if it were
    folded into them, which exporters do or do not."""
    readers = analysis.graph.consumers.get(layer.op.output, ())
    op = readers[0] if len(readers) == 1 else None
    unchanged = np.ones(neurons)
    if op is None or op.type != "BatchNormalization" or op.domain or op.inputs[0] != layer.op.output:
        return unchanged
    gain, variance = (
        (analysis.graph.weights.get(op.inputs[at]) for at in (1, 4)) if len(op.inputs) == 5 else (None, None)
    )
    if gain is None or variance is None or not gain.elements == variance.elements == neurons:
        return unchanged
    if not is_readable(gain.dtype) or not is_readable(variance.dtype):
        return unchanged
    epsilon = op.attributes.get("epsilon", 1e-5)
    spread = read(variance).astype(np.float64).reshape(-1) + (epsilon if isinstance(epsilon, float) else 1e-5)
    with np.errstate(all="ignore"):
        found = np.abs(read(gain).astype(np.float64).reshape(-1)) / np.sqrt(spread)
    return np.where(np.isfinite(found), found, 1.0)


def _sources(layer: Layer, analysis: Analysis) -> Any:
    for synapses in analysis.wiring.synapses.get(layer.id, ()):
        known = np.unique(synapses.neurons[synapses.neurons >= 0])
        for at in np.unique(np.searchsorted(analysis.wiring.bases, known, side="right")):
            yield analysis.wiring.sources[int(at) - 1]


def _short(number: float) -> float:
    return float(f"{number:.6g}")


def dumps(found: Lock) -> str:
    """A lock as JSON, one layer per line, so that two of them compare line by line."""
    head = {"graphneurons_lock": VERSION, **{name: value for name, value in asdict(found).items() if name != "layers"}}
    lines = [f" {json.dumps(name)}: {json.dumps(value)}" for name, value in head.items()]
    layers = ",\n".join(f"  {json.dumps(asdict(layer), allow_nan=False)}" for layer in found.layers)
    return "{\n" + ",\n".join(lines) + f',\n "layers": [\n{layers}\n ]\n}}\n'


def read_lock(path: str) -> Lock:
    """The lock in a file. Raises `UsageError` for one that is damaged or of another version."""
    found = read_stored(path, "lock", VERSION, "`graphneurons lock MODEL -o LOCK`")
    try:
        layers = tuple(LockedLayer(**_checked(each, LockedLayer)) for each in found["layers"])
        rest = {name: value for name, value in found.items() if name not in ("graphneurons_lock", "layers")}
        return Lock(**_checked({**rest, "layers": ()}, Lock) | {"layers": layers})
    except (TypeError, KeyError, ValueError) as error:
        raise UsageError(f"is a damaged lock: {printable(str(error))}", file=path) from None


_KINDS: Mapping[str, tuple[type, ...]] = {
    "int": (int,), "str": (str,), "float": (int, float), "tuple[str, ...]": (str,), "tuple[float, ...]": (int, float),
}  # fmt: skip


def _checked(given: Any, record: type) -> dict[str, Any]:
    """``given`` with lists as tuples, if it has the fields of ``record``. Raises ValueError."""
    if not isinstance(given, dict):
        raise ValueError("a layer is no object")
    made: dict[str, Any] = {}
    for each in fields(record):
        value = given[each.name]
        kind = str(each.type)
        if kind.startswith("tuple"):
            if not isinstance(value, list | tuple):
                raise ValueError(f"{each.name} is no list")
            value = tuple(value)
        entries = value if isinstance(value, tuple) else (value,)
        expected = _KINDS.get(kind, (object,))
        if any(not isinstance(entry, expected) or isinstance(entry, bool) for entry in entries):
            raise ValueError(f"{each.name} is {printable(str(value), 60)}")
        made[each.name] = value
    if set(given) - set(made):
        raise ValueError(f"unknown field {sorted(set(given) - set(made))[0]!r}")
    return made

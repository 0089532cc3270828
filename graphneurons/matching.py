"""`match`: which layer of one model is which layer of another, and what the way from one to the other changed.

Layers are paired by content first: every neuron's synapses are hashed in one order (roles say which axis is which, so a
transposed copy is the same), and a layer is the multiset of its neurons' hashes, whatever their order. What is left is
paired by position in the wiring: in graph order, by size, kind and the part played.
"""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from functools import cached_property
from typing import Literal, Union

import numpy as np
import numpy.typing as npt

from graphneurons.analysis import Analysis, Layer, Lookup, WeightUse
from graphneurons.analyzing import analyze
from graphneurons.errors import DataError
from graphneurons.graph import ModelGraph
from graphneurons.load.reading import read

Model = Union[str, "os.PathLike[str]", ModelGraph, Analysis]
By = Literal["content", "position"]
Change = Literal[
    "renamed", "transposed", "reordered", "folded", "changed", "retyped", "split", "merged", "tied", "untied"
]
Hashes = npt.NDArray[np.uint64]

_CHUNK = 1 << 22
_CLOSE = 1e-4


@dataclass(frozen=True, slots=True)
class Pair:
    """Layer ``a`` of the first model is layer ``b`` of the second. ``changes``, in the order of `Change`:

    ``renamed``     the stored weights have other names     ``transposed``  their axes are in another order
    ``reordered``   the neurons are in another order (the gates of an LSTM)
    ``folded``      every neuron's synapses are multiplied by one number (a normalisation)
    ``changed``     the synapses are others                 ``retyped``     the element type is another
    ``split``       ``b`` holds a part of the neurons of ``a`` (or ``merged``: the other way round)
    ``tied``        only in the second model the weight is also used elsewhere (``untied``: only in the first)
    """

    a: str
    b: str
    by: By
    changes: tuple[Change, ...] = ()


@dataclass(frozen=True, slots=True)
class Match:
    """``pairs`` in the order of the first model; ``only_a`` and ``only_b`` are layers without a partner."""

    pairs: tuple[Pair, ...]
    only_a: tuple[str, ...] = ()
    only_b: tuple[str, ...] = ()

    @property
    def complete(self) -> bool:
        """Whether every layer of both models has a partner."""
        return not self.only_a and not self.only_b

    def partner(self, layer: str) -> str | None:
        """The layer of the second model that is ``layer`` of the first (the first one, where it was split)."""
        return next((pair.b for pair in self.pairs if pair.a == layer), None)


def match(a: Model, b: Model) -> Match:
    """Pairs the layers of two models: files, graphs or analyses. Reads their weights, one at a time.

    Weights without values (a model on the meta device, external data that is missing) are paired by position only.
    Raises `LoadError` for files that are no models.
    """
    first, second = _Side(_analysis(a)), _Side(_analysis(b))
    found = dict(_by_content(first, second))
    parts = list(_by_parts(first, second, found))
    taken_a = {*found, *(x for x, _, _ in parts)}
    taken_b = {*found.values(), *(y for _, y, _ in parts)}
    pairs = [Pair(x, y, "content", _changes(first, second, x, y)) for x, y in found.items()]
    pairs += [Pair(x, y, "content", (*_changes(first, second, x, y, partly=True), how)) for x, y, how in parts]
    for x, y in _by_position(first, second, taken_a, taken_b):
        pairs.append(Pair(x, y, "position", _changes(first, second, x, y)))
        taken_a.add(x)
        taken_b.add(y)
    order = {layer.id: number for number, layer in enumerate(first.layers)}
    return Match(
        tuple(sorted(pairs, key=lambda pair: order[pair.a])),
        tuple(layer.id for layer in first.layers if layer.id not in taken_a),
        tuple(layer.id for layer in second.layers if layer.id not in taken_b),
    )


def _analysis(model: Model) -> Analysis:
    return model if isinstance(model, Analysis) else analyze(model)


class _Side:
    """One model: its layers, and the hashes of their neurons, computed when they are first asked for."""

    def __init__(self, analysis: Analysis) -> None:
        self.analysis = analysis
        self.layers = analysis.layers
        self.by_id = {layer.id: layer for layer in analysis.layers}
        self._rows: dict[str, Hashes | None] = {}

    def rows(self, name: str) -> Hashes | None:
        """One hash per neuron and weight of a layer, in stored order; None where values cannot be told."""
        if name not in self._rows:
            found = [_hashes(use) for use in self.by_id[name].weights]
            known = [rows for rows in found if rows is not None]
            self._rows[name] = np.concatenate(known) if known and len(known) == len(found) else None
        return self._rows[name]

    def content(self, name: str) -> bytes | None:
        rows = self.rows(name)
        return None if rows is None else np.sort(rows).tobytes()

    @cached_property
    def shared(self) -> frozenset[str]:
        """Stored tensors more than one layer or lookup uses."""
        users: dict[str, set[str]] = defaultdict(set)
        items: tuple[Layer | Lookup, ...] = (*self.analysis.layers, *self.analysis.lookups)
        for item in items:
            for use in item.weights:
                users[use.weight.name].add(item.id)
        return frozenset(name for name, ids in users.items() if len(ids) > 1)


def matrix(use: WeightUse) -> npt.NDArray[np.float32] | None:
    """The stored weights as (neurons, synapses of each), both outermost factor first. None where no matrix can be made:
    a packed format, axes that are mixed, values that are missing."""
    factors = [factor for axis in use.axes for factor in axis.factors]
    if any(factor.role == "mixed" for factor in factors) or use.weight.dtype == "string":
        return None
    try:
        array = read(use.weight)
    except DataError:
        return None
    if use.part is not None:
        array = array[tuple(slice(start, stop) for start, stop in use.part)]
    sizes = [factor.size for factor in factors]
    if array.size != int(np.prod(sizes, dtype=object)):
        return None
    outer = [at for at, factor in enumerate(factors) if factor.role != "synapse"]
    inner = [at for at, factor in enumerate(factors) if factor.role == "synapse"]
    rows = int(np.prod([sizes[at] for at in outer], dtype=object))
    apart = np.asarray(array).reshape(sizes).transpose([*outer, *inner]).reshape(rows, -1)
    return apart.astype(np.float32, copy=False)


def _hashes(use: WeightUse) -> Hashes | None:
    found = matrix(use)
    if found is None:
        return None
    generator = np.random.default_rng(0x6E6575726F6E)
    mixing = generator.integers(1, 2**63, found.shape[1], dtype=np.uint64) * np.uint64(2) + np.uint64(1)
    hashes = np.empty(len(found), np.uint64)
    step = max(1, _CHUNK // max(1, found.shape[1]))
    for start in range(0, len(found), step):
        # Adding zero makes -0.0 and 0.0 one number.
        bits = (found[start : start + step] + np.float32(0)).view(np.uint32).astype(np.uint64)
        hashes[start : start + step] = ((bits ^ (bits << np.uint64(29))) * mixing).sum(axis=1, dtype=np.uint64)
    return hashes


def _by_content(first: _Side, second: _Side) -> Iterator[tuple[str, str]]:
    """Layers with the same neurons, those that are several times there in graph order."""
    waiting: dict[tuple[int, bytes], list[str]] = defaultdict(list)
    for layer in second.layers:
        content = second.content(layer.id)
        if content is not None:
            waiting[layer.neurons, content].append(layer.id)
    for layer in first.layers:
        content = first.content(layer.id)
        same = waiting.get((layer.neurons, content)) if content is not None else None
        if same:
            yield layer.id, same.pop(0)


def _by_parts(
    first: _Side, second: _Side, found: Mapping[str, str]
) -> Iterator[tuple[str, str, Literal["split", "merged"]]]:
    """Layers whose neurons are some of the neurons of a layer of the other model: packed query, key and value."""
    left = [layer for layer in first.layers if layer.id not in found and first.rows(layer.id) is not None]
    right = [
        layer for layer in second.layers if layer.id not in set(found.values()) and second.rows(layer.id) is not None
    ]
    for x in left:
        for y in right:
            if x.synapses_per_neuron == y.synapses_per_neuron and x.neurons != y.neurons:
                rows, others = first.rows(x.id), second.rows(y.id)
                larger, smaller = (rows, others) if x.neurons > y.neurons else (others, rows)
                if smaller is not None and larger is not None and bool(np.isin(smaller, larger).all()):
                    yield x.id, y.id, "split" if x.neurons > y.neurons else "merged"


def _by_position(first: _Side, second: _Side, taken_a: set[str], taken_b: set[str]) -> Iterator[tuple[str, str]]:
    """Layers of the same size, kind and part, in the same order."""
    left = [layer for layer in first.layers if layer.id not in taken_a]
    right = [layer for layer in second.layers if layer.id not in taken_b]
    matcher = SequenceMatcher(None, [_signature(x) for x in left], [_signature(y) for y in right], autojunk=False)
    for start, other, count in matcher.get_matching_blocks():
        for step in range(count):
            yield left[start + step].id, right[other + step].id


def _signature(layer: Layer) -> tuple[object, ...]:
    return layer.kind, layer.neurons, layer.synapses_per_neuron, layer.role


def _changes(first: _Side, second: _Side, x: str, y: str, *, partly: bool = False) -> tuple[Change, ...]:
    a, b = first.by_id[x], second.by_id[y]
    found: list[Change] = []
    if [use.weight.name for use in a.weights] != [use.weight.name for use in b.weights]:
        found.append("renamed")
    if _order(a.weights) != _order(b.weights):
        found.append("transposed")
    rows, others = first.rows(x), second.rows(y)
    if rows is not None and others is not None and not partly:
        if len(rows) == len(others) and np.array_equal(np.sort(rows), np.sort(others)):
            found.extend(["reordered"] if not np.array_equal(rows, others) else [])
        else:
            found.append("folded" if _scaled(a, b) else "changed")
    if {use.weight.dtype for use in a.weights} != {use.weight.dtype for use in b.weights}:
        found.append("retyped")
    tied = [any(use.weight.name in side.shared for use in layer.weights) for side, layer in ((first, a), (second, b))]
    if tied[0] != tied[1]:
        found.append("untied" if tied[0] else "tied")
    return tuple(found)


def _order(uses: Sequence[WeightUse]) -> set[tuple[str, ...]]:
    """Which of neurons and synapses comes first in the stored axes."""
    return {
        tuple(
            dict.fromkeys(
                f.role for axis in use.axes for f in axis.factors if f.role in ("neuron", "synapse") and f.size > 1
            )
        )
        for use in uses
    }


def _scaled(a: Layer, b: Layer) -> bool:
    """Whether every neuron of ``b`` is the neuron of ``a`` times a number."""
    if len(a.weights) != len(b.weights):
        return False
    for one, other in zip(a.weights, b.weights, strict=True):
        left, right = matrix(one), matrix(other)
        if left is None or right is None or left.shape != right.shape:
            return False
        at = np.abs(left).argmax(axis=1)[:, None]
        base = np.take_along_axis(left, at, 1)
        with np.errstate(all="ignore"):
            ratio = np.take_along_axis(right, at, 1) / base
        if not np.allclose(left * ratio, right, rtol=_CLOSE, atol=_CLOSE * float(np.abs(right).max(initial=0.0))):
            return False
    return True

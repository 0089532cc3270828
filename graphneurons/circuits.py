"""Attention counted as circuits: query and key neurons as one, value and output neurons as one.

A head only ever uses the products of its projections: ``W_QK = W_Q^T W_K``, which says between which tokens it looks,
and ``W_OV = W_O W_V``, which says what it moves (Elhage et al. 2021, "A Mathematical Framework for Transformer
Circuits"). Both are sums of terms of rank one, and such a term is what is counted here as one neuron:

- of the **QK circuit**, a query neuron with the key neuron it is multiplied with: one row of ``W_Q`` and one of
  ``W_K``, as many as there are query neurons. Where query heads share a key head, its rows are counted with each.
- of the **OV circuit**, a value neuron of one head with all that it writes: one row of ``W_V`` and one column of
  ``W_O``, as many as there are synapses in a row of ``W_O``.

With as many key and value heads as query heads, that is half the neurons of the projections, and all their synapses.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import reduce
from itertools import takewhile
from typing import Literal

import numpy as np

from graphneurons.analysis import Analysis, Layer
from graphneurons.wiring.records import Integers, Wiring
from graphneurons.wiring.segments import owners_of

_MOST_COMPARED = 64
_DEEPEST = 4


@dataclass(frozen=True, slots=True)
class Circuit:
    """``neurons`` x ``synapses_per_neuron`` = ``synapses``, of the projections ``layers`` (their ids)."""

    id: str
    kind: Literal["QK", "OV"]
    neurons: int
    synapses_per_neuron: int
    synapses: int
    layers: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Attention:
    query: Layer
    key: Layer
    value: Layer
    output: Layer
    query_neurons: int
    channels: int


def find_circuits(analysis: Analysis) -> tuple[Circuit, ...]:
    """The QK and the OV circuit of every attention all four projections of which are known, in the order of the graph.

    An attention is left to its projections where the sizes of packed ones cannot be told apart.
    """
    taken: set[str] = set()
    found: list[Circuit] = []
    for attention in _attentions(analysis):
        name = _free(_common_name(attention), taken)
        query, key, value, output = attention.query, attention.key, attention.value, attention.output
        found.append(
            _circuit(
                f"{name} QK",
                "QK",
                attention.query_neurons,
                query.synapses_per_neuron + key.synapses_per_neuron,
                (query, key),
            )
        )
        each = value.synapses_per_neuron + output.neurons
        found.append(_circuit(f"{name} OV", "OV", attention.channels, each, (value, output)))
    return tuple(found)


def merged(analysis: Analysis, circuits: Sequence[Circuit]) -> Analysis:
    """``analysis`` with ``circuits`` in place of the projections they are made of, and totals that count them so."""
    if not circuits:
        return analysis
    by_id = {layer.id: layer for layer in analysis.layers}
    at: dict[str, list[Layer]] = {}
    for circuit in circuits:
        members = [by_id[name] for name in circuit.layers]
        # A QK circuit stands where its query is, an OV circuit where its output is.
        place = members[0] if circuit.kind == "QK" else members[-1]
        at.setdefault(place.id, []).append(_as_layer(circuit, place, members))
    gone = {name for circuit in circuits for name in circuit.layers}
    layers = tuple(
        shown for layer in analysis.layers for shown in at.get(layer.id, () if layer.id in gone else (layer,))
    )
    counted = [layer for layer in layers if layer.tied_to is None]
    projected = [by_id[name] for name in gone if by_id[name].tied_to is None]
    synapses = sum(layer.synapses for layer in counted if layer.kind == "circuit")
    totals = replace(
        analysis.totals,
        neurons=sum(layer.neurons for layer in counted),
        synapses=analysis.totals.synapses - sum(layer.synapses for layer in projected) + synapses,
    )
    return replace(analysis, layers=layers, totals=totals)


def _circuit(name: str, kind: Literal["QK", "OV"], neurons: int, each: int, members: tuple[Layer, Layer]) -> Circuit:
    ids = tuple(dict.fromkeys(layer.id for layer in members))
    return Circuit(name, kind, neurons, each, neurons * each, ids)


def _as_layer(circuit: Circuit, place: Layer, members: Sequence[Layer]) -> Layer:
    tied = [layer.tied_to for layer in members if layer.tied_to is not None]
    return replace(
        place,
        id=circuit.id,
        kind="circuit",
        neurons=circuit.neurons,
        synapses_per_neuron=circuit.synapses_per_neuron,
        synapses=circuit.synapses,
        activation=None,
        weights=tuple(use for layer in members for use in layer.weights),
        tied_to=tied[0] if len(tied) == len(members) else None,
        role="query+key" if circuit.kind == "QK" else "value+output",
    )


def _attentions(analysis: Analysis) -> Iterator[_Attention]:
    order = {layer.id: number for number, layer in enumerate(analysis.layers)}
    playing: dict[str, list[Layer]] = {"query": [], "key": []}
    used: set[tuple[str, str]] = set()
    for layer in analysis.layers:
        parts = _parts(layer)
        for part in playing:
            if part in parts:
                playing[part].append(layer)
        if "output" not in parts:
            continue
        numbers = [synapses.neurons for synapses in analysis.wiring.synapses.get(layer.id, ())]
        values = _values(analysis, np.concatenate(numbers)) if numbers else []
        query, key = (_nearest(layer, playing[part], part, used, order) for part in ("query", "key"))
        if len(values) != 1 or query is None or key is None:
            continue
        value, distinct = values[0]
        channels = int(sum(part.size for part in numbers))
        neurons = _query_neurons(query, key, value, distinct, channels)
        if neurons is not None:
            used |= {("query", query.id), ("key", key.id)}
            yield _Attention(query, key, value, layer, neurons, channels)


def _parts(layer: Layer) -> frozenset[str]:
    return frozenset((layer.role or "").split("+"))


def _values(analysis: Analysis, numbers: Integers) -> list[tuple[Layer, int]]:
    """The value layers behind what an output projection reads, with how many of their neurons it reads."""
    wiring = analysis.wiring
    read: dict[str, Integers] = {}
    front = np.unique(numbers[numbers >= 0])
    for _ in range(_DEEPEST):
        inner = [np.zeros(0, dtype=np.int64)]
        for name, part in _by_source(wiring, front):
            source = wiring.source[name]
            if source.kind == "layer":
                read[name] = np.union1d(read.get(name, inner[0]), part)
            elif source.kind == "junction":
                inner += [member[part - source.base] for member in wiring.junction[source.id].members]
        known = np.concatenate(inner)
        front = np.unique(known[known >= 0])
        if not front.size:
            break
    found = ((analysis.layer(name), int(part.size)) for name, part in read.items())
    return [(layer, size) for layer, size in found if "value" in _parts(layer)]


def _by_source(wiring: Wiring, numbers: Integers) -> Iterator[tuple[str, Integers]]:
    owners = owners_of(wiring, numbers)
    for owner in np.unique(owners).tolist():
        yield wiring.sources[owner].name, numbers[owners == owner]


def _nearest(
    output: Layer, layers: Sequence[Layer], part: str, used: set[tuple[str, str]], order: dict[str, int]
) -> Layer | None:
    """Of the layers before ``output`` that play ``part`` in no other attention: in the nearest scope, the last."""
    free = [layer for layer in layers[-_MOST_COMPARED:] if (part, layer.id) not in used]
    if not free:
        return None
    return max(free, key=lambda layer: (len(_common(layer.scope, output.scope)), order[layer.id]))


def _query_neurons(query: Layer, key: Layer, value: Layer, distinct: int, channels: int) -> int | None:
    """How many of ``query``'s neurons are query neurons; None where that cannot be told.

    A layer that makes keys too makes, with grouped queries, as many of them as there are values; without, as many as
    there are queries.
    """
    rest = query.neurons - (distinct if query is value else 0)
    if query is not key:
        return query.neurons if query is not value else rest
    if channels == distinct:
        return rest // 2 if rest > 0 and rest % 2 == 0 else None
    neurons = rest - distinct
    return neurons if neurons == channels else None


def _common(first: tuple[str, ...], second: tuple[str, ...]) -> tuple[str, ...]:
    """The scope that both are in."""
    return tuple(name for name, _ in takewhile(lambda pair: pair[0] == pair[1], zip(first, second, strict=False)))


def _common_name(attention: _Attention) -> str:
    layers = (attention.query, attention.key, attention.value, attention.output)
    scope = reduce(_common, (layer.scope for layer in layers))
    return ".".join(scope) or attention.output.id


def _free(name: str, taken: set[str]) -> str:
    free, number = name, 1
    while free in taken:
        number += 1
        free = f"{name}#{number}"
    taken.add(free)
    return free

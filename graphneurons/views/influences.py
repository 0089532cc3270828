"""How strongly neurons act on each other, across one layer: for many neurons at once, so that weights are read once."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

import numpy as np

from graphneurons.analysis import Analysis, Layer
from graphneurons.views.blocks import Floats, Integers
from graphneurons.views.presynaptic import numbers_of
from graphneurons.views.values import Values, values_of
from graphneurons.wiring.records import Source, Synapses

MOST_HELD = 1 << 24
"""Weights of columns held at once."""

Influence = dict[int, float]
"""Global number of the other neuron -> weight, those of kernel taps and of a unit's gates added up."""


@dataclass
class Influences:
    """The weights of an analysis by global numbers (`graphneurons.wiring.records`). Packed or text weights raise
    `DataError` from `values`, data that cannot be read from the others."""

    analysis: Analysis
    _known: dict[str, Values] = field(default_factory=dict)

    def values(self, layer: str) -> Values:
        if layer not in self._known:
            self._known[layer] = values_of(self.analysis, self.analysis.layer(layer))
        return self._known[layer]

    def are_summed(self, layer: str) -> bool:
        """Whether several synapses from one neuron may be added up: kernel taps, gates."""
        found = self.values(layer)
        taps = any(size > 1 for laid in found.laid for size in laid.taps)
        return taps or found.layer.neurons != self.analysis.wiring.source[layer].size

    def readers(self, number: int) -> list[str]:
        """Ids of the layers that read neuron ``number``."""
        wired = self.analysis.wiring
        return [
            id
            for id, weights in wired.synapses.items()
            if id in wired.source and any((one.neurons == number).any() for one in weights)
        ]

    def incoming(self, layer: str, numbers: Iterable[int]) -> dict[int, Influence]:
        """For each of ``numbers`` (neurons of ``layer``) what acts on it."""
        values, source = self.values(layer), self.analysis.wiring.source[layer]
        rows = {number: rows_of(values.layer, source, number - source.base) for number in numbers}
        wanted = [neuron for own in rows.values() for neuron in own]
        read = dict(zip(wanted, values.rows(wanted), strict=True))
        found: dict[int, Influence] = {}
        for number, own in rows.items():
            total: Influence = {}
            for neuron in own:
                for tail, value in _summed(numbers_of(self.analysis, values, neuron), read[neuron]).items():
                    total[tail] = total.get(tail, 0.0) + value
            found[number] = total
        return found

    def outgoing(self, layer: str, numbers: Iterable[int]) -> dict[int, Influence]:
        """For each of ``numbers`` (neurons of anything) what it acts on in ``layer``."""
        values, source = self.values(layer), self.analysis.wiring.source[layer]
        distinct = list(dict.fromkeys(numbers))
        totals = {number: np.zeros(values.layer.neurons) for number in distinct}
        for synapses in self.analysis.wiring.synapses[layer]:
            if synapses.weight < len(values.laid):
                self._add(values, synapses, totals)
        return {number: _by_output(values.layer, source, total) for number, total in totals.items()}

    def _add(self, values: Values, synapses: Synapses, totals: dict[int, np.ndarray]) -> None:
        """Adds the columns of one weight that belong to the numbers of ``totals``."""
        places = [
            (number, group, first)
            for number in totals
            for group, first in _places(values, synapses, number)
        ]  # fmt: skip
        taps = _taps(values, synapses)
        share = values.layer.neurons // _groups(synapses)
        each = max(1, MOST_HELD // max(values.layer.neurons * taps, 1))
        for at in range(0, len(places), each):
            piece = places[at : at + each]
            columns = values.columns([first + tap for _, _, first in piece for tap in range(taps)])
            for index, (number, group, _) in enumerate(piece):
                own = slice(group * share, (group + 1) * share)
                totals[number][own] += columns[own, index * taps : (index + 1) * taps].sum(axis=1, dtype=np.float64)


def _groups(synapses: Synapses) -> int:
    return synapses.groups if synapses.groups > 1 and synapses.neurons.size % synapses.groups == 0 else 1


def _taps(values: Values, synapses: Synapses) -> int:
    width = synapses.neurons.size // _groups(synapses)
    return max(values.laid[synapses.weight].synapses // max(width, 1), 1)


def _places(values: Values, synapses: Synapses, number: int) -> Iterator[tuple[int, int]]:
    """(group, first synapse) of every channel that reads ``number``."""
    width, taps = synapses.neurons.size // _groups(synapses), _taps(values, synapses)
    for channel in np.flatnonzero(synapses.neurons == number).tolist():
        group, inside = divmod(channel, width)
        yield group, values.offsets[synapses.weight] + inside * taps


def rows_of(layer: Layer, source: Source, index: int) -> list[int]:
    """The rows that make output ``index``: one, or all gates of a recurrent unit."""
    if layer.neurons == source.size or not layer.units:
        return [index]
    gates = layer.neurons // source.size
    direction, inside = divmod(index, layer.units)
    return [(direction * gates + gate) * layer.units + inside for gate in range(gates)]


def _by_output(layer: Layer, source: Source, totals: np.ndarray) -> Influence:
    if layer.neurons != source.size and layer.units:
        gates = layer.neurons // source.size
        totals = totals.reshape(-1, gates, layer.units).sum(axis=1).reshape(-1)
    return {source.base + int(at): float(totals[at]) for at in np.flatnonzero(totals)}


def _summed(numbers: Integers, row: Floats) -> Influence:
    """A row by presynaptic neuron; constants and what is mixed left out."""
    known = numbers >= 0
    distinct, inverse = np.unique(numbers[known], return_inverse=True)
    totals = np.bincount(inverse, weights=row[known].astype(np.float64), minlength=distinct.size)
    return dict(zip(distinct.tolist(), totals.tolist(), strict=True))

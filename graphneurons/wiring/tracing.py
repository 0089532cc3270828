"""Both directions from one neuron: what it reads and what it feeds."""

from __future__ import annotations

import numpy as np

from graphneurons.errors import UsageError
from graphneurons.wiring.records import Source, Wiring

Neuron = tuple[str, int]
"""(name of the source, index in it)."""


def source_of(wiring: Wiring, name: str, neuron: int) -> Source:
    """The source called ``name``. Raises `UsageError` if there is none, or ``neuron`` is out of its range."""
    source = wiring.source.get(name)
    if source is None:
        raise UsageError(f"nothing in the wiring is called {name!r}")
    if not 0 <= neuron < source.size:
        raise UsageError(f"{name} has neurons 0 to {source.size - 1}, not {neuron}")
    return source


def reads(wiring: Wiring, name: str, neuron: int) -> list[tuple[Neuron, int]]:
    """((source, index), synapse channel or member) for everything neuron ``neuron`` of ``name`` reads.

    Every neuron of a layer reads every synapse channel of it, but for grouped ones, whose other groups hold no synapse.
    Constants are left out; ``mixed`` and ``unknown: reason`` are listed once per run.
    """
    source = source_of(wiring, name, neuron)
    found: dict[Neuron, int] = {}
    if source.kind == "junction":
        junction = wiring.junction[source.id]
        for position, member in enumerate(junction.members):
            found.setdefault(wiring.describe(int(member[neuron])), position)
    for synapses in wiring.synapses.get(name, ()):
        numbers, first = np.unique(synapses.channels_of(neuron, source.size), return_index=True)
        for number, at in sorted(zip(numbers.tolist(), first.tolist(), strict=True), key=lambda pair: pair[1]):
            found.setdefault(wiring.describe(number), at)
    return [(who, at) for who, at in found.items() if who[0] != "constant"]


def feeds(wiring: Wiring, name: str, neuron: int) -> list[tuple[Neuron, int]]:
    """((layer or junction, index), channel) for everything that reads neuron ``neuron`` of ``name`` directly.

    A layer is listed once per synapse channel, with index -1: all of its neurons (of that group) read it.
    """
    number = source_of(wiring, name, neuron).base + neuron
    found: list[tuple[Neuron, int]] = []
    for layer, weights in wiring.synapses.items():
        for synapses in weights:
            found.extend(((layer, -1), int(channel)) for channel in np.flatnonzero(synapses.neurons == number))
    for junction in wiring.junctions:
        indices = {int(index) for member in junction.members for index in np.flatnonzero(member == number)}
        found.extend(((f"junction:{junction.id}", index), index) for index in sorted(indices))
    return found

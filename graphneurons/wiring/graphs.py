"""The wiring in networkx: of whole layers, and of single neurons on demand."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from graphneurons.wiring.records import Integers, Wiring

if TYPE_CHECKING:
    import networkx


def as_networkx(wiring: Wiring) -> networkx.MultiDiGraph:
    """Nodes are names as reports write them (a layer's id, ``input:NAME``, ``lookup:ID``, ``junction:ID``), with
    attributes ``kind`` and ``size``; an edge runs from what sends to what receives, with attributes ``kind``
    (``"synapses"`` or ``"member"``), ``weight`` (position in ``Layer.weights``) or ``member`` (position in the
    junction), and ``channels``: over how many synapses or indices."""
    from networkx import MultiDiGraph

    graph = MultiDiGraph()
    for source in wiring.sources:
        graph.add_node(source.name, kind=source.kind, size=source.size)
    for layer, weights in wiring.synapses.items():
        for synapses in weights:
            for name, channels in _senders(wiring, synapses.neurons):
                graph.add_edge(name, layer, kind="synapses", weight=synapses.weight, channels=channels)
    for junction in wiring.junctions:
        for position, member in enumerate(junction.members):
            for name, channels in _senders(wiring, member):
                graph.add_edge(name, f"junction:{junction.id}", kind="member", member=position, channels=channels)
    return graph


def _senders(wiring: Wiring, numbers: Integers) -> list[tuple[str, int]]:
    """(name, how many numbers) of every source in ``numbers``, in order of first appearance."""
    known = numbers[numbers >= 0]
    bases = np.array([source.base for source in wiring.sources], dtype=np.int64)
    owners, first, counts = np.unique(
        np.searchsorted(bases, known, side="right") - 1, return_index=True, return_counts=True
    )
    order = np.argsort(first, kind="stable")
    return [(wiring.sources[int(owners[at])].name, int(counts[at])) for at in order]


def neuron_graph(wiring: Wiring, name: str, neuron: int, up: int = 1, down: int = 1) -> networkx.MultiDiGraph:
    """The neurons that feed neuron ``neuron`` of source ``name``, ``up`` levels back, and those it feeds, ``down``
    levels on. Nodes are ``(name, index)``; junctions count as a level of their own."""
    from networkx import MultiDiGraph

    from graphneurons.wiring.tracing import feeds, reads

    graph = MultiDiGraph()
    for levels, step, forward in ((up, reads, False), (down, feeds, True)):
        front = [(name, neuron)]
        graph.add_node((name, neuron))
        seen = set(front)
        for _ in range(levels):
            following = []
            for node in front:
                for other, channel in step(wiring, *node):
                    edge = (node, other) if forward else (other, node)
                    graph.add_edge(*edge, channel=channel)
                    if other not in seen:
                        seen.add(other)
                        following.append(other)
            front = following
    return graph

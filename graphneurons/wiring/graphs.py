"""The wiring in networkx: of whole layers, and of single neurons on demand."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from graphneurons.wiring.records import Integers, Wiring
from graphneurons.wiring.segments import owners_of

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
    owners, first, counts = np.unique(owners_of(wiring, numbers), return_index=True, return_counts=True)
    order = np.argsort(first, kind="stable")
    return [(wiring.sources[int(owners[at])].name, int(counts[at])) for at in order if owners[at] >= 0]


def neuron_graph(wiring: Wiring, name: str, neuron: int, up: int = 1, down: int = 1) -> networkx.MultiDiGraph:
    """The neurons that feed neuron ``neuron`` of source ``name``, ``up`` levels back, and those it feeds, ``down``
    levels on; junctions are a level of their own.

    Nodes are ``(name, index)``, and ``("mixed", 0)`` or ``("unknown: reason", 0)`` where no single neuron sends. Edges
    have the attributes ``port`` (position in ``Layer.weights``, or of the junction's member) and ``channel``. Layers
    are dense: two levels of a wide model are millions of edges.
    """
    from networkx import MultiDiGraph

    from graphneurons.wiring.tracing import feeds, readers, reads, source_of

    source_of(wiring, name, neuron)
    graph = MultiDiGraph()
    graph.add_node((name, neuron))
    among = readers(wiring) if down else {}
    for levels, forward in ((up, False), (down, True)):
        front = [(name, neuron)]
        seen = set(front)
        for _ in range(levels):
            following: list[tuple[str, int]] = []
            for node in front:
                if node[0] not in wiring.source:
                    continue
                for link in feeds(wiring, *node, among) if forward else reads(wiring, *node):
                    others = [(link.receiver, index) for index in link.receivers] if forward else [link.sender]
                    for other in others:
                        edge = (node, other) if forward else (other, node)
                        graph.add_edge(*edge, port=link.port, channel=link.channel)
                        if other not in seen:
                            seen.add(other)
                            following.append(other)
            front = following
    return graph

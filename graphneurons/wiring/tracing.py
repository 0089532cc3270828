"""Both directions from one neuron: what it reads and what it feeds, connection by connection."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from graphneurons.errors import UsageError
from graphneurons.wiring.records import CONSTANT, Integers, Source, Synapses, Wiring
from graphneurons.wiring.segments import owners_of

Neuron = tuple[str, int]
"""(name of the source, index in it)."""


@dataclass(frozen=True, slots=True)
class Connection:
    """``sender`` feeds the neurons ``receivers`` of ``receiver`` (a layer, or ``junction:ID``).

    ``port``: which of the layer's weights, or of the junction's members; ``channel``: which synapse channel, or index.
    The sender is ``("mixed", 0)`` or ``("unknown: reason", 0)`` where no single neuron is.
    """

    sender: Neuron
    receiver: str
    receivers: range
    port: int
    channel: int


@dataclass(frozen=True, slots=True)
class Port:
    """One weight of a layer, or one member of a junction: ``numbers[c]`` is what channel (or index) ``c`` reads."""

    receiver: str
    position: int
    numbers: Integers
    groups: int = 1

    def channels(self, neuron: int, neurons: int) -> range:
        """The channels that neuron ``neuron`` of ``neurons`` reads: of a junction, its own index."""
        return _share(neuron, neurons, self.groups, self.numbers.size)

    def neurons(self, channel: int, neurons: int) -> range:
        """The neurons, of ``neurons``, that read channel ``channel``."""
        return _share(channel, self.numbers.size, self.groups, neurons)


def _share(index: int, count: int, groups: int, others: int) -> range:
    if groups <= 1 or count % groups or others % groups:
        return range(others)
    group, width = index // (count // groups), others // groups
    return range(group * width, (group + 1) * width)


def source_of(wiring: Wiring, name: str, neuron: int) -> Source:
    """The source called ``name``. Raises `UsageError` if there is none, or ``neuron`` is out of its range."""
    source = wiring.source.get(name)
    if source is None:
        raise UsageError(f"nothing in the wiring is called {name!r}")
    if not 0 <= neuron < source.size:
        raise UsageError(f"{name} has neurons 0 to {source.size - 1}, not {neuron}")
    return source


def ports(wiring: Wiring, source: Source) -> Iterator[Port]:
    """What ``source`` reads with: nothing, if it is an input or a lookup."""
    if source.kind == "junction":
        yield from junction_ports(wiring, source.id)
    elif source.kind == "layer":
        yield from (_port(synapses) for synapses in wiring.synapses.get(source.id, ()))


def junction_ports(wiring: Wiring, junction: str) -> Iterator[Port]:
    found = wiring.junction[junction]
    for position, member in enumerate(found.members):
        # Index by index: every index of a junction is a group of its own.
        yield Port(f"junction:{junction}", position, member, max(1, found.size))


def _port(synapses: Synapses) -> Port:
    return Port(synapses.layer, synapses.weight, synapses.neurons, synapses.groups)


def readers(wiring: Wiring) -> Mapping[str, Sequence[Port]]:
    """Name of every source -> the ports that read any of its neurons. One pass over all connections."""
    found: dict[str, list[Port]] = {}
    every = [_port(synapses) for weights in wiring.synapses.values() for synapses in weights]
    every += [port for junction in wiring.junctions for port in junction_ports(wiring, junction.id)]
    for port in every:
        for owner in np.unique(owners_of(wiring, port.numbers)).tolist():
            if owner >= 0:
                found.setdefault(wiring.sources[owner].name, []).append(port)
    return found


def reads(wiring: Wiring, name: str, neuron: int) -> list[Connection]:
    """Everything neuron ``neuron`` of ``name`` reads, channel by channel.

    A neuron of a layer reads every synapse channel of it, but for grouped ones, where it reads those of its group; of
    recurrent layers a neuron is a unit. Channels that nobody feeds (constants) are left out, and those that are
    ``mixed``, or ``unknown`` for one reason, are listed once.
    """
    source = source_of(wiring, name, neuron)
    found: list[Connection] = []
    for port in ports(wiring, source):
        nobody: set[int] = {CONSTANT}
        for channel in port.channels(neuron, source.size):
            number = int(port.numbers[channel])
            if number in nobody:
                continue
            if number < 0:
                nobody.add(number)
            receivers = range(neuron, neuron + 1)
            found.append(Connection(wiring.describe(number), port.receiver, receivers, port.position, channel))
    return found


def feeds(
    wiring: Wiring, name: str, neuron: int, among: Mapping[str, Sequence[Port]] | None = None
) -> list[Connection]:
    """Everything that reads neuron ``neuron`` of ``name`` directly: synapse channels of layers, indices of junctions.

    ``among``: `readers` of the wiring, for who asks more than once.
    """
    number = source_of(wiring, name, neuron).base + neuron
    found: list[Connection] = []
    for port in (readers(wiring) if among is None else among).get(name, ()):
        size = wiring.source[port.receiver].size
        for channel in np.flatnonzero(port.numbers == number).tolist():
            receivers = port.neurons(channel, size)
            found.append(Connection((name, neuron), port.receiver, receivers, port.position, channel))
    return found

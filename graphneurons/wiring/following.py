"""The wiring around one layer or neuron, level by level, as stretches of connections."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from graphneurons.wiring.records import Integers, Source, Wiring
from graphneurons.wiring.segments import owners_of
from graphneurons.wiring.tracing import Port, ports

Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Stretch:
    """The channels (or, of a junction, indices) ``positions`` of one port, and the global ``numbers`` they read."""

    port: Port
    positions: Integers
    numbers: Integers


@dataclass(frozen=True, slots=True)
class Opened:
    """What one source reads, or what reads it, as met first: ``level`` steps from where one started.

    ``neurons`` are those of its indices that are meant, ascending.
    """

    level: int
    name: str
    neurons: Integers
    stretches: tuple[Stretch, ...]


Step = Callable[[Source, Mask], Iterator[tuple[Stretch, str, Integers]]]
"""From a source, and which of its indices, to every stretch of it, with the name and the indices of the other end."""


def upstream(wiring: Wiring, name: str, neurons: Integers, levels: int) -> list[Opened]:
    """What the ``neurons`` of source ``name`` read, and what those read, ``levels`` steps back; junctions are a step.

    Breadth first. An index is opened once, where it is met first, so that all of it costs what the wiring costs.
    """

    def step(source: Source, wanted: Mask) -> Iterator[tuple[Stretch, str, Integers]]:
        for port in ports(wiring, source):
            positions = np.flatnonzero(_shared(wanted, port.groups, port.numbers.size))
            numbers = port.numbers[positions]
            yield from _by_sender(wiring, Stretch(port, positions, numbers))

    return _levels(wiring, name, neurons, levels, step)


def downstream(
    wiring: Wiring, name: str, neurons: Integers, levels: int, among: Mapping[str, Sequence[Port]]
) -> list[Opened]:
    """What reads ``neurons`` of source ``name``, and what reads those, ``levels`` steps on. ``among``: `readers`."""

    def step(source: Source, wanted: Mask) -> Iterator[tuple[Stretch, str, Integers]]:
        for port in among.get(source.name, ()):
            own = (port.numbers >= source.base) & (port.numbers < source.base + source.size)
            positions = np.flatnonzero(own)
            positions = positions[wanted[port.numbers[positions] - source.base]]
            if not positions.size:
                continue
            reached = np.zeros(port.numbers.size, dtype=bool)
            reached[positions] = True
            size = wiring.source[port.receiver].size
            stretch = Stretch(port, positions, port.numbers[positions])
            yield stretch, port.receiver, np.flatnonzero(_shared(reached, port.groups, size))

    return _levels(wiring, name, neurons, levels, step)


def _levels(wiring: Wiring, name: str, neurons: Integers, levels: int, step: Step) -> list[Opened]:
    done: dict[str, Mask] = {}
    front: dict[str, Integers] = {name: neurons}
    found: list[Opened] = []
    for level in range(levels):
        following: dict[str, list[Integers]] = {}
        for sender, indices in front.items():
            source = wiring.source[sender]
            mask = done.setdefault(sender, np.zeros(source.size, dtype=bool))
            wanted = np.zeros(source.size, dtype=bool)
            wanted[indices] = True
            wanted &= ~mask
            if not wanted.any():
                continue
            mask |= wanted
            stretches = []
            for stretch, other, others in step(source, wanted):
                stretches.append(stretch)
                if other in wiring.source:
                    following.setdefault(other, []).append(others)
            found.append(Opened(level, sender, np.flatnonzero(wanted), tuple(stretches)))
        front = {other: np.unique(np.concatenate(parts)) for other, parts in following.items()}
    return found


def _by_sender(wiring: Wiring, stretch: Stretch) -> Iterator[tuple[Stretch, str, Integers]]:
    """The part of ``stretch`` that every sender has in it, in order of first appearance, with its indices."""
    owners = owners_of(wiring, stretch.numbers)
    every, first = np.unique(owners, return_index=True)
    for owner in every[np.argsort(first, kind="stable")].tolist():
        chosen = owners == owner
        part = Stretch(stretch.port, stretch.positions[chosen], stretch.numbers[chosen])
        if owner < 0:
            yield part, "", np.zeros(0, dtype=np.int64)
        else:
            source = wiring.sources[owner]
            yield part, source.name, np.unique(part.numbers - source.base)


def _shared(wanted: Mask, groups: int, others: int) -> Mask:
    """Which of ``others`` belong to a group that any wanted one belongs to: all of them, if there are no groups."""
    if groups <= 1 or wanted.size % groups or others % groups:
        return np.ones(others, dtype=bool) if wanted.any() else np.zeros(others, dtype=bool)
    return np.repeat(wanted.reshape(groups, -1).any(axis=1), others // groups)

"""What the wiring says: sources, junctions, the presynaptic neuron of every synapse, and both directions of it."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Literal

import numpy as np
import numpy.typing as npt

from graphneurons.quick import quick

if TYPE_CHECKING:
    import networkx

Integers = npt.NDArray[np.int64]

CONSTANT = -1
"""Nobody: padding, a constant, a zero."""

MIXED = -2
"""Several neurons met without a weight: token mixing, an average over channels, linear attention."""

FIRST_UNKNOWN = -3
"""This number and those below it stand for entries of `Wiring.reasons`: -3 for the first, -4 for the second, ..."""

SourceKind = Literal["layer", "input", "lookup", "junction"]
JunctionKind = Literal["sum", "product"]


@quick
@dataclass(frozen=True, slots=True)
class Source:
    """Something that sends: ``size`` neurons (or channels of an input, or entries of a table's width, or indices of a
    junction), numbered globally from ``base``."""

    kind: SourceKind
    id: str
    base: int
    size: int

    @property
    def name(self) -> str:
        """How reports write it: a layer's own id, ``input:NAME``, ``lookup:ID``, ``junction:ID``."""
        return self.id if self.kind == "layer" else f"{self.kind}:{self.id}"


@quick
@dataclass(frozen=True, slots=True)
class Junction:
    """Where several things meet index by index: residual sums, gates.

    ``members[m][i]`` is the global number of what member ``m`` contributes at index ``i`` (or CONSTANT, MIXED, or an
    unknown). ``op`` is the name of the op in which they meet.
    """

    id: str
    kind: JunctionKind
    size: int
    members: tuple[Integers, ...]
    op: str


@quick
@dataclass(frozen=True, slots=True)
class Synapses:
    """The presynaptic neurons of one weight of one layer.

    ``weight``: position in ``Layer.weights``; ``neurons[s]``: global number of what synapse ``s`` reads. Synapses are
    numbered over the channels the op contracts, in the order of the activation's own axes, all groups of a grouped
    convolution in full; kernel taps share their channel's source. ``groups``: how many equal runs neurons and channels
    fall into, each reading only its own.
    """

    layer: str
    weight: int
    neurons: Integers
    groups: int = 1

    def channels_of(self, neuron: int, neurons: int) -> Integers:
        """The numbers that one neuron of ``neurons`` reads: all channels, or those of its group."""
        if self.groups <= 1 or neurons % self.groups or self.neurons.size % self.groups:
            return self.neurons
        group = neuron // (neurons // self.groups)
        width = self.neurons.size // self.groups
        return self.neurons[group * width : (group + 1) * width]


@dataclass(frozen=True, slots=True)
class Segment:
    """A run of synapses (or of a junction's indices) ``[start, stop)`` fed alike.

    ``source``: as `Source.name` writes it, or ``constant``, ``mixed``, ``unknown: reason``. Synapse ``s`` reads neuron
    ``first + step * ((s - start) // repeat)`` of it, or ``neurons[s - start]`` where the map is irregular. ``repeat``
    is 0 where no neuron sends: a constant, mixed or unknown.
    """

    start: int
    stop: int
    source: str
    first: int = 0
    step: int = 0
    repeat: int = 1
    neurons: tuple[int, ...] | None = None

    @property
    def sent(self) -> bool:
        """Whether a neuron (or an input's channel, ...) sends it; False for what is constant, mixed or unknown."""
        return self.repeat > 0


@dataclass(frozen=True)
class Wiring:
    """All connections of a model. ``synapses`` is keyed by layer id; `graphneurons.wiring.tracing` goes both ways from
    one neuron."""

    sources: tuple[Source, ...]
    junctions: tuple[Junction, ...]
    synapses: Mapping[str, tuple[Synapses, ...]]
    reasons: tuple[str, ...] = ()

    @cached_property
    def _bases(self) -> list[int]:
        return [source.base for source in self.sources]

    @cached_property
    def bases(self) -> Integers:
        """The base of every source, ascending."""
        return np.array(self._bases, dtype=np.int64)

    @cached_property
    def source(self) -> Mapping[str, Source]:
        """Sources by the name reports write."""
        return {source.name: source for source in self.sources}

    @cached_property
    def junction(self) -> Mapping[str, Junction]:
        """Junctions by id."""
        return {junction.id: junction for junction in self.junctions}

    def locate(self, number: int) -> tuple[Source, int]:
        """The source that global ``number`` (>= 0) belongs to, and its index in it."""
        source = self.sources[bisect_right(self._bases, number) - 1]
        return source, number - source.base

    def describe(self, number: int) -> tuple[str, int]:
        """``(name, index)`` of a global number; ``("constant" | "mixed" | "unknown: reason", 0)`` where it is none."""
        if number >= 0:
            source, index = self.locate(number)
            return source.name, index
        if number == CONSTANT:
            return "constant", 0
        return ("mixed", 0) if number == MIXED else (f"unknown: {self.reasons[FIRST_UNKNOWN - number]}", 0)

    def segments(self, numbers: Integers) -> tuple[Segment, ...]:
        """``numbers`` in runs, as reports write them (see `graphneurons.wiring.segments`)."""
        from graphneurons.wiring.segments import segments_of

        return segments_of(self, numbers)

    def presynaptic(self, layer: str) -> Iterator[tuple[int, Segment]]:
        """(position of the weight, segment) for everything the synapses of ``layer`` read."""
        for synapses in self.synapses.get(layer, ()):
            for segment in self.segments(synapses.neurons):
                yield synapses.weight, segment

    @cached_property
    def nx(self) -> networkx.MultiDiGraph:
        """Layers, inputs, lookups and junctions as a networkx graph; see `graphneurons.wiring.graphs`."""
        from graphneurons.wiring.graphs import as_networkx

        return as_networkx(self)

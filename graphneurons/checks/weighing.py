"""The numbers of a layer's weight, a tile at a time, with the neuron and the channel that every one belongs to."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np
import numpy.typing as npt

from graphneurons.analysis import Analysis, Layer, WeightUse
from graphneurons.graph import Filled, Op, Sparse
from graphneurons.health.fetching import Files
from graphneurons.health.numbering import Tile, UnnumberedError, part_of, tiles
from graphneurons.health.weights import check_present, prepared

AT_ONCE = 1 << 18

Numbers = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class Piece:
    """``numbers`` (outer, upper, lower) of one tile; valid until the next is asked for. ``neurons`` and ``channels``
    number them as `graphneurons.health` does, and are of shapes that broadcast to it."""

    numbers: npt.NDArray[Any]
    neurons: Integers
    channels: Integers
    along: int

    def per_neuron(self, values: npt.NDArray[Any], into: Numbers) -> None:
        """Adds ``values``, one per number, to the entries of their neurons."""
        self.add(values.sum(axis=self.along, keepdims=True), into)

    def add(self, summed: npt.NDArray[Any], into: Numbers) -> None:
        """Adds what was summed up along one axis to the entries of the neurons."""
        np.add.at(into, np.broadcast_to(self.neurons, summed.shape), summed)

    def products(self, values: Numbers, vectors: Numbers) -> list[Numbers] | None:
        """Sums of ``values`` times each vector's entry for their channel, to be added to the neurons; None where the
        channels lie along other axes than the one that is summed."""
        if any(size > 1 for axis, size in enumerate(self.channels.shape) if axis != self.along):
            return None
        chosen = np.broadcast_to(vectors[:, self.channels.reshape(-1)], (len(vectors), values.shape[self.along]))
        if self.along == 2:
            made = values @ chosen.T
            return [made[..., at : at + 1] for at in range(len(vectors))]
        made = chosen @ values
        return [made[:, at : at + 1] for at in range(len(vectors))]


@dataclass(frozen=True, slots=True)
class Weighed:
    """What of a weight is known before it is read: how many neurons, channels and groups it has, its type, and how many
    kernel taps each channel has."""

    neurons: int
    channels: int
    groups: int
    taps: int
    elements: int
    dtype: str


def weighed(analysis: Analysis, layer: Layer, position: int, op: Op, files: Files) -> tuple[Weighed, Iterator[Piece]]:
    """The weight ``position`` of ``layer``, dequantized. Raises `UnnumberedError` where its numbers are not known, and
    `DataError` where its bytes are not there."""
    use = layer.weights[position]
    if isinstance(use.weight.storage, Filled | Sparse):
        raise UnnumberedError("its elements are not stored one by one")
    check_present(use)
    found = analysis.wiring.synapses.get(layer.id, ())
    groups = next((each.groups for each in found if each.weight == position), 1)
    weight = prepared(use, op, analysis.graph, groups, position, files, table=False)
    if weight.units == "steps":
        raise UnnumberedError("nothing tells its scale")
    numbering = weight.numbering

    def pieces() -> Iterator[Piece]:
        for tile in tiles(numbering, AT_ONCE):
            runs = (numbering.outer, numbering.upper, numbering.lower)
            yield Piece(
                weight.read(tile),
                _spread([run.neurons for run in runs], tile),
                _spread([run.channels for run in runs], tile),
                2 if numbering.upper_neurons else 1,
            )

    facts = Weighed(
        numbering.neurons, numbering.channels, numbering.groups, numbering.taps, numbering.elements, use.weight.dtype
    )
    return facts, pieces()


def _spread(numbers: list[Integers], tile: Tile) -> Integers:
    """What the three runs add, summed over a tile; stored once along runs that add nothing."""
    total: Integers = np.zeros((1, 1, 1), np.int64)
    for axis, (run, bounds) in enumerate(zip(numbers, (tile.outer, tile.upper, tile.lower), strict=True)):
        part = run[slice(*bounds)]
        view = [1, 1, 1]
        if (part == part[0]).all():
            part = part[:1]
        view[axis] = part.size
        total = total + part.reshape(view)
    return total


def is_tap(name: str) -> bool:
    """Whether a synapse factor of this name is a kernel tap."""
    return name[:1] == "k" and name[1:].isdigit()


def neuron_axis(use: WeightUse) -> int | None:
    """The first axis of the stored tensor that numbers neurons."""
    roles = ({factor.role for factor in axis.factors} for axis in use.axes)
    return next((at for at, found in enumerate(roles) if "neuron" in found), None)


def by_neuron(use: WeightUse, stored: npt.NDArray[Any]) -> npt.NDArray[Any] | None:
    """The used part of a stored tensor as a matrix (neurons, synapses); None where its axes do not tell them apart."""
    part = stored[tuple(slice(*bounds) for bounds in part_of(use))]
    factors = [factor for axis in use.axes for factor in axis.factors]
    known = all(factor.role in ("neuron", "shared", "synapse") for factor in factors)
    if not known or prod(factor.size for factor in factors) != part.size or len(use.axes) != stored.ndim:
        return None
    order = sorted(range(len(factors)), key=lambda at: (factors[at].role == "synapse", at))
    neurons = prod(factor.size for factor in factors if factor.role != "synapse")
    return part.reshape([factor.size for factor in factors]).transpose(order).reshape(neurons, -1)

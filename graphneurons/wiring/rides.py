"""What a walk of ids over the graph knows, and what it has found so far."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from graphneurons.axes import planes
from graphneurons.axes.labelling import OperandLabel
from graphneurons.axes.planes import Plane, Shape
from graphneurons.axes.resolving import Doing, Resolution
from graphneurons.wiring.features import Features
from graphneurons.wiring.records import CONSTANT, Integers, Source
from graphneurons.wiring.registry import Registry
from graphneurons.wiring.sending import Sender

PLAYED = frozenset({"linear", "attention"})
"""Kinds of rules in which activations meet whose parts are told by who sends them: query, key and value."""

Rider = Plane | int
"""The ids of a value; a bare number where its shape is not known and the number stands for all of it."""


class Reader(NamedTuple):
    """What one op has weights for: ``labels`` of its weight operands, and the ``sender`` of what it makes."""

    labels: Mapping[int, OperandLabel]
    sender: Sender


class View(NamedTuple):
    """Numbers as a plane of ``shape`` that stores them in the shape ``stored``, in another ``order`` (None: as they
    come)."""

    shape: Shape
    stored: Shape
    order: Integers | None


class Passage(NamedTuple):
    """What becomes of the one activation an op reads: how what leaves (``out``; None: what came, as it is) is a view of
    what came, or, where the op ``sends``, of its own neurons; the weight operands at which it ``arrives`` as it is;
    whether it is ``noted`` as a guest; and the modulating operands it ``aligns``: those that line up with all of it."""

    out: View | None
    arrives: tuple[int, ...]
    sends: bool
    noted: bool
    aligns: tuple[int, ...]


Alike = tuple[Doing, Shape, int, Sequence[int]]
"""What decides a passage: what the op does, how the ids are stored, labels of its weights, and its modulators."""


@dataclass
class Ride:
    """Everything a walk knows. ``readers``: op name -> one reader per sum of the op; ``modulated``: op name -> its
    modulator operands. Filled by the walk: ``arrived``: (op name, operand) -> what its synapses read; ``guests``:
    (op name, operand) -> ids on the operands of products and attention without weights; ``aligned``: op name ->
    operand of a modulator -> whose neurons its elements modulate, None where they are of several."""

    resolution: Resolution
    readers: Mapping[str, Sequence[Reader]]
    features: Features
    registry: Registry
    modulated: Mapping[str, Sequence[int]] = field(default_factory=dict)
    fed_back: Mapping[str, Plane] = field(default_factory=dict)
    aligned: dict[str, dict[int, Source | None]] = field(default_factory=dict)
    arrived: dict[tuple[str, int], Integers] = field(default_factory=dict)
    guests: dict[tuple[str, int], Rider] = field(default_factory=dict)
    riders: dict[str, Rider] = field(default_factory=dict)
    passages: dict[Alike, Passage | None] = field(default_factory=dict)
    _uniform: dict[tuple[Shape, int], Plane] = field(default_factory=dict)

    def of(self, name: str) -> Rider:
        """The ids of value ``name``: constants carry nobody."""
        rider = self.riders.get(name)
        if rider is not None:
            return rider
        return self.uniform(name, CONSTANT)

    def uniform(self, name: str, number: int) -> Rider:
        shape = self.resolution.shapes.get(name)
        if shape is None:
            return number
        plane = self._uniform.get((shape, number))
        if plane is None:
            plane = self._uniform[shape, number] = planes.constant(shape, number)
        return plane

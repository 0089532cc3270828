"""What a walk of ids over the graph knows, and what it has found so far."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from graphneurons.axes import planes
from graphneurons.axes.labelling import OperandLabel
from graphneurons.axes.planes import Plane, Shape
from graphneurons.axes.resolving import Doing, Resolution
from graphneurons.axes.steps import Step
from graphneurons.graph import Op
from graphneurons.wiring.aligning import aligned_plane
from graphneurons.wiring.features import Features
from graphneurons.wiring.records import CONSTANT, Integers
from graphneurons.wiring.registry import Registry
from graphneurons.wiring.sending import Sender

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
    whether it is ``noted`` as a guest; and how modulators are aligned with what leaves: (operand, view)."""

    out: View | None
    arrives: tuple[int, ...]
    sends: bool
    noted: bool
    aligns: tuple[tuple[int, View], ...]


Alike = tuple[Doing, Shape, int, Sequence[int]]
"""What decides a passage: what the op does, how the ids are stored, labels of its weights, and its modulators."""


@dataclass
class Ride:
    """Everything a walk knows. ``readers``: op name -> one reader per sum of the op; ``modulated``: op name -> its
    modulator operands. Filled by the walk: ``arrived``: (op name, operand) -> what its synapses read; ``guests``:
    (op name, operand) -> ids on the operands of products and attention without weights; ``aligned``: (op name, operand) of a modulator ->
    the neurons its elements modulate."""

    resolution: Resolution
    readers: Mapping[str, Sequence[Reader]]
    features: Features
    registry: Registry
    modulated: Mapping[str, Sequence[int]] = field(default_factory=dict)
    fed_back: Mapping[str, Plane] = field(default_factory=dict)
    aligned: dict[tuple[str, int], Plane] = field(default_factory=dict)
    arrived: dict[tuple[str, int], Integers] = field(default_factory=dict)
    guests: dict[tuple[str, int], Rider] = field(default_factory=dict)
    riders: dict[str, Rider] = field(default_factory=dict)
    passages: dict[Alike, Passage | None] = field(default_factory=dict)
    _uniform: dict[tuple[Shape, int], Plane] = field(default_factory=dict)
    _lined_up: dict[tuple[int, int, Shape, Shape, Shape], Shape] = field(default_factory=dict)

    def of(self, name: str) -> Rider:
        """The ids of value ``name``: constants carry nobody."""
        rider = self.riders.get(name)
        if rider is not None:
            return rider
        return self.uniform(name, CONSTANT)

    def lined_up(self, step: Step, op: Op, index: int, shape: Shape, result: Plane) -> Plane | None:
        """What every element of a modulator modulates. Of neurons along one axis, where that axis goes is worked out
        once."""
        data = result.data
        if result.first is None or data.size not in data.shape:
            return aligned_plane(step, op, index, shape, result)
        alike = (id(step), index, shape, result.shape, data.shape)
        stored = self._lined_up.get(alike)
        if stored is not None:
            return Plane(shape, data.reshape(stored), result.first)
        plane = aligned_plane(step, op, index, shape, result)
        if plane is not None and plane.first is not None and plane.data.size == data.size:
            self._lined_up[alike] = plane.data.shape
        return plane

    def uniform(self, name: str, number: int) -> Rider:
        shape = self.resolution.shapes.get(name)
        if shape is None:
            return number
        plane = self._uniform.get((shape, number))
        if plane is None:
            plane = self._uniform[shape, number] = planes.constant(shape, number)
        return plane

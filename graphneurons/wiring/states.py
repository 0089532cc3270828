"""What is known of every value while slots are tied: the slots of its axes."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field

from graphneurons.axes import planes
from graphneurons.axes.resolving import Resolution
from graphneurons.wiring.forms import Form
from graphneurons.wiring.landing import Landings
from graphneurons.wiring.slots import SINGLE, Ledger, Slots

MOST_AXES = 64

State = list["Slots | None"]
"""The slots of a value, axis by axis; None for an axis of a stored tensor that nothing has read yet."""


@dataclass
class Coupling:
    """What a walk knows: ``ledger`` of slots, ``states``: value name -> slots of its axes, where layout ops take
    axes (``landings``), and what rules say of ops (``forms``)."""

    resolution: Resolution
    ledger: Ledger = field(default_factory=Ledger)
    states: dict[str, State] = field(default_factory=dict)
    landings: Landings = field(init=False)
    forms: dict[Hashable, Form] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.landings = Landings(self.resolution)

    def state(self, name: str) -> State | None:
        """The slots of value ``name``; None where its shape is not known."""
        found = self.states.get(name)
        if found is None:
            shape = self.resolution.shapes.get(name)
            if shape is None or len(shape) > MOST_AXES:
                return None
            if name in self.resolution.graph.weights:
                found = [None if size > 1 else SINGLE for size in shape]
            else:
                found = [self.ledger.code("made by an op that is not followed")] * len(shape)
            self.states[name] = found
        return found

    def slots(self, name: str, axis: int) -> Slots:
        """The slots of one axis, made where nothing has read it yet."""
        state = self.states[name]
        found = state[axis]
        if found is None:
            found = state[axis] = self.made(self.resolution.shapes[name][axis])
        return found

    def made(self, size: int) -> Slots:
        try:
            return self.ledger.fresh(size)
        except planes.TooLargeError as error:
            return self.ledger.code(str(error))

    def fix(self, name: str, reason: str) -> None:
        """Nothing of value ``name`` can be cut. Axes that nothing has read stay unread."""
        for found in self.states.get(name, ()):
            if found is not None:
                self.ledger.fix(found, self.ledger.code(reason))

    def put(self, name: str, made: Sequence[Slots]) -> None:
        """What an op makes, where it fits the shape that the value has."""
        shape = self.resolution.shapes.get(name)
        if shape is None or len(shape) != len(made):
            for found in made:
                self.ledger.fix(found, self.ledger.code(f"{name!r} has a shape that is not known"))
            return
        state: State = []
        for found, size in zip(made, shape, strict=True):
            if isinstance(found, int) or found.size == size:
                state.append(found)
            else:
                code = self.ledger.code(f"{name!r} has another shape than the file declares")
                self.ledger.fix(found, code)
                state.append(code)
        self.states[name] = state

    def tied(self, axes: Sequence[tuple[str, int]], size: int, start: Slots | None = None) -> Slots:
        """Ties axes that are the same index by index; those nothing has read yet become that index."""
        common = start
        for name, axis in axes:
            found = self.states[name][axis]
            if found is not None:
                common = found if common is None else self.ledger.tie(common, found)
        if common is None:
            common = self.made(size)
        for name, axis in axes:
            if self.states[name][axis] is None:
                # An axis of a stored tensor keeps slots of its own even where it cannot be cut, so that it is reported.
                self.states[name][axis] = self.ledger.of_entry(common, size) if isinstance(common, int) else common
        return common

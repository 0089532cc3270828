"""`wire`: the sources of every synapse, from labels and one walk of ids over the graph (two where states loop)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from math import prod
from typing import NamedTuple

import numpy as np

from graphneurons.axes import planes
from graphneurons.axes.binding import Binding
from graphneurons.axes.labelling import EXPERT, OperandLabel
from graphneurons.axes.planes import Plane
from graphneurons.axes.resolving import Resolution
from graphneurons.axes.uses import Use
from graphneurons.graph import CONTROL, Op
from graphneurons.wiring.arriving import brought, given_constant, groups_of
from graphneurons.wiring.features import find_features
from graphneurons.wiring.records import Integers, Junction, SourceKind, Synapses, Wiring
from graphneurons.wiring.registry import Registry
from graphneurons.wiring.rides import Reader, Ride
from graphneurons.wiring.riding import walk
from graphneurons.wiring.sending import Sender, sending_factors


class Named(NamedTuple):
    """A layer, a lookup or a modulator before it is wired: its id, its op, the uses that make it, and the activation on
    what a layer makes."""

    id: str
    op: Op
    uses: tuple[Use, ...]
    activation: str | None = None

    @property
    def kind(self) -> str:
        return self.uses[0].kind


def wire(
    resolution: Resolution, layers: Sequence[Named], lookups: Sequence[Named], modulators: Sequence[Named] = ()
) -> tuple[Wiring, Ride]:
    """The wiring of a labelled graph, and the finished walk it was read off.

    Costs what the graph costs: no weight is read, nothing is enumerated by paths.
    """
    registry = Registry()
    readers: dict[str, list[Reader]] = {}
    kinds: Sequence[tuple[SourceKind, Sequence[Named]]] = (("layer", layers), ("lookup", lookups))
    for kind, items in kinds:
        for named in items:
            reader = _reader(registry, named, kind)
            if reader is not None:
                readers.setdefault(named.op.name, []).append(reader)
    labels: dict[str, Mapping[int, OperandLabel]] = {
        name: found[0].labels if len(found) == 1 else {i: label for each in found for i, label in each.labels.items()}
        for name, found in readers.items()
    }
    features = find_features(resolution, labels)
    carries = _carries(resolution)
    kept = frozenset(name for op, feedback in carries for name in (*op.inputs, *op.outputs, feedback))
    modulated: dict[str, tuple[int, ...]] = {}
    for item in modulators:
        before = modulated.get(item.op.name, ())
        modulated[item.op.name] = tuple(dict.fromkeys([*before, *[use.operand for use in item.uses]]))
    ride = Ride(resolution, readers, features, registry, modulated)
    walk(ride, kept)
    if carries:
        fed_back = _loops(ride, carries)
        registry.restart()
        ride = Ride(resolution, readers, features, registry, modulated, fed_back)
        walk(ride, kept)
        _close(ride, carries)
    return _gathered(ride, layers, registry), ride


def _reader(registry: Registry, named: Named, kind: SourceKind) -> Reader | None:
    first = named.uses[0]
    step = first.step
    if not isinstance(step, Binding) or (kind == "lookup" and step.rule.kind != "lookup"):
        # A table picked by constant positions is a constant where it is added.
        return None
    stage = first.stage
    labels, factors, size, copies = _reading(step, kind, stage, *[(use.operand, use.label) for use in named.uses])
    return Reader(labels, Sender(registry.source(kind, named.id, size), factors, stage, copies))


@lru_cache(maxsize=8192)
def _reading(
    step: Binding, kind: str, stage: int, *told: tuple[int, OperandLabel | None]
) -> tuple[Mapping[int, OperandLabel], tuple[str, ...], int, int]:
    """Of an op whose weight operands are labelled so: the labels, the factors that number what it sends, how many
    neurons those are in all, and of how many sets of them it picks one."""
    labels = {operand: label for operand, label in told if label is not None}
    made = [name for label in labels.values() for name, role in label.roles.items() if role in ("neuron", "shared")]
    factors = sending_factors(step, stage, frozenset(made))
    copies = max((label.sizes.get(EXPERT, 1) for label in labels.values()), default=1)
    if step.rule.kind == "attention":
        neurons = max(label.neurons for label in labels.values())
    else:
        neurons = prod(step.sizes[name] for name in factors)
    return labels if kind == "layer" else {}, factors, neurons * copies, copies


def _carries(resolution: Resolution) -> list[tuple[Op, str]]:
    found = []
    for op in resolution.graph.ops:
        feedback = op.attributes.get("feedback")
        if op.domain == CONTROL and op.type == "Carry" and isinstance(feedback, str) and op.output:
            found.append((op, feedback))
    return found


def _loops(ride: Ride, carries: Sequence[tuple[Op, str]]) -> dict[str, Plane]:
    """Ids for every carried state whose value of the next step is not its value of this one."""
    fed_back: dict[str, Plane] = {}
    for op, feedback in carries:
        before, after = ride.of(op.output), ride.of(feedback)
        if not isinstance(before, Plane):
            continue
        if not isinstance(after, Plane) or after.shape != before.shape:
            reason = "a state that changes its shape from step to step"
            fed_back[op.output] = planes.constant(before.shape, ride.registry.unknown(reason))
            continue
        stored = np.broadcast_shapes(before.data.shape, after.data.shape)
        if np.array_equal(np.broadcast_to(before.data, stored), np.broadcast_to(after.data, stored)):
            continue
        source = ride.registry.source("junction", op.name, prod(stored))
        numbers = np.arange(source.size, dtype=np.int64).reshape(stored) + source.base
        fed_back[op.output] = Plane(before.shape, numbers)
    return fed_back


def _close(ride: Ride, carries: Sequence[tuple[Op, str]]) -> None:
    """The junctions of carried states: the value before the first step, and what comes back."""
    for op, feedback in carries:
        looped = ride.fed_back.get(op.output)
        if looped is None or looped.data.reshape(-1)[0] < 0:
            continue
        stored = looped.data.shape
        members: list[Integers] = []
        for name in (op.inputs[0], feedback):
            rider = ride.of(name)
            data = rider.data if isinstance(rider, Plane) else np.full((1,) * len(stored), rider, dtype=np.int64)
            if any(size not in (1, room) for size, room in zip(data.shape, stored, strict=True)):
                reason = ride.registry.unknown("a state whose features change from step to step")
                data = np.full((1,) * len(stored), reason, dtype=np.int64)
            members.append(np.broadcast_to(data, stored).reshape(-1))
        ride.registry.junctions.append(Junction(op.name, "sum", int(looped.data.size), tuple(members), op.name))


def _gathered(ride: Ride, layers: Sequence[Named], registry: Registry) -> Wiring:
    synapses: dict[str, tuple[Synapses, ...]] = {}
    for named in layers:
        name, op = named.id, named.op.name
        found, at = [], 0
        for use in named.uses:
            if use.weight is not None:
                arrived = ride.arrived.get((op, use.operand))
                if arrived is not None:
                    found.append(Synapses(name, at, arrived, _groups(ride, named, use)))
                at += 1
        synapses[name] = tuple(found)
    junctions = {junction.id for junction in registry.junctions}
    sources = tuple(s for s in registry.sources if s.kind != "junction" or s.id in junctions)
    return Wiring(sources, tuple(registry.junctions), synapses, tuple(registry.reasons))


def _groups(ride: Ride, named: Named, use: Use) -> int:
    """How many runs of channels one weight's neurons read apart from each other."""
    step, label = use.step, use.label
    if label is None or not isinstance(step, Binding) or "shared" not in label.roles.values():
        return 1
    sender = next(item.sender for item in ride.readers[named.op.name] if item.sender.source.id == named.id)
    found = brought(step, use.operand, label, given_constant(ride.resolution, named.op))
    return groups_of(found[0][1], sender.factors, label) if len(found) == 1 else 1


__all__ = ["Named", "wire"]

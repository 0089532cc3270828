"""Ids on their way through ops that do the same: what one op did with neurons numbered in a row, the next one repeats.

Where an op reads one activation whose ids all differ, nothing about the ids decides what becomes of them: they are
looked at from another side. So how the first of many ops saw them (blocks of a deep model) holds of all others.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from graphneurons.axes.notation import Rule
from graphneurons.axes.planes import LARGEST, Plane, TooLargeError
from graphneurons.axes.resolving import Doing
from graphneurons.axes.rules.site import NoRule
from graphneurons.axes.steps import told_by_shapes
from graphneurons.graph import Op
from graphneurons.wiring.aligning import aligned_plane
from graphneurons.wiring.records import Integers, JunctionKind
from graphneurons.wiring.registry import are_apart
from graphneurons.wiring.rides import Passage, Reader, Ride, View


def passenger(ride: Ride, op: Op, doing: Doing) -> Plane | None:
    """What rides in on ``op``, where that is one activation only, of neurons numbered in a row."""
    fed = doing.fed
    rider = ride.riders.get(op.inputs[fed[0]]) if len(fed) == 1 else None
    if rider is None or isinstance(rider, int) or rider.first is None or rider.first < 0:
        return None
    return rider


_MEETING: Mapping[str, JunctionKind] = {"sum": "sum", "product": "product"}
"""Kinds of rules that only add or multiply what meets in them, and of the junction that is."""


def meets(ride: Ride, op: Op, doing: Doing) -> bool:
    """Makes the junction of two activations that ``op`` adds or multiplies, if that is plain: both are numbered in rows
    of one shape, and no neuron is in both. False, and nothing is done, if it is not."""
    step, names = doing.step, op.inputs
    if not len(names) == len(doing.fed) == 2 == len(op.outputs) + 1 or not isinstance(step, Rule):
        return False
    kind, shape = _MEETING.get(step.kind) if told_by_shapes(op, step) else None, doing.made[0]
    one, other = ride.riders.get(names[0]), ride.riders.get(names[1])
    if kind is None or not isinstance(one, Plane) or not isinstance(other, Plane):
        return False
    members = (one, other)
    if not one.shape == other.shape == shape or 2 * one.data.size > LARGEST or not are_apart(members):
        return False
    ride.riders[op.outputs[0]] = ride.registry.junction_of_all(kind, op.name, one.shape, members)
    return True


def follow(ride: Ride, op: Op, doing: Doing, passage: Passage, rider: Plane, readers: Sequence[Reader]) -> None:
    """Takes ``rider`` through ``op`` as ``passage`` says."""
    name, data, first = op.name, rider.data, rider.first or 0
    if passage.noted:
        ride.guests[name, doing.fed[0]] = rider
    if passage.arrives:
        arrived = data.reshape(-1)
        for operand in passage.arrives:
            ride.arrived[name, operand] = arrived
    if passage.sends:
        source = readers[0].sender.source
        first = source.base
        data = np.arange(first, first + source.size, dtype=np.int64)
    out = passage.out
    ride.riders[op.outputs[0]] = rider if out is None else _seen(out, data, first)
    if passage.aligns:
        ride.aligned[name] = dict.fromkeys(passage.aligns, ride.registry.owner_of_run(first, data.size))


def _seen(view: View, data: Integers, first: int) -> Plane:
    if view.order is not None:
        data = data.reshape(-1)[view.order]
    return Plane(view.shape, data.reshape(view.stored), first)


def passage_of(
    ride: Ride, op: Op, doing: Doing, rider: Plane, readers: Sequence[Reader], modulated: Sequence[int]
) -> Passage | None:
    """What just became of ``rider`` in ``op``, if that is all there is to say of it; None where more may decide."""
    made = ride.riders.get(op.output)
    if not told_by_shapes(op, doing.step) or len(op.outputs) != 1 or made is None or isinstance(made, int):
        return None
    arrives = tuple(operand for reader in readers for operand in reader.labels)
    numbers, first = rider.data.reshape(-1), rider.first or 0
    if len(readers) > 1 or not all(_are(ride.arrived.get((op.name, operand)), numbers) for operand in arrives):
        return None
    if readers:
        source = readers[0].sender.source
        numbers, first = np.arange(source.base, source.base + source.size, dtype=np.int64), source.base
    out = _view(made, numbers, first)
    if out is None or not all(_line_up(ride, op, doing, operand, made) for operand in modulated):
        return None
    noted = (op.name, doing.fed[0]) in ride.guests
    return Passage(None if made is rider else out, arrives, bool(readers), noted, tuple(modulated))


def _line_up(ride: Ride, op: Op, doing: Doing, operand: int, made: Plane) -> bool:
    """Whether the elements of a modulator line up with all the neurons that leave, one by one."""
    shape = ride.resolution.shapes.get(op.inputs[operand])
    try:
        plane = None if shape is None else aligned_plane(doing.step, op, operand, shape, made)
    except (NoRule, TooLargeError):
        return False
    return plane is not None and plane.first == made.first and plane.data.size == made.data.size


def _view(plane: Plane | None, numbers: Integers, first: int) -> View | None:
    """How ``plane`` stores ``numbers``, which are all different, from ``first`` on; None if it holds others."""
    if plane is None or plane.first != first or plane.data.size != numbers.size:
        return None
    stored = plane.data.reshape(-1)
    if np.array_equal(stored, numbers):
        return View(plane.shape, plane.data.shape, None)
    place = np.empty_like(numbers)
    place[numbers - first] = np.arange(numbers.size)
    return View(plane.shape, plane.data.shape, place[stored - first])


def _are(found: Integers | None, numbers: Integers) -> bool:
    return found is not None and np.array_equal(found, numbers)

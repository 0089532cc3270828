"""The walk: ids of neurons ride the graph, op by op, and what arrives at every weight is noted."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from math import prod
from typing import Any

import numpy as np

from graphneurons.axes import planes
from graphneurons.axes.binding import Binding
from graphneurons.axes.carrying import carry
from graphneurons.axes.layouts import LAYOUTS, RESHAPING, transposed
from graphneurons.axes.notation import Rule
from graphneurons.axes.planes import Plane, Shape
from graphneurons.axes.resolving import Doing
from graphneurons.axes.rules.site import NoRule
from graphneurons.axes.steps import CHOOSING, Featureless, Layout, Step, Unknown, payload
from graphneurons.graph import CONTROL, Op
from graphneurons.wiring.aligning import aligned_plane, modulated_source
from graphneurons.wiring.arriving import MOST_ALTERNATIVES, alternatives, arriving, brought, given_constant
from graphneurons.wiring.meeting import Guest, guest, meet
from graphneurons.wiring.passing import follow, meets, passage_of, passenger
from graphneurons.wiring.picking import picked
from graphneurons.wiring.records import CONSTANT, MIXED, Integers, JunctionKind
from graphneurons.wiring.registry import are_apart
from graphneurons.wiring.rides import PLAYED, Reader, Ride, Rider
from graphneurons.wiring.sending import Sender, sent

_PLAIN = frozenset(
    [
        "Shape",
        "Size",
        "ConstantOfShape",
        "EyeLike",
        "Range",
        "RandomNormal",
        "RandomUniform",
        "RandomNormalLike",
        "RandomUniformLike",
        "Iteration",
    ]
)


_SMALL = 64
"""Ids a rider may have to be left where it is: to find out that nobody needs it takes longer than it is worth."""


def walk(ride: Ride, kept: frozenset[str]) -> None:
    """Rides every op of the graph once. Riders of values no later op needs are dropped where they are large, except
    those in ``kept``."""
    graph = ride.resolution.graph
    readers = ride.resolution.readers
    for value in graph.inputs:
        ride.riders[value.name] = _input(ride, value.name)
    riders, passages = ride.riders, ride.passages
    for op, doing in ride.resolution.running:
        rider = passenger(ride, op, doing)
        if rider is None:
            if not meets(ride, op, doing):
                _ride(ride, op, doing)
        else:
            reading, modulated = ride.readers.get(op.name, ()), ride.modulated.get(op.name, ())
            alike = (doing, rider.data.shape, id(reading[0].labels) if reading else 0, modulated)
            passage = passages.get(alike)
            if passage is not None:
                follow(ride, op, doing, passage, rider, reading)
                if rider.data.size <= _SMALL:
                    continue
            else:
                _ride(ride, op, doing)
                if alike not in passages:
                    passages[alike] = passage_of(ride, op, doing, rider, reading, modulated)
        inputs = op.inputs
        for index in doing.fed:
            name = inputs[index]
            if name and readers[name][-1] is op and name not in kept:
                riders.pop(name, None)


def ride_on(ride: Ride, ops: Iterable[Op]) -> None:
    """Rides ``ops`` only, in this order, from the riders that are there: every other value carries nobody."""
    for op in ops:
        _ride(ride, op, ride.resolution.doing(op))


def _input(ride: Ride, name: str) -> Rider:
    shape = ride.resolution.shapes.get(name)
    axes = ride.features.axes.get(name)
    if shape is None:
        return ride.registry.unknown(f"the shape of input {name!r} is not known; give it with --shape")
    if axes is None:
        return planes.constant(shape, CONSTANT)
    stored = tuple(size if axis in axes else 1 for axis, size in enumerate(shape))
    source = ride.registry.source("input", name, prod(stored))
    return planes.run(shape, stored, source.base)


def _ride(ride: Ride, op: Op, doing: Doing) -> None:
    step = doing.step
    shapes, riders = ride.resolution.shapes, ride.riders
    try:
        made = _RIDES[type(step)](ride, op, step, doing)
    except (NoRule, planes.TooLargeError) as error:
        made = _stopped(ride, op, f"{op.qualified}: {error}")
    for index, name in enumerate(op.outputs):
        if name:
            rider = made[index] if index < len(made) else CONSTANT
            if isinstance(rider, Plane):
                if rider.shape == shapes.get(name):
                    riders[name] = rider
                    continue
                rider = ride.registry.unknown(f"{op.qualified} gives {name!r} another shape than the file declares")
            riders[name] = ride.uniform(name, rider)
    modulated = ride.modulated.get(op.name)
    if modulated:
        _align(ride, op, step, modulated)


def _align(ride: Ride, op: Op, step: Step, modulated: Sequence[int]) -> None:
    result = ride.riders.get(op.output)
    if not isinstance(result, Plane):
        return
    known: dict[object, Plane | None] = {}
    for index in modulated:
        shape = ride.resolution.shapes.get(op.inputs[index])
        if shape is None:
            continue
        axes = step.operands[index] if isinstance(step, Binding) and index < len(step.operands) else None
        if (shape, axes) not in known:
            known[shape, axes] = _lined_up(step, op, index, shape, result)
        plane = known[shape, axes]
        if plane is not None:
            ride.aligned.setdefault(op.name, {})[index] = modulated_source(ride.registry, plane)


def _lined_up(step: Step, op: Op, index: int, shape: Shape, result: Plane) -> Plane | None:
    try:
        return aligned_plane(step, op, index, shape, result)
    except (NoRule, planes.TooLargeError):
        return None


def _stopped(ride: Ride, op: Op, reason: str) -> list[Rider]:
    return [ride.registry.unknown(reason)] * len(op.outputs)


def _unknown(ride: Ride, op: Op, step: Unknown, doing: Doing) -> Sequence[Rider]:
    data = ride.of(op.inputs[0]) if op.inputs else CONSTANT
    shape = ride.resolution.shapes.get(op.output)
    indices = ride.resolution.shapes.get(op.inputs[1]) if len(op.inputs) > 1 else None
    passed = picked(op, data, indices, shape) if isinstance(data, Plane) and shape is not None else None
    return _stopped(ride, op, step.reason) if passed is None else [passed] + [CONSTANT] * (len(op.outputs) - 1)


def _featureless(ride: Ride, op: Op, step: Featureless, doing: Doing) -> Sequence[Rider]:
    if op.domain == CONTROL and op.type == "Entry":
        return [_input(ride, op.output)]
    if op.type in _PLAIN or not op.inputs:
        return [CONSTANT] * len(op.outputs)
    return _stopped(ride, op, f"{op.qualified} makes features of an index")


def _layout(ride: Ride, op: Op, step: Layout, doing: Doing) -> Sequence[Rider]:
    shape = ride.resolution.shapes.get(op.output)
    if op.type in RESHAPING and shape is not None:
        rider = ride.of(op.inputs[0])
        return [planes.reshape(rider, shape) if isinstance(rider, Plane) else rider]
    if op.type == "Transpose":
        rider = ride.of(op.inputs[0])
        return [transposed(op, rider) if isinstance(rider, Plane) else rider]
    given: list[Plane | None] = [None] * len(op.inputs)
    for index in payload(op):
        rider = ride.of(op.inputs[index]) if op.inputs[index] else CONSTANT
        if not isinstance(rider, Plane):
            return [rider] * len(op.outputs)
        given[index] = rider
    return LAYOUTS[op.type](ride.resolution.site(op), given, CONSTANT)


_JUNCTIONS: Mapping[str, JunctionKind] = {"product": "product"}


def _elementwise(ride: Ride, op: Op, step: Rule, doing: Doing) -> Sequence[Rider]:
    if step.kind == "map":
        if op.domain == CONTROL and op.output in ride.fed_back:
            return [ride.fed_back[op.output]]
        return [ride.of(op.inputs[0])]
    shape = ride.resolution.shapes.get(op.output)
    chosen = _chosen(ride, op, shape) if op.type in CHOOSING else None
    if chosen is not None:
        return [chosen]
    present: list[Plane] = []
    for index in doing.fed if shape is not None else range(len(op.inputs)):
        name = op.inputs[index]
        rider = ride.of(name) if name else CONSTANT
        if isinstance(rider, int) or shape is None:
            return [rider if isinstance(rider, int) and rider < MIXED else _shapeless(ride, name)]
        if op.type in CHOOSING and index == 0 and rider.is_constant:
            continue
        present.append(rider)
    if shape is None:
        return [_shapeless(ride, op.output)]
    if len(present) == 1 and present[0].shape == shape:
        return present
    kind = _JUNCTIONS.get(step.kind, "sum")
    if len(present) > 1 and all([rider.shape == shape for rider in present]) and are_apart(present):  # noqa: C419 - quicker
        return [ride.registry.junction_of_all(kind, op.name, shape, present)]
    return [meet(ride.registry, kind, op.name, shape, [guest(rider, shape) for rider in present])]


def _chosen(ride: Ride, op: Op, shape: Shape | None) -> Plane | None:
    """What a Where takes from its two operands, where its condition is known before the model runs."""
    condition = ride.resolution.values.get(op.inputs[0])
    sides = [ride.of(name) for name in op.inputs[1:]]
    if condition is None or shape is None or len(sides) != 2:
        return None
    data = [planes.broadcast(side, shape).data for side in sides if isinstance(side, Plane)]
    if len(data) != 2 or condition.ndim > len(shape):
        return None
    truth = condition.astype(bool).reshape((1,) * (len(shape) - condition.ndim) + condition.shape)
    planes.check_size(int(np.prod(np.broadcast_shapes(truth.shape, *(item.shape for item in data)), dtype=object)))
    return planes.tighten(Plane(shape, np.where(truth, data[0], data[1])))


def _shapeless(ride: Ride, name: str) -> int:
    return ride.registry.unknown(
        f"the shape of {name!r} is not known; give the dynamic dimensions with --dim or --shape"
    )


def _bound(ride: Ride, op: Op, step: Binding, doing: Doing) -> Sequence[Rider]:
    readers = ride.readers.get(op.name, ())
    for reader in readers:
        _note_arrivals(ride, op, step, reader)
    if readers:
        made = [
            _shapeless(ride, op.outputs[number]) if rider is None else rider
            for number, rider in enumerate(sent(step, [reader.sender for reader in readers], _shapes(ride, op)))
        ]
        return [
            _with_added(ride, op, step, doing, number, _any_copy(ride, op, readers[0].sender, rider))
            for number, rider in enumerate(made)
        ]
    return [_passed(ride, op, step, number, shape) for number, shape in enumerate(_shapes(ride, op))]


def _any_copy(ride: Ride, op: Op, sender: Sender, rider: Rider) -> Rider:
    """What leaves a layer of which the running model picks one of several sets of neurons: any of them."""
    if sender.copies == 1 or not isinstance(rider, Plane):
        return rider
    if sender.copies > MOST_ALTERNATIVES:
        return planes.constant(rider.shape, MIXED)
    each = sender.source.size // sender.copies
    members = [Plane(rider.shape, rider.data + each * copy) for copy in range(sender.copies)]
    return ride.registry.junction("sum", op.name, rider.shape, members)


def _with_added(ride: Ride, op: Op, step: Binding, doing: Doing, number: int, rider: Rider) -> Rider:
    """What a layer sends, where a modulator operand is no constant but an activation the op adds (a fused residual)."""
    result = step.results[number] if number < len(step.results) else None
    if not isinstance(rider, Plane) or result is None:
        return rider
    operands = step.rule.operands
    added = [index for index in doing.fed if index < len(operands) and operands[index].mark == "~"]
    guests = []
    for index in added:
        name, axes = op.inputs[index], step.operands[index]
        rides_in = ride.of(name) if name and name not in ride.resolution.constants else None
        if isinstance(rides_in, Plane) and axes is not None:
            guests.append(Guest(carry(rides_in, axes, result, rider.shape, step.sizes), rider.shape))
    if not guests:
        return rider
    return meet(ride.registry, "sum", op.name, rider.shape, [Guest(rider, rider.shape), *guests])


def _shapes(ride: Ride, op: Op) -> list[Shape | None]:
    return [ride.resolution.shapes.get(name) if name else None for name in op.outputs]


def _note_arrivals(ride: Ride, op: Op, step: Binding, reader: Reader) -> None:
    constant = given_constant(ride.resolution, op)
    for index, label in reader.labels.items():
        parts: list[Integers] = []
        for partner, names in brought(step, index, label, constant):
            if step.rule.operands[partner].mark == "<":
                parts.append(reader.sender.own_state(step, names))
                continue
            rider = ride.of(op.inputs[partner])
            if isinstance(rider, int):
                rider = planes.constant(_shape_like(step, partner), rider)
            parts.append(_arrived(ride, op, step, partner, names, rider))
        if not parts:
            count = label.size("synapse")
            reason = ride.registry.unknown(_why_nothing(ride, op))
            parts = [planes.constant((count,), reason).full()]
        ride.arrived[op.name, index] = parts[0] if len(parts) == 1 else np.concatenate(parts)


def _why_nothing(ride: Ride, op: Op) -> str:
    missing = [name for name in op.inputs if name and name not in ride.resolution.shapes]
    if missing:
        return f"the shape of {missing[0]!r} is not known; give the dynamic dimensions with --dim or --shape"
    return f"{op.qualified} feeds these synapses inside itself"


def _arrived(ride: Ride, op: Op, step: Binding, partner: int, names: tuple[str, ...], rider: Plane) -> Integers:
    arrived = arriving(step, partner, names, rider)
    numbers = arrived.data
    if arrived.first is not None or not (numbers == MIXED).any() or rider.only == MIXED:
        return numbers
    members = alternatives(step, partner, names, rider)
    if members is None:
        return numbers
    shape = (numbers.size,)
    return ride.registry.junction("sum", op.name, shape, [Plane(shape, member) for member in members]).data


def _shape_like(step: Binding, index: int) -> Shape:
    axes = step.operands[index] or ()
    shape = []
    for axis in axes:
        size = 1
        for name in axis:
            size *= step.sizes.get(name, 1)
        shape.append(size)
    return tuple(shape)


def _normalised(ride: Ride, plane: Plane) -> Plane:
    """What a softmax leaves: ids of layers and lookups along axes it does not run over. Whatever met before it (scores
    and their biases) is one mix of coefficients."""
    numbers = planes.distinct(plane.data)
    sends = {"layer", "lookup", "input"}
    if numbers[0] >= 0 and all(ride.registry.owner(int(number)).kind in sends for number in numbers):
        return plane
    return planes.constant(plane.shape, MIXED)


def _passed(ride: Ride, op: Op, step: Binding, number: int, shape: Shape | None) -> Rider:
    """Ids through a rule without weights: what every operand brings to result ``number``, and how it meets there."""
    rule = step.rule
    if number >= len(step.results) or rule.results[number].mark == "_":
        return CONSTANT
    if shape is None or step.results[number] is None:
        return _shapeless(ride, op.outputs[number])
    result = step.results[number] or ()
    mixed = frozenset() if rule.kind == "normalisation" else step.mixed
    guests: list[Guest] = []
    for index, pattern in enumerate(rule.operands):
        name = op.inputs[index] if index < len(op.inputs) else ""
        axes = step.operands[index]
        if pattern.mark in ("_", "%") or not name or name in ride.resolution.constants:
            continue
        rider = ride.of(name)
        if isinstance(rider, int) or axes is None:
            return rider if isinstance(rider, int) and rider < MIXED else _shapeless(ride, name)
        if rule.kind in PLAYED:
            ride.guests[op.name, index] = rider
        arrived = carry(rider, axes, result, shape, step.sizes, mixed)
        carried = {factor for axis in axes for factor in axis}
        own = tuple(size if set(axis) & carried else 1 for axis, size in zip(result, shape, strict=True))
        guests.append(Guest(arrived, own))
    if rule.kind == "softmax":
        return _normalised(ride, guests[0].plane) if guests else CONSTANT
    kind: JunctionKind = "sum" if rule.kind in ("sum", "select", "normalisation", "lookup", "map") else "product"
    return meet(ride.registry, kind, op.name, shape, guests)


_RIDES: Mapping[type, Callable[[Ride, Op, Any, Doing], Sequence[Rider]]] = {
    Rule: _elementwise,
    Binding: _bound,
    Layout: _layout,
    Featureless: _featureless,
    Unknown: _unknown,
}

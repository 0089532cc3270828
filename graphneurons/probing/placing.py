"""Which row of the data and which neuron stands at every place of a value: ids ride from inputs and layer to it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from math import prod
from typing import Any

import numpy as np
import numpy.typing as npt

from graphneurons.analysis import Analysis, Layer
from graphneurons.axes import planes
from graphneurons.axes.binding import Binding
from graphneurons.axes.labelling import EXPERT, OperandLabel, label_operand, stage_of
from graphneurons.axes.planes import Plane
from graphneurons.axes.resolving import Resolution
from graphneurons.axes.rules.site import NoRule
from graphneurons.errors import DataError, UsageError
from graphneurons.graph import ModelGraph, Op
from graphneurons.probing.records import Integers
from graphneurons.wiring.features import Features
from graphneurons.wiring.records import CONSTANT, FIRST_UNKNOWN, MIXED, Source
from graphneurons.wiring.registry import Registry
from graphneurons.wiring.rides import Ride
from graphneurons.wiring.riding import ride_on
from graphneurons.wiring.sending import Sender, sending_factors, sent


@dataclass(frozen=True, slots=True, eq=False)
class Places:
    """How a value of ``shape`` is read: ``row_axes`` and ``neuron_axes`` say where rows and neurons are, the rest are
    positions. ``row_order``, ``neuron_order``: where, along these axes flattened, row (neuron) 0, 1, ... stands."""

    shape: tuple[int, ...]
    row_axes: tuple[int, ...]
    neuron_axes: tuple[int, ...]
    row_order: Integers
    neuron_order: Integers
    rows: int

    @property
    def neurons(self) -> int:
        return int(self.neuron_order.size)

    @property
    def position_axes(self) -> tuple[int, ...]:
        taken = {*self.row_axes, *self.neuron_axes}
        return tuple(axis for axis in range(len(self.shape)) if axis not in taken)

    @property
    def positions(self) -> tuple[int, ...]:
        """Sizes of what is neither row nor neuron, without those of one: first what shares an axis with the rows."""
        merged = self.row_order.size // self.rows
        return tuple(size for size in (merged, *(self.shape[axis] for axis in self.position_axes)) if size > 1)

    def fitted(self, shape: tuple[int, ...], name: str) -> Places:
        """The same for the ``shape`` that value ``name`` turned out to have: how often a loop runs, or how many boxes a
        detector finds, is not told by a graph. Raises `DataError` where rows or neurons would be others."""
        fixed = {*self.row_axes, *self.neuron_axes}
        if len(shape) != len(self.shape) or any(shape[axis] != self.shape[axis] for axis in fixed):
            raise DataError(
                f"it has shape {list(shape)} where {list(self.shape)} was expected, so that its neurons cannot be told "
                "apart; give the sizes of dynamic dimensions with --dim",
                where=name,
            )
        return self if shape == self.shape else replace(self, shape=shape)

    def like(self, other: Places) -> Places:
        """The same with the positions that ``other`` has, which is of another number of rows."""
        taken = {*self.row_axes, *self.neuron_axes}
        return replace(
            self, shape=tuple(size if at in taken else other.shape[at] for at, size in enumerate(self.shape))
        )

    def read(self, value: npt.NDArray[Any], name: str) -> npt.NDArray[Any]:
        """``value`` as (rows, positions, neurons). Raises `DataError` where it has another shape than was told."""
        if value.shape != self.shape:
            raise DataError(
                f"it has shape {list(value.shape)} for some rows and {list(self.shape)} for others; give rows that are "
                "alike in a call of their own",
                where=name,
            )
        order = (*self.row_axes, *self.position_axes, *self.neuron_axes)
        middle = prod(self.shape[axis] for axis in self.position_axes)
        lined_up = value.transpose(order).reshape(self.row_order.size, middle, self.neurons)
        return lined_up[self.row_order][:, :, self.neuron_order].reshape(self.rows, -1, self.neurons)


def arranged(rows: Plane, neurons: Plane, count: int, size: int) -> Places | str:
    """How to read a value in which ``count`` rows and ``size`` neurons stand as the planes say; or why rows are not
    where they can be told apart. Raises `UsageError` where neurons are not."""
    row_axes, row_ids = _along(rows)
    neuron_axes, neuron_ids = _along(neurons)
    if set(row_axes) & set(neuron_axes):
        return "rows of the data and neurons share one axis"
    if count > 1 and not np.array_equal(np.bincount(row_ids, minlength=count), [row_ids.size // count] * count):
        return "the rows of the data are not all there equally often"
    if not np.array_equal(np.sort(neuron_ids), np.arange(size)):
        raise UsageError("not every neuron of the layer is there once")
    row_order = np.argsort(row_ids, kind="stable")
    return Places(rows.shape, row_axes, neuron_axes, row_order, np.argsort(neuron_ids, kind="stable"), count)


def _along(plane: Plane) -> tuple[tuple[int, ...], Integers]:
    """The axes a plane varies on, and what stands along them."""
    return tuple(axis for axis in range(len(plane.shape)) if plane.varies(axis)), plane.data.reshape(-1)


def rows_at(resolution: Resolution, axes: Mapping[str, int], value: str) -> Plane | str:
    """The row of the data at every place of ``value``, where rows lie along ``axes`` of the inputs; or why that cannot
    be told."""
    registry = Registry()
    count = max(resolution.shapes[name][axis] for name, axis in axes.items())
    registry.source("input", "rows", count)
    start = {name: planes.along(resolution.shapes[name], axis) for name, axis in axes.items()}
    found = _carried(resolution, registry, start, value, "rows of the data", _mixes)
    return _everywhere(found) if isinstance(found, Plane) else found


def neurons_at(resolution: Resolution, analysis: Analysis, layer: Layer, value: str) -> Plane:
    """The neuron of ``layer`` at every place of ``value``, numbered as the wiring does.

    Raises `UsageError` where the op keeps what its neurons put out inside, or where they cannot be followed.
    """
    op = resolution.graph.producer[layer.op.output]
    source = analysis.wiring.source.get(layer.id)
    step = resolution.steps[op.name]
    if source is None or not isinstance(step, Binding):
        raise _refused(analysis, layer, "what it puts out cannot be told")
    if step.rule.kind == "attention":
        raise _refused(
            analysis, layer, f"{op.qualified} mixes what its neurons put out before it can be read; probe a layer "
            "after it, or export without fusing attention"
        )  # fmt: skip
    try:
        sender, stage = _sender(analysis, step, layer)
    except NoRule as error:
        raise _refused(analysis, layer, str(error)) from None
    if sender.copies > 1:
        raise _refused(
            analysis, layer, "the running model picks which expert answers, so that no place belongs to one neuron"
        )
    if stage != len(step.sums) - 1:
        raise _refused(analysis, layer, f"{op.qualified} keeps what these neurons put out inside")
    registry = Registry()
    registry.source("layer", layer.id, source.size)
    shapes = [resolution.shapes.get(name) if name else None for name in op.outputs]
    riders = sent(step, [sender], shapes)
    start = {
        name: rider for name, rider in zip(op.outputs, riders, strict=False) if name and isinstance(rider, Plane)
    }
    if not start:
        raise _refused(analysis, layer, "the shape of what it puts out is not known; give sizes with --dim or --shape")
    found = _carried(resolution, registry, start, value, "neurons")
    if isinstance(found, Plane) and (found.data == CONSTANT).any():
        found = f"in parts of {value!r} stands no neuron"
    if isinstance(found, str):
        raise _refused(analysis, layer, found)
    return found


def _everywhere(rows: Plane) -> Plane | str:
    """``rows`` where some places are nobody's (a class token put before every sequence): they belong to the row that
    stands all along the axis in which rows differ."""
    if not (rows.data == CONSTANT).any():
        return rows
    for axis in range(len(rows.shape)):
        others = tuple(at for at in range(len(rows.shape)) if at != axis)
        line = rows.data.max(axis=others, keepdims=True)
        if (line != CONSTANT).all() and ((rows.data == line) | (rows.data == CONSTANT)).all():
            return Plane(rows.shape, line)
    return "it does not depend on the rows of the data everywhere"


def _refused(analysis: Analysis, layer: Layer, why: str) -> UsageError:
    return UsageError(f"its neurons cannot be read: {why}", file=analysis.model.path, where=layer.id)


def _sender(analysis: Analysis, step: Binding, layer: Layer) -> tuple[Sender, int]:
    """What numbers the neurons of ``layer``, from 0; and which of the op's sums makes them."""
    labels: list[OperandLabel] = [label_operand(step, use.input) for use in layer.weights]
    stage = max(stage_of(step, use.input) for use in layer.weights)
    made = frozenset(
        name for label in labels for name, role in label.roles.items() if role in ("neuron", "shared")
    )
    factors = sending_factors(step, stage, made)
    experts = [f.size for use in layer.weights for axis in use.axes for f in axis.factors if f.name == EXPERT]
    size = analysis.wiring.source[layer.id].size
    return Sender(Source("layer", layer.id, 0, size), factors, stage, max(experts, default=1)), stage


def between(graph: ModelGraph, start: Sequence[str], value: str) -> Iterator[Op]:
    """The ops on all ways from ``start`` to ``value``, in graph order."""
    needed, waiting = {value}, [value]
    while waiting:
        maker = graph.producer.get(waiting.pop())
        for name in () if maker is None else maker.inputs:
            if name and name not in needed:
                needed.add(name)
                waiting.append(name)
    reached = set(start)
    for op in graph.ops:
        if any(name in needed for name in op.outputs) and any(name in reached for name in op.inputs):
            new = [name for name in op.outputs if name and name not in start]
            reached.update(new)
            if new:
                yield op


def _carried(
    resolution: Resolution,
    registry: Registry,
    start: Mapping[str, Plane],
    value: str,
    what: str,
    mixes: Callable[[Ride, Op], bool] = lambda ride, op: False,
) -> Plane | str:
    ride = Ride(resolution, {}, Features({}), registry)
    ride.riders.update(start)
    for op in between(resolution.graph, list(start), value):
        if mixes(ride, op):
            return f"{op.qualified} {op.name!r} mixes {what}"
        ride_on(ride, [op])
    found = ride.of(value)
    if not isinstance(found, Plane):
        return "the shape of what it puts out is not known; give sizes with --dim or --shape"
    last = registry.sources[0].size
    numbers = planes.distinct(found.data)
    if numbers.size and numbers[0] >= 0 and numbers[-1] < last:
        return found
    if not numbers.size or numbers[-1] >= last:
        return f"different {what} meet before {value!r}"
    if numbers[0] == MIXED:
        return f"{what} are mixed before {value!r}"
    if numbers[0] == CONSTANT:
        return found
    return registry.reasons[FIRST_UNKNOWN - int(numbers[0])]


def _mixes(ride: Ride, op: Op) -> bool:
    """Whether ``op`` computes along an axis that the riders vary on, though the wiring lets them pass: the steps of a
    sequence, and what is normalised together."""
    step = ride.resolution.steps[op.name]
    if not isinstance(step, Binding) or step.rule.kind not in ("recurrent", "normalisation"):
        return False
    along = frozenset({"t"}) if step.rule.kind == "recurrent" else step.mixed
    rider = ride.of(op.inputs[0]) if op.inputs and op.inputs[0] else CONSTANT
    axes = step.operands[0] or ()
    return isinstance(rider, Plane) and any(
        rider.varies(axis) and along & set(names) for axis, names in enumerate(axes) if axis < len(rider.shape)
    )

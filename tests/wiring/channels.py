"""Which neuron stands where in what a layer puts out, and which synapse every place of what it reads belongs to."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np
import numpy.typing as npt

from graphneurons.analysis import Analysis, Layer, Lookup, WeightUse
from graphneurons.axes.binding import Binding, Factors
from graphneurons.axes.labelling import OperandLabel, label_operand
from graphneurons.axes.notation import AxisPattern
from graphneurons.axes.resolving import Resolution
from graphneurons.graph import Op
from graphneurons.wiring.records import Source

Integers = npt.NDArray[np.int64]
Shape = tuple[int, ...]


@dataclass(frozen=True)
class Sent:
    """``numbers``: value name -> the neuron at every place of it (-1 for none), broadcastable to the value's shape."""

    source: Source
    numbers: Mapping[str, Integers]

    @property
    def present(self) -> Integers:
        """The neurons that stand anywhere: experts nobody picked do not."""
        return np.unique(np.concatenate([np.unique(found) for found in self.numbers.values()]))


@dataclass(frozen=True)
class Operand:
    """One activation a weight contracts: ``value``, its factors per axis, and the factors that number its channels.

    ``start``: number of the first synapse of the weight that reads it.
    """

    value: str
    axes: tuple[Factors, ...]
    names: tuple[str, ...]
    sizes: Mapping[str, int]
    start: int

    @property
    def count(self) -> int:
        return prod(self.sizes[name] for name in self.names)

    def widest(self, change: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """The largest ``change`` of the operand in every channel."""
        names: list[str] = []
        apart: list[int] = []
        for factors, size in zip(self.axes, change.shape, strict=True):
            names.extend(factors or ("",))
            apart.extend([size] if len(factors) <= 1 else [self.sizes[name] for name in factors])
        data = change.reshape(apart)
        data = data.max(axis=tuple(i for i, name in enumerate(names) if name not in self.names), keepdims=True)
        kept = [names.index(name) for name in self.names if name in names]
        data = data.reshape([data.shape[i] for i in range(data.ndim) if names[i] in self.names])
        present = [name for name in names if name in self.names]
        data = data.transpose([present.index(name) for name in self.names if name in present])
        assert len(kept) == data.ndim
        view = iter(data.shape)
        data = data.reshape([next(view) if name in present else 1 for name in self.names])
        return np.broadcast_to(data, [self.sizes[name] for name in self.names]).reshape(-1)


@dataclass(frozen=True)
class Reading:
    """The synapses of weight number ``weight`` of ``layer``. ``own``: they read what the op itself put out before."""

    layer: str
    weight: int
    operands: tuple[Operand, ...]
    own: bool

    @property
    def count(self) -> int:
        return sum(operand.count for operand in self.operands)


def labels_of(layer: Layer | Lookup, binding: Binding) -> dict[int, OperandLabel]:
    return {use.input: label_operand(binding, use.input) for use in layer.weights}


def readings(analysis: Analysis, resolution: Resolution, shapes: Mapping[str, Shape]) -> Iterator[Reading]:
    """Every weight of every layer with the operands it contracts, in the order their channels are numbered. ``shapes``:
    of the values while the model runs."""
    ops = {op.name: op for op in analysis.graph.ops}
    for layer in analysis.layers:
        binding = resolution.steps[layer.op.name]
        assert isinstance(binding, Binding), layer.id
        op = ops[layer.op.name]
        for position, use in enumerate(layer.weights):
            label = label_operand(binding, use.input)
            found: list[Operand] = []
            own = False
            for index, pattern in enumerate(binding.rule.operands):
                if index == use.input or not pattern.contracts:
                    continue
                axes = binding.operands[index]
                if pattern.mark == "<":
                    state = {name for axis in pattern.axes for name in axis.factors}
                    own = own or any(label.roles.get(name) == "synapse" for name in state)
                    continue
                if index >= len(op.inputs) or not op.inputs[index] or op.inputs[index] in resolution.constants:
                    continue
                if axes is None and pattern.axes:
                    axes = _by_rank(pattern.axes, len(shapes[op.inputs[index]]))
                if axes is None:
                    continue
                names = _channels(binding, label, axes)
                if _has_experts(use):
                    names = tuple(name for name in names if label.roles.get(name) == "synapse")
                if names:
                    start = sum(operand.count for operand in found)
                    found.append(Operand(op.inputs[index], axes, names, binding.sizes, start))
            yield Reading(layer.id, position, tuple(found), own)


def _by_rank(patterns: Sequence[AxisPattern], rank: int) -> tuple[Factors, ...]:
    """The factors of an operand whose shape only the running model tells."""
    spare = rank - sum(not axis.variadic for axis in patterns)
    return tuple(names for axis in patterns for names in ([()] * spare if axis.variadic else [axis.factors]))


def _channels(binding: Binding, label: OperandLabel, axes: Sequence[Factors]) -> tuple[str, ...]:
    sums = {name for result in binding.sums for axis in result or () for name in axis}
    names = [name for axis in axes for name in axis]
    own = [n for n in names if n in label.roles or (label.packed is not None and n not in sums)]
    if any(label.roles.get(name, "synapse") == "synapse" for name in own):
        return tuple(dict.fromkeys(own))
    return ()


def senders(analysis: Analysis, resolution: Resolution, values: Mapping[str, Any]) -> Iterator[Sent]:
    """Every source that can be cut, with the numbers of its neurons. ``values``: what the model computes."""
    shapes = {name: value.shape for name, value in values.items() if isinstance(value, np.ndarray)}
    by_name = analysis.wiring.source
    ops = {op.name: op for op in analysis.graph.ops}
    last = {layer.op.name: layer for layer in analysis.layers}
    made: list[tuple[str, Layer | Lookup]] = [(layer.id, layer) for layer in last.values()]
    made.extend((f"lookup:{lookup.id}", lookup) for lookup in analysis.lookups)
    for name, item in made:
        source = by_name.get(name)
        binding = resolution.steps[item.op.name]
        if source is None or not isinstance(binding, Binding):
            continue
        if isinstance(item, Lookup) and binding.rule.kind != "lookup":
            continue
        numbers = {
            value: found
            for index, value in enumerate(ops[item.op.name].outputs)
            if value in shapes and (found := _sent(binding, item, source, index, shapes[value])) is not None
        }
        picked = _picked_experts(analysis, ops[item.op.name], item, values)
        if picked is not None:
            numbers = {value: _of_experts(found, picked, source.size) for value, found in numbers.items()}
        if numbers:
            yield Sent(source, numbers)
    for value in analysis.graph.inputs:
        source = by_name.get(f"input:{value.name}")
        if source is not None and value.name in shapes:
            yield Sent(source, {value.name: _of_input(shapes[value.name], source.size)})


def _sent(binding: Binding, item: Layer | Lookup, source: Source, index: int, shape: Shape) -> Integers | None:
    result = binding.results[index] if index < len(binding.results) else None
    if result is None:
        return None
    if binding.rule.kind == "attention":
        # Query, key and value rows lie one after the other; what leaves the op are the values.
        width = shape[-1]
        return None if len(shape) != 3 else np.arange(source.size - width, source.size).reshape(1, 1, width)
    roles = {name: role for label in labels_of(item, binding).values() for name, role in label.roles.items()}
    made = [
        name for sums in binding.sums for axis in sums or () for name in axis if roles.get(name) in ("neuron", "shared")
    ]
    kept = {name for axes in binding.results for axis in axes or () for name in axis}
    factors = [name for name in dict.fromkeys(made) if name in kept]
    present = [name for axis in result for name in axis]
    if not set(factors) <= set(present):
        return None
    weight = {}
    stride = prod(binding.sizes[name] for name in factors)
    for name in factors:
        stride //= binding.sizes[name]
        weight[name] = stride
    numbers = np.zeros((1,) * len(shape), dtype=np.int64)
    for axis, names in enumerate(result):
        if not any(name in weight for name in names):
            continue
        sizes = [binding.sizes[name] for name in names]
        digits = np.unravel_index(np.arange(prod(sizes)), sizes)
        line = sum(weight.get(name, 0) * digit for name, digit in zip(names, digits, strict=True))
        view = [1] * len(shape)
        view[axis] = prod(sizes)
        numbers = numbers + np.asarray(line, dtype=np.int64).reshape(view)
    return numbers


def _picked_experts(analysis: Analysis, op: Op, item: Layer | Lookup, values: Mapping[str, Any]) -> Integers | None:
    """Which expert computes each place of the leading axis, where experts are picked from a stack as the model runs."""
    for use in item.weights if isinstance(item, Layer) else ():
        if not _has_experts(use):
            continue
        maker = analysis.graph.producer.get(op.inputs[use.input])
        while maker is not None and maker.type not in ("Gather", "GatherND"):
            maker = analysis.graph.producer.get(maker.inputs[0])
        if maker is not None:
            return np.asarray(values[maker.inputs[1]], dtype=np.int64).reshape(-1)
    return None


def _has_experts(use: WeightUse) -> bool:
    return any(factor.name == "expert" for axis in use.axes for factor in axis.factors)


def _of_experts(numbers: Integers, picked: Integers, size: int) -> Integers:
    """``numbers`` count every pick as an expert of its own; made the numbers of the experts picked."""
    width = (int(numbers.max()) + 1) // picked.size
    experts = picked[numbers // width]
    found: Integers = np.where(experts < 0, experts + size // width, experts) * width + numbers % width
    return found


def _of_input(shape: Shape, size: int) -> Integers:
    """Which axes of an input hold its features is not said; their sizes multiply to that of the source."""
    rank = len(shape)
    subsets = [[axis for axis in range(rank) if bits >> axis & 1] for bits in range(1, 1 << rank)]
    fitting = [axes for axes in subsets if prod(shape[axis] for axis in axes) == size and (rank == 1 or 0 not in axes)]
    channel = [1] if rank >= 4 else [rank - 1]
    fitting.sort(key=lambda axes: (len(axes), axes != channel, [-axis for axis in axes]))
    axes = (fitting or [list(range(rank))])[0]
    numbers = np.zeros((1,) * rank, dtype=np.int64)
    stride = size
    for axis in axes:
        stride //= shape[axis]
        view = [1] * rank
        view[axis] = shape[axis]
        numbers = numbers + (np.arange(shape[axis]) * stride).reshape(view)
    return numbers

"""A stored weight in pieces of memory, each as neurons x synapses, whatever the order of its axes."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from math import prod

import numpy as np
import numpy.typing as npt

from graphneurons.analysis import Axis, WeightUse
from graphneurons.errors import DataError
from graphneurons.graph import ModelGraph, Op
from graphneurons.load.ranges import read_range
from graphneurons.views.quantized import Packed, Restoring, packed_of, restoring

Floats = npt.NDArray[np.float32]
Integers = npt.NDArray[np.int64]

BLOCK = 1 << 22
"""Elements read at once."""

_TAP = re.compile(r"k\d+")


@dataclass(frozen=True, slots=True)
class Block:
    """``values[n, s]`` is synapse ``synapses[s]`` of neuron ``neurons[n]``."""

    neurons: Integers
    synapses: Integers
    values: Floats


@dataclass(frozen=True, slots=True)
class Strip:
    """One axis of a stored weight: what each position of it (within the part that is used) adds to the number of the
    neuron and to the number of the synapse. ``first``: where the part starts, ``stored``: size of the whole axis."""

    stored: int
    first: int
    neurons: Integers
    synapses: Integers

    @property
    def size(self) -> int:
        return int(self.neurons.size)


@dataclass(frozen=True, slots=True)
class Laid:
    """How a weight use is laid out. Neurons are numbered by its neuron and shared factors in stored order, synapses by
    its channels in stored order, then by kernel taps, whose sizes are ``taps``."""

    use: WeightUse
    strips: tuple[Strip, ...]
    neurons: int
    synapses: int
    taps: tuple[int, ...]
    restoring: Restoring | None = None
    packed: Packed | None = None


def laid_out(use: WeightUse, op: Op, graph: ModelGraph) -> Laid:
    """The layout of ``use`` at ``op``. Raises `DataError` for formats that are not unpacked."""
    packed = packed_of(use, op, graph)
    if packed is not None:
        return _packed(use, packed)
    if use.weight.dtype in ("string", "complex64", "complex128"):
        raise DataError(f"values of type {use.weight.dtype} cannot be drawn", where=use.weight.name)
    parts = use.part or tuple((0, size) for size in use.weight.shape)
    sizes = tuple(prod(factor.size for factor in axis.factors) for axis in use.axes)
    if len(use.axes) != len(use.weight.shape) or any(
        size != stop - start for size, (start, stop) in zip(sizes, parts, strict=True)
    ):
        raise DataError(
            "its values are packed in a way that is not unpacked for drawing; the network view needs no values",
            where=use.weight.name,
        )
    factors = [factor for axis in use.axes for factor in axis.factors]
    inside = [index for index, factor in enumerate(factors) if factor.role == "synapse"]
    inside = [i for i in inside if not _TAP.fullmatch(factors[i].name)] + [
        i for i in inside if _TAP.fullmatch(factors[i].name)
    ]
    outside = [index for index, factor in enumerate(factors) if factor.role != "synapse"]
    steps = dict.fromkeys(range(len(factors)), (0, 0))
    neurons = synapses = 1
    for index in reversed(outside):
        steps[index] = (neurons, 0)
        neurons *= factors[index].size
    for index in reversed(inside):
        steps[index] = (0, synapses)
        synapses *= factors[index].size
    strips, at = [], 0
    for axis, stored, (first, _) in zip(use.axes, use.weight.shape, parts, strict=True):
        strips.append(_strip(axis, stored, first, [steps[at + i] for i in range(len(axis.factors))]))
        at += len(axis.factors)
    taps = tuple(factors[i].size for i in inside if _TAP.fullmatch(factors[i].name))
    return Laid(use, tuple(strips), neurons, synapses, taps, restoring(use, op, graph))


def _packed(use: WeightUse, packed: Packed) -> Laid:
    rows, columns = (np.arange(size, dtype=np.int64) for size in (packed.rows, packed.columns))
    strips = (Strip(rows.size, 0, rows, np.zeros_like(rows)), Strip(columns.size, 0, np.zeros_like(columns), columns))
    return Laid(use, strips, packed.rows, packed.columns, (), packed=packed)


def _strip(axis: Axis, stored: int, first: int, steps: list[tuple[int, int]]) -> Strip:
    neurons, synapses = np.zeros(1, np.int64), np.zeros(1, np.int64)
    for factor, (neuron_step, synapse_step) in zip(axis.factors, steps, strict=True):
        along = np.arange(factor.size, dtype=np.int64)
        neurons = (neurons[:, None] + along * neuron_step).reshape(-1)
        synapses = (synapses[:, None] + along * synapse_step).reshape(-1)
    return Strip(stored, first, neurons, synapses)


def blocks(laid: Laid, neurons: Integers | None = None, synapses: Integers | None = None) -> Iterator[Block]:
    """The weight piece by piece; where the outermost axis tells that a piece holds none of the wanted neurons or
    synapses, it is not read. Pieces may hold others besides the wanted."""
    strips = laid.strips
    if not strips:
        return
    inner = prod(strip.stored for strip in strips[1:])
    if not inner or not strips[0].size:
        return
    rows = max(1, BLOCK // inner)
    keep = _wanted(strips, neurons, synapses)
    for start, stop in _runs(keep, rows):
        first = strips[0].first + start
        read = laid.packed.numbers if laid.packed is not None else partial(read_range, laid.use.weight)
        flat = read(first * inner, (first + stop - start) * inner)
        values = flat.astype(np.float32).reshape(stop - start, *(strip.stored for strip in strips[1:]))
        values = values[(slice(None), *(slice(s.first, s.first + s.size) for s in strips[1:]))]
        if laid.restoring is not None:
            values = laid.restoring.restored(values, (first, *(strip.first for strip in strips[1:])))
        head = Strip(strips[0].stored, first, strips[0].neurons[start:stop], strips[0].synapses[start:stop])
        yield from _matrices((head, *strips[1:]), values)


def _wanted(strips: tuple[Strip, ...], neurons: Integers | None, synapses: Integers | None) -> npt.NDArray[np.bool_]:
    """Which positions of the outermost axis can hold something wanted."""
    keep = np.ones(strips[0].size, dtype=bool)
    for wanted, own, others in (
        (neurons, strips[0].neurons, [strip.neurons for strip in strips[1:]]),
        (synapses, strips[0].synapses, [strip.synapses for strip in strips[1:]]),
    ):
        if wanted is None:
            continue
        rest = np.zeros(1, np.int64)
        for other in others:
            rest = np.unique((rest[:, None] + np.unique(other)).reshape(-1))
        reached = np.zeros(int(own.max()) + int(rest.max()) + 1, dtype=bool)
        reached[wanted[wanted < reached.size]] = True
        distinct, inverse = np.unique(own, return_inverse=True)
        hit = np.array([bool(reached[int(value) + rest].any()) for value in distinct])
        keep &= hit[inverse]
    return keep


def _runs(keep: npt.NDArray[np.bool_], longest: int) -> Iterator[tuple[int, int]]:
    """Runs of kept positions, none longer than ``longest``."""
    borders = np.flatnonzero(np.diff(np.concatenate(([0], keep.astype(np.int8), [0]))))
    for start, stop in borders.reshape(-1, 2).tolist():
        for at in range(start, stop, longest):
            yield at, min(at + longest, stop)


def _matrices(strips: tuple[Strip, ...], values: Floats) -> Iterator[Block]:
    """The piece as neurons x synapses; an axis that numbers both is cut into runs that number only synapses."""
    for axis, strip in enumerate(strips):
        if np.ptp(strip.neurons) and np.ptp(strip.synapses):
            for number in np.unique(strip.neurons):
                at = np.flatnonzero(strip.neurons == number)
                cut = Strip(strip.stored, strip.first, strip.neurons[at], strip.synapses[at])
                yield from _matrices((*strips[:axis], cut, *strips[axis + 1 :]), values.take(at, axis))
            return
    outer = [axis for axis, strip in enumerate(strips) if np.ptp(strip.neurons)]
    inner = [axis for axis in range(len(strips)) if axis not in outer]
    neurons = np.full(1, sum(int(strips[axis].neurons[0]) for axis in inner), np.int64)
    for axis in outer:
        neurons = (neurons[:, None] + strips[axis].neurons).reshape(-1)
    synapses = np.full(1, sum(int(strips[axis].synapses[0]) for axis in outer), np.int64)
    for axis in inner:
        synapses = (synapses[:, None] + strips[axis].synapses).reshape(-1)
    yield Block(neurons, synapses, values.transpose(*outer, *inner).reshape(neurons.size, synapses.size))

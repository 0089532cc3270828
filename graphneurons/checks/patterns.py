"""N:M sparsity: which neurons have more than N nonzero among M neighbouring synapses, read a slab of rows at a time."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from math import prod
from typing import Any

import numpy as np
import numpy.typing as npt

from graphneurons.analysis import Axis, Factor, WeightUse
from graphneurons.checks.scales import Quantized
from graphneurons.checks.weighing import is_tap
from graphneurons.graph import WeightRef
from graphneurons.health.numbering import part_of
from graphneurons.load.ranges import read_range
from graphneurons.load.reading import read

AT_ONCE = 1 << 22
"""Elements read at once, or one step along the outermost factor where that has more."""

Flags = npt.NDArray[np.bool_]


def channels_of(use: WeightUse) -> int:
    """How many channels the synapses of a neuron read: kernel taps are no neighbours."""
    return prod(factor.size for factor in _factors(use) if _is_channel(factor))


def synapse_axis(use: WeightUse) -> int | None:
    """The stored axis of the channels; None where there is none, or a factor is mixed or a row that is picked."""
    if any(factor.role in ("mixed", "lookup") for factor in _factors(use)):
        return None
    return next((at for at, axis in enumerate(use.axes) if any(_is_channel(factor) for factor in axis.factors)), None)


def dense_neurons(use: WeightUse, quantized: Quantized | None, n: int, m: int) -> Flags | None:
    """For every neuron (in stored order), whether some ``m`` neighbouring channels at one tap have more than ``n``
    nonzero synapses. ``m`` must divide the channels. None where the axes are not the products of their factors."""
    bounds = part_of(use)
    if any(prod(factor.size for factor in axis.factors) != stop - start
           for axis, (start, stop) in zip(use.axes, bounds, strict=True)):  # fmt: skip
        return None
    found: Flags = np.zeros(prod(factor.size for factor in _factors(use) if factor.role != "synapse"), np.bool_)
    first, unit = bounds[0][0], prod(factor.size for factor in use.axes[0].factors[1:])
    for start, stop in _slabs(use, m):
        axes = _cut(use.axes, stop - start)
        rows = (first + start * unit, first + stop * unit)
        values = _less_zero(_read_rows(use.weight, rows), quantized, use, rows)
        values = values[(slice(None), *(slice(*bound) for bound in bounds[1:]))]
        factors = [factor for axis in axes for factor in axis.factors]
        order = sorted(range(len(factors)), key=lambda at: (_place(factors[at]), at))
        channels = prod(factor.size for factor in factors if _is_channel(factor))
        taps = prod(factor.size for factor in factors if factor.role == "synapse") // channels
        runs = values.reshape([factor.size for factor in factors]).transpose(order).reshape(-1, taps, channels // m, m)
        dense = (np.count_nonzero(runs, axis=-1) > n).any(axis=(1, 2))
        at = start * (found.size // _outermost(use)) if dense.size < found.size else 0
        found[at : at + dense.size] |= dense
    return found


def _slabs(use: WeightUse, m: int) -> Iterator[tuple[int, int]]:
    """Runs of the outermost factor of the first axis; of channels, whole neighbourhoods."""
    size = _outermost(use)
    step = max(1, AT_ONCE * size // max(1, use.weight.elements))
    if use.axes[0].factors and _is_channel(use.axes[0].factors[0]):
        step = max(m, step // m * m)
    for start in range(0, size, step):
        yield start, min(start + step, size)


def _outermost(use: WeightUse) -> int:
    return use.axes[0].factors[0].size if use.axes[0].factors else 1


def _cut(axes: tuple[Axis, ...], count: int) -> tuple[Axis, ...]:
    """``axes`` with ``count`` steps of the outermost factor."""
    if not axes[0].factors:
        return axes
    outermost = replace(axes[0].factors[0], size=count)
    return (replace(axes[0], factors=(outermost, *axes[0].factors[1:])), *axes[1:])


def _read_rows(ref: WeightRef, rows: tuple[int, int]) -> npt.NDArray[Any]:
    start, stop = rows
    row = prod(ref.shape[1:])
    return read_range(ref, start * row, stop * row).reshape(stop - start, *ref.shape[1:])


def _less_zero(
    values: npt.NDArray[Any], quantized: Quantized | None, use: WeightUse, rows: tuple[int, int]
) -> npt.NDArray[Any]:
    """Integers less their zero point: of the tensor, or one per index of an axis."""
    zero = None if quantized is None else quantized.zero
    if quantized is None or zero is None or zero.elements not in (1, use.weight.shape[quantized.axis]):
        return values
    points = read(zero).reshape(-1).astype(np.int64)
    if points.size > 1 and quantized.axis == 0:
        points = points[slice(*rows)]
    view = [1] * values.ndim
    view[quantized.axis] = points.size
    return values.astype(np.int64) - points.reshape(view)


def _factors(use: WeightUse) -> list[Factor]:
    return [factor for axis in use.axes for factor in axis.factors]


def _place(factor: Factor) -> int:
    """Neurons first, then kernel taps, then channels."""
    return 2 if _is_channel(factor) else 1 if factor.role == "synapse" else 0


def _is_channel(factor: Factor) -> bool:
    """Whether a factor is summed over, and no kernel tap."""
    return factor.role == "synapse" and not is_tap(factor.name)

"""What symmetric 8-bit quantization would round to zero: synapses beside an outlier, neurons beside larger ones."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from graphneurons.analysis import Analysis
from graphneurons.checks.weighing import weighed
from graphneurons.health import Health, WeightHealth
from graphneurons.health.fetching import Files
from graphneurons.health.numbering import UnnumberedError

STEPS = 127
"""Steps from zero to the largest of int8."""

_OUTLYING = 32.0
"""How many times the root mean square of a neuron's other synapses its largest has to be for them to be counted: with
less, half of them rounding to zero takes a distribution that no outlier makes."""

_FLOATS = frozenset({"float16", "bfloat16", "float32", "float64"})
Places = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class Lost:
    """Neurons of one weight that lose synapses. ``shares``: of their synapses other than zero, those that round to
    zero; ``largest``: their largest magnitudes."""

    weight: WeightHealth
    neurons: Places
    shares: npt.NDArray[np.float64]
    largest: npt.NDArray[np.float64]


def lost_synapses(analysis: Analysis, health: Health, least: float, share: float) -> Iterator[Lost]:
    """Neurons more than ``share`` of whose synapses are smaller than half a step of their own scale, max |w| / 127."""
    layers = {layer.id: layer for layer in analysis.layers}
    ops = {op.name: op for op in analysis.graph.ops}
    with Files() as files:
        for weight in health.weights:
            rows = weight.neurons
            if weight.dtype not in _FLOATS or rows.elements < least:
                continue
            chosen = np.flatnonzero(_outlying(weight) & (rows.elements - rows.zeros >= least))
            if not chosen.size:
                continue
            layer = layers[weight.layer]
            half = rows.max_abs.astype(np.float64) / (2 * STEPS)
            small = np.zeros(rows.size)
            try:
                _, pieces = weighed(analysis, layer, weight.position, ops[layer.op.name], files)
                for piece in pieces:
                    x = np.abs(piece.numbers)
                    piece.per_neuron((x < half[piece.neurons]) & (x > 0), small)
            except UnnumberedError:
                continue
            shares = small / np.maximum(rows.elements - rows.zeros, 1)
            found = chosen[shares[chosen] > share]
            if found.size:
                yield Lost(weight, found, shares[found], rows.max_abs[found].astype(np.float64))


def _outlying(weight: WeightHealth) -> npt.NDArray[np.bool_]:
    """Neurons whose largest synapse is far from all others, by what the scan says of them."""
    rows = weight.neurons
    largest = rows.max_abs.astype(np.float64)
    with np.errstate(all="ignore"):
        rest = np.sqrt(np.maximum(rows.l2.astype(np.float64) ** 2 - largest**2, 0) / np.maximum(rows.elements - 1, 1))
        found: npt.NDArray[np.bool_] = ~rows.broken & np.isfinite(largest) & (largest > _OUTLYING * rest)
    return found


def lost_neurons(health: Health, least: float, steps: float) -> Iterator[tuple[WeightHealth, Places, float]]:
    """Weights with the neurons that reach no further than ``steps`` steps of one scale for the whole weight, and that
    scale: the largest magnitude / 127."""
    for weight in health.weights:
        rows = weight.neurons
        largest: npt.NDArray[Any] = rows.max_abs[~rows.broken]
        if weight.dtype not in _FLOATS or rows.elements < least or rows.size < 2 or not largest.size:
            continue
        step = float(np.nanmax(largest)) / STEPS
        with np.errstate(invalid="ignore"):
            found = np.flatnonzero((rows.max_abs > 0) & (rows.max_abs <= step * (steps + 0.5)))
        if found.size:
            yield weight, found, step

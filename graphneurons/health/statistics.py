"""What a health scan says of the weights: frozen records of per-neuron and per-channel statistics.

All arrays are read-only: floating ones float32 (float64 where that would not hold them), counts int32 (or int64).
Floating statistics are over the finite elements and NaN where there are none; what is not finite is counted apart.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.floating[Any]]
Counts = npt.NDArray[np.signedinteger[Any]]
Mask = npt.NDArray[np.bool_]

Units = Literal["stored", "dequantized", "steps"]
"""What the numbers are: stored as they are; integers made numbers by their scale and zero point; or integers less their
zero point (0 if there is none) whose scale the graph does not tell."""


@dataclass(frozen=True, slots=True, eq=False)
class Statistics:
    """One entry per neuron (or per row of a lookup). ``elements``: how many weights each has.

    ``zeros``, ``positive`` (excitatory), ``negative`` (inhibitory) and ``nan`` add up to ``elements``; infinities are
    positive or negative and counted in ``inf`` too. ``subnormals``: of the stored type, or of float32 where that is one
    of integers that are dequantized; they are positive or negative as well.
    """

    elements: int
    min: Floats
    max: Floats
    mean: Floats
    l2: Floats
    zeros: Counts
    subnormals: Counts
    nan: Counts
    inf: Counts
    positive: Counts

    @property
    def negative(self) -> Counts:
        found: Counts = self.elements - self.zeros - self.nan - self.positive
        return found

    @property
    def max_abs(self) -> Floats:
        found: Floats = np.maximum(np.abs(self.min), np.abs(self.max))
        return found

    @property
    def size(self) -> int:
        """How many neurons."""
        return int(self.zeros.size)

    @property
    def dead(self) -> Mask:
        """Neurons whose weights are all zero."""
        found: Mask = (self.zeros == self.elements) & (self.elements > 0)
        return found

    @property
    def broken(self) -> Mask:
        """Neurons with a NaN or an infinity."""
        found: Mask = (self.nan + self.inf) > 0
        return found

    @property
    def constant(self) -> Mask:
        """Neurons whose weights are all the same finite number, other than zero, and more than one."""
        found: Mask = (self.min == self.max) & (self.max_abs > 0) & ~self.broken & (self.elements > 1)
        return found


@dataclass(frozen=True, slots=True, eq=False)
class Channels:
    """One entry per presynaptic channel of one weight: what it does to all neurons that read it, kernel taps pooled.

    ``groups``: channels and neurons fall into so many equal runs, each run of neurons reading its own run of channels.
    Channels are numbered as `graphneurons.wiring` numbers ``Synapses.neurons`` (of a weight that holds all of them).
    ``elements``: weights per channel.
    ``l2`` is over the finite ones.
    """

    elements: int
    groups: int
    positive: Counts
    zeros: Counts
    nan: Counts
    l2: Floats

    @property
    def negative(self) -> Counts:
        found: Counts = self.elements - self.zeros - self.nan - self.positive
        return found

    @property
    def size(self) -> int:
        """How many channels."""
        return int(self.zeros.size)

    @property
    def silent(self) -> Mask:
        """Channels all of whose outgoing weights are zero: whatever their neuron says, nobody hears."""
        found: Mask = (self.zeros == self.elements) & (self.elements > 0)
        return found

    @property
    def agreement(self) -> Floats:
        """Dale consistency: the share of the more frequent sign among a channel's nonzero weights (NaN without any)."""
        signed = self.positive + self.negative
        with np.errstate(invalid="ignore"):
            found: Floats = np.maximum(self.positive, self.negative) / np.where(signed, signed, np.nan)
        return found


@dataclass(frozen=True, slots=True, eq=False)
class WeightHealth:
    """One stored tensor where it is used. ``position`` is its place in ``Layer.weights`` (``Lookup.weights``).

    ``neurons`` has one entry per index of the neuron and shared factors of its `WeightUse.axes`, in stored order (for a
    lookup: per row of the table). ``taps``: kernel taps per channel (1 without a kernel).
    """

    layer: str
    position: int
    name: str
    dtype: str
    units: Units
    taps: int
    neurons: Statistics
    channels: Channels


@dataclass(frozen=True, slots=True, eq=False)
class Duplicates:
    """Neurons of one layer whose weights are the same up to a factor.

    ``neurons``: their numbers, ascending; neuron ``neurons[i]`` is ``factors[i]`` times neuron ``neurons[0]``, exactly
    where it is 1 (a copy), else to the rounding of the stored type. ``position``: the weight in which they are, or None
    if all weights of the layer agree.
    """

    neurons: Counts
    factors: Floats
    position: int | None = None

    @property
    def copies(self) -> bool:
        """Whether all of them are exact copies."""
        return bool((self.factors == 1).all())


@dataclass(frozen=True, eq=False)
class LayerHealth:
    """All weights of one layer of ``size`` neurons. ``scanned``: False where some were not (see `Health.skipped`)."""

    id: str
    size: int
    weights: tuple[WeightHealth, ...]
    duplicates: tuple[Duplicates, ...]
    scanned: bool

    @cached_property
    def neurons(self) -> Statistics | None:
        """The weights of the layer taken together, row by row (an LSTM's ``[W | R]``); None where some were not
        scanned, or where weights hold only some of the neurons."""
        if not self.scanned or any(weight.neurons.size != self.size for weight in self.weights):
            return None
        return combined([weight.neurons for weight in self.weights])


@dataclass(frozen=True, slots=True, eq=False)
class ModulatorHealth:
    """One stored tensor that modulates neurons: ``modulator`` is its id, ``position`` its place in
    ``Modulator.weights``, ``of`` whose neurons it is aligned with.

    ``nan``, ``inf``, ``zeros``: row-major positions of such elements, at most `MOST_LISTED` of each; how many there are
    say ``nan_count``, ``inf_count`` and ``zero_count``. ``values``: all elements in row-major order, None beyond
    `MOST_VALUES`. ``min`` and ``max`` are over the finite ones (NaN without any).
    """

    modulator: str
    position: int
    kind: str
    of: str | None
    name: str
    dtype: str
    elements: int
    min: float
    max: float
    nan_count: int
    inf_count: int
    zero_count: int
    nan: Counts
    inf: Counts
    zeros: Counts
    values: Floats | None


MOST_LISTED = 4096
MOST_VALUES = 1 << 20


@dataclass(frozen=True, slots=True)
class Skipped:
    """A weight whose numbers are not known, and why: ``where`` is the id of its layer, lookup or modulator."""

    where: str
    name: str
    reason: str


@dataclass(frozen=True)
class Health:
    """What `scan` found. ``weights`` are those of all layers, in the order of `Analysis.layers`.

    ``duplicates_limited``: layers whose candidates were too many to be compared one by one: they may have more.
    """

    layers: tuple[LayerHealth, ...]
    lookups: tuple[WeightHealth, ...]
    modulators: tuple[ModulatorHealth, ...]
    skipped: tuple[Skipped, ...]
    bytes_read: int = 0
    duplicates_limited: tuple[str, ...] = ()

    @property
    def weights(self) -> tuple[WeightHealth, ...]:
        return tuple(weight for layer in self.layers for weight in layer.weights)

    @cached_property
    def layer(self) -> Mapping[str, LayerHealth]:
        """Layers by id."""
        return {layer.id: layer for layer in self.layers}


def combined(parts: list[Statistics]) -> Statistics | None:
    """Statistics of neurons whose weights lie in several tensors, all of them in each; None of nothing."""
    if not parts:
        return None
    if len(parts) == 1:
        return parts[0]
    finite = [(part.elements - part.nan - part.inf).astype(np.int64) for part in parts]
    total = sum(finite, np.zeros_like(finite[0]))
    sums = sum(np.where(n > 0, part.mean, 0.0) * n for part, n in zip(parts, finite, strict=True))
    return Statistics(
        sum(part.elements for part in parts),
        np.fmin.reduce([part.min for part in parts]),
        np.fmax.reduce([part.max for part in parts]),
        np.where(total > 0, sums / np.maximum(total, 1), np.nan),
        _hypot([part.l2 for part in parts]),
        *(_added([getattr(part, name) for part in parts]) for name in _COUNTED),
    )


_COUNTED = ("zeros", "subnormals", "nan", "inf", "positive")


def _added(counts: list[Counts]) -> Counts:
    found: Counts = np.add.reduce([count.astype(np.int64) for count in counts])
    return found


def _hypot(norms: list[Floats]) -> Floats:
    """The Euclidean norm of parts with these norms; NaN only where all are."""
    found: Floats = np.where(np.isnan(norms).all(axis=0), np.nan, np.hypot.reduce(np.nan_to_num(norms), axis=0))
    return found

"""Proofs by interval arithmetic that a neuron never fires, or always saturates."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from graphneurons.axes.planes import distinct
from graphneurons.checks.base import Found, Subject
from graphneurons.checks.intervals import Bounds, Integers
from graphneurons.checks.numbers import listed, some
from graphneurons.checks.walking import Stop


def silent_neurons(subject: Subject) -> Iterator[Found]:
    """Neurons that are never large enough for an activation that is zero up to there."""
    for stop in subject.stops:
        if not stop.bend.rests or stop.before.neurons is None:
            continue
        places = _everywhere(stop.before.neurons, stop.before.high <= stop.bend.below)
        if places.size:
            largest = _extremes(stop, stop.before.high, np.maximum)
            worst = float(largest[places].max())
            yield Found(
                f"{_some(subject, stop, places)} never {'fires' if places.size == 1 else 'fire'}: "
                f"before {stop.kind} at most {worst:.4g}",
                stop.before.layer,
                neurons=listed(places),
                evidence={"largest": [f"{largest[at]:.6g}" for at in places[:20]], "op": stop.op.name},
            )


def saturated_neurons(subject: Subject) -> Iterator[Found]:
    """Neurons all of whose range lies where the activation is flat, and not at zero."""
    for stop in subject.stops:
        before, bend = stop.before, stop.bend
        if before.neurons is None:
            continue
        up = _everywhere(before.neurons, before.low >= bend.above)
        down = _everywhere(before.neurons, before.high <= bend.below) if not bend.rests else up[:0]
        places = distinct(np.concatenate([up, down]))
        if places.size:
            at = int(places[0])
            low, high = _extremes(stop, before.low, np.minimum)[at], _extremes(stop, before.high, np.maximum)[at]
            yield Found(
                f"{_some(subject, stop, places)} always saturate{'s' if places.size == 1 else ''}: "
                f"neuron {at} lies between {low:.4g} and {high:.4g} before {stop.kind}",
                before.layer,
                neurons=listed(places),
                evidence={"op": stop.op.name, "activation": stop.kind},
            )


def _some(subject: Subject, stop: Stop, places: Integers) -> str:
    return some(places.size, subject.analysis.layer(stop.before.layer or "").neurons, "neuron")


def _everywhere(neurons: Integers, holds: npt.NDArray[np.bool_]) -> Integers:
    """Numbers of the neurons of which something holds wherever they stand."""
    wide = np.broadcast_to(neurons, holds.shape)
    return np.setdiff1d(wide[holds], wide[~holds])


def _extremes(stop: Stop, bounds: Bounds, pick: np.ufunc) -> Bounds:
    """The outermost bound of every neuron."""
    neurons = stop.before.neurons
    assert neurons is not None
    found = np.full(int(neurons.max()) + 1, -np.inf if pick is np.maximum else np.inf)
    pick.at(found, np.broadcast_to(neurons, bounds.shape), bounds)
    return found

"""Proofs by interval arithmetic that a neuron never fires, or always saturates."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from graphneurons.checks.base import Found, Subject
from graphneurons.checks.numbers import listed, some
from graphneurons.checks.ranges import reached

BEYOND = {"Sigmoid": 17.0, "Tanh": 9.0}
"""Where these differ from their limit by less than half the spacing of float32 at 1."""


def silent_neurons(subject: Subject) -> Iterator[Found]:
    """Neurons whose largest value before a ReLU is not above zero."""
    for op, known in reached(subject.ranges, subject.analysis, frozenset({"Relu"})):
        places = np.flatnonzero(known.high <= 0)
        if places.size:
            worst = float(known.high[places].max())
            yield Found(
                f"{some(places.size, known.high.size, 'neuron')} never {'fires' if places.size == 1 else 'fire'}: "
                f"before ReLU at most {worst:.4g}",
                known.layer,
                neurons=listed(places),
                evidence={"largest": [f"{known.high[at]:.6g}" for at in places[:20]], "op": op.name},
            )


def saturated_neurons(subject: Subject) -> Iterator[Found]:
    """Neurons all of whose range lies where the activation is flat."""
    for op, known in reached(subject.ranges, subject.analysis, frozenset(BEYOND)):
        limit = BEYOND[op.type]
        places = np.flatnonzero((known.low >= limit) | (known.high <= -limit))
        if places.size:
            at = int(places[0])
            yield Found(
                f"{some(places.size, known.high.size, 'neuron')} always saturate{'s' if places.size == 1 else ''}: "
                f"neuron {at} lies between {known.low[at]:.4g} and {known.high[at]:.4g} before {op.type}",
                known.layer,
                neurons=listed(places),
                evidence={"op": op.name, "activation": op.type},
            )

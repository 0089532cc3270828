"""The same probe where it should find nothing."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from graphneurons.probing.ranking import Values
from graphneurons.probing.records import Control, ControlKind, Floats, Score
from graphneurons.probing.scoring import CONFIDENCE, student

_MOST = 1024
_MANY = 39


def random_neurons(values: Values, count: int, seed: int) -> Iterator[Values]:
    """``count`` draws of as many samples of as many neurons, Gaussian with the means and covariances of ``values``:
    neurons with the same statistics that know nothing of the input.

    A draw is a random mixture of the centred activations themselves (of 1,024 samples, where there are more), which has
    their covariance exactly.
    """
    random = np.random.default_rng([seed, 2])
    chosen = np.arange(len(values))
    if len(values) > _MOST:
        chosen = np.sort(random.choice(len(values), _MOST, replace=False))
    middle = values.mean(axis=0, dtype=np.float64).astype(np.float32)
    basis = (values[chosen] - middle) / np.float32(np.sqrt(len(chosen)))
    for _ in range(count):
        yield random.standard_normal((len(values), len(chosen)), dtype=np.float32) @ basis + middle


def by_draws(kind: ControlKind, metric: str, draws: Floats) -> Control:
    """A control drawn several times: the mean of its scores, and the bounds between which 95 % of them lie (of fewer
    than 39 draws: those of a Gaussian, by Student's t, for one draw more)."""
    middle = float(draws.mean())
    tail = (1 - CONFIDENCE) / 2
    if len(draws) >= _MANY:
        low, high = (float(bound) for bound in np.quantile(draws, [tail, 1 - tail]))
    else:
        spread = float(draws.std(ddof=1)) * float(np.sqrt(1 + 1 / len(draws)))
        reach = student(1 - tail, len(draws) - 1) * spread
        low, high = middle - reach, middle + reach
    return Control(kind, Score(metric, middle, low, high))

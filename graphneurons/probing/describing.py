"""How a neuron responds to a concept: how often it fires, how strongly, and where to cut."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from graphneurons.probing.ranking import Ranked, Values, chunks
from graphneurons.probing.records import Floats


@dataclass(frozen=True, slots=True, eq=False)
class Responses:
    """One number per neuron, (neurons,), of all samples: they describe, they prove nothing."""

    threshold: Floats
    rate_with: Floats
    rate_without: Floats
    mean_with: Floats
    mean_without: Floats


def responses(values: Values, labels: Floats, ranked: Ranked) -> Responses:
    """Of every neuron, with and without the class it tells (`Ranked.told`)."""
    parts = []
    for start, part in chunks(values):
        found = np.zeros((5, part.shape[1]))
        told = ranked.told[start : start + part.shape[1]]
        signs = ranked.signs[start : start + part.shape[1]]
        for index in np.unique(told):
            of, positive = told == index, labels == index
            these = part[:, of]
            found[:, of] = [
                thresholds(these, positive, signs[of]),
                (these[positive] > 0).mean(axis=0),
                (these[~positive] > 0).mean(axis=0),
                these[positive].mean(axis=0),
                these[~positive].mean(axis=0),
            ]
        parts.append(found)
    return Responses(*np.concatenate(parts, axis=1))


def thresholds(values: Floats, positive: npt.NDArray[np.bool_], signs: npt.NDArray[np.int64]) -> Floats:
    """The activation at which most is told: sensitivity + specificity is highest (Youden 1950, "Index for rating
    diagnostic tests"). Half way between two samples; the lowest of several that are as good."""
    order = np.argsort(values, axis=0, kind="stable")
    ordered = np.take_along_axis(values, order, axis=0)
    above = positive[order]
    told = np.cumsum(~above, axis=0) / (~positive).sum() - np.cumsum(above, axis=0) / positive.sum()
    told = np.where(signs < 0, -told, told)[:-1]
    told[ordered[1:] == ordered[:-1]] = -np.inf
    at = np.argmax(told, axis=0)
    neurons = np.arange(values.shape[1])
    return np.asarray((ordered[at, neurons] + ordered[at + 1, neurons]) / 2)

"""How good held-out readings are, and how sure that is.

The interval of a score is that of its *linearisation over groups*: what the score changes by when a group weighs a
little more (the infinitesimal jackknife, Efron 1982, "The Jackknife, the Bootstrap and Other Resampling Plans"; for an
AUC it is DeLong's interval of 1988, with groups Obuchowski's of 1997, "Nonparametric analysis of clustered ROC curve
data"). It is what a bootstrap over groups tends to, in closed form: the same for one probe and for thousands of neurons
at once. It takes the probes as learned: it does not cover another training set.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from graphneurons.probing.learners import learner
from graphneurons.probing.records import Flags, Floats, Integers, Score

CONFIDENCE = 0.95


@dataclass(frozen=True, slots=True, eq=False)
class Held:
    """What held-out samples are scored by. ``folds``, ``groups``: of each sample, (samples,), counted from 0."""

    folds: Integers
    groups: Integers


@dataclass(frozen=True, slots=True, eq=False)
class Scored:
    """``values``: (readings,). ``changes``: (groups, readings), by how much each group moves the score. ``least``: the
    number of groups the rarest class is in: what there is to learn the spread from."""

    metric: str
    values: Floats
    changes: Floats
    least: int

    def score(self, at: int = 0) -> Score:
        """One of the scores, with its interval."""
        low, high = interval(self.metric, float(self.values[at]), _error(self.changes[:, at]), self.least)
        return Score(self.metric, float(self.values[at]), low, high)


def auc(readings: Floats, positive: Flags, held: Held) -> Scored:
    """The share of (positive, negative) pairs that the reading orders right, ties counting half: (samples, readings).

    Only samples held out in the same fold are compared: readings of differently trained probes are on different scales
    (Forman and Scholz 2010, "Apples-to-apples in cross-validation studies"). Folds weigh by their pairs; a fold without
    one of the classes has none.
    """
    rankdata = learner("scipy.stats", "rankdata")
    right = np.zeros(readings.shape[1])
    gained = np.zeros(readings.shape)
    pairs_of = np.zeros(len(readings))
    pairs = 0.0
    for fold in np.unique(held.folds):
        yes = np.flatnonzero((held.folds == fold) & positive)
        no = np.flatnonzero((held.folds == fold) & ~positive)
        if not len(yes) or not len(no):
            continue
        ranks = rankdata(readings[np.concatenate([yes, no])], axis=0)
        gained[yes] = ranks[: len(yes)] - rankdata(readings[yes], axis=0)
        gained[no] = len(yes) - (ranks[len(yes) :] - rankdata(readings[no], axis=0))
        pairs_of[yes], pairs_of[no] = len(no), len(yes)
        right += gained[yes].sum(axis=0)
        pairs += len(yes) * len(no)
    values = right / pairs if pairs else np.full(readings.shape[1], 0.5)
    changes = by_group(gained - values * pairs_of[:, None], held.groups) / max(pairs, 1.0)
    return Scored("auc", values, changes, _least(positive.astype(np.int64), held.groups))


def mean_of(scored: list[Scored], metric: str) -> Scored:
    """The mean of several scores of the same groups."""
    return Scored(
        metric,
        np.mean([one.values for one in scored], axis=0),
        np.mean([one.changes for one in scored], axis=0),
        min(one.least for one in scored),
    )


def balanced_accuracy(predicted: Integers, labels: Integers, held: Held) -> Scored:
    """The mean over classes of the share of a class that is told right: chance is one in as many classes as there are.

    The shares are of all held-out samples: decisions of differently trained probes are on one scale."""
    right = (predicted == labels).astype(np.float64)[:, None]
    kinds = np.unique(labels)
    values = np.zeros(1)
    moved = np.zeros((len(labels), 1))
    for kind in kinds:
        of = labels == kind
        share = right[of].mean()
        values += share / len(kinds)
        moved[of] = (right[of] - share) / of.sum() / len(kinds)
    return Scored("balanced_accuracy", values, by_group(moved, held.groups), _least(labels, held.groups))


def accuracy(predicted: Integers, labels: Integers, held: Held) -> Scored:
    """The share of held-out samples that are told right."""
    right = (predicted == labels).astype(np.float64)[:, None]
    values = right.mean(axis=0)
    return Scored(
        "accuracy", values, by_group((right - values) / len(right), held.groups), len(np.unique(held.groups))
    )


def r2(predicted: Floats, numbers: Floats, held: Held) -> Scored:
    """The share of the numbers' variance that is told, of all held-out samples: (samples, readings). Below 0 where the
    mean of the numbers would have told them better."""
    spread = ((numbers - numbers.mean()) ** 2)[:, None]
    missed = (numbers[:, None] - predicted) ** 2
    values = 1 - missed.sum(axis=0) / spread.sum()
    changes = by_group((1 - values) * spread - missed, held.groups) / spread.sum()
    return Scored("r2", values, changes, len(np.unique(held.groups)))


def by_group(values: Floats, groups: Integers) -> Floats:
    """Sums over the samples of each group: (groups, readings)."""
    order = np.argsort(groups, kind="stable")
    _, starts = np.unique(groups[order], return_index=True)
    return np.asarray(np.add.reduceat(values[order], starts, axis=0))


def interval(metric: str, value: float, error: float, groups: int) -> tuple[float, float]:
    """The 95 % confidence interval of a score with standard error ``error``, learned from ``groups`` groups.

    By Student's t on ``groups - 1`` degrees of freedom; of shares (all but r2) on the scale of log odds, so that it
    stays between 0 and 1 (Pepe 2003, "The Statistical Evaluation of Medical Tests", 5.2.4). Where every group is told
    right, or every one wrong, none of them says how far to go: the bound is that of as many out of as many (Clopper and
    Pearson 1934).
    """
    tail = (1 - CONFIDENCE) / 2
    reach = student(1 - tail, max(groups - 1, 1)) * error
    if metric == "r2":
        return value - reach, min(value + reach, 1.0)
    if value in (0.0, 1.0):
        bound = tail ** (1 / groups)
        return (bound, 1.0) if value == 1.0 else (0.0, 1 - bound)
    odds = np.log(value / (1 - value))
    reach /= value * (1 - value)
    low, high = 1 / (1 + np.exp(-np.clip([odds - reach, odds + reach], -500, 500)))
    return float(low), float(high)


@lru_cache(maxsize=256)
def student(share: float, freedom: int) -> float:
    """The quantile of Student's t."""
    return float(learner("scipy.stats", "t").ppf(share, freedom))


def _error(changes: Floats) -> float:
    count = len(changes)
    return float(np.sqrt((changes**2).sum() * count / max(count - 1, 1)))


def _least(labels: Integers, groups: Integers) -> int:
    return min(len(np.unique(groups[labels == kind])) for kind in np.unique(labels))

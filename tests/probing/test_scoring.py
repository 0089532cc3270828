"""Scores against scikit-learn's, intervals against simulation and the bootstrap."""

from __future__ import annotations

from statistics import NormalDist

import numpy as np
import numpy.typing as npt
import pytest
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.metrics import accuracy_score, balanced_accuracy_score, r2_score, roc_auc_score

from graphneurons.probing.concepts import concept
from graphneurons.probing.controls import random_neurons
from graphneurons.probing.describing import thresholds
from graphneurons.probing.ranking import best_by_chance, rank
from graphneurons.probing.records import Floats
from graphneurons.probing.scoring import Held, accuracy, auc, balanced_accuracy, interval, r2
from graphneurons.probing.splitting import held_out_in, shuffled

ROWS, NEURONS = 150, 12


def of(labels: npt.ArrayLike, folds: int = 5, seed: int = 3) -> tuple:
    """A concept, its labels, and how it is held out, every row a group."""
    found = concept("c", labels)
    rows = np.arange(len(found.values))
    return found, found.values, Held(held_out_in(found, rows, folds, seed), rows)


def neurons(seed: int = 0) -> npt.NDArray[np.float32]:
    """Dense, sparse (ReLU), coarse (many ties) and constant ones."""
    values = np.random.default_rng(seed).normal(size=(ROWS, NEURONS))
    values[:, 3:6] = np.maximum(values[:, 3:6] - 0.7, 0)
    values[:, 6:9] = np.round(values[:, 6:9])
    values[:, 9] = -2.5
    return values.astype(np.float32)


@pytest.mark.parametrize("share", [0.5, 0.15])
def test_a_single_neuron_is_one_logistic_regression_per_fold(share: float) -> None:
    values = neurons()
    noise = np.random.default_rng(1).normal(size=ROWS)
    rare = values[:, 0] - values[:, 4] + noise > np.quantile(values[:, 0] - values[:, 4] + noise, 1 - share)
    asked, labels, held = of(rare)
    ranked = rank(values, labels, asked, held)
    for neuron in range(NEURONS):
        column = values[:, [neuron]].astype(np.float64)
        scores, pairs = [], []
        for fold in range(5):
            out = held.folds == fold
            probe = LogisticRegression(class_weight="balanced", tol=1e-10).fit(column[~out], labels[~out])
            # a constant neuron leaves the optimizer with rounding for a weight: compare what it decides
            read = np.round(probe.decision_function(column[out]), 12)
            scores.append(roc_auc_score(labels[out], read))
            pairs.append((labels[out] == 1).sum() * (labels[out] == 0).sum())
        assert ranked.scored.values[neuron] == pytest.approx(np.average(scores, weights=pairs), abs=1e-12)


def test_a_single_neuron_on_a_number_is_one_least_squares_line_per_fold() -> None:
    values = neurons()
    asked, labels, held = of(values[:, 0] + values[:, 3] + np.random.default_rng(1).normal(size=ROWS))
    ranked = rank(values, labels, asked, held)
    for neuron in range(NEURONS):
        column = values[:, [neuron]].astype(np.float64)
        predicted = np.empty(ROWS)
        for fold in range(5):
            out = held.folds == fold
            predicted[out] = LinearRegression().fit(column[~out], labels[~out]).predict(column[out])
        assert ranked.scored.values[neuron] == pytest.approx(r2_score(labels, predicted), abs=1e-9)


def test_a_single_neuron_on_classes_is_the_mean_of_one_against_the_rest() -> None:
    values = neurons()
    kinds = np.digitize(values[:, 1] + np.random.default_rng(1).normal(size=ROWS), [-0.5, 0.6])
    asked, labels, held = of(kinds)
    ranked = rank(values, labels, asked, held)
    each = [rank(values, (labels == index) * 1.0, concept("k", kinds == index), held) for index in range(3)]
    assert ranked.scored.values == pytest.approx(np.mean([one.scored.values for one in each], axis=0))
    best = int(np.argmax([one.scored.values[1] for one in each]))
    assert ranked.told[1] == best
    assert ranked.signs[1] == each[best].signs[1]


@pytest.mark.parametrize("kind", ["binary", "classes", "number"])
def test_the_best_by_chance_is_the_best_of_ranking_every_shuffle(kind: str) -> None:
    values = neurons()
    noise = np.random.default_rng(2).normal(size=ROWS)
    asked, labels, held = of({"binary": noise > 0.4, "classes": np.digitize(noise, [-0.4, 0.5]), "number": noise}[kind])
    drawn = np.concatenate([np.arange(ROWS)[None], shuffled(np.arange(ROWS), 6, 0)])
    rows = np.arange(ROWS)
    slow = [rank(values, asked.values[source], asked, held).scored.values.max() for source in drawn]
    assert best_by_chance(values, drawn, asked, rows, held) == pytest.approx(slow, abs=1e-9)
    assert slow[0] == rank(values, labels, asked, held).scored.values.max()


def test_metrics_are_scikit_learns() -> None:
    random = np.random.default_rng(0)
    labels = random.integers(0, 3, 90)
    read = np.where(random.random(90) < 0.6, labels, random.integers(0, 3, 90))
    held = Held(np.zeros(90, dtype=np.int64), np.arange(90))
    numbers, told = random.normal(size=90), random.normal(size=(90, 2))
    assert balanced_accuracy(read, labels, held).values[0] == pytest.approx(balanced_accuracy_score(labels, read))
    assert accuracy(read, labels, held).values[0] == pytest.approx(accuracy_score(labels, read))
    assert r2(told, numbers, held).values == pytest.approx([r2_score(numbers, told[:, at]) for at in range(2)])
    assert auc(np.round(told), labels > 0, held).values == pytest.approx(
        [roc_auc_score(labels > 0, np.round(told[:, at])) for at in range(2)]
    )


def clustered(seed: int, metric: str, groups: int = 30, each: int = 8) -> tuple:
    """Readings of which those of a group err together, their scores, and the labels."""
    random = np.random.default_rng(seed)
    labels = np.repeat(np.arange(groups) % 2, each)
    together = np.repeat(random.normal(size=groups), each)
    read = labels * 1.2 + 0.8 * together + 0.6 * random.normal(size=groups * each)
    held = Held(np.zeros(len(read), dtype=np.int64), np.repeat(np.arange(groups), each))
    if metric == "auc":
        return auc(read[:, None], labels == 1, held), labels, read, held
    if metric == "balanced_accuracy":
        return balanced_accuracy((read > 0.6).astype(np.int64), labels, held), labels, read, held
    numbers = 0.8 * together + 0.5 * random.normal(size=len(read))
    return r2(0.5 * together[:, None], numbers, held), numbers, 0.5 * together, held


TRUE = {
    "auc": NormalDist().cdf(1.2 / 2**0.5),
    "balanced_accuracy": NormalDist().cdf(0.6),
    "r2": 1 - (0.09 + 0.25) / 0.89,
}


@pytest.mark.parametrize("metric", ["auc", "balanced_accuracy", "r2"])
def test_intervals_cover_when_samples_of_a_group_err_together(metric: str) -> None:
    runs = 400
    covered, alone = 0, 0
    for seed in range(runs):
        found, _, _, held = clustered(seed, metric)
        score = found.score()
        covered += score.low <= TRUE[metric] <= score.high
        assert len(found.changes) == len(np.unique(held.groups))
        low, high = interval(metric, score.value, blind_error(seed, metric), 240)
        alone += low <= TRUE[metric] <= high
    assert 0.92 <= covered / runs <= 0.99
    assert alone / runs < 0.85, "samples taken for independent are too sure: the test must be able to fail"


def blind_error(seed: int, metric: str) -> float:
    """The standard error of one who takes every sample for a group."""
    _, labels, read, held = clustered(seed, metric)
    apart = Held(held.folds, np.arange(len(held.folds)))
    if metric == "auc":
        found = auc(read[:, None], labels == 1, apart)
    elif metric == "balanced_accuracy":
        found = balanced_accuracy((read > 0.6).astype(np.int64), labels, apart)
    else:
        found = r2(read[:, None], labels, apart)
    return float(np.sqrt((found.changes**2).sum()))


@pytest.mark.parametrize("metric", ["auc", "balanced_accuracy", "r2"])
def test_the_error_is_that_of_a_bootstrap_over_groups(metric: str) -> None:
    found, labels, read, held = clustered(5, metric, groups=60)
    random = np.random.default_rng(0)
    drawn = []
    for _ in range(400):
        taken = np.concatenate([np.flatnonzero(held.groups == group) for group in random.integers(0, 60, 60)])
        if metric == "auc":
            drawn.append(roc_auc_score(labels[taken], read[taken]))
        elif metric == "balanced_accuracy":
            drawn.append(balanced_accuracy_score(labels[taken], read[taken] > 0.6))
        else:
            drawn.append(r2_score(labels[taken], read[taken]))
    assert np.sqrt((found.changes**2).sum()) == pytest.approx(np.std(drawn), rel=0.15)


@pytest.mark.parametrize("samples", [400, 3000])
def test_random_neurons_have_the_statistics_of_those_they_stand_for(samples: int) -> None:
    random = np.random.default_rng(0)
    values = random.normal(size=(samples, 4)) @ random.normal(size=(4, 6)) + np.arange(6)
    drawn = list(random_neurons(values.astype(np.float32), 40, 0))
    assert all(one.shape == values.shape for one in drawn)
    together = np.concatenate(drawn)
    size = np.abs(np.cov(values.T)).max()
    np.testing.assert_allclose(together.mean(axis=0), values.mean(axis=0), atol=0.1)
    np.testing.assert_allclose(np.cov(together.T), np.cov(values.T), atol=0.1 * size)
    assert np.linalg.matrix_rank(together - together.mean(axis=0), tol=1e-2) == 4, "not one by one"
    for one in drawn[:5]:
        assert abs(np.corrcoef(one[:, 0], values[:, 0])[0, 1]) < 5 / samples**0.5, "they know nothing of the input"


def test_folds_are_not_compared_with_each_other() -> None:
    """Readings of two folds on scales of their own: pooled, they would be at chance."""
    labels = np.tile([0, 1], 20)
    folds = np.repeat([0, 1], 20)
    read = labels * 1.0 + folds * 100
    found = auc(read[:, None], labels == 1, Held(folds, np.arange(40)))
    assert found.values[0] == 1.0
    assert roc_auc_score(labels, read) == 0.75


@pytest.mark.parametrize(
    ("metric", "value", "error", "groups", "expected"),
    [
        ("auc", 1.0, 0.0, 10, (0.025**0.1, 1.0)),
        ("auc", 0.0, 0.0, 10, (0.0, 1 - 0.025**0.1)),
        ("auc", 0.5, 0.0, 10, (0.5, 0.5)),
        ("r2", 1.0, 0.0, 10, (1.0, 1.0)),
        ("r2", 0.9, 0.2, 1000, (0.5075, 1.0)),
        ("auc", 0.9, 0.05, 1000, (0.7516, 0.9640)),
    ],
)
def test_bounds(metric: str, value: float, error: float, groups: int, expected: tuple[float, float]) -> None:
    assert interval(metric, value, error, groups) == pytest.approx(expected, abs=1e-3)


@pytest.mark.parametrize("sign", [1, -1])
def test_the_threshold_tells_most(sign: int) -> None:
    random = np.random.default_rng(0)
    positive = random.random(60) < 0.4
    values = np.round(random.normal(size=(60, 3)) + sign * positive[:, None], 1)
    found = thresholds(values, positive, np.full(3, sign))
    for neuron in range(3):

        def told(cut: float, column: Floats = values[:, neuron]) -> float:
            return balanced_accuracy_score(positive, sign * column > sign * cut)

        cuts = np.unique(values[:, neuron])
        assert told(found[neuron]) == pytest.approx(max(told(cut) for cut in (cuts[1:] + cuts[:-1]) / 2))

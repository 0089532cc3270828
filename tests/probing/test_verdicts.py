"""A verdict needs every control beaten, a p below the level, and a p that counts all that was asked."""

from __future__ import annotations

import numpy as np
import pytest

from graphneurons.probing.records import Control, ControlKind, Score
from graphneurons.probing.verdicts import corrected, verdict

KINDS: tuple[ControlKind, ...] = ("shuffled", "random", "untrained")


def controls(**high: float) -> tuple[Control, ...]:
    """Each up to 0.6, but those given."""
    return tuple(Control(kind, Score("auc", 0.5, 0.4, high.get(kind, 0.6))) for kind in KINDS)


@pytest.mark.parametrize(
    ("high", "p", "carries", "reason"),
    [
        ({}, 0.01, True, "AUC 0.80 is beyond every control"),
        ({"shuffled": 0.79}, 0.01, True, "AUC 0.80 is beyond every control (shuffled labels: up to 0.79), p = 0.01"),
        ({"shuffled": 0.81}, 0.01, False, "AUC 0.80 is not beyond shuffled labels (up to 0.81)"),
        ({"random": 0.81}, 0.01, False, "AUC 0.80 is not beyond random neurons (up to 0.81)"),
        ({"untrained": 0.69}, 0.01, True, "AUC 0.80 is beyond every control"),
        ({"untrained": 0.71}, 0.01, False, "AUC 0.80 [0.70, 0.90] is not beyond the untrained copy (up to 0.71)"),
        ({}, 0.05, False, "AUC 0.80, but the best of 9 asked is as good by chance: p = 0.05"),
        ({}, 0.6, False, "AUC 0.80, but the best of 9 asked is as good by chance: p = 0.6"),
    ],
)
def test_everything_must_be_beaten(high: dict[str, float], p: float, carries: bool, reason: str) -> None:
    found = verdict(Score("auc", 0.8, 0.7, 0.9), p, controls(**high), 0.05, 9)
    assert (found.carries, found.p) == (carries, p)
    assert found.reason.startswith(reason)


def test_r2_must_beat_the_mean() -> None:
    low = tuple(Control(kind, Score("r2", -0.5, -0.6, -0.4)) for kind in KINDS)
    assert not verdict(Score("r2", -0.1, -0.2, 0.0), 0.01, low, 0.05, 1).carries
    assert verdict(Score("r2", 0.1, 0.05, 0.2), 0.01, low, 0.05, 1).carries


def test_p_counts_all_concepts_and_neurons() -> None:
    """Under the null, some concept of six is found in no more runs than the level says; uncorrected, in many."""
    random = np.random.default_rng(0)
    runs, shuffles, concepts, neurons = 400, 99, 6, 4
    together, apart = 0, 0
    for _ in range(runs):
        drawn = random.normal(size=(shuffles + 1, concepts, neurons))
        best = drawn[1:].max(axis=2)
        p = corrected([drawn[0, concept] for concept in range(concepts)], best)
        together += min(one.min() for one in p) <= 0.05
        apart += min(
            corrected([drawn[0, concept]], best[:, [concept]])[0].min() for concept in range(concepts)
        ) <= 0.05  # fmt: skip
    assert together / runs < 0.05 + 2.5 * (0.05 * 0.95 / runs) ** 0.5
    assert apart / runs > 0.15, "concept by concept, one is found in many runs: the test must be able to fail"


def test_p_of_concepts_on_different_scales() -> None:
    """One that varies little is not drowned by one that varies much."""
    random = np.random.default_rng(1)
    best = np.stack([random.normal(size=199), 0.001 * random.normal(size=199)], axis=1)
    p = corrected([np.array([0.1]), np.array([0.006, 0.0])], best)
    assert p[1][0] == pytest.approx(1 / 200)
    assert p[0][0] > 0.3
    assert p[1][1] > 0.3

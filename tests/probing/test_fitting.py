"""Nothing is learned from what is held out: neither weights, nor scales, nor penalties; and weights are in the units of
the activations."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression, Ridge

from graphneurons.probing import fitting
from graphneurons.probing.fitting import Recipe, held_out, linear, tuned
from graphneurons.probing.records import Floats, Integers

RANDOM = np.random.default_rng(3)
VALUES = RANDOM.normal(size=(90, 6)) * [1, 2, 30, 0.01, 1, 1] + [0, 5, -40, 0, 1, 0]
FOLDS = np.arange(90) % 3
LABELS = {
    "binary": (VALUES[:, 0] > 0) * 1.0,
    "classes": np.digitize(VALUES[:, 4], [0.5, 1.5]) * 1.0,
    "number": VALUES[:, 1] + RANDOM.normal(size=90),
}
RECIPES = {
    f"{method} {task} {penalty}": Recipe(method, task, count, penalty, 1.0)  # type: ignore[arg-type]
    for method, task, count, penalty in [
        ("linear", "binary", 2, "l2"), ("linear", "binary", 2, "l1"), ("linear", "classes", 3, "l2"),
        ("linear", "classes", 3, "l1"), ("linear", "number", 0, "l2"), ("linear", "number", 0, "l1"),
        ("nonlinear", "binary", 2, "l2"), ("nonlinear", "classes", 3, "l2"), ("nonlinear", "number", 0, "l2"),
    ]
}  # fmt: skip


def readings(recipe: Recipe, values: Floats, labels: Floats) -> Floats:
    found = np.full(len(values), np.nan)
    for _, out, read in held_out([recipe] * 3, values, [labels], FOLDS):
        found[out] = read
    return found


@pytest.mark.parametrize("name", RECIPES)
def test_readings_do_not_depend_on_what_else_is_held_out(name: str) -> None:
    recipe = RECIPES[name]
    labels = LABELS[recipe.task]
    first = readings(recipe, VALUES, labels)
    assert np.isfinite(first).all()
    spoiled, wrong = VALUES.copy(), labels.copy()
    others = np.flatnonzero(FOLDS == 0)[1:]
    spoiled[others] = 1000 + 50 * VALUES[others]
    wrong[others] = np.roll(labels[others], 1)
    again = readings(recipe, spoiled, wrong)
    assert again[0] == first[0]
    assert not np.array_equal(again[FOLDS != 0], first[FOLDS != 0]), "there it was learned from"


def test_penalties_are_not_tuned_on_what_is_held_out(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[Floats, Floats, Integers]] = []

    def note(recipe: Recipe, values: Floats, labels: Floats, folds: Integers) -> Recipe:
        seen.append((values, labels, folds))
        return recipe

    monkeypatch.setattr(fitting, "_tuned", note)
    tuned(Recipe("linear", "binary", 2), VALUES, LABELS["binary"], FOLDS)
    assert len(seen) == 3
    for fold, (values, labels, folds) in enumerate(seen):
        learn = fold != FOLDS
        np.testing.assert_array_equal(folds, FOLDS[learn])
        np.testing.assert_array_equal(labels, LABELS["binary"][learn])
        expected = (VALUES[learn] - VALUES[learn].mean(axis=0)) / VALUES[learn].std(axis=0)
        np.testing.assert_allclose(values, expected, atol=1e-9)


@pytest.mark.parametrize("task", ["binary", "classes", "number"])
def test_weights_and_bias_read_activations_as_they_are(task: Any) -> None:
    """What scikit-learn learns from standardized activations, said of the activations themselves."""
    labels = LABELS[task]
    recipe = Recipe("linear", task, {"binary": 2, "classes": 3}.get(task, 0), strength=1.0)
    found = linear(recipe, VALUES, labels, FOLDS)
    scaled = (VALUES - VALUES.mean(axis=0)) / VALUES.std(axis=0)
    if task == "number":
        wanted = Ridge(alpha=1.0).fit(scaled, labels).predict(scaled)[:, None]
    else:
        regression = LogisticRegression(class_weight="balanced", max_iter=1000).fit(scaled, labels)
        wanted = regression.decision_function(scaled).reshape(len(labels), -1)
    np.testing.assert_allclose(VALUES @ found.weights.T + found.bias, wanted, rtol=1e-4, atol=1e-4)

"""Every neuron on its own: held-out scores of thousands of them at once, and what the best reaches by chance.

The probe of one neuron, ``sigmoid(w h + b)``, orders samples as ``h`` does, or the other way round: its held-out AUC
needs nothing but the ranks of ``h`` and the sign of ``w``. Logistic regression with balanced classes learns the sign of
the difference of the class means: its loss falls in that direction from ``w = 0``, and it is convex. So the AUC here
*is* that of one logistic regression per neuron and fold. Of more than two classes it is the mean over classes of one
against the rest; for numbers it is the r2 of a least-squares line.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from graphneurons.probing.learners import learner
from graphneurons.probing.records import Concept, Floats, Integers
from graphneurons.probing.scoring import Held, Scored, auc, mean_of, r2

_AT_ONCE = 1 << 22
_NOTHING = 1e-9

Values = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True, eq=False)
class Ranked:
    """``scored``: one reading per neuron. ``told``: of more than two classes, the index of the one each neuron tells
    best from the rest. ``signs``: -1, 0 (it tells nothing) or +1, of that class."""

    scored: Scored
    told: Integers
    signs: Integers


def rank(values: Values, labels: Floats, concept: Concept, held: Held) -> Ranked:
    """Held-out scores of every neuron: ``values`` (samples, neurons), ``labels`` (samples,)."""
    return _joined([_ranked(part, labels, concept, held) for _, part in chunks(values)])


def best_by_chance(
    values: Values,
    drawn: Integers,
    concept: Concept,
    rows: Integers,
    held: Held,
    done: Callable[[int], None] = lambda neurons: None,
) -> Floats:
    """The score of the best neuron for each shuffle of the labels, (shuffles,).

    ``drawn``: (shuffles, rows of the data), the row each row takes its label from; ``rows``: of each sample. Probes are
    learned anew for every shuffle. ``done`` is called with the number of neurons after each part of them.
    """
    best = np.full(len(drawn), -np.inf)
    at_once = max(1, _AT_ONCE // len(rows))
    for _, part in chunks(values):
        folds = [_Fold(part, held.folds == fold) for fold in np.unique(held.folds)]
        for start in range(0, len(drawn), at_once):
            labels = concept.values[drawn[start : start + at_once]][:, rows]
            scores = _chance_numbers(folds, labels) if concept.task == "number" else _chance(folds, labels, concept)
            best[start : start + at_once] = np.maximum(best[start : start + at_once], scores.max(axis=1))
        done(part.shape[1])
    return best


def contrasts(concept: Concept) -> range:
    """The classes that are told from the rest: of two the second, of more each."""
    return range(1, 2) if concept.task == "binary" else range(len(concept.classes))


def chunks(values: Values) -> Iterator[tuple[int, Floats]]:
    """Some neurons at a time, in float64: the index of the first, and the activations."""
    width = max(1, _AT_ONCE // max(len(values), 1))
    for start in range(0, values.shape[1], width):
        yield start, values[:, start : start + width].astype(np.float64)


class _Fold:
    """What shuffling leaves as it is: activations and ranks of the samples held out in one fold."""

    def __init__(self, values: Floats, out: npt.NDArray[np.bool_]) -> None:
        self.out = out
        self.values = (values - values.mean(axis=0))[out]
        self.ranks = np.asarray(learner("scipy.stats", "rankdata")(values[out], axis=0))
        self.total = self.values.sum(axis=0)
        self.squares = (self.values**2).sum(axis=0)


def _ranked(values: Floats, labels: Floats, concept: Concept, held: Held) -> Ranked:
    if concept.task == "number":
        everything = np.ones(len(values), dtype=bool)
        slopes = _slope(values, labels, everything)[0]
        predicted = np.empty_like(values)
        for fold in np.unique(held.folds):
            out = held.folds == fold
            slope, of_values, of_labels = _slope(values, labels, ~out)
            predicted[out] = of_labels + slope * (values[out] - of_values)
        return Ranked(
            r2(predicted, labels, held), np.zeros(values.shape[1], dtype=np.int64), np.sign(slopes).astype(np.int64)
        )
    found, signs = [], []
    for index in contrasts(concept):
        positive = labels == index
        turned = np.empty_like(values)
        for fold in np.unique(held.folds):
            out = held.folds == fold
            turned[out] = values[out] * _side(values[~out], positive[~out])
        found.append(auc(turned, positive, held))
        signs.append(_side(values, positive))
    best = np.argmax([one.values for one in found], axis=0)
    scored = found[0] if concept.task == "binary" else mean_of(found, "auc_ovr")
    told = np.array(contrasts(concept))[best].astype(np.int64)
    return Ranked(scored, told, np.array(signs)[best, np.arange(len(best))].astype(np.int64))


def _joined(parts: list[Ranked]) -> Ranked:
    first = parts[0].scored
    return Ranked(
        Scored(
            first.metric,
            np.concatenate([part.scored.values for part in parts]),
            np.concatenate([part.scored.changes for part in parts], axis=1),
            first.least,
        ),
        np.concatenate([part.told for part in parts]),
        np.concatenate([part.signs for part in parts]),
    )


def _side(values: Floats, positive: npt.NDArray[np.bool_]) -> Floats:
    away = values[positive].mean(axis=0) - values[~positive].mean(axis=0)
    return np.asarray(np.where(np.abs(away) > _NOTHING * values.std(axis=0), np.sign(away), 0.0))


def _slope(values: Floats, labels: Floats, training: npt.NDArray[np.bool_]) -> tuple[Floats, Floats, float]:
    of_values, of_labels = values[training].mean(axis=0), float(labels[training].mean())
    aside = values[training] - of_values
    squares = ((values - values.mean(axis=0)) ** 2).sum(axis=0)
    return _over((labels[training] - of_labels) @ aside, (aside**2).sum(axis=0), squares), of_values, of_labels


def _over(above: Floats, below: Floats, squares: Floats) -> Floats:
    """0 where a neuron hardly moved on the samples learned from: rounding is no slope."""
    return np.asarray(np.divide(above, below, out=np.zeros_like(above), where=below > _NOTHING * squares))


def _chance(folds: list[_Fold], labels: Floats, concept: Concept) -> Floats:
    total = np.zeros((len(labels), folds[0].values.shape[1]))
    scale = np.sqrt(sum(fold.squares for fold in folds) / labels.shape[1])
    for index in contrasts(concept):
        chosen = [(labels[:, fold.out] == index).astype(np.float64) for fold in folds]
        sums = [yes @ fold.values for yes, fold in zip(chosen, folds, strict=True)]
        counts = [yes.sum(axis=1)[:, None] for yes in chosen]
        all_sums, all_counts = sum(sums), sum(counts)
        right, pairs = np.zeros_like(sums[0]), np.zeros_like(counts[0])
        for fold, yes, own, count in zip(folds, chosen, sums, counts, strict=True):
            inside, there = all_sums - own, all_counts - count
            outside = -fold.total - inside
            elsewhere = labels.shape[1] - yes.shape[1] - there
            away = inside / np.maximum(there, 1) - outside / np.maximum(elsewhere, 1)
            sign = np.where(np.abs(away) > _NOTHING * scale, np.sign(away), 0.0)
            sign *= (there > 0) & (elsewhere > 0)
            half = count * (yes.shape[1] - count) / 2
            right += half + sign * (yes @ fold.ranks - count * (count + 1) / 2 - half)
            pairs += 2 * half
        total += np.where(pairs > 0, right / np.maximum(pairs, 1), 0.5)
    return total / len(contrasts(concept))


def _chance_numbers(folds: list[_Fold], labels: Floats) -> Floats:
    labels = labels - labels.mean(axis=1, keepdims=True)
    count = labels.shape[1]
    sums = [labels[:, fold.out].sum(axis=1)[:, None] for fold in folds]
    products = [labels[:, fold.out] @ fold.values for fold in folds]
    all_products, all_squares = sum(products), sum(fold.squares for fold in folds)
    missed = np.zeros_like(products[0])
    for fold, own, product in zip(folds, sums, products, strict=True):
        left = count - int(fold.out.sum())
        of_labels, of_values = -own / left, -fold.total / left
        slope = _over(
            all_products - product - left * of_labels * of_values,
            np.broadcast_to(all_squares - fold.squares - left * of_values**2, product.shape),
            all_squares,
        )
        size = count - left
        crossed = product - of_labels * fold.total - of_values * own + size * of_labels * of_values
        aside = fold.squares - 2 * of_values * fold.total + size * of_values**2
        level = ((labels[:, fold.out] - of_labels) ** 2).sum(axis=1)[:, None]
        missed += level - 2 * slope * crossed + slope**2 * aside
    return np.asarray(1 - missed / (labels**2).sum(axis=1)[:, None])

"""Many neurons together: one probe per concept and method, and the same probe where it should find nothing."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from graphneurons.probing.asking import Question, Run
from graphneurons.probing.controls import by_draws, random_neurons
from graphneurons.probing.fitting import Recipe, held_out, linear, tuned
from graphneurons.probing.records import Concept, Control, Floats, LayerProbe, Method, Score
from graphneurons.probing.scoring import Held, Scored, accuracy, auc, balanced_accuracy, r2
from graphneurons.probing.verdicts import corrected, selectivity, verdict


def layers_of(run: Run, questions: Sequence[Question], method: Method) -> list[LayerProbe]:
    """The probes of all concepts with one method: their p values depend on each other."""
    parts = [_layer(run, question, replace(run.recipe, method=method)) for question in questions]
    p_values = corrected([part.scored.values for part in parts], np.stack([part.by_chance for part in parts], axis=1))
    found = []
    for question, part, p in zip(questions, parts, p_values, strict=True):
        score = part.scored.score()
        found.append(
            LayerProbe(
                concept=question.concept.name,
                method=method,
                neurons=tuple(int(neuron) for neuron in run.neurons),
                score=score,
                accuracy=part.accuracy,
                controls=part.controls,
                selectivity=selectivity(score.value, part.controls),
                verdict=verdict(score, float(p[0]), part.controls, run.level, len(questions)),
                weights=part.weights,
                bias=part.bias,
            )
        )
    return found


@dataclass(frozen=True, slots=True, eq=False)
class _Read:
    """One concept read by many neurons. ``by_chance``: (refits,)."""

    scored: Scored
    accuracy: Score | None
    by_chance: Floats
    controls: tuple[Control, ...]
    weights: Floats | None
    bias: Floats | None


def _layer(run: Run, question: Question, recipe: Recipe) -> _Read:
    concept, held = question.concept, question.held
    recipe = replace(recipe, task=concept.task, classes=len(concept.classes))
    values = run.values.astype(np.float64)
    recipes = tuned(recipe, values, question.labels, held.folds)
    readings = _readings(run, recipes, values, [question.labels], held)[0]
    scored = _scored(concept, readings, question.labels, held)
    by_chance = list(_by_chance(run, question, recipes, values))
    noise = []
    for drawn in random_neurons(run.values, run.draws, run.seed):
        reading = _readings(run, recipes, drawn.astype(np.float64), [question.labels], held)[0]
        noise.append(_scored(concept, reading, question.labels, held).values[0])
    controls = [
        by_draws("shuffled", scored.metric, np.array(by_chance)),
        by_draws("random", scored.metric, np.array(noise)),
    ]
    if run.untrained is not None:
        copy = run.untrained.astype(np.float64)
        again = tuned(recipe, copy, question.labels, held.folds)
        other = _readings(run, again, copy, [question.labels], held)[0]
        controls.append(Control("untrained", _scored(concept, other, question.labels, held).score()))
    whole = linear(recipe, values, question.labels, held.folds) if recipe.method == "linear" else None
    return _Read(
        scored=scored,
        accuracy=_accuracy(concept, readings, question.labels, held),
        by_chance=np.array(by_chance),
        controls=tuple(controls),
        weights=whole.weights if whole else None,
        bias=whole.bias if whole else None,
    )


def _by_chance(run: Run, question: Question, recipes: Sequence[Recipe], values: Floats) -> Iterator[float]:
    """What the probe reaches with each shuffle of the labels.

    Folds are spread evenly over classes, so a label takes its fold along: else shuffled labels would lie less evenly in
    the folds than the true ones, and reach less for that reason alone. The folds of numbers do not depend on them.
    """
    concept, held = question.concept, question.held
    sources = run.drawn[: run.refits]
    mixed = [concept.values[source][run.rows] for source in sources]
    if concept.task == "number":
        for reading, labels in zip(_readings(run, recipes, values, mixed, held), mixed, strict=True):
            yield float(_scored(concept, reading, labels, held).values[0])
        return
    fold_of_row = np.zeros(len(concept.values), dtype=np.int64)
    fold_of_row[run.rows] = held.folds
    for source, labels in zip(sources, mixed, strict=True):
        along = Held(fold_of_row[source][run.rows], held.groups)
        reading = _readings(run, recipes, values, [labels], along)[0]
        yield float(_scored(concept, reading, labels, along).values[0])


def _readings(
    run: Run, recipes: Sequence[Recipe], values: Floats, labels: Sequence[Floats], held: Held
) -> Floats:
    """(labellings, samples): every sample read by the probe that has not seen it."""
    found = np.full((len(labels), len(values)), np.nan)
    for index, out, readings in held_out(recipes, values, labels, held.folds):
        found[index, out] = readings
        run.step(1)
    return found


def _scored(concept: Concept, readings: Floats, labels: Floats, held: Held) -> Scored:
    if concept.task == "number":
        return r2(readings[:, None], labels, held)
    if concept.task == "binary":
        return auc(readings[:, None], labels == 1, held)
    return balanced_accuracy(readings.astype(np.int64), labels.astype(np.int64), held)


def _accuracy(concept: Concept, readings: Floats, labels: Floats, held: Held) -> Score | None:
    if concept.task == "number":
        return None
    if concept.task == "binary":
        return balanced_accuracy((readings > 0).astype(np.int64), labels.astype(np.int64), held).score()
    return accuracy(readings.astype(np.int64), labels.astype(np.int64), held).score()

"""Probing: can a concept be read from the activations of a layer, by one neuron, by many, and beyond chance?"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from graphneurons.errors import UsageError, printable
from graphneurons.probing.controls import by_draws, random_neurons
from graphneurons.probing.describing import responses
from graphneurons.probing.fitting import Penalty, Recipe, held_out, linear
from graphneurons.probing.ranking import Ranked, Values, best_by_chance, rank
from graphneurons.probing.records import (
    Activations,
    Concept,
    ConceptReport,
    Control,
    Floats,
    Integers,
    LayerProbe,
    Method,
    NeuronProbe,
    ProbeReport,
    Score,
    Verdict,
)
from graphneurons.probing.scoring import Held, Scored, accuracy, auc, balanced_accuracy, r2
from graphneurons.probing.splitting import groups_of, held_out_in, shuffled
from graphneurons.probing.verdicts import corrected, selectivity, verdict
from graphneurons.views.selecting import listed

Progress = Callable[[int, int], None]
Neurons = str | Sequence[int]

METHODS: tuple[Method, ...] = ("single", "linear", "nonlinear")


@dataclass(frozen=True, slots=True, eq=False)
class _Question:
    """One concept, ready to be asked: ``labels`` and ``held`` of each sample."""

    concept: Concept
    labels: Floats
    held: Held


@dataclass(frozen=True, slots=True, eq=False)
class _Run:
    """What all questions share."""

    values: Values
    untrained: Values | None
    neurons: Integers
    rows: Integers
    drawn: Integers
    recipe: Recipe
    refits: int
    draws: int
    seed: int
    level: float
    step: Callable[[int], None]


def probe_activations(
    activations: Activations,
    concepts: Sequence[Concept],
    *,
    untrained: Activations | None = None,
    neurons: Neurons | None = None,
    methods: Sequence[Method] = ("single", "linear"),
    groups: npt.ArrayLike | None = None,
    folds: int = 5,
    seed: int = 0,
    level: float = 0.05,
    penalty: Penalty = "l2",
    strength: float = 1.0,
    shuffles: int = 999,
    refits: int = 99,
    draws: int = 10,
    model: str = "",
    notices: Sequence[str] = (),
    progress: Progress | None = None,
) -> ProbeReport:
    """Probes ``activations`` for ``concepts``. All scores are of held-out samples, in ``folds`` folds.

    ``groups``: (rows of the data,), what belongs together (a subject, a document): never split between learning and
    holding out, and the unit of intervals and shuffles. Without them every row of the data is one, with all its
    positions. ``neurons``: which to read, ``"0,5,10:20"`` or indices. ``penalty`` and ``strength``: of the probes of
    many neurons. ``shuffles``: of the labels for single neurons; ``refits``: for probes of many, each learned anew;
    ``draws``: of random neurons. ``untrained``: the same samples in a copy of the model with weights drawn anew;
    without it that control is left out. ``level``: of the corrected p values; the correction is over all neurons and
    concepts asked by the same method. ``progress`` is called with (done, total).

    The same input and ``seed`` give the same report. Raises UsageError for labels, groups or neurons that do not fit
    the activations, classes too rare to be split, activations that are not finite, and without scikit-learn.
    """
    rows = _checked(activations, concepts, untrained)
    unknown = [method for method in methods if method not in METHODS]
    if unknown or not methods:
        raise UsageError(f"no probe {printable(str(unknown[0]))!r}" if unknown else "no probe; expected some of single")
    for name, count in (("shuffles", shuffles), ("refits", refits)):
        if (1 + count) * level <= 1:
            raise UsageError(f"{name}={count} cannot show p below {level:g}; expected at least {int(1 / level)}")
    if draws < 3:
        raise UsageError(f"draws={draws}: expected at least 3, to see how random neurons vary")
    if strength <= 0:
        raise UsageError(f"strength={strength:g}: expected a positive number, 1 is the usual penalty")
    of = groups_of(groups, rows)
    selected = _chosen(neurons, activations)
    questions = [
        _Question(
            concept,
            concept.values[activations.rows],
            Held(held_out_in(concept, of, folds, seed)[activations.rows], of[activations.rows]),
        )
        for concept in concepts
    ]
    other = None
    if untrained is not None:
        same = untrained.values.shape[1] == activations.values.shape[1]
        other = untrained.values[:, selected] if same else untrained.values
    run = _Run(
        values=activations.values[:, selected],
        untrained=other,
        neurons=selected,
        rows=activations.rows,
        drawn=shuffled(of, max(shuffles, refits), seed),
        recipe=Recipe("linear", "binary", 2, penalty, strength, seed),
        refits=refits,
        draws=draws,
        seed=seed,
        level=level,
        step=lambda units: None,
    )
    tried = [method for method in METHODS[1:] if method in methods]
    run = replace(run, step=_counter(progress, len(questions) * _units(run, "single" in methods, len(tried), folds)))
    singles = _singles(replace(run, drawn=run.drawn[:shuffles]), questions) if "single" in methods else None
    probes = [_layers(run, questions, method) for method in tried]
    reports = []
    for index, question in enumerate(questions):
        ranked, controls = singles[index] if singles else ((), ())
        reports.append(ConceptReport(question.concept, tuple(found[index] for found in probes), ranked, controls))
    return ProbeReport(model, activations.layer, activations, tuple(reports), folds, seed, tuple(notices))


def _checked(activations: Activations, concepts: Sequence[Concept], untrained: Activations | None) -> int:
    """The number of rows of the data."""
    where = f"layer {printable(activations.layer)}"
    for one, what in ((activations, where), (untrained, f"the untrained copy of {where}")):
        if one is None:
            continue
        if one.values.ndim != 2 or one.rows.shape != one.values.shape[:1] or not one.values.size:
            raise UsageError(
                f"{what}: activations {list(one.values.shape)} of rows {list(one.rows.shape)}; expected "
                "[samples, neurons] and [samples]"
            )
        wrong = np.argwhere(~np.isfinite(one.values))
        if len(wrong):
            sample, neuron = (int(index) for index in wrong[0])
            raise UsageError(
                f"{what}: neuron {neuron} is {one.values[sample, neuron]} in row {int(one.rows[sample])} of the data "
                f"({len(np.unique(wrong[:, 1])):,} neurons are not finite); expected finite activations"
            )
    rows = int(activations.rows.max()) + 1
    for concept in concepts:
        if len(concept.values) != rows:
            raise UsageError(
                f"label {printable(concept.name)!r} has {len(concept.values):,} values; the data have {rows:,} rows: "
                "expected one label per row"
            )
    if not concepts:
        raise UsageError("no concept to probe for; expected at least one")
    if untrained is not None and not np.array_equal(untrained.rows, activations.rows):
        raise UsageError(f"the untrained copy of {where} has other samples; expected those of the model itself")
    return rows


def _chosen(neurons: Neurons | None, activations: Activations) -> Integers:
    count = activations.values.shape[1]
    what = printable(activations.layer)
    if neurons is None:
        return np.arange(count, dtype=np.int64)
    if isinstance(neurons, str):
        return np.array(listed(neurons, count, what, count), dtype=np.int64)
    found = list(dict.fromkeys(int(neuron) for neuron in neurons))
    for neuron in found:
        if not 0 <= neuron < count:
            raise UsageError(f"{what} has neurons 0 to {count - 1:,}, {neuron} is not there")
    if not found:
        raise UsageError(f"no neurons of {what} chosen; expected at least one")
    return np.array(found, dtype=np.int64)


def _units(run: _Run, singles: bool, methods: int, folds: int) -> int:
    """Units of work for one concept: all neurons ranked, or one labelling learned in one fold."""
    again = run.draws + (run.untrained is not None)
    return methods * folds * (1 + run.refits + again) + singles * (2 + again)


def _counter(progress: Progress | None, total: int) -> Callable[[int], None]:
    done = 0

    def step(units: int) -> None:
        nonlocal done
        done += units
        if progress is not None:
            progress(min(done, total), total)

    return step


def _singles(run: _Run, questions: Sequence[_Question]) -> list[tuple[tuple[NeuronProbe, ...], tuple[Control, ...]]]:
    varying = np.flatnonzero(np.ptp(run.values, axis=0) > 0)
    values = run.values[:, varying]
    ranked, best, controls = [], [], []
    for question in questions:
        ranked.append(rank(run.values, question.labels, question.concept, question.held))
        run.step(1)
        metric = ranked[-1].scored.metric
        by_chance = _best(run, values, run.drawn, question)
        found = [by_draws("shuffled", metric, by_chance)]
        same = np.arange(len(question.concept.values))[None]
        noise = [_best(run, one, same, question)[0] for one in random_neurons(values, run.draws, run.seed)]
        found.append(by_draws("random", metric, np.array(noise)))
        if run.untrained is not None:
            other = rank(run.untrained, question.labels, question.concept, question.held).scored
            found.append(Control("untrained", other.score(int(np.argmax(other.values)))))
            run.step(1)
        best.append(by_chance)
        controls.append(tuple(found))
    p_values = corrected([one.scored.values[varying] for one in ranked], np.stack(best, axis=1))
    asked = len(varying) * len(questions)
    answers = []
    for question, one, p, control in zip(questions, ranked, p_values, controls, strict=True):
        of = np.ones(len(run.neurons))
        of[varying] = p
        answers.append((_ranking(run, question, one, of, control, asked), control))
    return answers


def _best(run: _Run, values: Values, drawn: Integers, question: _Question) -> Floats:
    found = best_by_chance(values, drawn, question.concept, run.rows, question.held)
    run.step(1)
    return found


def _ranking(
    run: _Run, question: _Question, ranked: Ranked, p: Floats, controls: tuple[Control, ...], asked: int
) -> tuple[NeuronProbe, ...]:
    described = None if question.concept.task == "number" else responses(run.values, question.labels, ranked)
    found = []
    for at in np.argsort(-ranked.scored.values, kind="stable"):
        score = ranked.scored.score(int(at))
        first = run.values[0, at]
        if (run.values[:, at] == first).all():
            said = Verdict(False, 1.0, f"constant: {first:g} on all {len(run.values):,} samples")
        else:
            said = verdict(score, float(p[at]), controls, run.level, asked)
        probe = NeuronProbe(
            int(run.neurons[at]), score, selectivity(score.value, controls), said, int(ranked.signs[at])
        )
        if described is not None:
            probe = replace(
                probe,
                told=question.concept.classes[ranked.told[at]],
                threshold=float(described.threshold[at]),
                rate_with=float(described.rate_with[at]),
                rate_without=float(described.rate_without[at]),
                mean_with=float(described.mean_with[at]),
                mean_without=float(described.mean_without[at]),
            )
        found.append(probe)
    return tuple(found)


def _layers(run: _Run, questions: Sequence[_Question], method: Method) -> list[LayerProbe]:
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
class _Layer:
    """One concept read by many neurons. ``by_chance``: (refits,)."""

    scored: Scored
    accuracy: Score | None
    by_chance: Floats
    controls: tuple[Control, ...]
    weights: Floats | None
    bias: Floats | None


def _layer(run: _Run, question: _Question, recipe: Recipe) -> _Layer:
    concept, held = question.concept, question.held
    recipe = replace(recipe, task=concept.task, classes=len(concept.classes))
    values = run.values.astype(np.float64)
    mixed = [concept.values[source][run.rows] for source in run.drawn[: run.refits]]
    readings = _readings(run, recipe, values, [question.labels, *mixed], held)
    scored = _scored(concept, readings[0], question.labels, held)
    by_chance = [
        _scored(concept, one, labels, held).values[0] for one, labels in zip(readings[1:], mixed, strict=True)
    ]
    noise = [
        _scored(concept, _readings(run, recipe, one.astype(np.float64), [question.labels], held)[0], question.labels, held).values[0]
        for one in random_neurons(run.values, run.draws, run.seed)
    ]
    controls = [
        by_draws("shuffled", scored.metric, np.array(by_chance)),
        by_draws("random", scored.metric, np.array(noise)),
    ]
    if run.untrained is not None:
        other = _readings(run, recipe, run.untrained.astype(np.float64), [question.labels], held)[0]
        controls.append(Control("untrained", _scored(concept, other, question.labels, held).score()))
    whole = linear(recipe, values, question.labels) if recipe.method == "linear" else None
    return _Layer(
        scored=scored,
        accuracy=_accuracy(concept, readings[0], question.labels, held),
        by_chance=np.array(by_chance),
        controls=tuple(controls),
        weights=whole.weights if whole else None,
        bias=whole.bias if whole else None,
    )


def _readings(run: _Run, recipe: Recipe, values: Floats, labels: Sequence[Floats], held: Held) -> Floats:
    """(labellings, samples): every sample read by the probe that has not seen it."""
    found = np.full((len(labels), len(values)), np.nan)
    for index, out, readings in held_out(recipe, values, labels, held.folds):
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

"""Every neuron on its own, ranked, against what the best of as many reaches by chance."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from graphneurons.probing.asking import Question, Run
from graphneurons.probing.controls import by_draws, random_neurons
from graphneurons.probing.describing import responses
from graphneurons.probing.ranking import Ranked, Values, best_by_chance, rank
from graphneurons.probing.records import Control, Floats, Integers, NeuronProbe, Verdict
from graphneurons.probing.verdicts import corrected, selectivity, verdict


def singles_of(run: Run, questions: Sequence[Question]) -> list[tuple[tuple[NeuronProbe, ...], tuple[Control, ...]]]:
    varying = np.flatnonzero(np.ptp(run.values, axis=0) > 0)
    if not len(varying):
        varying = np.arange(len(run.neurons))
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


def _best(run: Run, values: Values, drawn: Integers, question: Question) -> Floats:
    found = best_by_chance(values, drawn, question.concept, run.rows, question.held)
    run.step(1)
    return found


def _ranking(
    run: Run, question: Question, ranked: Ranked, p: Floats, controls: tuple[Control, ...], asked: int
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

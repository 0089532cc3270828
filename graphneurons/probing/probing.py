"""Probing: can a concept be read from the activations of a layer, by one neuron, by many, and beyond chance?"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from graphneurons.analysis import Analysis, Layer
from graphneurons.axes.rules.site import Shape
from graphneurons.errors import UsageError, printable
from graphneurons.probing.asking import (
    Neurons,
    Progress,
    Question,
    Run,
    check_rows,
    checked,
    chosen_neurons,
    counter,
    units,
)
from graphneurons.probing.collecting import Data, activations
from graphneurons.probing.concepts import Labels, concepts_of, taken_as_numbers
from graphneurons.probing.fitting import Penalty, Recipe
from graphneurons.probing.learners import learner
from graphneurons.probing.records import Activations, Concept, ConceptReport, Method, Pooling, ProbeReport, Task
from graphneurons.probing.scoring import Held
from graphneurons.probing.singles import singles_of
from graphneurons.probing.splitting import groups_of, held_out_in, shuffled
from graphneurons.probing.together import layers_of

METHODS: tuple[Method, ...] = ("single", "linear", "nonlinear")

_PARTS = 1000


def probe(
    model: Any,
    layer: str | Layer,
    data: Data,
    labels: Labels,
    *,
    task: Task | Mapping[str, Task] | None = None,
    neurons: Neurons | None = None,
    methods: Sequence[Method] | Method = ("single", "linear"),
    groups: npt.ArrayLike | None = None,
    after: bool = True,
    pooling: Pooling = "mean",
    untrained: bool = True,
    folds: int = 5,
    seed: int = 0,
    level: float = 0.05,
    penalty: Penalty = "l2",
    strength: float | None = None,
    shuffles: int = 999,
    refits: int = 99,
    draws: int = 10,
    batch: int | None = None,
    shapes: Mapping[str, Shape] | None = None,
    dims: Mapping[str, int] | None = None,
    progress: Progress | None = None,
) -> ProbeReport:
    """What the neurons of ``layer`` respond to: which of them carry the concepts ``labels`` name, alone or together.

    ``model``, ``layer``, ``data``, ``after``, ``pooling``, ``batch``, ``shapes``, ``dims``: what is run and what is
    read of it (see `graphneurons.probing.collecting.activations`). ``labels``: (rows,), or several of them by name,
    each a concept: text, booleans, integers or numbers; ``task`` says what they are where that is not plain
    (`graphneurons.probing.concepts.concepts_of`). ``untrained``: also run a copy of the model with weights drawn anew,
    as a control. All else: `probe_activations`. ``progress`` is called with (done, total), in thousandths of the way.

    Raises what these three raise: `UsageError`, `DataError`, `LoadError`. An interrupt leaves nothing behind.
    """
    _checked_options(methods, penalty, strength, level, shuffles, refits, draws)
    concepts = concepts_of(labels, task)
    given = next(iter(data.values()), None) if isinstance(data, Mapping) else data
    rows = np.shape(given)[0] if given is not None and np.ndim(given) else None
    if rows is not None:
        check_rows(concepts, rows)
        of = groups_of(groups, rows)
        for concept in concepts:
            held_out_in(concept, of, folds, seed)

    def between(start: int, stop: int) -> Progress | None:
        if progress is None:
            return None
        return lambda done, total: progress(start + (stop - start) * done // max(total, 1), _PARTS)

    def run(copy: int | None, start: int) -> Activations:
        return activations(
            model,
            layer,
            data,
            after=after,
            pooling=pooling,
            untrained=copy,
            batch=batch,
            shapes=shapes,
            dims=dims,
            progress=between(start, start + 100),
        )

    trained = run(None, 0)
    copied = run(seed, 100) if untrained else None
    said = [*taken_as_numbers(labels, concepts), *trained.notices]
    said += [notice for notice in copied.notices if notice not in said] if copied else []
    return probe_activations(
        trained,
        concepts,
        untrained=copied,
        neurons=neurons,
        methods=methods,
        groups=groups,
        folds=folds,
        seed=seed,
        level=level,
        penalty=penalty,
        strength=strength,
        shuffles=shuffles,
        refits=refits,
        draws=draws,
        model=_name(model),
        notices=said,
        progress=between(200, _PARTS),
    )


def _name(model: Any) -> str:
    """How reports call ``model``."""
    if isinstance(model, Analysis):
        return model.model.path
    return os.fspath(model) if isinstance(model, (str, os.PathLike)) else type(model).__name__


def probe_activations(
    activations: Activations,
    concepts: Sequence[Concept],
    *,
    untrained: Activations | None = None,
    neurons: Neurons | None = None,
    methods: Sequence[Method] | Method = ("single", "linear"),
    groups: npt.ArrayLike | None = None,
    folds: int = 5,
    seed: int = 0,
    level: float = 0.05,
    penalty: Penalty = "l2",
    strength: float | None = None,
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
    positions. ``neurons``: which to read, ``"0,5,10:20"`` or indices. ``penalty``, ``strength``: of the probes of many
    neurons (`graphneurons.probing.fitting.Recipe`). ``shuffles``: of the labels for single neurons; ``refits``: for
    probes of many, each learned anew with the strength the true labels were given; ``draws``: of random neurons.
    ``untrained``: the same samples in a copy of the model with weights drawn anew; without it that control is left out.
    ``level``: of the corrected p values; the correction is over all neurons and concepts asked by the same method.
    ``progress`` is called with (done, total).

    The same input and ``seed`` give the same report. Raises UsageError for labels, groups or neurons that do not fit
    the activations, classes too rare to be split, activations that are not finite, and without scikit-learn.
    """
    rows = checked(activations, concepts, untrained)
    wanted = _checked_options(methods, penalty, strength, level, shuffles, refits, draws)
    of = groups_of(groups, rows)
    selected = chosen_neurons(neurons, activations)
    questions = [
        Question(
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
    run = Run(
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
    tried = [method for method in METHODS[1:] if method in wanted]
    run = replace(run, step=counter(progress, len(questions) * units(run, "single" in wanted, len(tried), folds)))
    singles = singles_of(replace(run, drawn=run.drawn[:shuffles]), questions) if "single" in wanted else None
    probes = [layers_of(run, questions, method) for method in tried]
    reports = []
    for index, question in enumerate(questions):
        ranked, controls = singles[index] if singles else ((), ())
        reports.append(ConceptReport(question.concept, tuple(found[index] for found in probes), ranked, controls))
    return ProbeReport(model, activations.layer, activations, tuple(reports), folds, seed, tuple(notices))


def _checked_options(
    methods: Sequence[Method] | Method,
    penalty: Penalty,
    strength: float | None,
    level: float,
    shuffles: int,
    refits: int,
    draws: int,
) -> tuple[Method, ...]:
    """The methods; before anything is run."""
    learner("sklearn.linear_model", "LogisticRegression")
    wanted = (methods,) if isinstance(methods, str) else tuple(methods)
    wrong = [printable(str(method)) for method in wanted if method not in METHODS]
    if wrong or not wanted:
        raise UsageError(f"no method {wrong[0] if wrong else 'given'}; expected some of {', '.join(METHODS)}")
    if penalty not in ("l2", "l1"):
        raise UsageError(f"no penalty {printable(str(penalty))!r}; expected l2 or l1")
    if not 0 < level < 1:
        raise UsageError(f"level={level:g}: expected a number between 0 and 1")
    for name, count in (("shuffles", shuffles), ("refits", refits)):
        if (1 + count) * level <= 1:
            raise UsageError(f"{name}={count} cannot show p below {level:g}; expected at least {int(1 / level)}")
    if draws < 3:
        raise UsageError(f"draws={draws}: expected at least 3, to see how random neurons vary")
    if strength is not None and strength <= 0:
        raise UsageError(f"strength={strength:g}: expected a positive number, or None: tuned")
    return wanted

"""What is asked of a layer: concepts and samples that fit together, checked before anything is learned."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from graphneurons.errors import UsageError, printable
from graphneurons.probing.fitting import Recipe
from graphneurons.probing.ranking import Values
from graphneurons.probing.records import Activations, Concept, Floats, Integers
from graphneurons.probing.scoring import Held
from graphneurons.views.selecting import listed

Progress = Callable[[int, int], object]
Neurons = str | Sequence[int]


@dataclass(frozen=True, slots=True, eq=False)
class Question:
    """One concept, ready to be asked: ``labels`` and ``held`` of each sample."""

    concept: Concept
    labels: Floats
    held: Held


@dataclass(frozen=True, slots=True, eq=False)
class Run:
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


def checked(activations: Activations, concepts: Sequence[Concept], untrained: Activations | None) -> int:
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
    check_rows(concepts, rows)
    if not concepts:
        raise UsageError("no concept to probe for; expected at least one")
    if untrained is not None and not np.array_equal(untrained.rows, activations.rows):
        raise UsageError(f"the untrained copy of {where} has other samples; expected those of the model itself")
    return rows


def check_rows(concepts: Sequence[Concept], rows: int) -> None:
    """Raises UsageError where a concept has another number of labels than the data have rows."""
    for concept in concepts:
        if len(concept.values) != rows:
            raise UsageError(
                f"label {printable(concept.name)!r} has {len(concept.values):,} values; the data have {rows:,} rows: "
                "expected one label per row"
            )


def chosen_neurons(neurons: Neurons | None, activations: Activations) -> Integers:
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


def units(run: Run, singles: bool, methods: int, folds: int) -> int:
    """Units of work for one concept: all neurons ranked, or one labelling learned in one fold."""
    again = run.draws + (run.untrained is not None)
    return methods * folds * (1 + run.refits + again) + singles * (2 + again)


def counter(progress: Progress | None, total: int) -> Callable[[int], None]:
    done = 0

    def step(units: int) -> None:
        nonlocal done
        done += units
        if progress is not None:
            progress(min(done, total), total)

    return step

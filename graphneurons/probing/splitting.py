"""Which samples are held out together, and how labels are shuffled without breaking what belongs together."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import numpy.typing as npt

from graphneurons.errors import UsageError, printable
from graphneurons.probing.learners import learner
from graphneurons.probing.records import Concept, Integers


def groups_of(groups: npt.ArrayLike | None, rows: int) -> Integers:
    """The number of each row's group, counted from 0: as given, (rows,), or every row a group of its own.

    Raises UsageError where they are not one per row.
    """
    if groups is None:
        return np.arange(rows, dtype=np.int64)
    given = np.asarray(groups)
    if given.shape != (rows,):
        raise UsageError(f"groups have shape {list(given.shape)}; the data have {rows} rows: expected [{rows}]")
    if given.dtype.kind not in "biufUS":
        raise UsageError(f"groups are of type {given.dtype}; expected text or numbers")
    return np.unique(given, return_inverse=True)[1].reshape(-1).astype(np.int64)


def held_out_in(concept: Concept, groups: Integers, folds: int, seed: int) -> Integers:
    """The fold in which each row is held out, (rows,). No group is in two folds; classes are spread evenly.

    scikit-learn splits: groups of one label each by ``StratifiedKFold``, of several by ``StratifiedGroupKFold``,
    numbers by ``KFold`` over groups. Raises UsageError where a class, or the data, has fewer groups than folds.
    """
    count = int(groups.max()) + 1
    unit = "rows" if count == len(groups) else "groups"
    if folds < 2:
        raise UsageError(f"folds={folds}: expected at least 2, to hold data out")
    if count < folds:
        raise UsageError(f"{count} {unit} cannot be split into {folds} folds; expected at least one {unit[:-1]} a fold")
    first = np.unique(groups, return_index=True)[1]
    if concept.task == "number":
        parts = learner("sklearn.model_selection", "KFold")(folds, shuffle=True, random_state=seed).split(first)
        return _spread(parts, count)[groups]
    labels = concept.values.astype(np.int64)
    for index, name in enumerate(concept.classes):
        having = len(np.unique(groups[labels == index]))
        if having < folds:
            raise UsageError(
                f"label {printable(concept.name)!r}: class {printable(name)!r} is in {having} {unit}; {folds} folds "
                f"need at least {folds} of every class: more data, or fewer folds"
            )
    if np.array_equal(labels, labels[first][groups]):
        split = learner("sklearn.model_selection", "StratifiedKFold")(folds, shuffle=True, random_state=seed)
        return _spread(split.split(first, labels[first]), count)[groups]
    split = learner("sklearn.model_selection", "StratifiedGroupKFold")(folds, shuffle=True, random_state=seed)
    found = _spread(split.split(labels, labels, groups), len(groups))
    for fold in range(folds):
        for index, name in enumerate(concept.classes):
            if not (labels[found != fold] == index).any():
                raise UsageError(
                    f"label {printable(concept.name)!r}: class {printable(name)!r} has all its samples in one fold of "
                    "groups; expected it in more groups, or other folds or another seed"
                )
    return found


def _spread(parts: Iterable[tuple[Integers, Integers]], count: int) -> Integers:
    found = np.empty(count, dtype=np.int64)
    for fold, (_, held_out) in enumerate(parts):
        found[held_out] = fold
    return found


def shuffled(groups: Integers, count: int, seed: int) -> Integers:
    """``count`` times for every row the row whose label it is given, (count, rows): labels that mean nothing.

    Every group takes the labels of another group, in random order (repeated or cut where sizes differ). Where each row
    is a group that is a plain permutation; where a group has one label, groups swap labels. Labels that cluster by
    group still do, so the null is as wide as it has to be (whole blocks are exchanged: Winkler et al. 2015,
    "Multi-level block permutation"). Within a group, rows are taken as exchangeable.
    """
    random = np.random.default_rng([seed, 1])
    sizes = np.bincount(groups)
    order = np.argsort(groups, kind="stable")
    starts = np.cumsum(sizes) - sizes
    position = np.empty(len(groups), dtype=np.int64)
    position[order] = np.arange(len(groups)) - np.repeat(starts, sizes)
    found = np.empty((count, len(groups)), dtype=np.int64)
    for draw in range(count):
        mixed = np.lexsort((random.random(len(groups)), groups))
        donor = random.permutation(len(sizes))[groups]
        found[draw] = mixed[starts[donor] + position % sizes[donor]]
    return found

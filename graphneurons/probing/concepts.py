"""Concepts from labels: what is a class, what is a number, and which labels are no labels at all."""

from __future__ import annotations

import os
import zipfile
from collections.abc import Mapping
from typing import Any, TypeAlias, Union

import numpy as np
import numpy.typing as npt

from graphneurons.errors import DataError, UsageError, printable
from graphneurons.probing.records import Concept, Task

Labels: TypeAlias = Union[npt.ArrayLike, Mapping[str, npt.ArrayLike]]  # noqa: UP007

MOST_CLASSES = 20
_TASKS = ("binary", "classes", "number")


def read_labels(path: str | os.PathLike[str]) -> dict[str, npt.NDArray[Any]]:
    """The arrays of an ``.npz`` file by name, each a concept; of an ``.npy`` file the one, named after the file.

    Nothing is unpickled. Raises DataError for files that are none of the two, or hold Python objects.
    """
    file = os.fspath(path)
    try:
        found = np.load(file, allow_pickle=False)
        if isinstance(found, np.ndarray):
            return {os.path.splitext(os.path.basename(file))[0]: found}
        with found:
            return {name: found[name] for name in found.files}
    except FileNotFoundError as problem:
        raise UsageError("no such file; expected an .npz of labels", file=file) from problem
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as problem:
        raise DataError(
            f"no labels can be read ({problem}); expected an .npz or .npy file of numbers or text", file=file
        ) from problem


def concepts_of(labels: Labels, task: Task | Mapping[str, Task] | None = None) -> tuple[Concept, ...]:
    """One concept per array of ``labels``, (rows,) each; a bare array is the concept ``label``.

    Text and booleans are classes. So are integers of at most 20 different values, and other numbers of two. All else is
    a number, unless ``task`` (one for all, or by name) says otherwise. Classes are in sorted order: of two, the second
    is the one that is carried (``True``, 1).

    Raises UsageError, naming the concept, for labels of more than one axis, of another type, not finite, or all equal.
    """
    named = labels if isinstance(labels, Mapping) else {"label": labels}
    if not named:
        raise UsageError("no labels given: expected at least one array, one label per row of the data")
    if isinstance(task, Mapping):
        for name in task:
            if name not in named:
                raise UsageError(f"task given for label {printable(name)!r}, but there are {_listed(list(named))}")
    return tuple(
        concept(name, values, task.get(name) if isinstance(task, Mapping) else task) for name, values in named.items()
    )


def concept(name: str, labels: npt.ArrayLike, task: Task | None = None) -> Concept:
    """The concept ``labels`` spell out, (rows,). See `concepts_of`."""
    values = np.asarray(labels)
    where = f"label {printable(name)!r}"
    if values.ndim == 2 and values.shape[1] == 1:
        values = values[:, 0]
    if values.ndim != 1:
        raise UsageError(f"{where} has shape {list(values.shape)}; expected one label per row of the data: [rows]")
    if values.size == 0:
        raise UsageError(f"{where} is empty; expected one label per row of the data")
    if values.dtype.kind == "O" and all(isinstance(value, str) for value in values):
        values = values.astype(str)
    if values.dtype.kind not in "biufUS":
        raise UsageError(f"{where} is of type {values.dtype}; expected text, booleans, integers or real numbers")
    if values.dtype.kind == "f" and not np.isfinite(values).all():
        at = int(np.flatnonzero(~np.isfinite(values))[0])
        raise UsageError(f"{where} is {values[at]} in row {at}; expected finite numbers: leave rows without label out")
    if task is not None and task not in _TASKS:
        raise UsageError(f"{where}: no task {printable(str(task))!r}; expected {', '.join(_TASKS)}")
    kinds, indices = np.unique(values, return_inverse=True)
    if len(kinds) == 1:
        raise UsageError(f"{where} is {_shown(kinds[0])} in all {len(values)} rows; expected at least two different")
    chosen = task or _task(values, len(kinds))
    if chosen == "number":
        if values.dtype.kind in "US":
            raise UsageError(f"{where} is text, which is no number; expected task binary or classes")
        return Concept(name, "number", values.astype(np.float64))
    if chosen == "binary" and len(kinds) != 2:
        raise UsageError(f"{where} has {len(kinds)} different values; a binary concept has two")
    return Concept(
        name,
        "binary" if len(kinds) == 2 else "classes",
        indices.reshape(-1).astype(np.float64),
        tuple(_shown(kind) for kind in kinds),
    )


def taken_as_numbers(labels: Labels, concepts: tuple[Concept, ...]) -> tuple[str, ...]:
    """A notice for every concept whose integers were taken as numbers because they are too many for classes."""
    named = labels if isinstance(labels, Mapping) else {"label": labels}
    return tuple(
        f"label {printable(found.name)!r}: {len(np.unique(found.values))} different integers were taken as numbers; "
        "say task classes if they are classes"
        for found in concepts
        if found.task == "number" and np.asarray(named[found.name]).dtype.kind in "iu"
    )


def _task(values: npt.NDArray[Any], kinds: int) -> Task:
    if kinds == 2:
        return "binary"
    if values.dtype.kind == "f" or (values.dtype.kind in "iu" and kinds > MOST_CLASSES):
        return "number"
    return "classes"


def _shown(value: Any) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)


def _listed(names: list[str]) -> str:
    return ", ".join(repr(printable(name)) for name in names[:10])

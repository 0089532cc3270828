"""The data that models are fed with: read from files, matched with the inputs, checked, cast and cut into batches."""

from __future__ import annotations

import os
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

import numpy as np
import numpy.typing as npt

from graphneurons.errors import DataError, UsageError
from graphneurons.graph import Value

Array = npt.NDArray[Any]
Shape = tuple[int, ...]

ONLY = ""
"""Name of an array that came without one: it is for the only input."""

_NUMPY = {
    "float16": "float16", "float32": "float32", "float64": "float64", "bool": "bool", "complex64": "complex64",
    **{f"{sign}int{bits}": f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64)},
}  # fmt: skip


def read_data(path: str | os.PathLike[str]) -> dict[str, Array]:
    """The arrays of an ``.npz`` by name, or the one of an ``.npy`` under the name `ONLY`. Pickles are never opened.

    Raises `DataError` where the file is no such thing.
    """
    file = os.fspath(path)
    try:
        stored = np.load(file, allow_pickle=False)
        if isinstance(stored, np.ndarray):
            return {ONLY: stored}
        with stored:
            return {name: stored[name] for name in stored.files}
    except FileNotFoundError:
        raise DataError("no such file; check the path", file=file) from None
    except (OSError, ValueError, EOFError, zipfile.BadZipFile, KeyError, MemoryError) as error:
        if isinstance(error, OSError) and error.strerror:
            raise DataError(f"the file cannot be read ({error.strerror})", file=file) from None
        why = "arrays of objects are pickles, which are never opened" if "pickle" in str(error) else str(error)
        raise DataError(f"no .npz or .npy file of arrays ({why}); write it with numpy.savez", file=file) from None


@dataclass(frozen=True, slots=True, eq=False)
class Feed:
    """One input with its data: ``rows`` first, then the shape of one row, in the type the input wants. For an input
    that is a single number (a sampling rate), that number: all rows share it."""

    value: Value
    rows: Array

    @property
    def name(self) -> str:
        return self.value.name

    @property
    def is_shared(self) -> bool:
        return not self.rows.ndim


def matched(data: Mapping[str, Array], inputs: Sequence[Value], needed: Sequence[str], path: str) -> list[Feed]:
    """The arrays for the ``needed`` ones of ``inputs``. Raises `UsageError` for names that are missing or unknown, rows
    that do not go together, and types that cannot be cast without loss."""
    names = [value.name for value in inputs]
    given = {name: np.asarray(array) for name, array in data.items()}
    if len(given) == 1 and len(names) == 1:
        given = {names[0]: next(iter(given.values()))}
    elif ONLY in given and len(needed) == 1:
        given[needed[0]] = given.pop(ONLY)
    elif ONLY in given:
        raise UsageError(
            f"an array without a name, but the layer depends on {len(needed)} inputs: {', '.join(needed)}; "
            "give a mapping, or an .npz with their names",
            file=path,
        )
    for name in given:
        if name not in names:
            near = get_close_matches(name, names, 3, 0.4) or names[:4]
            raise UsageError(
                f"no input is called {name!r}; " + (f"near it are {', '.join(near)}" if near else "the model has none"),
                file=path,
            )
    missing = [name for name in needed if name not in given]
    if missing:
        wanted = next(value for value in inputs if value.name == missing[0])
        raise UsageError(
            f"no data for input {missing[0]!r}, which the layer depends on; it takes {told(wanted)}", file=path
        )
    feeds = [Feed(value, _cast(given[value.name], value, path)) for value in inputs if value.name in needed]
    counts = {feed.name: len(feed.rows) for feed in feeds if not feed.is_shared}
    if len(set(counts.values())) > 1:
        listed = ", ".join(f"{name} has {count:,}" for name, count in counts.items())
        raise UsageError(f"the inputs have different numbers of rows: {listed}", file=path)
    if not any(counts.values()):
        raise UsageError(
            f"the data of input {next(iter(counts))!r} have no rows"
            if counts
            else "the layer depends on no input that has rows",
            file=path,
        )
    return feeds


def told(value: Value) -> str:
    """Type and shape of an input in words."""
    if value.shape is None:
        return value.dtype or "an unknown type"
    return f"{value.dtype} [{', '.join('?' if size is None else str(size) for size in value.shape)}]"


def _cast(array: Array, value: Value, path: str) -> Array:
    if not array.ndim and value.shape != ():
        raise UsageError(
            f"the data of input {value.name!r} are one number; rows come first: give an array", file=path
        )
    wanted = _NUMPY.get(value.dtype)
    if wanted is None:
        raise UsageError(f"input {value.name!r} takes {value.dtype or 'an unknown type'}, which is not fed", file=path)
    target = np.dtype(wanted)
    if array.dtype == target:
        return array
    if array.dtype.kind in "OUSVmM" or not _is_safe(array, target):
        raise UsageError(
            f"the data of input {value.name!r} are {array.dtype}; it takes {told(value)}, to which they cannot be cast "
            "without loss",
            file=path,
        )
    return array.astype(target)


def _is_safe(array: Array, target: np.dtype[Any]) -> bool:
    """Whether numbers keep what they mean: floats among each other, integers that are in range, truth as numbers."""
    kind, to = array.dtype.kind, target.kind
    if to == "f":
        return kind in "fiub"
    if to in "iu" and kind in "iub":
        if not array.size or kind == "b":
            return True
        limits = np.iinfo(target)
        return int(array.min()) >= limits.min and int(array.max()) <= limits.max
    return to == "c" and kind in "fiubc"


@dataclass(frozen=True, slots=True)
class Batching:
    """How rows are handed over: ``size`` at a time, along axis ``axes[name]`` of every input. ``copies``: a batch is
    ``size`` copies of one row."""

    size: int
    axes: Mapping[str, int]
    copies: bool = False

    def shape(self, feed: Feed) -> Shape:
        """The shape of one batch of ``feed``."""
        row = feed.rows.shape[1:]
        axis = self.axes[feed.name]
        return (*row[:axis], self.size, *row[axis:])

    def fits(self, feed: Feed) -> bool:
        """Whether the file allows that shape."""
        declared = feed.value.shape
        if declared is None:
            return True
        shape = self.shape(feed)
        return len(shape) == len(declared) and all(
            not isinstance(dim, int) or dim == size for dim, size in zip(declared, shape, strict=True)
        )

    def batches(self, feeds: Sequence[Feed]) -> Iterator[tuple[int, int, dict[str, Array]]]:
        """(first row, number of rows, arrays by input). The last batch is filled up with copies of the last row."""
        total = len(feeds[0].rows)
        step = 1 if self.copies else self.size
        for start in range(0, total, step):
            last = min(start + step, total) - 1
            yield start, last - start + 1, self.picked(feeds, [min(start + at, last) for at in range(self.size)])

    def picked(self, feeds: Sequence[Feed], rows: Sequence[int]) -> dict[str, Array]:
        """A batch of the rows of these numbers."""
        found = {}
        for feed in feeds:
            array = np.moveaxis(feed.rows[list(rows)], 0, self.axes[feed.name])
            found[feed.name] = np.ascontiguousarray(array)
        return found

"""Settles how the rows of the data go through a model: along which axes of its inputs, how many at a time, and where
rows and neurons stand in the value that is read."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from math import prod

import numpy as np

from graphneurons.analysis import Analysis, Layer
from graphneurons.axes import planes
from graphneurons.axes.binding import Binding
from graphneurons.axes.planes import Plane
from graphneurons.axes.resolving import resolve
from graphneurons.errors import DataError, UsageError
from graphneurons.probing.feeding import Array, Batching, Feed, told
from graphneurons.probing.placing import Places, arranged, between, neurons_at, rows_at

DEFAULT_BATCH = 32
LARGEST_VALUE = 1 << 26
"""Elements the value that is read may have in one run, where nobody says how many rows to run at a time."""
_MOST_COMBINED = 4
"""Inputs whose axes are tried in every combination; of more, all rows lie along the first axes, or all along the
second."""
_BATCH = re.compile(r"batch|^n$|^b$|^bs$|num_samples|^unk__0$", re.IGNORECASE)

Runner = Callable[[Mapping[str, Array]], Array]
"""Arrays by input name -> the value that is read."""


@dataclass(frozen=True, slots=True)
class Settled:
    """``batching``: how the rows are fed; ``places``: where they come out; ``notice``: why one by one, or along
    the second axis, if they are."""

    batching: Batching
    places: Places
    notice: str = ""


@dataclass(frozen=True, slots=True, eq=False)
class Reading:
    """What is read: the neurons of ``layer`` in ``value``, for the rows of ``feeds`` (none of them shared)."""

    analysis: Analysis
    layer: Layer
    value: str
    feeds: Sequence[Feed]
    dims: Mapping[str, int] | None = None

    def settled(self, batching: Batching) -> Settled | str:
        """Where the rows of one batch stand; or why that cannot be told. Of a batch of one row, everything is its.
        Raises `UsageError` where the neurons cannot be told."""
        analysis, value = self.analysis, self.value
        resolution = resolve(analysis.graph, {feed.name: batching.shape(feed) for feed in self.feeds}, self.dims)
        stand = rows_at(resolution, batching.axes, value)
        shape = resolution.shapes.get(value)
        if batching.size == 1 and shape is not None:
            stand = planes.constant(shape)
        if not isinstance(stand, Plane):
            return stand
        numbers = neurons_at(resolution, analysis, self.layer, value)
        size = analysis.wiring.source[self.layer.id].size
        found = arranged(stand, numbers, batching.size, size)
        return found if isinstance(found, str) else Settled(batching, found)


def settle(reading: Reading, runner: Runner, batch: int | None = None) -> Settled:
    """How to read a layer's neurons for every row of the data.

    Rows lie along the first axis of the inputs, or along the second where they are mixed along the first (a recurrent
    model that takes the sequence first). Which it is, is told by following them to the layer, and proved by a run (see
    `checked`). Where neither axis will do, every row has a run of its own, in which all there is belongs to it: if the
    first axes are plainly a batch (fixed to one, or dynamic and named so), if ``batch`` is 1, or if rows change each
    other only by the scales that dynamic quantization takes from a whole batch. A batch whose size the file fixes is
    then filled with copies of the row.

    Raises `UsageError` where shapes do not fit, or where it cannot be told, `DataError` where the model does not run.
    """
    feeds = reading.feeds
    rows = len(feeds[0].rows)
    why: list[str] = []
    failed: DataError | None = None
    close: Batching | None = None
    for axes in choices(feeds):
        if why and _is_named_otherwise(reading, axes):
            continue
        sizes = {size for feed in feeds if (size := _declared(feed, axes[feed.name])) is not None}
        if len(sizes) > 1:
            continue
        batching = Batching(next(iter(sizes), None) or max(2, min(batch or DEFAULT_BATCH, rows)), axes)
        if not all(batching.fits(feed) for feed in feeds):
            continue
        found = reading.settled(batching)
        if isinstance(found, Settled):
            if batch == 1 and not sizes:
                return _alone(reading, runner, batching)
            try:
                proof = checked(reading, found if sizes else _of_two(reading, found), runner)
                if isinstance(proof, str):
                    found = proof
                elif not sizes:
                    # There are as many positions as in the run of two rows.
                    found = found if batch else _small_enough(reading, found)
                    found = replace(found, places=found.places.like(proof.places))
                else:
                    found = proof
            except DataError as error:
                failed, found = failed or error, "the model does not run on several"
            else:
                close = close or batching
        if isinstance(found, Settled):
            return replace(found, notice=told_of_second(reading, axes))
        why.append(found)
    if not why:
        raise _misfit(reading, (0, 1))
    return _one_by_one(reading, runner, batch, why[0], close, failed)


def _is_named_otherwise(reading: Reading, axes: Mapping[str, int]) -> bool:
    """Whether the file calls the first axis of an input its batch, and rows are to lie along the second. Only an op
    that runs through the first as a sequence tells that the name is wrong."""
    named = any(axes[feed.name] == 1 and _names_batch(feed, 0) for feed in reading.feeds)
    return named and not _runs_through_sequences(reading)


def told_of_second(reading: Reading, axes: Mapping[str, int]) -> str:
    """A notice where rows are laid along the second axis of inputs, and neither a name nor an op says that it is the
    batch."""
    names = [repr(feed.name) for feed in reading.feeds if axes[feed.name] == 1 and not _names_batch(feed, 1)]
    if not names or _runs_through_sequences(reading):
        return ""
    return f"rows are laid along the second axis of {', '.join(names)}: along the first they cannot be told apart"


def _runs_through_sequences(reading: Reading) -> bool:
    """Whether a recurrent op lies on the way to what is read."""
    resolution = reading.analysis.resolution
    starts = [feed.name for feed in reading.feeds]
    steps = [] if resolution is None else [
        resolution.steps[op.name] for op in between(reading.analysis.graph, starts, reading.value)
    ]  # fmt: skip
    return any(isinstance(step, Binding) and step.rule.kind == "recurrent" for step in steps)


def _of_two(reading: Reading, settled: Settled) -> Settled:
    """``settled`` for batches of two rows, which prove as much as larger ones."""
    found = reading.settled(replace(settled.batching, size=2))
    return settled if isinstance(found, str) else found


def _small_enough(reading: Reading, settled: Settled) -> Settled:
    """``settled`` with fewer rows at a time, where the value that is read would be larger than `LARGEST_VALUE`."""
    size = settled.batching.size
    fitting = max(2, LARGEST_VALUE * size // max(1, prod(settled.places.shape)))
    if fitting >= size:
        return settled
    found = reading.settled(replace(settled.batching, size=fitting))
    return settled if isinstance(found, str) else found


def untold(reading: Reading, why: str, *, second: bool = True) -> UsageError:
    """That which axis holds the rows cannot be told, and what to do. ``second``: it may be the second."""
    advice = "if it is the first, give a batch of 1"
    feed = reading.feeds[0]
    shape = feed.value.shape
    if second and shape is not None and len(shape) > 1 and isinstance(shape[0], int) and shape[0] > 1:
        rest = ", ".join("?" if size is None else str(size) for size in (shape[0], *shape[2:]))
        advice = f"if it is the second axis of {feed.name!r}, give rows of shape [{rest}]"
    return UsageError(
        f"which axis of the inputs holds the rows cannot be told: {why}; {advice}",
        file=reading.analysis.model.path,
        where=reading.layer.id,
    )


def _one_by_one(
    reading: Reading, runner: Runner, batch: int | None, why: str, close: Batching | None, failed: DataError | None
) -> Settled:
    """Every row in a run of its own, where that is sure to be right. ``close``: the batches of which rows could be
    followed, but changed each other."""
    feeds = reading.feeds
    first = Batching(1, dict.fromkeys((feed.name for feed in feeds), 0))
    scaled = close is not None and _takes_scales_from_batches(reading)
    if scaled and close is not None and not all(replace(close, size=1).fits(feed) for feed in feeds):
        found = reading.settled(close)
        if isinstance(found, Settled):
            whole = replace(found, batching=replace(close, copies=True), notice=f"batches are copies of one row: {why}")
            return _run_once(reading, whole, runner)
    if scaled and close is not None:
        return _alone(reading, runner, close, f"rows are run one by one: {why}")
    if all(first.fits(feed) and (batch == 1 or _is_batch(feed)) for feed in feeds):
        try:
            return _alone(reading, runner, first, f"rows are run one by one: {why}")
        except DataError as error:
            raise failed or error from None
    if failed is None and any(_fits_nowhere(feed, (0,)) for feed in feeds):
        raise _misfit(reading, (0,))
    raise failed or untold(reading, why)


def _alone(reading: Reading, runner: Runner, batching: Batching, notice: str = "") -> Settled:
    """Every row in a run of its own. Raises `UsageError` where even then the shapes are not known."""
    found = reading.settled(replace(batching, size=1))
    if isinstance(found, str):
        raise UsageError(found, file=reading.analysis.model.path, where=reading.layer.id)
    return _run_once(reading, replace(found, notice=notice), runner)


def _run_once(reading: Reading, settled: Settled, runner: Runner) -> Settled:
    """``settled`` with as many positions as there are when the model runs on its first batch."""
    batching = settled.batching
    last = len(reading.feeds[0].rows) - 1
    picks = [0 if batching.copies else min(at, last) for at in range(batching.size)]
    shape = runner(batching.picked(reading.feeds, picks)).shape
    return replace(settled, places=settled.places.fitted(shape, reading.value))


def checked(reading: Reading, settled: Settled, runner: Runner) -> Settled | str:
    """``settled`` if rows of one batch really leave each other alone, or that they do not: the first and the last row
    of a batch must put out the same beside others as beside copies of themselves.

    Following rows through the graph proves it of the model; this proves it of the graph as a runtime runs it. How many
    positions there are is told by the run. Raises `DataError` where the model cannot be run.
    """
    batching, feeds, value = settled.batching, reading.feeds, reading.value
    last = len(feeds[0].rows) - 1
    picks = [min(at, last) for at in range(batching.size - 1)] + [last]
    first = runner(batching.picked(feeds, picks))
    settled = replace(settled, places=settled.places.fitted(first.shape, value))
    if batching.size == 1 or not last:
        return settled
    together = settled.places.read(first, value)
    for at in (0, batching.size - 1):
        copies = settled.places.read(runner(batching.picked(feeds, [picks[at]] * batching.size)), value)
        if not _alike(together[at], copies[at]):
            return "in one batch they change each other's activations"
    return settled


def _takes_scales_from_batches(reading: Reading) -> bool:
    """Whether what is read depends on numbers that were quantized dynamically."""
    starts = [feed.name for feed in reading.feeds]
    return any(op.type.startswith("DynamicQuantize") for op in between(reading.analysis.graph, starts, reading.value))


def _alike(one: Array, other: Array) -> bool:
    """Whether activations are the same, up to what another order of additions does to them."""
    left, right = one.astype(np.float64), other.astype(np.float64)
    size = float(np.nanmax(np.abs(left), initial=0.0)) if np.isfinite(left).any() else 0.0
    return bool(np.allclose(left, right, rtol=1e-3, atol=1e-4 * size, equal_nan=True))


def choices(feeds: Sequence[Feed]) -> Iterator[dict[str, int]]:
    """Axes of the inputs that rows may lie along, the first axis of all of them first."""
    ways = [(0, 1) if feed.rows.ndim > 1 else (0,) for feed in feeds]
    if len(feeds) <= _MOST_COMBINED:
        found = sorted(product(*ways), key=sum)
    else:
        found = [(0,) * len(ways), tuple(way[-1] for way in ways)]
    for axes in found:
        yield {feed.name: axis for feed, axis in zip(feeds, axes, strict=True)}


def _declared(feed: Feed, axis: int) -> int | None:
    shape = feed.value.shape
    size = shape[axis] if shape is not None and axis < len(shape) else None
    return size if isinstance(size, int) else None


def _is_batch(feed: Feed) -> bool:
    """Whether the first axis of an input is plainly a batch: fixed to one, or of a name that says so."""
    return _declared(feed, 0) == 1 or _names_batch(feed, 0)


def _names_batch(feed: Feed, axis: int) -> bool:
    shape = feed.value.shape
    size = shape[axis] if shape is not None and axis < len(shape) else None
    return isinstance(size, str) and bool(_BATCH.search(size))


def _fits_nowhere(feed: Feed, axes: Sequence[int]) -> bool:
    """Whether the data do not fit the shape of the input with their rows along any of ``axes``."""
    return not any(Batching(_declared(feed, axis) or 1, {feed.name: axis}).fits(feed) for axis in axes)


def _misfit(reading: Reading, axes: Sequence[int]) -> UsageError:
    """Which inputs the data do not fit, whichever of ``axes`` their rows lie along."""
    listed = [
        f"input {feed.name!r} takes {told(feed.value)}; the data have rows of shape {list(feed.rows.shape[1:])}"
        for feed in reading.feeds
        if _fits_nowhere(feed, axes)
    ]
    told_of = "; ".join(listed) or "the inputs have different fixed numbers of rows"
    return UsageError(f"{told_of} (give arrays with the rows first)", file=reading.analysis.model.path)

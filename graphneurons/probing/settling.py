"""Settles how the rows of the data go through a model: along which axes of its inputs, how many at a time, and where
rows and neurons stand in the value that is read."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product

from graphneurons.analysis import Analysis, Layer
from graphneurons.axes import planes
from graphneurons.axes.planes import Plane
from graphneurons.axes.resolving import Resolution, resolve
from graphneurons.errors import UsageError
from graphneurons.probing.feeding import Batching, Feed, told
from graphneurons.probing.placing import Places, neurons_at, places, rows_at

DEFAULT_BATCH = 32
_MOST_COMBINED = 4
"""Inputs whose axes are tried in every combination; of more, all rows lie along the first axes, or all along the
second."""


@dataclass(frozen=True, slots=True)
class Settled:
    """``batching``: how the rows are fed; ``places``: where they come out."""

    batching: Batching
    places: Places


def settle(
    analysis: Analysis,
    layer: Layer,
    value: str,
    feeds: Sequence[Feed],
    batch: int | None = None,
    dims: Mapping[str, int] | None = None,
) -> Settled:
    """How to read the neurons of ``layer`` in ``value`` for every row of the data.

    Rows lie along the first axis of the inputs, or along the second where they are mixed along the first (a recurrent
    model that takes the sequence first). Which it is, is told by following them to ``value``. Raises `UsageError` where
    shapes do not fit, or where it cannot be told.
    """
    why: list[str] = []
    for axes in _choices(feeds):
        sizes = {size for feed in feeds if (size := _declared(feed, axes[feed.name])) is not None}
        if len(sizes) > 1:
            continue
        rows = len(feeds[0].rows)
        size = next(iter(sizes), None) or max(2, min(batch or DEFAULT_BATCH, rows))
        batching = Batching(size, axes)
        if not all(batching.fits(feed) for feed in feeds):
            continue
        resolution = resolve(analysis.graph, {feed.name: batching.shape(feed) for feed in feeds}, dims)
        stand = _rows(resolution, batching, value)
        if isinstance(stand, Plane):
            numbers = neurons_at(resolution, analysis, layer, value)
            source = analysis.wiring.source[layer.id]
            return Settled(batching, places(stand, numbers, size, source.size))
        why.append(stand)
    if not why:
        raise _misfit(analysis, feeds)
    raise UsageError(
        f"which axis of the inputs holds the rows cannot be told: {why[0]}; export the model with a batch of one",
        file=analysis.model.path,
        where=layer.id,
    )


def _choices(feeds: Sequence[Feed]) -> Iterator[dict[str, int]]:
    """Axes of the inputs that rows may lie along, the first axis of all of them first."""
    if len(feeds) > _MOST_COMBINED:
        yield dict.fromkeys((feed.name for feed in feeds), 0)
    ways = [(0, 1) if feed.rows.ndim > 1 else (0,) for feed in feeds]
    found = product(*ways) if len(feeds) <= _MOST_COMBINED else [tuple(way[-1] for way in ways)]
    for axes in sorted(found, key=sum):
        yield {feed.name: axis for feed, axis in zip(feeds, axes, strict=True)}


def _declared(feed: Feed, axis: int) -> int | None:
    shape = feed.value.shape
    size = shape[axis] if shape is not None and axis < len(shape) else None
    return size if isinstance(size, int) else None


def _rows(resolution: Resolution, batching: Batching, value: str) -> Plane | str:
    found = rows_at(resolution, batching.axes, value)
    shape = resolution.shapes.get(value)
    if isinstance(found, str) and batching.size == 1 and shape is not None:
        # All of one run belongs to the one row that went in.
        return planes.constant(shape)
    return found


def _misfit(analysis: Analysis, feeds: Sequence[Feed]) -> UsageError:
    listed = []
    for feed in feeds:
        if any(Batching(_declared(feed, axis) or 1, {feed.name: axis}).fits(feed) for axis in (0, 1)):
            continue
        listed.append(
            f"input {feed.name!r} takes {told(feed.value)}; the data have rows of shape {list(feed.rows.shape[1:])}"
        )
    told_of = "; ".join(listed) or "the inputs have different fixed numbers of rows"
    return UsageError(f"{told_of} (give arrays with the rows first)", file=analysis.model.path)

"""`activations`: what the neurons of one layer put out for every row of some data."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from math import prod
from typing import Any, get_args

import numpy as np
import numpy.typing as npt

from graphneurons.analysis import Analysis
from graphneurons.analyzing import analyze
from graphneurons.axes.rules.site import Shape
from graphneurons.errors import DataError, UsageError
from graphneurons.probing.choosing import choose, find_layer
from graphneurons.probing.cutting import Origin, cut, needed_inputs
from graphneurons.probing.feeding import ONLY, Array, matched, read_data
from graphneurons.probing.onnx_running import OnnxRunner
from graphneurons.probing.placing import Places
from graphneurons.probing.records import Activations, Pooling
from graphneurons.probing.settling import settle

LARGEST = 1 << 31
"""Bytes the collected activations may take."""

Data = Mapping[str, Array] | Array
Progress = Callable[[int, int], object]
"""Called with (rows done, rows in all) after every batch."""

__all__ = ["LARGEST", "Data", "Progress", "activations", "read_data"]


def activations(
    model: Any,
    layer: str,
    data: Data,
    *,
    after: bool = True,
    pooling: Pooling = "mean",
    untrained: int | None = None,
    batch: int | None = None,
    progress: Progress | None = None,
    shapes: Mapping[str, Shape] | None = None,
    dims: Mapping[str, int] | None = None,
) -> Activations:
    """What the neurons of ``layer`` put out for every row of ``data``: (samples, neurons) float32.

    ``model``: a path of an ONNX file, or the `Analysis` of one. ``layer``: its id as `analyze` lists it. ``data``:
    input name -> array with the rows first (an array alone for a model with one input).
    """
    if pooling not in get_args(Pooling):
        raise UsageError(f"pooling={pooling!r}; choose one of {', '.join(get_args(Pooling))}")
    analysis = model if isinstance(model, Analysis) else analyze(model, shapes=shapes, dims=dims)
    origin = Origin(analysis.model.path)
    chosen_layer = find_layer(analysis, layer)
    assert analysis.resolution is not None
    chosen = choose(analysis, analysis.resolution, chosen_layer, after=after)
    needed = needed_inputs(origin, chosen.value)
    given = data if isinstance(data, Mapping) else {ONLY: np.asarray(data)}
    feeds = matched(given, analysis.graph.inputs, needed, analysis.model.path)
    settled = settle(analysis, chosen_layer, chosen.value, feeds, batch, dims)
    places = settled.places
    total = len(feeds[0].rows)
    result = _room(total, places, pooling, chosen_layer.id)
    runner = OnnxRunner(cut(origin, chosen.value).model, analysis.model.path)
    for start, count, arrays in settled.batching.batches(feeds):
        found = runner(arrays)
        if found.shape != places.shape:
            raise DataError(
                f"it has shape {list(found.shape)} where {list(places.shape)} was expected",
                file=analysis.model.path,
                where=chosen.value,
            )
        result[start : start + count] = pooled(places.apart(found)[:count], pooling)
        if progress is not None:
            progress(start + count, total)
    samples = result.reshape(-1, places.neurons)
    rows = np.repeat(np.arange(total, dtype=np.int64), result.shape[1])
    return Activations(chosen_layer.id, chosen.value, chosen.after, pooling, samples, rows)


def pooled(values: npt.NDArray[Any], pooling: Pooling) -> npt.NDArray[np.float32]:
    """(rows, positions, neurons) with the positions pooled into one, or kept."""
    if pooling == "mean":
        values = values.mean(axis=1, keepdims=True, dtype=np.float64)
    elif pooling == "max":
        values = values.max(axis=1, keepdims=True)
    elif pooling == "last":
        values = values[:, -1:]
    return values.astype(np.float32, copy=False)


def _room(rows: int, places: Places, pooling: Pooling, layer: str) -> npt.NDArray[np.float32]:
    """An empty (rows, positions, neurons) matrix. Raises `UsageError` where it would be too large."""
    positions = places.positions
    if pooling == "last" and len(positions) > 1:
        shown = " x ".join(map(str, positions))
        raise UsageError(
            f"the positions of {layer!r} lie along {len(positions)} axes ({shown}), so there is no last one; "
            "choose mean, max or keep"
        )
    each = prod(positions) if pooling == "keep" else 1
    size = rows * each * places.neurons * 4
    if size > LARGEST:
        advice = "pool the positions or give fewer rows" if each > 1 else "give fewer rows"
        raise UsageError(
            f"{rows:,} rows x {each:,} positions x {places.neurons:,} neurons of {layer!r} take "
            f"{size / 2**30:.1f} GiB, more than the {LARGEST / 2**30:.0f} GiB that are kept; {advice}"
        )
    return np.empty((rows, each, places.neurons), np.float32)

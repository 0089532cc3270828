"""`activations`: what the neurons of one layer put out for every row of some data."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from math import prod
from typing import Any, get_args

import numpy as np
import numpy.typing as npt

from graphneurons.analysis import Layer
from graphneurons.axes.rules.site import Shape
from graphneurons.errors import DataError, UsageError
from graphneurons.probing.ending import first_backward
from graphneurons.probing.feeding import ONLY, Array, read_data
from graphneurons.probing.opening import opened
from graphneurons.probing.placing import Places
from graphneurons.probing.records import Activations, Integers, Pooling
from graphneurons.probing.wishing import Opened, Wish

LARGEST = 1 << 31
"""Bytes the collected activations may take."""

Data = Mapping[str, Array] | Array
Progress = Callable[[int, int], object]
"""Called with (rows done, rows in all) after every batch."""

__all__ = ["LARGEST", "Data", "Progress", "activations", "read_data"]


def activations(
    model: Any,
    layer: str | Layer,
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
    """What the neurons of ``layer`` put out for every row of ``data``.

    ``model``: an ONNX file's path or its `Analysis`, an ONNX model in memory, an ``nn.Module``, a ``GraphModule`` or
    an ``ExportedProgram``. It is cut at the layer and run: ONNX by onnxruntime on the CPU, PyTorch by itself, in eval
    mode.

    ``layer``: one of an analysis, the id `analyze` lists, or the name of its op or output. Neuron ``i`` of the result
    is neuron ``i`` of the wiring: rows of a weight in the order of the op's own axes, groups and heads outermost; of a
    recurrent op its hidden units, direction by direction.

    ``data``: input name -> array whose first axis is the rows (an array alone for a model of one input). Where a model
    has its batch in another axis (recurrent ones may), rows are put there. Floats and integers are cast to what the
    input takes where nothing is lost.

    ``after``: read what the layer's activation leaves; else, and where there is none, what the neurons put out with
    their bias (see `graphneurons.probing.choosing.choose`). Quantized outputs are read as the real numbers they stand
    for.

    ``pooling`` of positions, which are all places that are neither row nor neuron (time, tokens, pixels): ``mean``,
    ``max``, ``last`` (of one axis: its last place; of the neurons of a recurrent op that read a sequence backwards the
    first, so that it is the final state of both directions, PyTorch's ``h_n``) or ``keep``, where every position is a
    sample; ``rows`` of the result says whose.

    ``untrained``: a seed; the weights are drawn anew from it (see `graphneurons.probing.untrained`). ``batch``: rows
    per run (as many as the file fixes; 32). ``progress`` is called with (rows done, rows in all) after every run; what
    it raises, and an interrupt, ends the call. ``shapes``, ``dims``: as in `analyze`, for sizes the data do not tell.

    Raises `UsageError` for layers, inputs, shapes and options that do not exist or do not fit, and for layers whose
    neurons or rows cannot be told apart with certainty; `DataError` where the model cannot be run, or puts out NaN or
    infinity; `LoadError` for files that are no models.
    """
    if pooling not in get_args(Pooling):
        raise UsageError(f"pooling={pooling!r}; choose one of {', '.join(get_args(Pooling))}")
    if batch is not None and batch < 1:
        raise UsageError(f"batch={batch}; give 1 or more")
    given = data if isinstance(data, Mapping) else {ONLY: np.asarray(data)}
    name = layer if isinstance(layer, str) else layer.id
    subject = opened(model, Wish(name, given, after, untrained, batch, shapes, dims))
    values = _collected(subject, pooling, progress)
    total, positions, neurons = values.shape
    samples, rows = values.reshape(-1, neurons), np.repeat(np.arange(total, dtype=np.int64), positions)
    _check_finite(subject, samples, rows, is_copy=untrained is not None)
    reading, chosen = subject.reading, subject.chosen
    return Activations(reading.layer.id, chosen.value, chosen.after, pooling, samples, rows, subject.notices)


def _collected(subject: Opened, pooling: Pooling, progress: Progress | None) -> npt.NDArray[np.float32]:
    """(rows, positions, neurons), batch by batch."""
    reading, places = subject.reading, subject.settled.places
    total = len(reading.feeds[0].rows)
    result = _room(total, places, pooling, reading.layer.id)
    backward = first_backward(reading.analysis, reading.layer, places.neurons) if pooling == "last" else places.neurons
    for start, count, arrays in subject.settled.batching.batches(reading.feeds):
        found = places.read(subject.runner(arrays), reading.value)[:count]
        result[start : start + count] = pooled(found, pooling, backward)
        if progress is not None:
            progress(start + count, total)
    return result


def pooled(values: npt.NDArray[Any], pooling: Pooling, backward: int) -> npt.NDArray[np.float32]:
    """(rows, positions, neurons) with the positions pooled into one, or kept. ``backward``: the first of the neurons
    whose last position is the first one."""
    if pooling == "mean":
        values = values.mean(axis=1, keepdims=True, dtype=np.float64)
    elif pooling == "max":
        values = values.max(axis=1, keepdims=True)
    elif pooling == "last":
        values = np.concatenate([values[:, -1:, :backward], values[:, :1, backward:]], axis=2)
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


def _check_finite(subject: Opened, samples: npt.NDArray[np.float32], rows: Integers, *, is_copy: bool) -> None:
    """Raises `DataError` naming the first neuron and row that are NaN or infinite, and how many there are. ``is_copy``:
    it is the untrained copy that puts them out."""
    wrong = ~np.isfinite(samples)
    if not wrong.any():
        return
    sample, neuron = (int(found[0]) for found in np.nonzero(wrong))
    shown = "NaN" if np.isnan(samples[sample, neuron]) else "infinity"
    neurons, count = int(wrong.any(axis=0).sum()), np.unique(rows[wrong.any(axis=1)]).size
    whose = "in the untrained copy " if is_copy else ""
    advice = "do without that control (untrained=False)" if is_copy else "check the data, or leave these rows out"
    raise DataError(
        f"{whose}neuron {neuron} puts out {shown} for row {int(rows[sample])} of the data ({neurons:,} neurons and "
        f"{count:,} rows in all are not finite); {advice}",
        file=subject.reading.analysis.model.path,
        where=subject.reading.layer.id,
    )

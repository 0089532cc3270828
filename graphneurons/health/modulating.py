"""What a scan says of modulators: their values, and which are NaN, infinite or zero."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from graphneurons.analysis import Axis, Factor, Modulator, WeightUse
from graphneurons.graph import Filled, ModelGraph, Op, Sparse
from graphneurons.health.decoding import Numbers
from graphneurons.health.fetching import Files
from graphneurons.health.numbering import UnnumberedError, digits_of, tiles
from graphneurons.health.statistics import MOST_LISTED, MOST_VALUES, Counts, ModulatorHealth, Skipped
from graphneurons.health.summing import TILE
from graphneurons.health.weights import unpacked
from graphneurons.load.reading import read


def modulator_health(
    modulator: Modulator, position: int, op: Op, graph: ModelGraph, files: Files
) -> ModulatorHealth | Skipped:
    """One stored tensor of ``modulator``, read in pieces. Raises `DataError` where it cannot be read."""
    use = modulator.weights[position]
    ref = use.weight
    low, high = np.inf, -np.inf
    places: dict[str, list[Counts]] = {"nan": [], "inf": [], "zeros": []}
    counts = dict.fromkeys(places, 0)
    kept: list[Numbers] | None = [] if ref.elements <= MOST_VALUES else None
    start = 0
    try:
        for x in _pieces(use, op, graph, files):
            finite = x[np.isfinite(x)]
            low, high = min(low, float(finite.min(initial=np.inf))), max(high, float(finite.max(initial=-np.inf)))
            for name, found in (("nan", np.isnan(x)), ("inf", np.isinf(x)), ("zeros", x == 0)):
                at = np.flatnonzero(found)
                room = MOST_LISTED - min(counts[name], MOST_LISTED)
                places[name].append(at[:room] + start)
                counts[name] += at.size
            if kept is not None:
                kept.append(x.astype(np.float64))
            start += x.size
    except UnnumberedError as reason:
        return Skipped(modulator.id, ref.name, str(reason))
    listed = {name: np.concatenate([np.zeros(0, np.int64), *found]) for name, found in places.items()}
    return ModulatorHealth(
        modulator.id,
        position,
        modulator.kind,
        modulator.of,
        ref.name,
        ref.dtype,
        start,
        low if low <= high else float("nan"),
        high if low <= high else float("nan"),
        counts["nan"],
        counts["inf"],
        counts["zeros"],
        **listed,
        values=None if kept is None else np.concatenate([np.zeros(0), *kept]),
    )


def _pieces(use: WeightUse, op: Op, graph: ModelGraph, files: Files) -> Iterator[Numbers]:
    """The elements used, in row-major order, as float32 or float64."""
    ref = use.weight
    if isinstance(ref.storage, (Filled, Sparse)):
        if ref.elements > MOST_VALUES:
            raise UnnumberedError("a modulator that is not stored element by element is too large to be listed")
        piece = read(ref)[tuple(slice(*bounds) for bounds in use.part)] if use.part else read(ref)
        yield piece.astype(np.float64).reshape(-1)
        return
    digits = digits_of(_aligned(use), 1)
    weight = unpacked(use, op, graph, digits, 0, files)
    for tile in tiles(weight.numbering, TILE):
        yield weight.read(tile).reshape(-1)


def _aligned(use: WeightUse) -> WeightUse:
    """``use`` with every axis one shared factor: each element stands for itself."""
    parts = use.part or tuple((0, size) for size in use.weight.shape)
    axes = tuple(
        Axis(stop - start, "shared", (Factor(f"d{axis}", stop - start, "shared"),))
        for axis, (start, stop) in enumerate(parts)
    )
    return replace(use, axes=axes)

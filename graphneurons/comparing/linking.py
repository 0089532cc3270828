"""Which layers of one model share weights with which of another."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from graphneurons.comparing.fingerprints import OF_LAYERS, Fingerprint, Item, fingerprint, matrix_of, tolerance
from graphneurons.comparing.matrices import Reader
from graphneurons.comparing.pairing import MOST_ALIGNED, Pairing, paired
from graphneurons.comparing.sketches import PROJECTIONS, SQUARE, Floats

_NEIGHBOURS = 4
_FEWEST = 3
"""Synapses a neuron must have to be known again: of single numbers some lie near each other by chance."""


def pairings(before: Sequence[Item], now: Sequence[Item], reader: Reader, by_name: bool) -> list[Pairing]:
    """Partners among all matrices (see `paired`); those of ``now`` are read with ``reader``."""

    def rows(item: Item) -> Floats:
        return reader.projections(matrix_of(item))[0]

    def made(item: Item, projections: Floats) -> Fingerprint:
        stacked = replace(matrix_of(item), rows=len(projections))
        return fingerprint(stacked, projections, np.zeros(0, np.int64))

    return paired(before, now, by_name, made, rows)


def links_of(
    before: Sequence[Item], now: Sequence[Item], pairs: Sequence[Pairing]
) -> Mapping[tuple[str, str], Sequence[Pairing]]:
    """Holders of weights and tables that have partners among each other -> which these are."""
    found: dict[tuple[str, str], list[Pairing]] = {}
    for pair in pairs:
        for a in pair.before:
            for b in pair.now:
                one, other = before[a], now[b]
                if {one.kind, other.kind} <= OF_LAYERS:
                    same = found.setdefault((one.holder, other.holder), [])
                    if pair not in same:
                        same.append(pair)
    return found


def contained(
    before: Sequence[Item], now: Sequence[Item], pairs: Sequence[Pairing], readers: tuple[Reader, Reader]
) -> Iterator[tuple[int, int]]:
    """Matrices without a partner, all of whose neurons are neurons of one of the other model, wherever they lie there:
    a layer cut into pieces that are interleaved, or pruned."""
    told = {at for pair in pairs for at in pair.before}, {at for pair in pairs for at in pair.now}
    left, right = (
        [at for at, item in enumerate(items)
         if at not in done and item.kind == "weight" and item.fingerprint.is_known and item.fingerprint.norm]
        for items, done in zip((before, now), told, strict=True)
    )  # fmt: skip
    fitting = [
        (at, other) for at in left for other in right
        if before[at].fingerprint.columns == now[other].fingerprint.columns >= _FEWEST
        and before[at].fingerprint.rows != now[other].fingerprint.rows
    ] if len(left) * len(right) <= MOST_ALIGNED * MOST_ALIGNED else []  # fmt: skip
    first, second = (
        {at: reader.projections(matrix_of(items[at]))[0] for at in sorted({pair[side] for pair in fitting})}
        for side, (items, reader) in enumerate(zip((before, now), readers, strict=True))
    )
    for at, other in fitting:
        small, large = sorted((first[at], second[other]), key=len)
        if _is_contained(small, large, tolerance(before[at].fingerprint, now[other].fingerprint)):
            yield at, other


def _is_contained(small: Floats, large: Floats, near: float) -> bool:
    """Whether every row of projections is one of the ``large`` ones, but for rounding."""
    order = np.argsort(large[:, 0], kind="stable")
    keys = large[order, 0]
    at = np.searchsorted(keys, small[:, 0])
    allowed = 4 * near * np.sqrt(np.maximum(small[:, SQUARE], 0))[:, None]
    found: npt.NDArray[np.bool_] = np.zeros(len(small), np.bool_)
    for step in range(-_NEIGHBOURS, _NEIGHBOURS):
        candidates = large[order[np.clip(at + step, 0, len(large) - 1)], :PROJECTIONS]
        found |= (np.abs(candidates - small[:, :PROJECTIONS]) <= allowed).all(axis=1)
    return bool(found.all())

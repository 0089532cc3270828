"""What must be cut together always: connected components of slots that are tied index by index."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from graphneurons.wiring.records import Integers
from graphneurons.wiring.slots import Ties, together

CUTTABLE = np.iinfo(np.int64).min


def components(count: int, one: Integers, other: Integers) -> Integers:
    """The smallest member of the component of each of ``count`` nodes, joined by edges ``one[e]`` - ``other[e]``."""
    label = np.arange(count, dtype=np.int64)
    while one.size:
        a, b = label[one], label[other]
        apart = a != b
        one, other, a, b = one[apart], other[apart], a[apart], b[apart]
        if not one.size:
            break
        low, high = np.minimum(a, b), np.maximum(a, b)
        np.minimum.at(label, high, low)
        while True:
            further = label[label]
            if np.array_equal(further, label):
                break
            label = further
    return label


@dataclass(frozen=True, slots=True)
class Closed:
    """``label``: slot -> the class of slots it is always cut with; ``codes``: class -> number of the reason why it
    cannot be cut, or `CUTTABLE`; ``traits``: class -> how it is read, as a number; ``gridded``: class -> whether it is
    part of a product."""

    label: Integers
    codes: Integers
    traits: npt.NDArray[np.uint64]
    gridded: npt.NDArray[np.bool_]


def close(ties: Ties) -> Closed:
    """Classes of slots that are tied index by index."""
    one, other = together([a for a, _ in ties.pairs]), together([b for _, b in ties.pairs])
    real = (one >= 0) & (other >= 0)
    label = components(ties.count, one[real], other[real])
    codes = np.full(ties.count, CUTTABLE, dtype=np.int64)
    for slots, held in ((one, other), (other, one)):
        met = (slots >= 0) & (held < 0)
        np.maximum.at(codes, label[slots[met]], held[met])
    held_slots, reasons = _spelled(ties.fixed)
    np.maximum.at(codes, label[held_slots], reasons)
    traits = np.zeros(ties.count, dtype=np.uint64)
    read, ways_read = _spelled(ties.seen)
    np.add.at(traits, label[read], ways_read.astype(np.uint64))
    gridded = np.zeros(ties.count, dtype=bool)
    products = together([slots for grid in ties.grids for slots in (grid.parent, *grid.children)])
    gridded[label[products[products >= 0]]] = True
    for grid in ties.grids:
        fixed = grid.parent < 0
        if fixed.any():
            for child, places in zip(grid.children, grid.places, strict=True):
                lost = child[places[fixed]]
                np.maximum.at(codes, label[lost[lost >= 0]], grid.parent[fixed][lost >= 0])
    return Closed(label, codes, traits, gridded)


def _spelled(noted: Sequence[tuple[Integers, int]]) -> tuple[Integers, Integers]:
    """Every slot among ``noted``, with the number that is noted of it."""
    slots = together([found for found, _ in noted])
    numbers, sizes = np.array([(number, found.size) for found, number in noted], dtype=np.int64).reshape(-1, 2).T
    told = np.repeat(numbers, sizes)
    real = slots >= 0
    return slots[real], told[real]

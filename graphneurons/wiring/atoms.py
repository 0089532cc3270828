"""Runs of slots that nothing tells apart, each as one atom: what is tied, fixed or read is so for whole axes mostly, so
that there are few of them, however long the axes are.

Every array of slots is a row of whole atoms: atoms begin and end where any array begins, ends or breaks off, where what
is tied to it does, and at every slot of an axis that is a product.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from graphneurons.wiring.records import Integers
from graphneurons.wiring.slots import Grid, Ledger, Ties, together

_MOST_ROUNDS = 16
"""How often borders are handed on from tie to tie before all that is tied is told slot by slot."""


@dataclass(frozen=True, slots=True, eq=False)
class Atoms:
    """``ties``: everything that ties atoms, numbered as they come; ``widths``: how many slots each of them is;
    ``rows``: identity of an array of slots -> its atoms, and where in the array each begins."""

    ties: Ties
    widths: Integers
    rows: dict[int, tuple[Integers, Integers]]


def atoms(ledger: Ledger) -> Atoms:
    """The slots of ``ledger`` in as few atoms as can be."""
    arrays = ledger.arrays
    joined = together(list(arrays.values()))
    ends = np.cumsum([slots.size for slots in arrays.values()], dtype=np.int64)
    border = np.zeros(ledger.count + 1, dtype=np.bool_)
    border[list(ledger.wholes.values())] = True
    border[-1] = True
    _break(border, joined, ends)
    gridded = {id(slots): slots for grid in ledger.grids for slots in (grid.parent, *grid.children)}
    products = together([*gridded.values()])
    _single(border, products)
    one, other = together([a for a, _ in ledger.pairs]), together([b for _, b in ledger.pairs])
    real = (one >= 0) & (other >= 0)
    if not real.all():
        _single(border, np.concatenate([one[~real], other[~real]]))
    _hand_on(border, one[real], other[real])
    starts = np.flatnonzero(border)
    number = np.cumsum(border) - 1
    at = np.flatnonzero(joined >= 0)
    at = at[border[joined[at]]]
    met = number[joined[at]]
    rows: dict[int, tuple[Integers, Integers]] = {}
    cuts = np.searchsorted(at, ends).tolist()
    start = last = 0
    for key, end, cut in zip(arrays, ends.tolist(), cuts, strict=True):
        rows[key] = met[last:cut], at[last:cut] - start
        start, last = end, cut
    every = np.arange(starts.size - 1, dtype=np.int64)
    firsts = np.array([*ledger.wholes.values(), ledger.count], dtype=np.int64)
    bounds = number[firsts].tolist()
    for key, first, low, high in zip(ledger.wholes, firsts.tolist(), bounds, bounds[1:], strict=False):
        rows[key] = every[low:high], starts[low:high] - first
    kept = border[np.maximum(one, 0)] | ~real
    pair = (_numbered(number, one[kept]), _numbered(number, other[kept]))
    numbered = np.split(_numbered(number, products), np.cumsum([slots.size for slots in gridded.values()])[:-1])
    told = dict(zip(gridded, numbered, strict=False))
    ties = Ties(
        starts.size - 1,
        [pair] if ledger.pairs else [],
        [(rows[id(slots)][0], code) for slots, code in ledger.fixed],
        [(rows[id(slots)][0], what) for slots, what in ledger.seen],
        [
            Grid(grid.op, told[id(grid.parent)], tuple([told[id(child)] for child in grid.children]), grid.places)
            for grid in ledger.grids
        ],
    )
    return Atoms(ties, np.diff(starts), rows)


def _numbered(number: Integers, slots: Integers) -> Integers:
    return np.where(slots >= 0, number[np.maximum(slots, 0)], slots)


def _single(border: npt.NDArray[np.bool_], slots: Integers) -> None:
    """Every one of ``slots`` is an atom."""
    slots = slots[slots >= 0]
    border[slots] = True
    border[slots + 1] = True


def _break(border: npt.NDArray[np.bool_], joined: Integers, ends: Integers) -> None:
    """Borders where a run of slots, one after the other, begins and ends in an array of ``joined``."""
    if not joined.size:
        return
    new = np.ones(joined.size, dtype=np.bool_)
    np.not_equal(joined[1:] - joined[:-1], 1, out=new[1:])
    new[ends[ends < joined.size]] = True
    heads = np.flatnonzero(new)
    tails = np.append(heads[1:], joined.size) - 1
    firsts, lasts = joined[heads], joined[tails]
    border[firsts[firsts >= 0]] = True
    border[lasts[lasts >= 0] + 1] = True


def _hand_on(border: npt.NDArray[np.bool_], one: Integers, other: Integers) -> None:
    """What is tied to a slot begins where it does. (It ends where the next begins, or where the tie does.)"""
    for _ in range(_MOST_ROUNDS):
        uneven = border[one] != border[other]
        if not uneven.any():
            return
        border[one[uneven]] = border[other[uneven]] = True
    _single(border, np.concatenate([one, other]))

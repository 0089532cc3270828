"""What must be cut together: connected components of tied slots, and how whole slices of products are cut.

A product axis (heads times width, groups times channels) can be cut in as many ways as it has factors. Each way is
tried by itself, starting at one factor of one product and spreading to all products it meets: choosing a factor ties
every element of a product to its slot of that factor. Where two factors of one product turn out to be cut at once,
nothing of it can be cut.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from graphneurons.axes.planes import distinct, ranked
from graphneurons.wiring.records import Integers
from graphneurons.wiring.slots import Grid, Ties, together

MOST_SPREAD = 1 << 27
"""Elements looked at, all together, to see how products are cut."""

MOST_STEPS = 256
"""How far one way to cut is followed from product to product."""

_STEP = 1 << 15
"""What a step costs besides, in elements."""

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


@dataclass(frozen=True, slots=True)
class Way:
    """One way to cut. ``nodes``: classes; ``cut``: for each the number of the cut it belongs to; ``codes``: cut -> why
    it cannot be made, or `CUTTABLE`; ``op``: whose product it starts at."""

    nodes: Integers
    cut: Integers
    codes: Integers
    op: str


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
    for grid in ties.grids:
        for slots in (grid.parent, *grid.children):
            gridded[label[slots[slots >= 0]]] = True
        fixed = grid.parent < 0
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


@dataclass(frozen=True, slots=True)
class _Product:
    """A grid told in classes: ``parent[e]``, and per factor ``children[k][e]`` (negative where it cannot be cut)."""

    op: str
    parent: Integers
    children: tuple[Integers, ...]


def ways(ties: Ties, closed: Closed) -> Iterator[Way]:
    """All ways to cut classes that are part of products."""
    products = [_product(grid, closed.label) for grid in ties.grids]
    index = _Index(products, closed.label.size)
    covered: set[tuple[int, int]] = set()
    spent = 0
    for number, product in enumerate(products):
        for factor, child in enumerate(product.children):
            if (number, factor) in covered or spent > MOST_SPREAD or not (child >= 0).any():
                continue
            slots = distinct(child[child >= 0])
            if (closed.codes[slots] != CUTTABLE).all():
                continue
            way, chosen, cost = _spread(products, index, closed, number, factor)
            spent += cost
            covered.update(chosen.items())
            if way is not None:
                yield way


def _product(grid: Grid, label: Integers) -> _Product:
    def told(slots: Integers) -> Integers:
        return np.where(slots >= 0, label[slots], slots)

    children = tuple(told(child[places]) for child, places in zip(grid.children, grid.places, strict=True))
    return _Product(grid.op, told(grid.parent), children)


class _Index:
    """Which products a class is part of."""

    def __init__(self, products: Sequence[_Product], count: int) -> None:
        classes, owners = [], []
        for number, product in enumerate(products):
            found = distinct(np.concatenate([product.parent, *product.children]))
            found = found[found >= 0]
            classes.append(found)
            owners.append(np.full(found.size, number, dtype=np.int64))
        joined = np.concatenate(classes) if classes else np.zeros(0, dtype=np.int64)
        order = np.argsort(joined, kind="stable")
        self.classes = joined[order]
        self.owners = (np.concatenate(owners) if owners else joined)[order]

    def touching(self, nodes: Integers) -> list[int]:
        """Products that hold any of the sorted ``nodes``, in order."""
        first = np.searchsorted(self.classes, nodes)
        last = np.searchsorted(self.classes, nodes, side="right")
        counts = last - first
        if not counts.sum():
            return []
        starts = np.repeat(first - np.concatenate([[0], np.cumsum(counts)[:-1]]), counts)
        found: list[int] = distinct(self.owners[np.arange(counts.sum()) + starts]).tolist()
        return found


def _spread(
    products: Sequence[_Product], index: _Index, closed: Closed, number: int, factor: int
) -> tuple[Way | None, dict[int, int], int]:
    """The way to cut that starts at one factor of one product (None if that goes too far to be followed), what it chose
    of every product it met, and what it cost to see."""
    chosen = {number: factor}
    cost = 0
    for _ in range(MOST_STEPS):
        one = np.concatenate([products[at].parent for at in chosen])
        other = np.concatenate([products[at].children[k] for at, k in chosen.items()])
        real = (one >= 0) & (other >= 0)
        nodes, places = ranked(np.concatenate([one[real], other[real]]))
        half = int(real.sum())
        cut = components(nodes.size, places[:half], places[half:])
        cost += one.size + _STEP
        new = [at for at in index.touching(nodes) if at not in chosen]
        if not new:
            break
        for at in new:
            chosen[at] = _choice(products[at], nodes, cut)
            cost += products[at].parent.size
    else:
        return None, chosen, cost
    _, cut = ranked(cut)
    cut = cut.reshape(-1)
    codes = np.full(int(cut.max()) + 1 if cut.size else 0, CUTTABLE, dtype=np.int64)
    np.maximum.at(codes, cut, closed.codes[nodes])
    for at, k in chosen.items():
        # A second factor of the same product is cut with this one, or an element lies where the factor cannot be cut.
        crossed = [child[child >= 0] for other, child in enumerate(products[at].children) if other != k]
        crossed.append(products[at].parent[(products[at].children[k] < 0) & (products[at].parent >= 0)])
        for found in crossed:
            where = np.searchsorted(nodes, found)
            where = where[(where < nodes.size) & (nodes[np.minimum(where, nodes.size - 1)] == found)]
            np.maximum.at(codes, cut[where], 0)
    way = Way(nodes, cut, codes, products[number].op)
    return way, chosen, cost


def _choice(product: _Product, nodes: Integers, cut: Integers) -> int:
    """Which factor of ``product`` is cut, where ``nodes`` are: the one that is among them, else the one along which the
    cuts of its elements vary, so that as many cuts as can stay apart."""
    real = [k for k, child in enumerate(product.children) if (child >= 0).any()]
    for k in real:
        if np.isin(product.children[k], nodes).any():
            return k
    where = np.minimum(np.searchsorted(nodes, product.parent), nodes.size - 1)
    known = nodes[where] == product.parent
    local = np.where(known, cut[where], -1 - np.arange(product.parent.size))
    best, most = real[0], -1
    for k in real:
        child = product.children[k]
        real_child = child >= 0
        above = int(local.max()) + 1
        names, placed = ranked(np.concatenate([local, child[real_child] + above]))
        joined = components(names.size, placed[: local.size][real_child], placed[local.size :])
        apart = distinct(joined[placed[: local.size][known]]).size
        if apart > most:
            best, most = k, apart
    return best

"""How whole slices of products are cut.

A product axis (heads times width, groups times channels) can be cut in as many ways as it has factors. Each way is
tried by itself, starting at one factor of one product and spreading to all products it meets: choosing a factor ties
every element of a product to its slot of that factor. Where two factors of one product turn out to be cut at once,
nothing of it can be cut.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from graphneurons.axes.planes import distinct, ranked
from graphneurons.wiring.closing import CUTTABLE, Closed, components
from graphneurons.wiring.products import MOST_STEPS, STEP, Chosen, Product, Way, Wholes, product
from graphneurons.wiring.records import Integers
from graphneurons.wiring.slots import Ties

MOST_SPREAD = 1 << 27
"""Elements looked at, all together, to see how products are cut."""


def ways(ties: Ties, closed: Closed) -> Iterator[Way]:
    """All ways to cut classes that are part of products."""
    products = [product(grid, closed.label) for grid in ties.grids]
    wholes = Wholes(products, closed)
    index: _Index | None = None
    covered: set[tuple[int, int]] = set()
    spent = 0
    for number, each in enumerate(products):
        for factor in range(len(each.axes)):
            if (number, factor) in covered or spent > MOST_SPREAD:
                continue
            slots = wholes.slots(number, factor)
            if (closed.codes[slots[slots >= 0]] != CUTTABLE).all():
                continue
            way: Way | None
            found = wholes.spread(number, factor)
            if found is not None:
                way, chosen, cost = found
            else:
                index = index or _Index(products)
                way, chosen, cost = _spread(products, index, closed, number, factor)
            spent += cost
            covered.update(chosen.items())
            if way is not None:
                yield way


class _Index:
    """Which products a class is part of."""

    def __init__(self, products: Sequence[Product]) -> None:
        classes, owners = [], []
        for number, each in enumerate(products):
            found = distinct(np.concatenate([each.parent, *each.children]))
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
    products: Sequence[Product], index: _Index, closed: Closed, number: int, factor: int
) -> tuple[Way | None, Chosen, int]:
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
        cost += one.size + STEP
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


def _places(found: Integers, nodes: Integers) -> Integers:
    """Where each of ``found`` stands among the sorted ``nodes``, if it does at all."""
    places: Integers = np.minimum(np.searchsorted(nodes, found), nodes.size - 1)
    return places


def _choice(product: Product, nodes: Integers, cut: Integers) -> int:
    """Which factor of ``product`` is cut, where ``nodes`` are: the one that is among them, else the one along which the
    cuts of its elements vary, so that as many cuts as can stay apart."""
    real = [k for k, child in enumerate(product.children) if (child >= 0).any()]
    for k in real:
        if (nodes[_places(product.children[k], nodes)] == product.children[k]).any():
            return k
    where = _places(product.parent, nodes)
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

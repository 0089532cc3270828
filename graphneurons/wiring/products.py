"""Axes that are products of others, told in classes; and those that can be cut axis by axis, without a look at their
elements: what is tied is tied as whole axes mostly."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from graphneurons.axes.planes import distinct
from graphneurons.wiring.closing import CUTTABLE, Closed
from graphneurons.wiring.records import Integers
from graphneurons.wiring.slots import Grid, together

MOST_STEPS = 256
"""How far one way to cut is followed from product to product."""

STEP = 1 << 15
"""What a step costs besides the elements that are looked at, in elements."""

Chosen = Mapping[int, int]
"""The number of a product -> which of its factors is cut."""


@dataclass(frozen=True, slots=True)
class Way:
    """One way to cut. ``nodes``: classes; ``cut``: for each the number of the cut it belongs to; ``codes``: cut -> why
    it cannot be made, or `CUTTABLE`; ``op``: whose product it starts at."""

    nodes: Integers
    cut: Integers
    codes: Integers
    op: str


@dataclass(frozen=True, eq=False)
class Product:
    """A grid told in classes: of its elements (``parent``), of the slots of its factors (``axes``), and where on those
    each element lies (``places``). Negative where they cannot be cut."""

    op: str
    parent: Integers
    axes: tuple[Integers, ...]
    places: tuple[Integers, ...]

    @cached_property
    def children(self) -> tuple[Integers, ...]:
        """Per factor the class each element of the product lies at."""
        return tuple([axis[places] for axis, places in zip(self.axes, self.places, strict=True)])


def product(grid: Grid, label: Integers) -> Product:
    def told(slots: Integers) -> Integers:
        return label[slots] if (slots >= 0).all() else np.where(slots >= 0, label[np.maximum(slots, 0)], slots)

    return Product(grid.op, told(grid.parent), tuple([told(child) for child in grid.children]), grid.places)


class Wholes:
    """The axes that products have and are, and which of them share no class with any other.

    Along those, a factor is cut as a whole: what is cut with slot ``j`` of it are the elements that lie there. Products
    that share such an axis share all of it.
    """

    def __init__(self, products: Sequence[Product], closed: Closed) -> None:
        self._products = products
        self._closed = closed
        self._axes: list[Integers] = []
        self._readers: list[list[int]] = []
        self._covered: dict[tuple[int, int], bool] = {}
        known: dict[bytes, int] = {}
        self._of: list[tuple[int, ...]] = []
        for number, each in enumerate(products):
            axes = []
            for classes in (each.parent, *each.axes):
                axis = known.setdefault(classes.tobytes(), len(self._axes))
                if axis == len(self._axes):
                    self._axes.append(classes)
                    self._readers.append([])
                self._readers[axis].append(number)
                axes.append(axis)
            self._of.append(tuple(axes))
        joined = together(self._axes)
        real = joined >= 0
        met = np.bincount(joined[real], minlength=closed.label.size)
        real[real] = met[joined[real]] == 1
        shared = np.cumsum(np.append(0, ~real))[self._ends()]
        self._alone = (shared[1:] == shared[:-1]).tolist()

    def _ends(self) -> Integers:
        return np.cumsum([0, *(axis.size for axis in self._axes)], dtype=np.int64)

    def spread(self, number: int, factor: int) -> tuple[Way, Chosen, int] | None:
        """The way to cut that starts at one factor of one product, what it chose of every product it met, and what it
        would cost to see it element by element. None where the elements must be looked at."""
        start = self._of[number][1 + factor]
        if not self._alone[start]:
            return None
        cuts = {start: np.arange(self._axes[start].size, dtype=np.int64)}
        chosen: dict[int, int] = {}
        new = {number: factor}
        cost = 0
        for _ in range(MOST_STEPS):
            for at, k in new.items():
                parent, child, places = self._of[at][0], self._of[at][1 + k], self._products[at].places[k]
                if not (self._alone[parent] and self._alone[child] and self._covers(at, k)):
                    return None
                if parent not in cuts:
                    cuts[parent] = cuts[child][places]
                elif child not in cuts:
                    # Every element was cut by itself: now those are cut together that lie at one slot of the factor.
                    slot = np.empty_like(places)
                    slot[cuts[parent]] = places
                    cuts = {axis: slot[cut] for axis, cut in cuts.items()}
                    cuts[child] = np.arange(self._axes[child].size, dtype=np.int64)
                else:
                    return None
            chosen.update(new)
            cost += STEP + sum(self._products[at].parent.size for at in chosen)
            met = {at for axis in cuts for at in self._readers[axis]}.difference(chosen)
            if not met:
                return self._way(number, cuts, chosen), chosen, cost
            new = {}
            for at in sorted(met):
                factors = [k for k, child in enumerate(self._of[at][1:]) if child in cuts]
                if not factors and (len(met) > 1 or not self._is_apart(at, cuts)):
                    return None
                new[at] = factors[0] if factors else self._longest(at)
                cost += self._products[at].parent.size
        return None

    def _is_apart(self, number: int, cuts: Mapping[int, Integers]) -> bool:
        """Whether every element of a product is cut by itself, and along every factor it could be cut as a whole. (All
        cuts are met on every axis, so that it is enough that there are as many.)"""
        own = cuts[self._of[number][0]]
        is_whole = all(self._alone[axis] and self._covers(number, k) for k, axis in enumerate(self._of[number][1:]))
        return is_whole and own.size == int(own.max()) + 1

    def _longest(self, number: int) -> int:
        """The factor of which there are most slots: as many cuts as can stay apart."""
        sizes = [axis.size for axis in self._products[number].axes]
        return sizes.index(max(sizes))

    def slots(self, number: int, factor: int) -> Integers:
        """The classes of a factor of a product at which elements lie."""
        axis = self._products[number].axes[factor]
        return axis if self._covers(number, factor) else axis[distinct(self._products[number].places[factor])]

    def _covers(self, number: int, factor: int) -> bool:
        """Whether something of the product lies at every slot of the factor."""
        places, size = self._products[number].places[factor], self._products[number].axes[factor].size
        found = self._covered.get((id(places), size))
        if found is None:
            found = self._covered[id(places), size] = bool(np.bincount(places, minlength=size).all())
        return found

    def _way(self, number: int, cuts: Mapping[int, Integers], chosen: Chosen) -> Way:
        nodes = np.concatenate([self._axes[axis] for axis in cuts])
        cut = np.concatenate(list(cuts.values()))
        first = np.full(int(cut.max()) + 1, self._closed.label.size, dtype=np.int64)
        np.minimum.at(first, cut, nodes)
        place = np.empty_like(first)
        place[np.argsort(first)] = np.arange(first.size)
        cut = place[cut]
        codes = np.full(first.size, CUTTABLE, dtype=np.int64)
        np.maximum.at(codes, cut, self._closed.codes[nodes])
        for at, k in chosen.items():
            # A second factor of the same product is cut with this one, wherever an element lies along it.
            for other, child in enumerate(self._of[at][1:]):
                if other != k and child in cuts:
                    np.maximum.at(codes, place[cuts[child][self._products[at].places[other]]], 0)
        return Way(nodes, cut, codes, self._products[number].op)

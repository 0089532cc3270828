"""Families of cuts that are alike: they stand on the same axes of stored tensors, equally often, and are read alike."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from graphneurons.wiring.atoms import Atoms
from graphneurons.wiring.closing import Closed
from graphneurons.wiring.records import Integers
from graphneurons.wiring.slots import together
from graphneurons.wiring.states import Coupling


@dataclass(frozen=True, slots=True)
class Family:
    """A family of cuts that are alike: ``rows``: number of the bundle of axes -> coordinates, one row per cut, or per
    run of ``widths`` cuts, of which they are the first's; ``size``: how many cuts there are."""

    rows: Mapping[int, Integers]
    widths: Integers
    size: int
    code: int
    op: str
    nodes: Integers

    def places(self, number: int) -> Integers:
        """Coordinates along a bundle of axes, one row per cut."""
        starts = self.rows[number]
        if self.size == len(starts):
            return starts
        before = np.cumsum(self.widths) - self.widths
        inside = np.arange(self.size, dtype=np.int64) - np.repeat(before, self.widths)
        return np.repeat(starts, self.widths, axis=0) + inside[:, None]


class Standing:
    """All axes of stored tensors along which slots lie, and where every class of atoms stands on them.

    ``bundles``: (root, axis) of axes along which the same classes stand in the same order, which are told together;
    ``told``: bundle -> whether something of it is in ``used``, the stored values that layers and others use.
    """

    def __init__(self, walk: Coupling, atoms: Atoms, closed: Closed, used: Mapping[str, object]) -> None:
        self.atoms = atoms
        self.bundles: list[list[tuple[str, int]]] = []
        known: dict[object, int] = {}
        classes, places = [], []
        for root in walk.resolution.graph.weights:
            for axis, slots in enumerate(walk.states.get(root, ())):
                if slots is None or isinstance(slots, int):
                    continue
                number = known.get(id(slots))
                if number is None:
                    here, at = atoms.rows[id(slots)]
                    told = closed.label[here]
                    number = known.setdefault((slots.size, told.tobytes(), at.tobytes()), len(self.bundles))
                    known[id(slots)] = number
                    if number == len(self.bundles):
                        classes.append(told)
                        places.append(at)
                        self.bundles.append([])
                self.bundles[number].append((root, axis))
        joined = together(classes)
        self.numbers = np.repeat(np.arange(len(classes)), np.array([told.size for told in classes], dtype=np.int64))
        self.places = together(places)
        self.told = np.array([any(root in used for root, _ in bundle) for bundle in self.bundles], dtype=bool)
        self.traits = _mixed(closed.traits)
        self._order = np.argsort(joined, kind="stable")
        self._counts = np.bincount(joined, minlength=closed.label.size)
        self._ends = np.cumsum(self._counts)

    def rows(self, nodes: Integers, cut: Integers) -> tuple[Integers, Integers]:
        """(cut, where in `numbers` and `places`) of everything the classes ``nodes`` stand at, cut by cut and, of each,
        bundle by bundle and place by place."""
        counts, ends = self._counts[nodes], self._ends[nodes]
        at = np.arange(int(counts.sum())) + np.repeat(ends - np.cumsum(counts), counts)
        bits = self.places.size.bit_length()
        keys = (np.repeat(cut, counts) << bits) + self._order[at]
        keys.sort()
        return keys >> bits, keys & ((1 << bits) - 1)


def _mixed(values: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    """A hash of every number (splitmix64, Steele et al. 2014)."""
    with np.errstate(over="ignore"):
        z = values + np.uint64(0x9E3779B97F4A7C15)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return z ^ (z >> np.uint64(31))


def families(axes: Standing, nodes: Integers, cut: Integers, codes: Integers, op: str) -> Iterator[Family]:
    """Cuts that stand on the same axes, equally often, and are read by the same ops, together."""
    which, at = axes.rows(nodes, cut)
    if not at.size:
        return
    number, place = axes.numbers[at], axes.places[at]
    heads = _heads(which, number)
    counts = np.append(heads[1:], which.size) - heads
    trait = np.zeros(codes.size, dtype=np.uint64)
    with np.errstate(over="ignore"):
        np.add.at(trait, cut, axes.traits[nodes])
        stands = number[heads].astype(np.uint64) * np.uint64(1 << 32) + counts.astype(np.uint64)
        np.add.at(trait, which[heads], _mixed(stands))
    used = np.zeros(codes.size, dtype=bool)
    used[which[axes.told[number]]] = True
    present = np.flatnonzero(used)
    if not present.size:
        return
    starts = np.searchsorted(which, present)
    lengths = np.searchsorted(which, present, side="right") - starts
    alike = np.lexsort((codes[present], trait[present]))
    borders = np.append(_heads(trait[present[alike]], codes[present[alike]]), alike.size)
    family = np.full(codes.size, -1, dtype=np.int64)
    family[present[alike]] = np.repeat(np.arange(borders.size - 1), np.diff(borders))
    widths = np.ones(codes.size, dtype=np.int64)
    widths[cut] = axes.atoms.widths[nodes]
    by_family = np.argsort(family[cut], kind="stable")
    ends = np.searchsorted(family[cut][by_family], np.arange(borders.size))
    for kind in np.argsort(alike[borders[:-1]], kind="stable").tolist():
        cuts = alike[borders[kind] : borders[kind + 1]]
        # All cuts of a family stand on the same axes equally often, so their places make a table with a row per cut.
        length = int(lengths[cuts[0]])
        table = place[starts[cuts][:, None] + np.arange(length)]
        numbers = number[starts[cuts[0]] : starts[cuts[0]] + length]
        columns = [0, *(np.flatnonzero(numbers[1:] != numbers[:-1]) + 1).tolist(), length]
        rows = {int(numbers[start]): table[:, start:stop] for start, stop in pairwise(columns)}
        # No two cuts stand at one place.
        order = np.argsort(next(iter(rows.values()))[:, 0])
        wide = widths[present[cuts]][order]
        members = nodes[by_family[ends[kind] : ends[kind + 1]]]
        ordered = {axis: places[order] for axis, places in rows.items()}
        yield Family(ordered, wide, int(wide.sum()), int(codes[present[cuts[0]]]), op, members)


def _heads(which: npt.NDArray[Any], number: Integers) -> Integers:
    """Where a new pair starts."""
    new = np.ones(which.size, dtype=bool)
    new[1:] = (which[1:] != which[:-1]) | (number[1:] != number[:-1])
    return np.flatnonzero(new)

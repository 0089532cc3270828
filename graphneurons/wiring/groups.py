"""Coupled groups: which axes of which stored weights share one index (see `graphneurons.wiring.group_records`)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from hashlib import blake2b
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from graphneurons.wiring.closing import CUTTABLE, Closed, close, ways
from graphneurons.wiring.coupling import couple
from graphneurons.wiring.group_records import Granularity, Group, Member, MemberUse, PartPlayed, Run
from graphneurons.wiring.records import Integers
from graphneurons.wiring.states import Coupling

if TYPE_CHECKING:
    from graphneurons.analysis import Analysis, WeightUse

_ATTENTION = frozenset({"query", "key", "value", "output"})
_MOST_RUNS = 64
_HOLES = "no way was found to cut it that leaves no holes where its axes are taken apart or joined"


def coupled_groups(analysis: Analysis) -> tuple[Group, ...]:
    """The coupled groups of an analyzed model, in the order of their first member. Reads no weight.

    Every group without ``fixed`` can be cut index by index; an axis that several groups hold can be cut in several
    ways.
    Raises `ValueError` for an analysis that `analyze` did not make.
    """
    if analysis.resolution is None:
        raise ValueError("this analysis does not hold the graph's shapes; get it from graphneurons.analyze")
    walk = couple(analysis.resolution)
    closed = close(walk.ledger)
    axes = _Axes(walk, closed, analysis)
    found: list[_Found] = []
    every = np.arange(closed.label.size, dtype=np.int64)
    roots = every[closed.label == every]
    plain = roots[~closed.gridded[roots]]
    found.extend(_families(axes, plain, np.arange(plain.size), closed.codes[plain], ""))
    covered = np.zeros(closed.label.size, dtype=bool)
    for way in ways(walk.ledger, closed):
        for family in _families(axes, way.nodes, way.cut, way.codes, way.op):
            if family.code == CUTTABLE and family.size > 1:
                covered[family.nodes] = True
                found.append(family)
    left = roots[closed.gridded[roots] & ~covered[roots]]
    codes = np.where(closed.codes[left] == CUTTABLE, 0, closed.codes[left])
    found.extend(_families(axes, left, np.arange(left.size), codes, ""))
    return _named(axes, walk, _without_twins(found))


@dataclass(frozen=True, slots=True)
class _Found:
    """A family of cuts that are alike: ``rows``: number of the bundle of axes -> coordinates, one row per index."""

    rows: Mapping[int, Integers]
    size: int
    code: int
    op: str
    nodes: Integers


class _Axes:
    """All axes of stored tensors along which slots lie, and where every class stands on them.

    ``bundles``: (root, axis) of axes along which the same classes stand in the same order, which are told together.
    """

    def __init__(self, walk: Coupling, closed: Closed, analysis: Analysis) -> None:
        self.closed = closed
        self.uses = _uses(analysis)
        self.bundles: list[list[tuple[str, int]]] = []
        known: dict[object, int] = {}
        classes, numbers, places = [], [], []
        for root in walk.resolution.graph.weights:
            for axis, slots in enumerate(walk.states.get(root, ())):
                if slots is None or isinstance(slots, int):
                    continue
                number = known.get(id(slots))
                if number is None:
                    told = np.where(slots >= 0, closed.label[np.maximum(slots, 0)], -1)
                    number = known.setdefault(blake2b(told.tobytes(), digest_size=16).digest(), len(self.bundles))
                    known[id(slots)] = number
                if number == len(self.bundles):
                    here = np.flatnonzero(slots >= 0)
                    classes.append(told[here])
                    numbers.append(np.full(here.size, number, dtype=np.int64))
                    places.append(here)
                    self.bundles.append([])
                self.bundles[number].append((root, axis))
        empty = np.zeros(0, dtype=np.int64)
        joined = np.concatenate(classes) if classes else empty
        order = np.argsort(joined, kind="stable")
        self.classes = joined[order]
        self.numbers = (np.concatenate(numbers) if numbers else empty)[order]
        self.places = (np.concatenate(places) if places else empty)[order]
        self.told = np.array([any(root in self.uses for root, _ in bundle) for bundle in self.bundles], dtype=bool)

    def rows(self, nodes: Integers) -> tuple[Integers, Integers]:
        """(position in ``nodes``, position in the sorted places) of everything the classes ``nodes`` stand at."""
        first = np.searchsorted(self.classes, nodes)
        counts = np.searchsorted(self.classes, nodes, side="right") - first
        owners = np.repeat(np.arange(nodes.size), counts)
        starts = np.repeat(first - np.concatenate([[0], np.cumsum(counts)[:-1]]), counts) if nodes.size else owners
        return owners, np.arange(int(counts.sum())) + starts


def _uses(analysis: Analysis) -> Mapping[str, list[tuple[str, str | None, WeightUse, str]]]:
    """Stored value -> (id, part played, use, kind) of everything that uses it."""
    names: dict[int, list[str]] = {}
    for name, ref in analysis.graph.weights.items():
        names.setdefault(id(ref), []).append(name)
    found: dict[str, list[tuple[str, str | None, WeightUse, str]]] = {}
    told: list[tuple[str, str | None, Sequence[WeightUse], str]] = [
        *((layer.id, layer.role, layer.weights, "layer") for layer in analysis.layers),
        *((lookup.id, None, lookup.weights, "lookup") for lookup in analysis.lookups),
        *((modulator.id, None, modulator.weights, "modulator") for modulator in analysis.modulators),
    ]
    for owner, part, weights, kind in told:
        for use in weights:
            for name in names.get(id(use.weight), ()):
                found.setdefault(name, []).append((owner, part, use, kind))
    return found


def _mixed(values: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    """A hash of every number (splitmix64, Steele et al. 2014)."""
    with np.errstate(over="ignore"):
        z = values + np.uint64(0x9E3779B97F4A7C15)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return z ^ (z >> np.uint64(31))


def _families(axes: _Axes, nodes: Integers, cut: Integers, codes: Integers, op: str) -> Iterator[_Found]:
    """Cuts that stand on the same axes, equally often, and are read by the same ops, together."""
    owners, at = axes.rows(nodes)
    if not at.size:
        return
    which, number, place = cut[owners], axes.numbers[at], axes.places[at]
    if (which[1:] < which[:-1]).any() or codes.size < nodes.size:
        order = np.lexsort((place, number, which))
        which, number, place = which[order], number[order], place[order]
    heads = _heads(which, number)
    counts = np.diff(np.append(heads, which.size))
    trait = np.zeros(codes.size, dtype=np.uint64)
    with np.errstate(over="ignore"):
        np.add.at(trait, cut, _mixed(axes.closed.traits[nodes]))
        stands = number[heads].astype(np.uint64) * np.uint64(1 << 32) + counts.astype(np.uint64)
        np.add.at(trait, which[heads], _mixed(stands))
    used = np.zeros(codes.size, dtype=bool)
    used[which[axes.told[number]]] = True
    present = np.flatnonzero(used)
    if not present.size:
        return
    starts = np.searchsorted(which, present)
    lengths = np.searchsorted(which, present, side="right") - starts
    families = np.lexsort((codes[present], trait[present]))
    borders = np.append(_heads(trait[present[families]], codes[present[families]]), families.size)
    family = np.full(codes.size, -1, dtype=np.int64)
    family[present[families]] = np.repeat(np.arange(borders.size - 1), np.diff(borders))
    by_family = np.argsort(family[cut], kind="stable")
    ends = np.searchsorted(family[cut][by_family], np.arange(borders.size))
    for kind in np.argsort(families[borders[:-1]], kind="stable").tolist():
        cuts = families[borders[kind] : borders[kind + 1]]
        # All cuts of a family stand on the same axes equally often, so their places make a table with a row per cut.
        length = int(lengths[cuts[0]])
        table = place[starts[cuts][:, None] + np.arange(length)]
        numbers = number[starts[cuts[0]] : starts[cuts[0]] + length]
        columns = np.flatnonzero(np.diff(numbers, prepend=-1))
        rows = {
            int(numbers[start]): table[:, start:stop]
            for start, stop in zip(columns.tolist(), [*columns[1:].tolist(), length], strict=True)
        }
        members = nodes[by_family[ends[kind] : ends[kind + 1]]]
        yield _Found(_ordered(rows), int(cuts.size), int(codes[present[cuts[0]]]), op, members)


def _heads(which: npt.NDArray[Any], number: Integers) -> Integers:
    """Where a new pair starts."""
    new = np.ones(which.size, dtype=bool)
    new[1:] = (which[1:] != which[:-1]) | (number[1:] != number[:-1])
    return np.flatnonzero(new)


def _ordered(rows: Mapping[int, Integers]) -> Mapping[int, Integers]:
    """Indices in the order of the first axis they stand on."""
    first = next(iter(rows.values()))
    order = np.lexsort(first.T[::-1])
    return {axis: places[order] for axis, places in rows.items()}


def _without_twins(found: Iterable[_Found]) -> list[_Found]:
    """Different starts may find the same way to cut."""
    seen: set[object] = set()
    kept = []
    for item in found:
        key = (item.size, item.code, tuple((axis, places.tobytes()) for axis, places in item.rows.items()))
        if key not in seen:
            seen.add(key)
            kept.append(item)
    return kept


def _named(axes: _Axes, walk: Coupling, found: Sequence[_Found]) -> tuple[Group, ...]:
    order = sorted(range(len(found)), key=lambda at: _place_in_graph(axes, found[at]))
    names: set[str] = set()
    groups: list[tuple[Group, _Found]] = []
    for item in (found[at] for at in order):
        members = tuple(
            member for number, places in item.rows.items() for member in _members(axes, walk, number, places)
        )
        members = tuple(sorted(members, key=lambda member: not _neurons(member)))
        granularity = _granularity(axes, item)
        name = base = _base(members) + ("" if granularity == "neuron" else f"/{granularity.replace(' ', '-')}")
        repeat = 1
        while name in names:
            repeat += 1
            name = f"{base}#{repeat}"
        names.add(name)
        fixed = None
        if item.code != CUTTABLE:
            fixed = walk.ledger.reasons[-1 - item.code] if item.code < 0 else _HOLES
        groups.append((Group(name, item.size, members, granularity, (), fixed), item))
    sliced: dict[int, list[int]] = {}
    for at, (group, item) in enumerate(groups):
        for number in item.rows if group.granularity != "neuron" else ():
            sliced.setdefault(number, []).append(at)
    return tuple(
        replace(group, alternatives=tuple(_alternatives(groups, sliced, at))) for at, (group, _) in enumerate(groups)
    )


def _place_in_graph(axes: _Axes, item: _Found) -> tuple[int, int]:
    return min(item.rows), int(next(iter(item.rows.values())).reshape(-1)[0])


def _alternatives(
    groups: Sequence[tuple[Group, _Found]], sliced: Mapping[int, Sequence[int]], at: int
) -> Iterator[str]:
    """The ids of other groups that cut the same slots. ``sliced``: bundle of axes -> groups that cut it in slices."""
    group, item = groups[at]
    if group.granularity == "neuron":
        return
    for other in sorted({other for number in item.rows for other in sliced[number]} - {at}):
        if np.isin(groups[other][1].nodes, item.nodes).any():
            yield groups[other][0].id


def _neurons(member: Member) -> bool:
    return any(use.role in ("neuron", "shared", "lookup") for use in member.uses)


def _base(members: Sequence[Member]) -> str:
    """A group is called after the layer whose neurons it is; if only synapses are in it, after their layer."""
    for wanted in (("neuron", "shared"), ("lookup",), ("synapse", "mixed"), ("modulator",)):
        for member in members:
            for use in member.uses:
                if use.role in wanted:
                    return f"{use.of}:synapses" if wanted[0] == "synapse" else use.of
    return members[0].weight


def _granularity(axes: _Axes, item: _Found) -> Granularity:
    if not item.op:
        return "neuron"
    rows = max(item.rows.values(), key=lambda places: places.shape[1])
    if rows.shape[1] == 1:
        return "neuron"
    together = float(np.median(np.diff(rows, axis=1))) == 1
    parts = {
        part
        for number in item.rows
        for root, _ in axes.bundles[number]
        for _, role, _, _ in axes.uses.get(root, ())
        for part in (role or "").split("+")
    }
    if parts & _ATTENTION:
        return "head" if together else "head width"
    return "block" if together else "across blocks"


def _members(axes: _Axes, walk: Coupling, number: int, places: Integers) -> Iterator[Member]:
    runs = _runs(places)
    listed = None if runs is not None else tuple(tuple(row) for row in places.tolist())
    for root, axis in axes.bundles[number]:
        found = axes.uses.get(root, ())
        uses = tuple(dict.fromkeys(MemberUse(owner, _role(use, axis, kind)) for owner, _, use, kind in found))
        yield Member(walk.resolution.graph.weights[root].name, root, axis, uses, runs or (), listed)


def _role(use: WeightUse, axis: int, kind: str) -> PartPlayed:
    if kind == "modulator":
        return "modulator"
    return use.axes[axis].role


def _runs(places: Integers) -> tuple[Run, ...] | None:
    """``places`` (one row per index) as runs; None if they follow no pattern."""
    steps = np.diff(places, axis=0)
    breaks = (
        [0, *(np.flatnonzero((np.diff(steps, axis=0) != 0).any(axis=1)) + 2).tolist(), len(places)]
        if len(places) > 2
        else [0, len(places)]
    )
    if len(breaks) > _MOST_RUNS:
        return None
    found: list[Run] = []
    for start, stop in pairwise(breaks):
        block = places[start:stop]
        step = block[1] - block[0] if len(block) > 1 else np.zeros(block.shape[1], dtype=np.int64)
        strides = np.diff(block[0])
        cuts = [0]
        column = 0
        while column < block.shape[1]:
            end = column + 1
            while end < block.shape[1] and step[end] == step[column] and strides[end - 1] == strides[column]:
                end += 1
            found.append(
                Run(
                    start,
                    stop,
                    int(block[0, column]),
                    int(step[column]),
                    end - column,
                    int(strides[column]) if end - column > 1 else 0,
                )
            )
            if len(found) > _MOST_RUNS:
                return None
            column = end
            cuts.append(end)
    return tuple(found)


__all__ = ["coupled_groups"]

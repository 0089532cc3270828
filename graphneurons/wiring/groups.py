"""Coupled groups: which axes of which stored weights share one index (see `graphneurons.wiring.group_records`)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from graphneurons.wiring.closing import CUTTABLE, Closed, close, ways
from graphneurons.wiring.coupling import Coupling, couple
from graphneurons.wiring.group_records import Granularity, Group, Member, MemberUse, PartPlayed, Run
from graphneurons.wiring.records import Integers

if TYPE_CHECKING:
    from graphneurons.analysis import Analysis, WeightUse

_ATTENTION = frozenset({"query", "key", "value", "output"})
_MOST_RUNS = 64
_HOLES = "cutting any of it leaves holes where its axes are taken apart or joined"


def coupled_groups(analysis: Analysis) -> tuple[Group, ...]:
    """The coupled groups of an analyzed model, in the order of their first member. Reads no weight.

    Every group without ``fixed`` can be cut index by index; an axis that several groups hold can be cut in several ways.
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
    found.extend(_families(axes, plain, np.arange(plain.size), closed.codes[plain], "", True))
    covered = np.zeros(closed.label.size, dtype=bool)
    for way in ways(walk.ledger, closed):
        for family in _families(axes, way.nodes, way.cut, way.codes, way.op, way.outer):
            if family.code == CUTTABLE and family.size > 1:
                covered[family.nodes] = True
                found.append(family)
    left = roots[closed.gridded[roots] & ~covered[roots]]
    codes = np.where(closed.codes[left] == CUTTABLE, 0, closed.codes[left])
    found.extend(_families(axes, left, np.arange(left.size), codes, "", True))
    return _named(axes, walk, _without_twins(found))


@dataclass(frozen=True, slots=True)
class _Found:
    """A family of cuts that are alike: ``rows``: number of the stored axis -> coordinates, one row per index."""

    rows: Mapping[int, Integers]
    size: int
    code: int
    op: str
    outer: bool
    nodes: Integers


class _Axes:
    """All axes of stored tensors along which slots lie, and where every class stands on them."""

    def __init__(self, walk: Coupling, closed: Closed, analysis: Analysis) -> None:
        self.closed = closed
        self.uses = _uses(analysis)
        self.axes: list[tuple[str, int]] = []
        classes, numbers, places = [], [], []
        for root in walk.resolution.graph.weights:
            for axis, slots in enumerate(walk.states.get(root, ())):
                if slots is None or isinstance(slots, int):
                    continue
                here = np.flatnonzero(slots >= 0)
                classes.append(closed.label[slots[here]])
                numbers.append(np.full(here.size, len(self.axes), dtype=np.int64))
                places.append(here)
                self.axes.append((root, axis))
        empty = np.zeros(0, dtype=np.int64)
        joined = np.concatenate(classes) if classes else empty
        order = np.argsort(joined, kind="stable")
        self.classes = joined[order]
        self.numbers = (np.concatenate(numbers) if numbers else empty)[order]
        self.places = (np.concatenate(places) if places else empty)[order]
        self.told = np.array([root in self.uses for root, _ in self.axes], dtype=bool)

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


def _families(
    axes: _Axes, nodes: Integers, cut: Integers, codes: Integers, op: str, outer: bool
) -> Iterator[_Found]:
    """Cuts that stand on the same axes, equally often, and are read by the same ops, together."""
    owners, at = axes.rows(nodes)
    if not at.size:
        return
    which, number, place = cut[owners], axes.numbers[at], axes.places[at]
    order = np.lexsort((place, number, which))
    which, number, place = which[order], number[order], place[order]
    heads = _heads(which, number)
    counts = np.diff(np.append(heads, which.size))
    count = codes.size
    trait = np.zeros(count, dtype=np.uint64)
    with np.errstate(over="ignore"):
        np.add.at(trait, cut, _mixed(axes.closed.traits[nodes]))
        np.add.at(trait, which[heads], _mixed(number[heads].astype(np.uint64) * np.uint64(1 << 32) + counts.astype(np.uint64)))
    present = np.unique(which)
    used = np.zeros(count, dtype=bool)
    used[which[axes.told[number]]] = True
    present = present[used[present]]
    if not present.size:
        return
    kinds = np.stack([trait[present], codes[present].astype(np.uint64)])
    _, first, inverse = np.unique(kinds, axis=1, return_index=True, return_inverse=True)
    inverse = inverse.reshape(-1)
    family = np.full(count, -1, dtype=np.int64)
    family[present] = inverse
    row_family = family[which]
    for kind in np.argsort(first, kind="stable").tolist():
        mine = np.flatnonzero(row_family == kind) if first.size > 1 else np.flatnonzero(row_family >= 0)
        cuts = np.unique(which[mine])
        own_number, own_place = number[mine], place[mine]
        rows = {
            int(axis): own_place[own_number == axis].reshape(cuts.size, -1)
            for axis in np.unique(own_number).tolist()
        }
        inside = np.isin(cut, cuts)
        yield _Found(_ordered(rows), int(cuts.size), int(codes[present[first[kind]]]), op, outer, nodes[inside])


def _heads(which: Integers, number: Integers) -> Integers:
    """Where a new (cut, axis) starts."""
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
        members = tuple(_member(axes, walk, number, places) for number, places in item.rows.items())
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
    return tuple(
        replace(group, alternatives=tuple(_alternatives(groups, at))) for at, (group, _) in enumerate(groups)
    )


def _place_in_graph(axes: _Axes, item: _Found) -> tuple[int, int]:
    return min(item.rows), int(next(iter(item.rows.values())).reshape(-1)[0])


def _alternatives(groups: Sequence[tuple[Group, _Found]], at: int) -> Iterator[str]:
    group, item = groups[at]
    if group.granularity == "neuron":
        return
    for other, found in groups:
        if other is not group and other.granularity != "neuron" and not item.rows.keys().isdisjoint(found.rows.keys()):
            if np.isin(found.nodes, item.nodes).any():
                yield other.id


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
        for _, role, _, _ in axes.uses.get(axes.axes[number][0], ())
        for part in (role or "").split("+")
    }
    if parts & _ATTENTION:
        return "head" if together else "head width"
    return "block" if together else "across blocks"


def _member(axes: _Axes, walk: Coupling, number: int, places: Integers) -> Member:
    root, axis = axes.axes[number]
    ref = walk.resolution.graph.weights[root]
    uses = tuple(dict.fromkeys(MemberUse(owner, _role(use, axis, kind)) for owner, _, use, kind in axes.uses.get(root, ())))
    runs = _runs(places)
    listed = None if runs is not None else tuple(tuple(row) for row in places.tolist())
    return Member(ref.name, root, axis, uses, runs or (), listed)


def _role(use: WeightUse, axis: int, kind: str) -> PartPlayed:
    if kind == "modulator":
        return "modulator"
    return use.axes[axis].role


def _runs(places: Integers) -> tuple[Run, ...] | None:
    """``places`` (one row per index) as runs; None if they follow no pattern."""
    steps = np.diff(places, axis=0)
    breaks = [0, *(np.flatnonzero((np.diff(steps, axis=0) != 0).any(axis=1)) + 2).tolist(), len(places)] if len(places) > 2 else [0, len(places)]
    if len(breaks) > _MOST_RUNS:
        return None
    found: list[Run] = []
    for start, stop in zip(breaks[:-1], breaks[1:], strict=True):
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
                Run(start, stop, int(block[0, column]), int(step[column]), end - column, int(strides[column]) if end - column > 1 else 0)
            )
            if len(found) > _MOST_RUNS:
                return None
            column = end
            cuts.append(end)
    return tuple(found)


def groups_json(analysis: Analysis) -> list[dict[str, Any]]:
    """The groups as plain lists and dictionaries, for reports."""
    return [
        {
            "id": group.id,
            "size": group.size,
            "granularity": group.granularity,
            "prunable": group.fixed is None,
            **({"fixed": group.fixed} if group.fixed is not None else {}),
            **({"alternatives": list(group.alternatives)} if group.alternatives else {}),
            "members": [_member_json(member) for member in group.members],
        }
        for group in analysis.groups
    ]


def _member_json(member: Member) -> dict[str, Any]:
    told: dict[str, Any] = {
        "weight": member.weight,
        "axis": member.axis,
        "uses": [{"of": use.of, "role": use.role} for use in member.uses],
    }
    if member.listed is not None:
        return {**told, "coordinates": [list(row) for row in member.listed]}
    return {
        **told,
        "runs": [
            {"index": [run.start, run.stop], "first": run.first, "step": run.step, "count": run.count, "stride": run.stride}
            for run in member.runs
        ],
    }


__all__ = ["coupled_groups", "groups_json"]

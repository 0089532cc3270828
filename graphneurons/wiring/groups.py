"""Coupled groups: which axes of which stored weights share one index (see `graphneurons.wiring.group_records`)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from graphneurons.collecting import paused_collection
from graphneurons.wiring.atoms import atoms
from graphneurons.wiring.closing import CUTTABLE, close
from graphneurons.wiring.coupling import couple
from graphneurons.wiring.families import Family, Standing, families
from graphneurons.wiring.group_records import Granularity, Group, Member, MemberUse, PartPlayed, Run
from graphneurons.wiring.records import Integers
from graphneurons.wiring.spreading import ways
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
    with paused_collection():
        return _groups(analysis, couple(analysis.resolution))


def _groups(analysis: Analysis, walk: Coupling) -> tuple[Group, ...]:
    whole = atoms(walk.ledger)
    closed = close(whole.ties)
    uses = _uses(analysis)
    axes = Standing(walk, whole, closed, uses)
    found: list[Family] = []
    every = np.arange(closed.label.size, dtype=np.int64)
    roots = every[closed.label == every]
    plain = roots[~closed.gridded[roots]]
    found.extend(families(axes, plain, np.arange(plain.size), closed.codes[plain], ""))
    covered = np.zeros(closed.label.size, dtype=bool)
    for way in ways(whole.ties, closed):
        for family in families(axes, way.nodes, way.cut, way.codes, way.op):
            if family.code == CUTTABLE and family.size > 1:
                covered[family.nodes] = True
                found.append(family)
    left = roots[closed.gridded[roots] & ~covered[roots]]
    codes = np.where(closed.codes[left] == CUTTABLE, 0, closed.codes[left])
    found.extend(families(axes, left, np.arange(left.size), codes, ""))
    return _named(_Told(walk, axes, uses), _without_twins(found))


@dataclass(frozen=True, slots=True, eq=False)
class _Told:
    """What members say, told once for every bundle of axes. ``uses``: see `_uses`."""

    walk: Coupling
    axes: Standing
    uses: Mapping[str, list[tuple[str, str | None, WeightUse, str]]]
    known: dict[int, list[tuple[str, str, int, tuple[MemberUse, ...], bool]]] = field(default_factory=dict)

    def of(self, number: int) -> list[tuple[str, str, int, tuple[MemberUse, ...], bool]]:
        """(name, root, axis, uses, whether neurons lie along it) of every axis of a bundle."""
        found = self.known.get(number)
        if found is None:
            found = self.known[number] = [self._axis(root, axis) for root, axis in self.axes.bundles[number]]
        return found

    def _axis(self, root: str, axis: int) -> tuple[str, str, int, tuple[MemberUse, ...], bool]:
        members = [MemberUse(owner, _role(use, axis, kind)) for owner, _, use, kind in self.uses.get(root, ())]
        uses = tuple(dict.fromkeys(members))
        are_neurons = any(use.role in ("neuron", "shared", "lookup") for use in uses)
        return self.walk.resolution.graph.weights[root].name, root, axis, uses, are_neurons


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


def _without_twins(found: Iterable[Family]) -> list[Family]:
    """Different starts may find the same way to cut."""
    seen: set[object] = set()
    kept = []
    for item in found:
        rows = tuple((axis, places.tobytes()) for axis, places in item.rows.items())
        key = (item.widths.tobytes(), item.code, rows)
        if key not in seen:
            seen.add(key)
            kept.append(item)
    return kept


def _named(told: _Told, found: Sequence[Family]) -> tuple[Group, ...]:
    order = sorted(range(len(found)), key=lambda at: _place_in_graph(found[at]))
    names: set[str] = set()
    groups: list[tuple[Group, Family]] = []
    for item in (found[at] for at in order):
        members = _members(told, item)
        granularity = _granularity(told, item)
        name = base = _base(members) + ("" if granularity == "neuron" else f"/{granularity.replace(' ', '-')}")
        repeat = 1
        while name in names:
            repeat += 1
            name = f"{base}#{repeat}"
        names.add(name)
        fixed = None
        if item.code != CUTTABLE:
            fixed = told.walk.ledger.reasons[-1 - item.code] if item.code < 0 else _HOLES
        groups.append((Group(name, item.size, members, granularity, (), fixed), item))
    others = _others(told, groups)
    return tuple(
        replace(group, alternatives=others[at]) if at in others else group for at, (group, _) in enumerate(groups)
    )


def _place_in_graph(item: Family) -> tuple[int, int]:
    return min(item.rows), int(next(iter(item.rows.values())).reshape(-1)[0])


def _others(told: _Told, groups: Sequence[tuple[Group, Family]]) -> Mapping[int, tuple[str, ...]]:
    """Number of a group that cuts axes in slices -> the ids of others that cut the same slots."""
    sliced: dict[int, list[int]] = {}
    for at, (group, item) in enumerate(groups):
        for number in item.rows if group.granularity != "neuron" else ():
            sliced.setdefault(number, []).append(at)
    found: dict[int, tuple[str, ...]] = {}
    last = np.full(told.axes.atoms.ties.count, -1, dtype=np.int64)
    for at in sorted({at for each in sliced.values() for at in each}):
        last[groups[at][1].nodes] = at
        near = sorted({other for number in groups[at][1].rows for other in sliced[number]} - {at})
        found[at] = tuple([groups[other][0].id for other in near if (last[groups[other][1].nodes] == at).any()])
    return found


def _base(members: Sequence[Member]) -> str:
    """A group is called after the layer whose neurons it is; if only synapses are in it, after their layer."""
    for wanted in (("neuron", "shared"), ("lookup",), ("synapse", "mixed"), ("modulator",)):
        for member in members:
            for use in member.uses:
                if use.role in wanted:
                    return f"{use.of}:synapses" if wanted[0] == "synapse" else use.of
    return members[0].weight


def _granularity(told: _Told, item: Family) -> Granularity:
    if not item.op:
        return "neuron"
    rows = max(item.rows.values(), key=lambda places: places.shape[1])
    if rows.shape[1] == 1:
        return "neuron"
    steps = np.sort(rows[:, 1:] - rows[:, :-1], axis=None)
    together = int(steps[(steps.size - 1) // 2] + steps[steps.size // 2]) == 2
    parts = {
        part
        for number in item.rows
        for root, _ in told.axes.bundles[number]
        for _, role, _, _ in told.uses.get(root, ())
        for part in (role or "").split("+")
    }
    if parts & _ATTENTION:
        return "head" if together else "head width"
    return "block" if together else "across blocks"


def _members(told: _Told, item: Family) -> tuple[Member, ...]:
    """The axes that a family of cuts stands on; those that neurons lie along come first."""
    neurons: list[Member] = []
    others: list[Member] = []
    for number, starts in item.rows.items():
        runs = _straight(starts, item.widths, item.size) or _runs(item.places(number))
        listed = None if runs is not None else tuple(tuple(row) for row in item.places(number).tolist())
        for name, root, axis, uses, are_neurons in told.of(number):
            member = Member(name, root, axis, uses, runs or (), listed)
            (neurons if are_neurons else others).append(member)
    return (*neurons, *others)


def _role(use: WeightUse, axis: int, kind: str) -> PartPlayed:
    if kind == "modulator":
        return "modulator"
    return use.axes[axis].role


def _straight(starts: Integers, widths: Integers, size: int) -> tuple[Run, ...] | None:
    """``size`` cuts, told as runs ``widths`` long, as runs of coordinates if each goes on where the one before ends."""
    if size < 2 or (len(starts) > 1 and (starts[1:] - starts[:-1] != widths[:-1, None]).any()):
        return None
    found = _columns(0, size, starts[0].tolist(), [1] * starts.shape[1])
    return tuple(found) if len(found) <= _MOST_RUNS else None


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
        first = places[start].tolist()
        step = (places[start + 1] - places[start]).tolist() if stop - start > 1 else [0] * len(first)
        found.extend(_columns(start, stop, first, step))
        if len(found) > _MOST_RUNS:
            return None
    return tuple(found)


def _columns(start: int, stop: int, first: Sequence[int], step: Sequence[int]) -> list[Run]:
    """Runs of indices that step alike, from the coordinates ``first`` of the first of them."""
    found: list[Run] = []
    column = 0
    while column < len(first):
        end = column + 1
        stride = first[end] - first[column] if end < len(first) else 0
        while end < len(first) and step[end] == step[column] and first[end] - first[end - 1] == stride:
            end += 1
        found.append(Run(start, stop, first[column], step[column], end - column, stride if end - column > 1 else 0))
        column = end
    return found


__all__ = ["coupled_groups"]

"""The network as few enough nodes to look at: equal blocks folded into one, deep modules and long runs summed up."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

DEEPEST = 16
"""Levels of module paths that are looked at: what lies deeper counts as part of the last one."""

Path = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Item:
    """Something drawn as one node. ``looks``: what must be equal for two blocks to be alike; ``layers``, ``neurons``
    and ``synapses`` add up where items are merged; ``text`` is its own name, the last part of its path."""

    id: str
    kind: str
    path: Path
    text: str
    looks: tuple[object, ...]
    layers: int = 0
    neurons: int = 0
    synapses: int = 0
    members: int = 1


@dataclass(frozen=True, slots=True)
class Stack:
    """Blocks ``first`` to ``last`` below ``prefix`` are alike: the first stands for all ``copies``."""

    prefix: Path
    first: int
    last: int
    copies: int

    @property
    def path(self) -> Path:
        return (*self.prefix, str(self.first))


@dataclass(frozen=True)
class Folded:
    """Items that are drawn, which one stands for which (by id), and the stacks."""

    items: tuple[Item, ...]
    stands_for: Mapping[str, str]
    stacks: tuple[Stack, ...]
    copy_of: Mapping[str, tuple[int, ...]] = field(default_factory=dict)


def fold(items: Sequence[Item]) -> Folded:
    """Blocks that a number tells apart (``h.0``, ``h.1``, ...) and that look alike, folded from the outside in."""
    items = [replace(item, path=(*item.path[: DEEPEST - 1], "/".join(item.path[DEEPEST - 1 :]))
                     if len(item.path) > DEEPEST else item.path) for item in items]  # fmt: skip
    numbered = _ordinals(items)
    blocks: dict[Path, dict[int, list[tuple[Path, tuple[object, ...]]]]] = defaultdict(lambda: defaultdict(list))
    for item, path in zip(items, numbered, strict=True):
        for at, part in enumerate(path[:-1]):
            if part.isdigit() and len(part) < 7:
                blocks[path[:at]][int(part)].append((path[at + 1 :], item.looks))
    chosen: dict[Path, dict[int, tuple[int, int]]] = {
        prefix: _alike({number: sorted(content, key=repr) for number, content in found.items()})
        for prefix, found in blocks.items()
    }
    kept: dict[Path, Item] = {}
    stands_for: dict[str, str] = {}
    copies: dict[str, tuple[int, ...]] = {}
    stacks: dict[Path, Stack] = {}
    for item, path in zip(items, numbered, strict=True):
        turned: Path = ()
        copy: list[int] = []
        for at, part in enumerate(path):
            place = (
                chosen.get(turned, {}).get(int(part))
                if part.isdigit() and len(part) < 7 and at < len(path) - 1
                else None
            )
            if place is not None and place[1] > 1:
                copy.append(int(part) - place[0])
                stack = Stack(turned, place[0], place[0] + place[1] - 1, place[1])
                stacks.setdefault(stack.path, stack)
                part = str(place[0])
            turned = (*turned, part)
        standing = kept.setdefault(turned, item)
        stands_for[item.id] = standing.id
        copies[item.id] = tuple(copy)
    return Folded(tuple(kept.values()), stands_for, tuple(stacks.values()), copies)


def _ordinals(items: Sequence[Item]) -> list[Path]:
    """Paths, each told apart by a count where several items have the same."""
    seen: Counter[Path] = Counter()
    found = []
    for item in items:
        whole = (*item.path, item.text)
        found.append((*item.path, f"{item.text}#{seen[whole]}"))
        seen[whole] += 1
    return found


def _alike(blocks: Mapping[int, object]) -> dict[int, tuple[int, int]]:
    """number -> (first of its run, how many are alike): only consecutive numbers are folded."""
    runs: list[list[int]] = []
    for number in sorted(blocks):
        if runs and runs[-1][-1] == number - 1 and blocks[runs[-1][0]] == blocks[number]:
            runs[-1].append(number)
        else:
            runs.append([number])
    return {number: (run[0], len(run)) for run in runs for number in run}


def collapse(folded: Folded, depth: int) -> Folded:
    """Everything below ``depth`` levels of module paths as one item per module."""
    return _merged(folded, {item.id: item.path[:depth] for item in folded.items if len(item.path) >= depth}, depth)


def runs(folded: Folded, most: int) -> Folded:
    """Neighbours, in the model's order, merged until at most ``most`` items are left."""
    each = -(-len(folded.items) // most)
    places = {item.id: (str(at // each),) for at, item in enumerate(folded.items)}
    return _merged(replace(folded, stacks=()), places, 0)


def _merged(folded: Folded, places: Mapping[str, Path], depth: int) -> Folded:
    groups: dict[Path, list[Item]] = {}
    for item in folded.items:
        if item.id in places:
            groups.setdefault(places[item.id], []).append(item)
    merged: dict[str, Item] = {}
    for path, members in groups.items():
        merged.update(dict.fromkeys((one.id for one in members), _sum(path, members, depth)))
    items = tuple(dict.fromkeys(merged.get(item.id, item) for item in folded.items))
    stands_for = {id: merged[other].id if other in merged else other for id, other in folded.stands_for.items()}
    stacks = tuple(stack for stack in folded.stacks if len(stack.path) <= depth)
    return Folded(items, stands_for, stacks, folded.copy_of)


def _sum(path: Path, members: Sequence[Item], depth: int) -> Item:
    if len(members) == 1:
        return members[0]
    first, last = members[0], members[-1]
    text = ".".join(path) if depth else f"{first.text} … {last.text}"
    own = path[:-1] if depth else ()
    return Item(
        first.id, "scope", own, text, (), sum(one.layers for one in members), sum(one.neurons for one in members),
        sum(one.synapses for one in members), sum(one.members for one in members),
    )  # fmt: skip


def deepest(items: Iterable[Item]) -> int:
    return max((len(item.path) for item in items), default=0)

"""Which matrices of one model are which of another: by what they hold, then by name, then by place."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from difflib import SequenceMatcher
from itertools import permutations

import numpy as np

from graphneurons.comparing.fingerprints import Fingerprint, Item, distance, is_same, is_zero
from graphneurons.comparing.sketches import Floats

MOST_ALIGNED = 4000
"""Matrices without a partner that are compared each with each."""

ALIKE = 0.5
"""Relative distance up to which two matrices are the same one, trained further; unrelated ones are 1.4 apart."""
_MOST_PARTS = 4
_NEAR = 3e-6
"""Share of the norm by which rounding may change norms and sums."""

Rows = Callable[[Item], Floats]
"""Projections of the neurons of a matrix of the second model."""
Sketch = Callable[[Item, Floats], Fingerprint]


@dataclass(frozen=True, slots=True)
class Pairing:
    """Matrices ``before`` are matrices ``now``, by their numbers: one each, or one that is split into several (or the
    other way round), in the order in which they lie below one another. ``relative``: how far they lie apart."""

    before: tuple[int, ...]
    now: tuple[int, ...]
    relative: float


def paired(
    before: Sequence[Item], now: Sequence[Item], by_name: bool, fingerprint: Sketch, rows: Rows
) -> list[Pairing]:
    """Partners among all matrices, in the order of ``now``. ``by_name``: both models call their layers alike, so names
    come first. ``rows`` and ``fingerprint`` serve to compare parts of packed matrices."""
    search = _Search(before, now)
    if by_name:
        search.take(search.same(aligned=True))
        search.take(search.named())
    search.take(search.same())
    search.take(search.parts(rows, fingerprint))
    if not by_name:
        search.take(search.alike())
        search.take(search.elsewhere())
        search.take(search.named())
    search.take(search.alike())
    search.take(search.elsewhere())
    search.take(search.in_place())
    search.take(search.copies())
    return sorted(search.found, key=lambda pair: (pair.now, pair.before))


class _Search:
    def __init__(self, before: Sequence[Item], now: Sequence[Item]) -> None:
        self.before = before
        self.now = now
        self.left = [at for at, item in enumerate(before) if not _is_nothing(item)]
        self.right = [at for at, item in enumerate(now) if not _is_nothing(item)]
        self.found: list[Pairing] = []

    def take(self, pairs: Iterator[Pairing]) -> None:
        taken = list(pairs)
        self.found.extend(taken)
        lost = {at for pair in taken for at in pair.before}
        gone = {at for pair in taken for at in pair.now}
        self.left = [at for at in self.left if at not in lost]
        self.right = [at for at in self.right if at not in gone]

    def named(self) -> Iterator[Pairing]:
        """The same place of a holder that has as many matrices of these shapes, or the same stored name."""
        now = _outlines(self.now)
        alike = {name for name, shapes in _outlines(self.before).items() if now.get(name) == shapes}
        parts = {
            name for items in (self.before, self.now)
            for (_, name), count in Counter((item.holder, item.name) for item in items if _class(item)).items()
            if count > 1
        }  # fmt: skip
        for mark in (_place, _stored):
            waiting: dict[object, list[int]] = defaultdict(list)
            for at in self.left:
                item = self.before[at]
                if not _class(item) or (item.holder in alike if mark is _place else item.name not in parts):
                    waiting[mark(item)].append(at)
            lines = {name: iter(same) for name, same in waiting.items()}
            taken: set[int] = set()
            lost: set[int] = set()
            for at in self.right:
                first = next(lines.get(mark(self.now[at]), iter(())), None)
                if first is not None:
                    taken.add(at)
                    lost.add(first)
                    yield self._pair(first, at)
            self.left = [at for at in self.left if at not in lost]
            self.right = [at for at in self.right if at not in taken]

    def same(self, aligned: bool = False) -> Iterator[Pairing]:
        """Matrices that hold the same numbers. Those that several hold go by name, then in order; a recurrent layer
        and the copies of it that an unrolled loop uses are all partners. ``aligned``: modulators alone, and those of
        layers only with the same one."""
        groups: dict[tuple[int, ...], list[int]] = defaultdict(list)
        for at, others in self._close().items():
            item = self.before[at]
            if aligned:
                others = [o for o in others if item.kind == "elementwise" or item.of == self.now[o].of]
            if others and (not aligned or item.kind not in ("weight", "table", "stored")):
                groups[tuple(others)].append(at)
        taken: set[int] = set()
        for others_alike, befores in sorted(groups.items()):
            nows = [other for other in others_alike if other not in taken]
            if nows:
                taken.update(nows)
                yield from self._shared(befores, nows)

    def _shared(self, befores: list[int], nows: list[int]) -> Iterator[Pairing]:
        left, right = list(befores), list(nows)
        for mark in (_place, _stored, _holder, _anything):
            waiting: dict[object, list[int]] = defaultdict(list)
            for other in reversed(right):
                waiting[mark(self.now[other])].append(other)
            pairs = [(at, same.pop()) for at in left if (same := waiting.get(mark(self.before[at])))]
            lost, gone = {at for at, _ in pairs}, {other for _, other in pairs}
            left = [at for at in left if at not in lost]
            right = [other for other in right if other not in gone]
            for at, other in pairs:
                yield self._pair(at, other)
        # What is left has partners that are taken: copies. Of weights only where a loop is unrolled on one side.
        for rest, all_before in ((right, True), (left, False)):
            for at in rest:
                item = self.now[at] if all_before else self.before[at]
                others = befores if all_before else nows
                partners = self.before if all_before else self.now
                if item.kind not in ("weight", "stored") or any(partners[o].recurrent for o in others):
                    yield self._pair(others[0], at) if all_before else self._pair(at, others[0])

    def _close(self) -> dict[int, list[int]]:
        """Matrices of the first model -> those of the second that hold the same numbers."""
        groups: dict[object, list[int]] = defaultdict(list)
        for at in self.right:
            item = self.now[at]
            if item.fingerprint.is_known:
                groups[_class(item), item.fingerprint.shape].append(at)
        keys = {
            mark: np.array([self.now[at].fingerprint.sketch[0] for at in members]) for mark, members in groups.items()
        }
        order = {mark: np.argsort(values, kind="stable") for mark, values in keys.items()}
        found: dict[int, list[int]] = {}
        for at in self.left:
            item = self.before[at]
            mark = (_class(item), item.fingerprint.shape)
            if mark not in groups or not item.fingerprint.is_known:
                continue
            sorted_keys = keys[mark][order[mark]]
            reach = 0.05 if len(groups[mark]) <= MOST_ALIGNED else 1e-3
            low, high = np.searchsorted(sorted_keys, item.fingerprint.sketch[0] + np.array([-reach, reach]))
            near = sorted(groups[mark][place] for place in order[mark][low:high])
            found[at] = [other for other in near if self._is_same(at, other)]
        return found

    def _is_same(self, at: int, other: int) -> bool:
        return _is_close(self.before[at], self.now[other])

    def parts(self, rows: Rows, fingerprint: Sketch) -> Iterator[Pairing]:
        """Packed matrices and the parts of them the other model has: query, key and value."""
        weights = [at for at in self.right if self.now[at].kind in ("weight", "bias", "table")]
        mine = [at for at in self.left if self.before[at].kind in ("weight", "bias", "table")]
        if len(weights) * len(mine) > MOST_ALIGNED * 64:
            return
        used: set[int] = set()
        for at in mine:
            whole = self.before[at]
            for run in _runs([o for o in weights if o not in used], self.now, whole):
                chosen = self._best_order(at, run, rows, fingerprint)
                if chosen is not None:
                    used.update(chosen.now)
                    yield chosen
                    break
        taken: set[int] = set()
        for other in weights:
            if other in used:
                continue
            whole = self.now[other]
            for run in _runs([at for at in mine if at not in taken], self.before, whole):
                found = self._sliced(other, run, rows, fingerprint)
                if found is not None:
                    taken.update(found.before)
                    yield found
                    break

    def _best_order(self, at: int, run: Sequence[int], rows: Rows, fingerprint: Sketch) -> Pairing | None:
        projections = {other: rows(self.now[other]) for other in run}
        best: Pairing | None = None
        for order in permutations(run):
            stacked = np.concatenate([projections[other] for other in order])
            made = fingerprint(self.now[order[0]], stacked)
            apart = distance(self.before[at].fingerprint, made)
            if apart <= ALIKE and (best is None or apart < best.relative):
                best = Pairing((at,), order, apart)
        return best

    def _sliced(self, other: int, run: Sequence[int], rows: Rows, fingerprint: Sketch) -> Pairing | None:
        projections = rows(self.now[other])
        best: Pairing | None = None
        for order in permutations(run):
            start, worst = 0, 0.0
            for at in order:
                stop = start + self.before[at].fingerprint.rows
                made = fingerprint(self.now[other], projections[start:stop])
                worst = max(worst, distance(self.before[at].fingerprint, made))
                start = stop
            if worst <= ALIKE and (best is None or worst < best.relative):
                best = Pairing(order, (other,), worst)
        return best

    def alike(self) -> Iterator[Pairing]:
        """Matrices that lie near each other, nearest first: the same, changed a little."""
        if len(self.left) * len(self.right) > MOST_ALIGNED * MOST_ALIGNED:
            return
        near: list[tuple[float, int, int]] = []
        by_shape: dict[object, list[int]] = defaultdict(list)
        for other in self.right:
            by_shape[_class(self.now[other]), self.now[other].fingerprint.shape].append(other)
        for at in self.left:
            item = self.before[at]
            candidates = by_shape.get((_class(item), item.fingerprint.shape), [])
            if not item.fingerprint.is_known or not item.fingerprint.norm or not candidates:
                continue
            known = [other for other in candidates if self.now[other].fingerprint.is_known]
            if not known:
                continue
            mine = np.array(item.fingerprint.sketch) * item.fingerprint.norm
            theirs = np.array([
                np.array(self.now[o].fingerprint.sketch) * self.now[o].fingerprint.norm for o in known
            ])  # fmt: skip
            apart = np.sqrt(np.mean(np.square(theirs - mine), axis=1)) / item.fingerprint.norm
            near.extend((float(apart[n]), at, known[n]) for n in np.flatnonzero(apart <= ALIKE))
        lost: set[int] = set()
        gone: set[int] = set()
        for _, at, other in sorted(near):
            if at not in lost and other not in gone:
                lost.add(at)
                gone.add(other)
                yield self._pair(at, other)

    def elsewhere(self) -> Iterator[Pairing]:
        """Weights of one shape, norm and sum: the same numbers at other places."""
        by_norm: dict[object, list[tuple[float, int]]] = defaultdict(list)
        for other in self.right:
            item = self.now[other]
            if item.kind in ("weight", "table") and item.fingerprint.norm:
                by_norm[item.kind, item.fingerprint.shape].append((item.fingerprint.norm, other))
        for candidates in by_norm.values():
            candidates.sort()
        gone: set[int] = set()
        for at in self.left:
            mine = self.before[at].fingerprint
            waiting = by_norm.get((self.before[at].kind, mine.shape), [])
            for place in range(bisect_left(waiting, (mine.norm * (1 - _NEAR), -1)), len(waiting)):
                norm, other = waiting[place]
                if norm > mine.norm * (1 + _NEAR):
                    break
                theirs = self.now[other].fingerprint
                same = abs(theirs.total - mine.total) <= _NEAR * norm and theirs.broken == mine.broken
                if same and other not in gone:
                    gone.add(other)
                    yield self._pair(at, other)
                    break

    def in_place(self) -> Iterator[Pairing]:
        """Weights of layers of the same shape, in the same order."""
        kinds = ("weight", "table", "stored")
        left = [at for at in self.left if self.before[at].kind in kinds]
        right = [at for at in self.right if self.now[at].kind in kinds]
        if len(left) + len(right) > MOST_ALIGNED:
            yield from self._in_order(left, right)
            return
        was, current = [_outline(self.before[at]) for at in left], [_outline(self.now[at]) for at in right]
        for block in SequenceMatcher(None, was, current, autojunk=False).get_matching_blocks():
            for step in range(block.size):
                yield self._pair(left[block.a + step], right[block.b + step])

    def _in_order(self, left: Sequence[int], right: Sequence[int]) -> Iterator[Pairing]:
        """Matrices of one kind and shape in their order, where there are too many to align."""
        waiting: dict[object, list[int]] = defaultdict(list)
        for at in reversed(left):
            waiting[_outline(self.before[at])].append(at)
        for other in right:
            same = waiting.get(_outline(self.now[other]))
            if same:
                yield self._pair(same.pop(), other)

    def copies(self) -> Iterator[Pairing]:
        """What an unrolled loop uses again, of a recurrent layer whose weights were found changed."""
        firsts = [pair for pair in self.found if len(pair.before) == len(pair.now) == 1]
        for pair in firsts:
            a, b = self.before[pair.before[0]], self.now[pair.now[0]]
            if a.recurrent == b.recurrent:
                continue
            rest, items, like = (self.right, self.now, b) if a.recurrent else (self.left, self.before, a)
            for at in [each for each in rest if items[each].name == like.name and _is_close(items[each], like)]:
                yield self._pair(pair.before[0], at) if a.recurrent else self._pair(at, pair.now[0])

    def _pair(self, at: int, other: int) -> Pairing:
        return Pairing((at,), (other,), distance(self.before[at].fingerprint, self.now[other].fingerprint))


def _runs(free: Sequence[int], items: Sequence[Item], whole: Item) -> Iterator[tuple[int, ...]]:
    """Up to `_MOST_PARTS` matrices near each other that have as many neurons together as ``whole``."""
    fitting = [
        at for at in free
        if items[at].kind == whole.kind and items[at].fingerprint.columns == whole.fingerprint.columns
        and items[at].fingerprint.rows < whole.fingerprint.rows and items[at].fingerprint.is_known
    ]  # fmt: skip
    for start in range(len(fitting)):
        total = 0
        for count in range(1, _MOST_PARTS + 1):
            if start + count > len(fitting):
                break
            total += items[fitting[start + count - 1]].fingerprint.rows
            if total == whole.fingerprint.rows and count > 1:
                yield tuple(fitting[start : start + count])
            if total >= whole.fingerprint.rows:
                break


def _is_close(one: Item, other: Item) -> bool:
    return is_same(one.fingerprint, other.fingerprint)


def _is_nothing(item: Item) -> bool:
    """Zeros added, which exporters write or leave out."""
    return item.kind in ("bias", "elementwise") and is_zero(item.fingerprint)


def _class(item: Item) -> str:
    """Weights are compared with weights, tables with tables, everything else with everything else."""
    return item.kind if item.kind in ("weight", "table") else ""


def _outlines(items: Sequence[Item]) -> dict[str, list[object]]:
    """Holders of weights with their shapes, in order."""
    found: dict[str, list[object]] = defaultdict(list)
    for item in items:
        if _class(item):
            found[item.holder].append(item.fingerprint.shape)
    return found


def _place(item: Item) -> object:
    if item.kind == "elementwise":
        # Called otherwise, it may be another one that exporters compute in advance.
        return _stored(item)
    return item.holder, _class(item), item.position, item.fingerprint.shape


def _stored(item: Item) -> object:
    return item.name, _class(item), item.fingerprint.shape


def _holder(item: Item) -> object:
    return item.of or item.holder


def _anything(item: Item) -> object:
    return None


def _outline(item: Item) -> object:
    return item.kind, item.fingerprint.shape


def without_matrix(item: Item) -> Item:
    """``item`` as a lock keeps it."""
    return replace(item, matrix=None)

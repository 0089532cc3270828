"""A model compared with its reference: which layers are which now, and which weights are others."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from itertools import islice

import numpy as np

from graphneurons.analysis import Analysis
from graphneurons.checks.locking import Lock, LockedLayer, Reference, lock
from graphneurons.comparing.differences import Comparison, Difference
from graphneurons.comparing.fingerprints import OF_LAYERS, Fingerprint, Item, is_same, is_zero, matrix_of, tolerance
from graphneurons.comparing.linking import links_of, pairings
from graphneurons.comparing.matrices import Reader
from graphneurons.comparing.pairing import MOST_ALIGNED, Pairing
from graphneurons.comparing.sketches import estimated, sketch_of


@dataclass(frozen=True, slots=True)
class Partners:
    """Layers of the reference and the layers that are these now: one each, or several where they are split, merged,
    or unrolled; nothing on one side where a layer is gone or new."""

    before: tuple[LockedLayer, ...]
    now: tuple[LockedLayer, ...]

    @property
    def pair(self) -> tuple[LockedLayer, LockedLayer] | None:
        return (self.before[0], self.now[0]) if len(self.before) == len(self.now) == 1 else None


@dataclass(frozen=True, slots=True)
class Changed:
    """Matrices of the reference and what they are now, changed by more than rounding: by ``relative`` of their norm.

    ``found``: what a comparison of all elements says, None where only a lock is there to compare with. ``holds``: the
    name of the layer whose weights these were; ``how``: what kind of change it is, or ``""``.
    """

    before: tuple[Item, ...]
    now: tuple[Item, ...]
    relative: float
    found: Difference | None
    how: str
    holds: str

    def exceeds(self, share: float) -> bool:
        """Whether the whole, or a neuron, changed by more than ``share`` of its norm."""
        if any(a.fingerprint.broken != b.fingerprint.broken for a, b in zip(self.before, self.now, strict=False)):
            return True
        return not (max(self.relative, self.found.largest if self.found is not None else 0.0) <= share)


@dataclass(frozen=True, slots=True)
class Drift:
    """``gone``, ``new``: modulators, tables and unlabelled weights only the one or only the other has. ``moved``:
    matrices that hold what they held, but serve another layer, or exchanged places in theirs."""

    before: Lock
    now: Lock
    layers: tuple[Partners, ...]
    changed: tuple[Changed, ...]
    gone: tuple[Item, ...]
    new: tuple[Item, ...]
    moved: tuple[tuple[Item, Item], ...]

    @property
    def names(self) -> Mapping[str, str]:
        """Layers of the reference -> what they are called now, where that is one."""
        return {
            before.id: partners.now[0].id
            for partners in self.layers
            for before in partners.before
            if len(partners.now) == 1
        }


def drift_of(analysis: Analysis, reference: Reference) -> Drift:
    """What differs between ``analysis`` and its reference, by more than rounding.

    Reads the weights of both once, those that changed a few times, in pieces.
    """
    now = lock(analysis)
    before = reference.lock
    by_name = {layer.id for layer in before.layers} == {layer.id for layer in now.layers}
    with ExitStack() as stack:
        reader = stack.enter_context(Reader(analysis.graph))
        other = None if reference.analysis is None else stack.enter_context(Reader(reference.analysis.graph))

        pairs = pairings(before.items, now.items, reader, by_name)
        compared = _Changes(before.items, now.items, reader, other)
        changed = tuple(each for pair in pairs for each in compared.changed(pair))
    gone = list(_rest(before, {at for pair in pairs for at in pair.before}, now))
    new = list(_rest(now, {at for pair in pairs for at in pair.now}, before))
    layers = tuple(_partners(before, now, pairs))
    return Drift(
        before, now, layers, changed, tuple(_picked(item, new) for item in gone),
        tuple(_picked(item, gone) for item in new), tuple(_moved(before, now, pairs, layers)),
    )  # fmt: skip


def _moved(
    before: Lock, now: Lock, pairs: Sequence[Pairing], layers: Sequence[Partners]
) -> Iterator[tuple[Item, Item]]:
    ones = [(before.items[p.before[0]], now.items[p.now[0]]) for p in pairs if len(p.before) == len(p.now) == 1]
    left = {layer.id: at for at, partners in enumerate(layers) for layer in partners.before}
    right = {layer.id: at for at, partners in enumerate(layers) for layer in partners.now}
    held = Counter((item.fingerprint.shape, item.fingerprint.sketch[:1]) for item in before.items)
    within: dict[tuple[str, str, object], list[tuple[Item, Item]]] = defaultdict(list)
    for one, other in ones:
        unique = held[one.fingerprint.shape, one.fingerprint.sketch[:1]] == 1
        if one.kind in ("bias", "normalisation") and one.of in left and other.of in right and unique:
            if left[one.of] != right[other.of]:
                yield one, other
        elif one.kind == "weight" and unique:
            within[one.holder, other.holder, one.fingerprint.shape].append((one, other))
    for found in within.values():
        places = [one.position for one, _ in sorted(found, key=lambda pair: pair[1].position)]
        if places != sorted(places):
            yield from found


def _rest(mine: Lock, told: set[int], theirs: Lock) -> Iterator[Item]:
    """What is in no pair, but for copies of what is, and zeros. A bias that is not one per neuron (positions added in
    advance) and a single number are constants."""
    sizes = {layer.id: layer.neurons for layer in mine.layers}
    others = _Index(theirs.items)
    seen: set[object] = set()
    for at, item in enumerate(mine.items):
        mark = (item.holder, item.name, item.kind)
        if at in told or item.kind in ("weight", "stored") or mark in seen:
            continue
        found = item.fingerprint
        if item.kind != "unlabelled" and is_zero(found):
            continue
        if next(others.same(found), None) is not None:
            continue
        seen.add(mark)
        single = found.rows == 1 or found.rows > sizes.get(item.of, found.rows)
        constant = item.kind in ("bias", "normalisation") and single
        yield replace(item, kind="elementwise") if constant else item


class _Index:
    """Items by shape and norm, to find those that hold the same numbers."""

    def __init__(self, items: Sequence[Item]) -> None:
        self._items: dict[tuple[int, int], list[Item]] = defaultdict(list)
        for item in sorted(items, key=lambda item: item.fingerprint.norm):
            self._items[item.fingerprint.shape].append(item)
        self._norms = {shape: [item.fingerprint.norm for item in found] for shape, found in self._items.items()}

    def same(self, wanted: Fingerprint) -> Iterator[Item]:
        norms, items = self._norms.get(wanted.shape, []), self._items.get(wanted.shape, [])
        start = bisect_left(norms, wanted.norm * (1 - _NEAR))
        for item in islice(items, start, min(start + MOST_ALIGNED, bisect_right(norms, wanted.norm * (1 + _NEAR)))):
            if is_same(item.fingerprint, wanted):
                yield item


_NEAR = 0.02


def _picked(item: Item, others: Sequence[Item]) -> Item:
    """A table as a constant, where the other model has constants that may be rows picked from it in advance."""
    width = item.fingerprint.columns
    if item.kind != "table" or not width:
        return item
    fitting = any(each.kind == "elementwise" and each.fingerprint.rows % width == 0 for each in others)
    return replace(item, kind="elementwise") if fitting else item


class _Changes:
    def __init__(
        self, before: Sequence[Item], now: Sequence[Item], reader: Reader, other: Reader | None
    ) -> None:
        self.before = before
        self.now = now
        self.reader = reader
        self.comparison = None if other is None else Comparison(other, reader)
        self.index = _Index(before)

    def changed(self, pair: Pairing) -> Iterator[Changed]:
        befores, nows = ([items[at] for at in places] for items, places in
                         ((self.before, pair.before), (self.now, pair.now)))  # fmt: skip
        one, two = befores[0].fingerprint, nows[0].fingerprint
        if not all(item.fingerprint.is_known for item in (*befores, *nows)):
            return
        if self.comparison is None:
            if pair.relative > tolerance(one, two) or one.broken != two.broken:
                yield Changed(tuple(befores), tuple(nows), pair.relative, None, self._how(befores, nows),
                              self._holds(befores, nows))  # fmt: skip
            return
        found = self.comparison.of(befores, nows)
        if found.changed.size:
            yield Changed(tuple(befores), tuple(nows), found.relative, found, found.how, self._holds(befores, nows))

    def _holds(self, befores: Sequence[Item], nows: Sequence[Item]) -> str:
        """Whose weights these were, if they were another layer's."""
        if len(nows) != 1 or len(befores) != 1 or befores[0].kind not in OF_LAYERS:
            return ""
        for item in self.index.same(nows[0].fingerprint):
            if item.kind == nows[0].kind and item.fingerprint.norm and item.holder != befores[0].holder:
                return item.holder
        return ""

    def _how(self, befores: Sequence[Item], nows: Sequence[Item]) -> str:
        """What kind of change a lock's numbers tell."""
        if len(befores) != 1 or len(nows) != 1:
            return ""
        was, current = befores[0].fingerprint, nows[0].fingerprint
        allowed = tolerance(was, current)
        sketch = np.array(was.sketch) * was.norm
        if was.rows == was.columns and was.norm:
            turned = sketch_of(self.reader.projections(matrix_of(nows[0]), True)[0], False)
            if estimated(turned - sketch) <= allowed * was.norm:
                return "transposed"
        if was.norm and abs(was.norm - current.norm) <= allowed * was.norm * 0.1 and was.broken == current.broken:
            near = allowed * was.norm * np.sqrt(was.rows * was.columns)
            moved = abs(was.total - current.total) <= near * 0.1
            return "the same numbers in other places" if moved else "signs flipped"
        factor = float(sketch @ np.array(current.sketch)) * current.norm / max(float(sketch @ sketch), 1e-300)
        if was.norm and estimated(np.array(current.sketch) * current.norm - factor * sketch) <= allowed * was.norm:
            return f"multiplied by {factor:.4g}"
        return ""


def _partners(before: Lock, now: Lock, pairs: Sequence[Pairing]) -> Iterator[Partners]:
    """Layers that share weights, then those of one name, then those between the same neighbours."""
    left, right = ({layer.id: at for at, layer in enumerate(each.layers)} for each in (before, now))
    links = {
        (left[a], right[b]) for a, b in links_of(before.items, now.items, pairs) if a in left and b in right
    }
    lonely_left = set(left.values()) - {a for a, _ in links}
    lonely_right = set(right.values()) - {b for _, b in links}
    for name, at in left.items():
        if at in lonely_left and right.get(name) in lonely_right:
            links.add((at, right[name]))
            lonely_left.discard(at)
            lonely_right.discard(right[name])
    links.update(_between(before, now, links, lonely_left, lonely_right))
    yield from _components(before, now, links)


def _between(
    before: Lock, now: Lock, links: set[tuple[int, int]], left: set[int], right: set[int]
) -> Iterator[tuple[int, int]]:
    """Layers of the same kind in runs of equal length between layers that are partners."""
    partner = dict(sorted(links))
    for run in _consecutive(sorted(left)):
        start = partner.get(run[0] - 1, -1) + 1 if run[0] else 0
        places = list(range(start, start + len(run)))
        after = partner.get(run[-1] + 1, len(now.layers) if run[-1] + 1 == len(before.layers) else None)
        if after != start + len(run) or not right.issuperset(places):
            continue
        if all(before.layers[a].kind == now.layers[b].kind for a, b in zip(run, places, strict=True)):
            yield from zip(run, places, strict=True)


def _consecutive(numbers: Sequence[int]) -> Iterator[list[int]]:
    run: list[int] = []
    for number in numbers:
        if run and number != run[-1] + 1:
            yield run
            run = []
        run.append(number)
    if run:
        yield run


def _components(before: Lock, now: Lock, links: set[tuple[int, int]]) -> Iterator[Partners]:
    forth: dict[int, list[int]] = defaultdict(list)
    back: dict[int, list[int]] = defaultdict(list)
    for a, b in sorted(links):
        forth[a].append(b)
        back[b].append(a)
    seen: set[int] = set()
    for at in range(len(now.layers)):
        if at in seen:
            continue
        mine, theirs, waiting = {at}, set[int](), [at]
        while waiting:
            b = waiting.pop()
            for a in back[b]:
                if a not in theirs:
                    theirs.add(a)
                    more = [each for each in forth[a] if each not in mine]
                    mine.update(more)
                    waiting.extend(more)
        seen |= mine
        yield Partners(
            tuple(before.layers[a] for a in sorted(theirs)), tuple(now.layers[b] for b in sorted(mine))
        )
    for a in range(len(before.layers)):
        if a not in forth:
            yield Partners((before.layers[a],), ())

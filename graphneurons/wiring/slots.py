"""Slots: places along the axes of values that may have to be cut together, and what ties them.

A slot is one index of one axis. Axes that are the same index by index hold the very same array of slots, so a slot
costs memory where it is made and nothing where it passes. What an op ties is noted as pairs of arrays and solved at the
end.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import prod

import numpy as np

from graphneurons.axes.planes import LARGEST, TooLargeError
from graphneurons.wiring.records import Integers

Slots = int | Integers
"""The slots along one axis; a negative number where none of them can be cut: -1 for `Ledger.reasons[0]`, -2 for ..."""

SINGLE = -1
"""The slots of an axis of size one."""

MOST_SLOTS = 1 << 25
"""Slots (and elements of grids) of one model."""


@dataclass(frozen=True, slots=True, eq=False)
class Grid:
    """An axis that is a product of others. Element ``e`` of the product is ``parent[e]``, and lies at ``places[k][e]``
    of axis ``k``, which is the slot ``children[k][places[k][e]]``.

    Where a tensor has the axes apart, whole slices must be cut: ``parent[e]`` is cut if and only if one of its children
    is. ``op`` is the op that takes the axis apart or puts it together.
    """

    op: str
    parent: Integers
    children: tuple[Integers, ...]
    places: tuple[Integers, ...]


def together(arrays: Sequence[Integers]) -> Integers:
    """``arrays``, one after the other."""
    return np.concatenate(arrays) if arrays else np.zeros(0, dtype=np.int64)


@dataclass(frozen=True, slots=True, eq=False)
class Ties:
    """What ties ``count`` slots (or atoms of them).

    ``pairs``: arrays tied index by index; ``fixed``: arrays that cannot be cut, with the reason's number; ``seen``:
    arrays with a number that tells those read by different ops apart; ``grids``: axes that are products.
    """

    count: int
    pairs: Sequence[tuple[Integers, Integers]]
    fixed: Sequence[tuple[Integers, int]]
    seen: Sequence[tuple[Integers, int]]
    grids: Sequence[Grid]


@dataclass
class Ledger:
    """All slots of a model and everything that ties them: see `Ties`.

    ``wholes``: identity of an array of new slots -> the first of them.
    """

    reasons: list[str] = field(default_factory=lambda: ["an axis of size one"])
    pairs: list[tuple[Integers, Integers]] = field(default_factory=list)
    fixed: list[tuple[Integers, int]] = field(default_factory=list)
    grids: list[Grid] = field(default_factory=list)
    wholes: dict[int, int] = field(default_factory=dict)
    count: int = 0
    _codes: dict[str, int] = field(default_factory=dict)
    _entries: dict[tuple[int, int], Integers] = field(default_factory=dict)
    _entry_codes: set[int] = field(default_factory=set)
    _known: dict[int, Integers] = field(default_factory=dict)
    _seen: dict[int, int] = field(default_factory=dict)
    _paired: set[tuple[int, int]] = field(default_factory=set)
    _apart: dict[tuple[int, tuple[int, ...]], tuple[Slots, ...]] = field(default_factory=dict)
    _digits: dict[tuple[int, ...], list[Integers]] = field(default_factory=dict)
    _together: dict[tuple[int, ...], Integers] = field(default_factory=dict)

    def code(self, reason: str, entry: bool = False) -> int:
        """The number of ``reason``. ``entry``: everything that reads it reads the same index (an axis of an input)."""
        if reason not in self._codes:
            self.reasons.append(reason)
            self._codes[reason] = -len(self.reasons)
        if entry:
            self._entry_codes.add(self._codes[reason])
        return self._codes[reason]

    def derived(self, code: int, what: str) -> int:
        """``code`` for other places of the same axis: those of an entry are told apart, as ``what``."""
        return self.code(f"{self.reasons[-1 - code]}, in {what}", entry=True) if code in self._entry_codes else code

    def are_dull(self, slots: Sequence[Slots | None]) -> bool:
        """Whether none can be cut and none is told apart."""
        return all(isinstance(found, int) and found not in self._entry_codes for found in slots)

    def fresh(self, size: int) -> Integers:
        """New slots. Raises `TooLargeError` beyond the budget."""
        if size > LARGEST or self.count + size > MOST_SLOTS:
            raise TooLargeError(f"an axis of {size} indices is more than is followed")
        made = np.arange(self.count, self.count + size, dtype=np.int64)
        self.wholes[id(made)] = self.count
        self.count += size
        return self.keep(made)

    def keep(self, slots: Integers) -> Integers:
        """``slots``, held so that they can be told by identity."""
        self._known[id(slots)] = slots
        return slots

    def of_entry(self, code: int, size: int) -> Integers:
        """Slots for an axis that cannot be cut, so that all weights along it can be told."""
        slots = self._entries.get((code, size)) if code in self._entry_codes else None
        if slots is None:
            slots = self.fresh(size)
            self.fix(slots, code)
            if code in self._entry_codes:
                self._entries[code, size] = slots
        return slots

    def fix(self, slots: Slots, code: int) -> None:
        if not isinstance(slots, int):
            self.fixed.append((self.keep(slots), code))

    def tie(self, one: Slots, other: Slots) -> Slots:
        """Notes that two axes are the same index by index; what either may be told by."""
        if isinstance(one, int):
            if not isinstance(other, int):
                self.fix(other, one)
            return other
        if isinstance(other, int):
            self.fix(one, other)
            return one
        if one.size != other.size:
            raise ValueError(f"axes of {one.size} and {other.size} indices cannot be the same")
        key = (id(one), id(other))
        if one is not other and key not in self._paired:
            self._paired.add(key)
            self.pairs.append((self.keep(one), self.keep(other)))
        return one

    def note(self, slots: Integers, what: int) -> None:
        """Notes that ``slots`` were read in the way ``what`` (any number) stands for."""
        key = id(slots)
        self._seen[key] = (self._seen.get(key, 0) + hash((what, 0x9E3779B9))) & 0x7FFFFFFFFFFFFFFF
        self._known[key] = slots

    @property
    def arrays(self) -> Mapping[int, Integers]:
        """All arrays of slots that are no new axis, by identity."""
        return {key: slots for key, slots in self._known.items() if key not in self.wholes}

    @property
    def ties(self) -> Ties:
        return Ties(self.count, self.pairs, self.fixed, self.seen, self.grids)

    @property
    def seen(self) -> Sequence[tuple[Integers, int]]:
        return [(self._known[key], what) for key, what in self._seen.items()]

    def product(self, op: str, children: Sequence[Slots], sizes: Sequence[int]) -> Slots:
        """The slots of an axis that is the product of ``children``, outermost first."""
        real = [(at, child) for at, child in enumerate(children) if not isinstance(child, int)]
        if not real:
            return next((child for child in children if isinstance(child, int)), SINGLE)
        key = (*(id(child) if not isinstance(child, int) else child for child in children), *sizes)
        found = self._together.get(key)
        if found is None:
            places = self._places(sizes)
            if len(real) == 1:
                at, child = real[0]
                found = self.keep(child[places[at]])
            else:
                found = self.fresh(prod(sizes))
                self._add(op, found, [child for _, child in real], [places[at] for at, _ in real])
            self._together[key] = found
            self._apart[id(found), tuple(sizes)] = tuple(children)
        return found

    def apart(self, op: str, parent: Integers, sizes: Sequence[int], known: Sequence[Slots | None]) -> list[Slots]:
        """The axes that the product ``parent`` is made of: those ``known``, tied to it, and new ones for the others."""
        before = self._apart.get((id(parent), tuple(sizes)))
        if before is not None:
            return [was if child is None else self.tie(child, was) for was, child in zip(before, known, strict=True)]
        children = [
            (self.fresh(size) if size > 1 else SINGLE) if child is None else child
            for child, size in zip(known, sizes, strict=True)
        ]
        self.keep(parent)
        key = (*(id(child) if not isinstance(child, int) else child for child in children), *sizes)
        twin = self._together.get(key)
        if twin is not None:
            self.tie(parent, twin)
            return children
        real = [at for at, child in enumerate(children) if not isinstance(child, int)]
        if not real:
            self.fix(parent, next(child for child in children if isinstance(child, int)))
            return children
        places = self._places(sizes)
        if len(real) == 1:
            child = children[real[0]]
            assert not isinstance(child, int)
            self.tie(parent, self.keep(child[places[real[0]]]))
        else:
            self._add(op, parent, [self._known[id(children[at])] for at in real], [places[at] for at in real])
        self._apart[id(parent), tuple(sizes)] = tuple(children)
        self._together[key] = parent
        return children

    def grid(self, op: str, parent: Integers, children: Sequence[Integers], places: Sequence[Integers]) -> None:
        """Notes a product whose elements lie in no plain order."""
        self._add(op, self.keep(parent), [self.keep(child) for child in children], list(places))

    def _add(self, op: str, parent: Integers, children: Sequence[Integers], places: Sequence[Integers]) -> None:
        self.grids.append(Grid(op, parent, tuple(children), tuple(places)))

    def _places(self, sizes: Sequence[int]) -> list[Integers]:
        count = prod(sizes)
        if count > LARGEST:
            raise TooLargeError(f"an axis of {count} indices is more than is followed")
        found = self._digits.get(tuple(sizes))
        if found is None:
            digits = np.unravel_index(np.arange(count, dtype=np.int64), tuple(sizes))
            found = self._digits[tuple(sizes)] = [np.asarray(digit) for digit in digits]
        return found

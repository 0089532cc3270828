"""Axes that become others in plain order, through the factors that both are products of."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from graphneurons.axes.planes import Plane
from graphneurons.graph import Op
from graphneurons.wiring.records import Integers
from graphneurons.wiring.slots import SINGLE, Ledger, Slots


@dataclass(frozen=True, slots=True)
class Landing:
    """One axis of what the op moves: its slots per operand, and where its positions lie in the result."""

    slots: tuple[Slots, ...]
    landed: Plane
    size: int

    @property
    def is_cuttable(self) -> bool:
        return not all(isinstance(found, int) for found in self.slots)

    @property
    def code(self) -> int:
        """Why it cannot be cut."""
        return min((found for found in self.slots if isinstance(found, int)), default=SINGLE)

    def spread(self) -> tuple[int, ...]:
        """The axes of the result along which its positions vary."""
        return tuple(axis for axis, size in enumerate(self.landed.data.shape) if size > 1)


def joined(ledger: Ledger, axis: Landing) -> Slots:
    """The slots of an axis that all operands share."""
    first = axis.slots[0]
    for other in axis.slots[1:]:
        first = ledger.tie(first, other)
    return first


def regroup(
    ledger: Ledger,
    op: Op,
    name: str,
    axes: Sequence[Landing],
    spread: Sequence[int],
    made: list[Slots | None],
    shape: tuple[int, ...],
) -> bool:
    """Axes that become others in plain order, as Reshape makes them, through the factors that both are products of.
    False if they are not in plain order, or have no such factors."""
    if not any(axis.is_cuttable for axis in axes):
        return False
    before, after = [axis.size for axis in axes], [shape[out] for out in spread]
    factors = _common_factors(before, after)
    if factors is None or not _is_plain(axes, spread, factors, before, after, shape):
        return False
    parts: list[Slots] = []
    for axis, sizes in zip(axes, _shared_out(factors, before), strict=True):
        slots = joined(ledger, axis)
        if len(sizes) == 1:
            parts.append(slots)
        elif isinstance(slots, int):
            parts.extend(ledger.derived(slots, f"{name} part {at} of axis {len(parts)}") for at in range(len(sizes)))
        else:
            parts.extend(ledger.apart(op.name, slots, sizes, [None] * len(sizes)))
    at = 0
    for out, sizes in zip(spread, _shared_out(factors, after), strict=True):
        children = parts[at : at + len(sizes)]
        at += len(sizes)
        if all(isinstance(child, int) for child in children) and len(children) > 1:
            first = next((child for child in children if isinstance(child, int)), SINGLE)
            made[out] = ledger.derived(first, f"{name} {out}")
        else:
            made[out] = children[0] if len(children) == 1 else ledger.product(op.name, children, sizes)
    return True


def _common_factors(before: Sequence[int], after: Sequence[int]) -> list[int] | None:
    """The coarsest sizes that both are products of runs of, outermost first."""
    ends = {int(end) for sizes in (before, after) for end in np.cumprod(np.array(sizes, dtype=object))}
    if int(np.prod(np.array(before, dtype=object))) != int(np.prod(np.array(after, dtype=object))):
        return None
    found, last = [], 1
    for end in sorted(ends):
        if end % last:
            return None
        found.append(end // last)
        last = end
    return found


def _shared_out(factors: Sequence[int], sizes: Sequence[int]) -> list[list[int]]:
    """The run of ``factors`` that every one of ``sizes`` is the product of."""
    found, at = [], 0
    for size in sizes:
        run, product = [], 1
        while product < size:
            run.append(factors[at])
            product *= factors[at]
            at += 1
        found.append(run)
    return found


def _is_plain(
    axes: Sequence[Landing],
    spread: Sequence[int],
    factors: Sequence[int],
    before: Sequence[int],
    after: Sequence[int],
    shape: tuple[int, ...],
) -> bool:
    """Whether positions land as in a Reshape."""
    digits: list[Integers] = []
    for out, sizes in zip(spread, _shared_out(factors, after), strict=True):
        view = [1] * len(shape)
        view[out] = shape[out]
        digits.extend(
            np.asarray(found).reshape(view)
            for found in np.unravel_index(np.arange(shape[out], dtype=np.int64), tuple(sizes))
        )
    at = 0
    for axis, sizes in zip(axes, _shared_out(factors, before), strict=True):
        expected = np.zeros((1,) * len(shape), dtype=np.int64)
        for size in sizes:
            expected = expected * size + digits[at]
            at += 1
        landed = axis.landed.data
        wide = all(a in (1, b) for a, b in zip(landed.shape, expected.shape, strict=True))
        if not wide or not np.array_equal(np.broadcast_to(landed, expected.shape), expected):
            return False
    return True

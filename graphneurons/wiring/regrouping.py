"""Axes that become others in plain order, through the factors that both are products of."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from graphneurons.graph import Op
from graphneurons.wiring.landing import Block, Landed
from graphneurons.wiring.slots import SINGLE, Ledger, Slots


@dataclass(frozen=True, slots=True, eq=False)
class Moved:
    """One axis of what the op moves: its slots per operand, and where its positions lie in the result."""

    slots: tuple[Slots, ...]
    landed: Landed

    @property
    def is_cuttable(self) -> bool:
        return not all(isinstance(found, int) for found in self.slots)

    @property
    def code(self) -> int:
        """Why it cannot be cut."""
        return min((found for found in self.slots if isinstance(found, int)), default=SINGLE)


def joined(ledger: Ledger, slots: Sequence[Slots]) -> Slots:
    """The slots of an axis that all operands share."""
    first = slots[0]
    for other in slots[1:]:
        first = ledger.tie(first, other)
    return first


def regroup(ledger: Ledger, op: Op, name: str, axes: Sequence[Moved], block: Block, made: list[Slots | None]) -> bool:
    """The axes of ``block`` in output ``name``, through the factors that those before and after are products of.
    False if they are not in plain order, or have no such factors."""
    factors = block.factors if any(axis.is_cuttable for axis in axes) else None
    if factors is None:
        return False
    before, after = factors
    parts: list[Slots] = []
    for axis, sizes in zip(axes, before, strict=True):
        slots = joined(ledger, axis.slots)
        if len(sizes) == 1:
            parts.append(slots)
        elif isinstance(slots, int):
            parts.extend(ledger.derived(slots, f"{name} part {at} of axis {len(parts)}") for at in range(len(sizes)))
        else:
            parts.extend(ledger.apart(op.name, slots, sizes, [None] * len(sizes)))
    at = 0
    for out, sizes in zip(block.spread, after, strict=True):
        children = parts[at : at + len(sizes)]
        at += len(sizes)
        if all(isinstance(child, int) for child in children) and len(children) > 1:
            first = next((child for child in children if isinstance(child, int)), SINGLE)
            made[out] = ledger.derived(first, f"{name} {out}")
        else:
            made[out] = children[0] if len(children) == 1 else ledger.product(op.name, children, sizes)
    return True

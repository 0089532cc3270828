"""What a rule says of the axes of an op: worked out once for all ops that are alike."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import dataclass

from graphneurons.axes.binding import Binding, Factors
from graphneurons.graph import Op
from graphneurons.wiring.cuttable import alias, unmovable

Place = tuple[int, int]
"""An operand, and an axis of it."""


@dataclass(frozen=True, slots=True, eq=False)
class Form:
    """``read``: operands whose axes the rule names, ``ignored``: those it says nothing of; ``places``: the axes of the
    former that carry factors, with those; ``unmovable``: reason -> factors that cannot be cut for it; ``along``: factor
    -> the axes that are that factor and no other; ``results``: the factors of the axes of every output (None: they are
    not known). Factors of size one are left out."""

    read: tuple[int, ...]
    ignored: tuple[int, ...]
    places: tuple[tuple[int, int, Factors], ...]
    unmovable: Mapping[str, tuple[str, ...]]
    along: Mapping[str, tuple[Place, ...]]
    results: tuple[tuple[Factors, ...] | None, ...]

    @property
    def has_products(self) -> bool:
        return any(len(factors) > 1 for _, _, factors in self.places)


def likeness(op: Op, step: Binding) -> Hashable:
    """Equal for ops of which one `Form` holds: sizes matter only where they are one."""
    inputs = op.inputs
    told: Hashable = len(inputs) if "" not in inputs and len(set(inputs)) == len(inputs) else inputs
    kind = op.type, id(op.attributes), len(op.outputs), told
    if step.rule.kind == "recurrent":
        return kind, id(step)
    single = tuple([factor for factor, size in step.sizes.items() if size < 2])
    return kind, id(step.rule), step.operands, step.results, single


def form(op: Op, step: Binding) -> Form:
    patterns = step.rule.operands
    present = [index for index, name in enumerate(op.inputs) if name]
    ignored = [index for index in present if index >= len(patterns) or patterns[index].mark == "_"]
    unread = {op.inputs[index] for index in ignored}
    read = [index for index in present if index < len(patterns) and op.inputs[index] not in unread]
    places = [
        (index, axis, kept)
        for index in read
        for axis, factors in enumerate(step.operands[index] or ())
        if (kept := large(factors, step.sizes))
    ]
    why: dict[str, list[str]] = {}
    named = [(op.inputs[index], axis, factors) for index, axis, factors in places]
    for factor, reason in unmovable(op, step, named).items():
        why.setdefault(reason, []).append(factor)
    along: dict[str, list[Place]] = {}
    for index, axis, factors in places:
        if len(factors) == 1:
            along.setdefault(alias(step, factors[0]), []).append((index, axis))
    results = [step.results[at] if at < len(step.results) else None for at in range(len(op.outputs))]
    return Form(
        tuple(read),
        tuple(ignored),
        tuple(places),
        {reason: tuple(factors) for reason, factors in why.items()},
        {factor: tuple(axes) for factor, axes in along.items()},
        tuple(None if axes is None else tuple(large(axis, step.sizes) for axis in axes) for axes in results),
    )


def large(factors: Factors, sizes: Mapping[str, int]) -> Factors:
    return tuple(factor for factor in factors if sizes.get(factor, 2) > 1)

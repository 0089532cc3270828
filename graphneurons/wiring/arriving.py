"""What arrives where a weight contracts: for every channel the op sums over, the id that rides in on it."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

import numpy as np

from graphneurons.axes.binding import Binding
from graphneurons.axes.carrying import carry
from graphneurons.axes.labelling import OperandLabel
from graphneurons.axes.planes import Plane, check_size
from graphneurons.wiring.records import CONSTANT, Integers

MOST_ALTERNATIVES = 16
"""Neurons one synapse may read at different positions and still have them listed; beyond, they are mixed."""


def contracted(binding: Binding, index: int, partner: int, label: OperandLabel) -> tuple[str, ...]:
    """The factors that number the synapses of operand ``index`` as operand ``partner`` brings them, in its order: those
    both carry, and, of a packed weight, those that hide in its bytes. Empty if it brings none of the synapses."""
    axes = binding.operands[partner]
    if axes is None:
        axes = tuple(axis.factors for axis in binding.rule.operands[partner].axes if not axis.variadic)
    names = [name for axis in axes for name in axis]
    own = set(label.roles)
    sums = {name for result in binding.sums for axis in result or () for name in axis}
    hidden = {name for name in names if name not in sums} if label.packed is not None else set()
    found = tuple(dict.fromkeys(name for name in names if name in own or name in hidden))
    return found if any(label.roles.get(name, "synapse") == "synapse" for name in found) else ()


def partners(binding: Binding, index: int, label: OperandLabel, constant: Sequence[bool]) -> list[int]:
    """The operands that bring what operand ``index`` contracts: activations, and the state of a recurrent op."""
    return [
        at
        for at, pattern in enumerate(binding.rule.operands)
        if at != index
        and pattern.contracts
        and (pattern.mark == "<" or (at < len(constant) and not constant[at] and binding.operands[at] is not None))
        and contracted(binding, index, at, label)
    ]


def groups_of(names: Sequence[str], factors: Sequence[str], label: OperandLabel) -> int:
    """Into how many equal runs the channels ``names`` and the neurons ``factors`` fall, each run of neurons reading
    only its own of channels: the shared factors that are outermost in both (groups, directions, experts, heads)."""
    groups = 1
    for name, own in zip(names, factors, strict=False):
        if name != own or label.roles.get(name) != "shared":
            break
        groups *= label.sizes[name]
    return groups


def arriving(binding: Binding, partner: int, names: Sequence[str], plane: Plane) -> Integers:
    """The ids of operand ``partner`` along the product of the factors ``names``, one per channel."""
    axes = binding.operands[partner] or ()
    shape = tuple(binding.sizes[name] for name in names)
    arrived = carry(plane, axes, [(name,) for name in names], shape, binding.sizes)
    return np.broadcast_to(arrived.data, shape).reshape(prod(shape))


def alternatives(binding: Binding, partner: int, names: Sequence[str], plane: Plane) -> Integers | None:
    """Where a channel brings different ids at different positions (tokens of two kinds side by side, channels that a
    pixel shuffle laid out in space): those ids, shape (alternatives, channels), padded with `CONSTANT`. None where they
    are more than `MOST_ALTERNATIVES`."""
    axes = binding.operands[partner] or ()
    rest = [name for axis in axes for name in axis if name not in names]
    view = [*rest, *names]
    shape = tuple(binding.sizes[name] for name in view)
    placed = carry(plane, axes, [(name,) for name in view], shape, binding.sizes)
    positions = prod(placed.data.shape[: len(rest)])
    channels = prod(shape[len(rest) :])
    check_size(positions * channels)
    rows = np.broadcast_to(placed.data, (*placed.data.shape[: len(rest)], *shape[len(rest) :]))
    rows = np.sort(rows.reshape(positions, channels), axis=0)
    fresh = np.ones_like(rows, dtype=bool)
    fresh[1:] = rows[1:] != rows[:-1]
    fresh &= rows != CONSTANT
    rank = np.cumsum(fresh, axis=0) - 1
    most = int(rank.max()) + 1
    if most > MOST_ALTERNATIVES:
        return None
    found = np.full((most, channels), CONSTANT, dtype=np.int64)
    found[rank[fresh], np.nonzero(fresh)[1]] = rows[fresh]
    return found

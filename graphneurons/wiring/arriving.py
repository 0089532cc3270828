"""What arrives where a weight contracts: for every channel the op sums over, the id that rides in on it."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from math import prod

import numpy as np

from graphneurons.axes import planes
from graphneurons.axes.binding import Binding, Factors
from graphneurons.axes.carrying import carry
from graphneurons.axes.labelling import OperandLabel
from graphneurons.axes.planes import Plane, check_size
from graphneurons.axes.resolving import Resolution
from graphneurons.graph import Op
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


@lru_cache(maxsize=8192)
def brought(
    binding: Binding, index: int, label: OperandLabel, constant: tuple[bool, ...]
) -> tuple[tuple[int, tuple[str, ...]], ...]:
    """The operands that bring what operand ``index`` contracts (activations, and the state of a recurrent op), and the
    factors they bring. ``constant`` tells of every input of the op whether it is left out or derived from constants
    only."""
    return tuple(
        (at, names)
        for at, pattern in enumerate(binding.rule.operands)
        if at != index
        and pattern.contracts
        and (pattern.mark == "<" or (at < len(constant) and not constant[at] and binding.operands[at] is not None))
        and (names := contracted(binding, index, at, label))
    )


def given_constant(resolution: Resolution, op: Op) -> tuple[bool, ...]:
    """Of every input of ``op``, whether it is left out or derived from constants only."""
    constants = resolution.constants
    return tuple([not name or name in constants for name in op.inputs])


def groups_of(names: Sequence[str], factors: Sequence[str], label: OperandLabel) -> int:
    """Into how many equal runs the channels ``names`` and the neurons ``factors`` fall, each run of neurons reading
    only its own of channels: the shared factors that are outermost in both (groups, directions, experts, heads)."""
    groups = 1
    for name, own in zip(names, factors, strict=False):
        if name != own or label.roles.get(name) != "shared":
            break
        groups *= label.sizes[name]
    return groups


def arriving(binding: Binding, partner: int, names: tuple[str, ...], plane: Plane) -> Plane:
    """The ids of operand ``partner`` along the product of the factors ``names``, one per channel."""
    axes = binding.operands[partner] or ()
    factors, shape = _apart(binding, names)
    arrived = carry(_at_changes(plane, axes, names), axes, factors, shape, binding.sizes)
    if arrived.data.shape == shape and len(shape) == 1:
        return arrived
    channels = (prod(shape),)
    if arrived.data.shape == shape:
        return Plane(channels, arrived.data.reshape(channels), arrived.first)
    return Plane(channels, np.broadcast_to(arrived.data, shape).reshape(channels))


def _at_changes(plane: Plane, axes: Sequence[Factors], names: Sequence[str]) -> Plane:
    """``plane`` with the axes that do not carry ``names`` stored only where it changes along them."""
    return planes.sampled(plane, [at for at, own in enumerate(axes) if len(own) == 1 and own[0] not in names])


@lru_cache(maxsize=8192)
def _apart(binding: Binding, names: tuple[str, ...]) -> tuple[tuple[Factors, ...], tuple[int, ...]]:
    """One axis per factor, and their sizes."""
    return tuple((name,) for name in names), tuple(binding.sizes[name] for name in names)


def alternatives(binding: Binding, partner: int, names: tuple[str, ...], plane: Plane) -> Integers | None:
    """Where a channel brings different ids at different positions (tokens of two kinds side by side, channels that a
    pixel shuffle laid out in space): those ids, shape (alternatives, channels), padded with `CONSTANT`. None where they
    are more than `MOST_ALTERNATIVES`."""
    axes = binding.operands[partner] or ()
    rest = [name for axis in axes for name in axis if name not in names]
    plane = _at_changes(plane, axes, names)
    kept = {own[0]: size for own, size in zip(axes, plane.data.shape, strict=True) if len(own) == 1 and size > 1}
    view, whole = _apart(binding, (*rest, *names))
    shape = tuple([kept.get(name, size) for (name,), size in zip(view, whole, strict=True)])
    placed = carry(plane, axes, view, shape, binding.sizes)
    positions = prod(placed.data.shape[: len(rest)])
    channels = prod(shape[len(rest) :])
    check_size(positions * channels)
    rows = np.broadcast_to(placed.data, (*placed.data.shape[: len(rest)], *shape[len(rest) :]))
    rows = rows.reshape(positions, channels)
    rows = np.sort(rows[planes.fresh(rows, 0)], axis=0)
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

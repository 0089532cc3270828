"""Carries a plane through an op by its rule: factors that pass, factors that are contracted, factors that are new."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from functools import lru_cache
from math import prod

import numpy as np

from graphneurons.axes.binding import Factors
from graphneurons.axes.planes import NOBODY, Integers, Plane, check_size, constant, tighten
from graphneurons.axes.rules.site import NoRule, Shape

MIXED = -2
"""Where several different numbers met along a contracted or mixed factor."""


def carry(
    plane: Plane,
    operand: Sequence[Factors],
    result: Sequence[Factors],
    shape: Shape,
    sizes: Mapping[str, int],
    mixed: Collection[str] = (),
) -> Plane:
    """``plane`` of an operand with these factors per axis, as it arrives in a result of ``shape`` with those.

    Where it is constant along what is contracted or mixed it passes; where it is not, it is `MIXED`. Factors that only
    the result has are new axes along which it does not vary.
    """
    if len(operand) != len(plane.shape) or len(result) != len(shape):
        raise NoRule(f"shapes {list(plane.shape)} and {list(shape)} do not have the axes of the rule")
    if 0 in shape:
        return constant(shape, NOBODY)
    if plane.data.size <= 1:
        if plane.shape == shape:
            return plane
        return Plane(shape, plane.data.reshape((1,) * len(shape)), plane.first)
    stored = plane.data.shape
    if plane.shape == shape and _is_kept(tuple(operand), tuple(result), frozenset(mixed)):
        return plane
    view = _along_one_axis(stored, tuple(operand), tuple(result), frozenset(mixed))
    if view is not None:
        if view == stored and plane.shape == shape:
            return plane
        return Plane(shape, plane.data.reshape(view), plane.first)
    names, data = _apart(plane, operand, sizes)
    kept = {name for axis in result for name in axis}
    for name in mixed:
        if name in names:
            data = _merged(data, names.index(name))
    for position in reversed(range(len(names))):
        if names[position] not in kept:
            data = _merged(data, position).reshape(data.shape[:position] + data.shape[position + 1 :])
            names.pop(position)
    return tighten(_together(names, data, result, shape, sizes))


@lru_cache(maxsize=4096)
def _is_kept(operand: tuple[Factors, ...], result: tuple[Factors, ...], mixed: frozenset[str]) -> bool:
    """Whether what an operand with these factors per axis brings is just what leaves in the result."""
    names = [name for axis in operand for name in axis]
    return operand == result and len(set(names)) == len(names) and mixed.isdisjoint(names)


@lru_cache(maxsize=4096)
def _along_one_axis(
    stored: Shape, operand: tuple[Factors, ...], result: tuple[Factors, ...], mixed: frozenset[str]
) -> Shape | None:
    """How the result is stored in the commonest case: the plane varies along one factor, one axis of both."""
    axis = next(at for at, size in enumerate(stored) if size > 1)
    factors = operand[axis]
    if stored[axis] != prod(stored) or len(factors) != 1 or factors[0] in mixed or result.count(factors) != 1:
        return None
    if sum(factors[0] in names for names in (*operand, *result)) != 2:
        return None
    view = [1] * len(result)
    view[result.index(factors)] = stored[axis]
    return tuple(view)


def _apart(plane: Plane, operand: Sequence[Factors], sizes: Mapping[str, int]) -> tuple[list[str], Integers]:
    """The data with one axis per factor."""
    names: list[str] = []
    view: list[int] = []
    for factors, stored, size in zip(operand, plane.data.shape, plane.shape, strict=True):
        if len(factors) == 1:
            view.append(stored)
        elif stored == 1:
            view.extend(1 for _ in factors)
        else:
            apart = [sizes.get(name, 0) for name in factors]
            if prod(apart) != size:
                raise NoRule(f"an axis of size {size} does not come apart into ({' '.join(factors)})")
            view.extend(apart)
        names.extend(factors)
    data = plane.data.reshape(view)
    for name in {name for name in names if names.count(name) > 1}:
        first, *others = [position for position, other in enumerate(names) if other == name]
        for position in reversed(others):
            data = np.moveaxis(_diagonal(data, first, position), -1, first)
            names.pop(position)
    return names, data


def _diagonal(data: Integers, first: int, second: int) -> Integers:
    if data.shape[first] == data.shape[second]:
        return np.diagonal(data, axis1=first, axis2=second)
    widest = max(data.shape[first], data.shape[second])
    full = list(data.shape)
    full[first] = full[second] = widest
    return np.diagonal(np.broadcast_to(data, full), axis1=first, axis2=second)


def _merged(data: Integers, position: int) -> Integers:
    """``data`` with one axis made constant: the number that stands all along it (places of `NOBODY` aside), or `MIXED`,
    or, where something unknown (a number below `MIXED`) is among them, that."""
    if data.shape[position] == 1:
        return data
    high = data.max(axis=position, keepdims=True)
    if int(data.min()) >= NOBODY:
        # Without a sign, nobody is the largest number there is, and the least is that of somebody.
        low = data.view(np.uint64).min(axis=position, keepdims=True).view(np.int64)
    else:
        low = np.where(data == NOBODY, high, data).min(axis=position, keepdims=True)
    merged: Integers = np.where(low == high, low, np.minimum(low, MIXED))
    return merged


def _together(
    names: Sequence[str], data: Integers, result: Sequence[Factors], shape: Shape, sizes: Mapping[str, int]
) -> Plane:
    order = [name for axis in result for name in axis]
    present = [name for name in order if name in names]
    data = data.transpose([names.index(name) for name in present])
    stored = dict(zip(present, data.shape, strict=True))
    widened: list[int] = []
    packed: list[int] = []
    for axis, size in zip(result, shape, strict=True):
        if all(stored.get(name, 1) == 1 for name in axis):
            widened.extend(1 for _ in axis)
            packed.append(1)
        else:
            widened.extend(stored[axis[0]] if len(axis) == 1 else sizes[name] for name in axis)
            if prod(widened[-len(axis) :]) != size:
                raise NoRule(f"an axis of size {size} is not made of the factors ({' '.join(axis)})")
            packed.append(size)
    check_size(prod(widened))
    lined_up = data.reshape([stored.get(name, 1) for name in order])
    return Plane(shape, np.broadcast_to(lined_up, widened).reshape(packed))

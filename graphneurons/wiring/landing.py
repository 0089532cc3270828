"""Where a layout op takes the axes of what it moves: the op is run on the positions along each axis, once for all ops
that are alike."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from graphneurons.axes import planes
from graphneurons.axes.layouts import LAYOUTS
from graphneurons.axes.planes import NOBODY, Plane, Shape
from graphneurons.axes.resolving import Resolution
from graphneurons.axes.rules.site import NoRule, Site
from graphneurons.axes.steps import site_of
from graphneurons.axes.values import Operands
from graphneurons.graph import Op
from graphneurons.wiring.factoring import common_factors, is_plain, shared_out


@dataclass(frozen=True, eq=False)
class Landed:
    """Where the ``size`` positions along axis ``axis`` of the operands lie in one of the results."""

    axis: int
    size: int
    plane: Plane

    @cached_property
    def spread(self) -> tuple[int, ...]:
        """The axes of the result along which they vary."""
        return tuple(axis for axis, size in enumerate(self.plane.data.shape) if size > 1)

    @cached_property
    def is_whole(self) -> bool:
        """Whether they lie there one after the other from the first on, each once."""
        landed = self.plane.data.reshape(-1)
        return np.array_equal(landed, np.arange(landed.size))


@dataclass(frozen=True, eq=False)
class Block:
    """Axes of the operands that land, together, on the axes ``spread`` of a result of ``shape``. ``is_apart``: the
    operands do not lie one after the other along any of those."""

    axes: tuple[Landed, ...]
    spread: tuple[int, ...]
    shape: Shape
    is_apart: bool

    @cached_property
    def factors(self) -> tuple[list[list[int]], list[list[int]]] | None:
        """The factors of each of ``axes``, and of each of ``spread``, where those become these in plain order."""
        if not self.is_apart or len(self.axes) + len(self.spread) <= 2:
            return None
        before, after = [axis.size for axis in self.axes], [self.shape[out] for out in self.spread]
        factors = common_factors(before, after)
        if factors is None:
            return None
        were, are = shared_out(factors, before), shared_out(factors, after)
        landed = [axis.plane.data for axis in self.axes]
        return (were, are) if is_plain(landed, were, self.spread, are, self.shape) else None


@dataclass(frozen=True, slots=True, eq=False)
class Result:
    """One result of a layout op. ``straight``: (axis of the operands, axis of the result) that are the same, index by
    index, and share neither with any other; ``blocks``: all else that lands in it; ``owner``: which operand stands at
    every place, and ``split`` along which axes that changes. ``fits``: all landed in the shape the result has."""

    landed: tuple[Landed, ...]
    straight: tuple[tuple[int, int], ...]
    blocks: tuple[Block, ...]
    owner: Plane | None
    split: tuple[int, ...]
    fits: bool


@dataclass(frozen=True, slots=True, eq=False)
class Landing:
    """All results of a layout op. ``lost``: (axis of the operands, why it cannot be told where it lands); ``landed``:
    axis -> where it lies in every result."""

    results: tuple[Result, ...]
    lost: tuple[tuple[int, str], ...]
    landed: Mapping[int, Sequence[Plane]]


class Landings:
    """The landings of ops, known by all that decides them: what kind of op it is, all shapes, and the numbers of the
    operands that were asked for them."""

    def __init__(self, resolution: Resolution) -> None:
        self._resolution = resolution
        self._known: dict[Hashable, tuple[tuple[int, ...], dict[Hashable, Landing]]] = {}

    def of(self, op: Op, carried: Sequence[int]) -> Landing:
        """Raises `NoRule` and `TooLargeError` as the op's layout does."""
        resolution = self._resolution
        shapes = resolution.shapes
        inputs = tuple([shapes.get(name, "unknown") if name else None for name in op.inputs])
        kind = (op.type, op.domain, op.version, id(op.attributes), inputs, tuple(map(shapes.get, op.outputs)))
        asked, known = self._known.get(kind, ((), {}))
        found = known.get(self._numbers(op, asked) if asked else ())
        if found is None:
            operands = Operands(op.inputs, resolution.values)
            found = _landing(op, site_of(op, resolution.graph, shapes, operands, resolution.constants), carried, shapes)
            if not operands.asked.issubset(asked):
                asked, known = tuple(sorted(operands.asked.union(asked))), {}
            known[self._numbers(op, asked)] = found
            self._known[kind] = asked, known
        return found

    def _numbers(self, op: Op, asked: Sequence[int]) -> Hashable:
        return tuple([self._resolution.values.likeness(op.inputs[index]) for index in asked])


def _landing(op: Op, site: Site, carried: Sequence[int], known: Mapping[str, Shape]) -> Landing:
    operands = [index for index in carried if op.inputs[index]]
    shapes = [known[op.inputs[index]] for index in operands]
    move = LAYOUTS[op.type]
    owners = _owners(op, site, operands, shapes) if len(operands) > 1 else None
    lost: list[tuple[int, str]] = []
    landed: dict[int, Sequence[Plane]] = {}
    for axis in range(len(shapes[0])):
        if all(shape[axis] == 1 for shape in shapes):
            continue
        given: list[Plane | None] = [None] * len(op.inputs)
        for index, shape in zip(operands, shapes, strict=True):
            given[index] = planes.along(shape, axis)
        try:
            landed[axis] = move(site, given, None)
        except NoRule as error:
            lost.append((axis, str(error)))
    results = []
    for number, name in enumerate(op.outputs):
        here = [
            Landed(axis, max(own[axis] for own in shapes), found[number])
            for axis, found in landed.items()
            if number < len(found)
        ]
        results.append(_result(here, known.get(name), None if owners is None else owners[number], shapes))
    return Landing(tuple(results), tuple(lost), landed)


def _owners(op: Op, site: Site, operands: Sequence[int], shapes: Sequence[Shape]) -> Sequence[Plane]:
    """Which of several operands stands at every place of the results."""
    given: list[Plane | None] = [None] * len(op.inputs)
    for number, (index, shape) in enumerate(zip(operands, shapes, strict=True)):
        given[index] = planes.constant(shape, number)
    return LAYOUTS[op.type](site, given, NOBODY)


def _result(here: Sequence[Landed], shape: Shape | None, owner: Plane | None, shapes: Sequence[Shape]) -> Result:
    split = tuple(at for at, size in enumerate(owner.data.shape) if size > 1) if owner is not None else ()
    if shape is None or any(axis.plane.shape != shape for axis in here):
        return Result(tuple(here), (), (), owner, split, fits=False)
    is_odd = len(split) > 1 or 0 in shape
    straight: list[tuple[int, int]] = []
    blocks: list[Block] = []
    for group, spread in components(here):
        axes = tuple(here[at] for at in sorted(group))
        is_alone = len(group) == len(spread) == 1 and not is_odd and spread[0] not in split and axes[0].is_whole
        if is_alone and all(own[axes[0].axis] == shape[spread[0]] for own in shapes):
            straight.append((axes[0].axis, spread[0]))
            continue
        blocks.append(Block(axes, tuple(spread), shape, not split or split[0] not in spread))
    return Result(tuple(here), tuple(straight), tuple(blocks), owner, split, fits=True)


def components(axes: Sequence[Landed]) -> list[tuple[list[int], list[int]]]:
    """Axes that share axes of the result, with those: (axes, axes of the result)."""
    found: list[tuple[list[int], list[int]]] = []
    for at, axis in enumerate(axes):
        group, spread = [at], set(axis.spread)
        rest = []
        for others, reached in found:
            if spread & set(reached):
                group, spread = others + group, spread | set(reached)
            else:
                rest.append((others, reached))
        found = [*rest, (group, sorted(spread))]
    return found

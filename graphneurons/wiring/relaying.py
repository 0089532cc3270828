"""Slots through layout ops: the op is run on the positions along each axis, and where they land tells what becomes
of it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from graphneurons.axes import planes
from graphneurons.axes.layouts import LAYOUTS
from graphneurons.axes.planes import NOBODY, Plane, distinct
from graphneurons.axes.steps import payload
from graphneurons.axes.rules.site import NoRule
from graphneurons.graph import Op
from graphneurons.wiring.records import Integers
from graphneurons.wiring.regrouping import Landing, joined, regroup
from graphneurons.wiring.slots import SINGLE, Slots
from graphneurons.wiring.states import Coupling

_COPYING = frozenset({"Expand", "Tile", "expand", "expand_as", "repeat", "broadcast_to", "Stack"})
"""Ops whose new places are copies."""

_WORTHWHILE = 8


def relay(walk: Coupling, op: Op) -> None:
    """Ties the axes of what a layout op makes to those of what it moves."""
    carried = payload(op)
    moving = frozenset(carried)
    for index, name in enumerate(op.inputs):
        if name and index not in moving and walk.state(name) is not None:
            walk.fix(name, f"{op.qualified} {op.name!r} reads it as positions")
    names = [op.inputs[index] for index in carried if op.inputs[index]]
    if not names or any(walk.state(name) is None for name in names):
        raise NoRule("the shape of what it moves is not known")
    if op.type not in _COPYING and walk.ledger.are_dull([found for name in names for found in walk.states[name]]):
        code = next((found for found in walk.states[names[0]] if isinstance(found, int)), SINGLE)
        for name in op.outputs:
            shape = walk.resolution.shapes.get(name)
            if name and shape is not None:
                walk.states[name] = [code] * len(shape)
        return
    for name in names:
        for axis in range(len(walk.states[name])):
            walk.slots(name, axis)
    shapes = [walk.resolution.shapes[name] for name in names]
    if len({len(shape) for shape in shapes}) > 1:
        raise NoRule("what it moves has different numbers of axes")
    owner = _owners(walk, op, carried, len(names)) if len(names) > 1 else None
    moved: list[list[Landing]] = [[] for _ in op.outputs]
    for axis in range(len(shapes[0])):
        slots = tuple(walk.states[name][axis] for name in names)
        if all(shape[axis] == 1 for shape in shapes):
            continue
        known = tuple(SINGLE if found is None else found for found in slots)
        try:
            landed = _run(walk, op, carried, axis)
        except NoRule as error:
            for found in known:
                walk.ledger.fix(found, walk.ledger.code(f"{op.qualified} {op.name!r}: {error}"))
            continue
        _hold_left_out(walk, op, known, landed)
        for number, plane in enumerate(landed[: len(moved)]):
            moved[number].append(Landing(known, plane, max(shape[axis] for shape in shapes)))
    for number, name in enumerate(op.outputs):
        if name:
            _place(walk, op, name, moved[number], owner[number] if owner is not None else None)


def _hold_left_out(walk: Coupling, op: Op, slots: Sequence[Slots], landed: Sequence[Plane]) -> None:
    """Parts of a stored tensor that no result holds are for other sizes of the inputs (rows of a position table)."""
    if op.output not in walk.resolution.constants or len(slots) > 1 or isinstance(slots[0], int):
        return
    left = np.ones(slots[0].size, dtype=bool)
    for plane in landed:
        left[plane.data[plane.data >= 0]] = False
    if left.any():
        walk.ledger.fix(slots[0][left], walk.ledger.code(f"{op.qualified} {op.name!r} leaves it out at these sizes"))


def _run(walk: Coupling, op: Op, carried: Sequence[int], axis: int) -> list[Plane]:
    """Where the positions along ``axis`` of everything the op moves land."""
    given: list[Plane | None] = [None] * len(op.inputs)
    for index in carried:
        if op.inputs[index]:
            given[index] = planes.along(walk.resolution.shapes[op.inputs[index]], axis)
    return list(LAYOUTS[op.type](walk.resolution.site(op), given, None))


def _owners(walk: Coupling, op: Op, carried: Sequence[int], count: int) -> list[Plane]:
    """Which of several operands stands at every place of the results."""
    given: list[Plane | None] = [None] * len(op.inputs)
    for number, index in enumerate(index for index in carried if op.inputs[index]):
        given[index] = planes.constant(walk.resolution.shapes[op.inputs[index]], number)
    return list(LAYOUTS[op.type](walk.resolution.site(op), given, NOBODY))


def _place(walk: Coupling, op: Op, name: str, axes: Sequence[Landing], owner: Plane | None) -> None:
    """The slots of output ``name``."""
    shape = walk.resolution.shapes.get(name)
    ledger = walk.ledger
    if shape is None or any(axis.landed.shape != shape for axis in axes):
        for axis in axes:
            for found in axis.slots:
                ledger.fix(found, ledger.code(f"{op.qualified} {op.name!r}: the shape of what it makes is not known"))
        if shape is not None:
            walk.states[name] = [ledger.code(f"made by {op.qualified} {op.name!r}")] * len(shape)
        return
    made: list[Slots | None] = [None if size > 1 else SINGLE for size in shape]
    split = [at for at, size in enumerate(owner.data.shape) if size > 1] if owner is not None else []
    if len(split) > 1 or 0 in shape:
        _give_up(walk, op, axes, made, range(len(shape)), "joins what it moves in more than one direction")
    joint = (split[0], owner) if split and owner is not None else None
    rest: list[Landing] = []
    for group, spread in _components(axes):
        block = [axes[at] for at in sorted(group)]
        apart = joint is None or joint[0] not in spread
        if not (apart and len(block) + len(spread) > 2 and regroup(walk.ledger, op, name, block, spread, made, shape)):
            rest.extend(block)
    for axis in (axis for axis in rest if not axis.is_cuttable):
        _hold(walk, op, axis, axes, made)
    movable = [axis for axis in rest if axis.is_cuttable]
    for group, spread in _components(movable):
        _relate(walk, op, [movable[at] for at in group], axes, spread, made, shape, joint)
    unmade = ledger.code(f"{op.qualified} {op.name!r}: places it makes")
    walk.states[name] = [
        found if found is not None else walk.made(size) if op.type in _COPYING else unmade
        for found, size in zip(made, shape, strict=True)
    ]


def _hold(walk: Coupling, op: Op, axis: Landing, axes: Sequence[Landing], made: list[Slots | None]) -> None:
    """Where an axis lands that cannot be cut. What something cuttable lands on too is told by that."""
    spread = axis.spread()
    alone = (
        len(spread) == 1
        and _is_whole(axis)
        and not any(spread[0] in other.spread() for other in axes if other is not axis)
    )
    for out in spread:
        if made[out] is None:
            made[out] = axis.code if alone else walk.ledger.derived(axis.code, f"{op.output} {out}")


def _components(axes: Sequence[Landing]) -> list[tuple[list[int], list[int]]]:
    """Axes that share axes of the result, with those: (axes, axes of the result)."""
    found: list[tuple[list[int], list[int]]] = []
    for at, axis in enumerate(axes):
        group, spread = [at], set(axis.spread())
        rest = []
        for others, reached in found:
            if spread & set(reached):
                group, spread = others + group, spread | set(reached)
            else:
                rest.append((others, reached))
        found = [*rest, (group, sorted(spread))]
    return found


def _relate(
    walk: Coupling,
    op: Op,
    movable: Sequence[Landing],
    axes: Sequence[Landing],
    spread: Sequence[int],
    made: list[Slots | None],
    shape: tuple[int, ...],
    split: tuple[int, Plane] | None,
) -> None:
    """Axes that can be cut and land, together, on the axes ``spread`` of the result."""
    if not spread:
        for axis in movable:
            _picked(walk, op, axis)
    elif len(spread) == 1 and len(movable) == 1:
        made[spread[0]] = _passed(walk, op, movable[0], spread[0], split)
    elif split is not None and split[0] in spread:
        _give_up(walk, op, movable, made, spread, "joins an axis that it takes apart")
    elif len(spread) == 1:
        made[spread[0]] = _merged(walk, op, movable, [joined(walk.ledger, axis) for axis in movable], shape[spread[0]])
    elif len(movable) > 1:
        _give_up(walk, op, movable, made, spread, "regroups several axes at once")
    else:
        # Axes that something fixed lands on too can be cut where it costs little to see how.
        held = {out for axis in axes if not axis.is_cuttable for out in axis.spread()}
        free = [out for out in spread if out not in held]
        slots = joined(walk.ledger, movable[0])
        if not free or movable[0].landed.data.size <= _WORTHWHILE * (slots.size if not isinstance(slots, int) else 1):
            free = list(spread)
        _split(walk, op, movable[0], slots, free, made, shape)


def _give_up(
    walk: Coupling, op: Op, axes: Sequence[Landing], made: list[Slots | None], spread: Sequence[int], why: str
) -> None:
    code = walk.ledger.code(f"{op.qualified} {op.name!r} {why}")
    for axis in axes:
        for found in axis.slots:
            walk.ledger.fix(found, code)
    for out in spread:
        made[out] = code


def _picked(walk: Coupling, op: Op, axis: Landing) -> None:
    """An axis of which one position is all the result holds: that one must stay."""
    position = int(axis.landed.data.reshape(-1)[0]) if axis.landed.data.size else NOBODY
    code = walk.ledger.code(f"{op.qualified} {op.name!r} picks it out")
    for found in axis.slots:
        if not isinstance(found, int) and 0 <= position < found.size:
            walk.ledger.fix(found[position : position + 1], code)


def _passed(walk: Coupling, op: Op, axis: Landing, out: int, split: tuple[int, Plane] | None) -> Slots:
    """The slots along ``out``, where one axis lands on it alone."""
    landed = axis.landed.data.reshape(-1)
    outside = walk.ledger.code(f"{op.qualified} {op.name!r}: padding")
    if split is not None and split[0] == out:
        owners = split[1].data.reshape(-1)
        made = np.full(landed.shape, outside, dtype=np.int64)
        order = np.argsort(owners, kind="stable")
        borders = np.searchsorted(owners[order], np.arange(len(axis.slots) + 1))
        for number, found in enumerate(axis.slots):
            here = order[borders[number] : borders[number + 1]]
            here = here[landed[here] >= 0]
            made[here] = found if isinstance(found, int) else found[landed[here]]
        return walk.ledger.keep(made)
    first = joined(walk.ledger, axis)
    if isinstance(first, int):
        return first if _is_whole(axis) else walk.ledger.derived(first, f"{op.output} {out}")
    if _is_whole(axis) and landed.size == first.size:
        return first
    return walk.ledger.keep(np.where(landed >= 0, first[landed], outside))


def _is_whole(axis: Landing) -> bool:
    landed = axis.landed.data.reshape(-1)
    return np.array_equal(landed, np.arange(landed.size))


def _merged(walk: Coupling, op: Op, movable: Sequence[Landing], slots: Sequence[Slots], size: int) -> Slots:
    """The slots of one axis of the result that several axes land on."""
    pairs = [(axis, found) for axis, found in zip(movable, slots, strict=True) if not isinstance(found, int)]
    places = [axis.landed.data.reshape(-1) for axis, _ in pairs]
    if any((at < 0).any() for at in places):
        _give_up(walk, op, movable, [], (), "pads axes that it joins")
        return walk.ledger.code(f"{op.qualified} {op.name!r} pads axes that it joins")
    if len(pairs) == 1:
        found = pairs[0][1]
        assert not isinstance(found, int)
        return walk.ledger.keep(found[places[0]])
    sizes = [found.size for _, found in pairs if not isinstance(found, int)]
    order = sorted(range(len(pairs)), key=lambda at: -_stride(places[at]))
    ordered = [places[at] for at in order]
    if _in_order(ordered, [sizes[at] for at in order], size):
        return walk.ledger.product(op.name, [pairs[at][1] for at in order], [sizes[at] for at in order])
    parent = walk.ledger.fresh(size)
    children = [found for _, found in pairs if not isinstance(found, int)]
    walk.ledger.grid(op.name, parent, children, places)
    return parent


def _stride(places: Integers) -> int:
    """How long the first position goes on: outer axes go on longer."""
    changes = np.flatnonzero(places != places[0])
    return int(changes[0]) if changes.size else places.size


def _in_order(places: Sequence[Integers], sizes: Sequence[int], size: int) -> bool:
    if int(np.prod(sizes, dtype=object)) != size:
        return False
    plain = np.unravel_index(np.arange(size, dtype=np.int64), tuple(sizes))
    return all(np.array_equal(one, other) for one, other in zip(places, plain, strict=True))


def _split(
    walk: Coupling,
    op: Op,
    axis: Landing,
    slots: Slots,
    free: Sequence[int],
    made: list[Slots | None],
    shape: tuple[int, ...],
) -> None:
    """One axis that lands on several axes of the result."""
    assert not isinstance(slots, int)
    data = axis.landed.data
    if (data < 0).any():
        _give_up(walk, op, [axis], made, free, "pads an axis that it takes apart")
        return
    if len(free) == 1:
        made[free[0]] = _along(walk, data, slots, free[0], shape[free[0]])
        return
    flat = np.moveaxis(data, free, range(len(free))).reshape(*(shape[out] for out in free), -1)
    if flat.shape[-1] == 1:
        elements = flat.reshape(-1)
        sizes = [shape[out] for out in free]
        if elements.size == slots.size and np.array_equal(elements, np.arange(elements.size)):
            children = walk.ledger.apart(op.name, slots, sizes, [None] * len(free))
        else:
            parent = walk.ledger.keep(slots[elements])
            children = walk.ledger.apart(op.name, parent, sizes, [None] * len(free))
    else:
        fresh = [walk.ledger.fresh(shape[out]) for out in free]
        count = flat.shape[-1]
        index = np.unravel_index(np.arange(flat.size // count, dtype=np.int64), flat.shape[:-1])
        places = [np.repeat(np.asarray(at), count) for at in index]
        walk.ledger.grid(op.name, slots[flat.reshape(-1)], fresh, places)
        children = list(fresh)
    for out, child in zip(free, children, strict=True):
        made[out] = child


def _along(walk: Coupling, data: Integers, slots: Integers, out: int, size: int) -> Integers:
    """The slots along the one axis of the result that can be cut, of an axis that lands on others too."""
    rows = np.moveaxis(data, out, 0).reshape(size, -1)
    met = distinct(rows + np.arange(size, dtype=np.int64)[:, None] * slots.size)
    first = walk.ledger.keep(slots[rows[:, 0]])
    walk.ledger.tie(walk.ledger.keep(first[met // slots.size]), walk.ledger.keep(slots[met % slots.size]))
    return first

"""Slots through layout ops: the op is run on the positions along each axis, and where they land tells what becomes
of it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from graphneurons.axes.planes import NOBODY, Plane, distinct
from graphneurons.axes.rules.site import NoRule
from graphneurons.axes.steps import payload
from graphneurons.graph import Op
from graphneurons.wiring.landing import Landed, Result, components
from graphneurons.wiring.records import Integers
from graphneurons.wiring.regrouping import Moved, joined, regroup
from graphneurons.wiring.slots import SINGLE, Ledger, Slots
from graphneurons.wiring.states import Coupling

_COPYING = frozenset({"Expand", "Tile", "expand", "expand_as", "repeat", "broadcast_to", "Stack"})
"""Ops whose new places are copies."""

_JOINING = frozenset({"Concat", "cat", "concat", "concatenate"})
"""Ops that put what they move one after the other along one axis, and do nothing else."""

_WORTHWHILE = 8


def relay(walk: Coupling, op: Op) -> None:
    """Ties the axes of what a layout op makes to those of what it moves."""
    carried = payload(op)
    if len({*carried}) < len(op.inputs):
        for index, name in enumerate(op.inputs):
            if name and index not in carried and walk.state(name) is not None:
                walk.fix(name, f"{op.qualified} {op.name!r} reads it as positions")
    names = [op.inputs[index] for index in carried if op.inputs[index]]
    states = [state for name in names if (state := walk.state(name)) is not None]
    if not names or len(states) < len(names):
        raise NoRule("the shape of what it moves is not known")
    if op.type not in _COPYING and all(map(walk.ledger.are_dull, states)):
        code = next((found for found in states[0] if isinstance(found, int)), SINGLE)
        for name in op.outputs:
            shape = walk.resolution.shapes.get(name)
            if name and shape is not None:
                walk.states[name] = [code] * len(shape)
        return
    known = [[walk.slots(name, axis) for axis in range(len(state))] for name, state in zip(names, states, strict=True)]
    if len({len(own) for own in known}) > 1:
        raise NoRule("what it moves has different numbers of axes")
    if op.type in _JOINING and _in_a_row(walk, op, names, known):
        return
    landing = walk.landings.of(op, carried)
    for axis, why in landing.lost:
        for own in known:
            walk.ledger.fix(own[axis], walk.ledger.code(f"{op.qualified} {op.name!r}: {why}"))
    if op.output in walk.resolution.constants and len(names) == 1:
        for axis, planes in landing.landed.items():
            _hold_left_out(walk, op, known[0][axis], planes)
    for name, result in zip(op.outputs, landing.results, strict=True):
        if name:
            _place(walk, op, name, result, known)


def _in_a_row(walk: Coupling, op: Op, names: Sequence[str], known: Sequence[Sequence[Slots]]) -> bool:
    """What a Concat makes, whose shapes say all: one axis is as long as those of its operands together, the others are
    what they are in each. False where they do not say so."""
    shape, shapes = walk.resolution.shapes.get(op.output), [walk.resolution.shapes[name] for name in names]
    if shape is None or len(names) < 2 or len(shape) != len(shapes[0]) or 0 in shape:
        return False
    joint = [axis for axis, size in enumerate(shape) if size != shapes[0][axis]]
    if len(joint) != 1:
        return False
    at = joint[0]
    sizes = [own[at] for own in shapes]
    if sum(sizes) != shape[at] or 0 in sizes or any((*own[:at], shape[at], *own[at + 1 :]) != shape for own in shapes):
        return False
    made: list[Slots] = []
    for axis, size in enumerate(shape):
        slots = [own[axis] for own in known]
        codes = [found for found in slots if isinstance(found, int)]
        if axis != at:
            made.append(SINGLE if size == 1 else _common(walk.ledger, slots))
        elif max(sizes) == 1:
            made.append(walk.ledger.code(f"{op.qualified} {op.name!r}: places it makes"))
        elif len(codes) == len(slots):
            made.append(walk.ledger.derived(min(codes), f"{op.output} {axis}"))
        else:
            each = zip(slots, sizes, strict=True)
            rows = [np.full(size, found) if isinstance(found, int) else found for found, size in each]
            made.append(walk.ledger.keep(np.concatenate(rows)))
    walk.states[op.output] = [*made]
    return True


def _common(ledger: Ledger, slots: Sequence[Slots]) -> Slots:
    """The slots of an axis that all operands share, or why none of them can be cut."""
    codes = [found for found in slots if isinstance(found, int)]
    return min(codes) if len(codes) == len(slots) else joined(ledger, slots)


def _hold_left_out(walk: Coupling, op: Op, slots: Slots, landed: Sequence[Plane]) -> None:
    """Parts of a stored tensor that no result holds are for other sizes of the inputs (rows of a position table)."""
    if isinstance(slots, int):
        return
    left = np.ones(slots.size, dtype=bool)
    for plane in landed:
        left[plane.data[plane.data >= 0]] = False
    if left.any():
        walk.ledger.fix(slots[left], walk.ledger.code(f"{op.qualified} {op.name!r} leaves it out at these sizes"))


def _place(walk: Coupling, op: Op, name: str, result: Result, known: Sequence[Sequence[Slots]]) -> None:
    """The slots of output ``name``. ``known``: operand -> those of its axes."""
    shape = walk.resolution.shapes.get(name)
    ledger = walk.ledger
    if shape is None or not result.fits:
        for landed in result.landed:
            for own in known:
                code = ledger.code(f"{op.qualified} {op.name!r}: the shape of what it makes is not known")
                ledger.fix(own[landed.axis], code)
        if shape is not None:
            walk.states[name] = [ledger.code(f"made by {op.qualified} {op.name!r}")] * len(shape)
        return
    made: list[Slots | None] = [None if size > 1 else SINGLE for size in shape]
    for axis, out in result.straight:
        if len(known) == 1:
            made[out] = known[0][axis]
        else:
            made[out] = _common(ledger, [own[axis] for own in known])
    if result.blocks:
        _place_blocks(walk, op, name, result, known, made, shape)
    for out, found in enumerate(made):
        if found is None:
            unmade = ledger.code(f"{op.qualified} {op.name!r}: places it makes")
            made[out] = walk.made(shape[out]) if op.type in _COPYING else unmade
    walk.states[name] = made


def _place_blocks(
    walk: Coupling,
    op: Op,
    name: str,
    result: Result,
    known: Sequence[Sequence[Slots]],
    made: list[Slots | None],
    shape: tuple[int, ...],
) -> None:
    """The slots of the axes of output ``name`` that are no axis of what the op moves as it is."""
    axes = {landed: Moved(tuple([own[landed.axis] for own in known]), landed) for landed in result.landed}
    if len(result.split) > 1 or 0 in shape:
        everything = range(len(shape))
        _give_up(walk, op, [*axes.values()], made, everything, "joins what it moves in more than one direction")
    joint = (result.split[0], result.owner) if result.split and result.owner is not None else None
    rest: list[Moved] = []
    for block in result.blocks:
        moved = [axes[landed] for landed in block.axes]
        if not regroup(walk.ledger, op, name, moved, block, made):
            rest.extend(moved)
    for axis in rest:
        if not axis.is_cuttable:
            _hold(walk, op, axis, result.landed, made)
    movable = [axis for axis in rest if axis.is_cuttable]
    for group, spread in components([axis.landed for axis in movable]):
        _relate(walk, op, [movable[at] for at in group], [*axes.values()], spread, made, shape, joint)


def _hold(walk: Coupling, op: Op, axis: Moved, others: Sequence[Landed], made: list[Slots | None]) -> None:
    """Where an axis lands that cannot be cut. What something cuttable lands on too is told by that."""
    landed = axis.landed
    spread = landed.spread
    alone = (
        len(spread) == 1
        and landed.is_whole
        and not any(spread[0] in other.spread for other in others if other is not landed)
    )
    for out in spread:
        if made[out] is None:
            made[out] = axis.code if alone else walk.ledger.derived(axis.code, f"{op.output} {out}")


def _relate(
    walk: Coupling,
    op: Op,
    movable: Sequence[Moved],
    axes: Sequence[Moved],
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
        common = [joined(walk.ledger, axis.slots) for axis in movable]
        made[spread[0]] = _merged(walk, op, movable, common, shape[spread[0]])
    elif len(movable) > 1:
        _give_up(walk, op, movable, made, spread, "regroups several axes at once")
    else:
        # Axes that something fixed lands on too can be cut where it costs little to see how.
        held = {out for axis in axes if not axis.is_cuttable for out in axis.landed.spread}
        free = [out for out in spread if out not in held]
        slots = joined(walk.ledger, movable[0].slots)
        size = slots.size if not isinstance(slots, int) else 1
        if not free or movable[0].landed.plane.data.size <= _WORTHWHILE * size:
            free = list(spread)
        _split(walk, op, movable[0], slots, free, made, shape)


def _give_up(
    walk: Coupling, op: Op, axes: Sequence[Moved], made: list[Slots | None], spread: Sequence[int], why: str
) -> None:
    code = walk.ledger.code(f"{op.qualified} {op.name!r} {why}")
    for axis in axes:
        for found in axis.slots:
            walk.ledger.fix(found, code)
    for out in spread:
        made[out] = code


def _picked(walk: Coupling, op: Op, axis: Moved) -> None:
    """An axis of which one position is all the result holds: that one must stay."""
    position = int(axis.landed.plane.data.reshape(-1)[0]) if axis.landed.plane.data.size else NOBODY
    code = walk.ledger.code(f"{op.qualified} {op.name!r} picks it out")
    for found in axis.slots:
        if not isinstance(found, int) and 0 <= position < found.size:
            walk.ledger.fix(found[position : position + 1], code)


def _passed(walk: Coupling, op: Op, axis: Moved, out: int, split: tuple[int, Plane] | None) -> Slots:
    """The slots along ``out``, where one axis lands on it alone."""
    landed = axis.landed.plane.data.reshape(-1)
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
    first = joined(walk.ledger, axis.slots)
    if isinstance(first, int):
        return first if axis.landed.is_whole else walk.ledger.derived(first, f"{op.output} {out}")
    if axis.landed.is_whole and landed.size == first.size:
        return first
    return walk.ledger.keep(np.where(landed >= 0, first[landed], outside))


def _merged(walk: Coupling, op: Op, movable: Sequence[Moved], slots: Sequence[Slots], size: int) -> Slots:
    """The slots of one axis of the result that several axes land on."""
    pairs = [(axis, found) for axis, found in zip(movable, slots, strict=True) if not isinstance(found, int)]
    places = [axis.landed.plane.data.reshape(-1) for axis, _ in pairs]
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
    axis: Moved,
    slots: Slots,
    free: Sequence[int],
    made: list[Slots | None],
    shape: tuple[int, ...],
) -> None:
    """One axis that lands on several axes of the result."""
    assert not isinstance(slots, int)
    data = axis.landed.plane.data
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

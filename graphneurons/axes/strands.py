"""Where every element of a constant value comes from: the coordinates of stored tensors, carried through constant ops.

A constant that meets an activation is rarely the stored tensor itself: it was transposed, split, dequantized, scaled or
put together from several. A `Strand` follows one stored tensor through all of that, as one plane of coordinates per
stored axis, so that labels of the op's operand can be given back in the stored tensor's own axes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from graphneurons.axes import planes
from graphneurons.axes.binding import Binding
from graphneurons.axes.carrying import MIXED, carry
from graphneurons.axes.layouts import LAYOUTS
from graphneurons.axes.notation import Rule
from graphneurons.axes.planes import Plane
from graphneurons.axes.resolving import Resolution
from graphneurons.axes.rules.site import NoRule, Shape, Site
from graphneurons.axes.steps import Layout, Step, Unknown, payload
from graphneurons.graph import Filled, Op, WeightRef

MOST_STRANDS = 64
"""Stored tensors that may meet in one constant value; beyond, it is not followed."""


_STEERING = frozenset({"int64", "uint32", "uint64", "bool", "string"})
"""Types of constants that steer a graph (shapes, indices, masks, text) and hold no weights."""


_MAKES_NUMBERS = frozenset({"DequantizeLinear", "Cast", "CastLike"})
"""Ops after which integers may be weights."""


@dataclass(frozen=True, slots=True, eq=False)
class Strand:
    """One stored tensor inside a constant value of some shape.

    ``coordinates``  one plane per stored axis: the coordinate that stands at every place of the value (`MIXED` where
                     several met)
    ``present``      1 where the tensor is, 0 where padding or other tensors are
    ``untouched``    shape and order are those of the stored tensor
    ``modulates``    None, or what it does to another constant (``quantization``, ``elementwise``)
    ``dequantized``  its integers were scaled to numbers
    ``picked``       stored axes of which a list of indices picked rows
    ``chosen``       None, or, where the running model picks those rows (experts), numbers that vary along the axes its
                     indices made
    """

    root: str
    ref: WeightRef
    present: Plane
    coordinates: tuple[Plane, ...]
    untouched: bool = True
    modulates: str | None = None
    dequantized: bool = False
    picked: frozenset[int] = frozenset()
    chosen: Plane | None = None

    @property
    def is_numeric(self) -> bool:
        """Whether it holds weights rather than indices, masks or text."""
        return self.dequantized or (self.ref.dtype != "int32" and self.ref.dtype not in _STEERING)


@dataclass(frozen=True, slots=True)
class Lost:
    """A stored tensor that went into a constant op nobody can follow."""

    root: str
    ref: WeightRef
    reason: str


@dataclass(frozen=True, slots=True)
class Constant:
    """All that is known of where a constant value comes from."""

    strands: tuple[Strand, ...] = ()
    lost: tuple[Lost, ...] = ()


def whole(root: str, ref: WeightRef) -> Strand:
    """The strand of a stored tensor as it lies in the file. Raises `TooLargeError` for axes that are too long."""
    return Strand(
        root,
        ref,
        planes.constant(ref.shape, 1),
        tuple(planes.along(ref.shape, axis) for axis in range(len(ref.shape))),
    )


def constant_of(name: str, resolution: Resolution, found: Mapping[str, Constant]) -> Constant:
    """What stored tensors the constant value ``name`` holds."""
    ref = resolution.graph.weights.get(name)
    if ref is None:
        return found.get(name, Constant())
    try:
        return Constant((whole(name, ref),))
    except planes.TooLargeError as error:
        return Constant((), (Lost(name, ref, str(error)),))


def _followed(name: str, resolution: Resolution, found: Mapping[str, Constant]) -> Constant:
    ref = resolution.graph.weights.get(name)
    steers = ref is not None and (ref.dtype == "string" or (ref.dtype in _STEERING and len(ref.shape) < 2))
    return Constant() if not name or steers else constant_of(name, resolution, found)


def weave(resolution: Resolution) -> Mapping[str, Constant]:
    """Follows stored tensors through every constant op of the graph: value name -> what it holds."""
    found: dict[str, Constant] = {}
    running = iter([op for op, _ in resolution.running])
    next_running = next(running, None)
    for op, doing in zip(resolution.graph.ops, resolution.doings, strict=True):
        if op is next_running:
            next_running = next(running, None)
            if found or (isinstance(doing.step, Binding) and doing.step.rule.kind == "lookup"):
                _choose(resolution, op, doing.step, found)
            continue
        given = [_followed(name, resolution, found) for name in op.inputs]
        lost = tuple(item for constant in given for item in constant.lost)
        try:
            made = _through(resolution, op, doing.step, given)
        except (NoRule, planes.TooLargeError) as error:
            roots = [strand for constant in given for strand in constant.strands]
            lost += tuple(Lost(strand.root, strand.ref, f"{op.qualified} {op.name!r}: {error}") for strand in roots)
            if op.type == "ConstantOfShape" and not roots:
                lost += (Lost(op.output, _filled(resolution, op), str(error)),)
            made = [()] * len(op.outputs)
        lost = tuple({item.root: item for item in lost}.values())
        for name, strands in zip(op.outputs, made, strict=False):
            if name and (strands or lost):
                found[name] = Constant(tuple(strands), lost)
    return found


def _choose(resolution: Resolution, op: Op, step: Step, found: dict[str, Constant]) -> None:
    """Follows rows of a stored tensor that the running model picks (the weights of the experts it asks for)."""
    first = op.inputs[0] if op.inputs else ""
    shape = resolution.shapes.get(op.output)
    strands: list[Strand] = []
    try:
        if isinstance(step, Binding) and step.rule.kind == "lookup" and first in resolution.constants and shape:
            given = constant_of(first, resolution, found).strands
            strands = [picked for strand in given if (picked := _row_of(strand, step, shape)) is not None]
        elif first in found and all(strand.chosen is not None for strand in found[first].strands):
            shapes = [resolution.shapes.get(name) for name in op.outputs]
            if isinstance(step, (Layout, Rule)) and (not isinstance(step, Rule) or step.kind == "map"):
                moved = (_moved(resolution, op, step, 0, strand, shapes) for strand in found[first].strands)
                strands = [items[0] for items in moved if items and items[0] is not None]
    except (NoRule, planes.TooLargeError):
        return
    if strands:
        found[op.output] = Constant(tuple(strands))


def _row_of(strand: Strand, step: Binding, shape: Shape) -> Strand | None:
    """A strand of a table, as an index of the running model picks from it."""
    table, result = step.operands[0], step.results[0]
    if table is None or result is None or not strand.present.is_constant or len(result) != len(shape):
        return None
    own = {name for axis in table for name in axis}
    chosen = planes.constant(shape)
    for axis, names in enumerate(result):
        if names and not own & set(names):
            number = chosen.data * shape[axis] + planes.along(shape, axis).data
            planes.check_size(number.size)
            chosen = Plane(shape, number)
    along = [axis for axis, names in enumerate(table) if set(names) & step.picked]
    picked = frozenset(
        stored for stored, plane in enumerate(strand.coordinates) if any(plane.varies(axis) for axis in along)
    )
    return replace(
        strand,
        present=planes.constant(shape, 1),
        coordinates=tuple(carry(plane, table, result, shape, step.sizes) for plane in strand.coordinates),
        untouched=False,
        picked=picked,
        chosen=chosen,
    )


def _through(
    resolution: Resolution, op: Op, step: Step, given: Sequence[Constant]
) -> list[tuple[Strand, ...]]:
    """The strands of every output of a constant op."""
    if op.type == "ConstantOfShape" and not op.domain and op.inputs[0] in resolution.graph.weights:
        return [_generated(resolution, op)]
    strands = [(index, strand) for index, constant in enumerate(given) for strand in constant.strands]
    if not strands:
        return [()] * len(op.outputs)
    if len(strands) > MOST_STRANDS:
        raise NoRule(
            f"{len(strands)} stored tensors meet in one constant, more than the {MOST_STRANDS} that are followed"
        )
    if isinstance(step, Unknown):
        raise NoRule(step.reason)
    shapes = [resolution.shapes.get(name) for name in op.outputs]
    made: list[list[Strand]] = [[] for _ in op.outputs]
    for index, strand in strands:
        for number, moved in enumerate(_moved(resolution, op, step, index, strand, shapes)):
            if moved is not None and number < len(made) and moved.present.data.any():
                made[number].append(moved)
    return [tuple(_without_echoes(items)) for items in made]


def _moved(
    resolution: Resolution, op: Op, step: object, index: int, strand: Strand, shapes: Sequence[Shape | None]
) -> list[Strand | None]:
    """One strand of operand ``index`` in every output."""
    if isinstance(step, Layout):
        return _laid_out(resolution, op, index, strand)
    if isinstance(step, Rule):
        shape = shapes[0]
        if shape is None:
            raise NoRule("the shape of its result is not known")
        return [_broadcast(strand, step, index, shape, op)]
    if isinstance(step, Binding):
        return [_carried(strand, step, index, number, shape, op) for number, shape in enumerate(shapes)]
    return []


def _laid_out(resolution: Resolution, op: Op, index: int, strand: Strand) -> list[Strand | None]:
    carried = payload(op)
    if index not in carried:
        return []
    site = resolution.site(op)
    move = LAYOUTS[op.type]

    def given(plane: Plane, others_matter: bool) -> list[Plane | None]:
        row: list[Plane | None] = [None] * len(op.inputs)
        for at in carried:
            shape = site.shape(at)
            if others_matter and shape is not None:
                row[at] = planes.constant(shape)
        row[index] = plane
        return row

    picked = strand.picked | _picked(op, site, strand)
    present = move(site, given(strand.present, True), 0)
    coordinates = [move(site, given(plane, False), None) for plane in strand.coordinates]
    chosen = None if strand.chosen is None else move(site, given(strand.chosen, False), None)
    return [
        replace(
            strand,
            present=there,
            coordinates=tuple(moved[number] for moved in coordinates),
            untouched=False,
            picked=picked,
            chosen=None if chosen is None else chosen[number],
        )
        for number, there in enumerate(present)
    ]


_PICKING = {"Gather": "axis", "embedding": "dim", "index_select": "dim"}
"""Ops that pick rows by a list of indices -> the attribute that names their axis."""


def _picked(op: Op, site: Site, strand: Strand) -> frozenset[int]:
    """The stored axes that lie along the axis a Gather (or an embedding) picks rows of."""
    rank = site.rank(1)
    if op.type not in _PICKING or not rank:
        return frozenset()
    axis = site.axis(site.number(_PICKING[op.type], 0), site.known_rank(0))
    return frozenset(stored for stored, plane in enumerate(strand.coordinates) if plane.varies(axis))


def _broadcast(strand: Strand, rule: Rule, index: int, shape: Shape, op: Op) -> Strand | None:
    if index >= len(rule.operands) or rule.operands[index].mark == "_":
        return None
    same = strand.present.shape == shape
    return replace(
        strand,
        present=planes.broadcast(strand.present, shape),
        coordinates=tuple(planes.broadcast(plane, shape) for plane in strand.coordinates),
        untouched=strand.untouched and same,
        chosen=strand.chosen and planes.broadcast(strand.chosen, shape),
        dequantized=strand.dequantized or op.type in _MAKES_NUMBERS,
    )


def _carried(strand: Strand, step: Binding, index: int, number: int, shape: Shape | None, op: Op) -> Strand | None:
    axes = step.operands[index] if index < len(step.operands) else None
    result = step.results[number] if number < len(step.results) else None
    if number >= len(step.results) or step.rule.operands[index].mark == "_" or step.rule.results[number].mark == "_":
        return None
    if axes is None or result is None or shape is None:
        raise NoRule("the shape of its result is not known")
    mark = step.rule.operands[index].mark
    modulates = "quantization" if mark == "%" else "elementwise" if mark == "~" else None
    same = index == 0 and tuple(axes) == tuple(result) and not step.mixed

    chosen = {name for name in step.picked if any(name in names for names in axes)}
    picked = frozenset(
        stored
        for stored, plane in enumerate(strand.coordinates)
        if any(plane.varies(axis) and chosen & set(names) for axis, names in enumerate(axes))
    )

    def move(plane: Plane) -> Plane:
        return carry(plane, axes or (), result or (), shape or (), step.sizes, step.mixed)

    present = move(strand.present)
    return replace(
        strand,
        present=Plane(present.shape, np.where(present.data == MIXED, 1, present.data)),
        coordinates=tuple(move(plane) for plane in strand.coordinates),
        untouched=strand.untouched and same,
        picked=strand.picked | picked,
        modulates=strand.modulates or modulates,
        dequantized=strand.dequantized or op.type in _MAKES_NUMBERS,
    )


def _without_echoes(strands: Sequence[Strand]) -> list[Strand]:
    """A tensor that meets itself (``v / |v|``) counts where it is more itself."""
    best: dict[str, Strand] = {}
    kept: list[Strand] = []
    for strand in strands:
        twin = best.get(strand.root)
        if twin is not None and (_blurred(twin) != _blurred(strand) or _alike(twin, strand)):
            if _blurred(strand) < _blurred(twin):
                kept = [strand if item is twin else item for item in kept]
                best[strand.root] = strand
            continue
        best.setdefault(strand.root, strand)
        kept.append(strand)
    return kept


def _blurred(strand: Strand) -> int:
    return sum(bool((plane.data == MIXED).any()) for plane in strand.coordinates)


def _alike(a: Strand, b: Strand) -> bool:
    pairs = zip((a.present, *a.coordinates), (b.present, *b.coordinates), strict=True)
    return all(one.data is other.data or np.array_equal(one.data, other.data) for one, other in pairs)


def _filled(resolution: Resolution, op: Op) -> WeightRef:
    """The tensor a ConstantOfShape stands for."""
    value = op.attributes.get("value")
    dtype = value.dtype if isinstance(value, WeightRef) else "float32"
    return WeightRef(op.output, dtype, resolution.shapes.get(op.output, ()), Filled(0))


def _generated(resolution: Resolution, op: Op) -> tuple[Strand, ...]:
    ref = _filled(resolution, op)
    value = op.attributes.get("value")
    if isinstance(value, WeightRef) and value.elements != 1:
        raise NoRule(f"it is to be filled with {value.elements} values at once")
    return () if ref.dtype in _STEERING else (whole(op.output, ref),)

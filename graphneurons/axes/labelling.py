"""Roles of a weight's axes: from the rule's factors, through the strand, to the stored tensor's own axes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from math import prod

import numpy as np

from graphneurons.analysis import Axis, Factor, Role, WeightUse
from graphneurons.axes.binding import Binding, Factors
from graphneurons.axes.carrying import MIXED
from graphneurons.axes.planes import Integers, Plane, distinct
from graphneurons.axes.rules.site import NoRule
from graphneurons.axes.strands import Strand

Roles = Mapping[str, Role]
"""Factor name -> its role in one operand."""


@dataclass(frozen=True, slots=True, eq=False)
class OperandLabel:
    """What the axes of one operand index: ``axes`` are its factors per axis, with sizes and roles; ``packed`` is the
    number of synapses per neuron where the format packs several into one element. Operands that are alike share one.
    """

    axes: tuple[Factors, ...]
    sizes: Mapping[str, int]
    roles: Roles
    packed: int | None = None

    @property
    def neurons(self) -> int:
        """How many neurons the operand holds: one per index of its neuron and shared factors."""
        return self.size("neuron", "shared")

    @property
    def synapses_per_neuron(self) -> int:
        """How many weights of one neuron the operand holds (unpacked, where the rule says how many are packed)."""
        return self.packed if self.packed is not None else self.size("synapse")

    @lru_cache(maxsize=8192)  # noqa: B019 - small, and dropped when others take their place
    def size(self, *roles: Role) -> int:
        """The product of the sizes of all factors that play one of ``roles``."""
        names = {name for axis in self.axes for name in axis if self.roles[name] in roles}
        return prod(self.sizes[name] for name in names)


@lru_cache(maxsize=8192)
def label_operand(binding: Binding, index: int) -> OperandLabel:
    """The roles of the factors of operand ``index`` as a weight. Raises `NoRule` where shapes leave them open.

    A factor is *lookup* where the rule marks it picked; otherwise *neuron* if it is in the sums and in no other
    contracting operand, *shared* if it is in the sums and in another, *synapse* if it is not in the sums.
    """
    axes = binding.operands[index]
    if axes is None:
        raise NoRule(f"the shape of operand {index} is not known; give the dynamic dimensions with --dim or --shape")
    stage = stage_of(binding, index)
    sums = _result_names(binding, stage)
    others = {
        name
        for at, pattern in enumerate(binding.rule.operands)
        if at != index
        and pattern.contracts
        and (at == 0 or stage_of(binding, at) == stage)
        and not _added(binding, index, at)
        for name in _names(binding, at)
    }.union(*(_result_names(binding, earlier) for earlier in range(stage)))
    roles: dict[str, Role] = {}
    for name in dict.fromkeys(name for axis in axes for name in axis):
        if name in binding.unknown:
            raise NoRule(
                f"factor {name} may or may not be in an operand of unknown shape; "
                "give the dynamic dimensions with --dim or --shape"
            )
        if name not in binding.sizes:
            raise NoRule(f"the size of factor {name} of rule `{binding.rule}` cannot be told")
        if name in binding.picked:
            roles[name] = "lookup"
        elif name not in sums:
            roles[name] = "synapse"
        else:
            roles[name] = "shared" if name in others else "neuron"
    return OperandLabel(axes, binding.sizes, roles, binding.packed)


def _added(binding: Binding, index: int, at: int) -> bool:
    """Whether what operands ``index`` and ``at`` make is added: the weights of a recurrent op (but for its input and
    state), and the tables of one that looks up several. They do not contract each other."""
    operands = binding.rule.operands
    if binding.rule.kind == "recurrent":
        return at != 0 and operands[at].mark != "<"
    return binding.rule.kind == "lookup" and all(any(axis.picked for axis in operands[one].axes) for one in (index, at))


def stage_of(binding: Binding, index: int) -> int:
    """Which of the rule's sums operand ``index`` makes, where one op makes several after another (an MLP of experts):
    the last one with a factor of it that neither operand 0 nor earlier sums have."""
    if len(binding.sums) == 1:
        return 0
    own = _names(binding, index)
    seen = set(_names(binding, 0))
    found = 0
    for stage in range(len(binding.sums)):
        made = _result_names(binding, stage)
        if index and own & (made - seen):
            found = stage
        seen |= made
    return found


def _result_names(binding: Binding, stage: int) -> set[str]:
    axes = binding.sums[stage]
    if axes is not None:
        return {name for axis in axes for name in axis}
    # An operand of unknown rank leaves the variadic axes open; `Binding.unknown` keeps them from being labelled.
    return {name for axis in binding.rule.sums[stage].axes if not axis.variadic for name in axis.factors}


FOLDED = "folded"
"""The factor of an axis that was contracted with another constant."""

EXPERT = "expert"
"""The factor that numbers the rows of a stored tensor of which the running model picks some."""


def chosen(strand: Strand, label: OperandLabel) -> OperandLabel | None:
    """``label`` of an operand that the running model picked from a stored tensor, as a weight: the axes its indices
    made are left out, and all it picks from is shared. None if what is left is no matrix: then it is a lookup."""
    if strand.chosen is None:
        return None
    axes = tuple(() if strand.chosen.varies(axis) else names for axis, names in enumerate(label.axes))
    left = {name for axis in axes for name in axis}
    roles = {name: role for name, role in label.roles.items() if name in left}
    large = {role for name, role in roles.items() if label.sizes[name] > 1}
    if not {"neuron", "synapse"} <= large:
        return None
    stack = prod(strand.ref.shape[axis] for axis in strand.picked)
    return OperandLabel((*axes, (EXPERT,)), {**label.sizes, EXPERT: stack}, {**roles, EXPERT: "shared"}, label.packed)


def _names(binding: Binding, index: int) -> set[str]:
    """The factors operand ``index`` carries: of its bound axes, or, where it is left out, as the rule writes them."""
    axes = binding.operands[index] if index < len(binding.operands) else None
    if axes is not None:
        return {name for axis in axes for name in axis}
    return {name for axis in binding.rule.operands[index].axes if not axis.variadic for name in axis.factors}


def unrepeated(label: OperandLabel, strands: Sequence[Strand]) -> OperandLabel:
    """``label`` without the shared factors along which a weight was only repeated (expanded along the batch, as a
    decomposed matmul does): no element of it is different there."""
    repeated = [
        axis
        for axis, names in enumerate(label.axes)
        if names
        and all(label.roles[name] == "shared" for name in names)
        and all(
            plane.shape[axis] > 1 and not plane.varies(axis)
            for strand in strands
            for plane in (strand.present, *strand.coordinates)
        )
    ]
    if not repeated or not strands:
        return label
    axes = tuple(() if axis in repeated else names for axis, names in enumerate(label.axes))
    kept = {name for names in axes for name in names}
    return OperandLabel(
        axes, label.sizes, {name: role for name, role in label.roles.items() if name in kept}, label.packed
    )


@lru_cache(maxsize=8192)
def aligned(shape: tuple[int, ...]) -> OperandLabel:
    """The label of a constant that meets another operand element by element: every axis is shared with it."""
    names = tuple(f"d{axis}" for axis in range(len(shape)))
    return OperandLabel(
        tuple((name,) for name in names),
        dict(zip(names, shape, strict=True)),
        dict.fromkeys(names, "shared"),
    )


@lru_cache(maxsize=8192)
def modulating(binding: Binding, index: int) -> OperandLabel:
    """The label of a modulator operand: every factor is shared with what it modulates."""
    axes = binding.operands[index]
    if axes is None:
        raise NoRule(f"the shape of operand {index} is not known")
    names = {name for axis in axes for name in axis}
    for name in names:
        if name not in binding.sizes:
            raise NoRule(f"the size of factor {name} of rule `{binding.rule}` cannot be told")
    return OperandLabel(axes, binding.sizes, dict.fromkeys(names, "shared"))


def covers(strand: Strand, label: OperandLabel, role: Role) -> bool:
    """Whether the strand has coordinates of its own along the operand's factors of ``role`` (True if it has none)."""
    wanted = [
        axis
        for axis, names in enumerate(label.axes)
        if any(label.roles[name] == role and label.sizes[name] > 1 for name in names)
    ]
    return not wanted or any(
        plane.data.shape[axis] > 1 or strand.present.data.shape[axis] > 1
        for plane in strand.coordinates
        for axis in wanted
    )


def _unpacked(label: OperandLabel) -> int | None:
    """How many numbers a packed weight unpacks to."""
    return None if label.packed is None else label.neurons * label.packed


def use_of(strand: Strand, label: OperandLabel, index: int) -> WeightUse:
    """The roles of an operand's factors, told in the axes of the stored tensor ``strand`` follows.

    Raises `NoRule` where a stored axis is no product of the operand's factors.
    """
    if strand.untouched and strand.present.is_constant:
        untouched = tuple(
            _axis(size, [Factor(name, label.sizes[name], label.roles[name]) for name in names])
            for size, names in zip(strand.ref.shape, label.axes, strict=True)
        )
        return WeightUse(strand.ref, index, untouched, elements=_unpacked(label))
    places = _places(strand.present)
    stored: list[Axis] = []
    part: list[tuple[int, int]] = []
    for axis, plane in enumerate(strand.coordinates):
        size = strand.ref.shape[axis]
        data = _chosen(plane, places)
        if axis in strand.picked and strand.chosen is not None:
            stored.append(Axis(size, "shared", (Factor(EXPERT, size, "shared"),)))
            part.append((0, size))
            continue
        if axis in strand.picked and "synapse" not in label.roles.values():
            stored.append(Axis(size, "lookup", (Factor("row", size, "lookup"),)))
            part.append((0, size))
            continue
        stored.append(_stored_axis(size, data, label, places))
        part.append((int(data.min()), min(size, int(data.max()) + 1)) if data.size and data.min() >= 0 else (0, size))
    whole = all(
        piece == (0, axis.size) and prod(factor.size for factor in axis.factors) == axis.size
        for piece, axis in zip(part, stored, strict=True)
    )
    return WeightUse(strand.ref, index, tuple(stored), None if whole else tuple(part))


def _places(present: Plane) -> dict[int, Integers]:
    """Where along each axis of the operand the tensor is, for axes it fills only in part."""
    there = present.data == 1
    varying = [axis for axis, size in enumerate(there.shape) if size > 1]
    along = {axis: there.any(axis=tuple(at for at in range(there.ndim) if at != axis)) for axis in varying}
    if int(there.sum()) != prod(int(line.sum()) for line in along.values()):
        raise NoRule("the tensor fills a part of the operand that is no block of whole rows or columns")
    return {axis: np.flatnonzero(line) for axis, line in along.items()}


def _chosen(plane: Plane, places: Mapping[int, Integers]) -> Integers:
    data = plane.data
    for axis, found in places.items():
        if data.shape[axis] > 1:
            data = np.take(data, found, axis=axis)
    return data


def _axis(size: int, factors: Sequence[Factor]) -> Axis:
    """An axis of these factors: those of size one are named only where they are all there is."""
    named = tuple(factor for factor in factors if factor.size > 1) or tuple(factors[-1:])
    roles = {factor.role for factor in named}
    role: Role = "shared" if not roles else roles.pop() if len(roles) == 1 else "mixed"
    return Axis(size, role, named)


def _stored_axis(size: int, data: Integers, label: OperandLabel, places: Mapping[int, Integers]) -> Axis:
    """The factors of the operand along which the coordinates ``data`` of one stored axis vary."""
    if data.size and int(data.min()) == MIXED:
        # Contracted with another constant before it met the activation: the rank of a low-rank product.
        return Axis(size, "mixed", (Factor(FOLDED, size, "mixed"),))
    varying = [axis for axis, count in enumerate(data.shape) if count > 1]
    if not varying:
        return Axis(size, "shared", () if size == 1 else (Factor("stack", min(1, size), "shared"),))
    steps: list[tuple[int, Factor]] = []
    rebuilt = np.zeros((), dtype=np.int64)
    for axis in varying:
        line = _line(data, axis)
        rebuilt = rebuilt + (line - line.reshape(-1)[0])
        steps.extend(_digits(line.reshape(-1), label, axis, places.get(axis)))
    if len(varying) > 1 and not np.array_equal(rebuilt + data.reshape(-1)[0], data):
        names = [name for axis in varying for name in label.axes[axis]]
        roles = {label.roles[name] for name in names}
        if len(roles) == 1:
            return _axis(size, [Factor(" ".join(names), _distinct(data), roles.pop())])
        raise NoRule(f"a stored axis of size {size} runs across several axes of the operand at once")
    steps.sort(key=lambda item: -item[0])
    return _axis(size, [factor for _, factor in steps])


def _line(data: Integers, axis: int) -> Integers:
    """The coordinates along one axis, at the first place of all others."""
    return data[tuple(slice(None) if at == axis else slice(0, 1) for at in range(data.ndim))]


def _digits(line: Integers, label: OperandLabel, axis: int, places: Integers | None) -> list[tuple[int, Factor]]:
    """Which factors of one operand axis the coordinates along it vary with: (step, factor) each."""
    names = label.axes[axis]
    if not names:
        raise NoRule("an axis that is broadcast holds different elements of the stored tensor")
    if len(names) == 1:
        return [(_step(line), Factor(names[0], _distinct(line), label.roles[names[0]]))]
    sizes = [label.sizes[name] for name in names]
    at = np.arange(prod(sizes), dtype=np.int64) if places is None else places
    digits = np.unravel_index(at, sizes)
    roles = {label.roles[name] for name, digit in zip(names, digits, strict=True) if _distinct(digit) > 1}
    grid = [_distinct(digit) for digit in digits]
    if prod(grid) == line.size:
        found = _separable(line.reshape(grid), names, label)
        if found is not None:
            return found
    if len(roles) == 1:
        return [(_step(line), Factor(" ".join(names), _distinct(line), roles.pop()))]
    raise NoRule(f"a stored axis runs across the factors ({' '.join(names)}) in an order that cannot be told apart")


def _separable(grid: Integers, names: Sequence[str], label: OperandLabel) -> list[tuple[int, Factor]] | None:
    """(step, factor) of every factor the coordinates vary with, where they are a sum of one term per factor."""
    found = []
    rebuilt = np.zeros((), dtype=np.int64)
    for position, name in enumerate(names):
        line = _line(grid, position)
        rebuilt = rebuilt + (line - line.reshape(-1)[0])
        if _distinct(line) > 1:
            found.append((_step(line.reshape(-1)), Factor(name, _distinct(line), label.roles[name])))
    return found if np.array_equal(rebuilt + grid.reshape(-1)[0], grid) else None


def _step(line: Integers) -> int:
    """How far apart neighbours lie: outer factors have larger steps."""
    return int(np.abs(np.diff(line)).max()) if line.size > 1 else 0


def _distinct(line: Integers) -> int:
    return int(distinct(line).size)

"""Binds a rule to the shapes it meets: which factors every axis has, and how large they are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from math import prod

from graphneurons.axes.notation import PACKED, AxisPattern, Pattern, Rule, expand, parse
from graphneurons.axes.rules.site import NoRule, Shape

Factors = tuple[str, ...]
"""The factors of one axis, outermost first; empty for an axis that carries none (size one, or broadcast)."""


@dataclass(frozen=True, slots=True, eq=False)
class Binding:
    """A rule with every axis written out. Equal ones are one object where they come from `bound`.

    ``operands``, ``sums``, ``results``: per tensor, per axis, its factors (None: ignored, absent, or of unknown rank).
    ``sizes``: factor -> size; a factor that no known shape tells is missing. ``unknown``: factors that an operand of
    unknown shape may or may not carry. ``picked`` and ``mixed``: factors marked ``@`` and ``^``.
    """

    rule: Rule
    operands: tuple[tuple[Factors, ...] | None, ...]
    sums: tuple[tuple[Factors, ...] | None, ...]
    results: tuple[tuple[Factors, ...] | None, ...]
    sizes: Mapping[str, int]
    unknown: frozenset[str]
    picked: frozenset[str]
    mixed: frozenset[str]

    @property
    def packed(self) -> int | None:
        """Synapses per neuron where a packed format hides them, else None."""
        return self.rule.sizes.get(PACKED)

    def result_shape(self, index: int) -> Shape | None:
        """Shape of result ``index``, or None where a factor's size is not known (windows)."""
        if index >= len(self.results):
            return None
        axes = self.results[index]
        if axes is None or any(name not in self.sizes for axis in axes for name in axis):
            return None
        return tuple(prod(self.sizes[name] for name in axis) for axis in axes)


@lru_cache(maxsize=8192)
def bound(text: str, shapes: tuple[Shape | None, ...]) -> Binding:
    """The rule that ``text`` writes, bound to ``shapes``: worked out once for all ops that are alike."""
    return bind(parse(text), shapes)


def bind(rule: Rule, shapes: Sequence[Shape | None]) -> Binding:
    """``rule`` on operands of ``shapes`` (None: left out or unknown). Raises `NoRule` where they contradict it."""
    longest = _lengths(rule, shapes)
    written: list[tuple[AxisPattern, ...] | None] = []
    for index, pattern in enumerate(rule.operands):
        shape = shapes[index] if index < len(shapes) else None
        if shape is None or pattern.mark == "_":
            written.append(None)
            continue
        axes = expand(pattern.axes, len(shape), longest)
        if axes is None:
            raise NoRule(f"operand {index} has shape {list(shape)}, which does not fit `{pattern}` of rule `{rule}`")
        written.append(axes)
    sizes, broadcast = _solve(rule, written, shapes, longest)
    operands = tuple(
        None
        if axes is None
        else tuple(() if (index, position) in broadcast else axis.factors for position, axis in enumerate(axes))
        for index, axes in enumerate(written)
    )
    unknown = {
        name
        for index, pattern in enumerate(rule.operands)
        if pattern.contracts and index < len(shapes) and shapes[index] is None
        for axis in pattern.axes
        for name in (_variadic_names(axis, longest) if axis.variadic else ())
    }
    open_names = {
        axis.factors[0]
        for index, pattern in enumerate(rule.operands)
        if pattern.contracts and index < len(shapes) and shapes[index] is None
        for axis in pattern.axes
        if axis.variadic
    }
    marked = [axis for axes in written if axes for axis in axes]
    for pattern in rule.sums:
        marked.extend(axis for axis in pattern.axes if axis.mixed)
    return Binding(
        rule,
        operands,
        tuple(_result(pattern, longest, open_names) for pattern in rule.sums),
        tuple(_result(pattern, longest, open_names) for pattern in rule.results),
        sizes,
        frozenset(unknown),
        frozenset(name for axis in marked if axis.picked for name in axis.factors),
        frozenset(name for axis in marked if axis.mixed for name in axis.factors),
    )


def _lengths(rule: Rule, shapes: Sequence[Shape | None]) -> dict[str, int]:
    """How many axes each variadic factor has where it has most. Those only results have take the length of those
    only operands have: the windows of a convolution slide over as many axes as there are."""
    longest: dict[str, int] = {}
    for _ in range(2):
        for index, pattern in enumerate(rule.operands):
            shape = shapes[index] if index < len(shapes) else None
            names = [axis.factors[0] for axis in pattern.axes if axis.variadic]
            open_names = [name for name in names if name not in longest] or names[:1]
            if shape is None or len(open_names) != 1:
                continue
            taken = sum(longest[name] for name in names if name != open_names[0])
            length = len(shape) - (len(pattern.axes) - len(names)) - taken
            longest[open_names[0]] = max(longest.get(open_names[0], 0), length)
    made = {axis.factors[0] for result in (*rule.sums, *rule.results) for axis in result.axes if axis.variadic}
    gone = [length for name, length in longest.items() if name not in made]
    for name in made - set(longest):
        if gone:
            longest[name] = gone[0]
    return longest


def _variadic_names(axis: AxisPattern, longest: Mapping[str, int]) -> list[str]:
    name = axis.factors[0]
    return [f"{name}{index}" for index in range(longest.get(name, 0))]


def _result(pattern: Pattern, longest: Mapping[str, int], open_names: set[str]) -> tuple[Factors, ...] | None:
    """The axes of a sum or result; None where how many they are hangs on an operand of unknown shape."""
    if pattern.mark == "_" or any(axis.variadic and axis.factors[0] in open_names for axis in pattern.axes):
        return None
    axes: list[Factors] = []
    for axis in pattern.axes:
        if not axis.variadic:
            axes.append(axis.factors)
        elif axis.factors[0] in longest:
            axes.extend((name,) for name in _variadic_names(axis, longest))
        else:
            return None
    return tuple(axes)


def _solve(
    rule: Rule,
    written: Sequence[tuple[AxisPattern, ...] | None],
    shapes: Sequence[Shape | None],
    longest: Mapping[str, int],
) -> tuple[dict[str, int], set[tuple[int, int]]]:
    """Factor sizes, and the axes (operand, position) of size one that are broadcast along a larger variadic factor."""
    sizes = {name: size for name, size in rule.sizes.items() if name != PACKED}
    stretchable = {f"{name}{index}" for name, length in longest.items() for index in range(length)}
    equations = [
        (index, position, axis.factors, shape[position])
        for index, axes in enumerate(written)
        if axes is not None and (shape := shapes[index]) is not None
        for position, axis in enumerate(axes)
    ]
    broadcast: set[tuple[int, int]] = set()
    for _, _, factors, size in equations:
        if len(factors) == 1 and factors[0] in stretchable and (size != 1 or factors[0] not in sizes):
            sizes[factors[0]] = size if sizes.get(factors[0], 1) in (1, size) else sizes[factors[0]]
    waiting = equations
    while waiting:
        left = []
        for index, position, factors, size in waiting:
            unsolved = {name for name in factors if name not in sizes}
            known = prod(sizes[name] for name in factors if name in sizes)
            if len(unsolved) > 1 or (unsolved and factors.count(next(iter(unsolved))) > 1):
                left.append((index, position, factors, size))
                continue
            if unsolved and known and size % known == 0:
                sizes[unsolved.pop()] = size // known
            elif unsolved or known != size:
                if size == 1 and len(factors) == 1 and factors[0] in stretchable:
                    broadcast.add((index, position))
                    continue
                raise NoRule(_contradiction(rule, index, position, factors, size, sizes, shapes))
        if len(left) == len(waiting):
            break
        waiting = left
    return sizes, broadcast


def _contradiction(
    rule: Rule,
    index: int,
    position: int,
    factors: Factors,
    size: int,
    sizes: Mapping[str, int],
    shapes: Sequence[Shape | None],
) -> str:
    axis = " ".join(f"{name}={sizes[name]}" if name in sizes else name for name in factors) or "1"
    known = ", ".join("?" if shape is None else str(list(shape)) for shape in shapes)
    return (
        f"axis {position} of operand {index} has size {size}, but rule `{rule}` makes it ({axis}); "
        f"operand shapes are {known}"
    )

"""What a rule may look at: the op, the shapes of its operands, and the small constants among them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Union

from graphneurons.graph import Op

Shape = tuple[int, ...]
RuleText = Union[str, Callable[["Site"], str]]
RuleTable = Mapping[str, RuleText]


class NoRule(Exception):  # noqa: N818 - not an error: the reason why a weight stays unlabelled
    """Raised by a rule that cannot say what this op does; ``str`` is the reason shown to the user."""


@dataclass(frozen=True, slots=True)
class Site:
    """One op where it stands. ``shapes[i]`` is None where the operand is left out or its shape is not known;
    ``values[i]`` holds the integers (or the numbers) of a small constant operand, flattened; ``constant[i]`` tells
    whether the operand is derived from constants only."""

    op: Op
    shapes: tuple[Shape | None, ...]
    values: tuple[tuple[int | float, ...] | None, ...]
    constant: tuple[bool, ...]

    def has(self, index: int) -> bool:
        """Whether operand ``index`` is there at all."""
        return index < len(self.op.inputs) and self.op.inputs[index] != ""

    def shape(self, index: int) -> Shape | None:
        return self.shapes[index] if index < len(self.shapes) else None

    def rank(self, index: int) -> int | None:
        shape = self.shape(index)
        return None if shape is None else len(shape)

    def known_rank(self, index: int) -> int:
        """The rank of operand ``index``; `NoRule` if its shape is not known."""
        shape = self.shape(index)
        if shape is None:
            raise NoRule(f"the shape of operand {index} is not known; give the dynamic dimensions with --dim or --shape")
        return len(shape)

    def number(self, name: str, default: int) -> int:
        """Integer attribute ``name``."""
        value = self.op.attributes.get(name, default)
        return value if isinstance(value, int) else default

    def numbers(self, name: str) -> tuple[int, ...] | None:
        """Attribute ``name``, a list of integers, or None."""
        value = self.op.attributes.get(name)
        if isinstance(value, tuple) and all(isinstance(item, int) for item in value):
            return tuple(item for item in value if isinstance(item, int))
        return None

    def text(self, name: str, default: str = "") -> str:
        value = self.op.attributes.get(name, default)
        return value if isinstance(value, str) else default

    def integers(self, index: int) -> tuple[int, ...] | None:
        """The values of operand ``index`` if it is a small constant of integers."""
        value = self.values[index] if index < len(self.values) else None
        return None if value is None else tuple(int(item) for item in value)

    def axis(self, axis: int, rank: int) -> int:
        """``axis`` counted from the front; `NoRule` if it is out of range."""
        if not -rank <= axis < rank:
            raise NoRule(f"axis {axis} is out of range for a tensor of rank {rank}")
        return axis % rank

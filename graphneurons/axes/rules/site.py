"""What a rule may look at: the op, the shapes of its operands, and the small constants among them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from graphneurons.graph import Op

if TYPE_CHECKING:
    import numpy.typing as npt

Shape = tuple[int, ...]
RuleFunction = Callable[["Site"], str]
RuleText = str | RuleFunction


class NoRule(Exception):  # noqa: N818 - not an error: the reason why a weight stays unlabelled
    """Raised by a rule that cannot say what this op does; ``str`` is the reason shown to the user."""


@dataclass(frozen=True, slots=True)
class Site:
    """One op where it stands. ``shapes[i]`` is None where the operand is left out or its shape is not known;
    ``values[i]`` is the array of a small operand whose numbers are known before the model runs; ``constant[i]`` tells
    whether the operand is derived from constants only; ``dtypes[i]`` is the element type of a stored tensor."""

    op: Op
    shapes: tuple[Shape | None, ...]
    values: Sequence[npt.NDArray[Any] | None]
    constant: tuple[bool, ...]
    dtypes: tuple[str, ...] = ()

    def dtype(self, index: int) -> str:
        """The element type of operand ``index`` where it is a stored tensor, else ``""``."""
        return self.dtypes[index] if index < len(self.dtypes) else ""

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
            raise NoRule(
                f"the shape of operand {index} is not known; give the dynamic dimensions with --dim or --shape"
            )
        return len(shape)

    def number(self, name: str, default: int) -> int:
        """Integer attribute ``name``."""
        value = self.op.attributes.get(name, default)
        if not isinstance(value, int):
            raise NoRule(f"attribute {name} is {value!r}, not an integer")
        return value

    def numbers(self, name: str) -> tuple[int, ...] | None:
        """Attribute ``name``, a list of integers, or None."""
        value = self.op.attributes.get(name)
        if value is None or value == ():
            return None
        if not isinstance(value, tuple):
            raise NoRule(f"attribute {name} is {value!r}, not a list of integers")
        numbers = tuple(item for item in value if isinstance(item, int))
        if len(numbers) != len(value):
            raise NoRule(f"attribute {name} is not a list of integers")
        return numbers

    def text(self, name: str, default: str = "") -> str:
        value = self.op.attributes.get(name, default)
        if not isinstance(value, str):
            raise NoRule(f"attribute {name} is {value!r}, not text")
        return value

    def integers(self, index: int) -> tuple[int, ...] | None:
        """The values of operand ``index``, flattened, if it holds integers and is small and known ahead."""
        value = self.value(index)
        return (
            None
            if value is None or value.dtype.kind not in "iub"
            else tuple(int(item) for item in value.reshape(-1).tolist())
        )

    def value(self, index: int) -> npt.NDArray[Any] | None:
        """The array of operand ``index`` if it is small and known before the model runs."""
        return self.values[index] if index < len(self.values) else None

    def axis(self, axis: int, rank: int) -> int:
        """``axis`` counted from the front; `NoRule` if it is out of range."""
        if not -rank <= axis < rank:
            raise NoRule(f"axis {axis} is out of range for a tensor of rank {rank}")
        return axis % rank

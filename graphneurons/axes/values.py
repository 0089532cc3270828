"""Small values known before the model runs: computed from shapes, or stored and read when a rule asks for them."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping, Sequence
from typing import Any

import numpy.typing as npt

from graphneurons.errors import DataError
from graphneurons.graph import WeightRef

Array = npt.NDArray[Any]

LARGEST_VALUE = 1 << 20
"""Elements a value may have that is read or computed ahead."""

MOST_COMPARED = 64
"""Elements of a known value up to which ops are found alike by its numbers, not by its name."""

LARGEST_FLOAT_VALUE = 16
"""Elements a stored floating-point tensor may have to be read as a number (a scale, a factor of Resize)."""

_READABLE = frozenset({"int64", "int32", "bool"})


def is_readable(ref: WeightRef) -> bool:
    """Whether a stored tensor is small enough, and of a kind, to be read as numbers that steer the graph."""
    return ref.elements <= (LARGEST_VALUE if ref.dtype in _READABLE else LARGEST_FLOAT_VALUE)


class Values(Mapping[str, Array]):
    """The arrays of small values known ahead: computed from shapes, or stored and read when first asked for."""

    def __init__(self, stored: Mapping[str, WeightRef]) -> None:
        self._stored = stored
        self._known: dict[str, Array | None] = {}

    def get(self, name: str, default: Any = None) -> Any:
        """The array of ``name``; ``default`` where it is not known, too large, or its bytes are not there."""
        found = self._known.get(name)
        if found is None and name in self._stored and name not in self._known:
            found = self._known[name] = _read(self._stored[name])
        return default if found is None else found

    def likeness(self, name: str) -> Hashable:
        """Equal for values that hold the same numbers; those of more than `MOST_COMPARED` are told apart by name."""
        array = self.get(name) if name else None
        if array is None or array.size > MOST_COMPARED:
            return None if array is None else name
        return array.dtype.str, array.shape, array.tobytes()

    def set(self, name: str, array: Array) -> None:
        self._known[name] = array

    def __getitem__(self, name: str) -> Array:
        found: Array | None = self.get(name)
        if found is None:
            raise KeyError(name)
        return found

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and self.get(name) is not None

    def __iter__(self) -> Iterator[str]:
        return (name for name, array in self._known.items() if array is not None)

    def __len__(self) -> int:
        return sum(array is not None for array in self._known.values())


def _read(ref: WeightRef) -> Array | None:
    from graphneurons.load.reading import read

    try:
        return read(ref, limit=LARGEST_VALUE) if is_readable(ref) else None
    except DataError:
        return None


class Operands(Sequence[Array | None]):
    """The values of the operands of one op, each looked up when it is asked for. ``asked``: which were."""

    __slots__ = ("_names", "_values", "asked")

    def __init__(self, names: tuple[str, ...], values: Values) -> None:
        self.asked: set[int] = set()
        self._names = names
        self._values = values

    def __len__(self) -> int:
        return len(self._names)

    def __getitem__(self, index: Any) -> Any:
        name = self._names[index]
        self.asked.add(index)
        return self._values.get(name) if name else None

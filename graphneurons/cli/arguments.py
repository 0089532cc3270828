"""What was written on the command line, understood: shapes, dimensions, files and directories."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from graphneurons.errors import UsageError

if TYPE_CHECKING:
    from graphneurons.graph import Value
    from graphneurons.load.factory import Example

LARGEST = 2**31 - 1
ONLY_INPUT = ""
"""Key of a shape that was given without a name."""


def parse_shapes(given: Iterable[str]) -> dict[str, tuple[int, ...]]:
    """``NAME=1,3,224,224`` and, for a model with a single input, ``1,3,224,224`` (under `ONLY_INPUT`).

    >>> parse_shapes(["x=1,3", "2,2"])
    {'x': (1, 3), '': (2, 2)}
    """
    shapes: dict[str, tuple[int, ...]] = {}
    for text in given:
        name, _, sizes = text.rpartition("=")
        try:
            shape = tuple(_size(size) for size in sizes.split(","))
        except ValueError:
            raise UsageError(f"--shape {text}: expected NAME=1,3,224,224 with sizes from 1 to {LARGEST}") from None
        if shapes.setdefault(name, shape) != shape:
            raise UsageError(f"--shape {text}: given before as {','.join(map(str, shapes[name]))}")
    return shapes


def parse_dims(given: Iterable[str]) -> dict[str, int]:
    """``NAME=128``, one per dynamic dimension.

    >>> parse_dims(["batch=4"])
    {'batch': 4}
    """
    dims: dict[str, int] = {}
    for text in given:
        name, _, size = text.rpartition("=")
        try:
            number = _size(size)
            if not name:
                raise ValueError
        except ValueError:
            raise UsageError(f"--dim {text}: expected NAME=128 with a size from 1 to {LARGEST}") from None
        if dims.setdefault(name, number) != number:
            raise UsageError(f"--dim {text}: given before as {dims[name]}")
    return dims


def parse_examples(given: Iterable[str]) -> tuple[Example, ...]:
    """``--input``, one per argument of a factory's module."""
    texts = tuple(given)
    if not texts:
        return ()
    from graphneurons.load.factory import parse_example

    return tuple(parse_example(text) for text in texts)


def looks_like_factory(text: str) -> bool:
    """Whether ``text`` can only be ``package.module:factory``."""
    if ":" not in text or os.path.exists(text):
        return False
    from graphneurons.load.factory import is_factory

    return is_factory(text)


def _size(text: str) -> int:
    text = text.strip()
    if not (text.isascii() and text.isdigit() and len(text) <= 10 and 1 <= int(text) <= LARGEST):
        raise ValueError(text)
    return int(text)


def shapes_for(inputs: Sequence[Value], given: Mapping[str, tuple[int, ...]]) -> dict[str, tuple[int, ...]]:
    """``given`` with the nameless shape under the name of the model's only input."""
    shapes = dict(given)
    shape = shapes.pop(ONLY_INPUT, None)
    if shape is None:
        return shapes
    if len(inputs) != 1:
        names = ", ".join(value.name for value in inputs[:8]) or "none"
        raise UsageError(
            f"--shape without a name needs a model with one input, this one has {len(inputs)} ({names}); "
            f"write --shape NAME={','.join(map(str, shape))}"
        )
    shapes.setdefault(inputs[0].name, shape)
    return shapes


def find_models(arguments: Sequence[str]) -> list[str]:
    """The files named, and for every directory all files below it whose name ends in ``.onnx``, sorted by path.

    Symbolic links to directories below a directory are not followed. Raises UsageError for one without any model.
    """
    found: list[str] = []
    for argument in arguments:
        if not os.path.isdir(argument):
            found.append(argument)
            continue
        below = sorted(_onnx_below(argument))
        if not below:
            raise UsageError("no .onnx file in this directory or below it", file=argument)
        found.extend(below)
    return found


def _onnx_below(directory: str) -> Iterable[str]:
    def fail(error: OSError) -> None:
        raise error

    for folder, _, files in os.walk(directory, onerror=fail):
        for name in files:
            if name.lower().endswith(".onnx"):
                yield os.path.join(folder, name)

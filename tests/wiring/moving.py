"""Random layout ops that fit a shape, as one node each, with the small constants they read."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from math import prod
from typing import Any

import numpy as np
from hypothesis import strategies as st

Shape = tuple[int, ...]
Draw = Callable[[st.SearchStrategy[Any]], Any]
FILL = -1
"""What padding holds."""


@dataclass(frozen=True)
class Move:
    """One op. ``consts``: operand position -> its value; operand 0 is what is moved."""

    type: str
    consts: Mapping[int, np.ndarray] = field(default_factory=dict)
    attributes: Mapping[str, Any] = field(default_factory=dict)
    outputs: int = 1


def ints(*values: int) -> np.ndarray:
    return np.array(values, dtype=np.int64)


def _shape_of_size(draw: Draw, size: int, most: int = 5) -> list[int]:
    """A random way to write ``size`` as a product."""
    shape = []
    while len(shape) < most and size > 1:
        part = draw(st.sampled_from([d for d in range(1, size + 1) if size % d == 0]))
        shape.append(part)
        size //= part
    return [*shape, size]


def _reshape(draw: Draw, shape: Shape) -> Move:
    wanted = _shape_of_size(draw, prod(shape)) if prod(shape) else list(shape)
    if draw(st.booleans()) and prod(shape):
        wanted[draw(st.integers(0, len(wanted) - 1))] = -1
    return Move("Reshape", {1: ints(*wanted)})


def _transpose(draw: Draw, shape: Shape) -> Move:
    return Move("Transpose", attributes={"perm": draw(st.permutations(range(len(shape))))})


def _squeeze(draw: Draw, shape: Shape) -> Move:
    ones = [axis for axis, size in enumerate(shape) if size == 1]
    chosen = [axis - draw(st.sampled_from([0, len(shape)])) for axis in ones if draw(st.booleans())]
    return Move("Squeeze", {1: ints(*chosen)}) if chosen else Move("Identity")


def _unsqueeze(draw: Draw, shape: Shape) -> Move:
    count = draw(st.integers(1, 2))
    return Move("Unsqueeze", {1: ints(*draw(st.permutations(range(len(shape) + count)))[:count])})


def _flatten(draw: Draw, shape: Shape) -> Move:
    return Move("Flatten", attributes={"axis": draw(st.integers(-len(shape), len(shape)))})


def _expand(draw: Draw, shape: Shape) -> Move:
    wanted = [draw(st.integers(1, 3)) if size == 1 else draw(st.sampled_from([1, size])) for size in shape]
    return Move("Expand", {1: ints(*([draw(st.integers(1, 2))] if draw(st.booleans()) else []), *wanted)})


def _slice(draw: Draw, shape: Shape) -> Move:
    axis = draw(st.integers(0, len(shape) - 1))
    size = shape[axis]
    start, end = (draw(st.sampled_from([-(2**62), -size - 1, *range(-size, size + 1), size + 2, 2**62])) for _ in "se")
    step = draw(st.sampled_from([-3, -2, -1, 1, 2, 3]))
    axis -= draw(st.sampled_from([0, len(shape)]))
    return Move("Slice", {1: ints(start), 2: ints(end), 3: ints(axis), 4: ints(step)})


def _split(draw: Draw, shape: Shape) -> Move:
    axis = draw(st.integers(0, len(shape) - 1))
    first = draw(st.integers(0, shape[axis]))
    return Move("Split", {1: ints(first, shape[axis] - first)}, {"axis": axis}, 2)


def _pad(draw: Draw, shape: Shape) -> Move:
    mode = draw(st.sampled_from(["constant", "reflect", "edge", "wrap"]))
    most = {"constant": 2, "edge": 2}.get(mode)
    sides = [
        [draw(st.integers(0, most if most is not None else max(0, size - 1))) for size in shape]
        for _ in ("before", "after")
    ]
    if mode == "constant" and draw(st.booleans()):
        axis = draw(st.integers(0, len(shape) - 1))
        sides[0][axis] = -draw(st.integers(0, max(0, shape[axis] - 1)))
    consts = {1: ints(*sides[0], *sides[1])}
    return Move("Pad", {**consts, 2: np.array(FILL, np.float32)} if mode == "constant" else consts, {"mode": mode})


def _tile(draw: Draw, shape: Shape) -> Move:
    return Move("Tile", {1: ints(*(draw(st.integers(1, 2)) for _ in shape))})


def _gather(draw: Draw, shape: Shape) -> Move:
    axis = draw(st.integers(0, len(shape) - 1))
    places = draw(st.sampled_from([(), (1,), (3,), (2, 2)]))
    picked = [draw(st.integers(-shape[axis], shape[axis] - 1)) for _ in range(prod(places))]
    return Move("Gather", {1: np.array(picked, np.int64).reshape(places)}, {"axis": axis})


def _gather_elements(draw: Draw, shape: Shape) -> Move:
    axis = draw(st.integers(0, len(shape) - 1))
    places = [draw(st.integers(1, 3)) if at == axis else draw(st.integers(1, size)) for at, size in enumerate(shape)]
    picked = [draw(st.integers(-shape[axis], shape[axis] - 1)) for _ in range(prod(places))]
    return Move("GatherElements", {1: np.array(picked, np.int64).reshape(places)}, {"axis": axis})


def _gather_nd(draw: Draw, shape: Shape) -> Move:
    depth = draw(st.integers(1, len(shape)))
    rows = [[draw(st.integers(-size, size - 1)) for size in shape[:depth]] for _ in range(draw(st.integers(1, 4)))]
    return Move("GatherND", {1: np.array(rows, np.int64)})


def _compress(draw: Draw, shape: Shape) -> Move:
    axis = draw(st.integers(0, len(shape) - 1))
    keep = [True, *(draw(st.booleans()) for _ in range(draw(st.integers(0, shape[axis] - 1))))]
    return Move("Compress", {1: np.array(keep)}, {"axis": axis})


def _blocks(draw: Draw, shape: Shape) -> Move:
    if len(shape) != 4:
        return Move("Identity")
    _, c, h, w = shape
    if c % 4 == 0:
        return Move("DepthToSpace", attributes={"blocksize": 2, "mode": draw(st.sampled_from(["DCR", "CRD"]))})
    if h % 2 == 0 and w % 2 == 0:
        return Move("SpaceToDepth", attributes={"blocksize": 2})
    return Move("Identity")


MOVES: dict[str, Callable[[Draw, Shape], Move]] = {
    "Reshape": _reshape,
    "Transpose": _transpose,
    "Squeeze": _squeeze,
    "Unsqueeze": _unsqueeze,
    "Flatten": _flatten,
    "Expand": _expand,
    "Slice": _slice,
    "Split": _split,
    "Pad": _pad,
    "Tile": _tile,
    "Gather": _gather,
    "GatherElements": _gather_elements,
    "GatherND": _gather_nd,
    "Compress": _compress,
    "DepthToSpace": _blocks,
}


@st.composite
def moves(draw: Draw, shape: Shape, kinds: tuple[str, ...] = tuple(MOVES)) -> Move:
    """A random op that may be applied to a tensor of ``shape`` (at least one axis, none empty)."""
    return MOVES[draw(st.sampled_from(kinds))](draw, shape)

"""A few numbers that stand for a matrix: seeded random projections, from which the distance of two matrices follows.

For a matrix ``W`` of ``n`` neurons (rows) x ``m`` synapses (columns) and ``k = 1 ... K``, with independent random
numbers ``a`` and ``b`` of mean 0 and variance 1 that depend on nothing but ``k`` and the position,

    y[i, k] = sum_j  W[i, j] b[k, j]          the projection of a neuron: of the order of its synapses
    s[k]    = sum_i  a[k, i] y[i, k]          the sketch: of the order of its neurons too

``s`` is linear in ``W`` and ``E[s[k]^2] = |W|^2`` (Frobenius), so that for two matrices the root mean square of
``s[k] - s'[k]`` estimates ``|W - W'|``: the Johnson-Lindenstrauss lemma with projections of rank one (Johnson and
Lindenstrauss, 1984; Achlioptas, "Database-friendly random projections", 2003; tensor products of projections: Rakhshan
and Rabusseau, "Tensorized random projections", 2020). Flipped signs, exchanged neurons, permuted synapses, a transposed
square matrix and a scaled neuron all change ``W``, and so the sketch. Projections of neurons do not change with their
order or with what they are packed with: sketches of parts and of packed matrices are sums of the same projections.

With K = 16 the estimate has a standard deviation of about a fifth of its value, and is below a tenth of it less than
once in a million cases. What it cannot see: changes below the tolerance (1e-5 of the norm of the matrix where both are
stored in float32), and those made on purpose by someone who solves for them: a sketch is no cryptographic digest.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import numpy.typing as npt

from graphneurons.health.decoding import Numbers
from graphneurons.health.numbering import Tile, tiles
from graphneurons.health.summing import TILE
from graphneurons.health.weights import Weight

Floats = npt.NDArray[np.floating[Any]]
Integers = npt.NDArray[np.int64]

PROJECTIONS = 16
TOTAL, SQUARE = PROJECTIONS, PROJECTIONS + 1
"""Columns of `projected` behind the projections: the sum of a neuron's weights, and the sum of their squares."""
WIDTH = PROJECTIONS + 2

_MOST_KEPT = 1 << 18
_FIRST, _SECOND = 0x9E3779B97F4A7C15, 0xD1B54A32D192ED03


def random_numbers(positions: Integers, second: bool) -> npt.NDArray[np.float32]:
    """(positions, PROJECTIONS) numbers of mean 0 and variance 1, at least 0.48 in size: ``a`` (or ``b``, if not
    ``second``) above. The same on every machine."""
    start = np.uint64(_SECOND if second else _FIRST)
    with np.errstate(over="ignore"):
        # SplitMix64 (Steele, Lea, Flood 2014), its state told by the position.
        states = np.add.outer(positions.astype(np.uint64) << np.uint64(6), np.arange(PROJECTIONS, dtype=np.uint64))
        mixed: npt.NDArray[np.uint64] = states + start
        mixed *= np.uint64(0x9E3779B97F4A7C15)
        for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
            mixed = (mixed ^ (mixed >> np.uint64(shift))) * np.uint64(factor)
    mixed ^= mixed >> np.uint64(31)
    size = 0.5 + (mixed >> np.uint64(40)).astype(np.float32) / np.float32(1 << 24)
    signed = np.where(mixed & np.uint64(1), size, -size)
    found: npt.NDArray[np.float32] = (signed / np.sqrt(np.float32(13 / 12))).astype(np.float32)
    return found


class Factors:
    """``b`` of the synapses of one weight, by position."""

    def __init__(self, synapses: int, second: bool = False) -> None:
        self._second = second
        self._kept = self._made(np.arange(synapses, dtype=np.int64)) if synapses <= _MOST_KEPT else None

    def at(self, positions: Integers) -> npt.NDArray[np.float32]:
        return self._made(positions) if self._kept is None else self._kept[positions]

    def _made(self, positions: Integers) -> npt.NDArray[np.float32]:
        # A last column of ones sums the weights.
        return np.concatenate((random_numbers(positions, self._second), np.ones((positions.size, 1), np.float32)), 1)


def projected(weight: Weight, second: bool = False) -> tuple[Floats, Integers]:
    """Projections, total and square of every neuron of a stored weight, shape (neurons, WIDTH), in the order in which
    `graphneurons.health` numbers them; and how many of its weights are not finite (they count as zero).

    Reads every weight once, in pieces. ``second``: with ``a`` for ``b``, as the transposed matrix has it.
    """
    numbering = weight.numbering
    # Sums of few neurons are kept in full: those of a mask (-3.4e38) would not fit into float32.
    kept = np.float64 if numbering.neurons <= _MOST_KEPT else weight.source.number_type
    found = np.zeros((numbering.neurons, WIDTH), kept)
    broken = np.zeros(numbering.neurons, np.int64)
    factors = Factors(numbering.synapses, second)
    outer, upper, lower = numbering.outer, numbering.upper, numbering.lower
    rows_first = numbering.upper_neurons
    across = lower if rows_first else upper
    side = upper if rows_first else lower
    # Where synapses are numbered along the neurons' side as well, every position of it has factors of its own.
    spread = bool(side.synapses.any())
    for tile in tiles(numbering, TILE) if numbering.elements else ():
        x = weight.read(tile)
        for at in range(x.shape[0]):
            place = tile.outer[0] + at
            rows = x[at] if rows_first else x[at].T
            bounds, other = (tile.upper, tile.lower) if rows_first else (tile.lower, tile.upper)
            neurons = outer.neurons[place] + side.neurons[slice(*bounds)]
            along = outer.synapses[place] + across.synapses[slice(*other)]
            if not spread:
                _add(found, broken, neurons, *_projections(rows, factors.at(along)))
                continue
            for row, (neuron, shift) in enumerate(zip(neurons, side.synapses[slice(*bounds)], strict=True)):
                one = _projections(rows[row : row + 1], factors.at(along + shift))
                _add(found, broken, np.array([neuron]), *one)
    return found, broken


def _projections(rows: Numbers, factors: Floats) -> tuple[Floats, Integers | None]:
    with np.errstate(all="ignore"):
        made = _multiplied(rows, factors)
        if np.isfinite(made).all():
            return made, None
        finite = np.isfinite(rows)
        # In float64: finite numbers whose squares are not (the -3.4e38 of a mask) count as they are.
        made = _multiplied(np.where(finite, rows, 0).astype(np.float64), factors)
        return made, (~finite).sum(axis=1)


def _multiplied(rows: Numbers, factors: Floats) -> Floats:
    square = np.einsum("ij,ij->i", rows, rows)
    made: Floats = np.concatenate((rows @ factors.astype(rows.dtype, copy=False), square[:, None]), axis=1)
    return made


def _add(found: Floats, broken: Integers, neurons: Integers, made: Floats, bad: Integers | None) -> None:
    is_run = neurons.size == 1 or bool((np.diff(neurons) == 1).all())
    at: Any = slice(int(neurons[0]), int(neurons[-1]) + 1) if is_run else neurons
    if is_run or np.unique(neurons).size == neurons.size:
        with np.errstate(over="ignore"):
            found[at] += made
        if bad is not None:
            broken[at] += bad
        return
    np.add.at(found, at, made)
    if bad is not None:
        np.add.at(broken, at, bad)


def array_projections(rows: Numbers, second: bool = False) -> tuple[Floats, Integers]:
    """As `projected`, of a matrix that is held in memory."""
    made, bad = _projections(rows, Factors(rows.shape[1], second).at(np.arange(rows.shape[1])))
    return made, np.zeros(len(rows), np.int64) if bad is None else bad


def sketch_of(projections: Floats, second: bool = True) -> npt.NDArray[np.float64]:
    """The sketch of a matrix whose neurons, in order, have these projections."""
    found = np.zeros(PROJECTIONS)
    step = 1 << 16
    for start in range(0, len(projections), step):
        piece = projections[start : start + step, :PROJECTIONS]
        factors = random_numbers(np.arange(start, start + len(piece), dtype=np.int64), second)
        found += np.einsum("ik,ik->k", factors.astype(np.float64), piece.astype(np.float64))
    return found


def estimated(difference: Floats) -> float:
    """The norm that a sketch stands for."""
    return float(np.sqrt(np.mean(np.square(difference.astype(np.float64))))) if difference.size else 0.0


Read = Callable[[int, int], Numbers]


def rows_in_pieces(count: int, columns: int, most: int = 1 << 21) -> Iterable[tuple[int, int]]:
    """(start, stop) of runs of rows of about ``most`` elements."""
    step = max(1, most // max(columns, 1))
    return ((start, min(start + step, count)) for start in range(0, count, step))


def read_rows(weight: Weight, start: int, stop: int, columns: tuple[int, int] | None = None) -> Numbers:
    """Neurons ``[start, stop)`` of a stored weight, shape (stop - start, synapses), or only their synapses ``columns``:
    a copy. Holds as much as it gives, and reads nothing else where both are numbered as they lie.
    """
    numbering = weight.numbering
    low, high = columns or (0, numbering.synapses)
    side, across = (numbering.upper, numbering.lower) if numbering.upper_neurons else (numbering.lower, numbering.upper)
    if not numbering.elements:
        return np.zeros((stop - start, high - low), weight.source.number_type)
    if not is_in_order(weight):
        return _read_scattered(weight, start, stop)[:, low:high]
    found = np.zeros((stop - start, high - low), weight.source.number_type)
    for place in range(numbering.outer.size):
        row = int(numbering.outer.neurons[place] + side.neurons[0]) - start
        column = int(numbering.outer.synapses[place] + across.synapses[0]) - low
        mine = max(-row, 0), min(stop - start - row, side.size)
        theirs = max(-column, 0), min(high - low - column, across.size)
        if mine[0] >= mine[1] or theirs[0] >= theirs[1]:
            continue
        bounds = (mine, theirs) if numbering.upper_neurons else (theirs, mine)
        for tile in _block(place, *bounds, numbering.lower.size):
            x = weight.read(tile)[0]
            rows, along = (tile.upper, tile.lower) if numbering.upper_neurons else (tile.lower, tile.upper)
            found[rows[0] + row : rows[1] + row, along[0] + column : along[1] + column] = (
                x if numbering.upper_neurons else x.T
            )
    return found


def is_in_order(weight: Weight) -> bool:
    """Whether neurons and synapses are numbered as they lie, but for what comes before both."""
    numbering = weight.numbering
    side, across = (numbering.upper, numbering.lower) if numbering.upper_neurons else (numbering.lower, numbering.upper)
    return _is_run(side.neurons) and _is_run(across.synapses) and not side.synapses.any()


def _is_run(numbers: Integers) -> bool:
    return bool((np.diff(numbers) == 1).all())


def _block(place: int, upper: tuple[int, int], lower: tuple[int, int], width: int) -> Iterable[Tile]:
    """Tiles of what lies at these positions: several rows at once where they are read whole."""
    outer = (place, place + 1)
    step = max(1, TILE // width) if lower == (0, width) else 1
    for row in range(upper[0], upper[1], step):
        for column in range(lower[0], lower[1], TILE):
            yield Tile(outer, (row, min(row + step, upper[1])), (column, min(column + TILE, lower[1])))


def _read_scattered(weight: Weight, start: int, stop: int) -> Numbers:
    """As `read_rows`, whatever the order of neurons and synapses. Where the neurons lie next to each other, piece by
    piece of every synapse."""
    numbering = weight.numbering
    outer, upper, lower = numbering.outer, numbering.upper, numbering.lower
    found = np.zeros((stop - start, numbering.synapses), weight.source.number_type)
    side = upper if numbering.upper_neurons else lower
    for place in range(outer.size):
        numbers = outer.neurons[place] + side.neurons
        at = np.flatnonzero((numbers >= start) & (numbers < stop))
        if not at.size:
            continue
        first, last = int(at[0]), int(at[-1]) + 1
        wanted = at - first
        for tile in _covering(numbering.upper_neurons, place, (first, last), (upper.size, lower.size)):
            x = weight.read(tile)[0]
            mine, theirs = (tile.upper, tile.lower) if numbering.upper_neurons else (tile.lower, tile.upper)
            inside = wanted[(wanted >= mine[0] - first) & (wanted < mine[1] - first)]
            rows = x[inside + first - mine[0]] if numbering.upper_neurons else x[:, inside + first - mine[0]].T
            across = lower if numbering.upper_neurons else upper
            synapses = (
                outer.synapses[place]
                + side.synapses[inside + first][:, None]
                + across.synapses[slice(*theirs)][None, :]
            )
            found[(numbers[inside + first] - start)[:, None], synapses] = rows
    return found


def _covering(
    rows_first: bool, place: int, wanted: tuple[int, int], sizes: tuple[int, int], most: int = TILE
) -> Iterable[Tile]:
    """Tiles that hold neurons ``wanted`` of the side they lie on, at outer position ``place``."""
    upper, lower = sizes
    outer = (place, place + 1)
    if rows_first:
        if lower > most:
            for row in range(*wanted):
                for column in range(0, lower, most):
                    yield Tile(outer, (row, row + 1), (column, min(column + most, lower)))
            return
        step = max(1, most // max(lower, 1))
        for row in range(wanted[0], wanted[1], step):
            yield Tile(outer, (row, min(row + step, wanted[1])), (0, lower))
        return
    if wanted == (0, lower) or lower <= 4096:
        step = max(1, most // max(lower, 1))
        for row in range(0, upper, step):
            yield Tile(outer, (row, min(row + step, upper)), (0, lower))
        return
    for row in range(upper):
        yield Tile(outer, (row, row + 1), wanted)

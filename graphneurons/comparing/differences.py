"""Two matrices compared element by element, in pieces."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import numpy.typing as npt

from graphneurons.comparing.fingerprints import Item, matrix_of, tolerance
from graphneurons.comparing.matrices import Matrix, Reader
from graphneurons.comparing.sketches import PROJECTIONS, Floats, estimated, rows_in_pieces, sketch_of

MOST_SORTED = 1000
"""Changed neurons whose synapses are sorted to tell whether they are the same ones in another order."""

_TINY = {"float16": 2.0**-25, "bfloat16": 0.0}
_NEAR = 1e-4
_HEIGHT, _BLOCK = 1 << 10, 1 << 21
"""Rows of a block, and elements."""


Kind = Literal["", "transposed", "permuted", "flipped", "scaled"]


@dataclass(frozen=True, slots=True, eq=False)
class Difference:
    """``relative``: the Frobenius norm of the difference over that of the first matrix (of the second, if the first is
    zero). ``changed``: numbers of the neurons that differ by more than the tolerance, ascending. ``largest``: the
    largest relative change of a neuron. ``kind``: what kind of change explains all of it (``permuted``: the same
    neurons, or the same synapses of every neuron, in another order; ``flipped``: signs), or ``""``; ``how``: in words.
    """

    relative: float
    changed: npt.NDArray[np.int64]
    largest: float
    kind: Kind = ""
    how: str = ""


class Comparison:
    """Matrices of two models compared element by element, stored ones that several layers use once."""

    def __init__(self, before: Reader, now: Reader) -> None:
        self._before = before
        self._now = now
        self._done: dict[object, Difference] = {}

    def of(self, befores: Sequence[Item], nows: Sequence[Item]) -> Difference:
        """How matrices ``nows`` below one another differ from ``befores``, by more than rounding. All are known."""
        first, second = (stacked([matrix_of(item) for item in items]) for items in (befores, nows))
        key = (_stored(first), _stored(second))
        if key not in self._done:
            allowed = tolerance(befores[0].fingerprint, nows[0].fingerprint)
            self._done[key] = difference((self._before, first), (self._now, second), allowed)
        return self._done[key]


def stacked(matrices: Sequence[Matrix]) -> Matrix:
    """Matrices of equal columns below one another, as the parts of a packed one lie there."""
    first = matrices[0]
    if len(matrices) == 1:
        return first
    values, scale, gain = None, None, None
    if any(each.values is not None for each in matrices):
        values = np.concatenate([np.zeros((each.rows, 1)) if each.values is None else each.values for each in matrices])
    if any(each.scale is not None for each in matrices):
        scale = np.concatenate([np.ones(each.rows) if each.scale is None else each.scale for each in matrices])
    gains = [each.gain for each in matrices if each.gain is not None]
    if len(gains) == len(matrices):
        gain = np.concatenate(gains)
    pieces = tuple(piece for each in matrices for piece in each.pieces)
    rows = sum(each.rows for each in matrices)
    return replace(first, rows=rows, pieces=pieces, values=values, scale=scale, gain=gain)


def _stored(matrix: Matrix) -> object:
    return (
        tuple((piece.use.weight.name, piece.use.part, piece.use.input < 0, piece.start, piece.stop, piece.op.name)
              for piece in matrix.pieces),
        matrix.holder if matrix.scale is not None or matrix.values is not None else "",
    )  # fmt: skip


def difference(
    before: tuple[Reader, Matrix], now: tuple[Reader, Matrix], tolerance: float
) -> Difference:
    """How matrix ``now`` differs from ``before``, which has the same shape. ``tolerance``: what is
    rounding, as a share of the norm. Reads both once, in pieces of some megabytes."""
    (reader, first), (other, second) = before, now
    tiny = max(_TINY.get(first.dtype, 0.0), _TINY.get(second.dtype, 0.0)) * np.sqrt(first.columns)
    apart, sizes, after = np.zeros(first.rows), np.zeros(first.rows), np.zeros(first.rows)
    for (start, stop), columns in _blocks(before, now):
        with np.errstate(all="ignore"):
            a, b = reader.rows(first, start, stop, columns), other.rows(second, start, stop, columns)
            delta = np.subtract(b, a, dtype=np.float64 if np.float64 in (a.dtype, b.dtype) else np.float32)
            same_broken = (np.isnan(a) & np.isnan(b)) | (a == b)
            apart[start:stop] += _squares(np.where(same_broken, 0, delta))
            sizes[start:stop] += _squares(np.where(np.isfinite(a), a, 0))
            after[start:stop] += _squares(np.where(np.isfinite(b), b, 0))
    apart, sizes, after = np.sqrt(apart), np.sqrt(sizes), np.sqrt(after)
    whole = float(np.sqrt(np.square(sizes).sum())) or float(np.sqrt(np.square(after).sum()))
    if not whole and not apart.any():
        return Difference(0.0, np.zeros(0, np.int64), 0.0)
    # A neuron much smaller than the others is measured by a share of these: computing has rounded at their scale.
    floor = whole / np.sqrt(max(first.rows, 1)) * 1e-3
    with np.errstate(all="ignore"):
        shares = apart / np.maximum(np.maximum(sizes, floor), 1e-300)
        # Rounding of a neuron with few synapses strays further from the mean than that of the whole.
        spread = tolerance * (1 + 3 / np.sqrt(max(first.columns, 1)))
        changed = np.flatnonzero(~(apart <= np.maximum(sizes, floor) * spread + tiny))
    relative = float(np.sqrt(np.square(apart).sum())) / (whole or 1.0)
    explained = _explained(before, now, changed, tolerance) if changed.size else _UNEXPLAINED
    return Difference(relative, changed, float(np.nanmax(shares, initial=0.0)), *explained)


_UNEXPLAINED: tuple[Kind, str] = ("", "")


def _squares(rows: Floats) -> Floats:
    found: Floats = np.einsum("ij,ij->i", rows, rows, dtype=np.float64)
    return found


def _blocks(
    before: tuple[Reader, Matrix], now: tuple[Reader, Matrix]
) -> Iterator[tuple[tuple[int, int], tuple[int, int] | None]]:
    """Neurons and synapses to compare at once, so that both matrices are read in long runs: whole rows, or if the
    neurons of one lie next to each other, some of both, and of both, whole columns."""
    rows, columns = before[1].rows, before[1].columns
    turned = [reader.is_transposed(matrix) for reader, matrix in (before, now)]
    can_be_cut = all(reader.is_in_order(matrix) and matrix.gain is None for reader, matrix in (before, now))
    if not any(turned) or not can_be_cut:
        for run in rows_in_pieces(rows, columns):
            yield run, None
        return
    height = max(1, rows if all(turned) else min(rows, _HEIGHT))
    width = max(1, _BLOCK // height)
    for start in range(0, rows, height):
        for low in range(0, columns, width):
            yield (start, min(start + height, rows)), (low, min(low + width, columns))


def _explained(
    before: tuple[Reader, Matrix], now: tuple[Reader, Matrix], changed: npt.NDArray[np.int64], tolerance: float
) -> tuple[Kind, str]:
    """What kind of change makes all changed neurons of one matrix those of the other."""
    (reader, first), (other, second) = before, now
    near = max(_NEAR, 4 * tolerance)
    was, _ = reader.projections(first)
    current, _ = other.projections(second)
    was, current = was[:, :PROJECTIONS].astype(np.float64), current[:, :PROJECTIONS].astype(np.float64)
    scale = float(np.sqrt(np.mean(np.square(was)))) or 1.0
    if first.rows == first.columns and _is_transposed(other, second, was, near):
        return "transposed", "transposed"
    if changed.size > 1 and _same_rows(was[changed], current[changed], near * scale):
        return "permuted", "neurons in another order"
    if np.abs(was[changed] + current[changed]).max(initial=0.0) <= near * scale * 4:
        return "flipped", "signs flipped"
    if first.columns > 1:
        return _row_by_row(before, now, changed[:MOST_SORTED], near)
    return _UNEXPLAINED


def _is_transposed(reader: Reader, matrix: Matrix, was: Floats, near: float) -> bool:
    turned = sketch_of(reader.projections(matrix, True)[0], False)
    sketch = sketch_of(was)
    return estimated(turned - sketch) <= near * max(estimated(sketch), 1e-30)


def _same_rows(was: Floats, current: Floats, near: float) -> bool:
    """Whether the same rows are there in another order."""
    one, other = (rows[np.argsort(rows[:, 0], kind="stable")] for rows in (was, current))
    return bool((np.abs(one - other) <= near).all())


def _row_by_row(
    before: tuple[Reader, Matrix], now: tuple[Reader, Matrix], changed: npt.NDArray[np.int64], near: float
) -> tuple[Kind, str]:
    (reader, first), (other, second) = before, now
    same, signs, scaled = True, True, True
    factors: list[float] = []
    for neuron in changed.tolist():
        a = reader.rows(first, neuron, neuron + 1)[0].astype(np.float64)
        b = other.rows(second, neuron, neuron + 1)[0].astype(np.float64)
        size = float(np.abs(a).max(initial=0.0))
        if not np.isfinite(size) or not np.isfinite(b).all() or not size:
            return _UNEXPLAINED
        same = same and bool((np.abs(np.sort(a) - np.sort(b)) <= near * size).all())
        signs = signs and bool((np.abs(np.abs(a) - np.abs(b)) <= near * size).all())
        factor = float(a @ b) / float(a @ a)
        scaled = scaled and bool((np.abs(factor * a - b) <= near * size).all())
        factors.append(factor)
        if not (same or signs or scaled):
            return _UNEXPLAINED
    if same:
        return "permuted", "synapses in another order"
    if signs:
        return "flipped", "signs flipped"
    low, high = min(factors), max(factors)
    return "scaled", f"multiplied by {low:.4g}" + (f" to {high:.4g}" if high - low > near else "")

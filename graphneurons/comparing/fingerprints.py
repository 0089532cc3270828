"""What is kept of a matrix, and how far two that were kept lie apart."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace

import numpy as np

from graphneurons.analysis import Analysis
from graphneurons.comparing.matrices import Matrix, Reader, layer_matrices, matrices_of
from graphneurons.comparing.sketches import SQUARE, TOTAL, Floats, Integers, estimated, sketch_of
from graphneurons.errors import DataError
from graphneurons.health.numbering import UnnumberedError

OF_LAYERS = frozenset({"weight", "table", "stored"})
"""Kinds of matrices that belong to a layer or a lookup."""

_DIGITS = 6
_ROUNDING = {"float16": 1e-3, "bfloat16": 8e-3}
_SAME, _COMPUTED = 1e-5, 3e-5


@dataclass(frozen=True, slots=True)
class Fingerprint:
    """``norm``: Frobenius norm of the ``rows`` neurons of ``columns`` synapses; ``total``: their sum; ``broken``: how
    many are NaN or infinite (these count as zero). ``sketch``: random projections, divided by the norm (see
    `graphneurons.comparing.sketches`); empty where the numbers are not known."""

    rows: int
    columns: int
    dtype: str
    norm: float
    total: float
    broken: int
    sketch: tuple[float, ...]

    @property
    def is_known(self) -> bool:
        return bool(self.sketch)

    @property
    def shape(self) -> tuple[int, int]:
        return self.rows, self.columns


@dataclass(frozen=True, slots=True)
class Item:
    """One matrix of a model, or of a lock (then there is no ``matrix``): see `Matrix` for the names. ``position``:
    among those of its holder."""

    holder: str
    kind: str
    position: int
    name: str
    of: str
    fingerprint: Fingerprint
    matrix: Matrix | None = field(default=None, compare=False, repr=False)
    recurrent: bool = False


def matrix_of(item: Item) -> Matrix:
    """The matrix an item of a model has; a lock has none."""
    if item.matrix is None:  # pragma: no cover - nobody reads those of a lock
        raise ValueError("a matrix of a lock cannot be read")
    return item.matrix


def items_of(analysis: Analysis) -> Iterator[Item]:
    """Every matrix of a model with its fingerprint: reads every weight once. Raises `DataError` where bytes are missing
    or cannot be read."""
    return _items(analysis, matrices_of(analysis), strict=True)


def layer_items(analysis: Analysis) -> Iterator[Item]:
    """Those of the layers alone. A weight whose bytes are missing or cannot be read is not known, which is no error."""
    return _items(analysis, layer_matrices(analysis), strict=False)


def _items(analysis: Analysis, matrices: Iterator[Matrix], *, strict: bool) -> Iterator[Item]:
    counts: dict[tuple[str, bool], int] = {}
    recurrent = {layer.id for layer in analysis.layers if layer.kind == "recurrent"}
    with Reader(analysis.graph) as reader:
        for matrix in matrices:
            mark = (matrix.holder, matrix.kind in OF_LAYERS)
            position = counts.get(mark, 0)
            counts[mark] = position + 1
            try:
                made = fingerprint(matrix, *reader.projections(matrix)) if matrix.has_numbers else unknown(matrix)
            except (UnnumberedError, DataError) as reason:
                if strict and isinstance(reason, DataError):
                    raise
                matrix = replace(matrix, pieces=(), reason=str(reason))
                made = unknown(matrix)
            yield Item(
                matrix.holder, matrix.kind, position, matrix.name, matrix.of, made, matrix, matrix.holder in recurrent
            )


def unknown(matrix: Matrix) -> Fingerprint:
    return Fingerprint(matrix.rows, matrix.columns, matrix.dtype, 0.0, 0.0, 0, ())


def fingerprint(matrix: Matrix, projections: Floats, broken: Integers) -> Fingerprint:
    """Of a matrix whose neurons have these projections."""
    norm = float(np.sqrt(projections[:, SQUARE].sum(dtype=np.float64)))
    total = float(projections[:, TOTAL].sum(dtype=np.float64))
    sketch = sketch_of(projections)
    told = tuple(round(float(each), _DIGITS) + 0.0 for each in (sketch / norm if norm else sketch))
    return Fingerprint(
        matrix.rows, matrix.columns, matrix.dtype, _short(norm), _short(total, norm), int(broken.sum()), told
    )


def _short(number: float, scale: float | None = None) -> float:
    """Seven digits of ``number``, or of ``scale`` if that is larger: a sum can be all rounding."""
    if scale:
        unit = 10.0 ** (np.floor(np.log10(scale)) - 6)
        return float(f"{round(number / unit) * unit:.10g}") + 0.0
    return float(f"{number:.7g}")


def distance(before: Fingerprint, now: Fingerprint) -> float:
    """About how far the matrices lie apart, relative to the norm of the first (of the second, if the first is zero).
    Infinite where their shapes differ or one is not known."""
    if before.shape != now.shape or not before.is_known or not now.is_known:
        return float("inf")
    scale = before.norm or now.norm
    if not scale:
        return 0.0
    return estimated(np.array(before.sketch) * before.norm - np.array(now.sketch) * now.norm) / scale


def tolerance(before: Fingerprint, now: Fingerprint) -> float:
    """Up to which relative distance two matrices are one, rounded: by computing, or by storing it in another type."""
    base = _COMPUTED if before.columns == 1 else _SAME
    if before.dtype == now.dtype:
        return base
    return max(base, _ROUNDING.get(before.dtype, 0.0), _ROUNDING.get(now.dtype, 0.0))


def is_same(before: Fingerprint, now: Fingerprint) -> bool:
    """Whether two matrices hold the same numbers, but for rounding, and as many that are not finite."""
    return before.broken == now.broken and distance(before, now) <= tolerance(before, now)


def is_zero(given: Fingerprint) -> bool:
    return given.is_known and given.norm == 0 and given.broken == 0

"""The weights of a model as matrices of neurons x synapses in one canonical order, however they are stored.

Neurons and synapses come in the order of their factors (the labels say which axis is which, so a transposed tensor is
the same matrix; kernel taps are innermost). A recurrent weight is one matrix per direction, its gates in PyTorch's
order. A batch normalisation that alone reads a layer counts as folded into its weights and bias. Biases, gains and
other modulators are matrices of one synapse, without copies along a batch; lookups are tables of rows.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from math import prod

import numpy as np
import numpy.typing as npt

from graphneurons.analysis import Analysis, Axis, Factor, Layer, Lookup, WeightUse
from graphneurons.comparing.folding import Folded, folded, gain_of
from graphneurons.comparing.sketches import (
    Floats,
    Integers,
    array_projections,
    is_in_order,
    projected,
    read_rows,
)
from graphneurons.errors import DataError
from graphneurons.graph import InMemory, ModelGraph, Op, WeightRef
from graphneurons.health.decoding import Numbers, is_readable
from graphneurons.health.fetching import Files
from graphneurons.health.numbering import UnnumberedError, digits_of
from graphneurons.health.weights import Weight, check_present, is_dense, prepared, unpacked
from graphneurons.load.reading import read

MOST_DENSE = 1 << 20
"""Elements up to which what is not stored element by element is written out."""

_GATES: dict[str, tuple[int, ...]] = {
    "LSTM": (0, 2, 3, 1), "DynamicQuantizeLSTM": (0, 2, 3, 1), "GRU": (1, 0, 2),
}  # fmt: skip
"""ONNX's gates (i o f c; z r h) in the order PyTorch stores them (i f g o; r z n)."""


@dataclass(frozen=True, slots=True)
class Piece:
    """Neurons ``[start, stop)`` of one weight use, as it is stored; ``column`` of a matrix that came from several."""

    use: WeightUse
    op: Op
    groups: int
    table: bool
    start: int
    stop: int


@dataclass(frozen=True, slots=True, eq=False)
class Matrix:
    """``pieces`` below one another; ``scale`` per neuron, what is to be multiplied with; ``values`` in place of pieces
    where they are computed (a bias with a normalisation folded into it); ``gain`` per neuron of a weight normalisation.

    ``holder``: id of the layer, lookup or modulator; ``kind``: ``weight``, ``table``, the kind of the modulator, or
    ``unlabelled``; ``of``: whose neurons a modulator is aligned with. ``reordered``: the stored gates have another
    order. ``name``: of the stored tensor. ``reason``: why its numbers are not known (then there are no pieces).
    """

    holder: str
    kind: str
    rows: int
    columns: int
    dtype: str
    name: str
    pieces: tuple[Piece, ...] = ()
    scale: npt.NDArray[np.float64] | None = None
    values: npt.NDArray[np.float64] | None = None
    of: str = ""
    reordered: bool = False
    reason: str = ""
    gain: npt.NDArray[np.float64] | None = None

    @property
    def has_numbers(self) -> bool:
        return bool(self.pieces) or self.values is not None


def matrices_of(analysis: Analysis) -> Iterator[Matrix]:
    """Every matrix of a model: those of its layers, lookups, modulators and unlabelled weights, in this order.

    Reads nothing but the numbers of normalisations. Raises `DataError` where bytes are missing.
    """
    ops = {op.name: op for op in analysis.graph.ops}
    normalised = folded(analysis)
    told = {each for fold in normalised.values() for each in fold.modulators}
    gains = {gain[1] for layer in analysis.layers for use in layer.weights if (gain := gain_of(use, analysis.graph))}
    for layer in analysis.layers:
        for use in layer.weights:
            check_present(use)
        yield from _of_layer(layer, ops[layer.op.name], analysis, normalised.get(layer.id))
    for lookup in analysis.lookups:
        for position, use in enumerate(lookup.weights):
            check_present(use)
            yield from _of_use(lookup, position, use, ops[lookup.op.name], analysis, None)
    for name, fold in normalised.items():
        bias = fold.bias[:, None]
        yield Matrix(name, "bias", len(bias), 1, fold.dtype, fold.name, values=bias, of=name)
    for modulator in analysis.modulators:
        for position, use in enumerate(modulator.weights):
            if (modulator.id, position) not in told and use.weight.name not in gains:
                yield from _vectors(modulator.id, modulator.kind, modulator.of or "", use, ops[modulator.op.name])
    yield from _unlabelled(analysis, ops)


def layer_matrices(analysis: Analysis) -> Iterator[Matrix]:
    """Those of the layers alone, as `matrices_of` has them, whether their bytes are there or not."""
    ops = {op.name: op for op in analysis.graph.ops}
    normalised = folded(analysis)
    for layer in analysis.layers:
        yield from _of_layer(layer, ops[layer.op.name], analysis, normalised.get(layer.id))


def _of_layer(layer: Layer, op: Op, analysis: Analysis, fold: Folded | None) -> Iterator[Matrix]:
    for position, use in _in_order(layer.weights):
        yield from _of_use(layer, position, use, op, analysis, fold)


def _in_order(uses: Sequence[WeightUse]) -> list[tuple[int, WeightUse]]:
    """Weights with their places, parts of one stored tensor in the order in which they lie there: gates are put
    together in several orders."""
    slots: dict[str, list[int]] = {}
    for at, use in enumerate(uses):
        slots.setdefault(use.weight.name, []).append(at)
    order = {
        slot: at
        for places in slots.values()
        for slot, at in zip(places, sorted(places, key=lambda each: uses[each].part or ()), strict=True)
    }
    return [(order[slot], uses[order[slot]]) for slot in range(len(uses))]


def _of_use(
    holder: Layer | Lookup, position: int, use: WeightUse, op: Op, analysis: Analysis, fold: Folded | None
) -> Iterator[Matrix]:
    table = isinstance(holder, Lookup)
    groups = 1 if table else _groups(analysis, holder.id, position)
    name, dtype = use.weight.name, use.weight.dtype
    kind = "table" if table else "weight"
    holder_id = f"lookup:{holder.id}" if table else holder.id
    try:
        digits = digits_of(use, groups, table=table) if use.elements is None else None
    except UnnumberedError as reason:
        yield from _raw(holder_id, kind, use, op, str(reason))
        return
    if digits is None:
        yield from _raw(holder_id, kind, use, op, "packed")
        return
    rows = prod(digit.size for digit in digits if digit.kind in ("neuron", "group"))
    columns = prod(digit.size for digit in digits if digit.kind in ("channel", "tap"))
    blocks, directions, reordered = _blocks(use, op, rows)
    for direction in range(directions):
        height = rows // directions
        pieces = tuple(
            Piece(use, op, groups, table, direction * height + start, direction * height + stop)
            for start, stop in blocks
        )
        scale = fold.scale if fold is not None and directions == 1 and fold.scale.size == rows else None
        gain = None if table else gain_of(use, analysis.graph)
        yield Matrix(
            holder_id, kind, height, columns, dtype, name, pieces, scale, reordered=reordered,
            gain=gain[0] if gain is not None and len(gain[0]) == height else None,
        )  # fmt: skip


def _groups(analysis: Analysis, layer: str, position: int) -> int:
    for synapses in analysis.wiring.synapses.get(layer, ()):
        if synapses.weight == position:
            return synapses.groups
    return 1


def _blocks(use: WeightUse, op: Op, rows: int) -> tuple[list[tuple[int, int]], int, bool]:
    """Runs of stored neurons of one direction in canonical order, how many directions there are, and whether the order
    is not the stored one."""
    factors = {factor.name: factor.size for axis in use.axes for factor in axis.factors if factor.role != "synapse"}
    directions = factors.get("d", 1) if op.type in _RECURRENT else 1
    gates = factors.get("gate", 1)
    height = rows // directions if directions and rows % directions == 0 else rows
    directions = rows // height if height else 1
    order = _GATES.get(op.type)
    if order is None or gates != len(order) or height % gates:
        return [(0, height)], directions, False
    step = height // gates
    return [(gate * step, (gate + 1) * step) for gate in order], directions, True


_RECURRENT = frozenset({"LSTM", "GRU", "RNN", "DynamicQuantizeLSTM", "lstm", "gru", "rnn_tanh", "rnn_relu"})


def _vectors(holder: str, kind: str, of: str, use: WeightUse, op: Op) -> Iterator[Matrix]:
    """A modulator as one column, or one per direction and part of a recurrent bias, its gates in canonical order."""
    check_present(use)
    if not is_readable(use.weight.dtype):
        return
    once = _once(use)
    if once is not None:
        yield Matrix(holder, kind, once.size, 1, use.weight.dtype, use.weight.name, values=once[:, None], of=of)
        return
    flat = _flat(use)
    total = prod(axis.size for axis in flat.axes)
    factors = {factor.name: factor.size for axis in use.axes for factor in axis.factors}
    parts, reordered = [(0, total)], False
    blocks = [[(0, total)]]
    if op.type in _RECURRENT and factors.get("d", 1) * factors.get("b", 1) and "h" in factors:
        count = factors.get("d", 1) * factors.get("b", 1)
        if total % count == 0:
            height, gates, order = total // count, factors.get("gate", 1), _GATES.get(op.type)
            step = height // gates
            inner = [(0, height)]
            if order is not None and gates == len(order) and height % gates == 0:
                inner, reordered = [(gate * step, (gate + 1) * step) for gate in order], True
            blocks = [[(at * height + start, at * height + stop) for start, stop in inner] for at in range(count)]
            parts = [(at * height, (at + 1) * height) for at in range(count)]
    for (start, stop), runs in zip(parts, blocks, strict=True):
        pieces = tuple(Piece(flat, op, 1, False, *run) for run in runs)
        yield Matrix(
            holder, kind, stop - start, 1, use.weight.dtype, use.weight.name, pieces, of=of, reordered=reordered
        )


def _once(use: WeightUse) -> npt.NDArray[np.float64] | None:
    """The numbers of a modulator without the axes along which it only repeats itself, as exporters expand it along a
    batch; None where it does not."""
    ref = use.weight
    if sum(size > 1 for size in ref.shape) < 2 or ref.elements > MOST_DENSE or use.part is not None:
        return None
    found = read(ref).astype(np.float64)
    for axis, size in enumerate(ref.shape):
        if size > 1 and found.size > found.shape[axis]:
            first = np.take(found, [0], axis)
            found = first if np.array_equal(np.broadcast_to(first, found.shape), found, equal_nan=True) else found
    return found.reshape(-1) if found.size < ref.elements else None


def _raw(holder: str, kind: str, use: WeightUse, op: Op, reason: str) -> Iterator[Matrix]:
    """A weight whose numbers are not known, by what is stored."""
    ref = use.weight
    if not is_readable(ref.dtype):
        yield Matrix(holder, kind, ref.elements, 1, ref.dtype, ref.name, reason=reason)
        return
    flat = _flat(use)
    total = prod(axis.size for axis in flat.axes)
    yield Matrix(holder, "stored", total, 1, ref.dtype, ref.name, (Piece(flat, op, 1, False, 0, total),), reason=reason)


def _unlabelled(analysis: Analysis, ops: dict[str, Op]) -> Iterator[Matrix]:
    seen: set[str] = set()
    for each in analysis.unlabelled:
        ref = analysis.graph.weights.get(each.name)
        if ref is None or each.name in seen:
            continue
        seen.add(each.name)
        use = WeightUse(ref, -1, ())
        check_present(use)
        if not is_readable(ref.dtype):
            yield Matrix(each.name, "unlabelled", ref.elements, 1, ref.dtype, ref.name, reason="no real numbers")
            continue
        flat = _flat(use)
        op = ops.get(each.op.name) or Op(each.op.name, each.op.type, each.op.domain, (), ())
        yield Matrix(
            each.name, "unlabelled", ref.elements, 1, ref.dtype, ref.name,
            (Piece(flat, op, 1, False, 0, ref.elements),),
        )  # fmt: skip


def _flat(use: WeightUse) -> WeightUse:
    """``use`` with every element a neuron of its own, in stored order."""
    bounds = use.part or tuple((0, size) for size in use.weight.shape)
    axes = tuple(
        Axis(stop - start, "shared", (Factor(f"d{at}", stop - start, "shared"),))
        for at, (start, stop) in enumerate(bounds)
    )
    return replace(use, axes=axes, input=-1, elements=None)


class Reader:
    """Reads matrices of one model. Keeps the projections of what was read last, as a layer has several matrices in one
    stored tensor. Use as a context manager."""

    def __init__(self, graph: ModelGraph) -> None:
        self._graph = graph
        self._files = Files()
        self._weights: dict[object, Weight] = {}
        self._last: tuple[object, Floats, Integers] | None = None

    def __enter__(self) -> Reader:
        self._files.__enter__()
        return self

    def __exit__(self, *error: object) -> None:
        self._files.__exit__(*error)

    def projections(self, matrix: Matrix, second: bool = False) -> tuple[Floats, Integers]:
        """Projections, total and square per neuron (see `sketches.projected`), and its weights that are not finite.

        Raises `DataError` where bytes cannot be read and `UnnumberedError` where numbers are not known.
        """
        if matrix.values is not None:
            made, broken = array_projections(matrix.values, second)
        else:
            parts = [self._projected(piece, second) for piece in matrix.pieces]
            made = np.concatenate([part[0] for part in parts]) if parts else np.zeros((0, 18))
            broken = np.concatenate([part[1] for part in parts]) if parts else np.zeros(0, np.int64)
        scale = _scale(matrix, made[:, -1])
        if scale is not None:
            made = made * scale[:, None]
            made[:, -1] *= scale
        return made, broken

    def rows(self, matrix: Matrix, start: int, stop: int, columns: tuple[int, int] | None = None) -> Numbers:
        """Neurons ``[start, stop)`` in canonical order, or only their synapses ``columns``: whole ones where the matrix
        has a ``gain``."""
        if matrix.values is not None:
            return matrix.values[start:stop]
        found, at = [], 0
        for piece in matrix.pieces:
            size = piece.stop - piece.start
            low, high = max(start - at, 0), min(stop - at, size)
            if low < high:
                found.append(read_rows(self.weight(piece), piece.start + low, piece.start + high, columns))
            at += size
        made = found[0] if len(found) == 1 else np.concatenate(found)
        if matrix.scale is None and matrix.gain is None:
            return made
        square = np.einsum("ij,ij->i", made, made, dtype=np.float64)
        scale = _scale(matrix, square, start, stop)
        return made if scale is None else made * scale[:, None]

    def is_transposed(self, matrix: Matrix) -> bool:
        """Whether the neurons of a matrix lie next to each other, so that it is read best by many of them."""
        return any(not self.weight(piece).numbering.upper_neurons for piece in matrix.pieces)

    def is_in_order(self, matrix: Matrix) -> bool:
        """Whether single synapses of neurons can be read without the others."""
        return all(is_in_order(self.weight(piece)) for piece in matrix.pieces)

    def weight(self, piece: Piece) -> Weight:
        key = _key(piece)
        if key not in self._weights:
            self._weights[key] = self._prepared(piece)
        return self._weights[key]

    def _projected(self, piece: Piece, second: bool) -> tuple[Floats, Integers]:
        key = (_key(piece), second)
        if self._last is None or self._last[0] != key:
            self._last = (key, *projected(self.weight(piece), second))
        return self._last[1][piece.start : piece.stop], self._last[2][piece.start : piece.stop]

    def _prepared(self, piece: Piece) -> Weight:
        use = piece.use
        if not is_dense(use):
            use = replace(use, weight=_dense(use.weight))
        if use.input < 0:
            return unpacked(use, piece.op, self._graph, digits_of(use, 1), 0, self._files)
        return prepared(use, piece.op, self._graph, piece.groups, 0, self._files, table=piece.table)


def _scale(
    matrix: Matrix, squares: Floats, start: int = 0, stop: int | None = None
) -> npt.NDArray[np.float64] | None:
    """What neurons ``[start, stop)``, which have these squares of their norms, are to be multiplied with."""
    scale = None if matrix.scale is None else matrix.scale[start:stop]
    if matrix.gain is None:
        return scale
    with np.errstate(all="ignore"):
        normed = matrix.gain[start:stop] / np.sqrt(squares.astype(np.float64))
    normed = np.where(np.isfinite(normed), normed, 0.0)
    return normed if scale is None else normed * scale


def _key(piece: Piece) -> object:
    use = piece.use
    op = "" if use.weight.dtype in ("float16", "bfloat16", "float32", "float64") else piece.op.name
    return (use.weight.name, use.part, use.axes, use.input < 0, piece.groups, piece.table, op)


def _dense(ref: WeightRef) -> WeightRef:
    if ref.elements > MOST_DENSE:
        raise UnnumberedError("it is not stored element by element, and too large to be written out")
    try:
        array = np.ascontiguousarray(read(ref))
    except DataError as error:
        raise UnnumberedError(error.message) from None
    return replace(ref, storage=InMemory(lambda: array))

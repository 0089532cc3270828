"""Elements picked from a split at a position the file knows are slices: exporters write packed projections so.

``SequenceAt(SplitToSequence(x, sizes), position)`` with constant sizes and position is ``x[..., start:stop, ...]``.
Read as that slice it can be followed though the pieces differ in size, which a sequence of equal elements cannot hold.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

from graphneurons.errors import DataError
from graphneurons.graph import Op, WeightRef

_MOST = 1 << 12


def with_slices(ops: Iterable[Op], weights: Mapping[str, WeightRef]) -> list[Op]:
    """``ops``, those that pick a known piece of a split written as the slice they are."""
    splits: dict[str, Op] = {}
    written = []
    for op in ops:
        if op.type == "SplitToSequence" and not op.domain and len(op.inputs) == 2:
            splits[op.output] = op
        split = splits.get(op.inputs[0]) if op.type == "SequenceAt" and not op.domain and len(op.inputs) == 2 else None
        written.append(op if split is None else _sliced(op, split, weights))
    return written


def _sliced(op: Op, split: Op, weights: Mapping[str, WeightRef]) -> Op:
    sizes, position = _integers(weights.get(split.inputs[1])), _integers(weights.get(op.inputs[1]))
    axis = split.attributes.get("axis", 0)
    if sizes is None or position is None or len(position) != 1 or len(set(sizes)) < 2 or not isinstance(axis, int):
        return op
    at = position[0] + len(sizes) if position[0] < 0 else position[0]
    if not 0 <= at < len(sizes) or min(sizes) < 0:
        return op
    start = sum(sizes[:at])
    attributes = {"starts": (start,), "ends": (start + sizes[at],), "axes": (axis,)}
    return replace(op, type="Slice", inputs=(split.inputs[0],), attributes=attributes)


def _integers(ref: WeightRef | None) -> tuple[int, ...] | None:
    if ref is None or ref.dtype not in ("int64", "int32") or ref.elements > _MOST:
        return None
    from graphneurons.load.reading import read

    try:
        return tuple(int(number) for number in read(ref, limit=_MOST).reshape(-1).tolist())
    except DataError:
        return None

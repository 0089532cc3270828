"""Checks the coordinates of sparse tensors without ever making one dense."""

from __future__ import annotations

from math import prod
from typing import TYPE_CHECKING

from graphneurons.errors import DataError
from graphneurons.graph import External, Inline, WeightRef

if TYPE_CHECKING:
    from graphneurons.load.tensors import Tensors

_MOST_BYTES = 16 << 20


def check_indices(tensors: Tensors, indices: WeightRef, shape: tuple[int, ...], where: str, left: int) -> int:
    """Refuse coordinates outside ``shape``; returns how many of ``left`` bytes may still be read for such checks.

    Longer lists than 16 MiB stay unread: analysis needs only the shape.
    """
    import numpy

    from graphneurons.load.reading import decoded, read, strides

    size = indices.elements * 8
    if not size or size > min(_MOST_BYTES, left):
        return left
    if isinstance(indices.storage, External) and not indices.storage.present:
        return left
    try:
        if isinstance(indices.storage, (Inline, External)):
            found = read(indices)
        else:
            start = indices.storage.offset  # type: ignore[union-attr]
            stored = tensors.buffer[start : start + indices.storage.length]  # type: ignore[union-attr]
            found = decoded(stored, indices, indices.storage.encoding)  # type: ignore[union-attr]
    except DataError as error:
        tensors.refuse(where, error.message)
    limits = numpy.array(shape if found.ndim == 2 else [prod(shape)], dtype=numpy.int64)
    table = found if found.ndim == 2 else found[:, None]
    if bool(((table < 0) | (table >= limits)).any()):
        tensors.refuse(where, f"sparse indices lie outside shape {list(shape)}")
    flat = found if found.ndim == 1 else found @ strides(shape)
    if bool((flat[1:] <= flat[:-1]).any()):
        tensors.refuse(where, "sparse indices are not in ascending order, or one comes twice")
    return left - size

"""Small integer tensors that compute shapes, computed ahead of time: plain numpy, within a fixed budget.

Nothing here is large: a result over `LARGEST_VALUE` elements is not computed, so no constant in a hostile file can make
the analysis slow.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from graphneurons.axes.layouts import LAYOUTS, PAYLOADS
from graphneurons.axes.planes import Plane, TooLargeError
from graphneurons.axes.rules.site import NoRule, Site
from graphneurons.axes.values import LARGEST_VALUE, Array
from graphneurons.errors import GraphNeuronsError
from graphneurons.graph import WeightRef

LARGEST_FILLED = 1 << 14
"""Elements a ConstantOfShape may have to be folded: larger ones are weights, not shapes."""

_KINDS = {1: np.float32, 2: np.uint8, 3: np.int8, 4: np.uint16, 5: np.int16, 6: np.int32, 7: np.int64, 9: np.bool_}
_KINDS |= {10: np.float16, 11: np.float64, 12: np.uint32, 13: np.uint64}


def fold(site: Site, arrays: Sequence[Array | None]) -> tuple[Array, ...] | None:
    """The outputs of ``site.op`` for known ``arrays``, or None if it is no op that shapes are computed with."""
    folds = _BY_DOMAIN.get(site.op.domain)
    if folds is None or not arrays or arrays[0] is None:
        return None
    compute = folds.get(site.op.type)
    if any(array is not None and array.dtype.kind not in "iubf" for array in arrays):
        return None
    with np.errstate(all="ignore"):
        try:
            if compute is not None:
                present = [array for array in arrays if array is not None]
                if len(present) != len(arrays) or _elements(present) > LARGEST_VALUE:
                    return None
                results = [np.asarray(compute(site, *present))]
            elif site.op.type in LAYOUTS:
                results = _moved(site, arrays)
            else:
                return None
        except (NoRule, TooLargeError):
            return None
        except (ValueError, IndexError, KeyError, TypeError, OverflowError, ZeroDivisionError, MemoryError):
            return None
    return tuple(results) if all(result.size <= LARGEST_VALUE for result in results) else None


def _elements(arrays: Sequence[Array]) -> int:
    try:
        return int(np.prod(np.broadcast_shapes(*(array.shape for array in arrays)), dtype=object))
    except ValueError:
        return max(array.size for array in arrays)


def _moved(site: Site, arrays: Sequence[Array | None]) -> list[Array]:
    """A layout op on numbers: run it on positions, then look the numbers up."""
    bases: list[Array] = []
    riders: list[Plane | None] = []
    start = 0
    payload = PAYLOADS.get(site.op.type, (0,))
    if payload not in (None, (0,)):
        return []
    for array in arrays if payload is None else arrays[:1]:
        if array is None:
            return []
        numbers = np.arange(start, start + array.size, dtype=np.int64).reshape(array.shape)
        riders.append(Plane(array.shape, numbers))
        bases.append(array.reshape(-1))
        start += array.size
    if site.op.type in ("Pad", "pad", "constant_pad_nd") and (site.has(2) or site.op.attributes.get("value")):
        return []
    flat = np.concatenate([np.zeros(1, dtype=bases[0].dtype), *bases])
    return [flat[plane.full() + 1] for plane in LAYOUTS[site.op.type](site, riders, -1)]


def _cast(site: Site, x: Array) -> Array:
    return x.astype(_KINDS[site.number("to", 7)])


def _range(site: Site, start: Array, limit: Array, delta: Array) -> Array:
    step = delta.reshape(-1)[0]
    if not step or (limit.reshape(-1)[0] - start.reshape(-1)[0]) / step > LARGEST_VALUE:
        raise ValueError("out of budget")
    return np.arange(start.reshape(-1)[0], limit.reshape(-1)[0], step, dtype=start.dtype)


def _filled(site: Site, shape: Array) -> Array:
    if shape.dtype.kind not in "iu":
        raise ValueError("a shape is made of integers")
    sizes = [int(size) for size in shape.reshape(-1)]
    total = 1
    for size in sizes:
        total *= size
    if not 0 <= total <= LARGEST_FILLED or min(sizes, default=0) < 0:
        raise ValueError("out of budget")
    value = site.op.attributes.get("value")
    if isinstance(value, WeightRef):
        if value.elements != 1:
            raise ValueError("a tensor is filled with one value")
        from graphneurons.load.reading import read

        try:
            return np.full(sizes, read(value, limit=16).reshape(-1)[0])
        except GraphNeuronsError as error:
            raise ValueError(str(error)) from error
    return np.zeros(sizes, dtype=np.float32)


def _divide(site: Site, a: Array, b: Array) -> Array:
    if np.issubdtype(a.dtype, np.integer):
        return (np.abs(a) // np.abs(b) * np.sign(a) * np.sign(b)).astype(a.dtype)
    return np.asarray(a / b)


def _reduced(compute: Callable[..., Any]) -> Callable[..., Array]:
    def reduce(site: Site, x: Array, axes: Array | None = None) -> Array:
        given = site.numbers("axes") if axes is None else tuple(int(axis) for axis in axes.reshape(-1))
        keep = bool(site.number("keepdims", 1))
        if not given and site.number("noop_with_empty_axes", 0):
            return x
        return np.asarray(compute(x, axis=given or None, keepdims=keep))

    return reduce


def _pairwise(compute: Callable[[Array, Array], Any]) -> Callable[..., Array]:
    def fold_all(site: Site, first: Array, *others: Array) -> Array:
        for other in others:
            first = np.asarray(compute(first, other))
        return first

    return fold_all


def _mod(site: Site, a: Array, b: Array) -> Array:
    return np.asarray(np.fmod(a, b) if site.number("fmod", 0) else np.mod(a, b))


def _cumulated(site: Site, x: Array, axis: Array) -> Array:
    at = int(axis.reshape(-1)[0])
    if site.number("exclusive", 0) or site.number("reverse", 0):
        raise ValueError("not folded")
    return np.cumsum(x, axis=at, dtype=x.dtype)


def _triangle(site: Site, x: Array, k: Array | None = None) -> Array:
    diagonal = 0 if k is None else int(k.reshape(-1)[0])
    return np.triu(x, diagonal) if site.number("upper", 1) else np.tril(x, diagonal)


_FOLDS: Mapping[str, Callable[..., Any]] = {
    "Cast": _cast,
    "Identity": lambda site, x: x,
    "ConstantOfShape": _filled,
    "Range": _range,
    "Add": lambda site, a, b: a + b,
    "Sub": lambda site, a, b: a - b,
    "Mul": lambda site, a, b: a * b,
    "Div": _divide,
    "Mod": _mod,
    "Neg": lambda site, x: -x,
    "Abs": lambda site, x: np.abs(x),
    "Sqrt": lambda site, x: np.sqrt(x),
    "Log": lambda site, x: np.log(x),
    "Exp": lambda site, x: np.exp(x),
    "Pow": lambda site, a, b: np.power(a, b),
    "Sign": lambda site, x: np.sign(x),
    "Reciprocal": lambda site, x: 1 / x,
    "Floor": lambda site, x: np.floor(x),
    "Ceil": lambda site, x: np.ceil(x),
    "Round": lambda site, x: np.round(x),
    "Min": _pairwise(np.minimum),
    "Max": _pairwise(np.maximum),
    "Equal": lambda site, a, b: a == b,
    "Less": lambda site, a, b: a < b,
    "LessOrEqual": lambda site, a, b: a <= b,
    "Greater": lambda site, a, b: a > b,
    "GreaterOrEqual": lambda site, a, b: a >= b,
    "And": lambda site, a, b: a & b,
    "Or": lambda site, a, b: a | b,
    "Not": lambda site, x: ~x,
    "Where": lambda site, c, a, b: np.where(c, a, b),
    "ReduceProd": _reduced(np.prod),
    "ReduceSum": _reduced(np.sum),
    "ReduceMax": _reduced(np.max),
    "ReduceMin": _reduced(np.min),
    "CumSum": _cumulated,
    "NonZero": lambda site, x: np.array(np.nonzero(x), dtype=np.int64),
    "Trilu": _triangle,
}
"""Op type -> what it computes of known arrays."""


def _same(site: Site, x: Array, *others: Array | None) -> Array:
    return x


_ATEN: Mapping[str, Callable[..., Any]] = dict.fromkeys(
    ("_to_copy", "alias", "clone", "contiguous", "detach", "lift_fresh_copy", "to"), _same
)
"""Shapes of traced graphs are known; only stored indices are followed from op to op."""

_BY_DOMAIN: Mapping[str, Mapping[str, Callable[..., Any]]] = {"": _FOLDS, "aten": _ATEN}

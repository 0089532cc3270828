"""Interval arithmetic over a graph: between which numbers every value lies, where that can be proved."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from math import sqrt
from typing import Any

import numpy as np
import numpy.typing as npt

from graphneurons.analysis import Analysis, Layer
from graphneurons.graph import Op
from graphneurons.health.decoding import is_readable
from graphneurons.load.reading import read

Bounds = npt.NDArray[np.float64]

MOST_READ = 1 << 25
_AT_ONCE = 1 << 20
_MARGIN = 1e-5
"""Share of the sum of magnitudes by which bounds are widened: runtimes add in float32, in their own order."""

_DTYPES = {"uint8": (0.0, 255.0), "int8": (-128.0, 127.0), "bool": (0.0, 1.0)}


@dataclass(frozen=True, slots=True, eq=False)
class Range:
    """``low`` and ``high``: one entry for all of the value, or one per neuron of ``layer`` along ``axis``."""

    low: Bounds
    high: Bounds
    axis: int | None = None
    layer: str | None = None

    @property
    def flat(self) -> Range:
        """The same for the whole value, whatever its axes."""
        return Range(self.low.min(keepdims=True).reshape(-1)[:1], self.high.max(keepdims=True).reshape(-1)[:1])


def between(low: float, high: float) -> Range:
    return Range(np.array([low], np.float64), np.array([high], np.float64))


def ranges(analysis: Analysis, declared: Mapping[str, tuple[float, float]]) -> Mapping[str, Range]:
    """Value name -> its range, for the values of which one is known. ``declared``: ranges of inputs."""
    return _Walk(analysis, declared).known


class _Walk:
    def __init__(self, analysis: Analysis, declared: Mapping[str, tuple[float, float]]) -> None:
        self.analysis = analysis
        self.layers: dict[str, list[Layer]] = {}
        for layer in analysis.layers:
            self.layers.setdefault(layer.op.name, []).append(layer)
        self.known: dict[str, Range] = {}
        for value in analysis.graph.inputs:
            bounds = declared.get(value.name, _DTYPES.get(value.dtype))
            if bounds is not None:
                self.known[value.name] = between(*bounds)
        for op in analysis.graph.ops:
            rule = _RULES.get(op.type) if op.domain in ("", "ai.onnx") else None
            found = rule(self, op) if rule is not None and op.inputs else None
            if found is not None and np.isfinite(found.low).all() and np.isfinite(found.high).all():
                self.known[op.output] = found

    def constant(self, op: Op, operand: int) -> npt.NDArray[np.float64] | None:
        """The stored numbers of an operand, if that is what it is."""
        found = self.stored(op, operand)
        return None if found is None else found.astype(np.float64)

    def stored(self, op: Op, operand: int) -> npt.NDArray[Any] | None:
        """The same in their own type."""
        ref = self.analysis.graph.weights.get(op.inputs[operand]) if operand < len(op.inputs) else None
        if ref is None or ref.elements > MOST_READ or not is_readable(ref.dtype) or ref.is_integer:
            return None
        return read(ref)

    def input(self, op: Op, operand: int = 0) -> Range | None:
        return self.known.get(op.inputs[operand]) if operand < len(op.inputs) else None

    def has(self, op: Op, operand: int) -> bool:
        return operand < len(op.inputs) and bool(op.inputs[operand])


def _linear(walk: _Walk, op: Op) -> Range | None:
    """Bias + positive weights times the largest + negative weights times the smallest input."""
    found, made = walk.input(op), walk.layers.get(op.name, [])
    weights = walk.stored(op, 1)
    if found is None or weights is None or len(made) != 1 or len(made[0].weights) != 1:
        return None
    use = made[0].weights[0]
    roles = [{factor.role for factor in axis.factors} for axis in use.axes]
    if use.part is not None or use.weight.name != walk.analysis.graph.weights[op.inputs[1]].name:
        return None
    if len(roles) != weights.ndim or any("mixed" in r or ("synapse" in r and len(r) > 1) for r in roles):
        return None
    order = sorted(range(weights.ndim), key=lambda at: ("synapse" in roles[at], at))
    rows = weights.transpose(order).reshape(made[0].neurons, -1)
    whole = found.flat
    padded = op.type != "MatMul" and op.type != "Gemm"
    low, high = float(whole.low[0]), float(whole.high[0])
    if padded:
        low, high = min(low, 0.0), max(high, 0.0)
    factor = float(op.attributes.get("alpha", 1.0)) if op.type == "Gemm" else 1.0  # type: ignore[arg-type]
    up, down = _sums(rows, factor)
    bias = np.zeros(rows.shape[0])
    if walk.has(op, 2):
        given = walk.constant(op, 2)
        if given is None or given.size not in (1, bias.size):
            return None
        scale = float(op.attributes.get("beta", 1.0)) if op.type == "Gemm" else 1.0  # type: ignore[arg-type]
        bias = bias + given.reshape(-1) * scale
    slack = _MARGIN * ((up - down) * max(abs(low), abs(high)) + np.abs(bias))
    axis = 1 if padded else -1
    lowest, highest = up * low + down * high + bias - slack, up * high + down * low + bias + slack
    return Range(lowest, highest, axis, made[0].id)


def _sums(rows: npt.NDArray[Any], factor: float) -> tuple[Bounds, Bounds]:
    """The sums of the positive and of the negative entries of every row, a few rows at a time."""
    up, down = np.zeros(rows.shape[0]), np.zeros(rows.shape[0])
    step = max(1, _AT_ONCE // max(1, rows.shape[1]))
    for start in range(0, rows.shape[0], step):
        block = rows[start : start + step].astype(np.float64) * factor
        up[start : start + step] = block.clip(0, None).sum(axis=1)
        down[start : start + step] = block.clip(None, 0).sum(axis=1)
    return up, down


def _aligned(constant: npt.NDArray[np.float64], found: Range) -> Bounds | None:
    """A constant as one entry per neuron of the range, or as a single one."""
    if constant.size == 1:
        return constant.reshape(-1)
    if found.axis is None or constant.size != found.low.size:
        return None
    if found.axis == -1:
        return constant.reshape(-1) if constant.shape[-1] == constant.size else None
    behind = constant.ndim - 1 - int(np.argmax(constant.shape))
    # Channels stand before the two, one or three axes of space; only those of an image are told here.
    return constant.reshape(-1) if max(constant.shape) == constant.size and behind == 2 else None


def _arithmetic(walk: _Walk, op: Op) -> Range | None:
    if len(op.inputs) != 2:
        return None
    one, two = walk.input(op, 0), walk.input(op, 1)
    if one is not None and two is not None:
        return _pairwise(op.type, one.flat, two.flat)
    found, at = (one, 1) if one is not None else (two, 0)
    constant = walk.constant(op, at)
    if found is None or constant is None:
        return None
    aligned = _aligned(constant, found)
    if aligned is None:
        found, low, high = found.flat, constant.min().reshape(1), constant.max().reshape(1)
    else:
        low = high = aligned
    other = Range(low, high)
    made = _pairwise(op.type, found, other) if at == 1 else _pairwise(op.type, other, found)
    return None if made is None else replace(made, axis=found.axis, layer=found.layer)


def _pairwise(kind: str, one: Range, two: Range) -> Range | None:
    if kind == "Div":
        if not ((two.low > 0) | (two.high < 0)).all():
            return None
        two, kind = Range(1 / two.high, 1 / two.low), "Mul"
    if kind == "Add":
        return Range(one.low + two.low, one.high + two.high)
    if kind == "Sub":
        return Range(one.low - two.high, one.high - two.low)
    corners = [one.low * two.low, one.low * two.high, one.high * two.low, one.high * two.high]
    return Range(np.minimum.reduce(corners), np.maximum.reduce(corners))


def _batch_norm(walk: _Walk, op: Op) -> Range | None:
    found = walk.input(op)
    given = [walk.constant(op, at) for at in range(1, 5)]
    if found is None or op.attributes.get("training_mode", 0) or any(each is None for each in given):
        return None
    gain, shift, mean, variance = (each.reshape(-1) for each in given if each is not None)
    if found.axis not in (None, 1) or len({gain.size, shift.size, mean.size, variance.size}) != 1:
        return None
    factor = gain / np.sqrt(variance + float(op.attributes.get("epsilon", 1e-5)))  # type: ignore[arg-type]
    made = _pairwise("Mul", Range(found.low - mean, found.high - mean), Range(factor, factor))
    return None if made is None else Range(made.low + shift, made.high + shift, found.axis, found.layer)


def _layer_norm(walk: _Walk, op: Op) -> Range | None:
    """No entry of a normalised vector of n is further from zero than the root of n."""
    gain = walk.constant(op, 1)
    if gain is None or op.attributes.get("axis", -1) != -1:
        return None
    shift = walk.constant(op, 2) if walk.has(op, 2) else np.zeros(1)
    if shift is None:
        return None
    most = sqrt(gain.size) * float(np.abs(gain).max()) * (1 + _MARGIN)
    return between(-most + float(shift.min()), most + float(shift.max()))


def _increasing(function: Callable[[Bounds], Bounds]) -> Callable[[_Walk, Op], Range | None]:
    def rule(walk: _Walk, op: Op) -> Range | None:
        found = walk.input(op)
        if found is None:
            return None
        # What comes after is no longer the neuron itself, so no proof about it is one about the neuron.
        return Range(function(found.low), function(found.high), found.axis)

    return rule


def _within(low: float, high: float) -> Callable[[_Walk, Op], Range | None]:
    return lambda walk, op: between(low, high)


def _clip(walk: _Walk, op: Op) -> Range | None:
    found = walk.input(op) or between(-np.inf, np.inf)
    bounds: list[float] = []
    for at, name, default in ((1, "min", -np.inf), (2, "max", np.inf)):
        constant = walk.constant(op, at) if walk.has(op, at) else None
        if walk.has(op, at) and (constant is None or constant.size != 1):
            return None
        attribute = op.attributes.get(name, default)
        number = attribute if isinstance(attribute, int | float) else default
        bounds.append(float(number) if constant is None else float(constant.reshape(-1)[0]))
    return replace(found, low=found.low.clip(bounds[0], bounds[1]), high=found.high.clip(bounds[0], bounds[1]))


def _same(walk: _Walk, op: Op) -> Range | None:
    return walk.input(op)


def _moved(walk: _Walk, op: Op) -> Range | None:
    """What only moves elements, or takes means or the largest of them; zeros may be put between."""
    found = walk.input(op)
    if found is None:
        return None
    whole = found.flat
    padded = op.type in ("AveragePool", "MaxPool")
    return Range(np.minimum(whole.low, 0.0), np.maximum(whole.high, 0.0)) if padded else whole


def _joined(walk: _Walk, op: Op) -> Range | None:
    parts = [walk.input(op, at) for at in range(len(op.inputs))]
    known = [part.flat for part in parts if part is not None]
    if len(known) != len(parts):
        return None
    return Range(np.minimum.reduce([part.low for part in known]), np.maximum.reduce([part.high for part in known]))


def _cast(walk: _Walk, op: Op) -> Range | None:
    return walk.input(op) if op.attributes.get("to") in (1, 10, 11, 16) else None


def _sigmoid(x: Bounds) -> Bounds:
    with np.errstate(over="ignore"):
        made: Bounds = 1 / (1 + np.exp(-x))
    return made


def _or_else(low: float, high: float, function: Callable[[Bounds], Bounds]) -> Callable[[_Walk, Op], Range | None]:
    known = _increasing(function)
    return lambda walk, op: known(walk, op) or between(low, high)


_RULES: Mapping[str, Callable[[_Walk, Op], Range | None]] = {
    **dict.fromkeys(["Conv", "Gemm", "MatMul"], _linear),
    **dict.fromkeys(["Add", "Sub", "Mul", "Div"], _arithmetic),
    "BatchNormalization": _batch_norm,
    "LayerNormalization": _layer_norm,
    "Relu": _increasing(lambda x: np.maximum(x, 0.0)),
    "Sigmoid": _or_else(0.0, 1.0, _sigmoid),
    "Tanh": _or_else(-1.0, 1.0, np.tanh),
    **dict.fromkeys(["Softmax", "HardSigmoid", "Hardmax"], _within(0.0, 1.0)),
    **dict.fromkeys(["Softsign", "Erf", "Sin", "Cos"], _within(-1.0, 1.0)),
    "Clip": _clip,
    **dict.fromkeys(["Identity", "Dropout"], _same),
    **dict.fromkeys(
        ["Reshape", "Flatten", "Transpose", "Squeeze", "Unsqueeze", "Slice", "Gather", "Expand", "DepthToSpace",
         "SpaceToDepth", "MaxPool", "AveragePool", "GlobalAveragePool", "GlobalMaxPool", "ReduceMean", "ReduceMax"],
        _moved,
    ),
    "Concat": _joined,
    "Cast": _cast,
}  # fmt: skip


def reached(found: Mapping[str, Range], analysis: Analysis, kinds: frozenset[str]) -> Iterator[tuple[Op, Range]]:
    """Ops of these kinds whose operand has a range per neuron of a layer, and is read by nothing else."""
    graph = analysis.graph
    for op in graph.ops:
        known = found.get(op.inputs[0]) if op.type in kinds and op.domain == "" and op.inputs else None
        if known is None or known.layer is None or op.inputs[0] in graph.outputs:
            continue
        if len(graph.consumers.get(op.inputs[0], ())) == 1:
            yield op, known

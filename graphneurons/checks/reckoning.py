"""Rules of interval arithmetic, one per kind of op that neither moves elements, nor sums with weights, nor bends."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from math import inf, prod, sqrt

import numpy as np

from graphneurons.activations import kind_of
from graphneurons.axes.binding import Binding
from graphneurons.checks.bending import bend_of, numbers_of
from graphneurons.checks.intervals import Bounds, Range, between, hull, made, product
from graphneurons.checks.walking import Walk, quantized, rounded
from graphneurons.graph import Op

_MARGIN = 1e-5

Rule = Callable[[Walk, Op], Range | None]


def _arithmetic(walk: Walk, op: Op) -> Range | None:
    kind = kind_of(op)
    parts = [walk.operand(op, at) for at in range(len(op.inputs))]
    other = op.attributes.get("other")
    if isinstance(other, int | float):
        parts.append(between((), float(other), float(other)))
    shape = walk.shape(op.output)
    if shape is None or len(parts) != 2 or "rounding_mode" in op.attributes:
        return None
    one, two = parts
    if one is None or two is None:
        return None
    alpha = op.attributes.get("alpha", 1)
    if not isinstance(alpha, int | float):
        return None
    owner = next((part for part in (one, two) if part.layer is not None), None)
    if owner is not None and any(part is not owner and not _is_constant(part) for part in (one, two)):
        owner = None
    a, b = _wide(one, shape), _wide(two, shape)
    if kind in ("Add", "Sub"):
        factor = float(alpha) * (-1.0 if kind == "Sub" else 1.0)
        low, high = (b[0], b[1]) if factor > 0 else (b[1], b[0])
        return made(shape, a[0] + factor * low, a[1] + factor * high, owner)
    if kind == "Div":
        if not ((b[0] > 0) | (b[1] < 0)).all() or (owner is two and owner is not None):
            return None
        b = (1 / b[1], 1 / b[0])
    return made(shape, *product(*a, *b), owner)


def _is_constant(part: Range) -> bool:
    return part.low is part.high or bool((part.low == part.high).all())


def _wide(part: Range, shape: Sequence[int]) -> tuple[Bounds, Bounds]:
    """The bounds with as many axes as ``shape``."""
    lead = (1,) * (len(shape) - len(part.shape))
    return part.low.reshape(lead + part.low.shape), part.high.reshape(lead + part.high.shape)


def _extreme(walk: Walk, op: Op) -> Range | None:
    """Max and Min of several operands."""
    shape = walk.shape(op.output)
    parts = [walk.operand(op, at) for at in range(len(op.inputs))]
    known = [_wide(part, shape) for part in parts if part is not None and shape is not None]
    if shape is None or len(known) != len(parts):
        return None
    pick = np.maximum if op.type in ("Max", "maximum") else np.minimum
    low, high = known[0]
    for each in known[1:]:
        low, high = pick(low, each[0]), pick(high, each[1])
    return made(shape, low, high)


def _negated(walk: Walk, op: Op) -> Range | None:
    found = walk.input(op)
    return None if found is None else made(found.shape, -found.high, -found.low, found)


def _absolute(walk: Walk, op: Op) -> Range | None:
    found = walk.input(op)
    if found is None:
        return None
    least = np.where((found.low > 0) | (found.high < 0), np.minimum(np.abs(found.low), np.abs(found.high)), 0.0)
    return made(found.shape, least, np.maximum(np.abs(found.low), np.abs(found.high)))


def _same(walk: Walk, op: Op) -> Range | None:
    if op.inputs[0] in walk.convex:
        walk.convex[op.output] = walk.convex[op.inputs[0]]
    return walk.any_input(op)


def mixed(walk: Walk, op: Op) -> Range | None:
    """A matrix product of a softmax, whose rows are not negative and sum to one, and something else: within that."""
    shape = walk.shape(op.output)
    found = walk.input(op, 1)
    left = walk.shape(op.inputs[0])
    if shape is None or found is None or left is None or op.attributes or len(found.shape) < 2:
        return None
    if walk.convex.get(op.inputs[0]) != len(left) - 1:
        return None
    low, high = found.low.min(axis=-2, keepdims=True), found.high.max(axis=-2, keepdims=True)
    slack = _MARGIN * np.maximum(np.abs(low), np.abs(high))
    return made(shape, low - slack, high + slack)


def _cast(walk: Walk, op: Op) -> Range | None:
    """Casts to floating-point types, which round; float16 only of numbers it holds."""
    found, to = walk.any_input(op), op.attributes.get("to", op.attributes.get("dtype"))
    spacing = _SPACING.get(to) if isinstance(to, int | str) else None
    if found is None or spacing is None:
        return None
    largest = np.maximum(np.abs(found.low), np.abs(found.high))
    if spacing == _HALF and not (largest < 65504).all():
        return None
    slack = np.where(np.isfinite(largest), spacing * largest, 0.0)
    return made(found.shape, found.low - slack, found.high + slack, found)


_HALF = 2.0**-10
_SPACING: Mapping[int | str, float] = {
    1: 2.0**-23, "float32": 2.0**-23, 11: 0.0, "float64": 0.0, 10: _HALF, "float16": _HALF, 16: 2.0**-7,
    "bfloat16": 2.0**-7,
}  # fmt: skip
"""Type, as ONNX numbers it and PyTorch names it -> the relative distance of its numbers."""


def _batch_norm(walk: Walk, op: Op) -> Range | None:
    found = walk.input(op)
    trains = op.attributes.get("training_mode", 0) or op.attributes.get("training", 0)
    epsilon = op.attributes.get("epsilon", op.attributes.get("eps", None if op.domain == "torch.nn" else 1e-5))
    if found is None or trains or not isinstance(epsilon, int | float) or len(found.shape) < 2:
        return None
    size = found.shape[1]
    view = (1, size) + (1,) * (len(found.shape) - 2)
    numbers = []
    for at, default in ((1, 1.0), (2, 0.0), (3, None), (4, None)):
        given = walk.constant(op, at) if walk.has(op, at) else np.full(size, default) if default is not None else None
        if given is None or given.size != size:
            return None
        numbers.append(given.reshape(view))
    gain, shift, mean, variance = numbers
    with np.errstate(all="ignore"):
        factor = gain / np.sqrt(variance + float(epsilon))
    if not np.isfinite(factor).all() or not np.isfinite(mean).all() or not np.isfinite(shift).all():
        return None
    low, high = product(found.low - mean, found.high - mean, factor, factor)
    with np.errstate(invalid="ignore"):
        most = np.maximum(np.abs(low), np.abs(high)) + np.abs(mean * factor)
        slack = np.where(np.isfinite(most), _MARGIN * (most + np.abs(shift)), 0.0)
    return made(found.shape, low + shift - slack, high + shift + slack, found)


def _normalised(walk: Walk, op: Op) -> Range | None:
    """No entry of a vector of n that was divided by its root mean square is further from zero than the root of n."""
    shape, name = walk.shape(op.output), op.inputs[0]
    if shape is None or walk.shape(name) is None:
        return None
    places = _GAINS[op.type]
    rank = len(shape)
    if places.channels:
        groups = op.attributes.get("num_groups", 1)
        axes = tuple(range(2, rank))
        count = prod(shape[2:])
        if op.type == "GroupNormalization":
            if not isinstance(groups, int) or groups < 1 or shape[1] % groups:
                return None
            count *= shape[1] // groups
    else:
        start = op.attributes.get("axis", -1)
        if not isinstance(start, int) or not -rank <= start < rank:
            return None
        given = op.attributes.get("normalized_shape")
        start = rank - len(given) if isinstance(given, tuple) and given else start % rank
        axes = tuple(range(start, rank))
        count = prod(shape[start:])
    if not walk.is_fixed(name, axes):
        return None
    gains = []
    for at, default in ((places.gain, 1.0), (places.shift, 0.0)):
        stored = np.full(1, default)
        if at is not None and walk.has(op, at):
            found = walk.constant(op, at)
            if found is None:
                return None
            stored = found
        if places.channels and stored.size == shape[1]:
            stored = stored.reshape((1, shape[1]) + (1,) * (rank - 2))
        elif places.channels and stored.size > 1:
            return None
        gains.append(stored)
    most = sqrt(count) * np.abs(gains[0]) * (1 + 1e-3)
    return made(shape, gains[1] - most, gains[1] + most)


class _Places:
    """Operands of the gain and the shift; ``channels``: both are one per channel of axis 1, else of the last axes."""

    __slots__ = ("channels", "gain", "shift")

    def __init__(self, gain: int | None, shift: int | None, channels: bool = False) -> None:
        self.gain, self.shift, self.channels = gain, shift, channels


_GAINS: Mapping[str, _Places] = {
    "LayerNormalization": _Places(1, 2),
    "SimplifiedLayerNormalization": _Places(1, None),
    "RMSNormalization": _Places(1, None),
    "SkipLayerNormalization": _Places(2, 3),
    "SkipSimplifiedLayerNormalization": _Places(2, None),
    "InstanceNormalization": _Places(1, 2, True),
    "GroupNormalization": _Places(1, 2, True),
    "layer_norm": _Places(1, 2),
    "native_layer_norm": _Places(1, 2),
}


def _averaged(walk: Walk, op: Op) -> Range | None:
    """Means, maxima and minima over some axes, or over windows: within what they are of."""
    found, shape = walk.input(op), walk.shape(op.output)
    if found is None or shape is None or str(op.attributes.get("mode", "")) == "cubic":
        return None
    if "extrapolation_value" in op.attributes or op.attributes.get("coordinate_transformation_mode") == (
        "tf_crop_and_resize"
    ):
        return None
    low, high = found.low, found.high
    if op.type.lower().startswith(("avg", "average")):
        # Zeros around the input may be counted in.
        low, high = np.minimum(low, 0.0), np.maximum(high, 0.0)
    step = walk.resolution.steps.get(op.name)
    before = step.operands[0] if isinstance(step, Binding) and step.operands else None
    after = step.results[0] if isinstance(step, Binding) and step.results else None
    if before is None or after is None or len(before) != len(found.shape) or len(after) != len(shape):
        return between(shape, float(low.min()), float(high.max()))
    kept = [
        next((at for at, factors in enumerate(before) if factors == wanted and found.shape[at] == size), None)
        if wanted else None
        for wanted, size in zip(after, shape, strict=True)
    ]  # fmt: skip
    chosen = [at for at in kept if at is not None]
    if len(set(chosen)) != len(chosen) or chosen != sorted(chosen):
        return between(shape, float(low.min()), float(high.max()))
    gone = tuple(at for at in range(len(found.shape)) if at not in chosen)
    low, high = low.min(axis=gone, keepdims=True), high.max(axis=gone, keepdims=True)
    view = [1 if at is None else low.shape[at] for at in kept]
    # A mean or a maximum of several neurons' outputs, or of one at several places, is no longer what the neuron says.
    return made(shape, low.reshape(view), high.reshape(view))


def _within(low: float, high: float) -> Rule:
    def rule(walk: Walk, op: Op) -> Range | None:
        shape = walk.shape(op.output)
        return None if shape is None else between(shape, low, high)

    return rule


def _softmax(walk: Walk, op: Op) -> Range | None:
    shape = walk.shape(op.output)
    default = 1 if op.domain == "" and 0 < op.version < 13 else -1
    axis = op.attributes.get("axis", op.attributes.get("dim", default))
    if shape is None:
        return None
    if isinstance(axis, int) and axis in (-1, len(shape) - 1):
        walk.convex[op.output] = len(shape) - 1
    return between(shape, 0.0, 1.0)


def _plain_bend(walk: Walk, op: Op) -> Range | None:
    """Functions of one number of which only the range is of interest."""
    shape, bend = walk.shape(op.output), bend_of(kind_of(op), numbers_of(op))
    if shape is None or bend is None:
        return None
    found = walk.input(op) or between(shape, -inf, inf)
    return made(shape, *bend.bounds(found.low, found.high))


def _chosen(walk: Walk, op: Op) -> Range | None:
    shape = walk.shape(op.output)
    parts = [walk.operand(op, at) for at in (1, 2)]
    if shape is None or parts[0] is None or parts[1] is None:
        return None
    wide = [_wide(part, shape) for part in parts if part is not None]
    return hull([Range(tuple(shape), low, high) for low, high in wide])


def _quantize(walk: Walk, op: Op) -> Range | None:
    return quantized(walk, op, walk.input(op), 1, 2)


def _dequantize(walk: Walk, op: Op) -> Range | None:
    found, scale = walk.any_input(op), walk.constant(op, 1)
    zero = walk.constant(op, 2) if walk.has(op, 2) else np.zeros(1)
    if found is None or not found.integers or scale is None or zero is None or scale.size != 1 or zero.size != 1:
        return None
    step, offset = float(scale.reshape(-1)[0]), float(zero.reshape(-1)[0])
    if not step > 0:
        return None
    return made(found.shape, (found.low - offset) * step, (found.high - offset) * step, found)


def _quantize_traced(walk: Walk, op: Op) -> Range | None:
    scale, zero, least, most = (op.attributes.get(name) for name in ("scale", "zero_point", "quant_min", "quant_max"))
    if not (isinstance(scale, float) and isinstance(zero, int) and isinstance(least, int) and isinstance(most, int)):
        return None
    return rounded(walk, op, walk.input(op), scale, float(zero), (float(least), float(most)))


def _dequantize_traced(walk: Walk, op: Op) -> Range | None:
    scale, zero, found = op.attributes.get("scale"), op.attributes.get("zero_point"), walk.any_input(op)
    if found is None or not found.integers or not isinstance(scale, float) or not isinstance(zero, int) or scale <= 0:
        return None
    return made(found.shape, (found.low - zero) * scale, (found.high - zero) * scale, found)


RULES: Mapping[str, Rule] = {
    **dict.fromkeys(["Add", "Sub", "Mul", "Div"], _arithmetic),
    **dict.fromkeys(["Max", "Min", "maximum", "minimum"], _extreme),
    **dict.fromkeys(["Neg", "neg"], _negated),
    **dict.fromkeys(["Abs", "abs"], _absolute),
    **dict.fromkeys(["Identity", "Dropout"], _same),
    "Cast": _cast,
    "BatchNormalization": _batch_norm,
    **dict.fromkeys(_GAINS, _normalised),
    **dict.fromkeys(
        ["AveragePool", "MaxPool", "GlobalAveragePool", "GlobalMaxPool", "ReduceMean", "ReduceMax", "ReduceMin",
         "Resize", "Upsample", "mean", "amax", "amin", "max_pool1d", "max_pool2d", "max_pool3d",
         "max_pool2d_with_indices", "avg_pool1d", "avg_pool2d", "avg_pool3d", "adaptive_avg_pool1d",
         "adaptive_avg_pool2d", "adaptive_avg_pool3d", "adaptive_max_pool2d", "upsample_nearest2d",
         "upsample_bilinear2d"],
        _averaged,
    ),
    "Softmax": _softmax,
    **dict.fromkeys(["Hardmax"], _within(0.0, 1.0)),
    **dict.fromkeys(["Sin", "Cos", "sin", "cos"], _within(-1.0, 1.0)),
    **dict.fromkeys(["Softsign", "Erf", "Exp", "LeakyRelu"], _plain_bend),
    **dict.fromkeys(["Where", "where"], _chosen),
    "QuantizeLinear": _quantize,
    "DequantizeLinear": _dequantize,
    "quantize_per_tensor": _quantize_traced,
    "dequantize_per_tensor": _dequantize_traced,
}  # fmt: skip

"""Between which numbers the weighted sums of a layer lie, neuron by neuron, if its inputs lie between given ones."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from graphneurons.analysis import Analysis, Layer, Modulator, WeightUse
from graphneurons.axes.binding import Binding, Factors
from graphneurons.axes.rules.site import Shape
from graphneurons.checks.intervals import Bounds, Range
from graphneurons.checks.weighing import Piece, Weighed, is_tap, weighed
from graphneurons.graph import Op
from graphneurons.health.fetching import Files
from graphneurons.health.modulating import modulator_health
from graphneurons.health.numbering import UnnumberedError
from graphneurons.health.statistics import Skipped

MOST_READ = 1 << 26
"""Elements a weight may have to be read for a proof."""

BUDGET = 1 << 28
"""Elements read for proofs in one model, all together."""

MARGIN: Mapping[str, float] = {"float16": 5e-3, "bfloat16": 3e-2, "float64": 1e-5}
DEFAULT_MARGIN = 1e-5
"""Share of the sum of magnitudes by which bounds are widened: runtimes add in the weight's type, in their own order."""

# Op -> how it scales its sums and its bias, by attribute.
SUMMING: Mapping[tuple[str, str], tuple[str, str]] = {
    **{("", name): ("", "") for name in ("Conv", "ConvTranspose", "MatMul")},
    ("", "Gemm"): ("alpha", "beta"),
    ("com.microsoft", "FusedConv"): ("", ""),
    ("com.microsoft", "FusedGemm"): ("alpha", "beta"),
    ("com.microsoft", "FusedMatMul"): ("alpha", ""),
    ("com.microsoft", "TransposeMatMul"): ("alpha", ""),
    ("com.microsoft", "MatMulNBits"): ("", ""),
    **{
        ("aten", name): ("", "")
        for name in ("linear", "mm", "matmul", "conv1d", "conv2d", "conv3d", "convolution", "conv_transpose1d",
                     "conv_transpose2d", "conv_transpose3d", "conv_transpose2d_input")
    },
    ("aten", "addmm"): ("alpha", "beta"),
    **{("torch.nn", name): ("", "") for name in ("Linear", "Conv1d", "Conv2d", "Conv3d", "ConvTranspose1d",
                                                 "ConvTranspose2d", "ConvTranspose3d")},
}  # fmt: skip
_FARTHEST = 16
_KEEPING = frozenset(
    {"Identity", "Cast", "Reshape", "Transpose", "Squeeze", "Unsqueeze", "Flatten", "Slice", "Split",
     "DequantizeLinear", "t", "transpose", "permute", "view", "reshape", "squeeze", "unsqueeze", "detach", "clone",
     "dequantize_per_tensor", "dequantize_per_channel", "alias", "contiguous", "to", "_to_copy", "slice", "select",
     "split", "chunk"}
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Quantizer:
    """Where an op that multiplies integers has what makes numbers of them, by operand."""

    input_scale: int
    input_zero: int
    weight_scale: int
    output_scale: int | None = None
    output_zero: int | None = None
    bias: int | None = None


INTEGER_SUMMING: Mapping[tuple[str, str], Quantizer] = {
    ("", "QLinearConv"): Quantizer(1, 2, 4, 6, 7, 8),
    ("", "QLinearMatMul"): Quantizer(1, 2, 4, 6, 7),
    ("com.microsoft", "QLinearConv"): Quantizer(1, 2, 4, 6, 7, 8),
    ("com.microsoft", "QGemm"): Quantizer(1, 2, 4, 7, 8, 6),
}


@dataclass(eq=False)
class Sums:
    """Bounds of weighted sums in one model, within a budget of elements read. Use ``files`` while they are open."""

    analysis: Analysis
    files: Files
    budget: int = BUDGET

    def __post_init__(self) -> None:
        self._layers: dict[str, list[Layer]] = {}
        for layer in self.analysis.layers:
            self._layers.setdefault(layer.op.name, []).append(layer)
        self._biases: dict[str, list[Modulator]] = {}
        for modulator in self.analysis.modulators:
            self._biases.setdefault(modulator.op.name, []).append(modulator)

    def layer(self, op: Op) -> Layer | None:
        """The one layer of one weight that ``op`` makes."""
        found = self._layers.get(op.name, ())
        return found[0] if len(found) == 1 and len(found[0].weights) == 1 else None

    def of(
        self, op: Op, given: Callable[[int], Range | None], shape: Shape | None, bias: Bounds | None = None
    ) -> Range | None:
        """The range of what ``op`` sums up, before any activation of its own. ``bias``: in place of the op's own."""
        layer, resolution = self.layer(op), self.analysis.resolution
        step = resolution.steps.get(op.name) if resolution is not None else None
        if layer is None or shape is None or not isinstance(step, Binding) or len(step.results) < 1:
            return None
        use = layer.weights[0]
        if not self._is_as_stored(op.inputs[use.input], use):
            return None
        carrying = [
            at for at, pattern in enumerate(step.rule.operands)
            if at != use.input and pattern.contracts and pattern.mark == "" and at < len(op.inputs) and op.inputs[at]
        ]  # fmt: skip
        if len(carrying) != 1:
            return None
        found = given(carrying[0])
        axes, result = step.operands[carrying[0]], step.results[0]
        if found is None or axes is None or result is None or len(axes) != len(found.shape):
            return None
        if bias is None:
            bias = self._bias(op, layer, step, carrying[0])
        if bias is None or (use.elements or use.weight.elements) > min(MOST_READ, self.budget):
            return None
        if any(factor.role in ("mixed", "lookup") for axis in use.axes for factor in axis.factors):
            return None
        kept, summed = _factors(layer)
        try:
            facts, pieces = weighed(self.analysis, layer, 0, op, self.files)
        except UnnumberedError:
            return None
        inputs = _input(found, [_plain(factors, step) for factors in axes], summed, facts, op)
        at = [axis for axis, factors in enumerate(result) if kept and _plain(factors, step) == kept]
        if len(at) != 1 or facts.neurons != layer.neurons or shape[at[0]] != layer.neurons:
            return None
        low, high = inputs
        if _is_padded(op, step):
            low, high = np.minimum(low, 0.0), np.maximum(high, 0.0)
        self.budget -= facts.elements
        factor, share = (_number(op, name) for name in SUMMING.get((op.domain, op.type), ("", "")))
        if bias.size not in (1, layer.neurons):
            return None
        lowest, highest = _summed(pieces, facts, low, high, factor, bias * share)
        view = [1] * len(shape)
        view[at[0]] = layer.neurons
        numbers = np.arange(layer.neurons, dtype=np.int64).reshape(view)
        return Range(tuple(shape), lowest.reshape(view), highest.reshape(view), layer.id, numbers)

    def _is_as_stored(self, name: str, use: WeightUse) -> bool:
        """Whether a weight's numbers reach its op as they are stored, but for layout and quantization."""
        for _ in range(_FARTHEST):
            if name == use.weight.name:
                return True
            maker = self.analysis.graph.producer.get(name)
            if maker is None or maker.type not in _KEEPING or not maker.inputs:
                return False
            name = maker.inputs[0]
        return False

    def _bias(self, op: Op, layer: Layer, step: Binding, carrying: int) -> Bounds | None:
        """What is added to the sums; None where some operand does something else."""
        total = np.zeros(1)
        left = {
            at for at, name in enumerate(op.inputs)
            if name and at not in (carrying, layer.weights[0].input) and at < len(step.rule.operands)
            and step.rule.operands[at].mark not in ("%", "_")
        }  # fmt: skip
        extra = {at for at, name in enumerate(op.inputs) if name and at >= len(step.rule.operands)}
        if (op.domain, op.type) == ("com.microsoft", "MatMulNBits"):
            left |= {5} & set(range(len(op.inputs)))
        for modulator in self._biases.get(op.name, ()):
            for position, use in enumerate(modulator.weights):
                if modulator.kind != "bias" or use.input not in left:
                    continue
                along = tuple(factor.name for axis in use.axes for factor in axis.factors if factor.size > 1)
                if along not in ((), _factors(layer)[0]):
                    return None
                found = modulator_health(modulator, position, op, self.analysis.graph, self.files)
                if isinstance(found, Skipped) or found.values is None or use.part is not None:
                    return None
                if use.weight.is_integer and not _is_restored(use.weight.name, self.analysis):
                    return None
                total = total + found.values.astype(np.float64)
                left.discard(use.input)
        return None if left or extra else total


def _is_padded(op: Op, step: Binding) -> bool:
    """Whether some sums leave inputs out: at the edges of a convolution, between the strides of a transposed one."""
    if step.rule.kind != "conv":
        return step.rule.kind == "conv_transpose"
    if op.domain == "torch.nn" or op.attributes.get("auto_pad", "NOTSET") not in ("NOTSET", "VALID"):
        return True
    pads = op.attributes.get("pads", op.attributes.get("padding", 0))
    return pads != "valid" and any(pads if isinstance(pads, tuple) else (pads,))


def _is_restored(name: str, analysis: Analysis) -> bool:
    readers = analysis.graph.consumers.get(name, ())
    return bool(readers) and all(reader.type == "DequantizeLinear" for reader in readers)


def _factors(layer: Layer) -> tuple[Factors, Factors]:
    """Names of the factors of the weight that number neurons, and of those that number channels, outermost first."""
    factors = [factor for axis in layer.weights[0].axes for factor in axis.factors if factor.size > 1]
    shared = [factor.name for factor in factors if factor.role == "shared"]
    kept = [factor.name for factor in factors if factor.role in ("shared", "neuron")]
    summed = [factor.name for factor in factors if factor.role == "synapse" and not is_tap(factor.name)]
    return tuple(kept), (*shared, *summed)


def _plain(factors: Factors, step: Binding) -> Factors:
    return tuple(name for name in factors if step.sizes.get(name, 0) != 1)


def _input(found: Range, axes: Sequence[Factors], summed: Factors, facts: Weighed, op: Op) -> tuple[Bounds, Bounds]:
    """Bounds of every channel: those of the whole input where its channels are not told apart as the weight's are."""
    for axis, factors in enumerate(axes):
        # A row of packed blocks holds its synapses in order.
        alike = factors == summed or (op.type == "MatMulNBits" and axis == len(axes) - 1)
        if factors and alike and found.shape[axis] == facts.channels:
            return found.along(axis)
    whole = found.whole
    return (
        np.broadcast_to(whole.low.reshape(-1), (facts.channels,)),
        np.broadcast_to(whole.high.reshape(-1), (facts.channels,)),
    )


def _summed(
    pieces: Iterator[Piece], facts: Weighed, low: Bounds, high: Bounds, factor: float, bias: Bounds
) -> tuple[Bounds, Bounds]:
    lowest, highest, less, more = (np.zeros(facts.neurons) for _ in range(4))
    if factor < 0:
        low, high, factor = -high, -low, -factor
    is_finite = bool(np.isfinite(low).all() and np.isfinite(high).all())
    bounds = np.stack([high, low, np.abs(high), np.abs(low)])
    for piece in pieces:
        x = np.asarray(piece.numbers, np.float64)
        up = np.maximum(x, 0.0)
        with np.errstate(all="ignore"):
            down = x - up
            one, two = (piece.products(each, bounds) if is_finite else None for each in (up, down))
        if one is not None and two is not None:
            for into, terms in zip(
                (highest, lowest, more, less),
                (one[0] + two[1], one[1] + two[0], one[2] - two[3], one[3] - two[2]),
                strict=True,
            ):
                piece.add(terms, into)
            continue
        above, beneath = high[piece.channels], low[piece.channels]
        for into, size, top, bottom in ((highest, more, above, beneath), (lowest, less, beneath, above)):
            with np.errstate(invalid="ignore"):
                terms = _times(up, top) + _times(down, bottom)
            piece.per_neuron(terms, into)
            piece.per_neuron(np.abs(terms), size)
    margin = MARGIN.get(facts.dtype, DEFAULT_MARGIN)
    with np.errstate(invalid="ignore"):
        lowest = lowest * factor + bias - margin * (less * factor + np.abs(bias))
        highest = highest * factor + bias + margin * (more * factor + np.abs(bias))
    return np.where(np.isnan(lowest), -np.inf, lowest), np.where(np.isnan(highest), np.inf, highest)


def _times(weights: Bounds, bounds: Bounds) -> Bounds:
    """Their product; zero where a weight is, whatever the bound."""
    made: Bounds = weights * bounds
    return made if np.isfinite(bounds).all() else np.where(weights == 0, 0.0, made)


def _number(op: Op, name: str) -> float:
    value = op.attributes.get(name, 1.0) if name else 1.0
    return float(value) if isinstance(value, int | float) else float("nan")


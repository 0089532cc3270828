"""GN3: quantization that does not fit the neurons."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from graphneurons.checks.base import Check, Found, Limits, Subject, check
from graphneurons.checks.numbers import listed, some
from graphneurons.checks.rounding import lost_neurons, lost_synapses
from graphneurons.checks.scales import all_scales, scaled_tensors
from graphneurons.checks.weighing import by_neuron, neuron_axis
from graphneurons.health.decoding import is_readable
from graphneurons.load.reading import read

FLOAT16_MAX = 65504.0
SMALLEST_NORMAL = 2.0**-126
_WIDE = ("float32", "float64", "bfloat16")
_MOST_CLIP_READ = 1 << 26


@check("GN301", "scale-on-synapse-axis", "error")
def scale_axis(subject: Subject, limits: Limits) -> Iterator[Found]:
    """Per-channel scales that run along a synapse axis.

    Reports weights with one scale (and zero point) per index of an axis that is summed over. Blocks of synapses with a
    scale each are meant, and not reported.

    Why: A neuron then sums synapses in different units, which no integer kernel can: runtimes fall back to floating
    point, refuse the model, or apply the scales to the neurons and compute nonsense.
    Example: `DequantizeLinear(axis=1)` on a Conv weight (out, in, k, k).
    Fix: Quantize per neuron: set `axis` to the neuron axis named in the finding, and compute one scale per neuron.
    """
    for each in subject.quantized:
        axes = each.use.axes
        if not each.per_axis or each.scale is None or not 0 <= each.axis < len(axes):
            continue
        if axes[each.axis].role == "synapse" and axes[each.axis].size > 1:
            right = [at for at, axis in enumerate(axes) if axis.role == "neuron"]
            yield Found(
                f"{each.scale.elements} scales run along axis {each.axis}, which is synapses"
                + (f"; neurons are axis {right[0]}" if right else ""),
                each.layer.id,
                each.use.weight.name,
                each.axis,
                evidence={
                    "scales": each.scale.elements,
                    "shape": list(each.use.weight.shape),
                    "neuron_axis": right[0] if right else None,
                    "scale": each.scale.name,
                },
            )


@check("GN302", "scale-length", "error")
def scale_length(subject: Subject, limits: Limits) -> Iterator[Found]:
    """Scales or zero points that are not as many as the neurons.

    Reports a vector of scales, or of zero points, whose length is not that of the axis it runs along, and zero points
    that are not as many as the scales.

    Why: The runtime refuses the model, or reads past the end.
    Example: 64 neurons and 32 scales, after pruning or splitting the weight but not its quantization.
    Fix: Cut or repeat the scales with the neurons: one of each per neuron.
    """
    for each in scaled_tensors(subject.analysis):
        shape = each.weight.shape
        size = shape[each.axis]
        expected = f"axis {each.axis} has {size:,}" + (" neurons" if each.is_neurons else "")
        for what, ref in (("scale", each.scale), ("zero point", each.zero)):
            if ref is None or len(ref.shape) != 1 or ref.elements in (1, size):
                continue
            yield Found(
                f"{ref.elements:,} {what}s, but {expected}",
                each.layer,
                each.weight.name,
                each.axis,
                evidence={"length": ref.elements, "size": size, "what": what, "tensor": ref.name, "shape": list(shape)},
            )
        scale, zero = each.scale, each.zero
        if scale is not None and zero is not None and scale.elements == 1 < zero.elements == size:
            yield Found(
                f"{zero.elements:,} zero points for one scale",
                each.layer,
                each.weight.name,
                each.axis,
                evidence={"length": zero.elements, "what": "pair", "tensor": zero.name},
            )


@check("GN303", "bad-scale", "error", reads_weights=True)
def bad_scale(subject: Subject, limits: Limits) -> Iterator[Found]:
    """A quantization scale that is zero, negative, subnormal, infinite or NaN.

    Reports the scales of weights and of activations. Scales of blocks (4-bit weights) may be negative or zero.

    Why: The neurons become zero, infinite or NaN, or change sign.
    Example: The scale of a neuron whose weights were all zero was computed as 0 / 127.
    Fix: Calibrate again with data that reaches every channel, and give constant channels a scale of 1.
    """
    for scale in all_scales(subject.analysis, subject.quantized):
        values = scale.values
        with np.errstate(invalid="ignore"):
            bad = ~np.isfinite(values) | ((values < SMALLEST_NORMAL) & (not scale.blocked))
        places = np.flatnonzero(bad)
        if places.size:
            shown = values[places[0]]
            yield Found(
                f"{some(places.size, values.size, 'scale')} {'is' if places.size == 1 else 'are'} no positive number; "
                f"entry {int(places[0])} is {shown:g}",
                scale.layer,
                scale.name,
                neurons=listed(places) if values.size > 1 and not scale.blocked else None,
                evidence={"bad": int(places.size), "of": int(values.size), "value": f"{shown:g}"},
            )


@check("GN304", "clipped-weights", "warning", reads_weights=True, most_share=0.05, least_synapses=64)
def clipped(subject: Subject, limits: Limits) -> Iterator[Found]:
    """Quantized weights that pile up at the ends of their range.

    Reports neurons of 8-bit weights with `least-synapses` or more of which more than `most-share` are the smallest or
    the largest value the type has.

    Why: The scale is too small: everything beyond it was clipped, and the neuron says something else than it learned.
    Example: A scale computed for another layer, or from percentiles of a distribution with heavy tails.
    Fix: Compute the scale from the weights themselves: max |w| / 127 per neuron.
    """
    for each in subject.quantized:
        ref = each.use.weight
        if ref.dtype not in ("int8", "uint8") or ref.elements > _MOST_CLIP_READ or each.use.elements is not None:
            continue
        rows = by_neuron(each.use, read(ref))
        if rows is None or rows.shape[1] < limits["least-synapses"]:
            continue
        ends = (rows >= 127) | (rows <= -127) if ref.dtype == "int8" else (rows == 255) | (rows == 0)
        share = ends.mean(axis=1)
        over = np.flatnonzero(share > limits["most-share"])
        if over.size:
            worst = float(share[over].max())
            yield Found(
                f"{some(over.size, share.size, 'neuron')} with up to {worst:.0%} of the synapses at the range's end",
                each.layer.id,
                ref.name,
                neuron_axis(each.use),
                listed(over),
                {"worst_share": round(worst, 4)},
            )


@check("GN305", "float16-overflow", "warning", reads_weights=True, largest=FLOAT16_MAX)
def overflow(subject: Subject, limits: Limits) -> Iterator[Found]:
    """Weights or biases that float16 cannot hold.

    Reports finite numbers above `largest` (65504, the largest of float16).

    Why: Converted to float16, as most accelerators and mobile runtimes do, they become infinite, and the outputs NaN.
    Example: A bias of 1e5 that stands for "never".
    Fix: Rescale the layer or its normalisation, or keep it out of the conversion; use bfloat16.
    """
    for weight in subject.health.weights:
        if weight.dtype not in _WIDE and weight.units != "dequantized":
            continue
        with np.errstate(invalid="ignore"):
            over = np.flatnonzero(weight.neurons.max_abs > limits["largest"])
        if over.size:
            largest = float(np.nanmax(weight.neurons.max_abs))
            yield Found(
                f"{some(over.size, weight.neurons.size, 'neuron')} with weights up to {largest:.4g}",
                weight.layer,
                weight.name,
                neurons=listed(over),
                evidence={"largest": f"{largest:.6g}"},
            )
    for modulator in subject.health.modulators:
        if modulator.kind != "bias" or modulator.dtype not in _WIDE or modulator.values is None:
            continue
        with np.errstate(invalid="ignore"):
            big = np.flatnonzero(np.isfinite(modulator.values) & (np.abs(modulator.values) > limits["largest"]))
        if big.size:
            largest = float(np.abs(modulator.values[big]).max())
            yield Found(
                f"{some(big.size, modulator.elements, 'bias', 'biases')} up to {largest:.4g}",
                modulator.of,
                modulator.name,
                neurons=listed(big),
                evidence={"largest": f"{largest:.6g}"},
            )


@check(
    "GN306", "coarse-per-tensor-scale", "warning", reads_weights=True, least_steps=2, most_share=0.1, least_synapses=16
)
def coarse(subject: Subject, limits: Limits) -> Iterator[Found]:
    """One scale for neurons of wildly different size.

    Reports layers with a single scale for the whole weight in which more than `most-share` of the neurons that are not
    zero reach no further than `least-steps` steps of it.

    Why: Such neurons are left with less than three bits: what they learned is gone, and the accuracy with it.
    Example: A depthwise convolution quantized per tensor, with one channel 200 times as large as the others.
    Fix: Quantize this layer per channel (per neuron), or equalize its neurons first.
    """
    measured = {(each.layer, each.position): each for each in subject.health.weights}
    for each in subject.quantized:
        if each.scale is None or each.scale.elements != 1 or not is_readable(each.scale.dtype):
            continue
        health = measured.get((each.layer.id, each.layer.weights.index(each.use)))
        step = abs(float(read(each.scale).astype(np.float64).reshape(-1)[0]))
        if health is None or health.units == "stored" or not np.isfinite(step) or step == 0:
            continue
        if health.neurons.elements < limits["least-synapses"]:
            continue
        live = health.neurons.max_abs > 0
        # Numbers of integer ops are steps already.
        one = step if health.units == "dequantized" else 1.0
        few = np.flatnonzero(live & (health.neurons.max_abs <= one * (limits["least-steps"] + 0.5)))
        if few.size > limits["most-share"] * max(1, int(live.sum())):
            yield Found(
                f"{some(few.size, health.neurons.size, 'neuron')} reach no further than "
                f"{limits['least-steps']:g} steps of the one scale {step:.3g}",
                each.layer.id,
                each.use.weight.name,
                neurons=listed(few),
                evidence={"scale": f"{step:.6g}", "coarse": int(few.size)},
            )


@check("GN307", "int8-overflow", "warning", reads_weights=True, most_share=0.5, least_synapses=16)
def outliers(subject: Subject, limits: Limits) -> Iterator[Found]:
    """Outlier weights that leave int8 no steps for the others.

    Reports neurons of floating-point layers with `least-synapses` or more of which more than `most-share` of the
    synapses that are not zero would round to zero in int8, though the neuron has a scale of its own, max |w| / 127.
    Looked for where the largest synapse is 32 times the root mean square of the others or more. Heavy tails alone are
    quiet, down to Student's t with 4 degrees of freedom.

    Why: Either the outlier is clipped or everything beside it is lost: int8 cannot hold both.
    Example: One synapse of 80 among 511 with a standard deviation of 0.1.
    Fix: Look where the outlier comes from (a damaged file, a normalisation folded in); move it into the activations
    (SmoothQuant), clip it and measure the accuracy, or leave this layer in floating point.
    """
    for lost in lost_synapses(subject.analysis, subject.health, limits["least-synapses"], limits["most-share"]):
        worst = int(np.argmax(lost.shares))
        yield Found(
            f"{some(lost.neurons.size, lost.weight.neurons.size, 'neuron')} would lose up to "
            f"{lost.shares[worst]:.0%} of the synapses in int8: neuron {int(lost.neurons[worst])} has one of "
            f"{lost.largest[worst]:.4g}",
            lost.weight.layer,
            lost.weight.name,
            neurons=listed(lost.neurons),
            evidence={"worst_share": round(float(lost.shares[worst]), 4), "largest": f"{lost.largest[worst]:.6g}"},
        )


@check("GN308", "needs-scales-per-neuron", "info", reads_weights=True, least_steps=2, most_share=0.1, least_synapses=16)
def needs_scales(subject: Subject, limits: Limits) -> Iterator[Found]:
    """A floating-point layer that one int8 scale would not serve.

    Reports layers with `least-synapses` or more per neuron in which more than `most-share` of the neurons that are not
    zero reach no further than `least-steps` steps of the scale max |w| / 127 of the whole weight.

    Why: Quantized per tensor, as some quantizers do unless told otherwise, such neurons are left with less than three
    bits.
    Example: A depthwise convolution with a folded BatchNorm, one channel of which is 200 times as large as others.
    Fix: Quantize this layer per channel (`per_channel=True`), or equalize its neurons first.
    """
    for weight, few, step in lost_neurons(subject.health, limits["least-synapses"], limits["least-steps"]):
        if few.size > limits["most-share"] * max(1, int((weight.neurons.max_abs > 0).sum())):
            yield Found(
                f"{some(few.size, weight.neurons.size, 'neuron')} would reach no further than "
                f"{limits['least-steps']:g} steps of one int8 scale, {step:.3g}",
                weight.layer,
                weight.name,
                neurons=listed(few),
                evidence={"scale": f"{step:.6g}", "coarse": int(few.size)},
            )


CHECKS: tuple[Check, ...] = (
    scale_axis, scale_length, bad_scale, clipped, overflow, coarse, outliers, needs_scales,
)  # fmt: skip

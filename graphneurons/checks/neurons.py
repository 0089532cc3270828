"""GN2: neurons that cannot do anything useful, read off their weights."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from graphneurons.checks.base import Check, Found, Limits, Subject, check
from graphneurons.checks.numbers import listed, some
from graphneurons.checks.readers import groups_of, unread_neurons
from graphneurons.checks.silence import saturated_neurons, silent_neurons


@check("GN201", "non-finite", "error", reads_weights=True)
def non_finite(subject: Subject, limits: Limits) -> Iterator[Found]:
    """NaN or infinite weights.

    Reports neurons, rows of tables and modulators (biases, normalisation) with a NaN or an infinity. Infinities that
    are added element by element (attention masks) are meant, and not reported.

    Why: One NaN in a weight makes every output that depends on it NaN.
    Example: Training diverged after the last good checkpoint; a float16 conversion overflowed.
    Fix: Go back to a checkpoint without them; look for what overflowed (learning rate, loss scaling, float16).
    """
    for weight in (*subject.health.weights, *subject.health.lookups):
        rows = weight.neurons
        bad = np.flatnonzero(rows.broken)
        if bad.size:
            counts = {"nan": int(rows.nan.sum()), "inf": int(rows.inf.sum())}
            is_layer = weight.layer in subject.health.layer
            yield Found(
                f"{some(bad.size, rows.size, 'neuron' if is_layer else 'row')} with NaN or infinite weights "
                f"({counts['nan']:,} NaN, {counts['inf']:,} infinite)",
                weight.layer,
                weight.name,
                neurons=listed(bad),
                evidence=counts,
            )
    for each in subject.health.modulators:
        infinite = 0 if each.kind == "elementwise" else each.inf_count
        if each.kind == "quantization" or not each.nan_count + infinite:
            continue
        places = np.union1d(each.nan, each.inf if infinite else each.nan)
        yield Found(
            f"{each.kind} {some(each.nan_count + infinite, each.elements, 'entry', 'entries')} NaN or infinite",
            each.of or each.modulator,
            each.name,
            neurons=listed(places),
            evidence={"nan": each.nan_count, "inf": infinite},
        )


@check("GN202", "dead-neuron", "warning", reads_weights=True)
def dead(subject: Subject, limits: Limits) -> Iterator[Found]:
    """Neurons whose synapses are all zero.

    Reports neurons with nothing but zeros among their weights: whatever comes in, they say their bias. Filters of
    a single synapse, and the gates of recurrent layers whose recurrent or input part alone is zero, are not reported.

    Why: They cost as much as others and carry no information; after pruning, they should have been cut out. A whole
    layer of them was never trained or never loaded.
    Example: 12 of 64 channels were pruned by setting them to zero, and shipped.
    Fix: Cut them out along their coupled group (`graphneurons wiring MODEL --groups`), or load the weights they lost.
    """
    for layer in subject.health.layers:
        rows = layer.neurons
        if rows is None or rows.elements < 2:
            continue
        found = np.flatnonzero(rows.dead)
        if found.size:
            yield Found(
                f"{some(found.size, rows.size, 'neuron')} with nothing but zeros",
                layer.id,
                layer.weights[0].name,
                _neuron_axis(subject, layer.id),
                listed(found),
                {"dead": int(found.size), "of": rows.size},
            )


@check("GN203", "silent-neuron", "warning", reads_weights=True)
def silent(subject: Subject, limits: Limits) -> Iterator[Found]:
    """Neurons that provably never fire.

    Computes the largest value each neuron can reach before its activation (its bias and the worst case of every input)
    from what is known of its inputs, channel by channel: ranges declared in the policy under `input-ranges`, types of
    integer inputs, normalisations, activations, layers before it. Reports it if an activation that rests at zero (ReLU,
    ReLU6, GELU, SiLU, HardSwish, Softplus, fused ones, a quantization from zero upwards) never leaves it. Layouts,
    QDQ and PyTorch graphs are followed. Nothing is reported where a range is not known, where the weights are computed,
    or where something else hears the neuron too; sizes of dynamic dimensions are not relied on.

    Why: Its output is zero for every input: it is dead weight, though its weights look alive.
    Example: A bias of -40 before ReLU, on 8 inputs between 0 and 1 with weights of at most 2.
    Fix: Cut them out along their coupled group, or find out what moved the bias (a folded BatchNorm, quantization).
    """
    yield from silent_neurons(subject)


@check("GN204", "duplicated-neuron", "warning", reads_weights=True, least_synapses=8)
def copied(subject: Subject, limits: Limits) -> Iterator[Found]:
    """Neurons that are exact copies of others in their layer.

    Reports neurons with `least-synapses` or more whose synapses all equal those of another neuron that reads the same.

    Why: They say the same, up to their bias; training never keeps two alike by chance, so something copied them.
    Example: A checkpoint was widened by repeating neurons; a slice was written to the wrong place.
    Fix: Merge them (add up what reads them), or restore the neurons that were overwritten.
    """
    yield from _repeated(subject, limits, copies=True)


@check("GN205", "multiple-of-neuron", "info", reads_weights=True, least_synapses=8)
def multiples(subject: Subject, limits: Limits) -> Iterator[Found]:
    """Neurons that are another neuron times a number.

    Reports neurons with `least-synapses` or more whose synapses are those of another neuron that reads the same, times
    one factor.

    Why: Without a bias and a bend in between they carry one piece of information, not two.
    Example: A layer whose rank collapsed in training.
    Fix: Merge them; if there are many, factorize the layer or train it again.
    """
    yield from _repeated(subject, limits, copies=False)


def _repeated(subject: Subject, limits: Limits, *, copies: bool) -> Iterator[Found]:
    for layer in subject.health.layers:
        rows = layer.neurons
        if rows is None or rows.elements < limits["least-synapses"] or not layer.duplicates:
            continue
        groups = groups_of(subject.analysis, layer.id)
        alike: list[list[int]] = []
        for duplicates in layer.duplicates:
            if duplicates.position is not None and len(layer.weights) > 1:
                continue
            for group in range(groups):
                own = (
                    duplicates.neurons * groups // rows.size == group
                    if groups > 1
                    else np.ones(len(duplicates.neurons), bool)
                )
                factors = duplicates.factors[own]
                members = duplicates.neurons[own]
                if members.size > 1:
                    same = factors == factors[0]
                    chosen = members[same] if copies else members if not same.all() else members[:0]
                    if chosen.size > 1:
                        alike.append([int(each) for each in chosen])
        if alike:
            extra = sum(len(members) - 1 for members in alike)
            what = "the synapses of another" + ("" if copies else " times one factor")
            yield Found(
                f"{some(extra, rows.size, 'neuron')} with {what}, such as {alike[0][1]} of {alike[0][0]}",
                layer.id,
                layer.weights[0].name,
                _neuron_axis(subject, layer.id),
                tuple(sorted(each for members in alike for each in members))[:1000],
                {"groups": alike[:20]},
            )


@check("GN206", "constant-neuron", "info", reads_weights=True, least_synapses=8)
def constant(subject: Subject, limits: Limits) -> Iterator[Found]:
    """Neurons whose synapses are all the same number.

    Reports neurons with `least-synapses` or more, all equal and not zero.

    Why: Such a neuron takes a mean: a filter nobody trained, or one that was filled in place of what was lost.
    Averaging on purpose is better said by a pooling op.
    Example: `nn.init.constant_` without training after it.
    Fix: Load the trained weights; if a mean is meant, ignore the rule for this layer.
    """
    for layer in subject.health.layers:
        rows = layer.neurons
        if rows is None or rows.elements < limits["least-synapses"]:
            continue
        found = np.flatnonzero(rows.constant)
        if found.size:
            value = float(rows.min[found[0]])
            yield Found(
                f"{some(found.size, rows.size, 'neuron')} with all synapses {value:.4g}",
                layer.id,
                layer.weights[0].name,
                _neuron_axis(subject, layer.id),
                listed(found),
                {"value": f"{value:.6g}"},
            )


@check("GN207", "subnormal-neuron", "warning", reads_weights=True, most_share=0.2, least_synapses=4)
def subnormal(subject: Subject, limits: Limits) -> Iterator[Found]:
    """Neurons most of whose weights are subnormal.

    Reports neurons with `least-synapses` or more of which more than `most-share` are below the smallest normal number
    of their type (1.2e-38 of float32, 6.1e-5 of float16).

    Why: Processors compute with them up to a hundred times slower, or flush them to zero; they have lost precision.
    Example: Weight decay drove a channel that nothing used to 1e-40.
    Fix: Set them to zero, and cut the neurons out.
    """
    for weight in subject.health.weights:
        rows = weight.neurons
        if rows.elements < limits["least-synapses"]:
            continue
        found = np.flatnonzero(rows.subnormals > limits["most-share"] * rows.elements)
        if found.size:
            yield Found(
                f"{some(found.size, rows.size, 'neuron')} with more than {limits['most-share']:.0%} subnormal weights",
                weight.layer,
                weight.name,
                _neuron_axis(subject, weight.layer, weight.position),
                listed(found),
                {"subnormals": int(rows.subnormals[found].sum())},
            )


@check("GN208", "exploding-neuron", "warning", reads_weights=True, largest=1e4, most_times_median=100.0)
def exploding(subject: Subject, limits: Limits) -> Iterator[Found]:
    """Neurons far larger than the rest of their layer.

    Reports neurons with a weight above `largest`, and neurons whose L2 norm is more than `most-times-median` that of
    the median neuron of the layer (of 8 neurons or more).

    Why: They drown all others in what reads them, and leave per-tensor quantization no resolution for the rest.
    Example: A batch normalisation with a variance near zero was folded into the weights.
    Fix: Look at the neuron's normalisation statistics; clip or retrain it; quantize this layer per channel.
    """
    for weight in subject.health.weights:
        rows = weight.neurons
        if weight.units == "steps":
            continue
        live = rows.l2[np.isfinite(rows.l2) & (rows.l2 > 0)]
        median = float(np.median(live)) if live.size >= 8 else float("inf")
        with np.errstate(invalid="ignore"):
            found = np.flatnonzero(
                (rows.max_abs > limits["largest"]) | (rows.l2 > limits["most-times-median"] * median)
            )
        if found.size:
            worst = int(found[np.argmax(rows.l2[found])])
            larger = (rows.l2[found] > limits["most-times-median"] * median).any()
            what = "far larger than the others" if larger else f"with weights above {limits['largest']:g}"
            yield Found(
                f"{some(found.size, rows.size, 'neuron')} {what}; neuron {worst} has norm "
                f"{float(rows.l2[worst]):.4g}" + (f", the median is {median:.4g}" if np.isfinite(median) else ""),
                weight.layer,
                weight.name,
                _neuron_axis(subject, weight.layer, weight.position),
                listed(found),
                {"largest_norm": f"{float(rows.l2[worst]):.6g}", "median_norm": f"{median:.6g}"},
            )


@check("GN209", "unread-neuron", "warning", reads_weights=True)
def unread(subject: Subject, limits: Limits) -> Iterator[Found]:
    """Neurons that nothing reads.

    Reports neurons whose outgoing synapses are all zero, in every layer that reads them; through residual sums and
    gates too, where nothing reads the channel they end in. Neurons that something else than a layer reads are left
    alone: an output, attention, an op that is not known, a LayerNorm, whose mean and variance every channel moves.

    Why: Whatever they say, nothing changes: half of a pruning was done, or weights were lost in the layer after them.
    Example: Columns 3 and 7 of the second layer of an MLP are zero.
    Fix: Cut them out along their coupled group (`graphneurons wiring MODEL --groups`), or restore what read them.
    """
    for layer, places in unread_neurons(subject.analysis, subject.health):
        yield Found(
            f"the outgoing synapses of {some(places.size, layer.neurons, 'neuron')} are all zero",
            layer.id,
            layer.weights[0].weight.name if layer.weights else None,
            _neuron_axis(subject, layer.id),
            listed(places),
            {"unread": int(places.size)},
        )


@check("GN210", "saturated-neuron", "warning", reads_weights=True)
def saturated(subject: Subject, limits: Limits) -> Iterator[Found]:
    """Neurons that provably always saturate.

    Computes the range of the neuron as `silent-neuron` does. Reports it if all of it lies where its activation has one
    output: beyond the ends of a HardSigmoid, a Clip or a quantization, or where the activation differs from its limit
    by less than float32 can tell apart (beyond 17 for a sigmoid, 9 for tanh, -17 for ELU).

    Why: Its output is one constant for every input.
    Example: A gate with a bias of -60.
    Fix: Replace it with its constant, or find out what moved the bias.
    """
    yield from saturated_neurons(subject)


def _neuron_axis(subject: Subject, layer: str, position: int = 0) -> int | None:
    weights = subject.analysis.layer(layer).weights
    axes = weights[position].axes if position < len(weights) else ()
    found = [at for at, axis in enumerate(axes) if any(factor.role == "neuron" for factor in axis.factors)]
    return found[0] if found else None


CHECKS: tuple[Check, ...] = (
    non_finite, dead, silent, copied, multiples, constant, subnormal, exploding, unread, saturated,
)  # fmt: skip

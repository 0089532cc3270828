"""GN4: what the hardware and the budget ask for. Nothing is asked unless the policy says so."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from graphneurons.analysis import Layer, WeightUse
from graphneurons.checks.base import Check, Found, Limits, Subject, check
from graphneurons.checks.numbers import listed, some
from graphneurons.checks.patterns import channels_of, dense_neurons, synapse_axis
from graphneurons.checks.scales import Quantized
from graphneurons.health.decoding import is_readable


@check("GN401", "neurons-not-aligned", "warning")
def alignment(subject: Subject, limits: Limits) -> Iterator[Found]:
    """Neurons that do not fill the hardware's tiles.

    Reports layers whose number of neurons is no multiple of `alignment` in the policy's `[hardware]`. The last layer
    (whose size is the number of classes) can be left out with `per-layer-ignores`.

    Why: Matrix units work on tiles of 8, 16 or 64: the rest of the last tile is computed for nothing, or the slow
    kernel is taken.
    Example: 1001 neurons with `alignment = 8`.
    Fix: Choose a multiple when the model is designed or pruned, or pad with zero neurons.
    """
    size = subject.policy.alignment
    for layer in subject.analysis.layers if size else ():
        if layer.neurons % (size or 1) and layer.tied_to is None:
            yield Found(
                f"{layer.neurons:,} neurons are no multiple of {size}",
                layer.id,
                evidence={"neurons": layer.neurons, "alignment": size},
            )


@check("GN402", "not-divisible", "error")
def tensor_parallel(subject: Subject, limits: Limits) -> Iterator[Found]:
    """Neurons or heads that cannot be shared out among devices.

    Reports coupled groups (heads, where attention works by heads; neurons elsewhere) of linear layers whose size is not
    divisible by `tensor-parallel` in the policy's `[hardware]`.

    Why: Tensor parallel runtimes give every device as many; they refuse the model or pad it.
    Example: 12 heads on 8 devices.
    Fix: Choose a degree that divides them, or change the number of heads.
    """
    degree = subject.policy.tensor_parallel
    if not degree:
        return
    linear = {layer.id for layer in subject.analysis.layers if layer.kind in ("linear", "attention", "experts")}
    for group in subject.analysis.groups:
        members = [
            use.of for member in group.members for use in member.uses if use.of in linear and use.role == "neuron"
        ]
        if not members or group.size % degree == 0 or group.granularity not in ("neuron", "head"):
            continue
        if any(other.granularity == "head" for other in subject.analysis.groups if other.id in group.alternatives):
            continue
        what = "heads" if group.granularity == "head" else "neurons"
        yield Found(
            f"{group.size:,} {what} are not divisible by {degree}",
            members[0],
            evidence={"size": group.size, "degree": degree, "layers": list(dict.fromkeys(members))[:20]},
        )


@check("GN403", "sparsity-pattern", "error", reads_weights=True)
def sparsity(subject: Subject, limits: Limits) -> Iterator[Found]:
    """Weights that do not have the sparsity they should.

    With `sparsity = "2:4"` in the policy's `[hardware]`, reports linear and convolutional layers in which some neuron
    has more than 2 nonzero among 4 neighbouring synapses: along the synapse axis, the only one along which sparse
    kernels work. Neighbours are input channels (of the same group) at one kernel tap. Depthwise convolutions have none
    and are left out; of integers, those count that differ from the zero point.

    Why: Sparse matrix units take the pattern for granted: the file is dense, or was pruned along the neurons.
    Example: A weight stored (in, out) that was pruned along its last axis.
    Fix: Prune along the input axis of every layer; leave out layers that stay dense with `per-layer-ignores`.
    """
    pattern = subject.policy.sparsity
    if pattern is None:
        return
    n, m = pattern
    zeros = {each.use.weight.name: each for each in subject.quantized}
    for layer in subject.analysis.layers:
        if layer.kind not in ("linear", "conv", "attention") or layer.tied_to is not None:
            continue
        for use in layer.weights:
            yield from _dense(layer, use, zeros.get(use.weight.name), n, m)


def _dense(layer: Layer, use: WeightUse, quantized: Quantized | None, n: int, m: int) -> Iterator[Found]:
    ref = use.weight
    along = synapse_axis(use)
    if along is None or use.elements is not None or not is_readable(ref.dtype):
        return
    channels = channels_of(use)
    if channels == 1:
        # A depthwise convolution has no neighbours that could be left out.
        return
    if channels % m:
        yield Found(f"{channels} synapses along axis {along} are no multiple of {m}", layer.id, ref.name, along)
        return
    flags = dense_neurons(use, quantized, n, m)
    dense = np.flatnonzero(flags) if flags is not None else np.zeros(0, np.int64)
    if flags is not None and dense.size:
        yield Found(
            f"{some(dense.size, flags.size, 'neuron')} with more than {n} of {m} neighbouring synapses not zero",
            layer.id,
            ref.name,
            along,
            listed(dense),
            {"pattern": f"{n}:{m}", "dense": int(dense.size)},
        )


@check("GN404", "too-many-neurons", "error")
def neurons(subject: Subject, limits: Limits) -> Iterator[Found]:
    """More neurons than the budget allows.

    Compares the model's neurons with `neurons` in the policy's `[budgets]`.

    Why: What was agreed on for the device is no longer kept.
    Example: `neurons = 100000`, and the model has 130,000.
    Fix: Make the model smaller, or raise the budget on purpose.
    """
    yield from _over(subject, "neurons", subject.analysis.totals.neurons)


@check("GN405", "too-many-synapses", "error")
def synapses(subject: Subject, limits: Limits) -> Iterator[Found]:
    """More synapses than the budget allows.

    Compares the model's synapses with `synapses` in the policy's `[budgets]`.

    Why: What was agreed on for the device is no longer kept.
    Example: `synapses = "25 M"`, and the model has 26 million.
    Fix: Make the model smaller, or raise the budget on purpose.
    """
    yield from _over(subject, "synapses", subject.analysis.totals.synapses)


@check("GN406", "too-many-parameters", "error")
def parameters(subject: Subject, limits: Limits) -> Iterator[Found]:
    """More parameters than the budget allows.

    Compares the model's parameters (synapses, tables and modulators) with `parameters` in the policy's `[budgets]`.

    Why: What was agreed on for the device is no longer kept.
    Example: `parameters = "7 B"`, and an untied head made it 7.5.
    Fix: Make the model smaller, or raise the budget on purpose.
    """
    yield from _over(subject, "parameters", subject.analysis.totals.parameters)


@check("GN407", "file-too-large", "error")
def file_size(subject: Subject, limits: Limits) -> Iterator[Found]:
    """A larger file than the budget allows.

    Compares the model file together with its external data with `file-size` in the policy's `[budgets]`.

    Why: It no longer fits where it is deployed, or takes too long to download.
    Example: `file-size = "100 MB"`, and weights were exported in float32.
    Fix: Store the weights in fewer bits, remove what is unused, or raise the budget on purpose.
    """
    budget = subject.policy.budgets.get("file-size")
    if budget is not None:
        yield from _over(subject, "file-size", subject.stored_bytes, "bytes")


def _over(subject: Subject, name: str, size: int, unit: str = "") -> Iterator[Found]:
    budget = subject.policy.budgets.get(name)
    if budget is not None and size > budget:
        yield Found(
            f"{size:,} {unit or name}, {size - budget:,} more than the {budget:,} allowed",
            evidence={"size": size, "budget": budget},
        )


CHECKS: tuple[Check, ...] = (
    alignment, tensor_parallel, sparsity, neurons, synapses, parameters, file_size,
)  # fmt: skip

"""GN5: what changed since a lock file was written, or against another model. Renamed, transposed and reordered layers
are recognized by their weights."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from graphneurons.checks.base import Check, Found, Limits, Subject, check
from graphneurons.checks.locking import Lock, LockedLayer, lock
from graphneurons.checks.pairing import Pair, pairs


def _both(subject: Subject) -> tuple[Lock, Lock, list[Pair]]:
    before: Lock = subject.other
    now = lock(subject.analysis, subject.health)
    return before, now, pairs(before.layers, now.layers)


@check("GN501", "layer-missing", "error", reads_weights=True)
def missing(subject: Subject, limits: Limits) -> Iterator[Found]:
    """A layer that was there is gone.

    Reports layers of the lock file (or of the model given with `--against`) that no layer of the model corresponds to.

    Why: What was tested and agreed on had this layer.
    Example: A head was cut off by exporting the backbone alone.
    Fix: Export the whole model, or write the lock anew if this is meant: `graphneurons lock MODEL -o LOCK`.
    """
    for before, now in _both(subject)[2]:
        if before is not None and now is None:
            yield Found(f"is gone: {_size(before)}", before.id, evidence={"was": _size(before)})


@check("GN502", "layer-added", "error", reads_weights=True)
def added(subject: Subject, limits: Limits) -> Iterator[Found]:
    """A layer that was not there before.

    Reports layers that correspond to none of the lock file, or of the model given with `--against`.

    Why: What was tested and agreed on did not have this layer.
    Example: An adapter was merged into the graph instead of into the weights.
    Fix: Find out where it comes from, or write the lock anew if this is meant.
    """
    for before, now in _both(subject)[2]:
        if before is None and now is not None:
            yield Found(f"is new: {_size(now)}", now.id, evidence={"is": _size(now)})


@check("GN503", "layer-size-changed", "error", reads_weights=True)
def resized(subject: Subject, limits: Limits) -> Iterator[Found]:
    """A layer with more or fewer neurons or synapses than before.

    Compares the counts of every layer with those of its partner.

    Why: The architecture is another one.
    Example: The hidden layer went from 1024 to 1000 neurons.
    Fix: Export the model that was agreed on, or write the lock anew if this is meant.
    """
    for before, now in _both(subject)[2]:
        if before is None or now is None:
            continue
        if (before.neurons, before.synapses_per_neuron) != (now.neurons, now.synapses_per_neuron):
            yield Found(
                f"was {_size(before)}, is {_size(now)}", now.id, evidence={"was": _size(before), "is": _size(now)}
            )


@check("GN504", "layer-changed", "error", reads_weights=True)
def changed(subject: Subject, limits: Limits) -> Iterator[Found]:
    """A layer that plays another part, has another activation or reads something else.

    Compares the activation, the part played (query, key, ...), whether it is tied, and the layers it reads.

    Why: With the same counts the model computes something else.
    Example: ReLU became GELU; query and key were swapped.
    Fix: Export the model that was agreed on, or write the lock anew if this is meant.
    """
    _, _, found = _both(subject)
    names = {before.id: now.id for before, now in found if before is not None and now is not None}
    for before, now in found:
        if before is None or now is None:
            continue
        told = [
            f"{what} was {was or 'none'}, is {now_is or 'none'}"
            for what, was, now_is in (
                ("activation", before.activation, now.activation),
                ("role", before.role, now.role),
                ("tied to", names.get(before.tied_to, before.tied_to), now.tied_to),
                ("reads", _reads(before, names), _reads(now, {})),
            )
            if was != now_is
        ]
        if told:
            yield Found("; ".join(told), now.id, evidence={"changes": told})


def _reads(layer: LockedLayer, names: dict[str, str]) -> str:
    """Layers by the names they have now; inputs and tables by what they are, as every exporter names them otherwise."""
    kinds = ("input:", "lookup:")
    told = {each.partition(":")[0] if each.startswith(kinds) else names.get(each, each) for each in layer.reads}
    return ", ".join(sorted(told))


@check("GN505", "dtype-changed", "warning", reads_weights=True)
def retyped(subject: Subject, limits: Limits) -> Iterator[Found]:
    """Weights of another type than before.

    Compares the element types of every layer's weights.

    Why: Precision, speed and size change with it, and what was measured no longer holds.
    Example: float16 became float32, and the file doubled.
    Fix: Export with the type that was agreed on, or write the lock anew if this is meant.
    """
    for before, now in _both(subject)[2]:
        if before is not None and now is not None and before.dtype != now.dtype:
            yield Found(f"was {before.dtype}, is {now.dtype}", now.id, evidence={"was": before.dtype, "is": now.dtype})


@check("GN506", "weights-changed", "warning", reads_weights=True, most=0.05)
def drifted(subject: Subject, limits: Limits) -> Iterator[Found]:
    """Weights that are not those of before.

    Compares the norms of the neurons of every layer, in order of size, and reports where some differ by more than the
    share `most`. Rounding by another type stays below.

    Why: A layer was trained further, lost its weights, or got those of another one.
    Example: A checkpoint of another epoch was exported.
    Fix: Export the checkpoint that was agreed on, or write the lock anew if this is meant.
    """
    for before, now in _both(subject)[2]:
        if before is None or now is None or not before.norms or not now.norms:
            continue
        if len(before.norms) != len(now.norms) or before.neurons != now.neurons:
            continue
        was, current = np.array(before.norms), np.array(now.norms)
        scale = max(float(was.max()), 1e-30)
        change = float(np.abs(current - was).max()) / scale
        if change > limits["most"]:
            yield Found(
                f"the norms of its neurons changed by up to {change:.1%}: the whole layer was {before.norm:.4g}, "
                f"is {now.norm:.4g}",
                now.id,
                evidence={"change": round(change, 6), "was": before.norm, "is": now.norm},
            )


@check("GN507", "interface-changed", "error")
def interface(subject: Subject, limits: Limits) -> Iterator[Found]:
    """Inputs or outputs with other names than before.

    Compares the names of the model's inputs and outputs, and their order.

    Why: Whoever calls the model does so by name or by place.
    Example: The output `logits` is now called `output_0`.
    Fix: Export with `input_names` and `output_names`, or write the lock anew if this is meant.
    """
    before: Lock = subject.other
    graph = subject.analysis.graph
    for what, was, now in (
        ("inputs", before.inputs, tuple(value.name for value in graph.inputs)),
        ("outputs", before.outputs, tuple(graph.outputs)),
    ):
        if was != now:
            yield Found(
                f"the {what} were {', '.join(was) or 'none'}, are {', '.join(now) or 'none'}", evidence={"what": what}
            )


@check("GN508", "layer-renamed", "info", reads_weights=True)
def renamed(subject: Subject, limits: Limits) -> Iterator[Found]:
    """A layer that has another name than before.

    Reports layers whose partner in the lock file is called otherwise.

    Why: Nothing changes but the names; whatever refers to layers by name has to follow.
    Example: `encoder.0` became `/encoder/encoder.0/MatMul`, as another exporter calls it.
    Fix: Nothing, or write the lock anew.
    """
    for before, now in _both(subject)[2]:
        if before is not None and now is not None and before.id != now.id:
            yield Found(f"was called {before.id}", now.id, evidence={"was": before.id})


def _size(layer: LockedLayer) -> str:
    return f"{layer.neurons:,} neurons of {layer.synapses_per_neuron:,} synapses"


CHECKS: tuple[Check, ...] = (missing, added, resized, changed, retyped, drifted, interface, renamed)

"""Who reads a layer's neurons: proofs that nothing but layers does, and with which synapses."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from graphneurons.analysis import Analysis, Layer
from graphneurons.axes.binding import Binding
from graphneurons.axes.notation import Rule
from graphneurons.axes.steps import Layout
from graphneurons.graph import Op
from graphneurons.health import Health
from graphneurons.wiring.records import CONSTANT, Source

_FARTHEST = 512
_APART = frozenset({"map", "sum", "product", "pool", "reduce", "resize"})
"""Kinds of rules that leave neurons apart, or else mark what they mix, which counts as hearing all."""

Part = tuple[npt.NDArray[np.int64], npt.NDArray[np.bool_]]
Pairs = tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]


def groups_of(analysis: Analysis, layer: str) -> int:
    """How many equal runs the neurons of a layer fall into, each reading only its own channels."""
    return max((each.groups for each in analysis.wiring.synapses.get(layer, ())), default=1)


def unread_neurons(analysis: Analysis, health: Health) -> Iterator[tuple[Layer, npt.NDArray[np.int64]]]:
    """Layers with the neurons that all their readers multiply by zero."""
    readers = _readers(analysis)
    silent = _silent(analysis, health)
    made: dict[str, list[Layer]] = {}
    for layer in analysis.layers:
        made.setdefault(layer.op.name, []).append(layer)
    for layer in analysis.layers:
        source = analysis.wiring.source.get(layer.id)
        reading = readers.get(layer.id)
        if source is None or reading is None or len(made[layer.op.name]) > 1:
            continue
        heard = np.zeros(source.size, bool)
        seen = np.zeros(source.size, bool)
        numbers_of = _carriers(analysis, source)
        for name in reading:
            for each in made.get(name, ()):
                if each.id not in silent:
                    heard[:] = True
                    continue
                for numbers, mute in silent[each.id]:
                    if (numbers[~mute] < CONSTANT).any():
                        # Several neurons met without a weight, or nobody knows who: any may be among them.
                        heard[:] = True
                    for carriers, neurons in numbers_of:
                        seen[neurons[np.isin(carriers, numbers)]] = True
                        heard[neurons[np.isin(carriers, numbers[~mute])]] = True
        found = np.flatnonzero(seen & ~heard)
        if found.size:
            yield layer, found


def _carriers(analysis: Analysis, source: Source) -> list[Pairs]:
    """(numbers, neurons) of everything that carries a neuron of ``source``: itself, and the indices of the junctions in
    which it is summed or multiplied, junction after junction."""
    places = np.arange(source.size, dtype=np.int64)
    found: list[Pairs] = [(source.base + places, places)]
    for junction in analysis.wiring.junctions:
        own = analysis.wiring.source.get(f"junction:{junction.id}")
        if own is None:
            continue
        met: list[Pairs] = []
        for member in junction.members:
            for carriers, neurons in found:
                if not carriers.size or carriers[0] > member.max(initial=-1) or carriers[-1] < member.min(initial=0):
                    continue
                at = np.searchsorted(carriers, member)
                hits = np.flatnonzero(carriers[np.minimum(at, carriers.size - 1)] == member)
                if hits.size:
                    met.append((own.base + hits, neurons[at[hits]]))
        found.extend(met)
    return found


def _silent(analysis: Analysis, health: Health) -> dict[str, list[Part]]:
    """Layer -> for each of its weights, what its channels read and which are all zero; only where all is known."""
    found: dict[str, list[Part]] = {}
    for layer in analysis.layers:
        own = health.layer.get(layer.id)
        synapses = analysis.wiring.synapses.get(layer.id, ())
        if own is None or not own.scanned or len(synapses) != len(layer.weights) or len(own.weights) != len(synapses):
            continue
        parts = []
        for each in synapses:
            mute = own.weights[each.weight].channels.silent
            if mute.size == each.neurons.size:
                parts.append((each.neurons, mute))
        if len(parts) == len(synapses):
            found[layer.id] = parts
    return found


def _readers(analysis: Analysis) -> dict[str, set[str]]:
    """Layer -> names of the ops of the layers that read it, where nothing else does."""
    found: dict[str, set[str]] = {}
    layers = {layer.op.name for layer in analysis.layers}
    weights = {(layer.op.name, use.input) for layer in analysis.layers for use in layer.weights}
    for layer in analysis.layers:
        ends = _ends(layer, analysis, layers, weights)
        if ends:
            found[layer.id] = ends
    return found


def _ends(layer: Layer, analysis: Analysis, layers: set[str], weights: set[tuple[str, int]]) -> set[str] | None:
    graph = analysis.graph
    op = graph.producer.get(layer.op.output)
    if op is None or layer.kind not in ("linear", "conv", "conv_transpose"):
        return None
    ends: set[str] = set()
    waiting, met = [layer.op.output], {layer.op.output}
    while waiting:
        name = waiting.pop()
        if name in graph.outputs or len(met) > _FARTHEST:
            return None
        for reader in graph.consumers.get(name, ()):
            if reader.name in layers:
                if any((reader.name, at) in weights for at, each in enumerate(reader.inputs) if each == name):
                    return None
                ends.add(reader.name)
            elif not _keeps_apart(reader, name, analysis):
                return None
            else:
                fresh = [each for each in reader.outputs if each and each not in met]
                waiting.extend(fresh)
                met.update(fresh)
    return ends


def _keeps_apart(op: Op, name: str, analysis: Analysis) -> bool:
    """Whether ``op`` does something to every neuron by itself, or sums or multiplies it with one other neuron."""
    resolution = analysis.resolution
    if resolution is None or op.type in ("Softmax", "LogSoftmax", "LayerNormalization"):
        return False
    step = resolution.steps.get(op.name)
    rule = step.rule if isinstance(step, Binding) else step
    alone = all(not each or each == name or each in resolution.constants for each in op.inputs)
    if not alone:
        return isinstance(rule, Rule) and rule.kind in ("sum", "product") and _meets_by_index(op, analysis)
    if isinstance(step, Layout):
        return True
    return isinstance(rule, Rule) and rule.kind in _APART


def _meets_by_index(op: Op, analysis: Analysis) -> bool:
    """Whether it is known of every index of a sum or product who meets there."""
    met = [junction for junction in analysis.wiring.junctions if junction.op == op.name]
    return bool(met) and all(int(member.min(initial=0)) >= CONSTANT for each in met for member in each.members)

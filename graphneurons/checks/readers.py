"""Who reads a layer's neurons: proofs that nothing but layers does, and with which synapses."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from graphneurons.analysis import Analysis, Layer
from graphneurons.axes.binding import Binding
from graphneurons.axes.notation import Rule
from graphneurons.axes.resolving import Layout
from graphneurons.graph import Op
from graphneurons.health import Health

_FARTHEST = 64

Part = tuple[npt.NDArray[np.int64], npt.NDArray[np.bool_]]


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
        for name in reading:
            for each in made.get(name, ()):
                if each.id not in silent:
                    heard[:] = True
                    continue
                for numbers, mute in silent[each.id]:
                    own = (numbers >= source.base) & (numbers < source.base + source.size)
                    seen[numbers[own] - source.base] = True
                    heard[numbers[own & ~mute] - source.base] = True
        found = np.flatnonzero(seen & ~heard)
        if found.size:
            yield layer, found


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
    """Whether ``op`` does something to every neuron by itself: nothing else that is computed goes in."""
    resolution = analysis.resolution
    if resolution is None or any(each and each != name and each not in resolution.constants for each in op.inputs):
        return False
    if op.type in ("Softmax", "LogSoftmax", "LayerNormalization"):
        return False
    step = resolution.steps.get(op.name)
    if isinstance(step, Layout):
        return True
    rule = step.rule if isinstance(step, Binding) else step
    return isinstance(rule, Rule) and rule.kind in ("map", "sum", "product", "pool")

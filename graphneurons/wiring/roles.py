"""Parts played: query, key, value and output of attention, key, gate and value of an MLP block.

Told by what meets where, never by names: two activations are contracted and the result goes through a softmax into a
second product (Vaswani et al. 2017, "Attention Is All You Need", section 3.2); a layer with an activation, possibly
gated, feeds one without (Geva et al. 2021, "Transformer Feed-Forward Layers Are Key-Value Memories").
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from graphneurons.axes.binding import Binding
from graphneurons.axes.notation import Rule
from graphneurons.axes.planes import Plane, distinct
from graphneurons.axes.resolving import Resolution
from graphneurons.axes.steps import Layout
from graphneurons.graph import Op
from graphneurons.wiring.records import Integers, Source, Wiring
from graphneurons.wiring.rides import PLAYED, Ride
from graphneurons.wiring.wiring import Named

ORDER = ("query", "key", "value", "output", "mlp_key", "mlp_gate", "mlp_value")

_FARTHEST = 24
_MOST_LAYERS = 4
_BLOCKS = frozenset({"linear", "experts"})
_THROUGH = frozenset({"map", "sum", "product", "select", "normalisation", "mix"})


def parts_played(ride: Ride, wiring: Wiring, layers: Sequence[Named]) -> Mapping[str, str]:
    """Layer id -> the part it plays, several joined by ``+`` in the order of `ORDER`."""
    found: dict[str, str] = {}
    several: dict[str, set[str]] = {}
    for part, layer in (*_attention(ride, wiring, layers), *_mlp(wiring, layers)):
        first = found.setdefault(layer, part)
        if first != part:
            several.setdefault(layer, {first}).add(part)
    for layer, parts in several.items():
        found[layer] = "+".join(part for part in ORDER if part in parts)
    return found


def _attention(ride: Ride, wiring: Wiring, layers: Sequence[Named]) -> Iterator[tuple[str, str]]:
    if not ride.guests and all(layer.kind != "attention" for layer in layers):
        return
    by_op: dict[str, list[str]] = {}
    for layer in layers:
        by_op.setdefault(layer.op.name, []).append(layer.id)
    for op, doing in ride.resolution.running:
        step = doing.step
        if not isinstance(step, Binding) or step.rule.kind not in PLAYED:
            continue
        if step.rule.kind == "attention" and op.name in by_op:
            yield from (("query", layer) for layer in by_op[op.name])
            yield from (("key", layer) for layer in by_op[op.name])
            yield from (("value", layer) for layer in by_op[op.name])
            yield from (("output", layer) for layer in _readers(ride, op, by_op))
        elif step.rule.kind == "attention":
            yield from _fused(ride, wiring, op, by_op)
        elif op.name not in by_op and (op.name, 0) in ride.guests and (op.name, 1) in ride.guests:
            yield from _scored(ride, wiring, op, by_op)


def _fused(ride: Ride, wiring: Wiring, op: Op, by_op: Mapping[str, list[str]]) -> Iterator[tuple[str, str]]:
    """An op that is given query, key and value, in this order, or all of them packed in one."""
    given = [index for index in range(3) if (op.name, index) in ride.guests]
    parts = (
        (("query", "key", "value"),)
        if given == [0]
        else (("query",), ("key", "value"))
        if given == [0, 1]
        else (
            ("query",),
            ("key",),
            ("value",),
        )
    )
    for index, names in zip(given, parts, strict=False):
        for layer in _makers(ride, wiring, op, index):
            yield from ((name, layer) for name in names)
    yield from (("output", layer) for layer in _readers(ride, op, by_op))


def _scored(ride: Ride, wiring: Wiring, op: Op, by_op: Mapping[str, list[str]]) -> Iterator[tuple[str, str]]:
    """Scores as a product of two activations, through a softmax, into the product with the values."""
    softmax = _next(ride.resolution, op, _is_softmax)
    if softmax is None:
        return
    mixing = _next(ride.resolution, softmax, lambda step: isinstance(step, Binding) and step.rule.kind == "linear")
    if mixing is None or (mixing.name, 0) not in ride.guests or (mixing.name, 1) not in ride.guests:
        return
    key = _key_operand(ride.resolution, op, softmax)
    value = 1 if _reaches(ride.resolution, softmax, mixing, 0) else 0
    yield from (("query", layer) for layer in _makers(ride, wiring, op, 1 - key))
    yield from (("key", layer) for layer in _makers(ride, wiring, op, key))
    yield from (("value", layer) for layer in _makers(ride, wiring, mixing, value))
    yield from (("output", layer) for layer in _readers(ride, mixing, by_op))


def _is_softmax(step: object) -> bool:
    return isinstance(step, Binding) and step.rule.kind == "softmax"


def _key_operand(resolution: Resolution, op: Op, softmax: Op) -> int:
    """Which operand of the scores the softmax normalises over: the one that brings the axis it runs along."""
    step, normal = resolution.steps[op.name], resolution.steps[softmax.name]
    if not isinstance(step, Binding) or not isinstance(normal, Binding):
        return 1
    axes, result = normal.operands[0] or (), step.results[0] or ()
    along = [len(axes) - axis for axis, names in enumerate(axes) if set(names) & normal.mixed]
    if not along or not 0 < along[-1] <= len(result):
        return 1
    names = set(result[-along[-1]])
    first = {name for axis in step.operands[0] or () for name in axis}
    return 0 if names & first else 1


def _follow(resolution: Resolution, op: Op) -> Iterator[tuple[Op, str]]:
    """The ops that ``op`` reaches through layouts and elementwise ops, breadth first, with the value that got there."""
    front = deque((name, 0) for name in op.outputs[:1] if name)
    seen = set(front)
    while front:
        value, distance = front.popleft()
        for reader in resolution.graph.consumers.get(value, ()):
            yield reader, value
            step = resolution.steps[reader.name]
            through = isinstance(step, Layout) or (isinstance(step, (Rule, Binding)) and _kind(step) in _THROUGH)
            if through and distance < _FARTHEST:
                for name in reader.outputs:
                    if name and (name, distance + 1) not in seen:
                        seen.add((name, distance + 1))
                        front.append((name, distance + 1))


def _kind(step: Rule | Binding) -> str:
    return step.rule.kind if isinstance(step, Binding) else step.kind


def _next(resolution: Resolution, op: Op, wanted: object) -> Op | None:
    for reader, _ in _follow(resolution, op):
        if callable(wanted) and wanted(resolution.steps[reader.name]):
            return reader
    return None


def _reaches(resolution: Resolution, op: Op, target: Op, index: int) -> bool:
    return any(
        reader.name == target.name and value == target.inputs[index] for reader, value in _follow(resolution, op)
    )


def _readers(ride: Ride, op: Op, by_op: Mapping[str, list[str]]) -> Iterator[str]:
    """The first layer that reads what ``op`` puts out."""
    for reader, _ in _follow(ride.resolution, op):
        if reader.name in by_op:
            yield from by_op[reader.name]
            return
        if _is_softmax(ride.resolution.steps[reader.name]):
            return


def _makers(ride: Ride, wiring: Wiring, op: Op, index: int) -> Sequence[str]:
    """The layers whose neurons ride in on operand ``index``: directly, or through one meeting (rotary embeddings)."""
    rider = ride.guests.get((op.name, index))
    if not isinstance(rider, Plane):
        return ()
    layers = layers_behind(wiring, rider.data.reshape(-1), 2)
    return layers if layers is not None and len(layers) <= _MOST_LAYERS else ()


def layers_behind(wiring: Wiring, numbers: Integers, levels: int) -> list[str] | None:
    """Ids of the layers ``numbers`` belong to, junctions opened ``levels`` deep; None if anything else is there."""
    found: dict[str, None] = {}
    front: Sequence[Integers] = [numbers]
    for _ in range(levels + 1):
        inner = []
        for source in _senders(wiring, front):
            if source.kind == "layer":
                found[source.id] = None
            elif source.kind == "junction":
                inner.append(source)
            else:
                return None
        if not inner:
            return list(found)
        front = [member for source in inner for member in wiring.junction[source.id].members]
    return None


def _senders(wiring: Wiring, parts: Sequence[Integers]) -> list[Source]:
    """Every source that any of the numbers in ``parts`` belongs to, in the order of their numbers."""
    found: dict[int, Source] = {}
    for numbers in parts:
        known = distinct(numbers)
        at = int(known.searchsorted(0))
        while at < known.size:
            source, _ = wiring.locate(int(known[at]))
            found[source.base] = source
            at = int(known.searchsorted(source.base + max(source.size, 1)))
    return [found[base] for base in sorted(found)]


def _mlp(wiring: Wiring, layers: Sequence[Named]) -> Iterator[tuple[str, str]]:
    by_id = {layer.id: layer for layer in layers}
    for layer in layers:
        if layer.kind not in _BLOCKS or layer.activation is not None:
            continue
        numbers = [synapses.neurons for synapses in wiring.synapses.get(layer.id, ())]
        if not numbers:
            continue
        behind = _hidden(wiring, numbers[0] if len(numbers) == 1 else np.concatenate(numbers))
        if behind is None:
            continue
        keys, gates = behind
        modified = [by_id[name] for name in (*gates, *keys) if name in by_id]
        if not any(_is_hidden(item) for item in modified) or any(item.kind not in _BLOCKS for item in modified):
            continue
        yield "mlp_value", layer.id
        if gates and len({*keys, *gates}) > 1:
            gating = [item.id for item in modified if _is_hidden(item)]
            yield from (("mlp_gate" if item.id in gating else "mlp_key", item.id) for item in modified)
        else:
            yield from (("mlp_key", name) for name in keys)
            yield from (("mlp_gate", name) for name in gates)


def _is_hidden(layer: Named) -> bool:
    return layer.activation is not None and "oftmax" not in layer.activation


def _hidden(wiring: Wiring, numbers: Integers) -> tuple[list[str], list[str]] | None:
    """The layers an MLP's value neurons read: (keys, gates). Gates are there where a product of two layers is read.
    None where the ``numbers`` are not all of one source."""
    if not numbers.size or (first := int(np.minimum.reduce(numbers))) < 0:
        return None
    source, _ = wiring.locate(first)
    if np.maximum.reduce(numbers) >= source.base + max(source.size, 1):
        return None
    if source.kind == "layer":
        return [source.id], []
    if source.kind == "junction" and wiring.junction[source.id].kind == "sum":
        behind = layers_behind(wiring, numbers, 1)
        return (behind, []) if behind is not None and len(behind) == 1 else None
    if source.kind != "junction" or wiring.junction[source.id].kind != "product":
        return None
    made = [layers_behind(wiring, member, 1) for member in wiring.junction[source.id].members]
    if len(made) != 2 or any(item is None or len(item) != 1 for item in made):
        return None
    return made[1] or [], made[0] or []

"""The layers of one attention and its heads, told by roles, by fused ops' attributes and by what reshapes say."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

import numpy as np

from graphneurons.analysis import Analysis, Layer
from graphneurons.errors import DataError, UsageError
from graphneurons.graph import ModelGraph, Op
from graphneurons.load.reading import read
from graphneurons.views.blocks import Integers
from graphneurons.views.options import Options

PARTS = ("query", "key", "value")
_FARTHEST = 16


@dataclass(frozen=True)
class Projection:
    """The neurons of ``layer`` that make the queries, keys or values: ``neurons``, head after head."""

    layer: Layer
    neurons: Integers


@dataclass(frozen=True)
class Attention:
    """One attention: ``heads`` query heads share ``kv_heads`` key and value heads of ``width`` neurons each."""

    parts: dict[str, Projection]
    output: Layer | None
    heads: int
    kv_heads: int
    width: int
    packed: bool


def attention_of(analysis: Analysis, layer: Layer, options: Options) -> Attention:
    """The attention that ``layer`` is part of. Raises `UsageError` where it is none or its heads cannot be told."""
    roles = set((layer.role or "").split("+"))
    if not roles & {*PARTS, "output"}:
        raise UsageError(f"{layer.id} is no part of an attention; use --view rows, or name a query, key or value layer")
    members = _members(analysis, layer)
    found = {part: next((one for one in members if part in (one.role or "").split("+")), None) for part in PARTS}
    missing = [part for part, one in found.items() if one is None]
    if missing:
        raise UsageError(f"the layers of {missing[0]} of {layer.id}'s attention cannot be told; use --view rows")
    output = next((one for one in members if "output" in (one.role or "").split("+")), None)
    layers = {part: one for part, one in found.items() if one is not None}
    parts = _parts(analysis, layers, output)
    queries, values = parts["query"].neurons.size, parts["value"].neurons.size
    heads = options.heads or _heads_of(analysis.graph, layers["query"], queries)
    if heads is None:
        raise UsageError(f"the file does not say how many heads {layers['query'].id} has; say it: --heads N")
    if queries % heads:
        raise UsageError(
            f"--heads {heads}: {layers['query'].id} has {queries} query neurons, which do not divide by it"
        )
    width = queries // heads
    kv_heads = options.kv_heads or max(1, parts["key"].neurons.size // width)
    if parts["key"].neurons.size % kv_heads or values % kv_heads or heads % kv_heads:
        raise UsageError(f"{kv_heads} key and value heads do not fit {heads} query heads; say it: --kv-heads N")
    return Attention(parts, output, heads, kv_heads, width, len({one.id for one in layers.values()}) < 3)


def _members(analysis: Analysis, layer: Layer) -> list[Layer]:
    """The layers of the same attention: those below the same module, else those up to the next output."""
    parent = layer.id.rpartition(".")[0]
    marked = [one for one in analysis.layers if set((one.role or "").split("+")) & {*PARTS, "output"}]
    near = [one for one in marked if parent and one.id.rpartition(".")[0] == parent]
    if {part for one in near for part in (one.role or "").split("+")} >= set(PARTS):
        return near
    groups: list[list[Layer]] = [[]]
    for one in marked:
        groups[-1].append(one)
        if "output" in (one.role or "").split("+"):
            groups.append([])
    return next(group for group in groups if layer in group)


def _parts(analysis: Analysis, layers: dict[str, Layer], output: Layer | None) -> dict[str, Projection]:
    parts = {}
    for part, layer in layers.items():
        sharing = [other for other in PARTS if layers[other].id == layer.id]
        every = np.arange(layer.neurons, dtype=np.int64)
        if len(sharing) == 1:
            parts[part] = Projection(layer, every)
            continue
        values = _read_by(analysis, layer, output) if "value" in sharing else None
        if values is None or (layer.neurons % len(sharing) and len(sharing) == 2):
            values = np.array_split(every, len(sharing))[-1]
        if part == "value":
            parts[part] = Projection(layer, values)
            continue
        rest = np.setdiff1d(every, values)
        others = [other for other in sharing if other != "value"]
        size = values.size if len(others) == 2 else rest.size
        at = others.index(part)
        parts[part] = Projection(layer, rest[rest.size - size :] if at == len(others) - 1 else rest[: rest.size - size])
    return parts


def _read_by(analysis: Analysis, layer: Layer, output: Layer | None) -> Integers | None:
    """The neurons of ``layer`` that the attention's output layer reads: the values."""
    source = analysis.wiring.source.get(layer.id)
    if source is None or output is None:
        return None
    read_ = [one.neurons for one in analysis.wiring.synapses.get(output.id, ())]
    numbers = np.unique(np.concatenate(read_)) - source.base if read_ else np.zeros(0, np.int64)
    inside = numbers[(numbers >= 0) & (numbers < source.size)]
    return inside if 0 < inside.size < layer.neurons else None


def _heads_of(graph: ModelGraph, layer: Layer, width: int) -> int | None:
    """How many heads the first reshape after ``layer`` makes of its ``width`` neurons, or what a fused op says."""
    own = _told(graph.producer[layer.op.output])
    if own is not None:
        return own
    front = deque([(layer.op.output, 0)])
    seen = {layer.op.output}
    while front:
        value, distance = front.popleft()
        for op in graph.consumers.get(value, ()):
            heads = _told(op) or _split(graph, op.inputs[1] if len(op.inputs) > 1 else "", op.output, width)
            if heads is not None:
                return heads
            if distance < _FARTHEST:
                for name in op.outputs:
                    if name and name not in seen:
                        seen.add(name)
                        front.append((name, distance + 1))
    return None


def _told(op: Op) -> int | None:
    """What a fused op says itself."""
    for name in ("num_heads", "q_num_heads"):
        told = op.attributes.get(name)
        if isinstance(told, int) and told > 0:
            return told
    return None


def _split(graph: ModelGraph, shape: str, output: str, width: int) -> int | None:
    """The number of heads where ``output``, or the ``shape`` it is given, ends in (heads, width of a head)."""
    declared = graph.declared.get(output)
    sizes = list(declared.shape) if declared is not None and declared.shape is not None else []
    if shape:
        sizes = _constants(graph, shape) or sizes
    if len(sizes) < 3:
        return None
    heads, each = sizes[-2:]
    if isinstance(each, int) and 0 < each < width and width % each == 0:
        # The batch may be folded into the heads.
        fits = heads == -1 or (isinstance(heads, int) and heads > 0 and heads % (width // each) == 0)
        return width // each if fits else None
    if isinstance(heads, int) and each == -1 and heads > 1 and width % heads == 0:
        return heads
    return None


def _constants(graph: ModelGraph, shape: str) -> list[int | str | None]:
    """The entries of a shape that is constant, or concatenated of parts some of which are (None for the others)."""
    maker = graph.producer.get(shape)
    parts = maker.inputs if maker is not None and maker.type == "Concat" else (shape,)
    sizes: list[int | str | None] = []
    for part in parts:
        ref = graph.weights.get(part)
        if ref is None or ref.dtype != "int64" or len(ref.shape) > 1 or ref.elements > 8:
            sizes.append(None)
            continue
        try:
            sizes.extend(int(size) for size in read(ref).reshape(-1))
        except DataError:
            sizes.append(None)
    return sizes if any(isinstance(size, int) for size in sizes) else []

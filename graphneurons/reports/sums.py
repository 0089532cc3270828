"""Sums over layers, lookups and modulators: by op type and by scope. A weight or layer met again counts once."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from heapq import nsmallest
from itertools import islice
from math import prod

from graphneurons.analysis import Analysis, Layer, OpRef, WeightUse

DEEPEST = 64
MOST_LINES = 32
MOST_LAYERS = 10_000
FEW_LAYERS = 100


@dataclass(frozen=True, slots=True)
class Sum:
    """What lies under one name. ``depth`` is the level in a tree of scopes (0: the model)."""

    name: str
    layers: int
    neurons: int
    synapses: int
    parameters: int
    depth: int = 0
    last: tuple[bool, ...] = ()


@dataclass(frozen=True, slots=True)
class _Entry:
    op: OpRef
    scope: tuple[str, ...]
    layers: int
    neurons: int
    synapses: int
    parameters: int


def elements(use: WeightUse) -> int:
    """Elements of the part of a weight this use takes. Packed formats (4-bit weights in bytes) count what they unpack
    to: what is stored of them says less, as bytes hold several elements, and padding."""
    if use.elements is not None:
        return use.elements
    if use.part is not None:
        return prod(stop - start for start, stop in use.part)
    return prod(axis.size for axis in use.axes) if use.axes else use.weight.elements


def by_op(analysis: Analysis) -> list[Sum]:
    """One sum per op type, most synapses first."""
    found: dict[str, list[_Entry]] = {}
    for entry in _entries(analysis):
        op = entry.op
        found.setdefault(f"{op.domain}.{op.type}" if op.domain else op.type, []).append(entry)
    sums = [_total(name, entries) for name, entries in found.items()]
    return sorted(sums, key=lambda each: (-each.synapses, -each.parameters, each.name))


def chosen(layers: Sequence[Layer], top: int | None) -> tuple[Sequence[Layer], Sequence[Layer]]:
    """The layers a person is shown one by one, and those that are summed up: all and none, unless there are more than
    `MOST_LAYERS`; with ``top``, the so many largest."""
    if top is None:
        if len(layers) <= MOST_LAYERS:
            return layers, ()
        top = FEW_LAYERS
    return largest(layers, top)


def largest(layers: Iterable[Layer], count: int) -> tuple[list[Layer], list[Layer]]:
    """The ``count`` layers with most synapses, largest first, and all others. Tied layers are among the others."""
    every = list(layers)
    if len(every) <= count:
        return sorted(every, key=_rank), []
    first = nsmallest(count, range(len(every)), key=lambda index: (*_rank(every[index]), index))
    kept = set(first)
    return [every[index] for index in first], [layer for index, layer in enumerate(every) if index not in kept]


def _rank(layer: Layer) -> tuple[bool, int]:
    return layer.tied_to is not None, -layer.synapses


def summed(name: str, layers: Iterable[Layer]) -> Sum:
    """``layers`` as one sum; tied layers add nothing to it."""
    counted = [layer for layer in layers if layer.tied_to is None]
    return Sum(
        name,
        len(counted),
        sum(layer.neurons for layer in counted),
        sum(layer.synapses for layer in counted),
        sum(elements(use) for layer in counted for use in layer.weights),
    )


def by_scope(analysis: Analysis, depth: int | None = None) -> list[Sum]:
    """The tree of module paths, top down, in the order of the graph, to ``depth`` levels below the model.

    Without a depth: as deep as fits in `MOST_LINES` lines, at least one level. A scope with nothing of its own and one
    child is shown as one line (``encoder.layer``).
    """
    root = _tree(_entries(analysis))
    # A stored tensor of which only parts are used is a parameter as a whole, which no scope below can claim.
    root.parameters = analysis.totals.parameters
    if depth is not None:
        return list(_walk(root, min(depth, DEEPEST)))
    shown = list(_walk(root, 1))
    for level in range(2, DEEPEST):
        deeper = list(islice(_walk(root, level), MOST_LINES + 1))
        if len(deeper) > MOST_LINES or len(deeper) == len(shown):
            break
        shown = deeper
    return shown


def _entries(analysis: Analysis) -> Iterator[_Entry]:
    seen: set[tuple[str, object]] = set()

    def fresh(uses: tuple[WeightUse, ...]) -> int:
        added = 0
        for use in uses:
            key = (use.weight.name, use.part)
            if key not in seen and (use.weight.name, None) not in seen:
                seen.add(key)
                added += elements(use)
        return added

    for layer in analysis.layers:
        once = layer.tied_to is None
        numbers = (1, layer.neurons, layer.synapses) if once else (0, 0, 0)
        yield _Entry(layer.op, layer.scope, *numbers, fresh(layer.weights))
    for lookup in analysis.lookups:
        yield _Entry(lookup.op, lookup.scope, 0, 0, 0, fresh(lookup.weights))
    for modulator in analysis.modulators:
        yield _Entry(modulator.op, modulator.scope, 0, 0, 0, fresh(modulator.weights))
    known = {name for name, _ in seen}
    for each in analysis.unlabelled:
        # No scope is known of these; they are part of the model's own sum, which must be that of its totals.
        yield _Entry(each.op, (), 0, 0, 0, 0 if each.name in known else prod(each.shape))
        known.add(each.name)


def _total(name: str, entries: Iterable[_Entry]) -> Sum:
    total = _Scope(name)
    for entry in entries:
        _add(total, entry)
    return total.summed()


class _Scope:
    __slots__ = ("children", "here", "layers", "name", "neurons", "parameters", "synapses")

    def __init__(self, name: str) -> None:
        self.name = name
        self.children: dict[str, _Scope] = {}
        self.here = False
        self.layers = self.neurons = self.synapses = self.parameters = 0

    def summed(self, name: str | None = None, depth: int = 0, last: tuple[bool, ...] = ()) -> Sum:
        return Sum(name or self.name, self.layers, self.neurons, self.synapses, self.parameters, depth, last)


def _tree(entries: Iterable[_Entry]) -> _Scope:
    root = _Scope("")
    for entry in entries:
        node = root
        _add(node, entry)
        for name in entry.scope[:DEEPEST]:
            node = node.children.setdefault(name, _Scope(name))
            _add(node, entry)
        node.here = True
    return root


def _add(node: _Scope, entry: _Entry) -> None:
    node.layers += entry.layers
    node.neurons += entry.neurons
    node.synapses += entry.synapses
    node.parameters += entry.parameters


def _walk(root: _Scope, depth: int) -> Iterator[Sum]:
    pending: list[tuple[_Scope, int, tuple[bool, ...]]] = [(root, 0, ())]
    while pending:
        node, level, last = pending.pop()
        names = [node.name]
        while node is not root and not node.here and len(node.children) == 1:
            node = next(iter(node.children.values()))
            names.append(node.name)
        yield node.summed(".".join(names), level, last)
        if level < depth:
            children = list(node.children.values())
            final = len(children) - 1
            pending += [(child, level + 1, (*last, i == final)) for i, child in reversed(list(enumerate(children)))]

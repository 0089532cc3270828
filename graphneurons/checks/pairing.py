"""Which layer of a lock is which layer now, however the export named, transposed or ordered them."""

from __future__ import annotations

from collections.abc import Sequence
from difflib import SequenceMatcher

from graphneurons.checks.locking import LockedLayer

Pair = tuple[LockedLayer | None, LockedLayer | None]

_MOST_ALIGNED = 4000


def pairs(before: Sequence[LockedLayer], now: Sequence[LockedLayer]) -> list[Pair]:
    """Partners, in the order of ``now``; layers without one are paired with None.

    Layers are told by their weights' norms first (those that agree in all of them), then by name, and what is left by
    their place among layers of the same sizes.
    """
    partner: dict[int, int] = {}
    taken: set[int] = set()

    def settle(left: int, right: int) -> None:
        partner[right] = left
        taken.add(left)

    marks: dict[object, list[int]] = {}
    for at, layer in enumerate(before):
        if layer.norms:
            marks.setdefault(_mark(layer), []).append(at)
    for at, layer in enumerate(now):
        candidates = [left for left in marks.get(_mark(layer), ()) if left not in taken] if layer.norms else []
        chosen = next((left for left in candidates if before[left].id == layer.id), None)
        if chosen is None and candidates:
            chosen = candidates[0]
        if chosen is not None:
            settle(chosen, at)
    names = {layer.id: at for at, layer in enumerate(before) if at not in taken}
    for at, layer in enumerate(now):
        if at not in partner and layer.id in names and names[layer.id] not in taken:
            settle(names[layer.id], at)
    left = [at for at in range(len(before)) if at not in taken]
    right = [at for at in range(len(now)) if at not in partner]
    if left and right and len(left) + len(right) <= _MOST_ALIGNED:
        was, current = [_shape(before[at]) for at in left], [_shape(now[at]) for at in right]
        for block in SequenceMatcher(None, was, current, autojunk=False).get_matching_blocks():
            for step in range(block.size):
                settle(left[block.a + step], right[block.b + step])
    paired: list[Pair] = [(before[partner[at]] if at in partner else None, layer) for at, layer in enumerate(now)]
    return paired + [(before[at], None) for at in range(len(before)) if at not in taken]


def _mark(layer: LockedLayer) -> object:
    return (layer.neurons, layer.synapses_per_neuron, tuple(f"{norm:.4g}" for norm in layer.norms))


def _shape(layer: LockedLayer) -> tuple[str, int, int]:
    return (layer.kind, layer.neurons, layer.synapses_per_neuron)

"""Puts ops into an order in which each comes after the ops it reads. Iterative: a hostile graph has any depth."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from heapq import heapify, heappop, heappush

from graphneurons.graph import Op


def first_unsorted(ops: Iterable[Op], known: Iterable[str]) -> Op | None:
    """The first op that reads a value which is neither ``known`` nor made by an op before it."""
    made = set(known)
    made.add("")
    for op in ops:
        if not made.issuperset(op.inputs):
            return op
        made.update(op.outputs)
    return None


def topological(ops: Sequence[Op]) -> tuple[Op, ...] | Op:
    """``ops`` sorted, those that could go first in their given order (Kahn 1962); or an op on a cycle."""
    producer = {name: index for index, op in enumerate(ops) for name in op.outputs if name}
    readers: list[list[int]] = [[] for _ in ops]
    waiting = [0] * len(ops)
    for index, op in enumerate(ops):
        for source in {producer[name] for name in op.inputs if name in producer}:
            readers[source].append(index)
            waiting[index] += 1
    ready = [index for index, count in enumerate(waiting) if not count]
    heapify(ready)
    ordered: list[Op] = []
    while ready:
        index = heappop(ready)
        ordered.append(ops[index])
        for reader in readers[index]:
            waiting[reader] -= 1
            if not waiting[reader]:
                heappush(ready, reader)
    if len(ordered) == len(ops):
        return tuple(ordered)
    return ops[_on_cycle(ops, producer, waiting)]


def _on_cycle(ops: Sequence[Op], producer: dict[str, int], waiting: Sequence[int]) -> int:
    """Walk back from an op that never became ready until one comes up twice: that one lies on the cycle."""
    at = next(index for index, count in enumerate(waiting) if count)
    met: set[int] = set()
    while at not in met:
        met.add(at)
        at = next(producer[name] for name in ops[at].inputs if name in producer and waiting[producer[name]])
    return at

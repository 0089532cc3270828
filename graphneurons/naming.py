"""Ids people can read and type: the module path an exporter recorded, else the weight's name, else the op's."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from graphneurons.graph import Op

_SUFFIXES = (".weight", "_weight", ".kernel", "/kernel", ".W", "_W", ".weight_quantized", ".weight_Q4", "_quantized")


def unique_ids(wanted: Sequence[tuple[Op, str]]) -> list[str]:
    """One id per (op, name of its first weight), in order; those that would be equal are told apart by the op's name,
    then by a number."""
    first = [_readable(op, weight) for op, weight in wanted]
    shared = Counter(first)
    second = [
        name if shared[name] == 1 else f"{name}.{_last(op.name)}" if name != op.name else name
        for name, (op, _) in zip(first, wanted, strict=True)
    ]
    taken: Counter[str] = Counter()
    ids: list[str] = []
    used: set[str] = set()
    for name in second:
        taken[name] += 1
        candidate = name if taken[name] == 1 else f"{name}#{taken[name]}"
        while candidate in used:
            taken[name] += 1
            candidate = f"{name}#{taken[name]}"
        used.add(candidate)
        ids.append(candidate)
    return ids


def _readable(op: Op, weight: str) -> str:
    if op.scope:
        return ".".join(op.scope)
    for suffix in _SUFFIXES:
        if weight.endswith(suffix) and len(weight) > len(suffix):
            return weight[: -len(suffix)]
    return op.name


def _last(name: str) -> str:
    return name.rstrip("/").rpartition("/")[2] or name

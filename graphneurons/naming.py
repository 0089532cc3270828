"""Ids people can read and type: the module path an exporter recorded, else the weight's name, else the op's."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from graphneurons.graph import Op

_SUFFIXES = (".weight", "_weight", ".kernel", "/kernel", ".W", "_W", ".weight_quantized", ".weight_Q4", "_quantized")


def unique_ids(wanted: Sequence[tuple[Op, str]]) -> list[str]:
    """One id per (op, name of its first weight), in order; those that would be equal are told apart by the op's name,
    then by a number."""
    first = [".".join(op.scope) if op.scope else _readable(op, weight) for op, weight in wanted]
    shared = Counter(first)
    if len(shared) == len(first):
        return first
    taken: dict[str, int] = {}
    ids: dict[str, None] = {}
    for name, (op, _) in zip(first, wanted, strict=True):
        if shared[name] > 1 and name != op.name:
            name = f"{name}.{_last(op.name)}"
        number = taken[name] = taken.get(name, 0) + 1
        candidate = name if number == 1 else f"{name}#{number}"
        while candidate in ids:
            number = taken[name] = number + 1
            candidate = f"{name}#{number}"
        ids[candidate] = None
    return list(ids)


def _readable(op: Op, weight: str) -> str:
    for suffix in _SUFFIXES:
        if weight.endswith(suffix) and len(weight) > len(suffix):
            return weight[: -len(suffix)]
    return op.name


def _last(name: str) -> str:
    return name.rstrip("/").rpartition("/")[2] or name

"""Ops that write in place into memory somebody else still reads: what a graph of values cannot show."""

from __future__ import annotations

from collections.abc import Iterator

from graphneurons.load.programs import Argument, Call, Program, Ref

VIEWS = frozenset(
    [
        "view",
        "slice",
        "select",
        "transpose",
        "permute",
        "t",
        "unsqueeze",
        "squeeze",
        "expand",
        "narrow",
        "chunk",
        "split",
        "split_with_sizes",
        "unbind",
        "detach",
        "alias",
        "reshape",
        "diagonal",
        "view_as",
        "unflatten",
        "flatten",
        "contiguous",
        "to",
        "numpy_T",
        "mT",
        "movedim",
        "swapaxes",
        "swapdims",
        "unfold",
    ]
)
"""Operators whose results may share the memory of what they read."""


def hidden_writes(program: Program) -> list[Call]:
    """The calls of ``program`` that write over a value while another value with the same memory is read later."""
    roots: dict[str, str] = {}
    pending: dict[str, list[tuple[Call, str]]] = {}
    found: list[Call] = []
    for call in program.calls:
        for name in _read(call.arguments):
            found.extend(write for write, over in pending.get(roots.get(name, name), ()) if name != over)
        first = call.arguments[0][1] if call.arguments else None
        if not isinstance(first, Ref):
            continue
        root = roots.get(first.name, first.name)
        if call.in_place:
            pending[root] = [item for item in pending.get(root, ()) if item[1] != first.name]
            pending[root].append((call, first.name))
        if call.key[1] in VIEWS:
            roots.update((name, root) for name in call.results if name)
    return list(dict.fromkeys(found))


def _read(arguments: tuple[tuple[str, Argument], ...]) -> Iterator[str]:
    for _, argument in arguments:
        for item in argument if isinstance(argument, tuple) else (argument,):
            if isinstance(item, Ref):
                yield item.name

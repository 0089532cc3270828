"""Which part of the wiring ``LAYER[:NEURON]`` means, and what is near it where there is no such thing."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from graphneurons.errors import UsageError
from graphneurons.finding import nearby

if TYPE_CHECKING:
    from graphneurons.analysis import Analysis
    from graphneurons.wiring.records import Source


def find_target(analysis: Analysis, text: str) -> tuple[Source, int | None]:
    """The source, and the index of a neuron in it, that ``text`` names.

    A name is a layer's id, the name of its op or of what that puts out, or ``input:NAME``, ``lookup:ID``,
    ``junction:ID``. Names may hold colons: what is one as a whole is taken as one. Raises `UsageError` that lists near
    names, or the valid range.
    """
    source = _find(analysis, text)
    if source is not None:
        return source, None
    name, colon, number = text.rpartition(":")
    source = _find(analysis, name) if colon else None
    if source is None:
        tail = number.strip()
        wanted = name if colon and (tail.isdigit() or not tail) else text
        near = nearby(wanted, list(dict.fromkeys(_names(analysis))), "there is nothing in it")
        raise UsageError(f"nothing in the wiring is called {wanted!r}; {near}")
    if not (number.isascii() and number.isdigit() and len(number) < 20 and int(number) < source.size):
        raise UsageError(
            f"{source.name} has {_noun(source)} 0 to {source.size - 1}, not {number!r}"
            if source.size
            else f"{source.name} has no {_noun(source)}"
        )
    return source, int(number)


def _noun(source: Source) -> str:
    return {"layer": "neurons", "input": "channels", "lookup": "entries", "junction": "indices"}[source.kind]


def _find(analysis: Analysis, name: str) -> Source | None:
    wiring = analysis.wiring
    source = wiring.source.get(name)
    if source is not None:
        return source
    by_op = [layer.id for layer in analysis.layers if layer.op.name == name and layer.id in wiring.source]
    by_output = [layer.id for layer in analysis.layers if layer.op.output == name and layer.id in wiring.source]
    for found in (by_op, by_output):
        if len(found) > 1:
            raise UsageError(
                f"{len(found)} layers are made there; name one of them: {', '.join(found[:8])}", where=name
            )
        if found:
            return wiring.source[found[0]]
    for kind in ("lookup", "input", "junction"):
        source = wiring.source.get(f"{kind}:{name}")
        if source is not None:
            return source
    return None


def _names(analysis: Analysis) -> Iterator[str]:
    yield from (layer.id for layer in analysis.layers)
    yield from analysis.wiring.source
    for layer in analysis.layers:
        yield layer.op.name
        yield layer.op.output

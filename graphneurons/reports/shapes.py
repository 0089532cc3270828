"""The shape of a weight with its axes marked: ``[64n 3s 7s 7s]``."""

from __future__ import annotations

from graphneurons.analysis import Axis, Role, WeightUse
from graphneurons.reports.lines import UNICODE, Glyphs, Line, Span
from graphneurons.reports.names import shown

MARKS: dict[Role, str] = {"neuron": "n", "synapse": "s", "shared": "g", "lookup": "r", "mixed": ""}
MEANINGS: dict[Role, str] = {
    "neuron": "neurons",
    "synapse": "synapses of one neuron",
    "shared": "shared: group, head, expert, batch",
    "lookup": "rows picked by an index",
}


def marked(use: WeightUse, glyphs: Glyphs = UNICODE) -> Line:
    """The axes of the stored tensor, each size followed by the letter of its role (`MARKS`).

    A product of several factors is written out, outermost first: ``(4 gate × 32 h)n``, or with a letter each where
    their roles differ: ``(2g × 16s)``. Where only a part of an axis is used, its range follows: ``2304n[0:768]``.
    """
    spans: list[Span] = [("[", "quiet")]
    for index, axis in enumerate(use.axes):
        if index:
            spans.append((" ", ""))
        spans.extend(_axis(axis, glyphs))
        start, stop = use.part[index] if use.part else (0, axis.size)
        if (start, stop) != (0, axis.size):
            spans.append((f"[{start}:{stop}]", "quiet"))
    spans.append(("]", "quiet"))
    return tuple(spans)


def marked_text(use: WeightUse, glyphs: Glyphs = UNICODE) -> str:
    """`marked` without styles."""
    return "".join(text for text, _ in marked(use, glyphs))


def plain_shape(shape: tuple[int, ...]) -> str:
    """``[64, 3, 7, 7]``"""
    return f"[{', '.join(map(str, shape))}]"


def _axis(axis: Axis, glyphs: Glyphs) -> list[Span]:
    if len(axis.factors) < 2 and axis.role != "mixed":
        return [(f"{axis.size}{MARKS[axis.role]}", axis.role)]
    spans: list[Span] = [("(", "quiet")]
    for index, factor in enumerate(axis.factors):
        if index:
            spans.append((f" {glyphs.times} ", "quiet"))
        own = f"{MARKS[factor.role]}" if axis.role == "mixed" else f" {shown(factor.name, 20)}"
        spans.append((f"{factor.size}{own}", factor.role))
    spans.append((")", "quiet"))
    spans.append((MARKS[axis.role], axis.role))
    return [span for span in spans if span[0]]

"""Tables for pull requests and READMEs, in GitHub's Markdown."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence

from graphneurons.analysis import Analysis, Layer
from graphneurons.reports.names import shown
from graphneurons.reports.shapes import MARKS, MEANINGS, marked_text, plain_shape
from graphneurons.reports.sums import Sum, by_op, by_scope, chosen, summed
from graphneurons.reports.text import View, role_text
from graphneurons.reports.totals import facts, plural

_SPECIAL = re.compile(r"[\\`*_\[\]<>#|&~@$^]")


def as_markdown(analysis: Analysis, view: View = View()) -> str:  # noqa: B008
    """The report as a heading, tables and a list. Names are code: they cannot format, mention or link anything."""
    return "\n".join(_document(analysis, view)) + "\n"


def code(name: str) -> str:
    """``name`` as inline code that stays within its table cell, or nothing for an empty one.

    >>> code("a|b`c")
    '`a\\\\x7cb\\\\x60c`'
    """
    # Inside code no character needs escaping but these two, and no escape of Markdown's own works for both.
    kept = shown(name).replace("`", "\\x60").replace("|", "\\x7c")
    return f"`{kept}`" if kept.strip() else ""


def _prose(text: str) -> str:
    return _SPECIAL.sub(lambda found: f"\\{found[0]}", text)


def _document(analysis: Analysis, view: View) -> Iterator[str]:
    yield f"## {code(analysis.model.path) or 'Model'}"
    yield ""
    body = {"layer": _layers, "op": _ops, "scope": _scopes}[view.by]
    yield from body(analysis, view)
    yield from (f"- **{label}**: {_prose(text)}" for label, text in facts(analysis))
    if view.everything:
        yield from _lookups(analysis)
        yield from _modulators(analysis)
    if analysis.unlabelled:
        rows = ((code(e.name), plain_shape(e.shape[:12]), code(e.op.type), code(e.reason)) for e in analysis.unlabelled)
        yield from _section("Unlabelled", ("weight", "shape", "op", "reason"), rows)


def _table(headings: Sequence[str], rows: Iterable[Sequence[str]], *, numbers: Sequence[str] = ()) -> Iterator[str]:
    yield f"| {' | '.join(headings)} |"
    yield f"| {' | '.join('---:' if heading in numbers else '---' for heading in headings)} |"
    for row in rows:
        yield f"| {' | '.join(row)} |"


def _section(title: str, headings: Sequence[str], rows: Iterable[Sequence[str]]) -> Iterator[str]:
    yield from ("", f"### {title}", "")
    yield from _table(headings, rows)


def _layers(analysis: Analysis, view: View) -> Iterator[str]:
    few, others = chosen(analysis.layers, view.top)
    rows = [row for layer in few for row in _rows(layer)]
    if others:
        rest = summed(plural(len(others), "other layer"), others)
        rows.append((rest.name, "", "", "", "", f"{rest.neurons:,}", "", f"{rest.synapses:,}", ""))
    headings: tuple[str, ...] = (
        "layer",
        "role",
        "op",
        "weight",
        "shape",
        "neurons",
        "× each",
        "= synapses",
        "activation",
    )
    if not any(layer.role for layer in few):
        headings, rows = (headings[0], *headings[2:]), [(row[0], *row[2:]) for row in rows]
    yield from _table(headings, rows, numbers=headings[-4:-1])
    yield ""
    legend = (f"`{MARKS[role]}` {meaning}" for role, meaning in MEANINGS.items() if _used(few, role))
    yield ", ".join(legend) or "No layers."
    yield ""


def _used(layers: Iterable[Layer], role: str) -> bool:
    return any(f.role == role for layer in layers for use in layer.weights for axis in use.axes for f in axis.factors)


def _rows(layer: Layer) -> Iterator[tuple[str, ...]]:
    tie = f" = {code(layer.tied_to)}" if layer.tied_to is not None else ""
    units = f" ({layer.units:,} units)" if layer.units is not None else ""
    numbers = (f"{layer.neurons:,}{units}", f"{layer.synapses_per_neuron:,}", f"{layer.synapses:,}")
    for number, use in enumerate(layer.weights):
        weight = (code(use.weight.name), code(marked_text(use)))
        if number == 0:
            first = (code(layer.id) + tie, _prose(role_text(layer)), code(layer.op.type))
            yield (*first, *weight, *numbers, code(layer.activation or ""))
        else:
            yield ("", "", "", *weight, "", "", "", "")


def _sums(sums: Iterable[tuple[str, Sum]], first: str) -> Iterator[str]:
    headings = (first, "layers", "neurons", "synapses", "parameters")
    rows = (
        (name, *(f"{number:,}" for number in (each.layers, each.neurons, each.synapses, each.parameters)))
        for name, each in sums
    )
    yield from _table(headings, rows, numbers=headings[1:])
    yield ""


def _ops(analysis: Analysis, view: View) -> Iterator[str]:
    yield from _sums(((code(each.name), each) for each in by_op(analysis)[: view.top]), "op")


def _scopes(analysis: Analysis, view: View) -> Iterator[str]:
    # Markdown drops blanks at the start of a cell; no-break spaces stay.
    named = ((f"{'&nbsp;&nbsp;' * (each.depth - 1)}{code(each.name)}", each) for each in by_scope(analysis, view.depth))
    yield from _sums(((name if each.depth else "model", each) for name, each in named), "scope")


def _lookups(analysis: Analysis) -> Iterator[str]:
    rows = (
        (code(each.id), code(each.op.type), code(use.weight.name), code(marked_text(use)))
        for each in analysis.lookups
        for use in each.weights
    )
    yield from _section("Lookups", ("lookup", "op", "weight", "shape"), rows)


def _modulators(analysis: Analysis) -> Iterator[str]:
    rows = (
        (code(use.weight.name), plain_shape(use.weight.shape), code(each.kind), code(each.op.type))
        for each in analysis.modulators
        for use in each.weights
    )
    yield from _section("Modulators", ("weight", "shape", "kind", "op"), rows)

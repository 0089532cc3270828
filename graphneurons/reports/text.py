"""The report for people: layers with marked shapes, sums, and everything that was not counted, with the reason."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from graphneurons.analysis import Analysis, Layer, WeightUse
from graphneurons.reports.lines import UNICODE, Glyphs, Line, Span, line, measure
from graphneurons.reports.names import cells, fold, shown, wrap
from graphneurons.reports.shapes import MARKS, MEANINGS, marked
from graphneurons.reports.sums import Sum, by_op, by_scope, chosen, summed
from graphneurons.reports.tables import MARGIN, Cell, Column, Row, table
from graphneurons.reports.totals import plural, summary

By = Literal["layer", "scope", "op"]


@dataclass(frozen=True, slots=True)
class View:
    """What to show: ``width`` in columns (None: as wide as it gets), ``everything`` also lists what is summed up."""

    by: By = "layer"
    depth: int | None = None
    top: int | None = None
    everything: bool = False
    width: int | None = None
    glyphs: Glyphs = UNICODE


def lines(analysis: Analysis, view: View = View()) -> Iterator[Line]:
    """The whole report, line by line. No line starts with a name of the file, and every name is escaped."""
    yield from title(analysis, view)
    yield ()
    body = {"layer": _layers, "scope": _scopes, "op": _ops}[view.by]
    shown_any = False
    for spans in body(analysis, view):
        shown_any = True
        yield spans
    if shown_any:
        yield ()
    yield from summary(analysis, everything=view.everything, width=view.width, glyphs=view.glyphs)


def title(analysis: Analysis, view: View) -> Iterator[Line]:
    """Which file, and who wrote it."""
    info = analysis.model
    opsets = ", ".join(f"{shown(domain, 40)} {version}".strip() for domain, version in info.opsets)
    facts = [
        shown(info.producer, 60),
        f"IR {info.ir_version}" if info.ir_version else "",
        f"opset {opsets}" if opsets else "",
    ]
    rest = f" {view.glyphs.dot} ".join(fact for fact in facts if fact)
    name = shown(info.path) or "built in memory"
    if view.width is None or cells(name) + cells(rest) + 8 <= view.width:
        yield line(("model ", "quiet"), (name, "heading"), "  ", (rest, "quiet"))
        return
    yield line(("model", "quiet"))
    for piece in fold(name, view.width - len(MARGIN)):
        yield line(MARGIN, (piece, "heading"))
    for piece in wrap(rest, view.width - len(MARGIN)):
        yield line(MARGIN, (piece, "quiet"))


def _layers(analysis: Analysis, view: View) -> Iterator[Line]:
    if not analysis.layers:
        return
    few, others = chosen(analysis.layers, view.top)
    rest = summed(plural(len(others), "other layer"), others) if others else None
    yield from (
        _wide(few, rest, view, True)
        or _wide(few, rest, view, False)
        or _medium(few, rest, view)
        or _narrow(few, rest, view)
    )
    if others and view.top is None:
        note = f"(--top {len(analysis.layers)} shows all of them, --format csv has a row for each)"
        for piece in wrap(note, None if view.width is None else view.width - len(MARGIN)):
            yield line(MARGIN, (piece, "quiet"))
    yield from _legend(few, view)


def _wide(layers: Sequence[Layer], rest: Sum | None, view: View, role_aside: bool) -> list[Line] | None:
    """One line per weight, everything side by side; the role in a column of its own, or below the layer."""
    glyphs = view.glyphs
    columns = (
        Column("layer", least=20),
        Column("role", least=9),
        Column("op", least=13),
        Column("weight", least=16),
        Column("shape"),
        *_number_columns(glyphs),
        Column("attached", least=8),
        Column("activation", least=8),
    )
    rows = []
    for layer in layers:
        role = line((role_text(layer), "quiet"))
        ties = [_tie(layer)] if layer.tied_to is not None else []
        name = [line(shown(layer.id)), *ties, *([role] if layer.role and not role_aside else [])]
        weights = tuple(line(weight_name(use, layer.id)) for use in layer.weights)
        shapes = tuple(marked(use, glyphs) for use in layer.weights)
        op = (line(shown(layer.op.type, 40)),)
        numbers = _numbers_of(layer, glyphs, (_units(layer),) if layer.units is not None else ())
        last = (line((attached_text(layer), "quiet")),), (line(shown(layer.activation or "", 40)),)
        rows.append(
            Row((tuple(name), (role,) if role_aside else (), op, weights, shapes, *numbers, *last), _faded(layer))
        )
    if rest is not None:
        neurons, each, synapses = _numbers_of_rest(rest)
        rows.append(Row(((line(rest.name),), (), (), (), (), neurons, each, synapses, (), ()), "quiet"))
    return table(columns, rows, view.width)


def _medium(layers: Sequence[Layer], rest: Sum | None, view: View) -> list[Line] | None:
    """Layers with their numbers in columns; op, weights and shapes on lines of their own below."""
    columns = (Column("layer", least=16), *_number_columns(view.glyphs))
    rows = [
        Row(((line(shown(layer.id)),), *_numbers_of(layer, view.glyphs)), _faded(layer), tuple(_details(layer, view)))
        for layer in layers
    ]
    if rest is not None:
        rows.append(Row(((line(rest.name),), *_numbers_of_rest(rest)), "quiet"))
    return table(columns, rows, view.width)


def _narrow(layers: Sequence[Layer], rest: Sum | None, view: View) -> Iterator[Line]:
    """Everything below each other."""
    room = (view.width or 80) - len(MARGIN)
    for layer in layers:
        for piece in fold(shown(layer.id), room):
            yield line(MARGIN, (piece, "heading"))
        for number in _numbers_of(layer, view.glyphs):
            yield line(MARGIN * 2, *number[0])
        yield from _details(layer, view)
    if rest is not None:
        yield line(MARGIN, (rest.name, "quiet"))
        for number in _numbers_of_rest(rest):
            yield from (line(MARGIN * 2, *part) for part in number)


def _number_columns(glyphs: Glyphs) -> tuple[Column, Column, Column]:
    return Column("neurons", right=True), Column(f"{glyphs.times} each", right=True), Column("= synapses", right=True)


def _numbers_of(layer: Layer, glyphs: Glyphs, below: tuple[Line, ...] = ()) -> tuple[Cell, Cell, Cell]:
    faded = _faded(layer)
    return (
        (line((f"{layer.neurons:,}", faded or "neuron")), *below),
        (line((f"{glyphs.times} {layer.synapses_per_neuron:,}", faded or "synapse")),),
        (line((f"= {layer.synapses:,}", faded)),),
    )


def _numbers_of_rest(rest: Sum) -> tuple[Cell, Cell, Cell]:
    return (line(f"{rest.neurons:,}"),), (), (line(f"= {rest.synapses:,}"),)


def _faded(layer: Layer) -> str:
    return "" if layer.tied_to is None else "quiet"


def _tie(layer: Layer) -> Line:
    return line((f"= {shown(layer.tied_to or '')}", "quiet"))


def _units(layer: Layer) -> Line:
    return line((f"{layer.units:,} units", "quiet"))


def _details(layer: Layer, view: View) -> Iterator[Line]:
    """What the columns have no room for, on indented lines of at most the view's width."""
    room = (view.width or 80) - len(MARGIN) * 2
    if layer.tied_to is not None:
        for piece in fold(f"= {shown(layer.tied_to)}", room):
            yield line(MARGIN * 2, (piece, "quiet"))
    units = f"{layer.units:,} units" if layer.units is not None else ""
    facts = [shown(layer.op.type, 40), role_text(layer), units, attached_text(layer), shown(layer.activation or "", 40)]
    op = f" {view.glyphs.dot} ".join(fact for fact in facts if fact)
    weights = [line(f"{weight_name(use, layer.id)} ", *marked(use, view.glyphs)) for use in layer.weights]
    if len(weights) == 1 and cells(op) + 2 + measure(weights[0]) <= room:
        yield line(MARGIN * 2, (op, "quiet"), "  ", *weights[0])
        return
    for piece in wrap(op, room):
        yield line(MARGIN * 2, (piece, "quiet"))
    for use, whole in zip(layer.weights, weights, strict=True):
        if measure(whole) <= room:
            yield line(MARGIN * 2, *whole)
            continue
        for piece in fold(weight_name(use, layer.id), room):
            yield line(MARGIN * 2, piece)
        yield from _shape(use, view, room)


def _shape(use: WeightUse, view: View, room: int) -> Iterator[Line]:
    """A marked shape, broken between axes where it is too long for one line."""
    current: list[Span] = []
    for span in marked(use, view.glyphs):
        if current and measure([*current, span]) > room:
            yield line(MARGIN * 2, *current)
            current = []
        current.append(span)
    yield line(MARGIN * 2, *current)


_SHORT = {"normalisation": "norm", "quantization": "scale", "elementwise": "gain"}
"""Kind of a modulator -> how a narrow column names it."""


def role_text(layer: Layer) -> str:
    """The parts a layer plays, with room to break lines: ``query + key + value``."""
    return shown((layer.role or "").replace("+", " + "), 80)


def attached_text(layer: Layer) -> str:
    """The kinds of modulators that act on the layer's neurons, in short: ``bias norm``."""
    return " ".join(_SHORT.get(kind, kind) for kind in layer.attached)


def weight_name(use: WeightUse, layer: str) -> str:
    """The weight's name, without the layer's where it only repeats it: ``.weight``."""
    name = use.weight.name
    return shown(name[len(layer) :] if name.startswith(f"{layer}.") else name)


def _legend(layers: Sequence[Layer], view: View) -> Iterator[Line]:
    roles = {factor.role for layer in layers for use in layer.weights for axis in use.axes for factor in axis.factors}
    roles |= {axis.role for layer in layers for use in layer.weights for axis in use.axes}
    entries: list[tuple[Span, str]] = [((MARKS[role], role), MEANINGS[role]) for role in MEANINGS if role in roles]
    if not entries:
        return
    yield ()
    size = sum(len(meaning) + 6 for _, meaning in entries)
    if view.width is None or size <= view.width:
        yield line(MARGIN, *(part for mark, meaning in entries for part in (mark, (f" {meaning}    ", "quiet"))))
    else:
        for mark, meaning in entries:
            yield line(MARGIN, mark, (f" {meaning}", "quiet"))


_SUM_HEADINGS = ("layers", "neurons", "synapses", "parameters")


def _sum_rows(sums: Sequence[tuple[str, Sum]], first: str, view: View) -> Iterator[Line]:
    """Sums in columns; where these do not all fit, without the number of layers; else below each other."""
    for skipped in (0, 1):
        columns = (Column(first, least=12), *(Column(each, right=True) for each in _SUM_HEADINGS[skipped:]))
        rows = [
            Row(((line(name),), *((_number(number, view.glyphs),) for number in _numbers(each)[skipped:])))
            for name, each in sums
        ]
        laid = table(columns, rows, view.width)
        if laid is not None:
            yield from laid
            return
    room = (view.width or 80) - len(MARGIN) * 2
    for name, each in sums:
        for piece in fold(name, room):
            yield line(MARGIN, (piece, "heading"))
        facts = [f"{number:,} {heading}" for heading, number in zip(_SUM_HEADINGS, _numbers(each), strict=True)]
        for piece in wrap(", ".join(facts), room):
            yield line(MARGIN * 2, piece)


def _number(number: int, glyphs: Glyphs) -> Line:
    return line(f"{number:,}") if number else line((glyphs.dash, "quiet"))


def _numbers(each: Sum) -> tuple[int, int, int, int]:
    return each.layers, each.neurons, each.synapses, each.parameters


def _ops(analysis: Analysis, view: View) -> Iterator[Line]:
    sums = by_op(analysis)
    if view.top is not None and len(sums) > view.top:
        others = sums[view.top :]
        numbers = [sum(column) for column in zip(*map(_numbers, others), strict=True)]
        sums = [*sums[: view.top], Sum(f"{len(others):,} other op types", *numbers)]
    if sums:
        yield from _sum_rows([(shown(each.name, 80), each) for each in sums], "op", view)


def _scopes(analysis: Analysis, view: View) -> Iterator[Line]:
    glyphs = view.glyphs
    named = []
    for each in by_scope(analysis, view.depth):
        inner = "".join("   " if last else glyphs.pipe for last in each.last[:-1])
        branch = (glyphs.last if each.last[-1] else glyphs.branch) if each.last else ""
        name = "model" if each.depth == 0 else shown(each.name) or "(no name)"
        named.append((f"{inner}{branch}{name}", each))
    yield from _sum_rows(named, "scope", view)

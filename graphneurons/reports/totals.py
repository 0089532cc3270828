"""The foot of the text report: totals, what is not counted as neurons, and what is not labelled and why."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from graphneurons.analysis import Analysis, Lookup, Modulator, Unlabelled
from graphneurons.reports.lines import UNICODE, Glyphs, Line, line, measure
from graphneurons.reports.names import shown, wrap
from graphneurons.reports.shapes import marked, plain_shape
from graphneurons.reports.sums import elements
from graphneurons.reports.tables import MARGIN

# Azevedo et al. 2009 count 86 billion neurons in a human brain; about 7,000 synapses for each is the usual estimate.
BRAIN_NEURONS = 86_000_000_000
BRAIN_SYNAPSES_EACH = 7_000
_COMPARED_FROM = 1_000_000_000
_SHOWN_OF_A_REASON = 5
_LABEL = 12


def summary(
    analysis: Analysis, *, everything: bool = False, width: int | None = None, glyphs: Glyphs = UNICODE
) -> Iterator[Line]:
    """Totals, lookups, modulators and what is unlabelled; ``everything`` lists each of them."""
    for label, text in facts(analysis, glyphs):
        yield from fact(label, text, width)
    if everything and analysis.lookups:
        yield from _listed("lookups", [_lookup(each, glyphs) for each in analysis.lookups], width)
    if everything and analysis.modulators:
        yield from _listed("modulators", [part for each in analysis.modulators for part in _modulator(each)], width)
    if analysis.unlabelled:
        yield from _unlabelled(analysis.unlabelled, everything, width, glyphs)


def percent(part: int, whole: int) -> str:
    """A share that says 100 % only of everything and 0 % only of nothing, in integer arithmetic.

    >>> percent(2, 3), percent(999_999, 1_000_000), percent(0, 0)
    ('66.66 %', '99.99 %', '100 %')
    """
    if part >= whole:
        return "100 %"
    if part <= 0:
        return "0 %"
    hundredths = part * 10_000 // whole
    if hundredths == 0:
        return "< 0.01 %"
    return f"{hundredths // 100}.{hundredths % 100:02} %"


def facts(analysis: Analysis, glyphs: Glyphs = UNICODE) -> Iterator[tuple[str, str]]:
    """What is known of the whole model, as pairs of a label and a line of text."""
    totals = analysis.totals
    yield "neurons", f"{totals.neurons:,}"
    each = f"  ({_ratio(totals.synapses, totals.neurons)} per neuron)" if totals.neurons else ""
    yield "synapses", f"{totals.synapses:,}{each}"
    yield "parameters", f"{totals.parameters:,}"
    share = percent(totals.labelled_elements, totals.weight_elements)
    yield "labelled", f"{share} of {totals.weight_elements:,} weight elements"
    if analysis.lookups:
        tables = f" {glyphs.dot} ".join(f"{each.rows:,} {glyphs.times} {each.width:,}" for each in analysis.lookups[:4])
        more = f" {glyphs.ellipsis}" if len(analysis.lookups) > 4 else ""
        yield "lookups", f"{plural(len(analysis.lookups), 'table')} of rows {glyphs.times} width: {tables}{more}"
    if analysis.modulators:
        yield "modulators", _modulators(analysis.modulators)
    if totals.synapses >= _COMPARED_FROM:
        brain = BRAIN_NEURONS * BRAIN_SYNAPSES_EACH
        yield (
            "human brain",
            f"86 billion neurons {glyphs.times} about 7,000 synapses = 602 trillion: "
            f"{_ratio(brain, totals.synapses)} times as many synapses",
        )


def _ratio(part: int, whole: int) -> str:
    """A quotient with one decimal where that says something, rounded in integer arithmetic."""
    if part >= 1000 * whole:
        return f"{(part + whole // 2) // whole:,}"
    tenths = (part * 10 + whole // 2) // whole
    return f"{tenths // 10}" if tenths % 10 == 0 else f"{tenths // 10}.{tenths % 10}"


def plural(count: int, noun: str) -> str:
    """``1 layer``, ``1,000 layers``"""
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"


def _modulators(modulators: Sequence[Modulator]) -> str:
    """How many there are of each kind, and of how many elements; a weight used several times counts once."""
    kinds: dict[str, dict[object, int]] = {}
    for each in modulators:
        for use in each.weights:
            kinds.setdefault(each.kind, {})[use.weight.name, use.part] = elements(use)
    parts = [f"{len(sizes):,} {shown(kind, 40)} ({sum(sizes.values()):,})" for kind, sizes in kinds.items()]
    return f"{plural(sum(map(len, kinds.values())), 'weight')}: {', '.join(parts)}"


def fact(label: str, text: str, width: int | None) -> Iterator[Line]:
    """A label and what it says, on as many lines as it takes."""
    indent = MARGIN + " " * _LABEL
    pieces = wrap(text, None if width is None else width - len(indent))
    for number, piece in enumerate(pieces):
        yield line((MARGIN + label.ljust(_LABEL), "strong"), piece) if number == 0 else line(indent, piece)


def _listed(heading: str, records: Sequence[Line], width: int | None) -> Iterator[Line]:
    yield ()
    yield line(MARGIN, (heading, "strong"))
    for spans in records:
        yield from _entry(spans, width)


def _entry(spans: Line, width: int | None) -> Iterator[Line]:
    """One record on one line if it fits; else its parts below each other."""
    if width is None or measure(spans) + len(MARGIN) * 2 <= width:
        yield line(MARGIN * 2, *spans)
        return
    for number, piece in enumerate(wrap("".join(text for text, _ in spans), width - len(MARGIN) * 3)):
        yield line(MARGIN * (2 if number == 0 else 3), piece)


def _lookup(lookup: Lookup, glyphs: Glyphs) -> Line:
    shapes = [part for use in lookup.weights for part in ((f"  {shown(use.weight.name)} ", ""), *marked(use, glyphs))]
    return line(shown(lookup.id), (f"  {shown(lookup.op.type, 40)}", "quiet"), *shapes)


def _modulator(modulator: Modulator) -> Iterator[Line]:
    for use in modulator.weights:
        yield line(
            shown(use.weight.name),
            f"  {plain_shape(use.weight.shape)}",
            (f"  {shown(modulator.kind, 40)}, {shown(modulator.op.type, 40)} ", "quiet"),
            (shown(modulator.op.name), "quiet"),
        )


def _unlabelled(records: Sequence[Unlabelled], everything: bool, width: int | None, glyphs: Glyphs) -> Iterator[Line]:
    reasons: dict[str, list[Unlabelled]] = {}
    for each in records:
        reasons.setdefault(each.reason, []).append(each)
    yield ()
    yield line(MARGIN, ("unlabelled", "bad"), f"  {plural(len(records), 'weight')}")
    for reason, found in reasons.items():
        for piece in wrap(shown(reason, 500), None if width is None else width - len(MARGIN) * 2):
            yield line(MARGIN * 2, (piece, "bad"))
        limit = len(found) if everything else _SHOWN_OF_A_REASON
        for each in found[:limit]:
            spans = line(
                MARGIN,
                shown(each.name),
                f"  {plain_shape(each.shape[:12])}",
                (f"  {shown(each.op.type, 40)} {shown(each.op.name)}", "quiet"),
            )
            yield from _entry(spans, width)
        if len(found) > limit:
            yield line(MARGIN * 3, (f"{glyphs.ellipsis} and {len(found) - limit:,} more (--all lists them)", "quiet"))

"""What a probe found, for people: one table of probes against their controls, one of neurons, strongest first."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from html import escape

import numpy as np

from graphneurons.probing.records import (
    METRICS,
    Concept,
    ConceptReport,
    Control,
    LayerProbe,
    NeuronProbe,
    ProbeReport,
    Score,
)
from graphneurons.reports.lines import Glyphs, Line, line, measure, plain
from graphneurons.reports.names import shown, wrap
from graphneurons.reports.tables import MARGIN, Cell, Column, Row, table
from graphneurons.reports.text import View
from graphneurons.reports.totals import plural

MOST_NEURONS = 16
_CONTROLS = ("shuffled", "random", "untrained")


def probe_lines(report: ProbeReport, view: View) -> Iterator[Line]:
    """The whole report. ``view.top`` neurons of every concept are listed (16 without it)."""
    yield from _heading(report, view)
    for found in report.concepts:
        yield ()
        yield from _paragraph(_concept(found.concept, report), view, "heading")
        yield ()
        yield from _probes(found, view)
        if found.singles:
            yield ()
            yield from _neurons(found, view)
    yield ()
    yield from _notes(report, view)


def as_html(report: ProbeReport) -> str:
    """The report for a notebook: self-contained, no script, every name escaped."""
    return f"<pre>{escape(''.join(plain(probe_lines(report, View(width=120)))))}</pre>"


def told(score: Score) -> str:
    """A score with its interval.

    >>> told(Score("auc", 0.912, 0.88, 0.934))
    '0.912 [0.880, 0.934]'
    """
    return f"{score.value:.3f} [{score.low:.3f}, {score.high:.3f}]"


def probability(p: float) -> str:
    """A p-value: never zero, as none is.

    >>> probability(0.03), probability(1e-7)
    ('0.030', '<0.001')
    """
    return "<0.001" if p < 0.001 else f"{p:.3f}"


def _heading(report: ProbeReport, view: View) -> Iterator[Line]:
    found = report.activations
    after = f"after {shown(found.after, 40)}" if found.after else "no activation behind it"
    for what, name, rest in (("model", report.model or "built in memory", ""), ("layer", report.layer, f"  {after}")):
        whole = line((f"{what} ", "quiet"), (shown(name), "heading"), (rest, "quiet"))
        if view.width is None or measure(whole) <= view.width:
            yield whole
        else:
            yield line((what, "quiet"))
            yield from _paragraph(shown(name) + rest, view, "heading")
    rows = np.unique(found.rows).size
    kept = found.pooling == "keep"
    samples = f"{plural(found.values.shape[0], 'sample')}" + (f" of {plural(rows, 'row')}" if kept else "")
    positions = "every position a sample" if kept else f"positions pooled by {found.pooling}"
    facts = [
        samples, plural(found.values.shape[1], "neuron"), positions, f"{report.folds} folds", f"seed {report.seed}",
    ]  # fmt: skip
    yield from _paragraph(f" {view.glyphs.dot} ".join(facts), view, "quiet", margin="")


def _concept(concept: Concept, report: ProbeReport) -> str:
    if concept.task == "number":
        return (
            f"{shown(concept.name)}: a number, {float(concept.values.min()):.4g} to {float(concept.values.max()):.4g}"
        )
    counts = np.bincount(concept.values.astype(np.int64), minlength=len(concept.classes))
    few = [f"{shown(name, 40)} {count:,}" for name, count in zip(concept.classes, counts.tolist(), strict=True)]
    more = f", {len(few) - 12} more classes" if len(few) > 12 else ""
    return f"{shown(concept.name)}: {', '.join(few[:12])}{more}"


def _probes(found: ConceptReport, view: View) -> Iterator[Line]:
    """Every probe on a line, with the score each control reaches in its place."""
    best = found.singles[:1]
    metric = (found.probes[0].score if found.probes else best[0].score).metric if found.probes or best else ""
    columns = (
        Column("probe", least=8),
        Column("reads", least=10),
        Column(METRICS[metric], right=True),
        *(Column(kind, right=True) for kind in _CONTROLS),
        Column("selectivity", right=True),
        Column("p", right=True),
        Column("verdict", least=16),
    )
    rows = []
    for one in best:
        reads = f"neuron {one.neuron} of {len(found.singles):,}"
        rows.append(_row("single", reads, one.score, found.single_controls, one))
    for probe in found.probes:
        rows.append(_row(probe.method, plural(len(probe.neurons), "neuron"), probe.score, probe.controls, probe))
    yield from table(columns, rows, view.width) or _upright(columns, rows, view)
    yield ()
    for name, verdict in [("single", one.verdict) for one in best] + [(p.method, p.verdict) for p in found.probes]:
        yield from _paragraph(f"{name}: {shown(verdict.reason, 400)}", view)


def _row(
    name: str, reads: str, score: Score, controls: Sequence[Control], probe: NeuronProbe | LayerProbe
) -> Row:
    by_kind = {control.kind: control.score for control in controls}
    cells: list[Cell] = [(line(name),), (line(reads),), (line(told(score)),)]
    for kind in _CONTROLS:
        cells.append((line((f"{by_kind[kind].value:.3f}", "quiet")),) if kind in by_kind else ())
    verdict = probe.verdict
    answer = line(("carries it", "neuron")) if verdict.carries else line(("not shown", "quiet"))
    cells += [(line(f"{probe.selectivity:+.3f}"),), (line(probability(verdict.p)),), (answer,)]
    return Row(tuple(cells), "strong" if verdict.carries else "")


def _upright(columns: Sequence[Column], rows: Sequence[Row], view: View) -> Iterator[Line]:
    """For narrow screens: one fact per line."""
    for row in rows:
        for number, (column, cell) in enumerate(zip(columns, row.cells, strict=True)):
            if cell:
                text = "".join(part for part, _ in cell[0])
                yield from _paragraph(f"{column.heading} {text}", view, row.style, MARGIN * (1 if number == 0 else 2))


def _neuron_columns(metric: str) -> tuple[Column, ...]:
    return (
        Column("neuron", right=True),
        Column(METRICS[metric], right=True),
        Column("selectivity", right=True),
        Column("p", right=True),
        Column("sign", right=True),
        Column("fires with/without", right=True),
        Column("mean with/without", right=True),
        Column("threshold", right=True),
        Column("verdict"),
    )


def _neurons(found: ConceptReport, view: View) -> Iterator[Line]:
    most = view.top or MOST_NEURONS
    carrying = sum(one.verdict.carries for one in found.singles)
    count = f"{plural(carrying, 'neuron')} of {len(found.singles):,} carries it alone" if carrying == 1 else (
        f"{carrying:,} of {plural(len(found.singles), 'neuron')} carry it alone"
    )  # fmt: skip
    yield from _paragraph(count, view)
    rows = [_neuron(one, view.glyphs) for one in found.singles[:most]]
    columns = _neuron_columns(found.singles[0].score.metric)
    yield from table(columns, rows, view.width) or _upright(columns, rows, view)
    left = len(found.singles) - most
    if left > 0:
        yield from _paragraph(f"{view.glyphs.ellipsis} {left:,} weaker ones (--top, --json)", view, "quiet")


def _neuron(one: NeuronProbe, glyphs: Glyphs) -> Row:
    facts = [
        f"{one.neuron}",
        told(one.score),
        f"{one.selectivity:+.3f}",
        probability(one.verdict.p),
        {1: "+", -1: "-"}.get(one.sign, ""),
        _two(one.rate_with, one.rate_without, lambda share: f"{100 * share:.1f}%"),
        _two(one.mean_with, one.mean_without, _number),
        _number(one.threshold),
    ]
    cells: list[Cell] = [(line(fact),) if fact else () for fact in facts]
    cells.append((line(("carries it", "neuron")),) if one.verdict.carries else (line((glyphs.dash, "quiet")),))
    return Row(tuple(cells), "strong" if one.verdict.carries else "")


def _two(first: float | None, second: float | None, shown: Callable[[float], str]) -> str:
    return "" if first is None or second is None else f"{shown(first)} / {shown(second)}"


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.4g}"


def _notes(report: ProbeReport, view: View) -> Iterator[Line]:
    tasks = {found.concept.task for found in report.concepts}
    notes = ["scores are on held-out samples, with 95% confidence intervals; p is corrected for how many were asked"]
    if "binary" in tasks:
        notes.append("with and without the concept; a neuron fires where it puts out more than 0")
    notes += [shown(notice, 400) for notice in report.notices]
    for note in notes:
        yield from _paragraph(note, view, "quiet")


def _paragraph(text: str, view: View, style: str = "", margin: str = MARGIN) -> Iterator[Line]:
    for piece in wrap(text, None if view.width is None else view.width - len(margin)):
        yield line(margin, (piece, style))

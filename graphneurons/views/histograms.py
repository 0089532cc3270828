"""What single neurons put out, class by class: a row of bars for every class, with the threshold of the probe."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from graphneurons.errors import UsageError
from graphneurons.probing.records import METRICS, ConceptReport, Floats, Integers, NeuronProbe, ProbeReport
from graphneurons.reports.probe import probability, told
from graphneurons.views.canvas import Canvas
from graphneurons.views.dot import named
from graphneurons.views.frame import SMALL, headline
from graphneurons.views.options import Options
from graphneurons.views.palette import hue

NEURONS, CLASSES, BINS = 4, 12, 48
WIDE, TALL = 460.0, 38.0

SILENT = 0.02
"""From this share of samples on, a neuron that puts out exactly 0 is told in words: its bar would dwarf all others."""


def draw_histograms(report: ProbeReport, found: ConceptReport, options: Options) -> Canvas:
    """One panel per neuron, the strongest first (``options.max_neurons`` of them, 4 without it); in it one row of bars
    per class, each scaled by its own number of samples so that rare classes can be seen. Of a number, the classes are
    the quarters of its values.

    Raises `UsageError` where no neuron was probed on its own.
    """
    singles = found.singles[: options.max_neurons or NEURONS]
    if not singles:
        raise UsageError(f"no neuron was probed on its own for {named(found.concept.name, 60)}; add --probe single")
    classes = list(_classes(report, found))
    shown = classes[:CLASSES]
    canvas = Canvas(options)
    top = 0.0
    for one in singles:
        values = report.activations.values[:, one.neuron].astype(np.float64)
        top = _panel(canvas, one, values, shown, top) + 34
    _frame(canvas, report, found, len(found.singles) - len(singles), len(classes) - len(shown))
    return canvas


def _classes(report: ProbeReport, found: ConceptReport) -> Iterator[tuple[str, Integers]]:
    """Every class with the samples that are of it."""
    concept = found.concept
    values = concept.values[report.activations.rows]
    if concept.task != "number":
        for index, name in enumerate(concept.classes):
            yield name, np.flatnonzero(values == index)
        return
    edges = np.quantile(concept.values, [0, 0.25, 0.5, 0.75, 1])
    for low, high, last in zip(edges[:-1], edges[1:], (False, False, False, True), strict=True):
        chosen = np.flatnonzero((values >= low) & ((values <= high) if last else (values < high)))
        yield f"{low:.3g} to {high:.3g}", chosen


def _panel(canvas: Canvas, one: NeuronProbe, values: Floats, classes: list[tuple[str, Integers]], top: float) -> float:
    """Draws one neuron; returns where the panel ends."""
    theme = canvas.options.colours
    low, high = float(values.min()), float(values.max())
    edges = np.linspace(low, high, BINS + 1) if high > low else np.linspace(low - 0.5, low + 0.5, BINS + 1)
    apart = SILENT <= np.mean(values == 0) < 1
    counted = {name: _shares(values[samples], edges, apart) for name, samples in classes}
    highest = max((float(shares.max()) for shares in counted.values()), default=0.0) or 1.0
    tested = f"{METRICS[one.score.metric]} {told(one.score)}, p {probability(one.verdict.p)}"
    verdict = "carries it alone" if one.verdict.carries else "not shown to carry it alone"
    canvas.words(0, top + 10, f"n{one.neuron}", size=14, bold=True, align="left")
    canvas.words(46, top + 10, f"{tested}: {verdict}", size=12.5, align="left", colour=theme.muted)
    bar = WIDE / BINS
    first = top + 26
    for place, (name, samples) in enumerate(classes):
        floor = first + TALL * (place + 1)
        canvas.words(-12, floor - 9, named(name, 24), size=12.5, align="right")
        silent = f", {100 * np.mean(values[samples] == 0):.0f}% silent" if apart and samples.size else ""
        canvas.words(WIDE + 12, floor - 9, f"{samples.size:,}{silent}", size=11.5, align="left", colour=theme.muted)
        for at, share in enumerate(counted[name].tolist()):
            tall = (TALL - 6) * share / highest
            if tall > 0:
                says = f"{named(name, 60)}: {100 * share:.1f}% from {edges[at]:.3g} to {edges[at + 1]:.3g}"
                canvas.node(
                    f"b{one.neuron}_{place}_{at}", bar * (at + 0.5), floor - tall / 2, bar * 0.94, max(tall, 0.3),
                    shape="box", style="filled", fillcolor=hue(place), color=hue(place), penwidth=0.2,
                    label=canvas.rich([]), tooltip=says, **{"id": f"bar-{one.neuron}-{place}-{at}", "class": "bar"},
                )  # fmt: skip
        canvas.line(f"a{one.neuron}_{place}", (0, floor), (WIDE, floor), arrowhead="none", penwidth=0.6,
                    color=theme.faint)  # fmt: skip
    floor = first + TALL * len(classes)
    span = float(edges[-1] - edges[0])

    def across(value: float) -> float:
        return WIDE * (value - float(edges[0])) / span

    marks = [(f"{edges[0]:.3g}", 0.0), (f"{edges[-1]:.3g}", WIDE)]
    if 0.06 * WIDE < across(0.0) < 0.94 * WIDE:
        marks.append(("0", across(0.0)))
    for text, x in marks:
        canvas.words(x, floor + 12, text, size=11)
    if one.threshold is not None and edges[0] <= one.threshold <= edges[-1]:
        x = across(one.threshold)
        canvas.line(f"t{one.neuron}", (x, first), (x, floor + 20), arrowhead="none", style="dashed", penwidth=1.4,
                    color=theme.ink)  # fmt: skip
        side = "left" if x < WIDE / 2 else "right"
        canvas.words(x + (6 if side == "left" else -6), floor + 28, f"threshold {one.threshold:.3g}", size=11.5,
                     align=side)  # fmt: skip
    return floor + 34


def _shares(values: Floats, edges: Floats, apart: bool) -> Floats:
    """The share of ``values`` in every bin; ``apart``: those that are 0 are in none."""
    counted = np.histogram(values[values != 0] if apart else values, edges)[0]
    shares: Floats = counted / max(values.size, 1)
    return shares


def _frame(canvas: Canvas, report: ProbeReport, found: ConceptReport, neurons: int, classes: int) -> None:
    headline(
        canvas,
        found.concept.name,
        "by what single neurons put out",
        [f"layer {named(report.layer, 60)}; share of the samples of each class per bin, their number on the right"],
    )
    notes = []
    if neurons:
        notes.append(f"left out: {neurons:,} weaker neurons")
    if classes:
        notes.append(f"left out: {classes:,} more classes")
    y = canvas.bottom + 18
    for note in notes:
        canvas.words(canvas.left, y, note, size=SMALL, align="left", colour=canvas.options.colours.muted)
        y += 16.5

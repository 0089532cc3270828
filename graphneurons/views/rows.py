"""Row-wise: a row of the weight is a neuron. The weight panel beside the neuron panel, one hue per neuron in both."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from graphneurons.analysis import Analysis, Layer
from graphneurons.views.blocks import Floats, Integers
from graphneurons.views.canvas import Canvas, Run, table
from graphneurons.views.dot import named
from graphneurons.views.frame import footer, headline
from graphneurons.views.options import Options
from graphneurons.views.palette import HUES, ON_HUE, heat, hue, readable_on
from graphneurons.views.presynaptic import Senders, numbers_of, own_letter, senders, sources_in, tap_names
from graphneurons.views.selecting import Selection, select
from graphneurons.views.strips import BINS, binned, counts, rest_box, strip
from graphneurons.views.synapses import Weighing, signed, synapse
from graphneurons.views.values import Values, values_of

NEURONS, SYNAPSES = 8, 16
"""How many are drawn one by one where nothing else is asked for."""

PITCH, CELL = 46.0, 58.0


@dataclass(frozen=True)
class Chosen:
    """The neurons of a layer that a picture shows: ``rows[i]`` are the synapses of neuron ``selection.indices[i]``,
    which read ``numbers[i]``."""

    analysis: Analysis
    layer: Layer
    values: Values
    selection: Selection
    rows: Floats
    numbers: tuple[Integers, ...]
    letters: Senders

    @property
    def left_out(self) -> int:
        return self.layer.neurons - len(self.selection.indices)

    @property
    def shared_sources(self) -> bool:
        """Whether all neurons drawn read the same."""
        return all(np.array_equal(self.numbers[0], other) for other in self.numbers[1:])

    @property
    def largest(self) -> float:
        finite = self.rows[np.isfinite(self.rows)]
        return float(np.abs(finite).max()) if finite.size else 0.0


def chosen(analysis: Analysis, layer: Layer, options: Options, limit: int) -> Chosen:
    """Selects, and reads only what was selected."""
    values = values_of(analysis, layer)
    most = options.max_neurons or limit
    selection = select(options.neurons, layer.neurons, most, lambda: values.norms, layer.id)
    rows = values.rows(selection.indices)
    numbers = tuple(numbers_of(analysis, values, neuron) for neuron in selection.indices)
    return Chosen(analysis, layer, values, selection, rows, numbers, senders(analysis, numbers, layer))


def draw_rows(analysis: Analysis, layer: Layer, options: Options) -> Canvas:
    """The rows of one layer: one by one where they are few and short, as strips where they are not."""
    picked = chosen(analysis, layer, options, NEURONS)
    few = picked.values.synapses <= (options.max_synapses or SYNAPSES)
    canvas = Canvas(options)
    letter = own_letter(analysis, layer.id, picked.letters.letters.values())
    if few and picked.shared_sources:
        _panels(canvas, picked, letter)
    else:
        _strips(canvas, picked, letter)
    counted = f"{layer.neurons:,} × {picked.values.synapses:,}"
    per = "row" if layer.weights[0].axes[0].role != "synapse" else "column of the stored weight"
    headline(
        canvas,
        layer.id,
        f"({counted}): a {per} is a neuron, its {picked.values.synapses:,} entries its synapses",
        [_said_of(layer, picked)],
    )
    return canvas


def _said_of(layer: Layer, picked: Chosen) -> str:
    shown = "all neurons drawn" if not picked.left_out else f"{len(picked.selection.indices):,} of {layer.neurons:,} "
    shown += "" if not picked.left_out else f"neurons drawn ({picked.selection.how})"
    weights = ", ".join(named(use.weight.name, 40) for use in layer.weights)
    extra = f", then {layer.activation}" if layer.activation else ""
    return f"{layer.kind} {weights}{extra}; {shown}"


def _panels(canvas: Canvas, picked: Chosen, letter: str) -> None:
    theme = canvas.options.colours
    indices, rows = picked.selection.indices, picked.rows
    count, width = rows.shape
    names = _synapse_names(picked)
    height = PITCH * max(count, width)
    first = (height - PITCH * count) / 2
    wide = max(CELL, *(8 * len(name) + 10 for name in names)) if names else CELL
    head = 62.0
    for column, name in enumerate(names):
        canvas.words(head + wide * (column + 0.5) + column, first - 12, name, size=12.5, colour=theme.muted)
    canvas.words(head / 2, first - 12, "neuron", size=11.5, colour=theme.muted)
    grid = []
    for at, neuron in enumerate(indices):
        dead = not rows[at].any()
        own = theme.dead if dead else hue(at)
        line: list[dict[str, object]] = [
            {"width": head, "height": PITCH - 1, "fill": own, "text": f"{letter}{neuron}", "bold": True,
             "ink": readable_on(own) if dead else ON_HUE}
        ]  # fmt: skip
        for value in rows[at].tolist():
            fill = heat(theme, value, picked.largest)
            line.append({"width": wide, "height": PITCH - 1, "fill": fill, "text": signed(value), "size": 12.5,
                         "ink": readable_on(fill)})  # fmt: skip
        grid.append(line)
    total = head + (wide + 1) * width + 2
    canvas.node(
        "weights", total / 2, first + PITCH * count / 2, total, PITCH * count + 1, shape="none",
        label=table(grid, canvas.scale, theme.faint), **{"class": "weights"},
    )  # fmt: skip
    left = total + 70
    right = left + max(250.0, 40.0 * width)
    gap = height / width
    weighing = Weighing(picked.largest)
    for synapse_at, name in enumerate(names):
        sender = picked.letters.sender(picked.analysis, int(picked.numbers[0][synapse_at]))
        canvas.circle(f"s{synapse_at}", left, gap * (synapse_at + 0.5), name, tooltip=sender.says, kind="source")
    silent = zeros = 0
    for at, neuron in enumerate(indices):
        dead = not rows[at].any()
        silent += dead
        canvas.circle(
            f"n{at}", right, first + PITCH * (at + 0.5), f"{letter}{neuron}", theme.dead if dead else hue(at), size=40,
            border=theme.muted if dead else theme.ink, pen=1.6, bold=True,
            tooltip=f"{named(picked.layer.id)} neuron {neuron}" + (", dead" if dead else ""),
        )  # fmt: skip
        for synapse_at, value in enumerate(rows[at].tolist()):
            says = f"{names[synapse_at]} → {letter}{neuron}: {signed(value)}"
            zeros += not synapse(canvas, f"s{synapse_at}-n{at}", f"s{synapse_at}", f"n{at}", value, weighing, says)
    heading = canvas.top - 14
    canvas.words(total / 2, heading, "weights", size=BOLD, bold=True)
    canvas.words((left + right) / 2, heading, "neurons", size=BOLD, bold=True)
    if picked.left_out:
        bottom = max(height, first + PITCH * count)
        canvas.words(right, bottom + 14, "…", size=22, bold=True)
        drawn = set(indices)
        others = np.array([n for n in range(picked.layer.neurons) if n not in drawn])
        rest_box(
            canvas, "rest", right - 60, bottom + 32, picked.values.norms[others],
            f"{picked.left_out:,} more neurons, by ‖w‖ (log count)",
        )  # fmt: skip
    _foot(canvas, picked, silent, zeros - silent * width, letter)


BOLD = 13.5


def _foot(canvas: Canvas, picked: Chosen, dead: int, zeros: int, letter: str, binned_by: int = 0) -> None:
    notes = [f"{letter} = neurons of {named(picked.layer.id)}; " + "; ".join(picked.letters.legend(picked.analysis))]
    if binned_by:
        notes.append(
            f"strips: {picked.values.synapses:,} synapses in {binned_by} bins in their order, colour = mean of the bin"
        )
    if zeros > 0:
        notes.append(f"{zeros:,} synapses of weight 0 have no line")
    if picked.left_out:
        left = picked.left_out
        notes.append(f"left out: {left:,} neurons with {left * picked.values.synapses:,} synapses")
    footer(
        canvas,
        lines=not binned_by,
        widest="" if binned_by else f"width and opacity = |w|, widest {picked.largest:.3g}",
        dead=dead,
        notes=notes,
    )


def _synapse_names(picked: Chosen) -> list[str]:
    names: list[str] = []
    for laid, offset in zip(picked.values.laid, picked.values.offsets, strict=False):
        taps = tap_names(laid.taps)
        for at in range(laid.synapses):
            sender = picked.letters.sender(picked.analysis, int(picked.numbers[0][offset + at]))
            names.append(sender.text + taps[at % len(taps)])
    return names


def _strips(canvas: Canvas, picked: Chosen, letter: str) -> None:
    theme = canvas.options.colours
    rows, indices = picked.rows, picked.selection.indices
    means = [binned(row) for row in rows]
    largest = max((float(np.abs(mean[np.isfinite(mean)]).max(initial=0.0)) for mean in means), default=0.0)
    pitch, left, wide, box = 62.0, 0.0, 330.0, 290.0
    sources: dict[str, int] = {}
    for numbers in picked.numbers:
        for source in sources_in(picked.analysis, numbers):
            sources.setdefault(source, int(numbers.size))
    middle = pitch * len(indices) / 2
    gap = max(70.0, 0.0)
    start = middle - gap * len(sources) / 2
    ids = {}
    for at, source in enumerate(sources):
        known = picked.analysis.wiring.source[source]
        unit = {"input": "inputs", "layer": "neurons"}.get(known.kind, "channels")
        label = f"{named(known.id, 22)}\n{known.size:,} {unit}"
        ids[source] = canvas.box(
            f"s{at}",
            left,
            start + gap * (at + 0.5),
            150,
            46,
            label,
            style="filled",
            font=12.5,
            kind="source",
            tooltip=named(source, 120),
        )
    from_x = left + 75 + 120
    dead = 0
    for at, neuron in enumerate(indices):
        y = pitch * (at + 0.5)
        silent = not rows[at].any()
        dead += silent
        strip(
            canvas, f"b{at}", from_x + wide / 2, y, wide, 24, means[at], largest,
            f"{letter}{neuron}: {counts(rows[at])}",
        )  # fmt: skip
        fill = theme.dead if silent else hue(at)
        ink = readable_on(fill)
        norm = float(np.linalg.norm(rows[at].astype(np.float64)))
        text = "dead" if silent else f"‖w‖ {norm:.4g}   {counts(rows[at])}"
        canvas.box(
            f"n{at}", from_x + wide + 26 + box / 2, y, box, 48,
            canvas.rich([Run(f"#{neuron:,}", True, 14, ink), Run(f"   {text}", False, 12, ink)]),
            fill=fill, border=theme.muted if silent else theme.ink, pen=1.6, kind="neuron",
            tooltip=f"{named(picked.layer.id)} neuron {neuron}",
        )  # fmt: skip
        canvas.edge(f"b{at}", f"n{at}", arrowhead="normal", penwidth=1.0 * canvas.scale)
        for source in sources_in(picked.analysis, picked.numbers[at]):
            canvas.edge(
                ids[source], f"b{at}", arrowhead="none", penwidth=0.9 * canvas.scale, headport="w", tailport="e"
            )
    if picked.left_out:
        bottom = pitch * len(indices)
        x = from_x + wide + 26 + box / 2
        canvas.words(x, bottom + 10, "…", size=22, bold=True)
        says = f"{picked.left_out:,} more neurons"
        if picked.layer.synapses <= 1 << 31 and _ranked(picked):
            drawn = np.zeros(picked.layer.neurons, bool)
            drawn[list(indices)] = True
            rest_box(canvas, "rest", x, bottom + 26, picked.values.norms[~drawn], f"{says}, by ‖w‖ (log count)", box)
        else:
            canvas.box(
                "rest", x, bottom + 52, box, 44, f"{says}, not read", fill=theme.background,
                style="rounded,dashed", kind="rest",
            )  # fmt: skip
        if sources:
            below = start + gap * len(sources) - gap / 2 + 23
            canvas.path(
                "to_rest", ((left, below), (left, bottom + 88), (x - box / 2, bottom + 88)), style="dashed",
                arrowhead="normal", penwidth=0.9 * canvas.scale,
            )  # fmt: skip
            says = f"{picked.left_out * picked.values.synapses:,} synapses"
            canvas.words(left + 12, bottom + 76, says, size=12, align="left")
    _foot(canvas, picked, dead, 0, letter, min(BINS, picked.values.synapses))


def _ranked(picked: Chosen) -> bool:
    """Whether all weights were read anyway, or are few enough to be."""
    return "norm" in picked.selection.how or picked.selection.how.startswith("top") or picked.layer.synapses <= 1 << 24


__all__ = ["HUES", "Chosen", "chosen", "draw_rows"]

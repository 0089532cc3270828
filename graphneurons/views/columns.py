"""Column-wise: a presynaptic neuron owns a column of the weight, the direction it writes into the next layer, scaled by
its output; the layer's output is the sum of them. For the pair of an MLP block this is its key-value memory.

Geva et al. (2021), "Transformer Feed-Forward Layers Are Key-Value Memories".
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from graphneurons.analysis import Analysis, Layer
from graphneurons.errors import UsageError
from graphneurons.views.blocks import Floats, Integers
from graphneurons.views.canvas import Canvas, Run, table
from graphneurons.views.dot import named
from graphneurons.views.evaluating import Vector, bias, outputs
from graphneurons.views.frame import footer, headline
from graphneurons.views.options import Options
from graphneurons.views.palette import ON_HUE, heat, hue, readable_on
from graphneurons.views.presynaptic import Senders, numbers_of, own_letter, senders, sources_in
from graphneurons.views.selecting import Selection, select
from graphneurons.views.strips import binned, counts, rest_box, strip
from graphneurons.views.synapses import Weighing, signed, synapse
from graphneurons.views.values import Values, values_of

COLUMNS, ENTRIES, INPUTS = 8, 6, 8
"""How many columns are drawn, how long one may be to be written out, and how many inputs the keys may have."""

ROW = 23.0


@dataclass(frozen=True)
class Written:
    """The columns a picture shows: ``columns[:, i]`` is what presynaptic neuron ``selection.indices[i]`` writes."""

    analysis: Analysis
    layer: Layer
    values: Values
    selection: Selection
    columns: Floats
    numbers: Integers
    letters: Senders

    @property
    def left_out(self) -> int:
        return self.values.synapses - len(self.selection.indices)

    @property
    def largest(self) -> float:
        finite = self.columns[np.isfinite(self.columns)]
        return float(np.abs(finite).max(initial=0.0))


@dataclass(frozen=True)
class Keys:
    """The layer that feeds all columns, where it is small enough to be drawn too: its rows, and what they read."""

    values: Values
    rows: Floats
    numbers: Integers
    letters: Senders
    at: Vector | None


def draw_columns(analysis: Analysis, layer: Layer, options: Options) -> Canvas:
    """The columns of one layer; with the layer before it where that alone feeds it and is small."""
    values = values_of(analysis, layer)
    if values.laid[0].taps and any(size > 1 for size in values.laid[0].taps):
        raise UsageError(f"{layer.id} has kernels: columns are drawn of single weights, use --view conv")
    if any(one.groups > 1 for one in analysis.wiring.synapses.get(layer.id, ())):
        raise UsageError(f"{layer.id} is grouped: no presynaptic neuron writes to all of it, use --view rows")
    most = options.max_neurons or COLUMNS
    selection = select(options.neurons, values.synapses, most, lambda: values.column_norms, f"what feeds {layer.id}")
    numbers = numbers_of(analysis, values, 0)
    written = Written(
        analysis, layer, values, selection, values.columns(selection.indices), numbers,
        senders(analysis, [numbers], layer),
    )  # fmt: skip
    keys = _keys(written, options)
    canvas = Canvas(options)
    small = layer.neurons <= (options.max_synapses or ENTRIES)
    (_small if small else _wide)(canvas, written, keys)
    sources = ", ".join(named(source) for source in sources_in(analysis, numbers)) or "its inputs"
    headline(
        canvas,
        layer.id,
        "column-wise: a presynaptic neuron scales its column; y is their sum",
        [
            f"{layer.neurons:,} × {values.synapses:,}: {values.synapses:,} columns, read from {sources}; "
            + _drawn(written)
        ],
    )
    return canvas


def _drawn(written: Written) -> str:
    if not written.left_out:
        return "all columns drawn"
    how = written.selection.how.replace("‖w‖", "‖column‖")
    return f"{len(written.selection.indices):,} of {written.values.synapses:,} columns drawn ({how})"


def _keys(written: Written, options: Options) -> Keys | None:
    """The layer before, where it feeds neuron j of it into column j."""
    analysis = written.analysis
    feeding = sources_in(analysis, written.numbers)
    source = analysis.wiring.source.get(feeding[0]) if len(feeding) == 1 else None
    fits = (
        source is not None
        and source.kind == "layer"
        and source.size == written.values.synapses
        and np.array_equal(written.numbers, np.arange(source.base, source.base + source.size))
    )
    if not fits or source is None or analysis.layer(source.id).kind != "linear":
        if options.at is not None:
            raise UsageError(f"--at needs a linear layer that alone feeds {written.layer.id}")
        return None
    layer = analysis.layer(source.id)
    values = values_of(analysis, layer)
    at = outputs(analysis, values, options.at) if options.at is not None else None
    if values.synapses > INPUTS:
        if at is not None:
            raise UsageError(f"--at draws up to {INPUTS} inputs, {layer.id} reads {values.synapses}")
        return None
    numbers = numbers_of(analysis, values, 0)
    rows = values.rows(written.selection.indices)
    return Keys(values, rows, numbers, senders(analysis, [numbers], layer), at)


def _small(canvas: Canvas, written: Written, keys: Keys | None) -> None:
    theme = canvas.options.colours
    indices, entries = written.selection.indices, written.layer.neurons
    pitch = max(58.0, ROW * entries + 22)
    height = pitch * len(indices)
    own = "y"
    key_x, write_x = (0.0, 175.0) if keys is None else (270.0, 445.0)
    dial_x = write_x + 120 if entries == 2 else write_x
    sum_x = dial_x + 190
    dead = _keys_of(canvas, written, keys, key_x, pitch)
    scales = [1.0] * len(indices) if keys is None or keys.at is None else [float(keys.at[i]) for i in indices]
    evaluated = keys is not None and keys.at is not None
    norms = [float(np.linalg.norm(written.columns[:, at])) for at in range(len(indices))]
    reach = max([abs(scale) * norm for scale, norm in zip(scales, norms, strict=True)], default=0.0) or 1.0
    loudest = max([abs(scale) for scale in scales], default=0.0) or 1.0
    canvas.circle(
        "sum", sum_x, height / 2, "Σ", theme.background, size=58, font=22, border=theme.ink, pen=2.2, kind="sum"
    )
    for at, scale in enumerate(scales):
        y, silent = pitch * (at + 0.5), scale == 0
        colour = theme.faint if silent else hue(at)
        sender = written.letters.sender(written.analysis, int(written.numbers[indices[at]]))
        _column(canvas, written, at, write_x, y, silent, colour)
        canvas.edge(
            f"k{at}", f"v{at}", arrowhead="normal", color=theme.faint if silent else theme.ink,
            style="dashed" if silent else "solid",
            penwidth=(0.8 if not evaluated or silent else 0.8 + 3.2 * abs(scale) / loudest) * canvas.scale,
            arrowsize=f"{0.6 * canvas.scale:.2f}", **{"class": "output"},
        )  # fmt: skip
        text = f"× {signed(scale).lstrip('+')}" if evaluated else f"× {sender.text}"
        canvas.words((key_x + write_x) / 2 - 6, y - 11, text, size=12.5, colour=theme.muted if silent else theme.ink)
        if entries == 2:
            _dial(canvas, at, dial_x, y, written.columns[:, at], max(norms) or 1.0, silent, colour)
        if not silent:
            share = abs(scale) * norms[at] / reach
            canvas.edge(
                f"d{at}" if entries == 2 else f"v{at}", "sum", color=hue(at), arrowhead="normal",
                penwidth=(0.8 + 3.6 * share) * canvas.scale, arrowsize=f"{0.7 * canvas.scale:.2f}",
                tooltip=f"{sender.says} writes {signed(scale * norms[at]) if evaluated else ''}".strip(),
                **{"id": f"write-{at}", "class": "write"},
            )  # fmt: skip
    _result(canvas, written, keys, own, sum_x, height)
    top = canvas.top - 22
    if keys is not None:
        canvas.words(0, top, [Run("input", True, 13.5)])
    canvas.words(key_x, top, [Run("key neurons" if keys else "presynaptic neurons", True, 13.5)])
    canvas.words(write_x, top, [Run("columns", True, 13.5)])
    if entries == 2:
        canvas.words(dial_x, top, [Run("direction", True, 13.5)])
        canvas.words(dial_x, top + 16, f"({own}0, {own}1) plane", size=11.5, colour=theme.muted)
    if evaluated:
        canvas.words(key_x, top + 16, "grey = silent (0)", size=11.5, colour=theme.muted)
    if written.left_out:
        canvas.words(write_x, height + 12, "…", size=22, bold=True)
        others = np.setdiff1d(np.arange(written.values.synapses), indices)
        rest_box(
            canvas, "rest", write_x, height + 34, written.values.column_norms[others],
            f"{written.left_out:,} more columns, by ‖column‖ (log count)",
        )  # fmt: skip
    _foot(canvas, written, keys, dead, own)


def _keys_of(canvas: Canvas, written: Written, keys: Keys | None, x: float, pitch: float) -> int:
    """The presynaptic neurons as circles, and what feeds them where that is drawn; how many of them are dead."""
    theme = canvas.options.colours
    indices = written.selection.indices
    dead = 0
    for at, index in enumerate(indices):
        sender = written.letters.sender(written.analysis, int(written.numbers[index]))
        gone = keys is not None and not keys.rows[at].any()
        silent = gone or (keys is not None and keys.at is not None and keys.at[index] == 0)
        dead += gone
        fill = theme.dead if gone else theme.background if silent else hue(at)
        canvas.circle(
            f"k{at}", x, pitch * (at + 0.5), sender.text, fill, size=42, border=theme.faint if silent else theme.ink,
            pen=1.6, tooltip=sender.says, bold=not silent, ink=theme.muted if silent and not gone else None,
        )  # fmt: skip
    if keys is None:
        return dead
    weighing = Weighing(float(np.abs(keys.rows).max(initial=0.0)))
    gap = pitch * len(indices) / keys.values.synapses
    for source_at, number in enumerate(keys.numbers.tolist()):
        sender = keys.letters.sender(written.analysis, number)
        value = canvas.options.at[source_at] if canvas.options.at else None
        y = gap * (source_at + 0.5)
        canvas.circle(f"s{source_at}", 0, y, sender.text, tooltip=sender.says, kind="source")
        if value is not None:
            canvas.words(-26, y, signed(value), size=12, align="right", colour=theme.muted)
        for at in range(len(indices)):
            says = f"{sender.text} → {written.letters.sender(written.analysis, int(written.numbers[indices[at]])).text}"
            weight = float(keys.rows[at, source_at])
            synapse(
                canvas, f"s{source_at}-k{at}", f"s{source_at}", f"k{at}", weight, weighing, f"{says}: {signed(weight)}"
            )
    return dead


def _column(canvas: Canvas, written: Written, at: int, x: float, y: float, silent: bool, colour: str) -> None:
    theme = canvas.options.colours
    cells = []
    for value in written.columns[:, at].tolist():
        fill = theme.panel if silent else heat(theme, value, written.largest)
        ink = theme.muted if silent else readable_on(fill)
        cells.append([{"width": 74, "height": ROW, "fill": fill, "text": signed(value), "size": 12.5, "ink": ink}])
    canvas.node(
        f"v{at}", x, y, 80, ROW * len(cells) + 6, shape="box", style="filled", fillcolor=colour, color=colour,
        penwidth=1, label=table(cells, canvas.scale, colour, 0), **{"id": f"column-{at}", "class": "column"},
    )  # fmt: skip


def _dial(
    canvas: Canvas, at: int, x: float, y: float, column: Floats, longest: float, silent: bool, colour: str
) -> None:
    """The column as an arrow in the plane of the two outputs: the first to the right, the second up."""
    theme = canvas.options.colours
    canvas.node(
        f"d{at}", x, y, 52, 52, shape="circle", color=theme.faint, penwidth=1, label=canvas.rich([]),
        **{"id": f"direction-{at}", "class": "direction"},
    )  # fmt: skip
    reach = 24 / longest
    end = (x + float(column[0]) * reach, y - float(column[1]) * reach)
    canvas.line(
        f"d{at}", (x, y), end, color=colour, penwidth=(1.2 if silent else 2.4) * canvas.scale, arrowhead="normal",
        arrowsize=f"{0.45 * canvas.scale:.2f}", **{"class": "direction"},
    )  # fmt: skip


def _result(canvas: Canvas, written: Written, keys: Keys | None, own: str, sum_x: float, height: float) -> None:
    theme = canvas.options.colours
    entries = written.layer.neurons
    total: Vector | None = None
    if keys is not None and keys.at is not None:
        matrix = written.values.rows(range(entries)).astype(np.float64)
        total = matrix @ keys.at + bias(written.analysis, written.layer)
    largest = float(np.abs(total).max(initial=0.0)) if total is not None else 0.0
    cells = []
    for index in range(entries):
        value = float(total[index]) if total is not None else None
        fill = theme.panel if value is None else heat(theme, value, largest)
        text = f"{own}{index}" if value is None else f"{own}{index} = {signed(value)}"
        cells.append([{"width": 104, "height": 27, "fill": fill, "text": text, "size": 14, "ink": readable_on(fill)}])
    canvas.node(
        "out", sum_x + 140, height / 2, 108, 27 * entries + 4, shape="box", style="filled", fillcolor=theme.ink,
        color=theme.ink, penwidth=1, label=table(cells, canvas.scale, theme.ink, 0), **{"class": "result"},
    )  # fmt: skip
    canvas.edge("sum", "out", arrowhead="normal", color=theme.ink, penwidth=1.6 * canvas.scale)


def _wide(canvas: Canvas, written: Written, keys: Keys | None) -> None:
    """Columns too long to write out: as strips, with the neurons they excite and inhibit most."""
    theme = canvas.options.colours
    indices = written.selection.indices
    pitch, wide, box = 62.0, 330.0, 200.0
    strips = [binned(written.columns[:, at]) for at in range(len(indices))]
    largest = max((float(np.abs(means).max(initial=0.0)) for means in strips), default=0.0)
    own = own_letter(written.analysis, written.layer.id, written.letters.letters.values())
    dead = 0
    for at, index in enumerate(indices):
        y = pitch * (at + 0.5)
        sender = written.letters.sender(written.analysis, int(written.numbers[index]))
        column = written.columns[:, at]
        silent = not column.any()
        dead += silent
        fill = theme.dead if silent else hue(at)
        ink = readable_on(fill) if silent else ON_HUE
        norm = float(np.linalg.norm(column.astype(np.float64)))
        canvas.box(
            f"k{at}", box / 2, y, box, 46,
            canvas.rich([Run(sender.text, True, 14, ink), Run(f"   ‖v‖ {norm:.4g}", False, 12, ink)]),
            fill=fill, border=theme.ink, pen=1.6, kind="neuron", tooltip=sender.says,
        )  # fmt: skip
        x = box + 70 + wide / 2
        canvas.words(box + 34, y - 11, f"× {sender.text}", size=11.5, colour=theme.muted)
        strip(canvas, f"v{at}", x, y, wide, 24, strips[at], largest, counts(column))
        canvas.edge(f"k{at}", f"v{at}", arrowhead="normal", penwidth=1.0 * canvas.scale, **{"class": "output"})
        up, down = int(np.argmax(column)), int(np.argmin(column))
        says = (
            f"{counts(column)};  most {own}{up} {signed(float(column[up]))}, {own}{down} {signed(float(column[down]))}"
        )
        canvas.words(x, y + 22, says, size=10.5, colour=theme.muted)
        canvas.edge(f"v{at}", "sum", color=theme.dead if silent else hue(at), arrowhead="normal",
                    penwidth=1.8 * canvas.scale, tailport="e", **{"id": f"write-{at}", "class": "write"})  # fmt: skip
    height = pitch * len(indices)
    sum_x = box + 70 + wide + 130
    canvas.circle(
        "sum", sum_x, height / 2, "Σ", theme.background, size=58, font=22, border=theme.ink, pen=2.2, kind="sum"
    )
    canvas.box(
        "out",
        sum_x + 140,
        height / 2,
        150,
        48,
        f"{named(written.layer.id, 22)}\n{written.layer.neurons:,} neurons",
        style="filled",
        font=12.5,
        kind="result",
        tooltip=named(written.layer.id, 120),
    )
    canvas.edge("sum", "out", arrowhead="normal", color=theme.ink, penwidth=1.6 * canvas.scale)
    top = canvas.top - 18
    for x, text in ((box / 2, "presynaptic neurons"), (box + 70 + wide / 2, "columns: what each writes")):
        canvas.words(x, top, text, size=13.5, bold=True)
    if written.left_out:
        canvas.words(box / 2 + 50, height + 10, "…", size=22, bold=True)
        others = np.setdiff1d(np.arange(written.values.synapses), indices)
        rest_box(canvas, "rest", box / 2 + 50, height + 30, written.values.column_norms[others],
                 f"{written.left_out:,} more columns, by ‖column‖ (log count)")  # fmt: skip
    _foot(canvas, written, keys, dead, own, strips[0].size if strips else 0)


def _foot(canvas: Canvas, written: Written, keys: Keys | None, dead: int, own: str, bins: int = 0) -> None:
    legend = written.letters.legend(written.analysis) + (keys.letters.legend(written.analysis) if keys else [])
    notes = ["; ".join([*legend, f"{own} = neurons of {named(written.layer.id)}"])]
    if bins:
        notes.append(
            f"strips: {written.layer.neurons:,} weights in {bins} bins in their order, colour = mean of the bin"
        )
    if keys is not None and keys.at is not None:
        notes.append(
            "biases are added to the keys and to y; an arrow to Σ is as wide as what its neuron writes is long"
        )
    elif not bins:
        notes.append("an arrow to Σ is as wide as its column is long")
    if written.left_out:
        notes.append(
            f"left out: {written.left_out:,} columns with {written.left_out * written.layer.neurons:,} synapses"
        )
    largest = float(np.abs(keys.rows).max(initial=0.0)) if keys and not bins else 0.0
    widest = f"width and opacity = |w|, widest {largest:.3g}" if largest else ""
    footer(canvas, lines=bool(largest), widest=widest, dead=dead, notes=notes)

"""Several layers in a row with all their neurons and synapses, seen as weights (boxes) and as neurons (circles)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from graphneurons.analysis import Analysis, Layer
from graphneurons.errors import UsageError
from graphneurons.views.blocks import Floats, Integers
from graphneurons.views.canvas import Canvas, table, text_width
from graphneurons.views.dot import named
from graphneurons.views.frame import footer, headline
from graphneurons.views.options import Options
from graphneurons.views.palette import ON_HUE, heat, hue, readable_on
from graphneurons.views.presynaptic import Senders, numbers_of, senders, sources_in
from graphneurons.views.selecting import select, top
from graphneurons.views.synapses import Weighing, signed, synapse
from graphneurons.views.values import Values, values_of

NEURONS, LAYERS = 12, 6
PITCH, CELL, SMALL_CELL, NUMBERS = 54.0, 46.0, 20.0, 6


@dataclass(frozen=True)
class Stage:
    """One layer of the row: which neurons are drawn, what they read (by column of ``rows``), from which of the columns
    drawn before."""

    layer: Layer
    values: Values
    neurons: tuple[int, ...]
    rows: Floats
    numbers: Integers
    dead: tuple[bool, ...]


@dataclass(frozen=True)
class Column:
    """Circles one below the other: global number -> (id, text)."""

    ids: dict[int, str]
    texts: tuple[str, ...]
    heading: str
    under: str
    more: int


def pair_of(analysis: Analysis, layer: Layer) -> tuple[Layer, ...]:
    """``layer`` and the one it alone feeds, or else the one that alone feeds it and ``layer``."""
    after = _next(analysis, layer)
    if after is not None:
        return layer, after
    before = next((one for one in analysis.layers if _next(analysis, one) is layer), None)
    if before is None:
        raise UsageError(f"{layer.id} is no half of a pair: no single layer feeds it or reads it; use --view rows")
    return before, layer


def chain_of(analysis: Analysis, layer: Layer) -> tuple[Layer, ...]:
    """``layer`` and those after it, as long as each alone feeds the next, six at most."""
    found = [layer]
    while len(found) < LAYERS:
        after = _next(analysis, found[-1])
        if after is None or after in found:
            break
        found.append(after)
    return tuple(found)


def _next(analysis: Analysis, layer: Layer) -> Layer | None:
    """The first layer all of whose synapses read ``layer``, directly."""
    source = analysis.wiring.source.get(layer.id)
    if source is None:
        return None
    for other in analysis.layers:
        if other.id == layer.id:
            continue
        read = [synapses.neurons for synapses in analysis.wiring.synapses.get(other.id, ())]
        if read and all(((numbers >= source.base) & (numbers < source.base + source.size)).all() for numbers in read):
            return other
    return None


def draw_chain(analysis: Analysis, layers: tuple[Layer, ...], options: Options) -> Canvas:
    """The layers side by side, from left to right."""
    limit = options.max_neurons or NEURONS
    stages = [_stage(analysis, layer, options, limit) for layer in layers]
    known = [senders(analysis, [stage.numbers], stage.layer) for stage in stages]
    columns = [_inputs(analysis, stages[0], known[0], options.max_synapses or limit)]
    for at, stage in enumerate(stages):
        letter = _letter(analysis, stages, known, at)
        columns.append(_column(analysis, stage, letter, at + 1))
    xs = _places(stages, columns)
    canvas = Canvas(options)
    height = max(len(column.ids) for column in columns) * PITCH
    if options.perspective != "neurons":
        _weights(canvas, stages, columns, xs)
    offset = canvas.bottom + 74 if options.perspective == "both" else 0.0
    missing = _neurons(canvas, stages, columns, xs, offset, height) if options.perspective != "weights" else 0
    names = " → ".join(named(layer.id, 24) for layer in layers)
    counted = (
        f"{sum(layer.neurons for layer in layers):,} neurons, {sum(layer.synapses for layer in layers):,} synapses"
    )
    headline(canvas, names, "", [counted])
    _foot(canvas, analysis, stages, columns, known, missing)
    return canvas


def _letter(analysis: Analysis, stages: list[Stage], known: list[Senders], at: int) -> str:
    """k for key neurons, y for the last layer, and for the others letters that no column before has."""
    if at + 1 == len(stages):
        return "y"
    taken = {*known[0].letters.values()}
    for stage, following in zip(stages[: at + 1], known[1:], strict=False):
        letter = following.letters.get(stage.layer.id, "n").replace("p", "n")
        letter = next(one for one in (letter, *"nmpqabcdeg") if one not in taken)
        taken.add(letter)
    return letter


def _stage(analysis: Analysis, layer: Layer, options: Options, limit: int) -> Stage:
    if layer.kind == "recurrent":
        raise UsageError(f"{layer.id} is recurrent; use --view recurrent")
    values = values_of(analysis, layer)
    if any(size > 1 for laid in values.laid for size in laid.taps) or any(
        synapses.groups > 1 for synapses in analysis.wiring.synapses.get(layer.id, ())
    ):
        raise UsageError(f"{layer.id} has kernels or groups; use --view conv")
    wanted = options.neurons if layer.neurons > limit or options.neurons is None else None
    selection = select(wanted, layer.neurons, limit, lambda: values.norms, layer.id)
    neurons = tuple(sorted(selection.indices))
    rows = values.rows(neurons)
    return Stage(layer, values, neurons, rows, numbers_of(analysis, values, 0), tuple(not row.any() for row in rows))


def _inputs(analysis: Analysis, stage: Stage, known: Senders, limit: int) -> Column:
    """What the first layer reads: all of it, or what it weighs most."""
    count = stage.values.synapses
    kept = range(count) if count <= limit else sorted(top(stage.values.column_norms, limit))
    ids, texts = {}, []
    for at, synapse_at in enumerate(kept):
        number = int(stage.numbers[synapse_at])
        if number in ids:
            continue
        ids[number] = f"c0_{at}"
        texts.append(known.sender(analysis, number).text)
    sources = sources_in(analysis, stage.numbers)
    heading = named(sources[0].removeprefix("input:"), 22) if len(sources) == 1 else "inputs"
    return Column(ids, tuple(texts), heading, f"{count:,}", count - len(kept))


def _column(analysis: Analysis, stage: Stage, letter: str, at: int) -> Column:
    source = analysis.wiring.source.get(stage.layer.id)
    base = source.base if source is not None else 0
    ids = {base + neuron: f"c{at}_{index}" for index, neuron in enumerate(stage.neurons)}
    texts = tuple(f"{letter}{neuron}" for neuron in stage.neurons)
    under = f"{stage.layer.neurons:,} × {stage.values.synapses:,}"
    under += f", {stage.layer.activation}" if stage.layer.activation else ""
    return Column(ids, texts, named(stage.layer.id, 22), under, stage.layer.neurons - len(stage.neurons))


def _cell(stage: Stage, before: Column) -> float:
    return CELL if len(before.ids) <= NUMBERS else SMALL_CELL


def _places(stages: list[Stage], columns: list[Column]) -> list[float]:
    xs = [0.0]
    for stage, before, column in zip(stages, columns, columns[1:], strict=False):
        heading = max(text_width(column.heading, 13.5) + 24, text_width(before.heading, 13.5) + 24)
        xs.append(xs[-1] + max(210.0, heading, _cell(stage, before) * len(before.ids) + 110))
    return xs


def _weights(canvas: Canvas, stages: list[Stage], columns: list[Column], xs: list[float]) -> None:
    """Boxes: every vector as a stack of squares, every weight as the matrix between two of them."""
    theme = canvas.options.colours
    tallest = max(30.0 * len(column.ids) for column in columns)
    for at, (column, x) in enumerate(zip(columns, xs, strict=True)):
        cells = []
        for index, text in enumerate(column.texts):
            dead = at > 0 and stages[at - 1].dead[index]
            fill = theme.panel if at == 0 else theme.dead if dead else hue(index)
            cells.append([{"width": 40, "height": 29, "fill": fill, "text": text, "size": 12.5,
                           "ink": readable_on(fill) if at == 0 or dead else ON_HUE}])  # fmt: skip
        canvas.node(f"w{at}", x, tallest / 2, 42, 30.0 * len(cells) + 1, shape="none",
                    label=table(cells, canvas.scale, theme.faint), **{"class": "vector"})  # fmt: skip
    for at, (stage, before) in enumerate(zip(stages, columns, strict=False)):
        size = _cell(stage, before)
        kept = _kept(stage, before)
        largest = float(np.abs(stage.rows).max(initial=0.0))
        cells = []
        for row in stage.rows:
            line: list[dict[str, object]] = []
            for value in row[kept].tolist():
                fill = heat(theme, value, largest)
                text = signed(value) if size == CELL else ""
                line.append({"width": size - 1, "height": 29, "fill": fill, "text": text, "size": 11.5,
                             "ink": readable_on(fill)})  # fmt: skip
            cells.append(line)
        x = (xs[at] + xs[at + 1]) / 2
        canvas.node(
            f"m{at}",
            x,
            tallest / 2,
            size * len(kept) + 1,
            30.0 * len(cells) + 1,
            shape="none",
            label=table(cells, canvas.scale, theme.faint),
            **{"id": f"weights-{at}", "class": "weights"},
        )
        for tail, head in ((f"w{at}", f"m{at}"), (f"m{at}", f"w{at + 1}")):
            canvas.edge(tail, head, arrowhead="normal", penwidth=1.1 * canvas.scale)
        canvas.words(x, tallest / 2 - 15.0 * len(cells) - 14, f"{stage.layer.neurons:,} × {stage.values.synapses:,}",
                     size=11.5, colour=theme.muted)  # fmt: skip
    canvas.words(xs[0] - 21, canvas.top - 16, "weights", size=13.5, bold=True, align="left")


def _kept(stage: Stage, before: Column) -> list[int]:
    """The synapses whose other end is drawn."""
    return [at for at, number in enumerate(stage.numbers.tolist()) if number in before.ids]


def _neurons(
    canvas: Canvas, stages: list[Stage], columns: list[Column], xs: list[float], top_at: float, height: float
) -> int:
    """Circles and synapses; how many synapses of weight 0 there are between drawn neurons."""
    theme = canvas.options.colours
    if canvas.options.perspective == "both":
        canvas.words(xs[0] - 21, top_at - 46, "neurons", size=13.5, bold=True, align="left")
    zeros = 0
    for at, (column, x) in enumerate(zip(columns, xs, strict=True)):
        pitch = min(height / max(len(column.ids), 1), 1.8 * PITCH)
        start = top_at + (height - pitch * len(column.ids)) / 2
        for index, (id, text) in enumerate(zip(column.ids.values(), column.texts, strict=True)):
            dead = at > 0 and stages[at - 1].dead[index]
            fill = None if at == 0 else theme.dead if dead else hue(index)
            canvas.circle(id, x, start + pitch * (index + 0.5), text, fill, size=40, bold=at > 0,
                          border=theme.muted if at == 0 or dead else theme.ink, pen=1.6,
                          kind="source" if at == 0 else "neuron", tooltip=f"{column.heading} {text}")  # fmt: skip
        if column.more:
            canvas.words(x, start + pitch * len(column.ids) + 8, f"… {column.more:,} more", size=12, colour=theme.muted)
        canvas.words(x, top_at - 24, column.heading, size=13, bold=True)
        canvas.words(x, top_at - 8, column.under, size=11.5, colour=theme.muted)
    for at, (stage, before, column) in enumerate(zip(stages, columns, columns[1:], strict=False)):
        crowded = len(before.ids) * len(column.ids) > 64
        weighing = Weighing(float(np.abs(stage.rows).max(initial=0.0)), 2.4 if crowded else 4.5)
        kept = _kept(stage, before)
        texts = dict(zip(before.ids.values(), before.texts, strict=True))
        for index, (head, text) in enumerate(zip(column.ids.values(), column.texts, strict=True)):
            for synapse_at in kept:
                tail = before.ids[int(stage.numbers[synapse_at])]
                value = float(stage.rows[index, synapse_at])
                says = f"{texts[tail]} → {text}: {signed(value)}"
                zeros += not synapse(canvas, f"{at}-{synapse_at}-{index}", tail, head, value, weighing, says)
    return zeros


def _foot(
    canvas: Canvas, analysis: Analysis, stages: list[Stage], columns: list[Column], known: list[Senders], zeros: int
) -> None:
    legend = [*known[0].legend(analysis)]
    legend += [
        f"{column.texts[0][0]} = {named(stage.layer.id)}" for stage, column in zip(stages, columns[1:], strict=True)
    ]
    notes = ["; ".join(dict.fromkeys(legend))]
    if zeros:
        notes.append(f"{zeros:,} synapses of weight 0 have no line")
    out = [f"{column.more:,} of {column.heading}" for column in columns if column.more]
    if out:
        notes.append(f"left out, smaller ‖w‖ than those drawn or not chosen: {', '.join(out)}, with their synapses")
    lines = canvas.options.perspective != "weights"
    footer(canvas, lines=lines, widest="width and opacity = |w| within each layer" if lines else "",
           dead=sum(sum(stage.dead) for stage in stages), notes=notes)  # fmt: skip

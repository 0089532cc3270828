"""Attention by heads: query, key and value neurons, who shares which, and the columns each head writes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from graphneurons.analysis import Analysis, Layer
from graphneurons.errors import UsageError
from graphneurons.views.blocks import Floats, Integers
from graphneurons.views.canvas import Canvas, Run, table
from graphneurons.views.dot import named
from graphneurons.views.frame import footer, headline
from graphneurons.views.heads import PARTS, Attention, attention_of
from graphneurons.views.options import Options
from graphneurons.views.palette import heat, hue
from graphneurons.views.presynaptic import KINDS, numbers_of, sources_in
from graphneurons.views.selecting import select
from graphneurons.views.values import Values, values_of

HEADS = 8
TILE_ROWS, TILE_COLUMNS, UNIT = 6, 18, 6.0
PITCH = 112.0
XS = {"query": 90.0, "key": 270.0, "value": 450.0, "head": 620.0, "output": 770.0, "sum": 910.0}
OFFSETS = {"query": -34.0, "key": 4.0, "value": 36.0}
SHARED_OFFSETS = {"key": -28.0, "value": 28.0}
SYMBOLS = {"query": "Q", "key": "K", "value": "V", "output": "O"}
MOST_READ = 1 << 26
"""Weights of one projection that are read to draw its heads."""


def draw_attention(analysis: Analysis, layer: Layer, options: Options) -> Canvas:
    """The attention ``layer`` belongs to."""
    found = attention_of(analysis, layer, options)
    values = {part: values_of(analysis, one.layer) for part, one in found.parts.items()}
    selection = select(
        options.neurons, found.heads, options.max_neurons or HEADS,
        lambda: _head_norms(found, values["query"]), f"{found.parts['query'].layer.id} (its heads)",
    )  # fmt: skip
    chosen = tuple(sorted(selection.indices))
    canvas = Canvas(options)
    tiles = {part: _tiles(found, part, values[part], chosen) for part in PARTS}
    output = values_of(analysis, found.output) if found.output is not None else None
    _heads(canvas, found, chosen, tiles)
    if output is not None:
        _outputs(canvas, found, output, chosen)
    bottom = PITCH * len(chosen)
    if len(chosen) < found.heads:
        canvas.words(XS["head"], bottom + 6, f"… {found.heads - len(chosen):,} more heads", size=12.5)
    _sources(canvas, analysis, found, values)
    _frame(canvas, analysis, found, chosen, selection.how)
    return canvas


def _head_norms(found: Attention, values: Values) -> npt.NDArray[np.float64]:
    squared = np.square(values.norms[found.parts["query"].neurons])
    norms: npt.NDArray[np.float64] = np.sqrt(squared.reshape(found.heads, -1).sum(axis=1))
    return norms


def _group(found: Attention, head: int) -> int:
    """The key and value head that query head ``head`` shares with its neighbours."""
    return head // (found.heads // found.kv_heads)


def _tiles(found: Attention, part: str, values: Values, chosen: Sequence[int]) -> dict[int, npt.NDArray[np.float64]]:
    """For every head drawn (of keys and values: every shared one), its block of the weight in coarse cells."""
    neurons = found.parts[part].neurons
    count = found.heads if part == "query" else found.kv_heads
    wanted = list(dict.fromkeys(chosen if part == "query" else (_group(found, head) for head in chosen)))
    blocks = neurons.reshape(count, -1)
    if blocks.shape[1] * values.synapses * len(wanted) > MOST_READ:
        raise UsageError(
            f"{found.parts[part].layer.id} is too large for {len(wanted)} heads; draw fewer: --max-neurons"
        )
    return {head: coarse(values.rows([int(neuron) for neuron in blocks[head]])) for head in wanted}


def coarse(block: Floats, rows: int = TILE_ROWS, columns: int = TILE_COLUMNS) -> npt.NDArray[np.float64]:
    """Means of ``block`` over at most ``rows`` x ``columns`` rectangles."""
    found = block.astype(np.float64)
    for axis, most in enumerate((rows, columns)):
        count = min(most, found.shape[axis])
        borders = np.linspace(0, found.shape[axis], count + 1).astype(np.int64)
        sizes = np.diff(borders).reshape((-1, 1) if axis == 0 else (1, -1))
        found = np.add.reduceat(found, borders[:-1], axis=axis) / sizes
    return found


def _tile(
    canvas: Canvas, id: str, x: float, y: float, cells: npt.NDArray[np.float64], colour: str, says: str, kind: str
) -> None:
    theme = canvas.options.colours
    largest = float(np.abs(cells).max(initial=0.0))
    wide, tall = UNIT * TILE_COLUMNS / cells.shape[1], UNIT * TILE_ROWS / cells.shape[0]
    grid = [
        [{"width": wide, "height": tall, "fill": heat(theme, float(value), largest)} for value in row] for row in cells
    ]
    canvas.node(
        id,
        x,
        y,
        UNIT * TILE_COLUMNS + 5,
        UNIT * TILE_ROWS + 5,
        shape="box",
        style="filled",
        fillcolor=theme.background,
        color=colour,
        penwidth=1.8,
        label=table(grid, canvas.scale, theme.background, 0),
        tooltip=says,
        **{"id": f"{kind}-{id}", "class": kind},
    )


def _heads(
    canvas: Canvas, found: Attention, chosen: Sequence[int], tiles: dict[str, dict[int, npt.NDArray[np.float64]]]
) -> None:
    theme = canvas.options.colours
    hues = {group: hue(at) for at, group in enumerate(tiles["key"])}
    own = found.heads == found.kv_heads
    for at, head in enumerate(chosen):
        y = PITCH * (at + 0.5)
        colour = hues[_group(found, head)]
        says = f"{named(found.parts['query'].layer.id)}, head {head}"
        _tile(canvas, f"q{head}", XS["query"], y + OFFSETS["query"] * own, tiles["query"][head], colour, says, "query")
        canvas.words(XS["query"] - 62, y + OFFSETS["query"] * own, f"q{head}", size=12.5, bold=True, align="right")
        canvas.circle(f"h{head}", XS["head"], y, f"h{head}", colour, size=46, border=theme.ink, pen=1.8, bold=True,
                      kind="head", tooltip=f"head {head}: softmax(q·k) weighs its values")  # fmt: skip
        canvas.edge(f"q{head}", f"h{head}", color=colour, penwidth=1.4 * canvas.scale, arrowhead="normal", tailport="e",
                    **{"class": "query"})  # fmt: skip
    for part in ("key", "value"):
        letter = part[0]
        for group, cells in tiles[part].items():
            rows = [at for at, head in enumerate(chosen) if _group(found, head) == group]
            # Beside the line that a query sends through the middle of its group, where there is one.
            away = OFFSETS[part] if own else SHARED_OFFSETS[part] * (-1 if len(rows) % 2 else 1)
            y = PITCH * (sum(rows) / len(rows) + 0.5) + away
            id = f"{letter}{group}"
            sharing = [chosen[at] for at in rows]
            readers = ", ".join(f"h{head}" for head in sharing)
            says = f"{named(found.parts[part].layer.id)}, head {group}, read by {readers}"
            _tile(canvas, id, XS[part], y, cells, hues[group], says, part)
            canvas.words(XS[part] - 62, y, id, size=12.5, bold=True, align="right")
            for head in sharing:
                canvas.edge(
                    id,
                    f"h{head}",
                    color=hues[group],
                    penwidth=1.4 * canvas.scale,
                    arrowhead="normal",
                    tailport="e",
                    **{"class": part},
                )


def _outputs(canvas: Canvas, found: Attention, values: Values, chosen: Sequence[int]) -> None:
    """The columns of the output weight that each head writes with."""
    theme = canvas.options.colours
    each = values.synapses // found.heads
    bottom = PITCH * len(chosen)
    canvas.circle(
        "sum", XS["sum"], bottom / 2, "Σ", theme.background, size=54, font=21, border=theme.ink, pen=2.2, kind="sum"
    )
    for at, head in enumerate(chosen):
        block = values.columns(range(head * each, (head + 1) * each))
        colour = hue(list(dict.fromkeys(_group(found, one) for one in chosen)).index(_group(found, head)))
        says = f"{named(values.layer.id)}, the {each} columns head {head} writes with"
        _tile(canvas, f"o{head}", XS["output"], PITCH * (at + 0.5), coarse(block.T), colour, says, "output")
        canvas.edge(f"h{head}", f"o{head}", color=colour, penwidth=1.4 * canvas.scale, arrowhead="normal")
        canvas.edge(f"o{head}", "sum", color=colour, penwidth=1.4 * canvas.scale, arrowhead="normal", tailport="e")
    x = XS["sum"] + 130
    canvas.box("out", x, bottom / 2, 150, 46, f"{named(values.layer.id, 22)}\n{values.layer.neurons:,} neurons",
               style="filled", font=12.5, kind="result", tooltip=named(values.layer.id, 120))  # fmt: skip
    canvas.edge("sum", "out", color=theme.ink, penwidth=1.5 * canvas.scale, arrowhead="normal")


def _sources(canvas: Canvas, analysis: Analysis, found: Attention, values: dict[str, Values]) -> None:
    """What queries, keys and values read, above their columns: one box for those that read the same."""
    theme = canvas.options.colours
    reading: list[tuple[tuple[str, ...], list[str]]] = []
    for part in PARTS:
        neuron = int(found.parts[part].neurons[0])
        numbers: Integers = numbers_of(analysis, values[part], neuron)
        names = tuple(sources_in(analysis, numbers)) or (analysis.wiring.describe(int(numbers[0]))[0],)
        if reading and reading[-1][0] == names:
            reading[-1][1].append(part)
        else:
            reading.append((names, [part]))
    for part in PARTS:
        canvas.words(XS[part], -24, [Run(SYMBOLS[part], True, 15)])
        canvas.words(XS[part], -8, _counted(found, part), size=11, colour=theme.muted)
        canvas.point(f"p{part[0]}", XS[part], -38)
    canvas.words(XS["head"], -24, "heads", size=13.5, bold=True)
    if found.output is not None:
        canvas.words(XS["output"], -24, [Run("O", True, 15)])
        canvas.words(XS["output"], -8, f"{found.output.neurons:,} × {found.output.synapses_per_neuron:,}", size=11,
                     colour=theme.muted)  # fmt: skip
    for at, (names, parts) in enumerate(reading):
        first, last = XS[parts[0]], XS[parts[-1]]
        known = analysis.wiring.source.get(names[0])
        says = f"{KINDS[known.kind]} {named(known.id, 30)}" if known is not None else named(names[0], 40)
        says += f" and {len(names) - 1} more" if len(names) > 1 else ""
        size = f"{known.size:,} channels" if known is not None else ""
        width = max(last - first + 130, 160.0)
        id = canvas.box(f"src{at}", (first + last) / 2, -92, width, 44, f"{says}\n{size}" if size else says,
                        style="filled", font=12.5, kind="source", tooltip=named(names[0], 120))  # fmt: skip
        for part in parts:
            top = canvas.point(f"f{part[0]}", XS[part], -70)
            canvas.edge(top, f"p{part[0]}", penwidth=1.2 * canvas.scale, arrowhead="normal")
        _ = id


def _counted(found: Attention, part: str) -> str:
    one = found.parts[part]
    return f"{one.neurons.size:,} × {one.layer.synapses_per_neuron:,}"


def _frame(canvas: Canvas, analysis: Analysis, found: Attention, chosen: Sequence[int], how: str) -> None:
    name = found.parts["query"].layer.id
    parent = name.rpartition(".")[0]
    heads = f"{found.heads:,} heads of {found.width:,}"
    if found.kv_heads != found.heads:
        heads += f", {found.heads // found.kv_heads:,} share each of {found.kv_heads:,} key and value heads"
    layers = dict.fromkeys(one.layer.id for one in found.parts.values())
    if found.output is not None:
        layers[found.output.id] = None
    headline(canvas, parent or name, f"by head: {heads}", [", ".join(named(layer, 40) for layer in layers)])
    notes = [
        "a tile is one head's block of the weight (its neurons down, what they read across; O: what it reads down, "
        "its neurons across), means in coarse cells, scaled to its largest"
    ]
    if found.packed:
        spans = ", ".join(f"{SYMBOLS[part]} {_span(found.parts[part].neurons)}" for part in PARTS)
        notes.append(f"packed in one weight, its neurons taken as {spans}")
    if len(chosen) < found.heads:
        notes.append(f"left out: {found.heads - len(chosen):,} heads ({how} drawn)")
    footer(canvas, lines=False, notes=notes)


def _span(neurons: Integers) -> str:
    first, last = int(neurons[0]), int(neurons[-1])
    return f"{first:,}–{last:,}" + ("" if last - first + 1 == neurons.size else " (in runs)")

"""Recurrent layers: a neuron is one row [W | R] of one gate; its unit's output comes back as what R reads."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from graphneurons.analysis import Analysis, Layer
from graphneurons.errors import UsageError
from graphneurons.views.blocks import Floats
from graphneurons.views.canvas import Canvas, Run, table
from graphneurons.views.dot import named
from graphneurons.views.frame import footer, headline
from graphneurons.views.options import Options
from graphneurons.views.palette import heat, hue, readable_on
from graphneurons.views.presynaptic import Senders, numbers_of, senders
from graphneurons.views.selecting import Selection, select
from graphneurons.views.strips import binned, counts, strip
from graphneurons.views.synapses import Weighing, signed, synapse
from graphneurons.views.values import Values, values_of

UNITS, SYNAPSES = 4, 12
GATES = {
    ("", "LSTM"): ("input", "output", "forget", "cell"),
    ("", "GRU"): ("update", "reset", "hidden"),
    ("", "RNN"): ("hidden",),
    ("aten", "lstm"): ("input", "forget", "cell", "output"),
    ("aten", "gru"): ("reset", "update", "hidden"),
}
"""In the order their rows are stored: ONNX's operators; PyTorch's nn.LSTM and nn.GRU."""

PITCH, GATE_GAP, CELL = 42.0, 22.0, 46.0


@dataclass(frozen=True)
class Units:
    """The units drawn: ``rows[g][u]`` are the synapses of gate ``g`` of unit ``selection.indices[u]``."""

    analysis: Analysis
    layer: Layer
    values: Values
    gates: tuple[str, ...]
    per_direction: int
    selection: Selection
    rows: Floats
    letters: Senders

    def neuron(self, gate: int, unit: int) -> int:
        """The layer's number of one gate of one unit: stored direction by direction, gate by gate."""
        direction, inside = divmod(unit, self.per_direction)
        return (direction * len(self.gates) + gate) * self.per_direction + inside


def draw_recurrent(analysis: Analysis, layer: Layer, options: Options) -> Canvas:
    """The gates of some units, their input and recurrent synapses, and the way back."""
    units = _units(analysis, layer, options)
    canvas = Canvas(options)
    few = units.values.synapses <= (options.max_synapses or SYNAPSES)
    written_out = few and len({unit // units.per_direction for unit in units.selection.indices}) == 1
    dead = _gates(canvas, units, written_out)
    directions = (layer.neurons // len(units.gates)) // units.per_direction
    counted = f"{layer.units or 0:,} units × {len(units.gates)} gates" + (
        f" × {directions} directions" * (directions > 1)
    )
    split = " + ".join(f"{laid.synapses:,}" for laid in units.values.laid)
    headline(
        canvas,
        layer.id,
        f"{counted}: {layer.neurons:,} neurons of {split} synapses [W | R]",
        [f"{layer.op.type} {', '.join(named(use.weight.name, 40) for use in layer.weights)}"
         + (f", {layer.activation}" if layer.activation else "")],
    )  # fmt: skip
    notes = ["; ".join(units.letters.legend(analysis))]
    notes.append("a row of the weights is a neuron: one gate of one unit; hue = unit; dashed = the step after reads it")
    total = units.layer.neurons // len(units.gates)
    if len(units.selection.indices) < total:
        left = total - len(units.selection.indices)
        how = {"all": "one direction", "as chosen": "those chosen"}.get(units.selection.how, units.selection.how)
        notes.append(f"left out: {left:,} of {total:,} units ({how} drawn), {left * len(units.gates):,} neurons")
    footer(
        canvas,
        lines=written_out,
        widest=f"width and opacity = |w|, widest {_largest(units):.3g}" if written_out else "",
        dead=dead,
        notes=notes,
    )
    return canvas


def _units(analysis: Analysis, layer: Layer, options: Options) -> Units:
    if layer.kind != "recurrent":
        raise UsageError(
            f"{layer.id} is a {layer.kind} layer, --view recurrent is for LSTM, GRU and RNN; use --view rows"
        )
    values = values_of(analysis, layer)
    per_direction = layer.units or layer.neurons
    factors = {factor.name: factor.size for axis in layer.weights[0].axes for factor in axis.factors}
    count = factors.get("gate", 1)
    known = GATES.get((layer.op.domain, layer.op.type)) or GATES.get(("aten", layer.op.type.partition(".")[0]))
    gates = known if known is not None and len(known) == count else tuple(f"gate {at}" for at in range(count))
    total = layer.neurons // count
    units = Units(
        analysis, layer, values, gates, per_direction, Selection((), ""), np.zeros((0, 0, 0), np.float32), Senders({})
    )

    def norms() -> np.ndarray:
        numbers = np.array([[units.neuron(gate, unit) for unit in range(offered)] for gate in range(count)])
        combined: np.ndarray = np.sqrt(np.square(values.norms[numbers]).sum(axis=0))
        return combined

    # Directions read different states: one of them is drawn where nothing else is asked for.
    offered = per_direction if options.neurons is None else total
    selection = select(options.neurons, offered, options.max_neurons or UNITS, norms, f"{layer.id} (its units)")
    wanted = [units.neuron(gate, unit) for gate in range(count) for unit in selection.indices]
    rows = values.rows(wanted).reshape(count, len(selection.indices), values.synapses)
    every = [numbers_of(analysis, values, neuron) for neuron in wanted]
    return Units(analysis, layer, values, gates, per_direction, selection, rows, senders(analysis, every, layer))


def _largest(units: Units) -> float:
    finite = units.rows[np.isfinite(units.rows)]
    return float(np.abs(finite).max(initial=0.0))


def _gates(canvas: Canvas, units: Units, written_out: bool) -> int:
    theme = canvas.options.colours
    chosen, count = units.selection.indices, len(units.gates)
    block = PITCH * len(chosen)
    height = count * (block + GATE_GAP) - GATE_GAP
    numbers = numbers_of(units.analysis, units.values, units.neuron(0, chosen[0]))
    names = [units.letters.sender(units.analysis, int(number)).text for number in numbers]
    inputs = units.values.offsets[1]
    table_x, wide = 130.0, (CELL + 1) * len(names) + 14 if written_out else 330.0
    senders_x = table_x + wide + 70
    neurons_x = senders_x + 210 if written_out else table_x + wide + 60
    unit_x = neurons_x + 190
    dead = 0
    ids = _senders(canvas, units, names, inputs, senders_x, height) if written_out else []
    weighing = Weighing(_largest(units), 3.4)
    gap = height / len(chosen)
    for at, unit in enumerate(chosen):
        canvas.circle(
            f"u{at}",
            unit_x,
            gap * (at + 0.5),
            f"h{unit}",
            hue(at),
            size=46,
            border=theme.ink,
            pen=2,
            bold=True,
            kind="unit",
            tooltip=f"{named(units.layer.id)} unit {unit}",
        )
    for gate, name in enumerate(units.gates):
        start = gate * (block + GATE_GAP)
        canvas.words(table_x - 62, start + block / 2, [Run(name, True, 13)], align="right")
        canvas.words(table_x - 62, start + block / 2 + 16, "gate", size=11, align="right", colour=theme.muted)
        for at, unit in enumerate(chosen):
            y, row = start + PITCH * (at + 0.5), units.rows[gate, at]
            silent = not row.any()
            dead += silent
            fill = theme.dead if silent else hue(at)
            id = f"g{gate}_{at}"
            says = f"{named(units.layer.id)} {name} gate of unit {unit} (neuron {units.neuron(gate, unit)})"
            canvas.box(f"l{gate}_{at}", table_x - 28, y, 44, PITCH - 8, f"{name[0]}{unit}", fill=fill, style="filled",
                       border=theme.faint, kind="row", font=13)  # fmt: skip
            canvas.circle(id, neurons_x, y, f"{name[0]}{unit}", fill, size=36, pen=1.6,
                          border=theme.muted if silent else theme.ink, tooltip=says)  # fmt: skip
            if written_out:
                _row(canvas, units, gate, at, table_x, y, inputs)
                for index, value in enumerate(row.tolist()):
                    synapse(canvas, f"{gate}-{at}-{index}", ids[index], id, value, weighing,
                            f"{names[index]} → {name} gate of h{unit}: {signed(value)}")  # fmt: skip
            else:
                _strips(canvas, units, gate, at, table_x, y, wide, inputs)
                canvas.edge(f"r{gate}_{at}", id, arrowhead="normal", penwidth=0.9 * canvas.scale)
            canvas.edge(id, f"u{at}", color=hue(at), arrowhead="none", penwidth=1.2 * canvas.scale, **{"class": "gate"})
    _headings(canvas, units, inputs, names, (table_x, wide, senders_x, neurons_x, unit_x), written_out)
    _back(canvas, units, senders_x if written_out else table_x + wide * 0.75, unit_x, height)
    return dead


def _senders(canvas: Canvas, units: Units, names: list[str], inputs: int, x: float, height: float) -> list[str]:
    """Circles of the inputs, then of the state of the step before."""
    numbers = numbers_of(units.analysis, units.values, units.neuron(0, units.selection.indices[0]))
    gap = (height - 30) / len(names)
    ids = []
    for index, name in enumerate(names):
        y = gap * (index + 0.5) + (30 if index >= inputs else 0)
        own = index >= inputs
        shown = int(numbers[index]) - int(numbers[inputs]) if own else 0
        fill = None
        if own and shown + _first(units) in units.selection.indices:
            fill = hue(units.selection.indices.index(shown + _first(units)))
        says = units.letters.sender(units.analysis, int(numbers[index])).says
        ids.append(canvas.circle(f"s{index}", x, y, name, fill, size=34, kind="source", dashed=own,
                                 tooltip=says + (", one step before" if own else "")))  # fmt: skip
    return ids


def _first(units: Units) -> int:
    return units.selection.indices[0] // units.per_direction * units.per_direction


def _row(canvas: Canvas, units: Units, gate: int, at: int, left: float, y: float, inputs: int) -> None:
    theme, largest = canvas.options.colours, _largest(units)
    for part, (start, stop) in enumerate(((0, inputs), (inputs, units.values.synapses))):
        cells: list[dict[str, object]] = []
        for value in units.rows[gate, at, start:stop].tolist():
            fill = heat(theme, value, largest)
            cells.append({"width": CELL, "height": PITCH - 8, "fill": fill, "text": signed(value), "size": 11.5,
                          "ink": readable_on(fill)})  # fmt: skip
        if cells:
            wide = (CELL + 1) * len(cells) + 1
            x = left + (CELL + 1) * start + 14 * part + wide / 2
            canvas.node(f"r{gate}_{at}_{part}", x, y, wide, PITCH - 6, shape="none",
                        label=table([cells], canvas.scale, theme.faint), **{"class": "weights"})  # fmt: skip


def _strips(canvas: Canvas, units: Units, gate: int, at: int, left: float, y: float, wide: float, inputs: int) -> None:
    row = units.rows[gate, at]
    half = (wide - 14) / 2
    largest = (
        max(float(np.abs(binned(part)).max(initial=0.0)) for part in (row[:inputs], row[inputs:]) if part.size) or 1.0
    )
    strip(
        canvas, f"w{gate}_{at}", left + half / 2, y, half, 24, binned(row[:inputs], 16), largest, counts(row[:inputs])
    )
    strip(canvas, f"r{gate}_{at}", left + half * 1.5 + 14, y, half, 24, binned(row[inputs:], 16), largest,
          counts(row[inputs:]))  # fmt: skip


def _headings(
    canvas: Canvas, units: Units, inputs: int, names: list[str], xs: tuple[float, float, float, float, float],
    written_out: bool,
) -> None:  # fmt: skip
    theme = canvas.options.colours
    table_x, wide, senders_x, neurons_x, unit_x = xs
    if written_out:
        for index, name in enumerate(names):
            x = table_x + (CELL + 1) * (index + 0.5) + (14 if index >= inputs else 0)
            canvas.words(x, -16, name, size=12, colour=theme.muted)
        middles = (table_x + (CELL + 1) * inputs / 2, table_x + 14 + (CELL + 1) * (inputs + len(names)) / 2)
        canvas.words(senders_x, -16, "at step t", size=11.5, colour=theme.muted)
    else:
        middles = (table_x + wide / 4 - 4, table_x + 3 * wide / 4 + 4)
    for x, text in zip(middles, (f"W: {inputs:,} inputs", f"R: {len(names) - inputs:,} of its own"), strict=True):
        canvas.words(x, -36, text, size=12.5, bold=True)
    canvas.words(neurons_x, -36, "neurons", size=12.5, bold=True)
    canvas.words(unit_x, -36, "units", size=12.5, bold=True)


def _back(canvas: Canvas, units: Units, start_x: float, unit_x: float, height: float) -> None:
    """The loop: what the units put out is what R reads one step later."""
    theme = canvas.options.colours
    low = height + 40
    gap = height / len(units.selection.indices)
    for at in range(len(units.selection.indices)):
        y = gap * (at + 0.5)
        canvas.line(f"back{at}", (unit_x + 24, y), (unit_x + 60, y), style="dashed", color=theme.ink, arrowhead="none",
                    penwidth=1.4 * canvas.scale, **{"class": "loop"})  # fmt: skip
    canvas.path(
        "loop", ((unit_x + 60, gap / 2), (unit_x + 60, low), (start_x, low), (start_x, height + 8)),
        style="dashed", color=theme.ink, penwidth=1.4 * canvas.scale, arrowhead="normal",
        **{"class": "loop"},
    )  # fmt: skip
    canvas.words((start_x + unit_x) / 2, low - 11, "h at step t is read at step t + 1", size=12)
    canvas.reach(unit_x + 70, low + 8)

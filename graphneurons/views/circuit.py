"""Around one neuron: the strongest that excite and inhibit it, and those it excites and inhibits, level by level."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from graphneurons.analysis import Analysis, Layer
from graphneurons.errors import DataError, UsageError
from graphneurons.views.blocks import Floats, Integers
from graphneurons.views.canvas import Canvas
from graphneurons.views.dot import named
from graphneurons.views.frame import footer, headline
from graphneurons.views.options import Options
from graphneurons.views.palette import HUES
from graphneurons.views.presynaptic import KINDS, numbers_of
from graphneurons.views.synapses import Weighing, signed, synapse
from graphneurons.views.values import Values, values_of
from graphneurons.wiring.records import Source

PITCH, GAP = 58.0, 230.0
WIDEST_LEVEL = 64
"""Neurons of one level that are followed further; the strongest come first."""


Place = tuple[int, int]
"""(global number of a neuron, which copy of it): a recurrent layer's neurons have a copy for every step drawn."""


@dataclass(frozen=True, slots=True)
class Meeting:
    """One connection: ``value`` is the weight (kernel taps summed), or None where a junction takes its member in."""

    tail: int
    head: int
    value: float | None
    parts: int = 1


@dataclass(frozen=True, slots=True)
class Drawn:
    """A connection between two places in the picture."""

    tail: Place
    head: Place
    value: float | None
    parts: int


@dataclass
class Circuit:
    """Neurons by their global number, level by level (negative: upstream), and what connects them."""

    analysis: Analysis
    levels: dict[Place, int] = field(default_factory=dict)
    meetings: dict[tuple[Place, Place], Drawn] = field(default_factory=dict)
    known: dict[str, Values] = field(default_factory=dict)
    dropped: list[str] = field(default_factory=list)

    def values(self, layer: Layer) -> Values:
        if layer.id not in self.known:
            self.known[layer.id] = values_of(self.analysis, layer)
        return self.known[layer.id]


def draw_circuit(analysis: Analysis, layer: Layer, neuron: int, options: Options) -> Canvas:
    """The circuit around neuron ``neuron`` of ``layer`` (of a recurrent layer: unit)."""
    source = analysis.wiring.source.get(layer.id)
    if source is None:
        raise UsageError(f"{layer.id} is not wired: nothing is known of what it feeds; use --view rows")
    if not 0 <= neuron < source.size:
        what = "units" if layer.kind == "recurrent" else "neurons"
        raise UsageError(f"{layer.id} has {what} 0 to {source.size - 1:,}, not {neuron}", file=analysis.model.path)
    centre = (source.base + neuron, 0)
    circuit = Circuit(analysis, {centre: 0})
    _spread(circuit, centre, options.up, -1, options.top)
    _spread(circuit, centre, options.down, 1, options.top)
    canvas = Canvas(options)
    _drawn(canvas, circuit, centre)
    headline(
        canvas, f"{named(layer.id, 40)} neuron {neuron:,}",
        f"its {options.top} strongest each way, {options.up} up, {options.down} down",
        [f"{layer.kind}, {layer.neurons:,} × {layer.synapses_per_neuron:,}"
         + (f", then {layer.activation}" if layer.activation else "")],
    )  # fmt: skip
    notes = [
        f"of every neuron the {options.top} strongest excitatory and the {options.top} strongest inhibitory are drawn; "
        "all weaker ones are left out"
    ]
    if any(copy for _, copy in circuit.levels):
        notes.append("dashed: a neuron of the same layer, one step before (or after)")
    if any(one.value is None for one in circuit.meetings.values()):
        notes.append(
            "grey: added up (+) or multiplied (×) in a junction, without a weight of its own; a junction is a level"
        )
    if any(one.parts > 1 for one in circuit.meetings.values()):
        notes.append("of kernels and gates, the synapses from one neuron are summed")
    notes.extend(dict.fromkeys(circuit.dropped))
    footer(canvas, widest="width and opacity = |w|, within each layer", notes=notes)
    return canvas


def _spread(circuit: Circuit, centre: Place, levels: int, way: int, most: int) -> None:
    front = [centre]
    for level in range(1, levels + 1):
        following: dict[Place, None] = {}
        for place in front[:WIDEST_LEVEL]:
            here = circuit.analysis.wiring.locate(place[0])[0]
            for meeting in (_up if way < 0 else _down)(circuit, place[0], most):
                number = meeting.tail if way < 0 else meeting.head
                again = here.kind == "layer" and circuit.analysis.wiring.locate(number)[0] is here
                other = (number, place[1] + way if again else place[1])
                ends = (other, place) if way < 0 else (place, other)
                circuit.meetings.setdefault(ends, Drawn(*ends, meeting.value, meeting.parts))
                if other not in circuit.levels:
                    circuit.levels[other] = way * level
                    following[other] = None
        if len(front) > WIDEST_LEVEL:
            circuit.dropped.append(
                f"level {way * (level - 1)}: only {WIDEST_LEVEL} of {len(front):,} neurons are followed"
            )
        front = list(following)


def _up(circuit: Circuit, number: int, most: int) -> list[Meeting]:
    """What neuron ``number`` reads most strongly; of a junction, its members."""
    analysis = circuit.analysis
    source, index = analysis.wiring.locate(number)
    if source.kind == "junction":
        members = analysis.wiring.junction[source.id].members
        found = dict.fromkeys(int(member[index]) for member in members if member[index] >= 0)
        return [Meeting(tail, number, None) for tail in list(found)[: 4 * most]]
    if source.kind != "layer":
        return []
    layer = analysis.layer(source.id)
    try:
        values = circuit.values(layer)
    except DataError as error:
        circuit.dropped.append(f"{named(layer.id)}: {named(error.message, 120)}")
        return []
    rows = _rows_of(values, source, index)
    weights: dict[int, list[float]] = {}
    for row, neuron in zip(values.rows(rows), rows, strict=True):
        numbers = numbers_of(analysis, values, neuron)
        totals = _summed(numbers, row)
        for tail, value in totals.items():
            weights.setdefault(tail, []).append(value)
    taps = values.synapses * len(rows) > len(weights)
    summed = {tail: sum(parts) for tail, parts in weights.items()}
    return [Meeting(tail, number, value, 2 if taps else 1) for tail, value in _strongest(summed, most)]


def _rows_of(values: Values, source: Source, index: int) -> list[int]:
    """The rows that make output ``index``: one, or all gates of a recurrent unit."""
    layer = values.layer
    if layer.neurons == source.size or not layer.units:
        return [index]
    gates = layer.neurons // source.size
    direction, inside = divmod(index, layer.units)
    return [(direction * gates + gate) * layer.units + inside for gate in range(gates)]


def _summed(numbers: Integers, row: Floats) -> dict[int, float]:
    """Weights by presynaptic neuron, kernel taps added up; constants and what is mixed left out."""
    known = numbers >= 0
    distinct, inverse = np.unique(numbers[known], return_inverse=True)
    totals = np.bincount(inverse, weights=row[known].astype(np.float64), minlength=distinct.size)
    return dict(zip(distinct.tolist(), totals.tolist(), strict=True))


def _strongest(weights: dict[int, float], most: int) -> list[tuple[int, float]]:
    """The ``most`` largest positive and the ``most`` largest negative ones, strongest first of each."""
    ordered = sorted(
        ((value, number) for number, value in weights.items() if value == value), key=lambda one: (-one[0], one[1])
    )
    up = [(number, value) for value, number in ordered[:most] if value > 0]
    down = [(number, value) for value, number in sorted(ordered, key=lambda one: (one[0], one[1]))[:most] if value < 0]
    return up + down


def _down(circuit: Circuit, number: int, most: int) -> list[Meeting]:
    """What neuron ``number`` feeds most strongly, over all layers that read it; and junctions it goes into."""
    analysis = circuit.analysis
    found: list[Meeting] = []
    for junction in analysis.wiring.junctions:
        base = analysis.wiring.source[f"junction:{junction.id}"].base
        hits = {int(at) for member in junction.members for at in np.flatnonzero(member == number)[:most]}
        found.extend(Meeting(number, base + at, None) for at in sorted(hits)[:most])
    for id, weights in analysis.wiring.synapses.items():
        if not any((one.neurons == number).any() for one in weights):
            continue
        layer = analysis.layer(id)
        source = analysis.wiring.source.get(id)
        if source is None:
            continue
        try:
            totals = _written(circuit.values(layer), analysis, number, source)
        except DataError as error:
            circuit.dropped.append(f"{named(id)}: {named(error.message, 120)}")
            continue
        parts = 2 if layer.neurons != source.size or any(laid.taps for laid in circuit.values(layer).laid) else 1
        found.extend(Meeting(number, head, value, parts) for head, value in _strongest(totals, most))
    return found


def _written(values: Values, analysis: Analysis, number: int, source: Source) -> dict[int, float]:
    """What ``number`` adds to every output of the layer: its column, kernel taps and gates added up."""
    layer = values.layer
    totals = np.zeros(layer.neurons)
    for synapses in analysis.wiring.synapses[layer.id]:
        if synapses.weight >= len(values.laid):
            continue
        groups = synapses.groups if synapses.groups > 1 and synapses.neurons.size % synapses.groups == 0 else 1
        width = synapses.neurons.size // groups
        taps = max(values.laid[synapses.weight].synapses // max(width, 1), 1)
        share = layer.neurons // groups
        for channel in np.flatnonzero(synapses.neurons == number).tolist():
            group, inside = divmod(channel, width)
            first = values.offsets[synapses.weight] + inside * taps
            column = values.columns(range(first, first + taps)).sum(axis=1)
            totals[group * share : (group + 1) * share] += column[group * share : (group + 1) * share]
    if layer.neurons != source.size and layer.units:
        gates = layer.neurons // source.size
        totals = totals.reshape(-1, gates, layer.units).sum(axis=1).reshape(-1)
    return {source.base + at: float(value) for at, value in enumerate(totals.tolist()) if value}


def _drawn(canvas: Canvas, circuit: Circuit, centre: Place) -> None:
    theme, analysis = canvas.options.colours, circuit.analysis
    names = list(dict.fromkeys(analysis.wiring.describe(number)[0] for number, _ in circuit.levels))
    hues = {name: HUES[at % len(HUES)] for at, name in enumerate(names)}
    columns: dict[int, list[Place]] = {}
    for place, level in circuit.levels.items():
        columns.setdefault(level, []).append(place)
    height = PITCH * max(map(len, columns.values()))
    ids: dict[Place, str] = {}
    for at, level in enumerate(sorted(columns)):
        places = columns[level]
        x, pitch = GAP * at, min(height / len(places), 2.2 * PITCH)
        start = (height - pitch * len(places)) / 2
        inside = list(dict.fromkeys(analysis.wiring.locate(number)[0].id for number, _ in places))
        for row, (number, copy) in enumerate(places):
            source, index = analysis.wiring.locate(number)
            y = start + pitch * (row + 0.5)
            ids[number, copy] = f"n{number}" + (f"_{'b' if copy < 0 else 'a'}{abs(copy)}" if copy else "")
            sign = analysis.wiring.junction[source.id].kind if source.kind == "junction" else ""
            text = {"sum": f"+{index}", "product": f"×{index}"}.get(sign, str(index))
            canvas.circle(
                ids[number, copy],
                x,
                y,
                text,
                theme.background if sign else hues[source.name],
                dashed=bool(copy),
                size=54 if (number, copy) == centre else 40,
                pen=3 if (number, copy) == centre else 1.6,
                border=theme.ink,
                bold=True,
                kind="junction" if sign else "neuron",
                tooltip=f"{KINDS[source.kind]} {named(source.id, 120)} {index}",
            )
            if len(inside) > 1:
                canvas.words(x, y + 29, named(source.id, 26), size=10.5, colour=theme.muted, backed=True)
        canvas.words(x, -44, _level(level), size=13, bold=True)
        canvas.words(
            x,
            -27,
            named(inside[0], 30) if len(inside) == 1 else f"{len(inside)} sources",
            size=11.5,
            colour=theme.muted,
        )
    largest: dict[str, float] = {}
    for one in circuit.meetings.values():
        name = analysis.wiring.describe(one.head[0])[0]
        largest[name] = max(largest.get(name, 0.0), abs(one.value or 0.0))
    for one in circuit.meetings.values():
        tail, head = ids[one.tail], ids[one.head]
        source, index = analysis.wiring.locate(one.head[0])
        if one.value is None:
            canvas.edge(tail, head, color=theme.muted, arrowhead="empty", penwidth=1.2 * canvas.scale,
                        **{"class": "member"})  # fmt: skip
            continue
        other = analysis.wiring.describe(one.tail[0])
        says = f"{named(other[0], 60)} {other[1]} → {named(source.name, 60)} {index}: {signed(one.value)}"
        synapse(canvas, f"{tail}-{head}", tail, head, one.value, Weighing(largest[source.name]), says)


def _level(level: int) -> str:
    if not level:
        return "this neuron"
    return f"{abs(level)} {'up' if level < 0 else 'down'}"

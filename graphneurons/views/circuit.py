"""Around one neuron: the strongest that excite and inhibit it, and those it excites and inhibits, level by level."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from graphneurons.analysis import Analysis, Layer
from graphneurons.errors import DataError, UsageError
from graphneurons.views.canvas import Canvas
from graphneurons.views.dot import named
from graphneurons.views.frame import footer, headline
from graphneurons.views.influences import Influences
from graphneurons.views.options import Options
from graphneurons.views.palette import HUES
from graphneurons.views.presynaptic import KINDS
from graphneurons.views.synapses import Weighing, signed, synapse

PITCH, GAP = 58.0, 230.0
TALLEST = 28
"""Neurons of one level at full size; more of them are drawn smaller."""

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
    dropped: list[str] = field(default_factory=list)


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
        canvas, f"{named(layer.id, 40)} {'unit' if layer.kind == 'recurrent' else 'neuron'} {neuron:,}",
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
    influences = Influences(circuit.analysis)
    front = [centre]
    for level in range(1, levels + 1):
        following: dict[Place, None] = {}
        followed = front[:WIDEST_LEVEL]
        meetings = (_up if way < 0 else _down)(circuit, influences, [number for number, _ in followed], most)
        for place in followed:
            here = circuit.analysis.wiring.locate(place[0])[0]
            for meeting in meetings.get(place[0], ()):
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


def _up(circuit: Circuit, influences: Influences, numbers: list[int], most: int) -> dict[int, list[Meeting]]:
    """What each of ``numbers`` reads most strongly; of a junction, its members."""
    wiring = circuit.analysis.wiring
    found: dict[int, list[Meeting]] = {}
    by_layer: dict[str, list[int]] = {}
    for number in numbers:
        source, index = wiring.locate(number)
        if source.kind == "junction":
            members = dict.fromkeys(int(member[index]) for member in wiring.junction[source.id].members)
            found[number] = [Meeting(tail, number, None) for tail in members if tail >= 0][: 4 * most]
        elif source.kind == "layer":
            by_layer.setdefault(source.id, []).append(number)
    for layer, own in by_layer.items():
        if not _readable(circuit, influences, layer):
            continue
        parts = 2 if influences.are_summed(layer) else 1
        for number, weights in influences.incoming(layer, own).items():
            found[number] = [Meeting(tail, number, value, parts) for tail, value in _strongest(weights, most)]
    return found


def _down(circuit: Circuit, influences: Influences, numbers: list[int], most: int) -> dict[int, list[Meeting]]:
    """What each of ``numbers`` feeds most strongly, in every layer that reads it; and the junctions it goes into."""
    wiring = circuit.analysis.wiring
    found: dict[int, list[Meeting]] = {number: [] for number in numbers}
    by_layer: dict[str, list[int]] = {}
    for number in numbers:
        for junction in wiring.junctions:
            base = wiring.source[f"junction:{junction.id}"].base
            hits = {int(at) for member in junction.members for at in np.flatnonzero(member == number)[:most]}
            found[number].extend(Meeting(number, base + at, None) for at in sorted(hits)[:most])
        for layer in influences.readers(number):
            by_layer.setdefault(layer, []).append(number)
    for layer, own in by_layer.items():
        if not _readable(circuit, influences, layer):
            continue
        parts = 2 if influences.are_summed(layer) else 1
        for number, weights in influences.outgoing(layer, own).items():
            found[number].extend(Meeting(number, head, value, parts) for head, value in _strongest(weights, most))
    return found


def _readable(circuit: Circuit, influences: Influences, layer: str) -> bool:
    """Whether the weights of ``layer`` can be taken apart; if not, that is said below the picture."""
    try:
        influences.values(layer)
    except DataError as error:
        circuit.dropped.append(f"not followed: {named(layer)}: {named(error.message, 120)}")
        return False
    return True


def _strongest(weights: dict[int, float], most: int) -> list[tuple[int, float]]:
    """The ``most`` largest positive and the ``most`` largest negative ones, strongest first of each."""
    ordered = sorted(
        ((value, number) for number, value in weights.items() if value == value), key=lambda one: (-one[0], one[1])
    )
    up = [(number, value) for value, number in ordered[:most] if value > 0]
    down = [(number, value) for value, number in sorted(ordered, key=lambda one: (one[0], one[1]))[:most] if value < 0]
    return up + down


def _drawn(canvas: Canvas, circuit: Circuit, centre: Place) -> None:
    theme, analysis = canvas.options.colours, circuit.analysis
    names = list(dict.fromkeys(analysis.wiring.describe(number)[0] for number, _ in circuit.levels))
    hues = {name: HUES[at % len(HUES)] for at, name in enumerate(names)}
    columns: dict[int, list[Place]] = {}
    for place, level in circuit.levels.items():
        columns.setdefault(level, []).append(place)
    height = PITCH * min(max(map(len, columns.values())), TALLEST)
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
                size=54 if (number, copy) == centre else min(40, 0.86 * pitch),
                pen=3 if (number, copy) == centre else 1.6,
                border=theme.ink,
                bold=True,
                kind="junction" if sign else "neuron",
                tooltip=f"{KINDS[source.kind]} {named(source.id, 120)} {index}",
            )
            if len(inside) > 1 and pitch >= 0.8 * PITCH:
                canvas.words(x, y + 29, named(source.id, 26), size=10.5, colour=theme.muted, backed=True)
        canvas.words(x, -44, _level(level), size=13, bold=True)
        canvas.words(
            x,
            -27,
            " · ".join(named(name, 30 // len(inside[:2])) for name in inside[:2]) + (" …" if len(inside) > 2 else ""),
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

"""A probe as what it is, a neuron: the strongest of its learned synapses, and what decides how strong they are."""

from __future__ import annotations

import numpy as np

from graphneurons.errors import UsageError
from graphneurons.probing.records import METRICS, ConceptReport, Floats, LayerProbe, ProbeReport
from graphneurons.reports.probe import told
from graphneurons.views.canvas import Canvas
from graphneurons.views.dot import named
from graphneurons.views.frame import footer, headline
from graphneurons.views.options import Options
from graphneurons.views.palette import hue
from graphneurons.views.synapses import Weighing, signed, synapse

OUTPUTS, SYNAPSES = 8, 16
"""How many neurons of a probe, and how many synapses of each, are drawn where nothing else is asked for."""

PITCH, APART = 44.0, 64.0


def linear_probe(found: ConceptReport) -> LayerProbe:
    """The probe of many neurons that has synapses. Raises `UsageError` where none was learned."""
    for probe in found.probes:
        if probe.weights is not None:
            return probe
    raise UsageError(
        f"no probe with synapses was learned for {named(found.concept.name, 60)}: only a linear one has any; "
        "add --probe linear"
    )


def draw_probe(report: ProbeReport, found: ConceptReport, options: Options) -> Canvas:
    """The linear probe of one concept, row by row: each row of its weight is a neuron that reads the layer.

    Synapses are ranked and drawn by |w| times the standard deviation of what they read: how far the neuron's sum moves
    when that neuron does. ``options.max_neurons`` limits the rows, ``options.max_synapses`` the synapses of a row.
    """
    probe = linear_probe(found)
    assert probe.weights is not None
    deviations = report.activations.values[:, list(probe.neurons)].std(axis=0, dtype=np.float64)
    moves = probe.weights * deviations
    outputs = _outputs(found, probe)
    drawn = list(range(min(len(outputs), options.max_neurons or OUTPUTS)))
    each = max(2, (options.max_synapses or SYNAPSES) // len(drawn))
    picked = {row: strongest(moves[row], each) for row in drawn}
    sources = _ordered({at for chosen in picked.values() for at in chosen}, moves[drawn])

    canvas = Canvas(options)
    theme, right = canvas.options.colours, 420.0
    height = max(PITCH * len(sources), APART * len(drawn))
    single = len(drawn) == 1
    for place, at in enumerate(sources):
        y = PITCH * (place + 0.5) + (height - PITCH * len(sources)) / 2
        neuron = probe.neurons[at]
        if single:
            weight, move = float(probe.weights[0, at]), float(moves[0, at])
            canvas.words(-34, y, f"{signed(weight)} × σ {deviations[at]:.3g} = {signed(move)}", size=12, align="right",
                         colour=theme.muted)  # fmt: skip
        canvas.circle(f"s{at}", 0, y, f"n{neuron}", tooltip=f"{named(report.layer)} neuron {neuron}", kind="source")
    gap = height / len(drawn)
    largest = max((abs(float(moves[row, at])) for row, chosen in picked.items() for at in chosen), default=0.0)
    for place, row in enumerate(drawn):
        y = gap * (place + 0.5)
        canvas.circle(f"p{row}", right, y, "Σ", hue(place), size=44, border=theme.ink, pen=1.6, bold=True,
                      tooltip=named(outputs[row]), kind="neuron")  # fmt: skip
        canvas.words(right + 32, y, named(outputs[row], 40), size=13.5, align="left", bold=True)
        for at in picked[row]:
            says = f"n{probe.neurons[at]} → {named(outputs[row], 60)}: w {signed(float(probe.weights[row, at]))}"
            synapse(canvas, f"s{at}-p{row}", f"s{at}", f"p{row}", float(moves[row, at]), Weighing(largest), says)
    _frame(canvas, report, found, probe, len(outputs) - len(drawn), len(sources), largest)
    return canvas


def strongest(moves: Floats, most: int) -> tuple[int, ...]:
    """The indices of the ``most`` strongest: half of them excitatory, half inhibitory, or more of the one sign where
    the other has not so many. Strongest first, equal ones by index; zeros never."""
    order = np.argsort(-np.abs(moves), kind="stable")
    order = order[np.abs(moves[order]) > 0]
    plus, minus = order[moves[order] > 0], order[moves[order] < 0]
    half = most // 2
    kept_minus = minus[: max(half, most - plus.size)]
    kept_plus = plus[: most - kept_minus.size]
    kept = {*kept_plus.tolist(), *kept_minus.tolist()}
    return tuple(int(at) for at in order if int(at) in kept)


def _outputs(found: ConceptReport, probe: LayerProbe) -> list[str]:
    """What each neuron of the probe answers."""
    assert probe.weights is not None
    concept = found.concept
    if probe.weights.shape[0] == len(concept.classes):
        return list(concept.classes)
    if concept.task == "binary":
        return [f"{concept.name} = {concept.classes[1]}"]
    return [concept.name] * probe.weights.shape[0]


def _ordered(chosen: set[int], moves: Floats) -> list[int]:
    """From the most excitatory to the most inhibitory; of several neurons, by the one that moves most."""
    decisive = {at: moves[int(np.argmax(np.abs(moves[:, at]))), at] for at in chosen}
    if moves.shape[0] == 1:
        return sorted(chosen, key=lambda at: (-decisive[at], at))
    return sorted(chosen, key=lambda at: (int(np.argmax(np.abs(moves[:, at]))), -abs(decisive[at]), at))


def _frame(
    canvas: Canvas, report: ProbeReport, found: ConceptReport, probe: LayerProbe, outputs: int, shown: int,
    largest: float,
) -> None:  # fmt: skip
    carries = "carries it" if probe.verdict.carries else "is not shown to carry it"
    score = f"{METRICS[probe.score.metric]} {told(probe.score)} on held-out samples"
    headline(
        canvas,
        found.concept.name,
        f"read by a linear probe: layer {named(report.layer, 60)} {carries}",
        [f"{score}; selectivity {probe.selectivity:+.3f}"],
    )
    notes = [
        "n = neurons of the layer; w × σ = weight times standard deviation: how far the sum moves when the neuron does"
    ]
    left = len(probe.neurons) - shown
    if left:
        notes.append(f"left out: {left:,} weaker of {len(probe.neurons):,} synapses of a neuron")
    if outputs:
        notes.append(f"left out: {outputs:,} more classes")
    footer(canvas, widest=f"width and opacity = |w × σ|, widest {largest:.3g}", notes=notes)

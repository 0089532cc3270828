"""Convolutions: neurons are output channels, a synapse bundle is one kernel, drawn as a heat tile per input channel."""

from __future__ import annotations

import numpy as np

from graphneurons.analysis import Analysis, Layer
from graphneurons.errors import UsageError
from graphneurons.views.blocks import Floats
from graphneurons.views.canvas import Canvas, table
from graphneurons.views.dot import named
from graphneurons.views.frame import footer, headline
from graphneurons.views.options import Options
from graphneurons.views.palette import heat, hue
from graphneurons.views.presynaptic import own_letter
from graphneurons.views.rows import Chosen, chosen
from graphneurons.views.selecting import top
from graphneurons.views.strips import counts, rest_box
from graphneurons.views.synapses import signed

NEURONS, CHANNELS = 8, 10
TILE, GAP = 58.0, 16.0
KINDS = ("conv", "conv_transpose")


def draw_conv(analysis: Analysis, layer: Layer, options: Options) -> Canvas:
    """Kernels in a grid: a row per neuron, a column per channel it reads."""
    if layer.kind not in KINDS:
        raise UsageError(f"{layer.id} is a {layer.kind} layer, --view conv is for convolutions; use --view rows")
    picked = chosen(analysis, layer, options, NEURONS)
    taps = picked.values.laid[0].taps or (1,)
    kernels = picked.rows.reshape(len(picked.selection.indices), -1, *taps)
    channels = kernels.shape[1]
    strengths = np.sqrt(np.square(kernels.reshape(*kernels.shape[:2], -1)).sum(axis=(0, 2), dtype=np.float64))
    most = options.max_synapses or CHANNELS
    shown = list(range(channels)) if channels <= most else sorted(top(strengths, most))
    canvas = Canvas(options)
    letter = own_letter(analysis, layer.id, picked.letters.letters.values())
    dead = _grid(canvas, picked, kernels, shown, letter)
    size = " × ".join(map(str, taps))
    groups = max((one.groups for one in analysis.wiring.synapses.get(layer.id, ())), default=1)
    wording = f"{layer.neurons:,} neurons (output channels), each {channels:,} channel{'s' * (channels > 1)} × {size}"
    under = f"{layer.kind} {', '.join(named(use.weight.name, 40) for use in layer.weights)}"
    under += f", {groups:,} groups: a neuron reads its own group's channels only" if groups > 1 else ""
    under += f", then {layer.activation}" if layer.activation else ""
    headline(canvas, layer.id, f"{wording} synapses", [under])
    notes = [f"{letter} = neurons of {named(layer.id)}; " + "; ".join(picked.letters.legend(analysis))]
    notes.append(f"a tile is the kernel from one channel, rows × columns as stored; darkest = {picked.largest:.3g}")
    if picked.left_out:
        notes.append(f"left out: {picked.left_out:,} neurons ({picked.selection.how} drawn)")
    if len(shown) < channels:
        notes.append(f"left out of every neuron drawn: {channels - len(shown):,} channels with smaller kernels")
    footer(canvas, lines=False, dead=dead, notes=notes)
    return canvas


def _grid(canvas: Canvas, picked: Chosen, kernels: Floats, shown: list[int], letter: str) -> int:
    theme = canvas.options.colours
    taps = kernels[0, 0].size
    tall = _flat(kernels[0, 0]).shape
    unit = min(max(TILE / max(tall), 6.0), 22.0)
    width, height = unit * tall[1], unit * tall[0]
    across, down = max(width, 40.0) + GAP, max(height, 44.0) + GAP
    shared = picked.shared_sources
    names = [
        [picked.letters.sender(picked.analysis, int(numbers[channel * taps])) for channel in shown]
        for numbers in picked.numbers
    ]
    if shared:
        for at, sender in enumerate(names[0]):
            canvas.circle(f"s{at}", across * (at + 0.5), -34, sender.text, size=34, kind="source", tooltip=sender.says)
        canvas.words(-16, -34, "input channels", size=12, align="right", colour=theme.muted)
    edge = across * len(shown)
    dead = 0
    for row, neuron in enumerate(picked.selection.indices):
        y = down * (row + 0.5)
        silent = not picked.rows[row].any()
        dead += silent
        colour = theme.dead if silent else hue(row)
        for at, channel in enumerate(shown):
            kernel = _flat(kernels[row, channel])
            cells = [
                [{"width": unit, "height": unit, "fill": heat(theme, float(value), picked.largest)} for value in line]
                for line in kernel
            ]
            x = across * (at + 0.5)
            says = f"{names[row][at].says} → {letter}{neuron}: sum {signed(float(kernel.sum()))}"
            canvas.node(
                f"k{row}_{at}", x, y, width + 4, height + 4, shape="box", style="filled", fillcolor=theme.background,
                color=colour, penwidth=1.4, label=table(cells, canvas.scale, theme.background, 0), tooltip=says,
                **{"id": f"kernel-{row}-{channel}", "class": "kernel"},
            )  # fmt: skip
            if not shared:
                canvas.circle(f"s{row}_{at}", x - across / 2 - 24, y, names[row][at].text, size=32, kind="source",
                              tooltip=names[row][at].says)  # fmt: skip
                canvas.edge(f"s{row}_{at}", f"k{row}_{at}", arrowhead="none", penwidth=1.0 * canvas.scale)
        canvas.circle(
            f"n{row}", edge + 74, y, f"{letter}{neuron}", colour, size=42, border=theme.muted if silent else theme.ink,
            pen=1.6, bold=True, tooltip=f"{named(picked.layer.id)} neuron {neuron}" + (", dead" if silent else ""),
        )  # fmt: skip
        canvas.edge(
            f"k{row}_{len(shown) - 1}", f"n{row}", color=colour, arrowhead="normal", penwidth=2.0 * canvas.scale,
            **{"class": "sum"},
        )  # fmt: skip
        norm = float(np.linalg.norm(picked.rows[row].astype(np.float64)))
        text = "dead" if silent else f"‖w‖ {norm:.3g}   {counts(picked.rows[row])}"
        canvas.words(edge + 106, y, text, size=12, align="left", colour=theme.muted)
    bottom = down * len(picked.selection.indices)
    canvas.words(edge + 74, -34 if shared else -16, "neurons", size=12.5, bold=True)
    if picked.left_out:
        canvas.words(edge + 74, bottom + 8, "…", size=22, bold=True)
        drawn = np.zeros(picked.layer.neurons, bool)
        drawn[list(picked.selection.indices)] = True
        rest_box(canvas, "rest", edge + 74, bottom + 26, picked.values.norms[~drawn],
                 f"{picked.left_out:,} more neurons, by ‖w‖ (log count)", 290)  # fmt: skip
    return dead


def _flat(kernel: Floats) -> Floats:
    """A kernel as rows and columns: one row for one dimension, planes side by side for three."""
    if kernel.ndim == 1:
        return kernel[None, :]
    if kernel.ndim == 2:
        return kernel
    planes = kernel.reshape(-1, *kernel.shape[-2:])
    return np.concatenate(list(planes), axis=1)

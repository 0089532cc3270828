"""A small table for notebooks: self-contained, no script, every name escaped."""

from __future__ import annotations

from collections.abc import Iterator
from html import escape

from graphneurons.analysis import Analysis, Layer, WeightUse
from graphneurons.reports.names import shown
from graphneurons.reports.shapes import MEANINGS, marked, plain_shape
from graphneurons.reports.text import role_text
from graphneurons.reports.totals import facts

MOST_ROWS = 200
_MOST_UNLABELLED = 20

# Inline styles: notebooks strip or share <style> elements. Mid-tones read on light and dark backgrounds alike.
_COLOURS = {
    "neuron": "color:#2e9e44;font-weight:bold",
    "synapse": "color:#1f8fb3",
    "shared": "color:#b8860b",
    "lookup": "color:#a755b8",
    "mixed": "color:#b8860b",
    "quiet": "opacity:.6",
}
_LEFT = "text-align:left;vertical-align:top"
_RIGHT = "text-align:right;vertical-align:top;white-space:nowrap"
_MONO = "font-family:monospace;white-space:nowrap"


def as_html(analysis: Analysis) -> str:
    """The layers, totals and unlabelled weights of ``analysis`` as one ``<div>``; long models are cut with a note."""
    return "".join(_parts(analysis))


def _text(name: str) -> str:
    return escape(shown(name), quote=True)


def _parts(analysis: Analysis) -> Iterator[str]:
    yield f"<div><p><b>{_text(analysis.model.path) or 'Model in memory'}</b> {_text(analysis.model.producer)}</p>"
    yield "<table><thead><tr>"
    played = any(layer.role for layer in analysis.layers[:MOST_ROWS])
    for heading in ("layer", *(["role"] if played else []), "op", "weight", "shape"):
        yield f'<th style="{_LEFT}">{heading}</th>'
    for heading in ("neurons", "× each", "= synapses"):
        yield f'<th style="{_RIGHT}">{heading}</th>'
    yield f'<th style="{_LEFT}">activation</th></tr></thead><tbody>'
    for layer in analysis.layers[:MOST_ROWS]:
        yield from _row(layer, played)
    yield "</tbody></table>"
    if len(analysis.layers) > MOST_ROWS:
        yield f"<p>… and {len(analysis.layers) - MOST_ROWS:,} more layers.</p>"
    legend = " ".join(f'<span style="{_COLOURS[role]}">{meaning}</span> ' for role, meaning in MEANINGS.items())
    yield f"<p>{legend}</p><p>"
    yield "<br>".join(f"<b>{escape(label)}</b> {escape(text)}" for label, text in facts(analysis))
    yield "</p>"
    if analysis.unlabelled:
        yield "<p><b>unlabelled</b><br>"
        for each in analysis.unlabelled[:_MOST_UNLABELLED]:
            yield f"{_text(each.name)} {plain_shape(each.shape[:12])} {_text(each.op.type)}: {_text(each.reason)}<br>"
        if len(analysis.unlabelled) > _MOST_UNLABELLED:
            yield f"… and {len(analysis.unlabelled) - _MOST_UNLABELLED:,} more."
        yield "</p>"
    yield "</div>"


def _row(layer: Layer, played: bool) -> Iterator[str]:
    tie = f"<br>= {_text(layer.tied_to)}" if layer.tied_to is not None else ""
    units = f"<br>{layer.units:,} units" if layer.units is not None else ""
    names = "<br>".join(_text(use.weight.name) for use in layer.weights)
    shapes = "<br>".join(_shape(use) for use in layer.weights)
    faded = ' style="opacity:.6"' if layer.tied_to is not None else ""
    role = f'<td style="{_LEFT};opacity:.6">{_text(role_text(layer))}</td>' if played else ""
    yield f'<tr{faded}><td style="{_LEFT}">{_text(layer.id)}{tie}</td>{role}'
    yield f'<td style="{_LEFT}">{_text(layer.op.type)}</td>'
    yield f'<td style="{_LEFT}">{names}</td><td style="{_LEFT};{_MONO}">{shapes}</td>'
    yield f'<td style="{_RIGHT}">{layer.neurons:,}{units}</td>'
    yield f'<td style="{_RIGHT}">× {layer.synapses_per_neuron:,}</td><td style="{_RIGHT}">= {layer.synapses:,}</td>'
    yield f'<td style="{_LEFT}">{_text(layer.activation or "")}</td></tr>'


def _shape(use: WeightUse) -> str:
    return "".join(
        f'<span style="{_COLOURS[style]}">{escape(text)}</span>' if style else escape(text)
        for text, style in marked(use)
    )

"""What stands around every picture: title and subtitle above; legend, axis names and what was left out below."""

from __future__ import annotations

from collections.abc import Sequence

from graphneurons.reports.names import wrap
from graphneurons.views.canvas import Canvas, Run, text_width
from graphneurons.views.dot import named

TITLE = 17.0
SMALL = 11.5


def headline(canvas: Canvas, name: str, says: str, under: Sequence[str] = ()) -> None:
    """The title above everything drawn so far: ``--title`` replaces it, the lines under it stay."""
    theme = canvas.options.colours
    left, room = canvas.left, _room(canvas, 12.5)
    lines: list[list[Run]] = []
    if canvas.options.title is not None:
        lines.extend([Run(line, True, TITLE, theme.ink)] for line in wrap(named(canvas.options.title, 400), 72))
    else:
        lines.append([Run(named(name, 56), True, TITLE, theme.ink), Run(f"  {says}", False, TITLE, theme.ink)])
    lines.extend([Run(part, False, 12.5, theme.muted)] for line in under for part in wrap(line, room))
    height = sum(26 if line[0].size == TITLE else 19 for line in lines)
    y = canvas.top - 16 - height
    for line in lines:
        step = 26 if line[0].size == TITLE else 19
        canvas.words(left, y + step / 2, line, align="left")
        y += step


def footer(canvas: Canvas, *, lines: bool = True, widest: str = "", dead: int = 0, notes: Sequence[str] = ()) -> None:
    """The legend, of synapses drawn as ``lines`` or as tiles, then ``notes``: axis names and what was left out."""
    theme = canvas.options.colours
    left, y = canvas.left, canvas.bottom + 30
    x = left
    for id, says, colour, arrow in (
        ("legend_e", "excitatory, w > 0" + " (arrow)" * lines, theme.excitatory, "normal"),
        ("legend_i", "inhibitory, w < 0" + " (bar)" * lines, theme.inhibitory, "tee"),
    ):
        if lines:
            canvas.line(
                id, (x + 2, y), (x + 38, y), color=colour, penwidth=3 * canvas.scale, arrowhead=arrow,
                arrowsize=f"{0.6 * canvas.scale:.2f}", **{"class": "legend"},
            )  # fmt: skip
        else:
            canvas.box(id, x + 20, y, 30, 16, fill=colour, border=colour, style="filled", kind="legend")
        canvas.words(x + 46, y, says, size=SMALL, align="left")
        x += 64 + text_width(says, SMALL)
    if widest:
        canvas.words(x, y, widest, size=SMALL, align="left", colour=theme.muted)
        x += 22 + text_width(widest, SMALL)
    if dead:
        canvas.circle("legend_dead", x + 8, y, "", theme.dead, size=14, kind="legend", border=theme.muted)
        canvas.words(x + 22, y, f"dead: all weights 0 ({dead:,})", size=SMALL, align="left")
    y += 22
    for line in [part for note in notes for part in wrap(note, _room(canvas, SMALL))]:
        canvas.words(left, y, line, size=SMALL, align="left", colour=theme.muted)
        y += 16.5


def _room(canvas: Canvas, size: float) -> int:
    """How many characters fit on a line as wide as the picture."""
    return max(64, int((canvas.right - canvas.left) / (0.5 * size)))

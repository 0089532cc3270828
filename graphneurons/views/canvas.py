"""Where things are put: a picture in the making, in points at a font of 14, x to the right and y down.

Every position is computed here or in a view; an engine that draws the result lays nothing out (``layout=nop``).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from graphneurons.reports.names import cells
from graphneurons.views.dot import Document, Edge, Label, Node, escaped, html, number, plain, written
from graphneurons.views.options import Options
from graphneurons.views.palette import readable_on

FONT = "Arial"
BASE = 14.0
NARROW, WIDE = "iljtfrI.,:;'|!()[] ·‖", "mwMWGOQ@%—…"


def text_width(text: str, size: float = BASE) -> float:
    """About how wide ``text`` is in points, in a sans-serif of ``size``: a little more rather than a little less."""
    extra = 0 if text.isascii() else cells(text) - len(text)
    narrow = sum(map(text.count, NARROW))
    wide = sum(map(text.count, WIDE))
    return size * (0.56 * (len(text) - narrow - wide) + 0.31 * narrow + 0.88 * wide + 0.5 * extra)


@dataclass(frozen=True, slots=True)
class Run:
    """A piece of a line of text."""

    text: str
    bold: bool = False
    size: float = BASE
    colour: str | None = None


@dataclass
class Canvas:
    """Collects nodes and edges. Ids are handed out by the caller and must be plain ASCII identifiers."""

    options: Options
    nodes: list[Node] = field(default_factory=list)
    edges: list[Edge] = field(default_factory=list)
    left: float = 0.0
    right: float = 0.0
    top: float = 0.0
    bottom: float = 0.0
    _texts: int = 0

    @property
    def scale(self) -> float:
        return self.options.font_size / BASE

    def node(self, id: str, x: float, y: float, width: float, height: float, /, **attributes: object) -> str:
        """Any node, its centre at (x, y)."""
        scale = self.scale
        self.reach(x - width / 2, y - height / 2)
        self.reach(x + width / 2, y + height / 2)
        self.nodes.append(
            Node(
                id,
                {
                    "pos": f"{number(x * scale)},{number(-y * scale)}",
                    "width": f"{width * scale / 72:.4f}",
                    "height": f"{height * scale / 72:.4f}",
                    **attributes,
                },
            )
        )
        return id

    def reach(self, x: float, y: float) -> None:
        self.left, self.right = min(self.left, x), max(self.right, x)
        self.top, self.bottom = min(self.top, y), max(self.bottom, y)

    def circle(
        self,
        id: str,
        x: float,
        y: float,
        text: str,
        fill: str | None = None,
        *,
        size: float = 36.0,
        font: float = BASE,
        border: str | None = None,
        tooltip: str = "",
        kind: str = "neuron",
        pen: float = 1.2,
        dashed: bool = False,
        bold: bool = False,
        ink: str | None = None,
    ) -> str:
        theme = self.options.colours
        filled = fill or theme.panel
        font = min(font, font * 0.78 * size / max(text_width(text, font), 1.0))
        return self.node(
            id, x, y, size, size,
            shape="circle", style="filled,dashed" if dashed else "filled", fillcolor=filled,
            color=border or theme.muted, penwidth=pen, fontsize=font * self.scale,
            fontcolor=ink or readable_on(filled), label=self.rich([Run(text, bold, font)]) if bold else plain(text),
            **{"id": f"{kind}-{id}", "class": kind, **({"tooltip": tooltip} if tooltip else {})},
        )  # fmt: skip

    def box(
        self,
        id: str,
        x: float,
        y: float,
        width: float,
        height: float,
        label: Label | str = "",
        *,
        fill: str | None = None,
        border: str | None = None,
        style: str = "filled,rounded",
        tooltip: str = "",
        kind: str = "box",
        pen: float = 1.2,
        font: float = BASE,
        ink: str | None = None,
    ) -> str:
        theme = self.options.colours
        filled = fill or theme.panel
        return self.node(
            id, x, y, width, height,
            shape="box", style=style, fillcolor=filled, color=border or theme.muted, penwidth=pen,
            fontsize=font * self.scale, fontcolor=ink or readable_on(filled),
            label=plain(label) if isinstance(label, str) else label,
            **{"id": f"{kind}-{id}", "class": kind, **({"tooltip": tooltip} if tooltip else {})},
        )  # fmt: skip

    def point(self, id: str, x: float, y: float) -> str:
        """Nothing to see: an end for edges."""
        return self.node(id, x, y, 0.72, 0.72, shape="point", style="invis", label=plain(""))

    def words(
        self, x: float, y: float, text: str | Sequence[Run], *, size: float = BASE, colour: str | None = None,
        align: str = "center", bold: bool = False, backed: bool = False,
    ) -> None:  # fmt: skip
        """A line of text whose left end, middle or right end is at x; ``backed``: it hides what runs behind it."""
        runs = [Run(text, bold, size, colour)] if isinstance(text, str) else list(text)
        runs = [run for run in runs if run.text]
        if not runs:
            return
        width = sum(text_width(run.text, run.size) * (1.06 if run.bold else 1.0) for run in runs) + 4
        height = 1.25 * max(run.size for run in runs)
        middle = {"left": x + width / 2, "right": x - width / 2, "center": x}[align]
        self._texts += 1
        label = self.rich(runs, align, width, height)
        back = {"style": "filled", "fillcolor": self.options.colours.background} if backed else {}
        self.node(f"t{self._texts}", middle, y, width, height, shape="none", label=label, **back)

    def rich(self, runs: Sequence[Run], align: str = "center", width: float = 0, height: float = 0) -> Label:
        """A label of one line of runs; in a cell of its own where it is to stand left or right."""
        theme, scale = self.options.colours, self.scale
        parts = []
        for run in runs:
            text = escaped(run.text)
            if run.bold:
                text = f"<B>{text}</B>"
            colour = f' COLOR="{run.colour}"' if run.colour else f' COLOR="{theme.ink}"' if width else ""
            parts.append(f'<FONT POINT-SIZE="{number(run.size * scale)}"{colour}>{text}</FONT>')
        line = "".join(parts)
        if not width or align == "center":
            return html(line)
        return html(
            '<TABLE BORDER="0" CELLBORDER="0" CELLSPACING="0" CELLPADDING="0"><TR>'
            f'<TD ALIGN="{align.upper()}" WIDTH="{round(width * scale)}" HEIGHT="{round(height * scale)}">{line}</TD>'
            "</TR></TABLE>"
        )

    def edge(self, tail: str, head: str, **attributes: object) -> None:
        self.edges.append(Edge(tail, head, attributes))

    def line(self, id: str, start: tuple[float, float], stop: tuple[float, float], **attributes: object) -> None:
        """A straight line between two places."""
        self.edge(self.point(f"{id}a", *start), self.point(f"{id}b", *stop), **attributes)

    def path(self, id: str, places: Sequence[tuple[float, float]], **attributes: object) -> None:
        """A line through several places; an arrowhead, if any, stands at its end."""
        for at, (start, stop) in enumerate(pairwise(places)):
            last = at == len(places) - 2
            self.line(f"{id}{at}", start, stop, **(attributes if last else {**attributes, "arrowhead": "none"}))

    def dot(self) -> str:
        return written(self.document())

    def document(self) -> Document:
        theme = self.options.colours
        common = {"fontname": FONT, "fontsize": BASE * self.scale}
        return Document(
            {
                "layout": "nop",
                "outputorder": "edgesfirst",
                "splines": "line",
                "bgcolor": theme.background,
                "pad": "0.25",
            },
            {**common, "fixedsize": "true", "margin": "0", "fontcolor": theme.ink},
            {**common, "arrowsize": "0.7", "color": theme.muted, "fontcolor": theme.ink},
            tuple(self.nodes),
            tuple(self.edges),
        )


def table(rows: Sequence[Sequence[Mapping[str, object]]], scale: float, border: str, spacing: int = 1) -> Label:
    """A grid of cells as one HTML-like label. A cell has ``width`` and ``height``, and may have ``fill``, ``text``,
    ``ink``, ``size``, ``bold``."""
    lines = []
    for row in rows:
        lines.append("<TR>" + "".join(_cell(cell, scale) for cell in row) + "</TR>")
    return html(
        f'<TABLE BORDER="0" CELLBORDER="0" CELLPADDING="0" CELLSPACING="{spacing}" BGCOLOR="{border}">'
        f"{''.join(lines)}</TABLE>"
    )


def _cell(cell: Mapping[str, object], scale: float) -> str:
    width, height = (round(float(str(cell[key])) * scale) for key in ("width", "height"))
    fill = f' BGCOLOR="{cell["fill"]}"' if cell.get("fill") else ""
    text = escaped(str(cell.get("text", "")))
    if text:
        text = f"<B>{text}</B>" if cell.get("bold") else text
        size = number(float(str(cell.get("size", BASE))) * scale)
        text = f'<FONT POINT-SIZE="{size}" COLOR="{cell.get("ink", "#111111")}">{text}</FONT>'
    return f'<TD FIXEDSIZE="TRUE" WIDTH="{width}" HEIGHT="{height}"{fill}>{text}</TD>'

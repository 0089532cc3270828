"""Wide layers: a neuron's synapses in bins, and the neurons that are not drawn as a distribution."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from graphneurons.views.canvas import Canvas, table
from graphneurons.views.palette import heat

BINS = 32


def binned(row: npt.NDArray[np.float32], bins: int = BINS) -> npt.NDArray[np.float64]:
    """The mean of ``row`` in ``bins`` runs as equal as can be (fewer where it is shorter)."""
    count = min(bins, row.size)
    borders = np.linspace(0, row.size, count + 1).astype(np.int64)
    sums = np.add.reduceat(row.astype(np.float64), borders[:-1])
    means: npt.NDArray[np.float64] = sums / np.diff(borders)
    return means


def strip(
    canvas: Canvas, id: str, x: float, y: float, width: float, height: float, means: npt.NDArray[np.float64],
    largest: float, tooltip: str = "", *, upright: bool = False, border: str | None = None, pen: float = 0.0,
) -> str:  # fmt: skip
    """Cells side by side (or one below the other), coloured by sign and size; (x, y) is the middle."""
    theme = canvas.options.colours
    size = (height if upright else width) / max(means.size, 1)
    cells = [
        {"width": width if upright else size, "height": size if upright else height,
         "fill": heat(theme, float(mean), largest)}
        for mean in means
    ]  # fmt: skip
    rows = [[cell] for cell in cells] if upright else [cells]
    drawn = table(rows, canvas.scale, theme.background, spacing=0)
    more = {"tooltip": tooltip} if tooltip else {}
    return canvas.node(
        id,
        x,
        y,
        width + 2 * pen,
        height + 2 * pen,
        shape="box",
        style="filled",
        fillcolor=theme.background,
        color=border or theme.background,
        penwidth=pen or 0.5,
        label=drawn,
        **{"id": f"strip-{id}", "class": "strip", **more},
    )


def counts(row: npt.NDArray[np.float32]) -> str:
    """How many synapses excite and how many inhibit: ``6,062+ / 6,226−``."""
    zeros = int((row == 0).sum())
    text = f"{int((row > 0).sum()):,}+ / {int((row < 0).sum()):,}−"
    return f"{text} / {zeros:,} zero" if zeros and zeros < row.size else text


def rest_box(
    canvas: Canvas, id: str, x: float, y: float, norms: npt.NDArray[np.float64], says: str, width: float = 300
) -> str:
    """The dashed box that sums up what is not drawn: a histogram of ``norms`` on a log scale. (x, y): top, middle."""
    theme = canvas.options.colours
    height = 124.0
    canvas.box(
        id, x, y + height / 2, width, height, "", fill=theme.background, border=theme.muted, style="rounded,dashed",
        kind="rest",
    )  # fmt: skip
    canvas.words(x, y + 18, says, size=12.5)
    finite = norms[np.isfinite(norms)]
    low, high = (float(finite.min()), float(finite.max())) if finite.size else (0.0, 0.0)
    bins = 40
    if high > low:
        tall, _ = np.histogram(finite, bins, (low, high))
    else:
        tall = np.zeros(bins, np.int64)
        tall[bins // 2] = finite.size
    heights = np.log1p(tall) / max(float(np.log1p(tall).max()), 1e-9)
    span, floor, bar = width - 40, y + height - 26, (width - 40) / bins
    for at, share in enumerate(heights.tolist()):
        if share:
            canvas.node(
                f"{id}_{at}",
                x - span / 2 + bar * (at + 0.5),
                floor - 30 * share,
                bar * 0.92,
                60 * share,
                shape="box",
                style="filled",
                fillcolor=theme.muted,
                color=theme.muted,
                penwidth=0.2,
                label=canvas.rich([]),
            )
    canvas.line(f"{id}_axis", (x - span / 2, floor), (x + span / 2, floor), arrowhead="none", penwidth=0.6)
    canvas.words(x - span / 2, floor + 11, f"{low:.3g}", size=11, align="left")
    canvas.words(x + span / 2, floor + 11, f"{high:.3g}", size=11, align="right")
    return id

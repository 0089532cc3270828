"""How a synapse looks: its sign by colour and by the shape of its end, its size by width and opacity."""

from __future__ import annotations

from dataclasses import dataclass

from graphneurons.views.canvas import Canvas
from graphneurons.views.palette import veiled

MINUS = "−"


@dataclass(frozen=True, slots=True)
class Weighing:
    """``largest``: the magnitude drawn widest; ``widest``: its width in points."""

    largest: float
    widest: float = 4.5

    def strength(self, value: float) -> float:
        return min(abs(value) / self.largest, 1.0) if self.largest else 0.0


def signed(value: float) -> str:
    """A weight as people read it: with its sign, to two or three decimals, or in short scientific form.

    >>> signed(-0.456), signed(12345.6), signed(0.0001), signed(0.0)
    ('−0.46', '+1.2e4', '+1e-4', '0')
    """
    if value != value or value in (float("inf"), float("-inf")):
        return str(value)
    if value == 0:
        return "0"
    size = abs(value)
    if 0.0005 <= size < 100:
        text = f"{size:.2f}" if size >= 0.005 else f"{size:.3f}"
    elif 100 <= size < 10000:
        text = f"{size:.0f}"
    else:
        mantissa, _, exponent = f"{size:.1e}".partition("e")
        text = f"{mantissa.removesuffix('.0')}e{int(exponent)}"
    return f"{'+' if value > 0 else MINUS}{text}"


def kind_of(value: float) -> str:
    return "excitatory" if value > 0 else "inhibitory"


def synapse(
    canvas: Canvas, id: str, tail: str, head: str, value: float, weighing: Weighing, says: str, **more: object
) -> bool:
    """One synapse as an edge; none for a weight of zero, and False then. ``says`` is its tooltip."""
    if value == 0 or value != value:
        return False
    theme, strength, scale = canvas.options.colours, weighing.strength(value), canvas.scale
    colour = theme.excitatory if value > 0 else theme.inhibitory
    width = (0.5 + (weighing.widest - 0.5) * strength) * scale
    canvas.edge(
        tail, head,
        color=veiled(colour, 0.28 + 0.72 * strength**0.7),
        penwidth=width,
        arrowhead="normal" if value > 0 else "tee",
        arrowsize=f"{(0.45 + 0.3 * strength if value > 0 else 0.4 + 0.18 * strength) * scale:.2f}",
        tooltip=says,
        **{"id": f"synapse-{id}", "class": f"synapse {kind_of(value)}", **more},
    )  # fmt: skip
    return True

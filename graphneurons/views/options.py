"""What a caller may choose about a picture."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from graphneurons.errors import UsageError
from graphneurons.views.palette import THEMES, Theme

Perspective = Literal["both", "weights", "neurons"]

SMALLEST_FONT, LARGEST_FONT = 4.0, 96.0
MOST_DRAWN = 256


@dataclass(frozen=True, slots=True)
class Options:
    """``neurons``: which to draw (`graphneurons.views.selecting`); ``max_neurons`` and ``max_synapses``: how many of a
    layer or of a neuron are drawn one by one (None: what suits the view); ``at``: an input to evaluate a pair of layers
    at; ``up``, ``down``, ``top``: how far and how wide a circuit goes; ``heads``, ``kv_heads``: where a file does not
    say; ``depth``: levels of module paths the network shows; ``font_size`` in points."""

    theme: str = "light"
    font_size: float = 14.0
    title: str | None = None
    neurons: str | None = None
    max_neurons: int | None = None
    max_synapses: int | None = None
    perspective: Perspective = "both"
    at: tuple[float, ...] | None = None
    up: int = 2
    down: int = 1
    top: int = 3
    heads: int | None = None
    kv_heads: int | None = None
    depth: int | None = None

    def __post_init__(self) -> None:
        if self.theme not in THEMES:
            raise UsageError(f"no theme is called {self.theme!r}; there are {', '.join(THEMES)}")
        if not SMALLEST_FONT <= self.font_size <= LARGEST_FONT:
            raise UsageError(f"a font size of {self.font_size:g} is not between {SMALLEST_FONT:g} and {LARGEST_FONT:g}")
        if self.perspective not in ("both", "weights", "neurons"):
            raise UsageError(f"no perspective is called {self.perspective!r}; there are both, weights, neurons")
        limits = {"max_neurons": (self.max_neurons, 1, MOST_DRAWN), "max_synapses": (self.max_synapses, 1, MOST_DRAWN)}
        limits |= {"up": (self.up, 0, 8), "down": (self.down, 0, 8), "top": (self.top, 1, 32)}
        limits |= {name: (value, 1, 1 << 16) for name, value in (("heads", self.heads), ("kv_heads", self.kv_heads))}
        limits |= {"depth": (self.depth, 1, 64)}
        for name, (value, low, high) in limits.items():
            if value is not None and not low <= value <= high:
                raise UsageError(f"{name.replace('_', '-')} {value} is not between {low} and {high}")

    @property
    def colours(self) -> Theme:
        return THEMES[self.theme]

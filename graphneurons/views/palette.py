"""Colours told apart by everyone: Okabe and Ito's set for neurons, vermilion and blue for the sign of a synapse.

Okabe, M. and Ito, K. (2008), "Color Universal Design". Sign is never told by colour alone: excitatory edges end in an
arrow, inhibitory ones in a bar.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Theme:
    """Colours of a picture, as ``#rrggbb``."""

    name: str
    background: str
    ink: str
    muted: str
    faint: str
    panel: str
    excitatory: str
    inhibitory: str
    dead: str


LIGHT = Theme("light", "#ffffff", "#1a1a1a", "#666666", "#c4c4c4", "#f2f2f2", "#d55e00", "#0072b2", "#d9d9d9")
DARK = Theme("dark", "#15191f", "#ececec", "#a3acb8", "#4a535f", "#242b34", "#ff8a3d", "#56b4e9", "#4d555f")
THEMES = {theme.name: theme for theme in (LIGHT, DARK)}

HUES = ("#e69f00", "#56b4e9", "#009e73", "#cc79a7", "#f0e442", "#8da0cb", "#a6d854", "#e5c494")
"""One per neuron, in turn; text on all of them is dark."""

ON_HUE = "#111111"


def hue(index: int) -> str:
    return HUES[index % len(HUES)]


def blend(under: str, over: str, share: float) -> str:
    """``over`` painted on ``under`` with opacity ``share``.

    >>> blend("#ffffff", "#000000", 0.5)
    '#808080'
    """
    share = min(max(share, 0.0), 1.0)
    mixed = (a + (b - a) * share for a, b in zip(_channels(under), _channels(over), strict=True))
    return "#" + "".join(f"{int(value + 0.5):02x}" for value in mixed)


def veiled(colour: str, opacity: float) -> str:
    """``colour`` with an opacity, as ``#rrggbbaa``."""
    return f"{colour}{int(min(max(opacity, 0.0), 1.0) * 255 + 0.5):02x}"


def readable_on(colour: str) -> str:
    """Dark or light text, whichever contrasts more with ``colour`` (relative luminance of WCAG 2)."""
    red, green, blue = (_linear(value / 255) for value in _channels(colour))
    luminance = 0.2126 * red + 0.7152 * green + 0.0722 * blue
    return ON_HUE if (luminance + 0.05) / 0.056 > 1.05 / (luminance + 0.05) else "#ffffff"


def heat(theme: Theme, value: float, largest: float) -> str:
    """The colour of a cell that holds ``value``, where ``largest`` is the greatest magnitude in the picture."""
    if not largest or not value:
        return theme.panel if not value else theme.background
    strength = min(abs(value) / largest, 1.0)
    return blend(theme.background, theme.excitatory if value > 0 else theme.inhibitory, 0.1 + 0.75 * strength**0.8)


def _channels(colour: str) -> tuple[int, int, int]:
    return int(colour[1:3], 16), int(colour[3:5], 16), int(colour[5:7], 16)


def _linear(value: float) -> float:
    return float(value / 12.92 if value <= 0.04045 else ((value + 0.055) / 1.055) ** 2.4)

"""Lines of styled text: what the text report is made of until somebody decides on colours."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from graphneurons.reports.names import cells

Span = tuple[str, str]
"""Text and the name of its style (``""``: plain)."""

Line = tuple[Span, ...]

# The sixteen colours every terminal has, in the user's own theme; no background is assumed.
STYLES = {
    "heading": "1",
    "strong": "1",
    "quiet": "2",
    "neuron": "1;32",
    "synapse": "36",
    "shared": "33",
    "lookup": "35",
    "mixed": "33",
    "bad": "31",
}


@dataclass(frozen=True, slots=True)
class Glyphs:
    """The few characters beyond ASCII that reports use."""

    times: str
    dash: str
    dot: str
    branch: str
    last: str
    pipe: str
    rule: str
    ellipsis: str
    arrow: str


UNICODE = Glyphs("×", "–", "·", "├─ ", "└─ ", "│  ", "─", "…", "←")
ASCII = Glyphs("x", "-", "|", "|- ", "`- ", "|  ", "-", "...", "<-")


def line(*parts: str | Span) -> Line:
    """A line of plain strings and styled spans, without the empty ones."""
    return tuple([span for span in [(part, "") if isinstance(part, str) else part for part in parts] if span[0]])


def measure(spans: Iterable[Span]) -> int:
    """Terminal columns the spans take."""
    return sum([cells(text) for text, _ in spans])


def plain(lines: Iterable[Line]) -> Iterator[str]:
    """Every line as text with a line feed, without styles and without blanks at its end."""
    for spans in lines:
        yield "".join(text for text, _ in spans).rstrip(" ") + "\n"


def painted(lines: Iterable[Line]) -> Iterator[str]:
    """Every line as text with a line feed, styles as ANSI escape sequences."""
    for spans in lines:
        yield "".join(f"\x1b[{STYLES[style]}m{text}\x1b[0m" if style else text for text, style in spans) + "\n"

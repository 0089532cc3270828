"""Trees of lines, drawn with branches, on as many columns as there are."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from graphneurons.reports.lines import UNICODE, Glyphs, Line, line, measure
from graphneurons.reports.names import wrap
from graphneurons.reports.tables import MARGIN

_LEAST_ROOM = 18


@dataclass(slots=True)
class Twig:
    """A line of a tree, and what hangs below it."""

    text: Line
    twigs: list[Twig] = field(default_factory=list)


def drawn(twigs: Sequence[Twig], width: int | None, glyphs: Glyphs = UNICODE) -> Iterator[Line]:
    """The trees below each other. Where branches would leave no room for text, the outermost are not drawn."""
    pending: list[tuple[Twig, tuple[bool, ...]]] = [
        (twig, (position == 0,)) for position, twig in enumerate(reversed(twigs))
    ]
    while pending:
        twig, last = pending.pop()
        yield from _placed(twig, last, width, glyphs)
        pending += [(below, (*last, position == 0)) for position, below in enumerate(reversed(twig.twigs))]


def _placed(twig: Twig, last: tuple[bool, ...], width: int | None, glyphs: Glyphs) -> Iterator[Line]:
    if width is not None:
        last = last[-max(1, (width - _LEAST_ROOM - len(MARGIN)) // len(glyphs.pipe)) :]
    blank = " " * len(glyphs.pipe)
    outer = MARGIN + "".join(blank if ended else glyphs.pipe for ended in last[:-1])
    lead = outer + (glyphs.last if last[-1] else glyphs.branch)
    if width is None or len(lead) + measure(twig.text) <= width:
        yield line((lead, "quiet"), *twig.text)
        return
    behind = outer + (blank if last[-1] else glyphs.pipe) + (glyphs.pipe if twig.twigs else blank)
    room = max(width - len(behind), 8)
    for number, piece in enumerate(wrap("".join(text for text, _ in twig.text), room)):
        yield line((behind if number else lead, "quiet"), piece)

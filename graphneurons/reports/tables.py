"""Aligned columns that fit a width: names fold where they must, numbers never do."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from graphneurons.reports.lines import Line, Span, measure
from graphneurons.reports.names import fold

Cell = tuple[Line, ...]
"""The lines of one cell, top to bottom."""

MARGIN = "  "
GAP = "  "


@dataclass(frozen=True, slots=True)
class Column:
    """A column's heading; ``right`` aligns numbers; ``least`` is the width it may be squeezed to (0: never)."""

    heading: str
    right: bool = False
    least: int = 0


@dataclass(frozen=True, slots=True)
class Row:
    """One cell per column; ``style`` is for what has none of its own; ``under`` are whole lines that follow the row."""

    cells: tuple[Cell, ...]
    style: str = ""
    under: tuple[Line, ...] = ()


def table(columns: Sequence[Column], rows: Sequence[Row], width: int | None) -> list[Line] | None:
    """The rows under their headings, indented, or None where they do not fit ``width`` (None: any width).

    Columns without any content are left out. Where room lacks, the widest columns that may fold give way first.
    """
    kept = [i for i in range(len(columns)) if any(measure(part) for row in rows for part in row.cells[i])]
    sizes = {i: max(len(columns[i].heading), *(_widest(row.cells[i]) for row in rows)) for i in kept}
    if width is not None and not _squeeze(columns, sizes, width):
        return None
    heading = tuple((part, "heading") for part in _headings(columns, sizes))
    return [heading, *(spans for row in rows for spans in _lay(columns, row, sizes))]


def _squeeze(columns: Sequence[Column], sizes: dict[int, int], width: int) -> bool:
    excess = sum(sizes.values()) + len(MARGIN) + len(GAP) * (len(sizes) - 1) - width
    while excess > 0:
        spare = {i: size - columns[i].least for i, size in sizes.items() if size > columns[i].least > 0}
        if not spare:
            return False
        widest = max(spare, key=lambda i: sizes[i])
        below = max((sizes[i] for i in spare if sizes[i] < sizes[widest]), default=0)
        step = min(excess, spare[widest], max(1, sizes[widest] - below))
        sizes[widest] -= step
        excess -= step
    return True


def _widest(cell: Cell) -> int:
    return max((measure(part) for part in cell), default=0)


def _headings(columns: Sequence[Column], sizes: dict[int, int]) -> Iterator[str]:
    for number, (i, size) in enumerate(sizes.items()):
        heading = columns[i].heading
        yield (GAP if number else MARGIN) + (heading.rjust(size) if columns[i].right else heading.ljust(size))


def _lay(columns: Sequence[Column], row: Row, sizes: dict[int, int]) -> Iterator[Line]:
    folded = {i: _folded(row.cells[i], size if columns[i].least else None) for i, size in sizes.items()}
    for level in range(max((len(parts) for parts in folded.values()), default=0)):
        spans: list[Span] = []
        for number, (i, size) in enumerate(sizes.items()):
            part = folded[i][level] if level < len(folded[i]) else ()
            blank = " " * (size - measure(part))
            spans.append((GAP if number else MARGIN, ""))
            styled = [(text, style or row.style) for text, style in part]
            spans.extend([(blank, ""), *styled] if columns[i].right else [*styled, (blank, "")])
        yield tuple(span for span in spans if span[0])
    yield from row.under


def _folded(cell: Cell, width: int | None) -> list[Line]:
    if width is None:
        return list(cell)
    out: list[Line] = []
    for part in cell:
        if measure(part) <= width:
            out.append(part)
        else:
            style = part[0][1] if len(part) == 1 else ""
            out.extend(((piece, style),) for piece in fold("".join(text for text, _ in part), width))
    return out

"""Index arrays in a few characters: ``[0:64]``, ``[0:128:2]``, ``[0:512, each 49 times]``, ``[3, 1, 2, …]``."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from graphneurons.reports.lines import UNICODE, Glyphs
from graphneurons.wiring.records import Integers
from graphneurons.wiring.segments import Run, runs_of

MOST_RUNS = 3
_MOST_LISTED = 6


def compact(values: Integers, glyphs: Glyphs = UNICODE) -> str:
    """``values`` as Python writes slices, half open; runs that come again and again are written once.

    >>> import numpy as np
    >>> compact(np.arange(64)), compact(np.tile(np.arange(3), 4)), compact(np.arange(0, 8, 2).repeat(2))
    ('0:64', '0:3, 4 times over', '0:8:2, each 2 times')
    """
    written: list[str] = []
    more = 0
    for text, times in _collapsed(values, glyphs):
        if len(written) < MOST_RUNS:
            written.append(text if times == 1 else f"{text}, {times:,} times over")
        else:
            more += times
    if more:
        written.append(f"{glyphs.ellipsis} {more:,} more runs")
    return "; ".join(written) if any(", " in text for text in written) else ", ".join(written)


def is_whole(values: Integers, size: int) -> bool:
    """Whether ``values`` are 0, 1, ... to ``size``."""
    return values.size == size and bool((values == np.arange(size)).all())


def _collapsed(values: Integers, glyphs: Glyphs) -> Iterator[tuple[str, int]]:
    """Every run as text, with how often it is repeated right behind itself."""
    runs = runs_of(values, np.zeros(0, dtype=np.int64))
    at = 0
    while at < len(runs):
        following = at + 1
        while following < len(runs) and _shape(runs[following]) == _shape(runs[at]):
            following += 1
        yield _written(runs[at], values, glyphs), following - at
        at = following


def _shape(run: Run) -> tuple[int, ...]:
    start, stop, first, step, repeat = run
    return stop - start, first, step, repeat


def _written(run: Run, values: Integers, glyphs: Glyphs) -> str:
    start, stop, first, step, repeat = run
    if repeat == 0:
        listed = ", ".join(str(value) for value in values[start : min(stop, start + _MOST_LISTED)].tolist())
        return f"{listed}, {glyphs.ellipsis}" if stop - start > _MOST_LISTED else listed
    last = int(values[stop - 1])
    if first == last:
        return str(first) if stop - start == 1 else f"{first}, {stop - start:,} times"
    slice = f"{first}:{last + 1}" if step == 1 else f"{first}:{last + 1}:{step}"
    if step < 0:
        slice = f"{first}:{last - 1 if last else ''}:{step}"
    return slice if repeat == 1 else f"{slice}, each {repeat:,} times"

"""Global numbers in runs people and programs can read, and back."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from graphneurons.wiring.records import FIRST_UNKNOWN, Integers, Segment, Wiring

SHORTEST_RUN = 4
"""Where runs are shorter than this on average, the neurons are listed one by one instead."""


def segments_of(wiring: Wiring, numbers: Integers) -> tuple[Segment, ...]:
    """``numbers`` (one per synapse, or per index of a junction) as segments that cover them from 0 to the end."""
    if not numbers.size:
        return ()
    bases = np.array([source.base for source in wiring.sources], dtype=np.int64)
    owners = np.where(numbers >= 0, np.searchsorted(bases, numbers, side="right") - 1, numbers)
    borders = [0, *(np.flatnonzero(np.diff(owners)) + 1).tolist(), numbers.size]
    found: list[Segment] = []
    for start, stop in zip(borders, borders[1:], strict=False):
        owner = int(owners[start])
        if owner < 0:
            found.append(Segment(start, stop, wiring.describe(owner)[0]))
        else:
            source = wiring.sources[owner]
            found.extend(_runs(source.name, start, numbers[start:stop] - source.base))
    return tuple(found)


def _runs(name: str, offset: int, indices: Integers) -> list[Segment]:
    """One source's indices in arithmetic runs, each index repeated equally often; listed where there is no pattern."""
    runs: list[Segment] = []
    start = 0
    while start < indices.size:
        step, repeat, length = _longest(indices[start:])
        runs.append(Segment(offset + start, offset + start + length, name, int(indices[start]), step, repeat))
        start += length
        if len(runs) > 8 and start < SHORTEST_RUN * len(runs):
            return [
                Segment(offset, offset + indices.size, name, int(indices[0]), neurons=tuple(int(i) for i in indices))
            ]
    return runs


def _longest(indices: Integers) -> tuple[int, int, int]:
    """(step, repeat, length) of the longest arithmetic run at the start."""
    same = np.flatnonzero(indices != indices[0])
    if not same.size:
        return 0, max(1, indices.size), int(indices.size)
    repeat = int(same[0])
    step = int(indices[repeat] - indices[0])
    wanted = indices[0] + step * (np.arange(indices.size) // repeat)
    wrong = np.flatnonzero(indices != wanted)
    length = int(wrong[0]) if wrong.size else int(indices.size)
    if length < 2 * repeat and length < indices.size:
        return 0, repeat, repeat
    return step, repeat, length


def numbers_of(wiring: Wiring, segments: Sequence[Segment]) -> Integers:
    """The global numbers that ``segments`` write: the inverse of `segments_of`."""
    parts = []
    codes = {"constant": -1, "mixed": -2}
    codes |= {f"unknown: {reason}": FIRST_UNKNOWN - index for index, reason in enumerate(wiring.reasons)}
    for segment in segments:
        count = segment.stop - segment.start
        source = wiring.source.get(segment.source)
        if source is None:
            parts.append(np.full(count, codes[segment.source], dtype=np.int64))
        elif segment.neurons is not None:
            parts.append(np.array(segment.neurons, dtype=np.int64) + source.base)
        else:
            parts.append(source.base + segment.first + segment.step * (np.arange(count) // segment.repeat))
    return np.concatenate(parts) if parts else np.zeros(0, dtype=np.int64)

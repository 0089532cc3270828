"""Global numbers in runs people and programs can read, and back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from graphneurons.wiring.records import FIRST_UNKNOWN, Integers, Segment, Wiring

SHORTEST_RUN = 4
"""Where runs are shorter than this on average, the neurons are listed one by one instead."""

FEWEST_LISTED = 8
"""Runs a block always may have before its neurons are listed instead."""

Run = tuple[int, int, int, int, int]
"""(start, stop, first, step, repeat): position ``p`` holds ``first + step * ((p - start) // repeat)``."""


def segments_of(wiring: Wiring, numbers: Integers) -> tuple[Segment, ...]:
    """``numbers`` (one per synapse, or per index of a junction) as segments that cover them from 0 to the end.

    Runs go on as long as one source's neurons follow each other in equal steps, each equally often. A stretch of one
    source without a pattern is one segment that lists them. Linear in ``numbers``, and a loop only over the segments.
    """
    if not numbers.size:
        return ()
    whole = _one_run(wiring, numbers)
    if whole is not None:
        return (whole,)
    owners, bases = owners_of(wiring, numbers), wiring.bases
    # Where nobody sends there is no index to count: all such numbers of a stretch count as index 0.
    local = np.where(owners >= 0, numbers - bases[np.maximum(owners, 0)], 0) if bases.size else np.zeros_like(numbers)
    borders = np.flatnonzero(np.diff(owners)) + 1
    found: list[Segment] = []
    for start, stop, first, step, repeat in runs_of(local, borders):
        owner = int(owners[start])
        if owner < 0:
            found.append(Segment(start, stop, wiring.describe(owner)[0], repeat=0))
        elif repeat:
            found.append(Segment(start, stop, wiring.sources[owner].name, first, step, repeat))
        else:
            listed = tuple(local[start:stop].tolist())
            found.append(Segment(start, stop, wiring.sources[owner].name, first, neurons=listed))
    return tuple(found)


def segments_at(wiring: Wiring, numbers: Integers, positions: Integers) -> tuple[Segment, ...]:
    """Segments of ``numbers[positions]`` for ascending ``positions``, numbered by position; none spans a gap."""
    gaps = np.flatnonzero(np.diff(positions) != 1) + 1
    found: list[Segment] = []
    for part in np.split(positions, gaps):
        if part.size:
            offset = int(part[0])
            found.extend(
                replace(segment, start=segment.start + offset, stop=segment.stop + offset)
                for segment in segments_of(wiring, numbers[part])
            )
    return tuple(found)


def owners_of(wiring: Wiring, numbers: Integers) -> Integers:
    """The position in ``wiring.sources`` of what every number belongs to; numbers below zero stay what they are."""
    owners: Integers = np.where(numbers >= 0, np.searchsorted(wiring.bases, numbers, side="right") - 1, numbers)
    return owners


def _one_run(wiring: Wiring, numbers: Integers) -> Segment | None:
    """What most axes are, told quickly: neurons of one source one after the other."""
    first, last = int(numbers[0]), int(numbers[-1])
    if first < 0 or last - first != numbers.size - 1:
        return None
    source, index = wiring.locate(first)
    if last >= source.base + max(source.size, 1) or not bool((numbers[1:] - numbers[:-1] == 1).all()):
        return None
    return Segment(0, numbers.size, source.name, index, 0 if first == last else 1, 1)


def runs_of(values: Integers, borders: Integers) -> list[Run]:
    """``values`` in runs that end at every one of the ``borders`` at least.

    A block between two borders that has no pattern is one run with step and repeat 0: its values must be listed.
    """
    if not values.size:
        return []
    cut = np.zeros(values.size, dtype=bool)
    cut[borders] = True
    cut[0] = True
    heads = np.flatnonzero(cut | (np.diff(values, prepend=values[0]) != 0))
    lengths = np.diff(np.append(heads, values.size))
    firsts = values[heads]
    opens = cut[heads]
    # From a value to the next: how far, if both are repeated equally often (the last of a block may fall short).
    steps = np.diff(firsts)
    closes = np.append(opens[1:], True)[1:]
    joined = (lengths[1:] == lengths[:-1]) | ((lengths[1:] < lengths[:-1]) & closes)
    joined &= ~opens[1:]
    goes_on = np.zeros(heads.size, dtype=bool)
    if steps.size > 1:
        goes_on[2:] = joined[1:] & joined[:-1] & (steps[1:] == steps[:-1]) & (lengths[1:-1] == lengths[:-2])
    return _greedy(heads, lengths, firsts, opens, joined, steps, goes_on, values.size)


def _greedy(
    heads: Integers,
    lengths: Integers,
    firsts: Integers,
    opens: npt.NDArray[np.bool_],
    joined: npt.NDArray[np.bool_],
    steps: Integers,
    goes_on: npt.NDArray[np.bool_],
    size: int,
) -> list[Run]:
    """Runs as long as they get, left to right. ``goes_on[k]``: value ``k`` follows the two before it in one run."""
    breaks = np.flatnonzero(~goes_on)
    starts = np.flatnonzero(opens)
    listed = _patternless(heads, starts, breaks, size)
    ends = np.append(starts[1:], heads.size)
    stops = np.append(heads, size)
    at = 0
    found: list[Run] = []
    for number, (block, end) in enumerate(zip(starts.tolist(), ends.tolist(), strict=True)):
        if listed[number]:
            found.append((int(heads[block]), int(stops[end]), int(firsts[block]), 0, 0))
            continue
        at = block
        while at < end:
            if at + 1 >= end or not joined[at]:
                following, step = at + 1, 0
            else:
                beyond = int(np.searchsorted(breaks, at + 2))
                following = int(breaks[beyond]) if beyond < breaks.size else heads.size
                following, step = min(following, end), int(steps[at])
            found.append((int(heads[at]), int(stops[following]), int(firsts[at]), step, int(lengths[at])))
            at = following
    return found


def _patternless(heads: Integers, starts: Integers, breaks: Integers, size: int) -> list[bool]:
    """Which blocks of values have so many breaks that listing them is shorter. A run takes two breaks: those before
    its first value and its second."""
    ends = np.append(starts[1:], heads.size)
    runs = (np.searchsorted(breaks, ends) - np.searchsorted(breaks, starts) + 1) // 2
    stops = np.append(heads, size)
    sizes = stops[ends] - stops[starts]
    told: list[bool] = ((runs > FEWEST_LISTED) & (sizes < SHORTEST_RUN * runs)).tolist()
    return told


def numbers_of(wiring: Wiring, segments: Sequence[Segment]) -> Integers:
    """The global numbers that ``segments`` write: the inverse of `segments_of`."""
    parts = []
    codes = {"constant": -1, "mixed": -2}
    codes |= {f"unknown: {reason}": FIRST_UNKNOWN - index for index, reason in enumerate(wiring.reasons)}
    for segment in segments:
        count = segment.stop - segment.start
        source = wiring.source[segment.source] if segment.sent else None
        if source is None:
            parts.append(np.full(count, codes[segment.source], dtype=np.int64))
        elif segment.neurons is not None:
            parts.append(np.array(segment.neurons, dtype=np.int64) + source.base)
        else:
            parts.append(source.base + segment.first + segment.step * (np.arange(count) // segment.repeat))
    return np.concatenate(parts) if parts else np.zeros(0, dtype=np.int64)

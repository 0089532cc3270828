"""How many of how many, and which: as findings say it."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

MOST_LISTED = 1000
"""Neurons a finding lists at most; its message says how many there are."""


def listed(places: npt.NDArray[np.integer[Any]]) -> tuple[int, ...]:
    """The first `MOST_LISTED` of ``places`` as plain integers."""
    return tuple(int(place) for place in places[:MOST_LISTED])


def some(count: int, total: int, one: str, many: str = "") -> str:
    """``3 of 64 neurons``; ``all 64 neurons``.

    >>> some(1, 4, "neuron"), some(4, 4, "neuron")
    ('1 of 4 neurons', 'all 4 neurons')
    """
    plural = many or f"{one}s"
    if total == 1:
        return f"the only {one}"
    return f"all {total:,} {plural}" if count == total else f"{count:,} of {total:,} {plural}"


def first_few(places: tuple[int, ...] | None, most: int = 8) -> str:
    """``0, 3, 17, …``"""
    if not places:
        return ""
    return ", ".join(map(str, places[:most])) + (", …" if len(places) > most else "")

"""Which neurons to draw: ``0,5,10:20``, ``top:16`` (by norm), ``random:16`` (always the same ones)."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from graphneurons.errors import UsageError
from graphneurons.views.options import MOST_DRAWN

SEED = 5
_PIECE = re.compile(r"(\d{1,18})(?::(\d{1,18}))?")
_COUNTED = re.compile(r"(top|random):(\d{1,18})")


@dataclass(frozen=True, slots=True)
class Selection:
    """``indices`` in the order they are drawn, ``how`` in words, for the picture."""

    indices: tuple[int, ...]
    how: str


def select(
    wanted: str | None, count: int, limit: int, norms: Callable[[], npt.NDArray[np.float64]], what: str
) -> Selection:
    """Of ``count`` neurons those that ``wanted`` names; without it all, or the ``limit`` with the largest norm.

    ``norms`` is called only where norms decide; ``what`` names the layer in errors. Raises UsageError for neurons that
    do not exist and for text that is no selection.
    """
    if wanted is None:
        if count <= limit:
            return Selection(tuple(range(count)), "all")
        wanted = f"top:{limit}"
    counted = _COUNTED.fullmatch(wanted.strip())
    if counted:
        number = int(counted[2])
        if not 1 <= number <= MOST_DRAWN:
            raise UsageError(f"--neurons {wanted}: draws 1 to {MOST_DRAWN} neurons")
        number = min(number, count)
        if counted[1] == "top":
            return Selection(top(norms(), number), f"top {number:,} by ‖w‖")
        chosen = np.random.default_rng(SEED).choice(count, number, replace=False)
        return Selection(tuple(sorted(int(index) for index in chosen)), f"{number:,} at random")
    return Selection(listed(wanted, count, what, MOST_DRAWN, " or top:16 or random:16"), "as chosen")


def top(norms: npt.NDArray[np.float64], number: int) -> tuple[int, ...]:
    """The indices of the ``number`` largest, largest first; equal ones by index."""
    if norms.size > 4 * number:
        edge = np.partition(norms, norms.size - number)[norms.size - number]
        near = np.flatnonzero(norms >= edge)
    else:
        near = np.arange(norms.size)
    order = np.argsort(-norms[near], kind="stable")[:number]
    return tuple(int(index) for index in near[order])


def listed(wanted: str, count: int, what: str, most: int, also: str = "") -> tuple[int, ...]:
    """The indices that ``0,5,10:20`` names, in its order, at most ``most`` of the ``count`` that ``what`` has.
    ``also``: what else errors say is understood. Raises UsageError."""
    found: dict[int, None] = {}
    for piece in wanted.split(","):
        matched = _PIECE.fullmatch(piece.strip())
        if matched is None:
            raise UsageError(f"--neurons {wanted}: expected 0,5,10:20{also}")
        first = int(matched[1])
        last = int(matched[2]) if matched[2] else first + 1
        if last <= first or last > count:
            raise UsageError(f"--neurons {wanted}: {what} has neurons 0 to {count - 1:,}, {piece.strip()} is not there")
        if len(found) + last - first > most:
            raise UsageError(f"--neurons {wanted}: draws at most {most} neurons")
        found.update(dict.fromkeys(range(first, last)))
    return tuple(found)

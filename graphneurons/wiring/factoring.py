"""Axes that become others in plain order, as Reshape makes them: the factors that both are products of."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate
from math import prod
from operator import mul

import numpy as np

from graphneurons.wiring.records import Integers


def common_factors(before: Sequence[int], after: Sequence[int]) -> list[int] | None:
    """The coarsest sizes that both are products of runs of, outermost first."""
    if prod(before) != prod(after):
        return None
    found, last = [], 1
    for end in sorted({*accumulate(before, mul), *accumulate(after, mul)}):
        if end % last:
            return None
        found.append(end // last)
        last = end
    return found


def shared_out(factors: Sequence[int], sizes: Sequence[int]) -> list[list[int]]:
    """The run of ``factors`` that every one of ``sizes`` is the product of."""
    found, at = [], 0
    for size in sizes:
        run, product = [], 1
        while product < size:
            run.append(factors[at])
            product *= factors[at]
            at += 1
        found.append(run)
    return found


def is_plain(
    landed: Sequence[Integers],
    before: Sequence[Sequence[int]],
    spread: Sequence[int],
    after: Sequence[Sequence[int]],
    shape: Sequence[int],
) -> bool:
    """Whether positions land as in a Reshape. ``landed``: where those along each axis lie in a tensor of ``shape``,
    ``spread``: along which axes of it; ``before`` and ``after``: the factors of the former and of the latter."""
    digits: list[Integers] = []
    for out, sizes in zip(spread, after, strict=True):
        view = [1] * len(shape)
        view[out] = shape[out]
        digits.extend(
            np.asarray(found).reshape(view)
            for found in np.unravel_index(np.arange(shape[out], dtype=np.int64), tuple(sizes))
        )
    at = 0
    for positions, sizes in zip(landed, before, strict=True):
        expected = np.zeros((1,) * len(shape), dtype=np.int64)
        for size in sizes:
            expected = expected * size + digits[at]
            at += 1
        wide = all(a in (1, b) for a, b in zip(positions.shape, expected.shape, strict=True))
        if not wide or not np.array_equal(np.broadcast_to(positions, expected.shape), expected):
            return False
    return True

"""Which neurons are drawn."""

from __future__ import annotations

import numpy as np
import pytest

from graphneurons.errors import UsageError
from graphneurons.views.selecting import select, top

NORMS = np.array([0.5, 3.0, 1.0, 3.0, 0.0, 2.0])


def chosen(wanted: str | None, limit: int = 8) -> tuple[int, ...]:
    return select(wanted, NORMS.size, limit, lambda: NORMS, "fc").indices


def test_all_where_they_fit_without_reading_a_norm() -> None:
    def never() -> np.ndarray:
        raise AssertionError("norms are not needed")

    assert select(None, 6, 6, never, "fc").indices == (0, 1, 2, 3, 4, 5)
    assert select("0,2:4", 6, 1, never, "fc").indices == (0, 2, 3)


def test_the_largest_where_they_do_not() -> None:
    assert chosen(None, 3) == (1, 3, 5)
    assert chosen("top:2") == (1, 3)
    assert chosen("top:100") == (1, 3, 5, 2, 0, 4)


def test_lists_ranges_and_repetitions() -> None:
    assert chosen("5, 0:2,1") == (5, 0, 1)


def test_random_is_always_the_same() -> None:
    assert chosen("random:3") == chosen("random:3")
    assert len(set(chosen("random:3"))) == 3


def test_top_of_many_equals_a_full_sort() -> None:
    norms = np.random.default_rng(3).integers(0, 50, 1000).astype(float)
    assert top(norms, 20) == tuple(int(at) for at in np.argsort(-norms, kind="stable")[:20])


@pytest.mark.parametrize(
    ("wanted", "said"),
    [
        ("6", "--neurons 6: fc has neurons 0 to 5, 6 is not there"),
        ("2:9", "fc has neurons 0 to 5, 2:9 is not there"),
        ("3:3", "3:3 is not there"),
        ("-1", "expected 0,5,10:20 or top:16 or random:16"),
        ("", "expected 0,5,10:20"),
        ("top:x", "expected 0,5,10:20"),
        ("top:0", "draws 1 to 256 neurons"),
        ("random:9999", "draws 1 to 256 neurons"),
        ("9" * 30, "expected 0,5,10:20"),
    ],
)
def test_what_is_no_selection(wanted: str, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        chosen(wanted)

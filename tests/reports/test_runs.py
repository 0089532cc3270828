from __future__ import annotations

import numpy as np
import pytest

from graphneurons.reports.lines import ASCII
from graphneurons.reports.runs import compact, is_whole


@pytest.mark.parametrize(
    ("values", "wanted"),
    [
        ([], ""),
        ([5], "5"),
        ([5, 5, 5], "5, 3 times"),
        (range(64), "0:64"),
        (range(64, 128), "64:128"),
        (range(1, 128, 2), "1:128:2"),
        (range(9, -1, -3), "9::-3"),
        (range(9, 2, -3), "9:2:-3"),
        ([0, 1, 2, 7, 8], "0:3, 7:9"),
        (np.arange(512).repeat(49), "0:512, each 49 times"),
        (np.tile(np.arange(512), 49), "0:512, 49 times over"),
        ([*range(3), *range(3), 9], "0:3, 2 times over; 9"),
        (np.arange(1000).reshape(10, 100).T.reshape(-1)[:50], "0:901:100, 1:902:100, 2:903:100, … 2 more runs"),
        ([(number * number * 7) % 31 for number in range(40)], "0, 7, 28, 1, 19, 20, …"),
    ],
)
def test_index_arrays_in_a_few_characters(values, wanted):
    assert compact(np.array(list(values), dtype=np.int64)) == wanted


def test_ascii():
    scattered = np.array([(number * number * 7) % 31 for number in range(40)])
    assert compact(scattered, ASCII) == "0, 7, 28, 1, 19, 20, ..."


def test_whole():
    assert is_whole(np.arange(4), 4)
    assert not is_whole(np.arange(4), 5)
    assert not is_whole(np.array([0, 2, 1]), 3)

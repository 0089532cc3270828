from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from graphneurons.wiring.records import Segment, Source, Wiring
from graphneurons.wiring.segments import numbers_of, segments_at, segments_of

WIRING = Wiring(
    (Source("layer", "a", 0, 100), Source("input", "x", 100, 50), Source("junction", "j", 150, 4000)),
    (),
    {},
    ("no rule for acme.Foo", "too large"),
)


def segments(*numbers: int) -> list[Segment]:
    return list(segments_of(WIRING, np.array(numbers, dtype=np.int64)))


@pytest.mark.parametrize(
    ("numbers", "wanted"),
    [
        ([], []),
        ([5], [Segment(0, 1, "a", 5, 0, 1)]),
        (range(100), [Segment(0, 100, "a", 0, 1, 1)]),
        ([7] * 9, [Segment(0, 9, "a", 7, 0, 9)]),
        ([0, 0, 0, 1, 1, 1, 2, 2], [Segment(0, 8, "a", 0, 1, 3)]),
        ([9, 6, 3, 0], [Segment(0, 4, "a", 9, -3, 1)]),
        ([98, 99, 100, 101], [Segment(0, 2, "a", 98, 1, 1), Segment(2, 4, "input:x", 0, 1, 1)]),
        ([0, 1, 2, 0, 1, 2], [Segment(0, 3, "a", 0, 1, 1), Segment(3, 6, "a", 0, 1, 1)]),
        ([0, 0, 1, 2], [Segment(0, 2, "a", 0, 0, 2), Segment(2, 4, "a", 1, 1, 1)]),
        ([-1, -1, -2, -2], [Segment(0, 2, "constant", repeat=0), Segment(2, 4, "mixed", repeat=0)]),
        (
            [-3, -3, -4, 150],
            [
                Segment(0, 2, "unknown: no rule for acme.Foo", repeat=0),
                Segment(2, 3, "unknown: too large", repeat=0),
                Segment(3, 4, "junction:j", 0, 0, 1),
            ],
        ),
    ],
)
def test_runs(numbers, wanted):
    assert segments(*numbers) == wanted


def test_no_pattern_is_listed():
    numbers = [(17 * number * number + number // 3) % 97 for number in range(90)]
    assert segments(*numbers) == [Segment(0, 90, "a", numbers[0], neurons=tuple(numbers))]


def test_a_channel_shuffle_of_two_layers_alternates():
    found = segments(*np.array([range(20), range(100, 120)]).T.reshape(-1).tolist())
    assert len(found) == 40
    assert {segment.stop - segment.start for segment in found} == {1}


def test_positions_with_gaps():
    numbers = np.arange(100, dtype=np.int64)
    found = segments_at(WIRING, numbers, np.array([2, 3, 4, 10, 11]))
    assert found == (Segment(2, 5, "a", 2, 1, 1), Segment(10, 12, "a", 10, 1, 1))
    assert segments_at(WIRING, numbers, np.zeros(0, dtype=np.int64)) == ()


piece = st.tuples(st.integers(-4, 4100), st.integers(-3, 3), st.integers(1, 4), st.integers(1, 12)).map(
    lambda each: [max(-4, min(4149, each[0] + each[1] * (at // each[2]))) for at in range(each[3])]
)
anything = st.lists(st.one_of(piece, st.lists(st.integers(-4, 4149), max_size=12)), max_size=20)


@given(anything)
def test_segments_cover_and_say_the_same(pieces):
    numbers = np.array([number for each in pieces for number in each], dtype=np.int64)
    found = segments_of(WIRING, numbers)
    assert np.array_equal(numbers_of(WIRING, found), numbers)
    assert [segment.start for segment in found] == [0, *(segment.stop for segment in found[:-1])] if found else True


@given(anything)
def test_there_is_never_more_to_write_than_there_are_synapses(pieces):
    numbers = np.array([number for each in pieces for number in each], dtype=np.int64)
    written = sum(1 if each.neurons is None else len(each.neurons) for each in segments_of(WIRING, numbers))
    assert written <= numbers.size

"""A plane that tells its first number holds that number and those after it, each once, wherever it was moved."""

from __future__ import annotations

import gc

import numpy as np
import pytest

from graphneurons.axes import planes
from graphneurons.axes.carrying import carry
from graphneurons.axes.planes import Plane
from graphneurons.axes.values import Values
from graphneurons.collecting import paused_collection
from graphneurons.graph import Absent, Inline, WeightRef

START = planes.run((2, 6, 4), (1, 6, 1), 10)
BOTH = planes.run((2, 6, 4), (1, 6, 4), 10)
MOVED = {
    "transpose": lambda plane: planes.transpose(plane, (1, 2, 0)),
    "reshape": lambda plane: planes.reshape(plane, (2, 3, 2, 4)),
    "reshape, merged": lambda plane: planes.reshape(plane, (2, 24)),
    "broadcast": lambda plane: planes.broadcast(plane, (5, 2, 6, 4)),
    "cut elsewhere": lambda plane: planes.cut(plane, 0, slice(0, 1)),
    "cut": lambda plane: planes.cut(plane, 1, slice(0, 3)),
    "take": lambda plane: planes.take(plane, np.array([0, 0, 1]), 1),
    "take elsewhere": lambda plane: planes.take(plane, np.array([0, 0, 1]), 0),
    "join": lambda plane: planes.join([plane, plane], [6, 6], 1),
    "join elsewhere": lambda plane: planes.join([plane, plane], [2, 2], 0),
    "pad": lambda plane: planes.pad(plane, 1, 1, 1, -1),
    "carried": lambda plane: carry(plane, (("n",), ("c",), ("s",)), (("s",), ("c",)), (4, 6), {"n": 2, "c": 6, "s": 4}),
    "contracted": lambda plane: carry(plane, (("n",), ("c",), ("s",)), (("n",),), (2,), {"n": 2, "c": 6, "s": 4}),
    "merged": lambda plane: carry(plane, (("n",), ("c",), ("s",)), (("c", "s"),), (24,), {"n": 2, "c": 6, "s": 4}),
}


@pytest.mark.parametrize("start", [START, BOTH], ids=["one axis", "two axes"])
@pytest.mark.parametrize("name", MOVED)
def test_the_first_number_stays_true(name: str, start: Plane) -> None:
    moved = MOVED[name](start)
    if moved.first is not None:
        wanted = np.arange(moved.first, moved.first + moved.data.size)
        assert np.array_equal(np.sort(moved.data, axis=None), wanted)
    assert len(moved.data.shape) == len(moved.shape)
    assert all(stored in (1, size) for stored, size in zip(moved.data.shape, moved.shape, strict=True))


def test_what_only_moves_is_still_known_as_a_run() -> None:
    kept = [name for name in MOVED if MOVED[name](START).first == 10]
    assert {"transpose", "reshape", "broadcast", "cut elsewhere", "take elsewhere", "join elsewhere", "carried"} <= {
        *kept
    }
    assert not {"cut", "take", "join", "pad", "contracted"} & {*kept}


def test_stored_values_are_read_when_they_are_asked_for() -> None:
    here = WeightRef("here", "int64", (2,), Inline(np.array([3, 4], dtype=np.int64).tobytes()))
    large = WeightRef("large", "float32", (17,), Absent("never read"))
    values = Values({"here": here, "large": large, "gone": WeightRef("gone", "int64", (2,), Absent("on meta"))})
    assert list(values) == []
    assert values["here"].tolist() == [3, 4]
    assert [name in values for name in ("here", "large", "gone", "nobody")] == [True, False, False, False]
    values.set("made", np.zeros(1))
    assert (list(values), len(values)) == (["here", "made"], 2)
    with pytest.raises(KeyError):
        values["gone"]


@pytest.mark.parametrize("collecting", [True, False])
def test_the_collector_is_left_as_it_was(collecting: bool) -> None:
    before = gc.isenabled()
    (gc.enable if collecting else gc.disable)()
    try:
        with pytest.raises(ZeroDivisionError):
            _fails_inside()
        assert (gc.isenabled(), gc.get_freeze_count()) == (collecting, 0)
    finally:
        (gc.enable if before else gc.disable)()


def _fails_inside() -> None:
    with paused_collection():
        assert not gc.isenabled()
        raise ZeroDivisionError

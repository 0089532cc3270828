"""Ids through picks by indices the running model makes: they pass only where what is picked is not who."""

from __future__ import annotations

import pytest

from graphneurons.axes.planes import Plane, along, constant
from graphneurons.graph import Attribute, Op
from graphneurons.wiring.picking import picked

Shape = tuple[int, ...]


def pick(kind: str, data: Plane, indices: Shape | None, shape: Shape, **attributes: Attribute) -> Plane | None:
    return picked(Op("op", kind, "", ("x", "i"), ("y",), attributes), data, indices, shape)


@pytest.mark.parametrize(
    ("kind", "data", "indices", "shape", "attributes", "axis"),
    [
        ("Gather", (2, 9, 5), (4,), (2, 4, 5), {"axis": 1}, 2),
        ("Gather", (9, 5), (2, 3), (2, 3, 5), {}, 2),
        ("Gather", (2, 9, 5), (), (2, 5), {"axis": 1}, 1),
        ("GatherND", (7, 9, 5), (3, 2), (3, 5), {}, 1),
        ("GatherND", (7, 9, 5), (7, 3, 1), (7, 3, 5), {"batch_dims": 1}, 2),
        ("TopK", (2, 5, 9), (1,), (2, 5, 4), {}, 1),
        ("GatherElements", (2, 9, 5), (2, 3, 5), (2, 3, 5), {"axis": 1}, 2),
    ],
)
def test_features_beside_the_picked_axis_pass(
    kind: str, data: Shape, indices: Shape, shape: Shape, attributes: dict[str, Attribute], axis: int
) -> None:
    plane = pick(kind, along(data, data.index(5)), indices, shape, **attributes)
    assert plane is not None
    assert plane.shape == shape
    assert plane.data.tolist() == along(shape, axis).data.tolist()


@pytest.mark.parametrize(
    ("kind", "data", "axis", "indices", "shape", "attributes"),
    [
        ("Gather", (2, 9, 5), 2, (4,), (2, 9, 4), {"axis": 2}),
        ("GatherND", (7, 9, 5), 2, (3, 5, 3), (3, 5), {}),
        ("GatherND", (7, 9, 5), 2, None, (3, 5), {}),
        ("GatherElements", (2, 9, 5), 2, (2, 3, 4), (2, 3, 4), {"axis": 1}),
        ("TopK", (2, 5), 1, (1,), (2, 3), {}),
        ("Compress", (2, 5), 1, (4,), (4,), {}),
        ("NonZero", (2, 5), 1, None, (2, 10), {}),
    ],
)
def test_what_is_picked_by_who_it_is_does_not_pass(
    kind: str, data: Shape, axis: int, indices: Shape | None, shape: Shape, attributes: dict[str, Attribute]
) -> None:
    assert pick(kind, along(data, axis), indices, shape, **attributes) is None


def test_what_varies_nowhere_passes_any_pick() -> None:
    plane = pick("GatherND", constant((4, 4), 7), (2, 2), (2,))
    assert plane is not None
    assert plane.full().tolist() == [7, 7]

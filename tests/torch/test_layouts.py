"""Every layout op of ATen moves planes exactly as PyTorch moves the tensors, whatever axes a plane is stored along."""

from __future__ import annotations

import numpy as np
import pytest

from graphneurons.axes import planes
from graphneurons.axes.layouts import LAYOUTS, PAYLOADS
from graphneurons.axes.planes import NOBODY, Plane
from graphneurons.axes.rules.aten import ATEN
from tests.rules.case import Array, Given
from tests.torch.calling import Call, Eager
from tests.torch.moving import MOVING

CASES = {case.name: case for case in MOVING}


def carried(case: Call) -> list[int]:
    """The operands whose elements are moved."""
    chosen = PAYLOADS.get(case.op, (0,))
    count = len(case.operands)
    return list(range(count)) if chosen is None else [index % count for index in chosen]


def moved(case: Call, given: dict[int, Plane]) -> tuple[list[Array], list[Array]]:
    """What PyTorch makes of the numbers ``given``, and what the package makes of the planes."""
    arrays: list[Array | None] = []
    for index, array in enumerate(case.arrays()):
        plane = given.get(index)
        arrays.append(array if plane is None or array is None else plane.full().astype(np.float64))
    wanted = [result.astype(np.int64) for result in Eager(case).run(arrays)]
    riders = [given.get(index) for index in range(len(arrays))]
    return wanted, [plane.full() for plane in LAYOUTS[case.op](case.site(), riders, NOBODY)]


def shapes(case: Call) -> dict[int, tuple[int, ...]]:
    return {index: array.shape for index in carried(case) if (array := case.arrays()[index]) is not None}


@pytest.mark.parametrize("name", CASES)
def test_every_element_arrives_where_pytorch_takes_it(name: str) -> None:
    case, start, given = CASES[name], 0, {}
    for index, shape in shapes(case).items():
        size = int(np.prod(shape))
        given[index] = Plane(shape, np.arange(start, start + size, dtype=np.int64).reshape(shape))
        start += size
    wanted, got = moved(case, given)
    assert [result.tolist() for result in got][: len(wanted)] == [result.tolist() for result in wanted]


@pytest.mark.parametrize("name", CASES)
def test_planes_stored_along_one_axis_arrive_as_well(name: str) -> None:
    case = CASES[name]
    sizes = shapes(case)
    for index, shape in sizes.items():
        for axis in range(len(shape)):
            given = {other: planes.constant(found, 100 + other) for other, found in sizes.items()}
            given[index] = planes.along(shape, axis)
            wanted, got = moved(case, given)
            assert [result.tolist() for result in got][: len(wanted)] == [result.tolist() for result in wanted]


def test_every_layout_op_has_a_case() -> None:
    moving = {name for name, rule in ATEN.items() if rule == "layout"}
    picking = {name for name in LAYOUTS if name.islower() and name in ATEN}
    assert moving | picking == {case.op for case in MOVING}


def test_cases_pick_by_known_numbers_only() -> None:
    for case in MOVING:
        for index, operand in enumerate(case.operands):
            assert index in carried(case) or operand is None or isinstance(operand, Given) or case.op.endswith("_as")

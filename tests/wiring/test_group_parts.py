"""What coupled groups are made with: components, runs of coordinates, factors two shapes have in common."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from graphneurons.wiring.closing import components
from graphneurons.wiring.factoring import common_factors, shared_out
from graphneurons.wiring.group_records import Member
from graphneurons.wiring.groups import _runs


@given(st.lists(st.tuples(st.integers(0, 30), st.integers(0, 30)), max_size=60))
def test_components_are_those_of_a_search(edges: list[tuple[int, int]]) -> None:
    neighbours: dict[int, set[int]] = {node: {node} for node in range(31)}
    for a, b in edges:
        neighbours[a].add(b)
        neighbours[b].add(a)
    expected = []
    for node in range(31):
        seen, front = {node}, [node]
        while front:
            new = neighbours[front.pop()] - seen
            seen |= new
            front.extend(new)
        expected.append(min(seen))
    one, other = np.array(edges, dtype=np.int64).reshape(-1, 2).T
    assert components(31, one, other).tolist() == expected


@given(st.data())
@settings(max_examples=200)
def test_runs_write_every_table_of_coordinates(data: st.DataObject) -> None:
    size, count = data.draw(st.integers(1, 6)), data.draw(st.integers(1, 6))
    if data.draw(st.booleans()):
        table = np.array(data.draw(st.permutations(range(size * count)))).reshape(size, count)
    else:
        grid = np.arange(size * count)
        table = grid.reshape(count, size).T if data.draw(st.booleans()) else grid.reshape(size, count)
    runs = _runs(table)
    listed = None if runs is not None else tuple(map(tuple, table.tolist()))
    assert Member("w", "w", 0, (), runs or (), listed).coordinates(size).tolist() == table.tolist()


def testcommon_factors_of_two_shapes() -> None:
    assert common_factors([2, 12], [6, 4]) == [2, 3, 4]
    assert common_factors([6, 4], [2, 12]) == [2, 3, 4]
    assert common_factors([4, 6], [6, 4]) is None
    assert common_factors([4], [3]) is None
    assert shared_out([2, 3, 4], [6, 4]) == [[2, 3], [4]]

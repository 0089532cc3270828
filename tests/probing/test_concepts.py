"""What labels mean, and which are refused; how rows are split and shuffled."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from graphneurons.errors import DataError, GraphNeuronsError, UsageError
from graphneurons.probing.concepts import concept, concepts_of, read_labels, taken_as_numbers
from graphneurons.probing.splitting import groups_of, held_out_in, shuffled


@pytest.mark.parametrize(
    ("labels", "task", "expected", "classes"),
    [
        ([True, False, True], None, "binary", ("False", "True")),
        ([0, 1, 1], None, "binary", ("0", "1")),
        ([0.0, 1.0, 1.0], None, "binary", ("0.0", "1.0")),
        (["cat", "dog", "cat"], None, "binary", ("cat", "dog")),
        ([b"cat", b"dog", b"cat"], None, "binary", ("cat", "dog")),
        (np.array(["cat", "dog", "emu"], dtype=object), None, "classes", ("cat", "dog", "emu")),
        ([3, 1, 2], None, "classes", ("1", "2", "3")),
        (np.arange(21), None, "number", ()),
        (np.arange(21), "classes", "classes", tuple(str(index) for index in range(21))),
        ([0.5, 1.0, 2.0], None, "number", ()),
        ([0.0, 1.0, 2.0], "classes", "classes", ("0.0", "1.0", "2.0")),
        ([0, 1, 1], "number", "number", ()),
        (np.array([[1], [2], [3]]), None, "classes", ("1", "2", "3")),
    ],
)
def test_tasks(labels: npt.ArrayLike, task: str | None, expected: str, classes: tuple[str, ...]) -> None:
    found = concept("c", labels, task)
    assert (found.task, found.classes) == (expected, classes)
    assert found.values.dtype == np.float64
    given = np.asarray(labels).reshape(-1)
    if classes:
        shown = [value.decode() if isinstance(value, bytes) else str(value) for value in given.tolist()]
        assert [classes[int(index)] for index in found.values] == shown
    else:
        assert found.values.tolist() == given.tolist()


@pytest.mark.parametrize(
    ("labels", "task", "message"),
    [
        ([], None, "label 'c' is empty; expected one label per row of the data"),
        ([[0, 1], [1, 0]], None, "label 'c' has shape [2, 2]; expected one label per row of the data: [rows]"),
        (3, None, "label 'c' has shape []; expected one label per row of the data: [rows]"),
        ([1j, 2j], None, "label 'c' is of type complex128; expected text, booleans, integers or real numbers"),
        (
            np.array([1, "a", None], dtype=object), None,
            "label 'c' is of type object; expected text, booleans, integers or real numbers",
        ),
        (
            [0.0, 1.0, np.nan], None,
            "label 'c' is nan in row 2; expected finite numbers: leave rows without label out",
        ),
        ([0.0, np.inf, 1.0], None, "label 'c' is inf in row 1; expected finite numbers: leave rows without label out"),
        ([7, 7, 7], None, "label 'c' is 7 in all 3 rows; expected at least two different"),
        (["a", "b"], "number", "label 'c' is text, which is no number; expected task binary or classes"),
        ([0, 1, 2], "binary", "label 'c' has 3 different values; a binary concept has two"),
        ([0, 1, 2], "colour", "label 'c': no task 'colour'; expected binary, classes, number"),
    ],
)  # fmt: skip
def test_labels_that_are_none(labels: npt.ArrayLike, task: str | None, message: str) -> None:
    with pytest.raises(UsageError) as caught:
        concept("c", labels, task)
    assert str(caught.value) == message


def test_several_concepts_at_once() -> None:
    found = concepts_of({"a": [0, 1, 1], "b": [0.1, 0.2, 0.3]}, {"a": "number"})
    assert [(one.name, one.task) for one in found] == [("a", "number"), ("b", "number")]
    assert [one.name for one in concepts_of([0, 1, 1])] == ["label"]
    with pytest.raises(UsageError, match="no labels given"):
        concepts_of({})
    with pytest.raises(UsageError, match="task given for label 'z', but there are 'a'"):
        concepts_of({"a": [0, 1]}, {"z": "binary"})


def test_integers_taken_as_numbers_are_told() -> None:
    labels = {"many": np.arange(30), "few": np.arange(30) % 4, "real": np.linspace(0, 1, 30)}
    assert taken_as_numbers(labels, concepts_of(labels)) == (
        "label 'many': 30 different integers were taken as numbers; say task classes if they are classes",
    )


def test_labels_are_read_from_a_file(tmp_path: Path) -> None:
    np.savez(tmp_path / "y.npz", loop=np.array([True, False]), kind=np.array(["a", "b"]))
    np.save(tmp_path / "age.npy", np.array([1.0, 2.0]))
    assert {name: values.tolist() for name, values in read_labels(tmp_path / "y.npz").items()} == {
        "loop": [True, False],
        "kind": ["a", "b"],
    }
    assert {name: values.tolist() for name, values in read_labels(tmp_path / "age.npy").items()} == {"age": [1.0, 2.0]}


@pytest.mark.parametrize("kind", ["missing", "text", "pickle", "pickle in npz", "cut", "directory", "empty"])
def test_files_that_hold_no_labels(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "y.npz"
    if kind == "text":
        path.write_text("a,b\n1,2\n")
    if kind == "pickle":
        np.save(path.with_suffix(".npy"), np.array([{}], dtype=object))
        path.with_suffix(".npy").rename(path)
    if kind == "pickle in npz":
        np.savez(path, a=np.array([{}], dtype=object))
    if kind == "cut":
        np.savez(path, a=np.arange(100))
        path.write_bytes(path.read_bytes()[:200])
    if kind == "directory":
        path.mkdir()
    if kind == "empty":
        path.write_bytes(b"")
    with pytest.raises(GraphNeuronsError) as caught:
        read_labels(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert "expected an .npz" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert isinstance(caught.value, UsageError if kind == "missing" else DataError)


GROUPINGS = {
    "rows alone": np.arange(60),
    "one label a group": np.arange(60) // 4,
    "several labels a group": np.arange(60) % 15,
    "groups of all sizes": np.repeat(np.arange(15), [1, 2, 3, 4, 5, 6, 7, 1, 2, 3, 4, 5, 6, 5, 6]),
}


@pytest.mark.parametrize("kind", ["binary", "classes", "number"])
@pytest.mark.parametrize("grouping", list(GROUPINGS))
def test_no_group_is_learned_from_and_held_out(grouping: str, kind: str) -> None:
    groups = groups_of(GROUPINGS[grouping], 60)
    labels = {"binary": np.arange(60) // 4 % 2, "classes": np.arange(60) // 4 % 3, "number": np.arange(60) * 0.5}[kind]
    found = held_out_in(concept("c", labels), groups, 5, 0)
    assert sorted(set(found.tolist())) == [0, 1, 2, 3, 4]
    for group in set(groups.tolist()):
        assert len(set(found[groups == group].tolist())) == 1
    if grouping != "groups of all sizes" and kind == "binary":
        counts = [int((labels[found == fold] == 1).sum()) for fold in range(5)]
        assert max(counts) - min(counts) <= 4, "classes are spread evenly, group by group"
    assert np.array_equal(found, held_out_in(concept("c", labels), groups, 5, 0))


@pytest.mark.parametrize(
    ("labels", "groups", "folds", "message"),
    [
        ([0] * 17 + [1] * 3, None, 5, "label 'c': class '1' is in 3 rows; 5 folds need at least 5 of every class: more "
         "data, or fewer folds"),
        ([0, 1] * 10, [1, 2, 3, 4] * 5, 5, "4 groups cannot be split into 5 folds; expected at least one group a fold"),
        ([0] * 12 + [1] * 8, ["a"] * 4 + ["b"] * 4 + ["c"] * 4 + ["d"] * 4 + ["e"] * 4, 3,
         "label 'c': class '1' is in 2 groups; 3 folds need at least 3 of every class: more data, or fewer folds"),
        ([0, 1] * 10, None, 1, "folds=1: expected at least 2, to hold data out"),
        (np.arange(20) * 0.5, None, 21, "20 rows cannot be split into 21 folds; expected at least one row a fold"),
        ([0, 1] * 10, [1, 2, 3], 5, "groups have shape [3]; the data have 20 rows: expected [20]"),
        ([0, 1] * 10, np.array([None] * 20), 5, "groups are of type object; expected text or numbers"),
    ],
)  # fmt: skip
def test_data_that_cannot_be_split(labels: npt.ArrayLike, groups: npt.ArrayLike, folds: int, message: str) -> None:
    with pytest.raises(UsageError) as caught:
        held_out_in(concept("c", labels), groups_of(groups, 20), folds, 0)
    assert str(caught.value) == message


@pytest.mark.parametrize("grouping", list(GROUPINGS))
def test_shuffles_keep_together_what_belongs_together(grouping: str) -> None:
    groups = groups_of(GROUPINGS[grouping], 60)
    drawn = shuffled(groups, 50, 0)
    assert drawn.shape == (50, 60)
    for source in drawn:
        for group in set(groups.tolist()):
            mine = source[groups == group]
            assert len(set(groups[mine].tolist())) == 1, "a group takes the labels of one group"
            there = int((groups == groups[mine[0]]).sum())
            assert len(set(mine.tolist())) == min(len(mine), there), "each once, or all"
    if grouping != "groups of all sizes":
        assert all(sorted(source.tolist()) == list(range(60)) for source in drawn), "a permutation"
    assert len({tuple(groups[source].tolist()) for source in drawn}) > 45, "between groups"
    if grouping == "several labels a group":
        assert len({tuple(np.sort(source[groups == 0]).tolist()) for source in drawn}) > 5
        within = [source[groups == 0].tolist() for source in drawn]
        assert any(rows != sorted(rows) for rows in within), "and within them"
    assert np.array_equal(drawn, shuffled(groups, 50, 0))
    assert not np.array_equal(drawn, shuffled(groups, 50, 1))

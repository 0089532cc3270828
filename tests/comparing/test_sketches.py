"""Sketches: what they are of one matrix in every layout, how well they tell distances, and what they miss."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from graphneurons.analysis import Axis, Factor, WeightUse
from graphneurons.comparing.fingerprints import Fingerprint, distance, fingerprint, is_same, tolerance
from graphneurons.comparing.matrices import Matrix
from graphneurons.comparing.sketches import (
    PROJECTIONS,
    array_projections,
    estimated,
    projected,
    random_numbers,
    read_rows,
    sketch_of,
)
from graphneurons.graph import InMemory, ModelGraph, ModelInfo, Op, WeightRef
from graphneurons.health.fetching import Files
from graphneurons.health.numbering import digits_of
from graphneurons.health.weights import Weight, unpacked

Array = npt.NDArray[Any]
SIZES = {"g": 3, "o": 4, "i": 5, "k0": 2, "k1": 3}
ROLES = {"g": "shared", "o": "neuron", "i": "synapse", "k0": "synapse", "k1": "synapse"}
LAYOUTS = ("g o|i|k0|k1", "g i|o|k0|k1", "i|g o|k0|k1", "k0|k1|i|g o", "g|o|k0|k1|i", "k0|g|i|k1|o", "g|i|o|k1|k0")
CANONICAL = ("g", "o", "i", "k0", "k1")


def stored(values: Array, layout: str, files: Files) -> Weight:
    """``values``, in axes of `CANONICAL`, stored in another layout."""
    axes = [axis.split() for axis in layout.split("|")]
    order = [name for axis in axes for name in axis]
    array = values.transpose([CANONICAL.index(name) for name in order])
    shape = tuple(int(np.prod([SIZES[name] for name in axis])) for axis in axes)
    array = np.ascontiguousarray(array).reshape(shape)
    told = tuple(
        Axis(
            int(np.prod([SIZES[name] for name in axis])),
            "mixed",
            tuple(Factor(name, SIZES[name], ROLES[name]) for name in axis),  # type: ignore[arg-type]
        )
        for axis in axes
    )
    use = WeightUse(WeightRef("w", str(array.dtype), shape, InMemory(lambda: array)), 1, told)
    graph = ModelGraph(ModelInfo("m"), (), (), (), {})
    return unpacked(use, Op("op", "Conv", "", (), ()), graph, digits_of(use, 1), 0, files)


def values(seed: int = 0) -> Array:
    return np.random.default_rng(seed).normal(size=[SIZES[name] for name in CANONICAL]).astype(np.float32)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_layout_is_one_matrix(layout: str) -> None:
    given = values()
    rows = given.reshape(12, -1)
    with Files() as files:
        weight = stored(given, layout, files)
        # Kernel taps are numbered in stored order.
        if layout.endswith("k1|k0"):
            rows = given.swapaxes(3, 4).reshape(12, -1)
        made, broken = projected(weight)
        expected, _ = array_projections(rows)
        np.testing.assert_allclose(made, expected, rtol=1e-5, atol=1e-5)
        assert not broken.any()
        for start, stop in ((0, 12), (3, 4), (2, 11)):
            np.testing.assert_array_equal(read_rows(weight, start, stop), rows[start:stop])
            for low, high in ((0, 1), (3, 17), (29, 30)):
                np.testing.assert_array_equal(read_rows(weight, start, stop, (low, high)), rows[start:stop, low:high])


def test_a_sketch_is_linear_and_its_square_is_the_norm() -> None:
    random = np.random.default_rng(0)
    norms = []
    for _ in range(200):
        a, b = random.normal(size=(2, 30, 20))
        whole = sketch_of(array_projections(a + b)[0])
        np.testing.assert_allclose(whole, sketch_of(array_projections(a)[0]) + sketch_of(array_projections(b)[0]))
        norms.append(estimated(whole) / float(np.linalg.norm(a + b)))
    # The standard deviation of one estimate is about a fifth.
    assert abs(float(np.mean(np.square(norms))) - 1) < 0.06
    assert float(np.std(norms)) < 0.25
    assert min(norms) > 0.4


def test_random_numbers_are_what_they_are_said_to_be() -> None:
    for second in (False, True):
        found = random_numbers(np.arange(100_000), second)
        assert found.shape == (100_000, PROJECTIONS)
        assert abs(found.mean()) < 2e-3
        assert abs(float((found.astype(np.float64) ** 2).mean()) - 1) < 2e-3
        assert np.abs(found).min() > 0.48
        correlations = np.corrcoef(found.T) - np.eye(PROJECTIONS)
        assert np.abs(correlations).max() < 0.02
    assert not np.array_equal(random_numbers(np.arange(9), False), random_numbers(np.arange(9), True))


def test_a_lock_written_today_can_be_read_tomorrow() -> None:
    """The numbers that locks hold depend on these."""
    expected = [[0.78658259, 1.27138448], [1.29633629, -0.51890677], [-1.07043076, -0.66594148]]
    np.testing.assert_allclose(random_numbers(np.array([0, 1, 12345]), False)[:, :2], expected, rtol=1e-6)


def of(rows: Array, dtype: str = "float32") -> Fingerprint:
    matrix = Matrix("layer", "weight", *rows.shape, dtype, "w")
    return fingerprint(matrix, *array_projections(rows))


def change(rows: Array, what: str) -> Array:
    made = rows.copy()
    if what == "sign of a neuron":
        made[3] *= -1
    elif what == "sign of a weight":
        made[3, 7] *= -1
    elif what == "neurons exchanged":
        made[[3, 9]] = made[[9, 3]]
    elif what == "synapses exchanged":
        made[:, [3, 9]] = made[:, [9, 3]]
    elif what == "synapses of one neuron permuted":
        made[3] = made[3][::-1]
    elif what == "transposed":
        made = np.ascontiguousarray(made.T)
    elif what == "one neuron, one percent":
        made[3] *= np.float32(1.01)
    elif what == "all, a ten-thousandth":
        made *= np.float32(1.0001)
    elif what == "noise":
        made += np.random.default_rng(1).normal(size=made.shape).astype(np.float32) * np.float32(1e-3)
    elif what == "a zero":
        made[5, 5] = 0
    return made


CHANGES = (
    "sign of a neuron", "sign of a weight", "neurons exchanged", "synapses exchanged",
    "synapses of one neuron permuted", "transposed", "one neuron, one percent", "all, a ten-thousandth", "noise",
    "a zero",
)  # fmt: skip


@pytest.mark.parametrize("what", CHANGES)
@pytest.mark.parametrize("size", [16, 300])
def test_changes_are_measured(what: str, size: int) -> None:
    rows = np.random.default_rng(size).normal(size=(size, size)).astype(np.float32)
    made = change(rows, what)
    true = float(np.linalg.norm(made - rows) / np.linalg.norm(rows))
    found = distance(of(rows), of(made))
    assert not is_same(of(rows), of(made))
    assert 0.4 * true - 2e-6 < found < 2.5 * true + 2e-6


@pytest.mark.parametrize(("dtype", "digits"), [("float16", 10), ("bfloat16", 7), ("float32", 23)])
def test_rounding_to_another_type_is_no_change(dtype: str, digits: int) -> None:
    rows = np.random.default_rng(0).normal(size=(64, 300)).astype(np.float32)
    bits = rows.view(np.uint32)
    drop = np.uint32(23 - digits)
    if digits < 23:
        bits = ((bits + (np.uint32(1) << (drop - np.uint32(1)))) >> drop) << drop
    rounded = bits.view(np.float32)
    assert is_same(of(rows), of(rounded, dtype))
    assert not is_same(of(rows), of(change(rounded, "sign of a neuron"), dtype))


def smallest_change_found(dtype: str) -> float:
    """Relative change (of noise) from which on all of 20 matrices are told apart."""
    random = np.random.default_rng(5)
    rows = random.normal(size=(20, 64, 128)).astype(np.float32)
    noise = random.normal(size=(20, 64, 128)).astype(np.float32)
    for change in 10.0 ** np.arange(-6, 0, 0.25):
        made = [
            (of(a), of(a + b * np.float32(change * np.linalg.norm(a) / np.linalg.norm(b)), dtype))
            for a, b in zip(rows, noise, strict=True)
        ]
        if not any(is_same(a, b) for a, b in made):
            return float(change)
    return 1.0


@pytest.mark.parametrize(("dtype", "least"), [("float32", 2e-5), ("float16", 2e-3), ("bfloat16", 2e-2)])
def test_the_sensitivity_is_as_documented(dtype: str, least: float) -> None:
    assert smallest_change_found(dtype) <= least


def test_parts_add_up_to_the_whole() -> None:
    rows = np.random.default_rng(0).normal(size=(12, 7))
    parts = [array_projections(rows[start : start + 4])[0] for start in (0, 4, 8)]
    np.testing.assert_allclose(sketch_of(np.concatenate(parts)), sketch_of(array_projections(rows)[0]))


def test_the_sketch_of_the_transposed_is_had_without_transposing() -> None:
    rows = np.random.default_rng(0).normal(size=(9, 7))
    turned = sketch_of(array_projections(rows, True)[0], False)
    np.testing.assert_allclose(turned, sketch_of(array_projections(np.ascontiguousarray(rows.T))[0]))


def test_what_is_not_finite_is_counted_and_left_out() -> None:
    rows = np.random.default_rng(0).normal(size=(9, 7)).astype(np.float32)
    made = rows.copy()
    made[2, 3], made[4, 4] = np.nan, np.inf
    rest = rows.copy()
    rest[2, 3] = rest[4, 4] = 0
    assert of(made).broken == 2
    np.testing.assert_allclose(of(made).sketch, of(rest).sketch, atol=2e-6)
    assert not is_same(of(made), of(rest))
    huge = np.full((3, 3), -3.4e38, np.float32)
    assert of(huge).broken == 0
    assert np.isfinite([of(huge).norm, of(huge).total]).all()


def test_matrices_of_other_shapes_are_apart() -> None:
    rows = np.ones((4, 6), np.float32)
    assert distance(of(rows), of(rows.reshape(6, 4))) == float("inf")
    assert distance(of(rows), of(rows)) == 0
    assert tolerance(of(rows), of(rows)) == 1e-5
    nothing = np.zeros((4, 6), np.float32)
    assert distance(of(nothing), of(nothing)) == 0
    assert distance(of(nothing), of(rows)) > 0.3

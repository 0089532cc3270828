"""Copies and multiples of neurons are found, wherever they lie, and nothing else is."""

from __future__ import annotations

from typing import Literal

import numpy as np
import pytest

from graphneurons.analysis import Factor, WeightUse
from graphneurons.graph import InMemory, WeightRef
from graphneurons.health import Duplicates, duplicates, scan
from tests.health.naive import axes_of, one_layer

Roles = tuple[Literal["neuron", "synapse"], Literal["neuron", "synapse"]]
LAYOUTS: list[Roles] = [("neuron", "synapse"), ("synapse", "neuron")]


def use_of(values: np.ndarray, roles: Roles, name: str = "w") -> WeightUse:
    """``values`` (neurons x synapses), stored in the order of ``roles``."""
    kept = np.ascontiguousarray(values if roles[0] == "neuron" else values.T)
    axes = axes_of(
        *((Factor(f"f{at}", size, role),) for at, (size, role) in enumerate(zip(kept.shape, roles, strict=True)))
    )
    return WeightUse(WeightRef(name, str(values.dtype), kept.shape, InMemory(lambda: kept)), 1, axes)


def found_in(values: np.ndarray, roles: Roles) -> tuple[Duplicates, ...]:
    return scan(one_layer(use_of(values, roles))).layers[0].duplicates


@pytest.mark.parametrize("roles", LAYOUTS)
@pytest.mark.parametrize("shape", [(200, 64), (1000, 700), (513, 31)])
@pytest.mark.parametrize("dtype", ["float32", "float64", "float16"])
def test_copies_and_multiples(roles: Roles, shape: tuple[int, int], dtype: str) -> None:
    values = np.random.default_rng(1).normal(size=shape).astype(dtype)
    values[150] = values[20]
    values[199] = values[20]
    values[77] = -values[5]
    values[31] = values[30] * values.dtype.type(0.5)
    if dtype != "float16":
        values[60] = values[59] * values.dtype.type(0.37)
    groups = found_in(values, roles)
    expected = [[5, 77], [20, 150, 199], [30, 31], *([[59, 60]] if dtype != "float16" else [])]
    assert [group.neurons.tolist() for group in groups] == expected
    assert [group.copies for group in groups] == [False, True, False, False][: len(expected)]
    assert groups[0].factors.tolist() == [1.0, -1.0]
    assert groups[2].factors.tolist() == [1.0, 0.5]
    if dtype != "float16":
        assert groups[3].factors[1] == pytest.approx(0.37, rel=1e-6)


@pytest.mark.parametrize("roles", LAYOUTS)
def test_neurons_that_differ_in_one_synapse_are_no_copies(roles: Roles) -> None:
    values = np.random.default_rng(2).normal(size=(100, 300)).astype(np.float32)
    values[50] = values[49]
    values[50, 299] = np.nextafter(values[50, 299], np.float32(9))
    assert len(found_in(values, roles)) in (0, 1)
    values[50, 299] *= np.float32(1.0001)
    assert found_in(values, roles) == ()
    values[50] = values[49]
    values[50, [3, 4]] = values[50, [4, 3]]
    assert found_in(values, roles) == ()


@pytest.mark.parametrize("roles", LAYOUTS)
def test_dead_and_broken_neurons_are_no_copies(roles: Roles) -> None:
    values = np.random.default_rng(3).normal(size=(40, 50)).astype(np.float32)
    values[[3, 9]] = 0
    values[[4, 5]] = values[4]
    values[[4, 5], 7] = np.nan
    assert found_in(values, roles) == ()


@pytest.mark.parametrize("roles", LAYOUTS)
def test_healthy_layers_of_every_size_have_none(roles: Roles) -> None:
    random = np.random.default_rng(4)
    for shape in ((3000, 9), (5000, 64), (64, 5000), (200, 1), (2, 2)):
        assert found_in(random.normal(size=shape).astype(np.float32), roles) == ()


@pytest.mark.parametrize("dtype", ["float32", "float64", "float16", "int8"])
@pytest.mark.parametrize("roles", LAYOUTS)
def test_neurons_that_agree_in_every_sum_are_told_apart(roles: Roles, dtype: str) -> None:
    random = np.random.default_rng(9)
    one = np.arange(-20, 44)
    values = np.stack([random.permutation(one) for _ in range(700)]).astype(dtype)
    values[600], values[333] = values[12], -values[40]
    if dtype != "int8":
        values[5, 3] = np.nan
    health = scan(one_layer(use_of(values, roles)))
    assert [group.neurons.tolist() for group in health.layers[0].duplicates] == [[12, 600], [40, 333]]
    assert health.duplicates_limited == ()


@pytest.mark.parametrize("scale", [1e-38, 1e-42, 1e30])
@pytest.mark.parametrize("roles", LAYOUTS)
def test_numbers_whose_squares_float32_does_not_hold(roles: Roles, scale: float) -> None:
    random = np.random.default_rng(10)
    one = np.linspace(-2000, 9000, 64) * scale
    values = np.stack([random.permutation(one) for _ in range(50)]).astype(np.float32)
    values[[30, 31]] = values[7]
    health = scan(one_layer(use_of(values, roles)))
    assert [group.neurons.tolist() for group in health.layers[0].duplicates] == [[7, 30, 31]]
    assert health.duplicates_limited == ()


def test_single_synapses_are_no_multiples_of_each_other_but_may_be_copies() -> None:
    values = np.array([[1.0], [2.0], [1.0], [-3.0]], np.float32)
    groups = found_in(values, LAYOUTS[0])
    assert [(g.neurons.tolist(), g.copies) for g in groups] == [([0, 2], True)]


@pytest.mark.parametrize("roles", LAYOUTS)
def test_a_layer_of_one_neuron_over_and_over(roles: Roles, monkeypatch: pytest.MonkeyPatch) -> None:
    values = np.tile(np.random.default_rng(5).normal(size=60).astype(np.float32), (300, 1))
    monkeypatch.setattr(duplicates, "_AT_ONCE", 60 * 100)
    groups = found_in(values, roles)
    assert [group.neurons.tolist() for group in groups] == [list(range(300))]
    assert groups[0].copies


def test_too_many_to_compare_are_said_to_be_so(monkeypatch: pytest.MonkeyPatch) -> None:
    values = np.tile(np.random.default_rng(6).normal(size=60).astype(np.float32), (300, 1))
    monkeypatch.setattr(duplicates, "_AT_ONCE", 60 * 10)
    health = scan(one_layer(use_of(values, LAYOUTS[1])))
    assert health.duplicates_limited == ("layer",)


def test_weights_that_hold_some_neurons_each_are_searched_one_by_one() -> None:
    random = np.random.default_rng(8)
    first, second = random.normal(size=(20, 30)).astype(np.float32), random.normal(size=(12, 30)).astype(np.float32)
    second[7] = second[3]
    health = scan(one_layer(use_of(first, LAYOUTS[0]), 1, (use_of(second, LAYOUTS[0], "other"),)))
    (group,) = health.layers[0].duplicates
    assert (group.neurons.tolist(), group.position) == ([3, 7], 1)
    assert health.layers[0].neurons is None


def test_all_weights_of_a_layer_must_agree() -> None:
    random = np.random.default_rng(7)
    first, second = random.normal(size=(20, 30)).astype(np.float32), random.normal(size=(20, 10)).astype(np.float32)
    first[11], first[13] = first[10], first[12]
    second[11] = second[10]
    health = scan(one_layer(use_of(first, LAYOUTS[0]), 1, (use_of(second, LAYOUTS[1], "r"),)))
    (group,) = health.layers[0].duplicates
    assert (group.neurons.tolist(), group.position) == ([10, 11], None)
    assert health.layers[0].neurons is not None
    assert health.layers[0].neurons.elements == 40
    whole = np.concatenate([first, second], axis=1)
    np.testing.assert_allclose(health.layers[0].neurons.l2, np.linalg.norm(whole, axis=1), rtol=1e-5)
    np.testing.assert_allclose(health.layers[0].neurons.mean, whole.mean(axis=1), rtol=1e-3, atol=1e-6)
    np.testing.assert_array_equal(health.layers[0].neurons.min, whole.min(axis=1))

"""Every element type and every layout against the naive way, with all that is odd in it."""

from __future__ import annotations

import itertools
import math
from pathlib import Path
from typing import Literal

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from graphneurons.analysis import Factor, WeightUse
from graphneurons.graph import Filled, Inline, InMemory, Sparse, WeightRef
from graphneurons.health import kernels, scan, scanning, summing
from graphneurons.health.decoding import smallest_normal
from tests.health.naive import BITS, TYPES, agrees, axes_of, in_file, inline, one_layer, values_of

FLOATS = ["float64", "float32", "float16", "bfloat16"]
NARROW = [name for name in TYPES if name.startswith("float") and name not in FLOATS]
INTEGERS = [name for name in TYPES if name.startswith(("int", "uint"))]


def codes_for(dtype: str, count: int, seed: int, odd: bool) -> np.ndarray:
    """Random codes: numbers of ordinary size, or any bits at all, NaN, infinities, subnormals and both zeros."""
    random = np.random.default_rng(seed)
    kind = np.dtype(TYPES[dtype])
    bits = BITS.get(dtype, kind.itemsize * 8)
    if dtype in FLOATS and not odd:
        return random.normal(size=count).astype(kind).view(f"u{kind.itemsize}")
    if dtype in FLOATS:
        special = np.array([0.0, -0.0, np.nan, np.inf, -np.inf, 1e-40, -1e-310, 65504, 1e30, -1e-25, 3e-5, 1.0])
        with np.errstate(all="ignore"):
            mixed = np.where(random.random(count) < 0.3, random.choice(special, count), random.normal(size=count))
            return mixed.astype(kind).view(f"u{kind.itemsize}")
    return random.integers(0, 1 << bits, count, dtype=np.uint64)


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("odd", [False, True])
@pytest.mark.parametrize("shape", [(7, 33), (1, 1), (40, 1), (3, 257)])
def test_every_type_is_summed_as_the_naive_way_does(
    dtype: str, odd: bool, shape: tuple[int, int], tmp_path: Path
) -> None:
    codes = codes_for(dtype, math.prod(shape), len(dtype), odd)
    values = values_of(codes, dtype).reshape(shape)
    for (first, second), skip in itertools.product([("neuron", "synapse"), ("synapse", "neuron")], (0, 1, 4096)):
        use = WeightUse(
            in_file(str(tmp_path / "w.bin"), codes, dtype, shape, skip),
            1,
            axes_of((Factor("a", shape[0], first),), (Factor("b", shape[1], second),)),  # type: ignore[arg-type]
        )
        agrees(scan(one_layer(use)).weights[0], use, values, smallest_normal(dtype))


Kind = Literal["neuron", "synapse", "shared"]


@st.composite
def layouts(draw: st.DrawFn) -> tuple[tuple[tuple[Factor, ...], ...], int]:
    """Stored axes of one or two factors each, of any role, and how many groups the shared ones make."""
    roles = draw(st.lists(st.sampled_from(["neuron", "synapse", "shared", "tap"]), min_size=1, max_size=5))
    factors = [
        Factor(f"k{at}" if role == "tap" else f"f{at}", draw(st.integers(1, 5)), "synapse" if role == "tap" else role)
        for at, role in enumerate(roles)
    ]
    axes: list[tuple[Factor, ...]] = []
    while factors:
        take = draw(st.integers(1, 2))
        axes.append(tuple(factors[:take]))
        factors = factors[take:]
    groups = math.prod(f.size for axis in axes for f in axis if f.role == "shared") if draw(st.booleans()) else 1
    return tuple(axes), groups


Layout = tuple[tuple[tuple[Factor, ...], ...], int]


@given(
    layouts(),
    st.sampled_from([*FLOATS, "float8e5m2", "int4"]),
    st.booleans(),
    st.integers(1, 40),
    st.integers(0, 9),
)
@settings(max_examples=300, deadline=None)
def test_any_layout_in_any_tiles(layout: Layout, dtype: str, odd: bool, tile: int, seed: int) -> None:
    axes, groups = layout
    shape = tuple(math.prod(f.size for f in axis) for axis in axes)
    codes = codes_for(dtype, math.prod(shape), seed, odd)
    use = WeightUse(inline(codes, dtype, shape), 1, axes_of(*axes))
    values = values_of(codes, dtype).reshape(shape)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(summing, "TILE", tile)
        agrees(scan(one_layer(use, groups)).weights[0], use, values, smallest_normal(dtype), groups)


@given(layouts(), st.data(), st.sampled_from(["float32", "float16", "int4", "float6e2m3"]))
@settings(max_examples=150, deadline=None)
def test_any_part_of_a_stored_weight(layout: Layout, data: st.DataObject, dtype: str) -> None:
    axes, _ = layout
    part = []
    for axis in axes:
        size = math.prod(f.size for f in axis)
        start = data.draw(st.integers(0, 5))
        part.append((start, start + size))
    shape = tuple(stop + data.draw(st.integers(0, 4)) for _, stop in part)
    codes = codes_for(dtype, math.prod(shape), 1, False)
    use = WeightUse(inline(codes, dtype, shape), 1, axes_of(*axes), tuple(part))
    tiny = smallest_normal(dtype)
    agrees(scan(one_layer(use)).weights[0], use, values_of(codes, dtype).reshape(shape), tiny)


@pytest.mark.parametrize("roles", [("neuron", "synapse"), ("synapse", "neuron")])
def test_large_weights_in_pieces_on_two_threads(roles: tuple[Kind, Kind], monkeypatch: pytest.MonkeyPatch) -> None:
    random = np.random.default_rng(5)
    values = random.normal(size=(700, 1100)).astype(np.float32)
    values[3] = 0
    values[:, 5] = 0
    values[600, 7] = np.nan
    use = WeightUse(
        WeightRef("w", "float32", values.shape, InMemory(lambda: values)),
        1,
        axes_of((Factor("a", 700, roles[0]),), (Factor("b", 1100, roles[1]),)),
    )
    monkeypatch.setattr("graphneurons.health.weights._CHUNK", 1 << 18)
    found = scan(one_layer(use)).weights[0]
    agrees(found, use, values, smallest_normal("float32"))
    for threads in (1, 3):
        monkeypatch.setattr(scanning, "THREADS", threads)
        again = scan(one_layer(use)).weights[0]
        for name in ("mean", "l2", "min", "max"):
            np.testing.assert_array_equal(getattr(again.neurons, name), getattr(found.neurons, name))
        np.testing.assert_array_equal(again.channels.l2, found.channels.l2)


@pytest.mark.parametrize("scale", [1e-30, 1e-21, 1e-14, 1e15, 1e25, 3e38])
def test_sizes_whose_squares_do_not_fit_float32(scale: float) -> None:
    values = (np.random.default_rng(0).uniform(-1, 1, size=(9, 50)) * scale).astype(np.float32)
    values[4] *= np.float32(1e-9) if scale < 1 else 1
    values[:, 2] = 0
    use = WeightUse(
        inline(values.view(np.uint32), "float32", values.shape),
        1,
        axes_of((Factor("o", 9, "neuron"),), (Factor("i", 50, "synapse"),)),
    )
    agrees(scan(one_layer(use)).weights[0], use, values, smallest_normal("float32"))


@pytest.mark.parametrize("shape", [(0, 4), (4, 0), (0, 0)])
def test_weights_without_elements(shape: tuple[int, int]) -> None:
    use = WeightUse(
        WeightRef("w", "float32", shape, Inline(b"")),
        1,
        axes_of((Factor("o", shape[0], "neuron"),), (Factor("i", shape[1], "synapse"),)),
    )
    found = scan(one_layer(use)).weights[0]
    assert (found.neurons.size, found.neurons.elements, found.channels.size) == (shape[0], shape[1], shape[1])
    assert not found.neurons.dead.any()
    assert np.isnan(found.neurons.mean).all()


@pytest.mark.parametrize("value", [0.0, -2.5, 1e-40, float("nan"), float("inf"), -float("inf")])
def test_filled_weights_in_closed_form(value: float) -> None:
    axes = axes_of((Factor("o", 5, "neuron"),), (Factor("i", 7, "synapse"), Factor("k0", 3, "synapse")))
    use = WeightUse(WeightRef("w", "float32", (5, 21), Filled(value)), 1, axes)
    agrees(scan(one_layer(use)).weights[0], use, np.full((5, 21), value, np.float32), smallest_normal("float32"))


@pytest.mark.parametrize("coordinates", [False, True])
def test_sparse_weights_are_not_made_dense(coordinates: bool) -> None:
    random = np.random.default_rng(2)
    dense = random.normal(size=(11, 13)).astype(np.float32) * (random.random((11, 13)) < 0.2)
    dense[3, 4], dense[5, 6], dense[7, 8] = np.nan, np.inf, 1e-41
    flat = np.flatnonzero(dense)
    indices = np.stack(np.unravel_index(flat, dense.shape), axis=1) if coordinates else flat
    values = inline(dense.reshape(-1)[flat].view(np.uint32), "float32", (flat.size,))
    storage = Sparse(values, inline(indices.astype(np.uint64), "int64", indices.shape, "where"))
    axes = axes_of((Factor("i", 11, "synapse"),), (Factor("o", 13, "neuron"),))
    use = WeightUse(WeightRef("w", "float32", dense.shape, storage), 1, axes)
    agrees(scan(one_layer(use)).weights[0], use, dense, smallest_normal("float32"))


def test_a_huge_sparse_or_filled_weight_costs_what_it_stores() -> None:
    shape = (1 << 20, 1 << 20)
    axes = axes_of((Factor("o", shape[0], "neuron"),), (Factor("i", shape[1], "synapse"),))
    values, where = inline(np.array([1.5], np.float32).view(np.uint32), "float32", (1,)), np.array([[7, 9]], np.uint64)
    sparse = WeightRef("w", "float32", shape, Sparse(values, inline(where, "int64", (1, 2), "where")))
    found = scan(one_layer(WeightUse(sparse, 1, axes))).weights[0].neurons
    assert (found.positive[7], found.zeros[7], found.zeros[8]) == (1, shape[1] - 1, shape[1])
    filled = WeightRef("w", "float32", shape, Filled(2.0))
    assert (scan(one_layer(WeightUse(filled, 1, axes))).weights[0].neurons.l2 == 2048).all()


@pytest.mark.parametrize("roles", [("neuron", "synapse"), ("synapse", "neuron")])
def test_odd_tiles_among_plain_ones(roles: tuple[Kind, Kind], monkeypatch: pytest.MonkeyPatch) -> None:
    """Each of these rows lies in a tile of its own, which is summed another way."""
    values = np.random.default_rng(6).normal(size=(40, 300)).astype(np.float32)
    values[2, :7] = np.nan
    values[6, [1, 2]] = np.inf, -np.inf
    values[10] *= np.float32(1e-39)
    values[14] *= np.float32(1e25)
    values[18, ::3] = 0
    values[22] *= np.float32(1e-22)
    values[26] = np.nan
    values[30, 5:9] = 1e30, np.nan, 0, 1e-42
    use = WeightUse(
        inline(values.view(np.uint32), "float32", values.shape),
        1,
        axes_of((Factor("a", 40, roles[0]),), (Factor("b", 300, roles[1]),)),
    )
    monkeypatch.setattr(summing, "TILE", 4 * 300)
    agrees(scan(one_layer(use)).weights[0], use, values, smallest_normal("float32"))


@pytest.mark.parametrize("lower", [1, 23, 24, 64, 100, 2051])
def test_rows_are_counted_alike_with_and_without_bit_counts(lower: int, monkeypatch: pytest.MonkeyPatch) -> None:
    mask = np.random.default_rng(lower).random((2, 9, lower)) < 0.7
    for counts_bits in (kernels._COUNTS_BITS, False):
        monkeypatch.setattr(kernels, "_COUNTS_BITS", counts_bits)
        np.testing.assert_array_equal(kernels._counts(mask, "upper"), mask.sum(axis=2))
        np.testing.assert_array_equal(kernels._counts(mask, "lower"), mask.sum(axis=1))

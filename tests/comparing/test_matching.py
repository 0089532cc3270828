"""Pairs of layers: what is the same, what is said of what is not, and that weights are never held as a whole."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import pytest
from onnx import TensorProto, helper
from onnx.external_data_helper import set_external_data

import graphneurons
from graphneurons.comparing import differences
from graphneurons.comparing.fingerprints import layer_items
from graphneurons.comparing.matrices import Reader
from graphneurons.matching import Match, match
from tests.checks.test_drift_elements import attention, model, weights

Array = npt.NDArray[Any]


def saved(made: onnx.ModelProto, path: Path) -> str:
    onnx.save(made, path)
    return str(path)


def found(before: onnx.ModelProto, after: onnx.ModelProto, folder: Path) -> Match:
    return match(saved(before, folder / "before.onnx"), saved(after, folder / "after.onnx"))


def _columns(rows: Array) -> None:
    rows[:, [2, 7]] = rows[:, [7, 2]]


def _exchange(rows: Array) -> None:
    rows[[2, 7]] = rows[[7, 2]]


def _every(rows: Array) -> None:
    rows[:] = rows[::-1].copy()


def _scale(rows: Array) -> None:
    rows *= np.linspace(0.5, 2, len(rows), dtype=np.float32)[:, None]


def _flip(rows: Array) -> None:
    rows[3] *= -1


def _turn(rows: Array) -> None:
    rows[:] = rows.T.copy()


def _other(rows: Array) -> None:
    rows[:] = np.random.default_rng(9).normal(size=rows.shape)


def _round(rows: Array) -> None:
    rows *= np.float32(1 + 1e-6)


EDITS: dict[str, tuple[Callable[[Array], None], tuple[str, ...], str]] = {
    "nothing": (lambda rows: None, (), "content"),
    "rounding": (_round, (), "content"),
    "two neurons exchanged": (_exchange, ("permuted",), "content"),
    "every neuron elsewhere": (_every, ("permuted",), "content"),
    "two synapses exchanged": (_columns, ("permuted",), "content"),
    "every neuron multiplied": (_scale, ("scaled",), "content"),
    "a sign": (_flip, ("changed",), "content"),
    "turned": (_turn, ("changed",), "content"),
    "others": (_other, ("changed",), "position"),
}


@pytest.mark.parametrize("name", EDITS)
@pytest.mark.parametrize("transposed", [False, True])
def test_what_was_done_to_one_layer_is_said_of_it_and_of_no_other(
    name: str, transposed: bool, tmp_path: Path
) -> None:
    edit, expected, by = EDITS[name]
    given = weights()
    changed = given | {"o": given["o"].copy()}
    edit(changed["o"])
    seen = found(attention(given), attention(changed, transposed=transposed), tmp_path)
    assert seen.complete
    for pair in seen.pairs:
        assert pair.a == pair.b
        told = tuple(change for change in pair.changes if change not in ("transposed", "renamed"))
        assert (told, pair.by) == ((expected, by) if pair.a == "o" else ((), "content")), pair
        assert ("transposed" in pair.changes) == transposed


def test_a_layer_is_known_by_its_neurons_in_any_order_under_any_name(tmp_path: Path) -> None:
    """Two layers of one size exchange their names, and their neurons are shuffled."""
    random = np.random.default_rng(0)
    first, second = random.normal(size=(2, 8, 8)).astype(np.float32)
    seen = found(chain(first, second), chain(second[::-1], first[random.permutation(8)]), tmp_path)
    assert [(pair.a, pair.b, pair.by, pair.changes) for pair in seen.pairs] == [
        ("l0", "l1", "content", ("renamed", "permuted")), ("l1", "l0", "content", ("renamed", "permuted")),
    ]  # fmt: skip


def chain(*given: Array, dtype: Any = np.float32) -> onnx.ModelProto:
    """Linears ``l0``, ``l1``, ... one after the other, all reading the first's input where their sizes do not fit."""
    nodes, stored, value, width = [], {}, "x", given[0].shape[1]
    for at, rows in enumerate(given):
        read = value if rows.shape[1] == width else "x"
        nodes.append(helper.make_node("Gemm", [read, f"l{at}.weight"], [f"y{at}"], f"/l{at}/Gemm", transB=1))
        stored[f"l{at}.weight"] = np.ascontiguousarray(rows).astype(dtype)
        value, width = f"y{at}", len(rows)
    made = model(nodes, stored, {"x": [1, given[0].shape[1]]}, [f"y{at}" for at in range(len(given))])
    if dtype != np.float32:
        made.graph.input[0].type.tensor_type.elem_type = helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
    return made


def test_a_part_of_a_packed_layer_that_changed_is_told(tmp_path: Path) -> None:
    given = weights()
    changed = given | {"k": given["k"].copy()}
    _flip(changed["k"])
    seen = found(attention(given, packed=True), attention(changed), tmp_path)
    told = {pair.b: pair.changes for pair in seen.pairs if "split" in pair.changes}
    assert {name: "changed" in changes for name, changes in told.items()} == {"q": False, "k": True, "v": False}
    assert seen.complete


def test_parts_that_are_interleaved_and_layers_that_are_pruned_are_found(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    whole, next_ = random.normal(size=(12, 6)).astype(np.float32), random.normal(size=(5, 6)).astype(np.float32)
    apart = found(chain(whole, next_), chain(whole[::3], whole[1::3], whole[2::3], next_), tmp_path)
    assert apart.complete
    assert [(pair.a, pair.b, pair.changes[-1]) for pair in apart.pairs if pair.a == "l0"] == [
        ("l0", "l0", "split"), ("l0", "l1", "split"), ("l0", "l2", "split"),
    ]  # fmt: skip
    pruned = found(chain(whole[[1, 2, 11]], next_), chain(whole, next_), tmp_path)
    assert [(pair.a, pair.b, pair.changes) for pair in pruned.pairs] == [("l0", "l0", ("merged",)), ("l1", "l1", ())]
    rounded = found(chain(whole[[1, 2, 11]], dtype=np.float16), chain(whole), tmp_path)
    assert [pair.changes for pair in rounded.pairs] == [("retyped", "merged")]
    chance = found(chain(whole[:, :1]), chain(whole[[1, 2], :1], next_[:, :1]), tmp_path)
    assert (chance.only_a, chance.only_b) == (("l0",), ("l0", "l1"))
    other = found(chain(whole[[1, 2, 11]] * 2, next_), chain(whole, next_), tmp_path)
    assert (other.only_a, other.only_b) == (("l0",), ("l0",))


def test_another_type_is_no_other_synapse(tmp_path: Path) -> None:
    given = list(np.random.default_rng(0).normal(size=(2, 8, 8)))
    seen = found(chain(*given), chain(*given, dtype=np.float16), tmp_path)
    assert [(pair.by, pair.changes) for pair in seen.pairs] == [("content", ("retyped",))] * 2


def external(path: Path, rows: int, columns: int, *, transposed: bool) -> str:
    """One linear whose float32 weight lies in a file beside the model; the bytes are not written."""
    shape = [columns, rows] if transposed else [rows, columns]
    tensor = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=shape, raw_data=b"")
    set_external_data(tensor, f"{path.stem}.bin", 0, 4 * rows * columns)
    tensor.ClearField("raw_data")
    node = helper.make_node("Gemm", ["x", "w"], ["y"], "/l/Gemm", transB=int(not transposed))
    graph = helper.make_graph(
        [node], "graph", [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, columns])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, rows])], [tensor],
    )  # fmt: skip
    path.write_bytes(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)]).SerializeToString())
    return str(path)


@pytest.mark.parametrize("left", [b"", b"\0" * 100])
def test_weights_that_cannot_be_read_are_paired_by_place(left: bytes, tmp_path: Path) -> None:
    path = external(tmp_path / "m.onnx", 8, 6, transposed=False)
    (tmp_path / "m.bin").write_bytes(b"\0" * 192)
    graph = graphneurons.load(path)
    (tmp_path / "m.bin").write_bytes(left)
    (tmp_path / "m.bin").unlink() if not left else None
    there = saved(chain(np.ones((8, 6), np.float32)), tmp_path / "there.onnx")
    assert [(pair.by, pair.changes) for pair in match(graph, there).pairs] == [("position", ("renamed",))]
    if not left:
        assert [(pair.by, pair.changes) for pair in match(there, path).pairs] == [("position", ("renamed",))]


def test_large_weights_are_compared_in_pieces(tmp_path: Path) -> None:
    rows, columns = 4096, 6144
    values = np.random.default_rng(0).standard_normal((rows, columns), np.float32)
    before, after = (external(tmp_path / f"{turn}.onnx", rows, columns, transposed=turn) for turn in (False, True))
    values.tofile(tmp_path / "False.bin")
    values[100] *= -1
    np.ascontiguousarray(values.T).tofile(tmp_path / "True.bin")
    size = values.nbytes
    del values
    tracemalloc.start()
    try:
        (pair,) = match(before, after).pairs
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert (pair.by, pair.changes) == ("content", ("transposed", "changed"))
    assert peak < size * 0.7


@pytest.mark.parametrize("turned", [(False, False), (False, True), (True, False), (True, True)])
@pytest.mark.parametrize(("height", "block"), [(1, 1), (3, 6), (7, 64), (64, 1 << 12)])
def test_blocks_make_up_the_whole(
    turned: tuple[bool, bool], height: int, block: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(differences, "_HEIGHT", height)
    monkeypatch.setattr(differences, "_BLOCK", block)
    random = np.random.default_rng(0)
    first = random.normal(size=(19, 23)).astype(np.float32)
    second = first.copy()
    second[[0, 4, 18], [22, 0, 7]] += np.array([0.5, -1, 2], np.float32)
    sides = []
    for name, turn, values in zip(("one", "other"), turned, (first, second), strict=True):
        path = external(tmp_path / f"{name}.onnx", *values.shape, transposed=turn)
        (tmp_path / f"{name}.bin").write_bytes(np.ascontiguousarray(values.T if turn else values).tobytes())
        sides.append(graphneurons.analyze(path))
    (before,), (now,) = (list(layer_items(side)) for side in sides)
    with Reader(sides[0].graph) as reader, Reader(sides[1].graph) as other:
        found = differences.Comparison(reader, other).of([before], [now])
    apart = np.linalg.norm(second.astype(float) - first, axis=1)
    assert found.changed.tolist() == [0, 4, 18]
    assert found.relative == pytest.approx(np.sqrt((apart**2).sum()) / np.linalg.norm(first))
    assert found.largest == pytest.approx((apart / np.linalg.norm(first, axis=1)).max())


def test_a_normalisation_that_is_not_the_one_folded_is_other_synapses(tmp_path: Path) -> None:
    """The convolution's stored weights are the same in both, the normalisation behind it is another."""
    random = np.random.default_rng(0)
    conv = random.normal(size=(6, 3, 3, 3)).astype(np.float32)
    gain, shift, mean = random.normal(size=(3, 6)).astype(np.float32)
    variance = np.abs(random.normal(size=6)).astype(np.float32)
    scale = gain / np.sqrt(variance + 1e-5)
    kept = {"c.weight": conv, "n.gain": gain, "n.shift": shift, "n.mean": mean, "n.variance": variance}
    nodes = [
        helper.make_node("Conv", ["x", "c.weight"], ["c"], "/c/Conv"),
        helper.make_node("BatchNormalization", ["c", *list(kept)[1:]], ["y"], "/n/BatchNormalization"),
    ]
    with_norm = model(nodes, kept, {"x": [1, 3, 8, 8]}, ["y"])
    stored = {"c.weight": conv * scale[:, None, None, None], "c.bias": shift - mean * scale}
    one = [helper.make_node("Conv", ["x", *stored], ["y"], "/c/Conv")]
    folded = model(one, stored, {"x": [1, 3, 8, 8]}, ["y"])
    assert [pair.changes for pair in found(with_norm, folded, tmp_path).pairs] == [("folded",)]
    other = model(nodes, kept | {"n.gain": gain * np.float32(1.5)}, {"x": [1, 3, 8, 8]}, ["y"])
    assert [pair.changes for pair in found(with_norm, other, tmp_path).pairs] == [("scaled",)]
    assert [pair.changes for pair in found(other, folded, tmp_path).pairs] == [("scaled",)]


def test_layers_without_neurons_or_synapses_are_paired(tmp_path: Path) -> None:
    for shape in ((0, 3), (3, 0)):
        seen = found(chain(np.zeros(shape, np.float32)), chain(np.zeros(shape, np.float32)), tmp_path)
        assert (len(seen.pairs), seen.only_a, seen.only_b) == (1, (), ())
        assert not {*seen.pairs[0].changes}


def test_zeros_of_either_sign_are_the_same(tmp_path: Path) -> None:
    rows = np.zeros((4, 3), np.float32)
    rows[0] = 1
    seen = found(chain(rows), chain(np.where(rows == 0, np.float32(-0.0), rows)), tmp_path)
    assert [(pair.by, pair.changes) for pair in seen.pairs] == [("content", ())]

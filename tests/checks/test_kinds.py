"""Models of every kind can be checked: files of both formats, graphs, analyses, and what PyTorch and onnx hold."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

import graphneurons
from graphneurons.errors import DataError, UsageError
from tests.checks.models import HEALTHY, replace, weight

torch = pytest.importorskip("torch")


def _module() -> Any:
    torch.manual_seed(0)
    made = torch.nn.Sequential(torch.nn.Linear(12, 24), torch.nn.ReLU(), torch.nn.Linear(24, 10)).eval()
    with torch.no_grad():
        made[0].weight[3] = 0
        made[2].weight[1, 2] = float("nan")
    return made


EXPECTED = [("GN201", "2", (1,)), ("GN202", "0", (3,))]
X = torch.zeros(2, 12)


def _kinds(folder: Path) -> dict[str, Any]:
    module = _module()
    program = torch.export.export(module, (X,))
    torch.export.save(program, folder / "m.pt2")
    graph = graphneurons.trace(module, X, how="fx")
    return {
        ".pt2": folder / "m.pt2",
        "ExportedProgram": program,
        "ModelGraph of export": graphneurons.trace(module, X),
        "ModelGraph of fx": graph,
        "Analysis": graphneurons.analyze(graph),
    }


def test_pytorch_models_are_checked(tmp_path: Path) -> None:
    for name, model in _kinds(tmp_path).items():
        report = graphneurons.check(model)
        assert [(each.code, each.layer, each.neurons) for each in report.findings] == EXPECTED, name
        assert report.exit_code == 1
        assert graphneurons.check(model, {"ignore": ["GN2"]}).exit_code == 0


def test_pt2_files_are_checked_on_the_command_line(tmp_path: Path, cli: Any) -> None:
    _kinds(tmp_path)
    ran = cli("check", tmp_path / "m.pt2", "--isolated", "--format", "concise")
    assert ran.code == 1
    assert "GN201 error: 1 of 10 neurons with NaN" in ran.out


def test_models_of_onnx_in_memory_are_checked() -> None:
    made = HEALTHY["mlp"](np.random.default_rng(0))
    assert graphneurons.check(made).findings == ()
    values = weight(made, "fc1.weight")
    values[5] = 0
    replace(made, "fc1.weight", values)
    assert [(each.code, each.layer, each.neurons) for each in graphneurons.check(made).findings] == [
        ("GN202", "fc1", (5,))
    ]


def test_modules_have_to_be_traced_first() -> None:
    with pytest.raises(UsageError, match=r"trace it with its arguments: check\(trace\(module, x\)\)$"):
        graphneurons.check(_module())
    with pytest.raises(UsageError, match="int is no model"):
        graphneurons.check(3)
    with pytest.raises(UsageError, match=r"^dims: the model is analyzed already; give them to analyze\(\)$"):
        graphneurons.check(graphneurons.analyze(graphneurons.trace(_module(), X)), dims={"n": 3})


def test_models_without_values_are_not_called_clean() -> None:
    with torch.device("meta"):
        module = torch.nn.Linear(4, 3)
    graph = graphneurons.trace(module, torch.zeros(1, 4, device="meta"))
    with pytest.raises(DataError, match="traced without values"):
        graphneurons.check(graph)
    assert graphneurons.check(graph, {"select": ["GN1"], "ignore": ["GN103"]}).findings == ()


def test_pt2_files_that_are_damaged_are_not_called_clean(tmp_path: Path, cli: Any) -> None:
    _kinds(tmp_path)
    data = (tmp_path / "m.pt2").read_bytes()
    (tmp_path / "cut.pt2").write_bytes(data[: len(data) // 2])
    ran = cli("check", tmp_path / "cut.pt2", "--isolated")
    assert ran.code == 2
    assert "cut.pt2" in ran.err
    assert "Traceback" not in ran.err


def test_defects_of_quantization_and_structure_need_no_file(tmp_path: Path) -> None:
    made = HEALTHY["qdq"](np.random.default_rng(0))
    replace(made, "conv.scale", np.zeros(8, np.float32))
    onnx.save(made, tmp_path / "m.onnx")
    told = [(each.code, each.layer) for each in graphneurons.check(made).findings]
    assert told == [(each.code, each.layer) for each in graphneurons.check(tmp_path / "m.onnx").findings]
    assert ("GN303", "conv") in told

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


def _quantized() -> Any:
    """What PT2E quantization writes: int8 weights per channel and per tensor, and activations from zero upwards."""
    import torch.ao.quantization.fx._decomposed

    ops = torch.ops.quantized_decomposed

    class Quantized(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            torch.manual_seed(0)
            self.register_buffer("w", torch.randint(-100, 100, (6, 20), dtype=torch.int8))
            self.register_buffer("scale", torch.rand(6) * 0.01 + 0.01)
            self.register_buffer("zero", torch.zeros(6, dtype=torch.int64))
            self.register_buffer("v", torch.randint(-100, 100, (5, 6), dtype=torch.int8))
            self.register_buffer("bias", torch.zeros(6))

        def forward(self, x: Any) -> Any:
            q = ops.quantize_per_tensor(x, 0.01, -128, -128, 127, torch.int8)
            x = ops.dequantize_per_tensor(q, 0.01, -128, -128, 127, torch.int8)
            w = ops.dequantize_per_channel(self.w, self.scale, self.zero, 0, -127, 127, torch.int8)
            h = torch.nn.functional.linear(x, w, self.bias).relu()
            q = ops.quantize_per_tensor(h, 0.05, -128, -128, 127, torch.int8)
            h = ops.dequantize_per_tensor(q, 0.05, -128, -128, 127, torch.int8)
            v = ops.dequantize_per_tensor(self.v, 0.02, 0, -127, 127, torch.int8)
            return torch.nn.functional.linear(h, v)

    return Quantized().eval()


def test_programs_that_pytorch_quantized_are_checked() -> None:
    module, x = _quantized(), torch.zeros(2, 20)
    graph = graphneurons.trace(module, x)
    assert [each.units for each in graphneurons.scan(graphneurons.analyze(graph)).weights] == ["dequantized"] * 2
    assert graphneurons.check(graph).findings == ()
    module.scale[2] = 0
    module.w[4] = torch.where(torch.arange(20) % 2 == 0, 127, -3).to(torch.int8)
    # Inputs are quantized to at most 2.55.
    module.bias[1] = -(module.w[1].clamp(min=0) * module.scale[1]).sum() * 2.56
    told = graphneurons.check(graphneurons.trace(module, x), {"thresholds": {"GN304": {"least-synapses": 16}}})
    assert {(each.code, each.layer, each.neurons) for each in told.findings} == {
        ("GN202", "linear", (2,)), ("GN203", "linear", (1, 2)), ("GN303", "linear", (2,)), ("GN304", "linear", (4,)),
    }  # fmt: skip


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


def test_slopes_of_old_prelu_are_one_per_channel(tmp_path: Path) -> None:
    info = onnx.helper.make_tensor_value_info
    graph = onnx.helper.make_graph(
        [onnx.helper.make_node("PRelu", ["x", "slope"], ["y"])],
        "g",
        [info("x", 1, [2, 3, 4])],
        [info("y", 1, [2, 3, 4])],
        [onnx.numpy_helper.from_array(np.full(3, 0.1, np.float32), "slope")],
    )
    for opset, codes in ((6, []), (7, ["GN107", "GN101"])):
        made = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", opset)])
        onnx.save(made, tmp_path / "m.onnx")
        report = graphneurons.check(tmp_path / "m.onnx", {"select": ["GN101", "GN107"]})
        assert [each.code for each in report.findings] == codes

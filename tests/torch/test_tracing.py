"""What `graphneurons.trace` takes, what it keeps, and what it says of what it cannot take."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from torch import Tensor, nn

import graphneurons
from graphneurons.errors import DataError, LoadError, UsageError
from graphneurons.graph import CONTROL
from graphneurons.load.reading import read


class Tied(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.words = nn.Embedding(11, 6)
        self.inner = nn.Linear(6, 6)
        self.head = nn.Linear(6, 11, bias=False)
        self.head.weight = self.words.weight
        self.register_buffer("shift", torch.ones(6))

    def forward(self, ids: Tensor) -> Tensor:
        return self.head(torch.relu(self.inner(self.words(ids))) + self.shift)


IDS = torch.zeros(2, 5, dtype=torch.long)


def small() -> nn.Module:
    return nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2))


@pytest.mark.parametrize("how", ["export", "fx", "auto"])
def test_tied_parameters_are_one_weight_and_buffers_are_told_apart(how: Any) -> None:
    graph = graphneurons.trace(Tied(), IDS, how=how)
    assert {name: ref.trainable for name, ref in graph.weights.items()} == {
        "words.weight": True, "inner.weight": True, "inner.bias": True, "shift": False,
    }  # fmt: skip
    analysis = graphneurons.analyze(graph)
    assert [(layer.id, layer.weights[0].weight.name) for layer in analysis.layers] == [
        ("inner", "inner.weight"), ("head", "words.weight"),
    ]  # fmt: skip
    assert analysis.totals.parameters == 11 * 6 + 36 + 6 + 6


@pytest.mark.parametrize("how", ["export", "fx"])
def test_weights_are_not_copied(how: Any) -> None:
    module = small()
    ref = graphneurons.trace(module, torch.zeros(1, 4), how=how).weights["0.weight"]
    values = read(ref)
    assert np.shares_memory(values, module[0].weight.detach().numpy())


def test_bfloat16_is_read() -> None:
    module = nn.Linear(4, 3, dtype=torch.bfloat16)
    ref = graphneurons.trace(module, torch.zeros(1, 4, dtype=torch.bfloat16)).weights["weight"]
    assert ref.dtype == "bfloat16"
    assert np.allclose(read(ref).astype(np.float32), module.weight.detach().float().numpy())


@pytest.mark.parametrize("how", ["export", "fx"])
def test_meta_and_fake_modules_need_no_memory(how: Any) -> None:
    with torch.device("meta"):
        module = nn.Linear(1 << 20, 1 << 20)
    graph = graphneurons.trace(module, torch.zeros(1, 1 << 20, device="meta"), how=how)
    assert graphneurons.analyze(graph).totals.synapses == 1 << 40
    with pytest.raises(DataError, match="weight: the model was traced without values"):
        read(graph.weights["weight"])


def test_fake_tensor_mode() -> None:
    with torch._subclasses.FakeTensorMode():
        module, example = nn.Linear(300_000, 300_000), torch.zeros(1, 300_000)
        program = torch.export.export(module, (example,))
    assert graphneurons.analyze(graphneurons.trace(program)).totals.neurons == 300_000


def test_exported_programs_and_their_decompositions_agree() -> None:
    program = torch.export.export(Tied(), (IDS,))
    plain = graphneurons.analyze(graphneurons.trace(program))
    decomposed = graphneurons.analyze(graphneurons.trace(program.run_decompositions()))
    assert [(x.neurons, x.synapses) for x in plain.layers] == [(x.neurons, x.synapses) for x in decomposed.layers]
    assert decomposed.totals.labelled_share == 1


def test_graph_modules_are_taken_as_they_are() -> None:
    traced = torch.fx.symbolic_trace(small())
    assert graphneurons.analyze(graphneurons.trace(traced, torch.zeros(1, 4), how="fx")).totals.neurons == 5


def test_a_module_may_return_what_it_was_given() -> None:
    class Idle(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            self.seen = x * 2
            return x

    tracer = torch.fx.Tracer()
    tracer.is_leaf_module = lambda module, name: True  # type: ignore[method-assign]
    network = nn.Sequential(Idle(), nn.Linear(4, 3))
    traced = torch.fx.GraphModule(network, tracer.trace(network))
    graph = graphneurons.trace(traced, torch.zeros(1, 4), how="fx")
    assert [(op.type, op.inputs[0]) for op in graph.ops] == [("mul", "input_1"), ("Linear", "input_1")]


def test_onnx_models_in_memory(tmp_path: Any) -> None:
    module = small().eval()
    program = torch.onnx.export(module, (torch.zeros(1, 4),), dynamo=True, verbose=False)
    path = tmp_path / "small.onnx"
    program.save(str(path))
    for held in (program, program.model, onnx.load(path)):
        assert graphneurons.analyze(graphneurons.trace(held)).totals.neurons == 5


def test_dynamic_shapes_have_the_sizes_they_were_traced_with() -> None:
    program = torch.export.export(small(), (torch.zeros(3, 4),), dynamic_shapes=({0: torch.export.Dim("batch")},))
    graph = graphneurons.trace(program)
    assert graph.inputs[0].shape == (3, 4)


def test_branches_and_loops_are_entered() -> None:
    class Branches(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.left, self.right = nn.Linear(4, 3), nn.Linear(4, 3)

        def forward(self, x: Tensor) -> Tensor:
            return torch.cond(x.sum() > 0, self.left.forward, self.right.forward, (x,))

    graph = graphneurons.trace(Branches(), torch.ones(1, 4))
    assert "Merge" in {op.type for op in graph.ops if op.domain == CONTROL}
    assert [layer.neurons for layer in graphneurons.analyze(graph).layers] == [3, 3]


def test_writes_through_views_are_seen() -> None:
    class Writes(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.second = nn.Linear(4, 6), nn.Linear(6, 2)

        def forward(self, x: Tensor) -> Tensor:
            h = self.first(x)
            h[:, :3].add_(1)
            return self.second(h)

    graph = graphneurons.trace(Writes(), torch.ones(1, 4))
    assert not any(op.type.endswith("_") for op in graph.ops)
    read_by = graph.producer[next(op for op in graph.ops if "second.weight" in op.inputs).inputs[0]]
    assert read_by.type == "slice_scatter"


class Decides(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        if x.sum() > 0:
            return x
        return -x


@pytest.mark.parametrize("how", ["auto", "export", "fx"])
def test_control_flow_on_values_names_the_line_and_the_way_out(how: Any) -> None:
    with pytest.raises(
        LoadError, match=r"<Decides>: at test_tracing.py:\d+: what happens next depends on the values"
    ) as caught:
        graphneurons.trace(Decides(), torch.ones(3), how=how)
    for way in ("a concrete input", "torch.cond", "trace the parts of the module on their own"):
        assert way in str(caught.value)


def test_strict_tracing_says_that_it_can_be_turned_off() -> None:
    with pytest.raises(LoadError, match="pass strict=False"):
        graphneurons.trace(Decides(), torch.ones(3), how="export", strict=True)


def test_wrong_arguments() -> None:
    with pytest.raises(LoadError, match="cannot be called with these inputs"):
        graphneurons.trace(small(), how="export")
    with pytest.raises(UsageError, match="input 'input' is missing; the module takes input"):
        graphneurons.trace(small(), how="fx")
    with pytest.raises(UsageError, match="dict is no model"):
        graphneurons.trace({})
    with pytest.raises(UsageError, match="how='jit'; choose one of 'auto', 'export', 'fx'"):
        graphneurons.trace(small(), torch.zeros(1, 4), how="jit")  # type: ignore[arg-type]


def run(code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)


WITHOUT_TORCH = """
import sys
class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name == "torch" or name.startswith("torch."):
            raise ImportError("torch is blocked here")
sys.meta_path.insert(0, Blocked())
"""


def test_the_package_and_the_command_line_never_import_torch(tmp_path: Any) -> None:
    path = tmp_path / "small.onnx"
    torch.onnx.export(small().eval(), (torch.zeros(1, 4),), str(path), dynamo=True, verbose=False)
    archive = tmp_path / "small.pt2"
    torch.export.save(torch.export.export(small(), (torch.zeros(1, 4),)), archive)
    code = f"""
import graphneurons
for name in graphneurons.__all__: getattr(graphneurons, name)
from graphneurons.cli.commands import commands
for path in {[str(path), str(archive)]!r}:
    assert commands.main(["analyze", path], standalone_mode=False) == 0
"""
    done = run(WITHOUT_TORCH + code + "assert 'torch' not in sys.modules\n")
    assert done.returncode == 0, done.stderr


def test_without_torch_the_error_names_the_install_command() -> None:
    done = run(
        WITHOUT_TORCH
        + "import graphneurons\ntry: graphneurons.trace(object())\nexcept graphneurons.UsageError as e: print(e)"
    )
    assert "pip install 'graphneurons[torch]'" in done.stdout

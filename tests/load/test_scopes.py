"""Module paths as exporters record them, in one normal form."""

from __future__ import annotations

import io
from typing import Any

import pytest
import torch

from graphneurons.graph import ModelGraph
from graphneurons.load import load_bytes
from graphneurons.load.scopes import scope_of

NAMES = "pkg.torch.onnx.name_scopes"


@pytest.mark.parametrize(
    ("name", "metadata", "scope"),
    [
        ("", {}, ()),
        ("Conv_0", {}, ()),
        ("/Constant", {}, ()),
        ("/encoder/layers.0/linear1/MatMul", {}, ("encoder", "layers", "0", "linear1")),
        ("/features/features.0/features.0.1/Conv", {}, ("features", "0", "1")),
        ("/layer1/layer1.0/conv1/Conv_quant", {}, ("layer1", "0", "conv1")),
        ("model/dense_1/MatMul", {}, ("model", "dense_1")),
        ("StatefulPartitionedCall/model/dense/MatMul", {}, ("StatefulPartitionedCall", "model", "dense")),
        ("n", {NAMES: "['', 'head', 'head.0', 'linear']"}, ("head", "0")),
        ("n", {NAMES: "['', 'relu']"}, ()),
        ("n", {NAMES: "['relu']"}, ()),
        ("/a/b/c", {NAMES: "not a list"}, ("a", "b")),
        ("n", {NAMES: "['', \"it's\", 'x']"}, ("it's",)),
        ("n", {NAMES: "__import__('os').system('true')"}, ()),
        ("n", {"namespace": ": M/head: Sequential/head.0: Linear/linear: aten.linear"}, ("head", "0")),
        ("n", {"namespace": "root"}, ()),
        ("/" + "a/" * 5000 + "b", {}, ()),
        ("/" + "a/" * 200 + "b", {}, ("a",) * 64),
    ],
)
def test_scope_of(name: str, metadata: dict[str, str], scope: tuple[str, ...]) -> None:
    assert scope_of(name, metadata) == scope


class Model(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.blocks = torch.nn.ModuleList([torch.nn.Linear(8, 8), torch.nn.Linear(8, 8)])
        self.head = torch.nn.Sequential(torch.nn.Conv1d(8, 4, 1), torch.nn.ReLU(), torch.nn.Conv1d(4, 2, 1))

    def forward(self, x: torch.Tensor) -> Any:
        for block in self.blocks:
            x = torch.relu(block(x))
        return self.head(x.transpose(1, 2))


def exported(dynamo: bool) -> ModelGraph:
    module, sample = Model().eval(), (torch.randn(2, 5, 8),)
    if dynamo:
        program = torch.onnx.export(module, sample, dynamo=True, verbose=False)
        assert program is not None
        return load_bytes(program.model_proto.SerializeToString())
    buffer = io.BytesIO()
    torch.onnx.export(module, sample, buffer, dynamo=False)
    return load_bytes(buffer.getvalue())


@pytest.mark.filterwarnings("ignore")
def test_both_torch_exporters_agree() -> None:
    """Which module every layer comes from is what PyTorch's own ``named_modules`` says."""
    wanted = {
        tuple(name.split("."))
        for name, module in Model().named_modules()
        if isinstance(module, (torch.nn.Linear, torch.nn.Conv1d))
    }
    for dynamo in (True, False):
        found = {op.scope for op in exported(dynamo).ops if op.type in ("MatMul", "Gemm", "Conv")}
        assert found == wanted

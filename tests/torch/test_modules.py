"""Rules of torch.nn modules, and of operators of other libraries."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

import graphneurons
from graphneurons.axes.rules.modules import MODULES
from graphneurons.load.leaves import LEAVES

CASES: dict[str, tuple[nn.Module, tuple[Any, ...], tuple[tuple[int, int], ...]]] = {
    "Linear": (nn.Linear(4, 3), (torch.zeros(2, 4),), ((3, 4),)),
    "NonDynamicallyQuantizableLinear": (
        nn.modules.linear.NonDynamicallyQuantizableLinear(4, 3),
        (torch.zeros(2, 4),),
        ((3, 4),),
    ),
    "Bilinear": (nn.Bilinear(4, 5, 3), (torch.zeros(2, 4), torch.zeros(2, 5)), ((3, 20),)),
    "Conv1d": (nn.Conv1d(4, 6, 3, groups=2), (torch.zeros(1, 4, 8),), ((6, 6),)),
    "Conv2d": (nn.Conv2d(4, 6, 3), (torch.zeros(1, 4, 8, 8),), ((6, 36),)),
    "Conv3d": (nn.Conv3d(4, 6, 2), (torch.zeros(1, 4, 3, 3, 3),), ((6, 32),)),
    "ConvTranspose1d": (nn.ConvTranspose1d(4, 6, 3, groups=2), (torch.zeros(1, 4, 8),), ((6, 6),)),
    "ConvTranspose2d": (nn.ConvTranspose2d(4, 6, 3), (torch.zeros(1, 4, 8, 8),), ((6, 36),)),
    "ConvTranspose3d": (nn.ConvTranspose3d(4, 6, 2), (torch.zeros(1, 4, 3, 3, 3),), ((6, 32),)),
    "Embedding": (nn.Embedding(7, 4), (torch.zeros(2, 3, dtype=torch.long),), ()),
    "LayerNorm": (nn.LayerNorm(4), (torch.zeros(2, 4),), ()),
    "RMSNorm": (nn.RMSNorm(4), (torch.zeros(2, 4),), ()),
    "GroupNorm": (nn.GroupNorm(2, 4), (torch.zeros(2, 4, 3),), ()),
    "BatchNorm1d": (nn.BatchNorm1d(4).eval(), (torch.zeros(2, 4),), ()),
    "BatchNorm2d": (nn.BatchNorm2d(4).eval(), (torch.zeros(2, 4, 3, 3),), ()),
    "BatchNorm3d": (nn.BatchNorm3d(4).eval(), (torch.zeros(2, 4, 3, 3, 3),), ()),
    "InstanceNorm1d": (nn.InstanceNorm1d(4, affine=True), (torch.zeros(2, 4, 3),), ()),
    "InstanceNorm2d": (nn.InstanceNorm2d(4, affine=True), (torch.zeros(2, 4, 3, 3),), ()),
    "InstanceNorm3d": (nn.InstanceNorm3d(4, affine=True), (torch.zeros(2, 4, 3, 3, 3),), ()),
    "PReLU": (nn.PReLU(4), (torch.zeros(2, 4),), ()),
}


def conv1d() -> nn.Module:
    from transformers.pytorch_utils import Conv1D

    return Conv1D(3, 4)


def wrapped(module: nn.Module) -> nn.Module:
    """``module`` as a submodule, which torch.fx leaves whole."""

    class Outer(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = module

        def forward(self, *args: torch.Tensor) -> torch.Tensor:
            return self.inner(*args)

    class Two(Outer):
        def forward(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:  # type: ignore[override]
            return self.inner(x, y)

    class One(Outer):
        def forward(self, x: torch.Tensor) -> torch.Tensor:  # type: ignore[override]
            return self.inner(x)

    return Two() if isinstance(module, nn.Bilinear) else One()


@pytest.mark.parametrize("name", CASES)
def test_a_module_is_one_op_with_the_labels_its_operator_has(name: str) -> None:
    module, args, layers = CASES[name]
    graph = graphneurons.trace(wrapped(module), *args, how="fx")
    assert [op.qualified for op in graph.ops] == [f"torch.nn.{name}"]
    analysis = graphneurons.analyze(graph)
    assert tuple((layer.neurons, layer.synapses_per_neuron) for layer in analysis.layers) == layers
    assert analysis.unlabelled == ()
    exported = graphneurons.analyze(graphneurons.trace(wrapped(module), *args, how="export"))
    assert [(x.neurons, x.synapses) for x in exported.layers] == [(x.neurons, x.synapses) for x in analysis.layers]
    assert [use.axes for x in exported.layers for use in x.weights] == [
        use.axes for x in analysis.layers for use in x.weights
    ]


def test_every_module_has_a_case() -> None:
    assert set(MODULES) == set(LEAVES) == {*CASES, "Conv1D"}


def test_conv1d_of_transformers_is_turned() -> None:
    traced = torch.fx.Tracer()
    traced.is_leaf_module = lambda module, name: True  # type: ignore[method-assign]
    outer = wrapped(conv1d())
    graph = graphneurons.trace(torch.fx.GraphModule(outer, traced.trace(outer)), torch.zeros(2, 4), how="fx")
    assert [op.qualified for op in graph.ops] == ["torch.nn.Conv1D"]
    (layer,) = graphneurons.analyze(graph).layers
    assert [axis.role for axis in layer.weights[0].axes] == ["synapse", "neuron"]


def test_a_subclass_is_not_taken_for_the_module_it_derives_from() -> None:
    class Odd(nn.Linear):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x @ self.weight

    graph = graphneurons.trace(nn.Sequential(Odd(4, 4)), torch.zeros(2, 4), how="fx")
    assert all(op.domain == "aten" for op in graph.ops)
    (layer,) = graphneurons.analyze(graph).layers
    assert [axis.role for axis in layer.weights[0].axes] == ["synapse", "neuron"]


@pytest.mark.parametrize(
    "module", [nn.LSTM(3, 4, 2, bidirectional=True), nn.GRU(3, 4), nn.RNN(3, 4, nonlinearity="relu")]
)
@pytest.mark.parametrize("how", ["export", "fx"])
def test_recurrent_modules_are_one_layer_per_level(module: nn.Module, how: Any) -> None:
    analysis = graphneurons.analyze(graphneurons.trace(nn.Sequential(module), torch.zeros(5, 2, 3), how=how))
    gates = {"LSTM": 4, "GRU": 3, "RNN": 1}[type(module).__name__]
    directions = 2 if module.bidirectional else 1
    assert [layer.neurons for layer in analysis.layers] == [gates * 4 * directions] * module.num_layers
    assert analysis.layers[0].synapses_per_neuron == 3 + 4
    assert {name for layer in analysis.layers for use in layer.weights for name in [use.weight.name]} == {
        f"0.{name}" for name, _ in module.named_parameters() if "weight" in name
    }


def test_recurrent_cells_and_packed_sequences() -> None:
    class Cells(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.cell, self.gru = nn.LSTMCell(3, 4), nn.GRUCell(4, 5)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            h, _ = self.cell(x)
            return self.gru(h)

    analysis = graphneurons.analyze(graphneurons.trace(Cells(), torch.zeros(2, 3)))
    assert [(x.neurons, x.synapses_per_neuron) for x in analysis.layers] == [(16, 3 + 4), (15, 4 + 5)]


def test_quantized_programs_label_their_integers() -> None:
    from torch.ao.quantization.fx._decomposed import quantized_decomposed_lib  # noqa: F401

    class Quantized(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("weight", torch.randint(-5, 5, (3, 4), dtype=torch.int8))
            self.register_buffer("scale", torch.ones(3))
            self.register_buffer("zero", torch.zeros(3, dtype=torch.int64))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            dequantized = torch.ops.quantized_decomposed.dequantize_per_channel(
                self.weight, self.scale, self.zero, 0, -128, 127, torch.int8
            )
            return torch.nn.functional.linear(x, dequantized)

    analysis = graphneurons.analyze(graphneurons.trace(Quantized(), torch.zeros(2, 4)))
    assert [(x.neurons, x.synapses_per_neuron, x.weights[0].weight.name) for x in analysis.layers] == [(3, 4, "weight")]
    assert [x.kind for x in analysis.modulators] == ["quantization"]

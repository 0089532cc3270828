"""Parts played, told by what meets where and compared with what the modules are called in PyTorch."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import pytest

from graphneurons import analyze
from graphneurons.analysis import Analysis
from graphneurons.load.onnx import load_bytes
from tests.wiring.graphs import quantized_convolutions
from tests.zoo.exporting import export

PARTS = {
    r"(self_attn|encoder_attn)\.q_proj$|attention\.self\.query$|Attention\.q$": "query",
    r"(self_attn|encoder_attn)\.k_proj$|attention\.self\.key$|Attention\.k$": "key",
    r"(self_attn|encoder_attn)\.v_proj$|attention\.self\.value$|Attention\.v$": "value",
    r"(self_attn|encoder_attn)\.(o|out)_proj$|attention\.output\.dense$|Attention\.o$|attn\.c_proj$": "output",
    r"attn\.c_attn$": "query+key+value",
    r"\.up_proj$|wi_1$|intermediate\.dense$|mlp\.c_fc$|layers\.\d\.fc1$": "mlp_key",
    r"\.gate_proj$|wi_0$": "mlp_gate",
    r"\.down_proj$|\.wo$|\d\.output\.dense$|mlp\.c_proj$|layers\.\d\.fc2$": "mlp_value",
}
"""Module path -> the part its layer plays."""

MODELS = [
    ("bert", "dynamo", 12),
    ("bert", "legacy", 12),
    ("gpt2", "dynamo", 8),
    ("gpt2", "legacy", 8),
    ("llama", "dynamo", 14),
    ("llama", "legacy", 14),
    ("qwen3", "legacy", 14),
    ("gemma2", "dynamo", 14),
    ("t5", "dynamo", 36),
    ("t5", "legacy", 36),
    ("whisper", "dynamo", 16),
]


def _expected(analysis: Analysis) -> dict[str, str]:
    return {layer.id: part for layer in analysis.layers for name, part in PARTS.items() if re.search(name, layer.id)}


@pytest.mark.parametrize(("name", "how", "count"), MODELS)
def test_parts_are_those_the_modules_play(name: str, how: str, count: int) -> None:
    analysis = analyze(export(name, how))
    expected = _expected(analysis)
    assert len(expected) == count
    assert {layer.id: layer.role for layer in analysis.layers if layer.id in expected} == expected


@pytest.mark.parametrize("how", ["dynamo", "legacy"])
def test_cross_attention_has_two_sources(how: str) -> None:
    analysis = analyze(export("cross_attention", how))
    roles = {layer.role: layer for layer in analysis.layers}
    assert set(roles) == {"query", "key", "value", "output"}
    reads = {
        role: {segment.source for _, segment in analysis.wiring.presynaptic(layer.id)} for role, layer in roles.items()
    }
    assert len({frozenset(reads["query"]), frozenset(reads["key"]), frozenset(reads["value"])}) == 3
    assert reads["output"] == {roles["value"].id}


def test_grouped_queries_share_key_and_value_heads() -> None:
    analysis = analyze(export("llama", "legacy"))
    layers = {layer.role: layer for layer in analysis.layers}
    assert layers["query"].neurons == 3 * layers["key"].neurons == 3 * layers["value"].neurons
    output = analysis.wiring.synapses[layers["output"].id][0].neurons
    value = analysis.wiring.source[layers["value"].id]
    assert output.size == layers["query"].neurons
    assert sorted(set((output - value.base).tolist())) == list(range(value.size))


@pytest.mark.parametrize("name", ["resnet50", "mobilenet", "unet", "densenet"])
def test_convolutional_networks_play_no_parts(name: str) -> None:
    analysis = analyze(export(name, "legacy"))
    assert {layer.role for layer in analysis.layers if layer.kind == "conv"} == {None}


@pytest.mark.parametrize("how", ["dynamo", "legacy"])
def test_biases_and_normalisations_are_attached(how: str) -> None:
    analysis = analyze(export("bert", how))
    biased = {modulator.of for modulator in analysis.modulators if modulator.kind == "bias"}
    assert {layer.id for layer in analysis.layers if layer.role} <= biased
    norms = [modulator for modulator in analysis.modulators if modulator.kind == "normalisation"]
    assert len(norms) == 5
    assert all(modulator.of is not None and modulator.of.startswith(("junction:", "lookup:")) for modulator in norms)


def test_all_kinds_of_modulators_of_one_op_are_aligned() -> None:
    """A convolution that has both the scales of its weights and a bias."""
    graph = quantized_convolutions()
    convolution = graph.nodes[1]
    convolution.input[4] = "scales"
    convolution.input.append("bias")
    own = {"scales": np.full(6, 0.02, np.float32), "bias": np.zeros(6, np.int32)}
    made = replace(graph, stored={**graph.stored, **own})
    analysis = analyze(load_bytes(made.model().SerializeToString()))
    layer = analysis.layers[0]
    found = {modulator.kind: modulator.of for modulator in analysis.modulators if modulator.op.name == layer.op.name}
    assert found == {"bias": layer.id, "quantization": layer.id}
    assert set(layer.attached) == {"bias", "quantization"}


@pytest.mark.parametrize("how", ["dynamo", "legacy"])
def test_fused_gates_of_experts_are_told(how: str) -> None:
    analysis = analyze(export("mixtral", how))
    experts = [layer for layer in analysis.layers if layer.kind == "experts"]
    assert [layer.role for layer in experts] == ["mlp_key+mlp_gate", "mlp_value"] * 2
    assert [layer.neurons for layer in experts] == [4 * 88, 4 * 24] * 2

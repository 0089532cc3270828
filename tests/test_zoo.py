"""Real models, exported here, checked element by element against what PyTorch's own modules say is out and in."""

from __future__ import annotations

from functools import cache

import pytest

import graphneurons
from graphneurons.analysis import Analysis
from tests.zoo.architectures import ZOO
from tests.zoo.comparing import Comparison, origins
from tests.zoo.exporting import IMPOSSIBLE, How, export
from tests.zoo.truth import Codebook, folded

CASES = [(name, how) for name in ZOO for how in ("dynamo", "legacy") if (name, how) not in IMPOSSIBLE]


UNROLLED = {(name, how) for name in ("rnn_bi_2", "rnn_no_bias") for how in ("dynamo", "dynamo_raw")}
"""The dynamo exporter has no RNN op: it writes every step as two linears and a sum."""

OTHER: list[tuple[str, How]] = [
    ("mlp_3d", "legacy_raw"),
    ("cnn_bn", "dynamo_raw"),
    ("weight_norm", "dynamo_raw"),
    ("weight_norm", "legacy_raw"),
    ("lstm_bi_2", "legacy_raw"),
    ("lstm", "dynamo_raw"),
    ("gru_bi_2", "dynamo_raw"),
    ("rnn_bi_2", "legacy_raw"),
    ("attention", "dynamo_raw"),
    ("cross_attention", "dynamo_raw"),
    ("encoder_decoder", "dynamo_raw"),
    ("swin", "legacy_raw"),
    ("gpt2", "dynamo_raw"),
    ("t5", "dynamo_raw"),
    ("branches", "dynamo_raw"),
    ("encoder", "dynamo_23"),
    ("llama", "dynamo_23"),
]
"""Files as traced: weights lie behind transposes, slices, packs and sequences; a newer opset with attention as one op.
A choice of them: `SLOW` has the rest."""

SLOW = [
    (name, how)
    for name in ZOO
    for how in ("dynamo_raw", "legacy_raw")
    if (name, how) not in OTHER and (name, how.removesuffix("_raw")) not in IMPOSSIBLE
]
ALL = [*CASES, *OTHER, *(pytest.param(*case, marks=pytest.mark.slow) for case in SLOW)]


@cache
def codebook(name: str, how: How) -> Codebook:
    if name == "weight_norm" and not how.endswith("_raw"):
        return Codebook(folded(ZOO[name].module()), tolerance=4)
    return Codebook(ZOO[name].module(), unrolled=(name, how) in UNROLLED)


@cache
def analysis(name: str, how: How) -> Analysis:
    return graphneurons.analyze(export(name, how))


def problems(name: str, how: How) -> list[str]:
    known = codebook(name, how)
    comparison = Comparison(analysis(name, how), known, origins(export(name, how), known))
    return comparison.problems(ZOO[name].unused, ZOO[name].foreign)


@pytest.mark.parametrize(("name", "how"), ALL)
def test_every_weight_has_the_roles_its_module_gives_it(name: str, how: How) -> None:
    assert problems(name, how) == []


@pytest.mark.parametrize(("name", "how"), ALL)
def test_totals_are_those_of_the_modules(name: str, how: How) -> None:
    totals = analysis(name, how).totals
    assert (totals.neurons, totals.synapses) == codebook(name, how).totals()


@pytest.mark.parametrize(("name", "how"), ALL)
def test_nearly_every_element_is_labelled(name: str, how: How) -> None:
    found = analysis(name, how)
    assert found.totals.labelled_share > 0.995, [(each.name, each.shape, each.reason) for each in found.unlabelled]


@pytest.mark.parametrize("how", ["dynamo", "legacy"])
@pytest.mark.parametrize("name", ["mlp_3d", "grouped_conv", "lstm_bi_2", "mamba", "swin", "convnext", "vit", "llama"])
def test_every_layer_lies_in_the_scope_of_its_module(name: str, how: How) -> None:
    known = codebook(name, how)
    comparison = Comparison(analysis(name, how), known, origins(export(name, how), known))
    for layer in analysis(name, how).layers:
        for use in layer.weights:
            elements = comparison.elements(use)
            assert elements is not None
            owners = {known.names[index].rpartition(".")[0] for index in known.parameters(elements)}
            assert owners == {".".join(layer.scope)}


@pytest.mark.parametrize("how", ["dynamo", "legacy"])
@pytest.mark.parametrize(
    ("name", "activations"),
    [
        ("mlp_2d", {"0": "Relu", "2": "Gelu", "4": None}),
        ("grouped_conv", {"0": None, "1": "Relu", "3": None, "4": "SiLU", "6": None}),
        ("encoder", {"encoder.layers.0.linear1": "Gelu", "encoder.layers.0.linear2": None, "head": None}),
        ("llama", {"model.model.layers.0.mlp.gate_proj": "SiLU", "model.model.layers.0.mlp.up_proj": None}),
        ("bert", {"model.bert.encoder.layer.1.intermediate.dense": "Gelu", "model.bert.pooler.dense": "Tanh"}),
    ],
)
def test_activations_are_those_of_the_modules(name: str, how: How, activations: dict[str, str | None]) -> None:
    found = {".".join(layer.scope): layer.activation for layer in analysis(name, how).layers}
    assert {scope: found[scope] for scope in activations} == activations


@pytest.mark.parametrize(("name", "how"), IMPOSSIBLE)
def test_what_cannot_be_exported_still_cannot(name: str, how: How) -> None:
    with pytest.raises(Exception, match=IMPOSSIBLE[name, how]):
        export(name, how)

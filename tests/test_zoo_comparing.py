"""The comparison itself: it accepts right labels, and no wrong one passes by luck."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import cache

import numpy as np
import pytest
import torch
from torch import nn

import graphneurons
from graphneurons.analysis import Analysis, Axis, Layer, Role, WeightUse
from tests.zoo.architectures import ZOO
from tests.zoo.comparing import Comparison, origins
from tests.zoo.exporting import export
from tests.zoo.models import coded
from tests.zoo.truth import Codebook, axes, mantissas

ROLES: tuple[Role, ...] = ("neuron", "synapse", "shared", "lookup")
MODELS = ("mlp_3d", "grouped_conv", "conv_transpose", "lstm_bi_2", "attention", "tied_head")


@cache
def sound(name: str) -> tuple[Analysis, Codebook]:
    """A right analysis of the model and what it is compared with."""
    return graphneurons.analyze(export(name, "legacy")), Codebook(ZOO[name].module())


def problems(name: str, analysis: Analysis) -> list[str]:
    codebook = sound(name)[1]
    return Comparison(analysis, codebook, origins(export(name, "legacy"), codebook)).problems()


def changed(analysis: Analysis, change: Callable[[Layer], Layer], index: int) -> Analysis:
    layers = list(analysis.layers)
    layers[index] = change(layers[index])
    return replace(analysis, layers=tuple(layers))


def relabelled(use: WeightUse) -> Iterator[WeightUse]:
    """``use`` with the role of one factor replaced by every other."""
    for number, axis in enumerate(use.axes):
        for place, factor in enumerate(axis.factors):
            for role in ROLES:
                if role != factor.role and factor.size > 1:
                    factors = list(axis.factors)
                    factors[place] = replace(factor, role=role)
                    roles = {each.role for each in factors}
                    wrong = Axis(axis.size, role if len(roles) == 1 else "mixed", tuple(factors))
                    yield replace(use, axes=(*use.axes[:number], wrong, *use.axes[number + 1 :]))


@pytest.mark.parametrize("name", MODELS)
def test_right_labels_pass(name: str) -> None:
    assert problems(name, sound(name)[0]) == []


@pytest.mark.parametrize("name", MODELS)
def test_any_other_role_of_any_factor_is_found(name: str) -> None:
    analysis = sound(name)[0]
    tried = 0
    for index, layer in enumerate(analysis.layers):
        for place, use in enumerate(layer.weights):
            for wrong in relabelled(use):
                uses = (*layer.weights[:place], wrong, *layer.weights[place + 1 :])
                assert problems(name, changed(analysis, lambda each, uses=uses: replace(each, weights=uses), index))
                tried += 1
    assert tried >= 6


def test_swapped_axes_are_found_though_the_sizes_agree() -> None:
    analysis = sound("attention")[0]
    square = next(index for index, layer in enumerate(analysis.layers) if {*layer.weights[0].weight.shape} == {12})
    use = analysis.layers[square].weights[0]
    turned = replace(use, axes=use.axes[::-1])
    found = problems("attention", changed(analysis, lambda layer: replace(layer, weights=(turned,)), square))
    assert any("is not neuron: own neuron stays" in text for text in found)


def test_a_wrong_order_of_factors_is_found() -> None:
    analysis = sound("grouped_conv")[0]
    index = next(i for i, layer in enumerate(analysis.layers) if layer.weights[0].axes[0].role == "mixed")
    use = analysis.layers[index].weights[0]
    first = use.axes[0]
    assert [(each.size, each.role) for each in first.factors] == [(4, "shared"), (5, "neuron")]
    wrong = replace(use, axes=(replace(first, factors=first.factors[::-1]), *use.axes[1:]))
    found = problems("grouped_conv", changed(analysis, lambda layer: replace(layer, weights=(wrong,)), index))
    assert any("is not shared" in text for text in found)


def test_wrong_counts_are_found() -> None:
    analysis = sound("mlp_3d")[0]
    found = problems("mlp_3d", changed(analysis, lambda layer: replace(layer, neurons=layer.neurons + 1), 0))
    assert found == [f"layer {analysis.layers[0].id}: neurons, synapses per neuron, synapses are (17, 11, 187), "
                     "labelled (18, 11, 187)"]  # fmt: skip


def test_a_weight_without_a_label_is_found() -> None:
    analysis = sound("mlp_3d")[0]
    assert problems("mlp_3d", replace(analysis, layers=analysis.layers[1:])) == [
        "0.weight: 187 of 187 elements have no label"
    ]


def test_a_lookup_listed_as_a_layer_and_a_bias_as_a_weight_are_found() -> None:
    analysis = sound("tied_head")[0]
    table, bias = analysis.lookups[0].weights[0], next(each for each in analysis.modulators if each.kind == "bias")
    found = problems("tied_head", changed(analysis, lambda layer: replace(layer, weights=(table,)), 0))
    assert any("tokens" in text or "words.weight" in text for text in found)
    found = problems("tied_head", changed(analysis, lambda layer: replace(layer, weights=bias.weights), 0))
    assert any(text.endswith("mix.bias is no layer") for text in found)


def test_a_layer_of_weights_no_module_owns_is_found() -> None:
    analysis = sound("mlp_3d")[0]
    stranger = replace(analysis.layers[0].weights[0], weight=replace(analysis.layers[0].weights[0].weight, name="?"))
    found = problems("mlp_3d", changed(analysis, lambda layer: replace(layer, weights=(stranger,)), 0))
    assert found[0] == f"1 layers instead of 0 have weights no module owns: {analysis.layers[0].id} (?)"


def test_elements_are_found_through_turns_cuts_and_scales() -> None:
    module = coded(nn.Sequential(nn.Linear(5, 7), nn.Linear(7, 3)))
    codebook = Codebook(module)
    weight = module[0].weight.detach().numpy()
    turned = codebook.find(np.ascontiguousarray(weight.T[1:4] * 4))
    np.testing.assert_array_equal(turned, np.arange(35).reshape(7, 5).T[1:4])
    assert (codebook.find(np.full(3, np.pi, np.float32)) == -1).all()


def test_no_two_elements_of_a_model_share_a_mantissa() -> None:
    module = ZOO["shufflenet"].module()
    apart = {id(each.weight) for each in module.modules() if isinstance(each, nn.BatchNorm2d)}
    values = torch.cat([each.detach().flatten() for each in module.parameters() if id(each) not in apart])
    assert len(np.unique(mantissas(values.numpy()))) == len(values)


def test_a_model_of_too_many_elements_is_refused() -> None:
    with pytest.raises(
        ValueError, match="1100400 elements are too many: an unrelated constant would look like a weight"
    ):
        coded(nn.Linear(1049, 1048))


def test_axes_are_written_in_words() -> None:
    assert axes("neuron synapse*", (4, 3, 5)) == ((("neuron", 4),), (("synapse", 3),), (("synapse", 5),))

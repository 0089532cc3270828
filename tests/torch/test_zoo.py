"""One module seen through torch.export, a .pt2 archive, torch.fx and both ONNX exporters: the same neurons."""

from __future__ import annotations

import sys
from collections import Counter

import pytest

from graphneurons.analysis import Analysis
from graphneurons.errors import LoadError
from graphneurons.tracing import trace
from tests.torch.fronts import (
    DIFFERENT,
    FRONTS,
    TORCH,
    UNTRACEABLE,
    Front,
    analysis,
    codebook,
    origins,
    takes,
)
from tests.zoo.architectures import ZOO
from tests.zoo.comparing import Comparison

CASES = [(name, front) for name in ZOO for front in TORCH if takes(name, front)]
ALIKE = [case for case in CASES if case not in DIFFERENT]
UNROLLED = {"rnn_bi_2", "rnn_no_bias"}
"""The dynamo exporter writes every step of an RNN as two linears, so its layers are not those of the op."""


@pytest.mark.parametrize(("name", "front"), ALIKE)
def test_every_weight_has_the_roles_its_module_gives_it(name: str, front: Front) -> None:
    comparison = Comparison(analysis(name, front), codebook(name), origins(name, front))
    assert comparison.problems(ZOO[name].unused, ZOO[name].foreign) == []


@pytest.mark.parametrize(("name", "front"), ALIKE)
def test_totals_are_those_of_the_modules(name: str, front: Front) -> None:
    totals = analysis(name, front).totals
    assert (totals.neurons, totals.synapses) == codebook(name).totals()
    assert totals.labelled_share == 1


def layers(found: Analysis) -> Counter[tuple[int, int, str | None, str | None]]:
    """Neurons, synapses of one, part played and activation of every layer."""
    return Counter((each.neurons, each.synapses_per_neuron, each.role, each.activation) for each in found.layers)


@pytest.mark.parametrize(("name", "front"), [case for case in ALIKE if case[1] != "export"])
def test_layers_and_their_parts_are_those_of_torch_export(name: str, front: Front) -> None:
    assert layers(analysis(name, front)) == layers(analysis(name, "export"))


ONNX = [
    (name, front) for name in ZOO for front in FRONTS[3:] if takes(name, front) and (name, "export") not in DIFFERENT
]


@pytest.mark.parametrize(
    ("name", "front"), [case for case in ONNX if not (case[0] in UNROLLED and case[1] == "dynamo")]
)
def test_layers_of_onnx_files_are_those_of_torch_export(name: str, front: Front) -> None:
    found, wanted = layers(analysis(name, front)), layers(analysis(name, "export"))
    if name == "mamba":
        # The exporters write softplus as a choice between two branches, which is not read as an activation.
        found, wanted = (Counter((*key[:3], None) for key in each.elements()) for each in (found, wanted))
    assert found == wanted


@pytest.mark.parametrize("name", UNTRACEABLE)
def test_what_fx_cannot_trace_is_refused_with_the_line_and_a_way_out(name: str) -> None:
    architecture = ZOO[name]
    with pytest.raises(LoadError, match=UNTRACEABLE[name]) as caught:
        trace(architecture.module(), *architecture.arguments(), how="fx")
    assert ".py:" in str(caught.value)
    assert "trace the parts of the module on their own" in str(caught.value)


@pytest.mark.parametrize("name", list(ZOO))
def test_parameters_keep_their_own_names_and_buffers_are_told_apart(name: str) -> None:
    module = ZOO[name].module()
    parameters, buffers = dict(module.named_parameters(remove_duplicate=False)), dict(module.named_buffers())
    for weight, ref in analysis(name, "export").graph.weights.items():
        if ref.trainable:
            assert tuple(parameters[weight].shape) == ref.shape
        else:
            assert weight in buffers or weight not in parameters


def test_archives_are_read_without_torch() -> None:
    assert "torch" in sys.modules
    assert analysis("mlp_2d", "pt2").graph.info.producer.startswith("torch.export")

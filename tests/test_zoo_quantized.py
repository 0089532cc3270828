"""Quantized and fused models: onnxruntime's tools on files of the zoo, compared with the modules they came from."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import pytest

import graphneurons
from graphneurons.analysis import Analysis
from tests.test_zoo import codebook
from tests.zoo.architectures import ZOO
from tests.zoo.comparing import Comparison, origins
from tests.zoo.exporting import How, export
from tests.zoo.quantizing import UNQUANTIZABLE, inherited, quantized
from tests.zoo.truth import Ints

CASES: list[tuple[str, How, str]] = [
    ("mlp_2d", "legacy", "dynamic"),
    ("mlp_3d", "dynamo", "dynamic_channels"),
    ("cnn_bn", "legacy", "dynamic"),
    ("lstm_bi_2", "dynamo", "dynamic"),
    ("lstm", "legacy", "dynamic"),
    ("bert", "legacy", "dynamic"),
    ("gpt2", "dynamo", "dynamic_channels"),
    ("mlp_2d", "dynamo", "qdq"),
    ("conv_transpose", "dynamo", "qdq"),
    ("gru", "legacy", "qdq"),
    ("grouped_conv", "dynamo", "qdq_channels"),
    ("resnet50", "dynamo", "qdq_channels"),
    ("mobilenet", "legacy", "qdq_channels"),
    ("bert", "dynamo", "qdq_channels"),
    ("vit", "legacy", "qdq"),
    ("mlp_2d", "dynamo", "qoperator"),
    ("mlp_3d", "legacy", "qoperator_channels"),
    ("grouped_conv", "legacy", "qoperator_channels"),
    ("resnet50", "legacy", "qoperator_channels"),
    ("bert", "legacy", "qoperator"),
    ("mlp_3d", "dynamo", "nbits"),
    ("mlp_3d", "legacy", "nbits_qdq"),
    ("llama", "dynamo", "nbits"),
    ("llama", "legacy", "nbits_qdq"),
    ("gpt2", "dynamo", "nbits"),
    ("gpt2", "dynamo", "nbits_tables"),
    ("gated", "legacy", "nbits_tables"),
    ("mlp_2d", "dynamo", "extended"),
    ("grouped_conv", "dynamo", "extended"),
    ("resnet50", "legacy", "extended"),
    ("bert", "dynamo", "extended"),
    ("bert", "legacy", "fused_bert"),
    ("bert", "dynamo", "fused_bert"),
    ("gpt2", "legacy", "fused_gpt2"),
    ("gpt2", "dynamo", "fused_gpt2"),
    ("vit", "legacy", "fused_vit"),
    ("t5", "dynamo", "fused_bert"),
]


@cache
def analysis(name: str, how: How, scheme: str) -> Analysis:
    return graphneurons.analyze(quantized(name, how, scheme))


def known(name: str, how: How, scheme: str) -> dict[str, Ints]:
    """Origins of the file's weights. A scale is the largest weight over a power of two: it only looks like one."""
    path, source = quantized(name, how, scheme), export(name, how)
    found = {**origins(path, codebook(name, how)), **inherited(path, source, origins(source, codebook(name, how)))}
    return {tensor: elements for tensor, elements in found.items() if not tensor.endswith(("_scale", "_scales"))}


@pytest.mark.parametrize(("name", "how", "scheme"), CASES)
def test_every_weight_has_the_roles_its_module_gives_it(name: str, how: How, scheme: str) -> None:
    comparison = Comparison(analysis(name, how, scheme), codebook(name, how), known(name, how, scheme))
    assert comparison.problems(ZOO[name].unused, ZOO[name].foreign) == []


@pytest.mark.parametrize(("name", "how", "scheme"), CASES)
def test_totals_are_those_of_the_modules(name: str, how: How, scheme: str) -> None:
    totals = analysis(name, how, scheme).totals
    assert (totals.neurons, totals.synapses) == codebook(name, how).totals()


@pytest.mark.parametrize(("name", "how", "scheme"), CASES)
def test_nearly_every_element_is_labelled(name: str, how: How, scheme: str) -> None:
    found = analysis(name, how, scheme)
    assert found.totals.labelled_share > 0.995, [(each.name, each.shape, each.reason) for each in found.unlabelled]


@pytest.mark.parametrize(("name", "how", "scheme"), UNQUANTIZABLE)
def test_what_cannot_be_quantized_still_cannot(
    name: str, how: How, scheme: str, capfd: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(Exception, match=UNQUANTIZABLE[name, how, scheme]):
        quantized(name, how, scheme)


def test_the_origin_of_a_quantized_weight_is_known_by_its_signs() -> None:
    path, source = quantized("mlp_2d", "legacy", "dynamic"), export("mlp_2d", "legacy")
    before = origins(source, codebook("mlp_2d", "legacy"))
    assert before["0.weight"].shape == (17, 11)
    assert inherited(path, source, before)["0.weight_quantized"].shape == (11, 17)


def test_quantized_files_are_kept(tmp_path: Path) -> None:
    first = quantized("mlp_2d", "legacy", "dynamic")
    stamp = first.stat().st_mtime_ns
    assert quantized("mlp_2d", "legacy", "dynamic") == first
    assert first.stat().st_mtime_ns == stamp

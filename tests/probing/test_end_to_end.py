"""Planted neurons of whole models are found where they are, each by the probe that can: in ONNX files, by PyTorch."""

from __future__ import annotations

import io
import warnings
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import graphneurons
from graphneurons.probing.collecting import activations
from graphneurons.probing.concepts import concepts_of
from graphneurons.probing.probing import probe_activations
from graphneurons.probing.records import Activations, LayerProbe, ProbeReport
from tests.probing import planting
from tests.probing.planting import CASES, Case, data, module
from tests.zoo.exporting import kept, key

QUICK: dict[str, Any] = {"shuffles": 99, "refits": 20, "folds": 3, "draws": 5, "strength": 0.1}
FIRST = ("convolution max", "lstm last", "keys mean", "attention mean")
SOME = [name if name in FIRST else pytest.param(name, marks=pytest.mark.slow) for name in CASES]


def exported(name: str) -> Path:
    case = next(case for case in CASES.values() if case.model == name)
    example = torch.from_numpy(data(case)[0][:2])

    def write(path: Path) -> None:
        with warnings.catch_warnings(), redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
            warnings.simplefilter("ignore")
            dynamic = {"x": {0: "batch", **({2: "height", 3: "width"} if name == "convolution" else {})}}
            torch.onnx.export(module(name), (example,), str(path), dynamo=False, input_names=["x"],
                              dynamic_axes=dynamic)  # fmt: skip

    return kept(f"planted_{name}", key(planting), write)


@cache
def found(name: str) -> ProbeReport:
    case = CASES[name]
    given, labels = data(case)
    return graphneurons.probe(exported(case.model), case.layer, {"x": given}, labels, pooling=case.pooling, **QUICK)


@pytest.mark.parametrize("name", CASES)
def test_one_neuron_carries_what_it_carries_alone(name: str) -> None:
    report, case = found(name), CASES[name]
    carriers = {
        one.concept.name: [single.neuron for single in one.singles if single.verdict.carries]
        for one in report.concepts
    }
    assert carriers == {"alone": [case.at.alone], "together": [], "xor": [], "nothing": []}
    assert report.notices == ()
    best = report.concept("alone").singles[0]
    assert (best.score.value, best.sign) == (pytest.approx(1, abs=0.01), 1)
    for one in report.concepts:
        assert all(control.score.value < 0.7 for control in one.single_controls), "the best of all by chance"


@pytest.mark.parametrize("name", CASES)
def test_many_neurons_carry_together_what_is_linear(name: str) -> None:
    report, at = found(name), CASES[name].at
    probes = {one.concept.name: one.probes[0] for one in report.concepts}
    assert {name: probe.verdict.carries for name, probe in probes.items()} == {
        "alone": True, "together": True, "xor": False, "nothing": False,
    }  # fmt: skip
    spread = report.activations.values.std(axis=0)
    alone, together = (np.abs(probes[name].weights[0]) * spread for name in ("alone", "together"))
    assert alone.argmax() == at.alone
    assert set(np.argsort(together)[-2:].tolist()) == {at.noisy, at.noise}
    weights = probes["together"].weights[0]
    assert weights[at.noise] / weights[at.noisy] == pytest.approx(-8, rel=0.1), "the noise cancels"
    for probe in probes.values():
        shuffled, random, copy = (control.score for control in probe.controls)
        assert shuffled.value == pytest.approx(0.5, abs=0.04)
        assert random.value == pytest.approx(0.5, abs=0.08)
        assert copy.value == pytest.approx(0.5, abs=0.13), "weights drawn anew do not hold it"


@pytest.mark.parametrize("name", SOME)
def test_only_a_nonlinear_probe_carries_xor(name: str) -> None:
    """And only where it reads the two neurons."""
    case = CASES[name]
    held = activations(exported(case.model), case.layer, {"x": data(case)[0]}, pooling=case.pooling)
    both = [case.at.left, case.at.right]
    others = [neuron for neuron in range(held.values.shape[1]) if neuron != case.at.left][:8]
    assert nonlinear(case, held, both).verdict.carries
    assert not nonlinear(case, held, others).verdict.carries


def nonlinear(case: Case, held: Activations, neurons: list[int]) -> LayerProbe:
    concepts = concepts_of({"xor": data(case)[1]["xor"]})
    options = QUICK | {"refits": 10, "level": 0.1, "folds": 2, "draws": 3}
    (report,) = probe_activations(held, concepts, methods="nonlinear", neurons=neurons, **options).concepts
    return report.probes[0]


@pytest.mark.parametrize("name", SOME)
def test_pytorch_says_the_same(name: str) -> None:
    case, wanted = CASES[name], found(name)
    given, labels = data(case)
    report = graphneurons.probe(
        module(case.model), case.layer, given, labels, pooling=case.pooling, methods="single", **QUICK
    )
    size = np.abs(wanted.activations.values).max()
    np.testing.assert_allclose(report.activations.values, wanted.activations.values, atol=2e-6 * size)
    np.testing.assert_array_equal(report.activations.rows, wanted.activations.rows)
    for one, other in zip(report.concepts, wanted.concepts, strict=True):
        carriers, there = ([found.neuron for found in of.singles if found.verdict.carries] for of in (one, other))
        assert carriers == there
        control, copy = one.single_controls[-1].score, other.single_controls[-1].score
        assert control.value == pytest.approx(copy.value, abs=0.15), "weights drawn by other names"


def test_positions_of_a_row_are_one_group() -> None:
    """Said or not; and intervals are as wide as rows make them, not positions."""
    case = CASES["keys kept"]
    given, labels = data(case)
    held = activations(exported(case.model), case.layer, {"x": given}, pooling="keep")
    assert held.rows.tolist() == np.repeat(np.arange(case.rows), case.places).tolist()
    by_row, by_position = (concepts_of({"c": one}) for one in (labels["together"], labels["together"][held.rows]))
    options = QUICK | {"methods": "single"}
    silent, said, apart = (
        probe_activations(one, asked, groups=groups, **options).concepts[0].singles
        for one, asked, groups in (
            (held, by_row, None),
            (held, by_row, np.arange(case.rows)),
            (unlinked(held), by_position, None),
        )
    )
    assert silent == said
    width, narrow = ({one.neuron: one.score.high - one.score.low for one in found} for found in (silent, apart))
    assert width[case.at.noise] > 1.5 * narrow[case.at.noise]


def unlinked(held: Activations) -> Activations:
    """Every position taken for a row of its own."""
    return replace(held, rows=np.arange(len(held.rows)))


@pytest.mark.slow
@pytest.mark.parametrize("name", CASES)
def test_a_nonlinear_probe_carries_all_there_is(name: str) -> None:
    case = CASES[name]
    given, labels = data(case)
    report = graphneurons.probe(
        exported(case.model), case.layer, {"x": given}, labels, pooling=case.pooling, methods="nonlinear", **QUICK
    )
    probes = {one.concept.name: one.probes[0] for one in report.concepts}
    assert {name: probe.verdict.carries for name, probe in probes.items()} == {
        "alone": True, "together": True, "xor": True, "nothing": False,
    }  # fmt: skip
    for probe in probes.values():
        shuffled, random, copy = (control.score for control in probe.controls)
        assert shuffled.value == pytest.approx(0.5, abs=0.04)
        assert random.value == pytest.approx(0.5, abs=0.1)
        assert copy.value == pytest.approx(0.5, abs=0.15)

"""Ops that are passed as the first of their kind was: the same wiring as where every op is ridden on its own."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from benchmarks.models.files import chain
from graphneurons import analyze
from graphneurons.analysis import Analysis
from graphneurons.load.onnx import load_bytes
from graphneurons.wiring import features, riding
from tests.wiring.graphs import Graph, node, numbers, rows
from tests.zoo.exporting import export

MODELS = ["bert", "llama", "mixtral", "resnet50", "densenet", "convnext", "lstm_bi_2", "vit", "swin", "t5"]


def told(analysis: Analysis) -> list[object]:
    wiring = analysis.wiring
    numbers = [
        (each.layer, each.weight, each.groups, each.neurons.tolist())
        for synapses in wiring.synapses.values()
        for each in synapses
    ]
    junctions = [(each.id, each.kind, each.op, [m.tolist() for m in each.members]) for each in wiring.junctions]
    return [wiring.sources, numbers, junctions, wiring.reasons, analysis.modulators, analysis.layers]


def one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(riding, "passenger", lambda *_: None)
    monkeypatch.setattr(riding, "meets", lambda *_: False)
    monkeypatch.setattr(features, "told_by_shapes", lambda *_: False)


@pytest.mark.parametrize("how", ["dynamo", "legacy"])
@pytest.mark.parametrize("name", MODELS)
def test_whole_models_are_wired_as_op_by_op(name: str, how: str, monkeypatch: pytest.MonkeyPatch) -> None:
    path = export(name, how)
    quick = told(analyze(path))
    one_by_one(monkeypatch)
    assert told(analyze(path)) == quick


def test_a_deep_chain_is_wired_as_op_by_op(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    chain(tmp_path / "chain.onnx", 300)
    ridden: list[str] = []
    ride = riding._ride
    monkeypatch.setattr(riding, "_ride", lambda run, op, doing: (ridden.append(op.name), ride(run, op, doing)))
    quick = told(analyze(tmp_path / "chain.onnx"))
    assert len(ridden) < 20
    one_by_one(monkeypatch)
    ridden.clear()
    assert told(analyze(tmp_path / "chain.onnx")) == quick
    assert len(ridden) == 300


def values_decide() -> dict[str, Graph]:
    """Ops that do the same, on activations stored alike, of which each says something else of its ids."""
    picks = [node("Gather", ["a", "one"], ["b1"], axis=2), node("MatMul", ["b1", "w"], ["b2"])]
    picks.append(node("Gather", ["b2", "other"], ["b"], axis=2))
    kinds = [node("Softmax", ["a"], ["b1"], axis=1), node("MatMul", ["b1", "w"], ["b2"])]
    kinds += [node("MatMul", ["b2", "v"], ["b3"]), node("Add", ["b2", "b3"], ["b4"])]
    kinds.append(node("Softmax", ["b4"], ["b"], axis=1))
    sides = [node("Where", ["yes", "a", "none"], ["b1"]), node("MatMul", ["b1", "w"], ["b2"])]
    sides.append(node("Where", ["no", "b2", "none"], ["b"]))
    weights = {"w": numbers(8, 8), "v": numbers(8, 8, seed=1)}
    orders = {"one": np.array([1, 0, 2, 3, 4, 5, 6, 7]), "other": np.array([7, 6, 5, 4, 3, 2, 1, 0])}
    conditions = {"yes": np.ones(8, bool), "no": np.arange(8) < 4, "none": np.zeros(8, np.float32)}
    return {
        "indices": rows(8, 8, picks, **weights, **orders),
        "kinds of senders": rows(8, 8, kinds, **weights),
        "conditions": rows(8, 8, sides, **weights, **conditions),
    }


@pytest.mark.parametrize("name", values_decide())
def test_what_more_than_shapes_decides_is_asked_every_time(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    model = values_decide()[name].model().SerializeToString()
    quick = told(analyze(load_bytes(model)))
    one_by_one(monkeypatch)
    assert told(analyze(load_bytes(model))) == quick


def test_a_permutation_is_repeated_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neurons that a transposition puts in another order stay in it in every block."""
    chain(tmp_path / "chain.onnx", 50)
    wiring = analyze(tmp_path / "chain.onnx").wiring
    last = wiring.junctions[-1]
    source = wiring.locate(int(last.members[1][0]))[0]
    moved = np.arange(8).reshape(2, 4).T.reshape(-1)
    assert (last.members[1] - source.base).tolist() == moved.tolist()

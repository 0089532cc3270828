"""What acts on a neuron, and what it acts on, are the same numbers read from both ends."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

import graphneurons
from docs.draw import FIXTURES
from fixtures.builders import Graph
from graphneurons.views import influences
from graphneurons.views.influences import Influences

MODELS = sorted(path.stem for path in FIXTURES.glob("*.onnx"))


@pytest.mark.parametrize("held", [1 << 24, 1])
@pytest.mark.parametrize("model", MODELS)
def test_both_directions_agree(model: str, held: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(influences, "MOST_HELD", held)
    analysis = graphneurons.analyze(FIXTURES / f"{model}.onnx")
    found = Influences(analysis)
    for layer in analysis.layers:
        source = analysis.wiring.source[layer.id]
        incoming = found.incoming(layer.id, range(source.base, source.base + source.size))
        tails = {tail for weights in incoming.values() for tail in weights}
        outgoing = found.outgoing(layer.id, tails)
        for head, weights in incoming.items():
            for tail, value in weights.items():
                assert outgoing[tail].get(head, 0.0) == pytest.approx(value, abs=1e-6)
        assert all(layer.id in found.readers(tail) for tail in tails)


def test_kernel_taps_are_summed() -> None:
    analysis = graphneurons.analyze(FIXTURES / "conv.onnx")
    found = Influences(analysis)
    held = {t.name: numpy_helper.to_array(t) for t in onnx.load(FIXTURES / "conv.onnx").graph.initializer}
    base = {name: source.base for name, source in analysis.wiring.source.items()}
    weights = found.incoming("stem", [base["stem"] + 4])[base["stem"] + 4]
    assert weights == pytest.approx({base["input:image"] + c: held["stem.weight"][4, c].sum() for c in range(2)})
    assert found.are_summed("stem")
    assert not found.are_summed("classifier")


def test_gates_are_summed() -> None:
    analysis = graphneurons.analyze(FIXTURES / "lstm.onnx")
    held = {t.name: numpy_helper.to_array(t) for t in onnx.load(FIXTURES / "lstm.onnx").graph.initializer}
    base = {name: source.base for name, source in analysis.wiring.source.items()}
    unit = base["lstm"] + 4 + 2
    weights = Influences(analysis).incoming("lstm", [unit])[unit]
    recurrent = held["lstm.R"][1].reshape(4, 4, 4)[:, 2].sum(axis=0)
    assert [weights[base["lstm"] + 4 + other] for other in range(4)] == pytest.approx(list(recurrent), abs=1e-6)
    assert base["lstm"] not in weights


def test_a_flattened_convolution_is_read_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    graph = Graph("flat")
    x = graph.op("Conv", "conv", "image", graph.weight("conv.weight", 3, 1, 1, 1))
    graph.linear(graph.op("Flatten", "flat", x), "fc", 48, 5, bias=False)
    path = tmp_path / "flat.onnx"
    path.write_bytes(graph.model({"image": (1, 1, 4, 4)}, "fc", (1, 5)).SerializeToString())
    analysis = graphneurons.analyze(path)
    found = Influences(analysis)
    calls: list[int] = []
    columns = type(found.values("fc")).columns

    def counting(self: object, synapses: list[int]) -> np.ndarray:
        calls.append(len(synapses))
        return columns(self, synapses)

    monkeypatch.setattr(type(found.values("fc")), "columns", counting)
    base = analysis.wiring.source["conv"].base
    written = found.outgoing("fc", [base + 1])[base + 1]
    weight = {t.name: numpy_helper.to_array(t) for t in onnx.load(path).graph.initializer}["fc.weight"]
    assert calls == [16]
    assert list(written.values()) == pytest.approx(list(weight[:, 16:32].sum(axis=1)), abs=1e-6)

"""What is cut is the model itself: written out anew or expanded, it computes what its file computes."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime
import pytest

import graphneurons
from tests.wiring.expanding import expanded
from tests.wiring.flattening import PASSES, Program, opened, run, unrolled
from tests.wiring.graphs import GRAPHS, written
from tests.zoo.architectures import ZOO
from tests.zoo.exporting import export

MODELS = ["resnet50", "swin", "lstm_bi_2", "gpt2_dynamic", "mixtral", "whisper", "convnext"]


def outputs(program: Program, names: list[str]) -> list[np.ndarray]:
    found = run(program, program.nodes, program.stored.values(), program.inputs, names)
    return [found[name] for name in names]


@pytest.mark.parametrize("name", MODELS)
def test_all_forms_of_a_model_compute_the_same(name: str) -> None:
    path = export(name, "dynamo")
    model = onnx.load(str(path))
    given = dict(
        zip((item.name for item in model.graph.input), (item.numpy() for item in ZOO[name].arguments()), strict=True)
    )
    expected = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"]).run(None, given)
    names = [item.name for item in model.graph.output]
    plain = opened(model, given)
    for program in (plain, expanded(plain), unrolled(graphneurons.load(path), given, model.ir_version)):
        for found, wanted in zip(outputs(program, names), expected, strict=True):
            np.testing.assert_allclose(found, wanted, rtol=1e-3, atol=1e-3)


def test_a_loop_is_written_out_round_by_round() -> None:
    path = written("loop")
    (x,) = GRAPHS["loop"].inputs()
    graph = graphneurons.load(path)
    program = unrolled(graph, {"x": x})
    stored = GRAPHS["loop"].stored
    state = x @ stored["begin"]
    (fed_back,) = [op.attributes["feedback"] for op in graph.ops if op.type == "Carry"]
    assert len(program.names(str(fed_back))) == PASSES
    for found in outputs(program, list(program.names(str(fed_back)))):
        felt = np.tanh(state @ stored["again"] + x @ stored["first"])
        state = np.concatenate([felt[:, 3:], felt[:, :3]], -1)
        np.testing.assert_allclose(found, state, rtol=1e-4, atol=1e-5)

"""The numbers behind the pictures, against numpy; and how little is read for them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

import graphneurons
import graphneurons.views.blocks
from docs.draw import FIXTURES
from fixtures.builders import Graph
from graphneurons.errors import DataError
from graphneurons.views.values import Values, values_of

MODELS = sorted(path.stem for path in FIXTURES.glob("*.onnx"))


def weights(model: str) -> dict[str, np.ndarray]:
    graph = onnx.load(FIXTURES / f"{model}.onnx").graph
    return {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}


def values(model: str, layer: str) -> Values:
    analysis = graphneurons.analyze(FIXTURES / f"{model}.onnx")
    return values_of(analysis, analysis.layer(layer))


def every_row(made: Values) -> np.ndarray:
    return made.rows(range(made.layer.neurons))


def test_a_linear_layer_stored_out_in() -> None:
    assert np.array_equal(every_row(values("kv_mlp", "keys")), weights("kv_mlp")["keys.weight"])


def test_a_linear_layer_stored_in_out() -> None:
    assert np.array_equal(every_row(values("gpt_block", "mlp.c_fc")), weights("gpt_block")["mlp.c_fc.weight"].T)


def test_a_grouped_convolution() -> None:
    assert np.array_equal(every_row(values("conv", "grouped")), weights("conv")["grouped.weight"].reshape(8, 3))


def test_a_grouped_transposed_convolution() -> None:
    held = weights("grouped_conv_transpose")["up.weight"].reshape(2, 3, 5, 4)
    wanted = held.transpose(0, 2, 1, 3).reshape(10, 12)
    assert np.array_equal(every_row(values("grouped_conv_transpose", "up")), wanted)


def test_a_recurrent_layer_joins_input_and_recurrent_weights() -> None:
    held = weights("lstm")
    wanted = np.concatenate([held["lstm.W"].reshape(32, 3), held["lstm.R"].reshape(32, 4)], axis=1)
    assert np.array_equal(every_row(values("lstm", "lstm")), wanted)


def test_quantized_weights_are_restored() -> None:
    held = weights("qdq_conv")
    wanted = held["conv.weight_quantized"].reshape(4, -1) * held["conv.weight_scale"][:, None]
    assert np.allclose(every_row(values("qdq_conv", "conv")), wanted, atol=1e-7)


@pytest.mark.parametrize("block", [1 << 22, 5])
@pytest.mark.parametrize("model", MODELS)
def test_rows_columns_and_norms_agree(model: str, block: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(graphneurons.views.blocks, "BLOCK", block)
    analysis = graphneurons.analyze(FIXTURES / f"{model}.onnx")
    for layer in analysis.layers:
        made = values_of(analysis, layer)
        rows = every_row(made)
        assert rows.shape == (layer.neurons, layer.synapses_per_neuron)
        assert np.array_equal(made.columns(range(made.synapses)), rows)
        assert np.allclose(made.norms, np.linalg.norm(rows, axis=1), rtol=1e-5)
        assert np.allclose(made.column_norms, np.linalg.norm(rows, axis=0), rtol=1e-5)
        some = [layer.neurons - 1, layer.neurons // 2]
        assert np.array_equal(made.rows(some), rows[some])
        some = [made.synapses - 1, 0]
        assert np.array_equal(made.columns(some), rows[:, some])


def test_only_the_rows_asked_for_are_read(monkeypatch: pytest.MonkeyPatch) -> None:
    made = values("transformer", "blocks.0.mlp.up")
    read: list[int] = []
    genuine = graphneurons.views.blocks.read_range

    def counting(ref: object, start: int, stop: int) -> np.ndarray:
        read.append(stop - start)
        return genuine(ref, start, stop)

    monkeypatch.setattr(graphneurons.views.blocks, "read_range", counting)
    made.rows([3, 4, 20])
    assert read == [2 * 16, 16]


def test_data_that_is_not_there_is_named(tmp_path: Path) -> None:
    model = onnx.load(FIXTURES / "kv_mlp.onnx")
    onnx.save_model(model, tmp_path / "kv.onnx", save_as_external_data=True, location="kv.data", size_threshold=0)
    (tmp_path / "kv.data").unlink()
    analysis = graphneurons.analyze(tmp_path / "kv.onnx")
    with pytest.raises(DataError, match=r"keys\.weight: the data file cannot be opened .*put it back"):
        values_of(analysis, analysis.layer("keys")).rows([0])
    assert "keys" in graphneurons.render(analysis).dot


def made(graph: Graph, inputs: int, outputs: int, folder: Path) -> Values:
    model = graph.model({"x": ("batch", inputs)}, "y", ("batch", outputs))
    model.opset_import.append(onnx.helper.make_opsetid("com.microsoft", 1))
    path = folder / "quantized.onnx"
    path.write_bytes(model.SerializeToString())
    analysis = graphneurons.analyze(path)
    return values_of(analysis, analysis.layers[0])


def test_four_bit_weights_are_unpacked(tmp_path: Path) -> None:
    graph, random = Graph("nbits"), np.random.default_rng(5)
    numbers = random.integers(0, 16, (3, 2, 16), dtype=np.uint8)
    scales = random.random((3, 2), dtype=np.float32) + 0.1
    graph.constant("packed", numbers[..., ::2] | (numbers[..., 1::2] << 4))
    graph.constant("scales", scales.reshape(-1))
    graph.op("MatMulNBits", "y", "x", "packed", "scales", domain="com.microsoft", K=32, N=3, bits=4, block_size=16)
    wanted = ((numbers.astype(np.float32) - 8) * scales[..., None]).reshape(3, 32)
    found = made(graph, 32, 3, tmp_path)
    assert np.allclose(every_row(found), wanted)
    assert np.allclose(found.columns([31, 4]), wanted[:, [31, 4]])


def test_zero_points_of_an_op_are_taken_off(tmp_path: Path) -> None:
    graph = Graph("integers")
    numbers = np.random.default_rng(6).integers(0, 256, (4, 3), dtype=np.uint8)
    zeros = np.array([128, 7, 200], np.uint8)
    graph.constant("weight", numbers)
    graph.constant("zeros", zeros)
    graph.constant("x_zero", np.array(3, np.uint8))
    graph.op("DynamicQuantizeLinear", "q", "x", outputs=("q_scale", "q_zero"))
    graph.op("MatMulInteger", "y", "q", "weight", "q_zero", "zeros")
    assert np.array_equal(every_row(made(graph, 4, 3, tmp_path)), (numbers.astype(np.float32) - zeros).T)

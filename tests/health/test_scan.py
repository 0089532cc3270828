"""What a scan reads, and says when it cannot: files, tied weights, lookups, modulators, layers one by one."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import graphneurons
from graphneurons.analysis import Factor, WeightUse
from graphneurons.errors import DataError, UsageError
from graphneurons.graph import Absent, WeightRef
from graphneurons.health import scan
from tests.health.naive import agrees, axes_of, one_layer

FIXTURES = Path(__file__).parents[2] / "fixtures"
RANDOM = np.random.default_rng(3)


def saved(path: Path, *, external: bool = False, last: np.ndarray | None = None) -> Path:
    """x @ a + b, then times the same a again; b has a NaN and an infinity."""
    weights = {
        "a": RANDOM.normal(size=(64, 64)).astype(np.float32),
        "b": np.array([0, np.nan, np.inf, *range(61)], np.float32),
        "c": RANDOM.normal(size=(64, 33)).astype(np.float32) if last is None else last,
    }
    nodes = [
        helper.make_node("MatMul", ["x", "a"], ["m"], name="first"),
        helper.make_node("Add", ["m", "b"], ["s"], name="bias"),
        helper.make_node("MatMul", ["s", "a"], ["n"], name="second"),
        helper.make_node("MatMul", ["n", "c"], ["y"], name="third"),
    ]
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [2, 64])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(value, name) for name, value in weights.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    onnx.save(model, path, save_as_external_data=external, location=f"{path.name}.data", size_threshold=64)
    return path


@pytest.mark.parametrize("external", [False, True])
def test_a_file_on_disk(tmp_path: Path, external: bool) -> None:
    path = saved(tmp_path / "m.onnx", external=external)
    analysis = graphneurons.analyze(path)
    health = scan(analysis)
    arrays = {each.name: numpy_helper.to_array(each, str(tmp_path)) for each in onnx.load(path).graph.initializer}
    for found, layer in zip(health.weights, analysis.layers, strict=True):
        agrees(found, layer.weights[0], arrays[found.name], 2.0**-126)
    (bias,) = health.modulators
    assert (bias.kind, bias.of, bias.name) == ("bias", "first", "b")
    assert (bias.nan.tolist(), bias.inf.tolist(), bias.zeros.tolist()) == ([1], [2], [0, 3])
    assert (bias.min, bias.max, bias.elements) == (0.0, 60.0, 64)
    assert bias.values is not None
    np.testing.assert_array_equal(bias.values, arrays["b"])


def test_a_tied_weight_is_read_once(tmp_path: Path) -> None:
    health = scan(graphneurons.analyze(saved(tmp_path / "m.onnx")))
    assert health.layers[0].weights[0].neurons is health.layers[1].weights[0].neurons
    assert health.bytes_read == 4 * (64 * 64 + 64 * 33)


def test_progress_ends_where_it_said(tmp_path: Path) -> None:
    calls: list[tuple[int, int]] = []
    scan(graphneurons.analyze(saved(tmp_path / "m.onnx")), progress=lambda done, to_do: calls.append((done, to_do)))
    assert calls[-1] == (4 * (64 * 64 + 64 * 33),) * 2
    assert calls == sorted(calls)


def test_only_the_layers_asked_for(tmp_path: Path) -> None:
    analysis = graphneurons.analyze(saved(tmp_path / "m.onnx"))
    health = scan(analysis, layers=["third"])
    assert [layer.id for layer in health.layers] == ["third"]
    assert health.modulators == ()
    assert health.bytes_read == 4 * 64 * 33
    assert [m.name for m in scan(analysis, layers=["first"]).modulators] == ["b"]
    with pytest.raises(UsageError, match="no layer is called 'thrid'; near it are third"):
        scan(analysis, layers=["thrid"])
    with pytest.raises(UsageError, match="takes several ids"):
        scan(analysis, layers="third")


def test_missing_external_data_names_tensor_and_file(tmp_path: Path) -> None:
    path = saved(tmp_path / "m.onnx", external=True)
    os.unlink(tmp_path / "m.onnx.data")
    with pytest.raises(DataError, match=r"m\.onnx\.data: a: the file with its external data is missing; put it back"):
        scan(graphneurons.analyze(path))


def test_external_data_that_could_not_be_opened_is_not_called_missing(tmp_path: Path) -> None:
    path = saved(tmp_path / "m.onnx", external=True)
    os.rename(tmp_path / "m.onnx.data", tmp_path / "away")
    analysis = graphneurons.analyze(path)
    os.rename(tmp_path / "away", tmp_path / "m.onnx.data")
    with pytest.raises(DataError, match="external data could not be opened; look at its permissions"):
        scan(analysis)


def test_data_cut_or_taken_away_after_loading(tmp_path: Path) -> None:
    analysis = graphneurons.analyze(saved(tmp_path / "m.onnx", external=True))
    data = tmp_path / "m.onnx.data"
    data.write_bytes(data.read_bytes()[:100])
    with pytest.raises(DataError, match="a: the file is shorter than when it was loaded; load it again"):
        scan(analysis)
    data.unlink()
    with pytest.raises(DataError, match="a: the file with its external data is missing"):
        scan(analysis)
    data.symlink_to("/etc/hosts")
    with pytest.raises(DataError, match="a: external data location goes through a symbolic link"):
        scan(analysis)


def test_weights_without_values() -> None:
    axes = axes_of((Factor("o", 2, "neuron"),), (Factor("i", 3, "synapse"),))
    use = WeightUse(WeightRef("w", "float32", (2, 3), Absent("the model was traced without values")), 1, axes)
    with pytest.raises(DataError, match="w: the model was traced without values"):
        scan(one_layer(use))


def test_tables_are_scanned_row_by_row() -> None:
    health = scan(graphneurons.analyze(FIXTURES / "tied_embedding.onnx"))
    (table,) = health.lookups
    weight = next(each for each in health.weights if each.name == table.name)
    assert (table.neurons.size, table.channels.size) == (weight.neurons.size, weight.channels.size)
    np.testing.assert_array_equal(table.neurons.l2, weight.neurons.l2)


@pytest.mark.parametrize("name", sorted(path.name for path in FIXTURES.glob("*.onnx")))
def test_every_layer_of_the_fixtures(name: str) -> None:
    analysis = graphneurons.analyze(FIXTURES / name)
    health = scan(analysis)
    assert health.skipped == ()
    assert [layer.id for layer in health.layers] == [layer.id for layer in analysis.layers]
    for found, layer in zip(health.layers, analysis.layers, strict=True):
        assert found.neurons is not None
        assert (found.neurons.size, found.neurons.elements) == (layer.neurons, layer.synapses_per_neuron)
        assert not (found.neurons.dead | found.neurons.broken).any()
        for weight, synapses in zip(found.weights, analysis.wiring.synapses[layer.id], strict=True):
            assert weight.channels.size == synapses.neurons.size
            total = weight.neurons.size * weight.neurons.elements
            assert weight.channels.size * weight.channels.elements == total
            assert weight.channels.positive.sum() == weight.neurons.positive.sum()


def test_defects_at_the_right_neuron(tmp_path: Path) -> None:
    last = RANDOM.normal(size=(64, 33)).astype(np.float32)
    last[:, 5] = 0
    last[3, 7] = np.inf
    last[9, 8] = np.nan
    last[:, 9] = 0.25
    last[:, 11] = last[:, 10]
    last[20] = 0
    last[21] = np.abs(last[21]) * np.sign(last[21, 0])
    analysis = graphneurons.analyze(saved(tmp_path / "m.onnx", last=last))
    (layer,) = scan(analysis, layers=["third"]).layers
    found = layer.weights[0]
    assert np.flatnonzero(found.neurons.dead).tolist() == [5]
    assert np.flatnonzero(found.neurons.broken).tolist() == [7, 8]
    assert np.flatnonzero(found.channels.silent).tolist() == [20]
    assert [group.neurons.tolist() for group in layer.duplicates] == [[10, 11]]
    agreement = found.channels.agreement
    assert np.isnan(agreement[20])
    assert agreement[21] in (1.0, pytest.approx(31 / 32))


def test_a_scan_of_a_program_in_memory() -> None:
    import torch

    from graphneurons.load.export import from_exported

    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Linear(5, 7), torch.nn.ReLU(), torch.nn.Linear(7, 3)).to(torch.bfloat16)
    program = torch.export.export(model, (torch.zeros(1, 5, dtype=torch.bfloat16),))
    analysis = graphneurons.analyze(from_exported(program))
    for found, layer, module in zip(scan(analysis).weights, analysis.layers, (model[0], model[2]), strict=True):
        agrees(found, layer.weights[0], module.weight.detach().float().numpy(), 2.0**-126)

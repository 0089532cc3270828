"""The committed models are what their builders make, and the analysis says of them what was written down by hand."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest

import graphneurons
from fixtures.build import DIRECTORY, built, main
from fixtures.builders import BUILDERS
from graphneurons.analysis import Layer, Lookup, WeightUse

NAMES = [*BUILDERS, "transformer"]


def expected(name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((DIRECTORY / "expected" / f"{name}.json").read_text())
    return found


def shown(use: WeightUse) -> list[str]:
    """An axis as it is written in ``expected/``: ``2 shared x 4 neuron``."""
    return [" x ".join(f"{each.size} {each.role}" for each in axis.factors) for axis in use.axes]


def weights(holder: Layer | Lookup) -> dict[str, list[str]]:
    return {use.weight.name: shown(use) for use in holder.weights}


def test_there_is_a_file_and_an_expectation_for_every_builder() -> None:
    assert sorted(path.stem for path in DIRECTORY.glob("*.onnx")) == sorted(NAMES)
    assert sorted(path.stem for path in (DIRECTORY / "expected").glob("*.json")) == sorted(NAMES)


@pytest.mark.parametrize("name", BUILDERS)
def test_the_committed_file_is_what_its_builder_makes(name: str) -> None:
    assert (DIRECTORY / f"{name}.onnx").read_bytes() == built(name).SerializeToString(deterministic=True)


def test_the_committed_transformer_is_what_pytorch_exports() -> None:
    committed, fresh = onnx.load(DIRECTORY / "transformer.onnx"), built("transformer")
    assert [node.op_type for node in committed.graph.node] == [node.op_type for node in fresh.graph.node]
    for mine, theirs in zip(committed.graph.initializer, fresh.graph.initializer, strict=True):
        assert mine.name == theirs.name
        np.testing.assert_array_equal(onnx.numpy_helper.to_array(mine), onnx.numpy_helper.to_array(theirs))


@pytest.mark.parametrize("name", NAMES)
def test_the_file_is_small_valid_and_runs(name: str) -> None:
    path = DIRECTORY / f"{name}.onnx"
    assert path.stat().st_size < 60_000
    onnx.checker.check_model(str(path), full_check=True)
    session = onnxruntime.InferenceSession(path)
    feed = {
        value.name: np.ones(
            [2 if isinstance(size, str) else size for size in value.shape],
            np.int64 if value.type == "tensor(int64)" else np.float32,
        )
        for value in session.get_inputs()
    }
    (result,) = session.run(None, feed)
    assert np.isfinite(result).all()
    assert result.std() > 0


@pytest.mark.parametrize("name", NAMES)
def test_nothing_of_the_machine_is_in_the_file(name: str) -> None:
    content = (DIRECTORY / f"{name}.onnx").read_bytes()
    assert not any(path.encode() in content for path in ("/home/", "/tmp/", "/root/", "site-packages", 'File "'))


@pytest.mark.parametrize("name", NAMES)
def test_layers_are_the_expected_ones(name: str) -> None:
    analysis = graphneurons.analyze(DIRECTORY / f"{name}.onnx")
    first = {layer.id: layer.tied_to for layer in analysis.layers}
    for layer, wanted in zip(analysis.layers, expected(name)["layers"], strict=True):
        given = {
            "scope": ".".join(layer.scope),
            "weights": weights(layer),
            "neurons": layer.neurons,
            "synapses_per_neuron": layer.synapses_per_neuron,
            "activation": layer.activation,
            **({"units": layer.units} if layer.units is not None else {}),
            **({"tied_to": True} if layer.tied_to in first and first[layer.tied_to] is None else {}),
        }
        assert given == wanted


@pytest.mark.parametrize("name", NAMES)
def test_lookups_and_modulators_are_the_expected_ones(name: str) -> None:
    analysis, wanted = graphneurons.analyze(DIRECTORY / f"{name}.onnx"), expected(name)
    lookups = [{"weights": weights(each), "rows": each.rows, "width": each.width} for each in analysis.lookups]
    assert lookups == wanted["lookups"]
    modulators = {use.weight.name: shown(use) for each in analysis.modulators for use in each.weights}
    assert modulators == wanted["modulators"]


@pytest.mark.parametrize("name", NAMES)
def test_totals_are_the_expected_ones_and_nothing_is_unlabelled(name: str) -> None:
    analysis, wanted = graphneurons.analyze(DIRECTORY / f"{name}.onnx"), expected(name)
    assert (analysis.totals.neurons, analysis.totals.synapses) == (wanted["neurons"], wanted["synapses"])
    assert analysis.unlabelled == ()
    assert analysis.totals.labelled_share == 1.0


def test_the_command_writes_the_named_models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fixtures.build.DIRECTORY", tmp_path)
    main(["mlp", "conv"])
    assert sorted(path.name for path in tmp_path.iterdir()) == ["conv.onnx", "mlp.onnx"]
    assert (tmp_path / "mlp.onnx").read_bytes() == (DIRECTORY / "mlp.onnx").read_bytes()

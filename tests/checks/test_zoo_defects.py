"""The same on real exports of many architectures: originals say nothing untrue, injected defects are found in place."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

import graphneurons
from graphneurons.analysis import Analysis, Layer, WeightUse
from graphneurons.checks.base import Subject
from graphneurons.checks.policy import DEFAULT
from graphneurons.checks.readers import groups_of
from graphneurons.checks.running import run
from tests.checks.defects import ON_NEURONS
from tests.zoo.exporting import How, export

MODELS: tuple[tuple[str, How], ...] = (
    ("mlp_3d", "dynamo"), ("cnn_bn", "legacy"), ("grouped_conv", "dynamo"), ("conv_1d_3d", "dynamo"),
    ("conv_transpose", "dynamo"), ("gated", "dynamo"), ("attention", "legacy"), ("encoder", "dynamo"),
    ("lstm", "legacy"), ("gru_bi_2", "legacy"), ("bert", "dynamo"), ("gpt2", "legacy"), ("llama", "dynamo"),
    ("t5", "dynamo"), ("resnet50", "legacy"), ("shufflenet", "dynamo"), ("swin", "dynamo"), ("convnext", "legacy"),
    ("unet", "dynamo"), ("mobilenet", "legacy"), ("mixer", "dynamo"), ("vit", "dynamo"), ("whisper", "dynamo"),
)  # fmt: skip

TRUE = {
    "conv_transpose.legacy": {"GN105"},
    # The exporters store the transposed head beside the table it is tied to: what GN103 is there to find.
    "gpt2.legacy": {"GN103"}, "t5.dynamo": {"GN103"}, "whisper.dynamo": {"GN103"},
}  # fmt: skip

INJECTED = ("zeroed neurons", "duplicated neuron", "NaN", "infinity", "constant neurons", "exploding neurons")


@dataclass(frozen=True)
class Spot:
    """A weight whose neurons lie along one axis, as an initializer of the file."""

    layer: Layer
    use: WeightUse
    axis: int


def spots(analysis: Analysis, made: onnx.ModelProto) -> Iterator[Spot]:
    """Weights with 8 synapses or more and 4 neurons or more that read the same."""
    stored = {each.name for each in made.graph.initializer}
    names = [use.weight.name for layer in analysis.layers for use in layer.weights]
    for layer in analysis.layers:
        if len(layer.weights) != 1 or groups_of(analysis, layer.id) != 1:
            continue
        use = layer.weights[0]
        kept = [at for at, axis in enumerate(use.axes) if axis.role != "synapse"]
        simple = len(kept) == 1 and use.part is None and use.weight.name in stored and names.count(use.weight.name) == 1
        if simple and use.weight.dtype == "float32" and layer.synapses_per_neuron >= 8 and layer.neurons >= 4:
            yield Spot(layer, use, kept[0])


@pytest.mark.parametrize(("name", "how"), MODELS)
def test_exports_are_clean(name: str, how: How) -> None:
    report = run(Subject(graphneurons.analyze(export(name, how)), DEFAULT))
    unexpected = [each for each in report.findings if each.code not in TRUE.get(f"{name}.{how}", set())]
    assert [(each.code, each.layer, each.message) for each in unexpected] == []
    assert report.neurons > 0


@pytest.mark.parametrize(("name", "how"), MODELS)
def test_injected_defects_are_found_in_exports(name: str, how: How, tmp_path: Path) -> None:
    random = np.random.default_rng([*name.encode()])
    path = export(name, how)
    analysis = graphneurons.analyze(path)
    found = list(spots(analysis, onnx.load(path)))
    for defect in INJECTED if found else ():
        change, code = ON_NEURONS[defect]
        made = onnx.load(path)
        spot = found[int(random.integers(len(found)))]
        tensor = next(each for each in made.graph.initializer if each.name == spot.use.weight.name)
        values = numpy_helper.to_array(tensor).copy()
        rows = np.moveaxis(values, spot.axis, 0)
        chosen = tuple(sorted(int(each) for each in random.choice(rows.shape[0], 2, replace=False)))
        if defect == "exploding neurons":
            rows[list(chosen)] = np.sign(rows[list(chosen)] + np.float32(0.5)) * np.float32(2e4)
        else:
            change(rows, chosen, random)
        tensor.CopyFrom(numpy_helper.from_array(values, tensor.name))
        onnx.save(made, tmp_path / "model.onnx")
        report = run(Subject(graphneurons.analyze(tmp_path / "model.onnx"), DEFAULT))
        places = [(each.layer, each.neurons) for each in report.findings if each.code == code]
        assert places == [(spot.layer.id, chosen)], (defect, report.findings)
    assert found or name in WITHOUT


WITHOUT = {"lstm", "gru_bi_2"}
"""Models all of whose layers have several weights."""

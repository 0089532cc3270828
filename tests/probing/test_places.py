"""Neuron by neuron, what is collected is what PyTorch's own modules put out, whoever exported the model, and however it
lays out batches, positions and neurons."""

from __future__ import annotations

from functools import cache

import numpy as np
import onnx
import onnxruntime
import pytest
from torch import nn

from graphneurons.analyzing import analyze
from graphneurons.probing.collecting import activations
from tests.probing.models import KNOWN, Arrays, exported
from tests.wiring.channels import senders

HOWS = ("dynamo", "legacy", "torch")
FOLDED = {("images", "dynamo"), ("images", "legacy")}
"""Exports that fold a normalisation into the convolution before it: its output is then that of the normalisation."""


@cache
def known(name: str) -> tuple[nn.Module, np.ndarray, Arrays]:
    module, data = KNOWN[name].module(), KNOWN[name].data()
    return module, data, KNOWN[name].outputs(module, data)


def expected(name: str, part: str) -> np.ndarray:
    """What the module ``part`` put out: (rows, positions, neurons)."""
    found = known(name)[2][part]
    if name == "images" and found.ndim == 4:
        found = np.moveaxis(found, 1, -1)
    return found.reshape(len(found), -1, found.shape[-1])


@pytest.mark.parametrize(("name", "how"), [(name, how) for name in KNOWN for how in HOWS])
def test_neurons_put_out_what_modules_do(name: str, how: str) -> None:
    module, data, _ = known(name)
    model = module if how == "torch" else exported(name, how)
    for layer, after in KNOWN[name].layers.items():
        folded = layer == "first" and (name, how) in FOLDED
        found = layer if layer != "first" or how != "dynamo" else "norm"
        before = expected(name, "norm" if folded else layer)
        wanted = expected(name, after) if after else before
        got = activations(model, found, data, pooling="keep")
        assert got.notices == ()
        np.testing.assert_allclose(got.values, wanted.reshape(-1, wanted.shape[-1]), atol=2e-6, rtol=1e-5)
        np.testing.assert_array_equal(got.rows, np.repeat(np.arange(len(data)), wanted.shape[1]))
        assert (got.after is None) == (after is None)
        if after != layer:
            got = activations(model, found, data, pooling="keep", after=False)
            np.testing.assert_allclose(got.values, before.reshape(-1, before.shape[-1]), atol=2e-6, rtol=1e-5)
            assert got.after is None


@pytest.mark.parametrize("name", [*KNOWN])
def test_neurons_are_numbered_as_the_wiring_is(name: str) -> None:
    """Another implementation of the numbering, used to prove the wiring, finds the same numbers at every neuron."""
    path = exported(name, "legacy")
    analysis, data = analyze(path), KNOWN[name].data()
    model = onnx.load(path)
    made = {output for node in model.graph.node for output in node.output if output}
    given = {value.name for value in model.graph.output}
    model.graph.output.extend(onnx.ValueInfoProto(name=output) for output in sorted(made - given))
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    values = dict(
        zip(
            [value.name for value in model.graph.output],
            session.run(None, {"x": np.moveaxis(data, 0, KNOWN[name].batch)}),
            strict=True,
        )
    )
    assert analysis.resolution is not None
    numbers = {item.source.name: item.numbers for item in senders(analysis, analysis.resolution, values)}
    seen = 0
    for layer in analysis.layers:
        after = layer.kind == "recurrent"
        got = activations(analysis, layer.id, data, pooling="keep", after=after)
        # A bias that is added by an op of its own leaves every neuron where it is.
        raw = values[got.value]
        if raw.shape != values[layer.op.output].shape:
            continue
        seen += 1
        stands = np.broadcast_to(numbers[layer.id][layer.op.output], raw.shape)
        for neuron in range(got.values.shape[1]):
            np.testing.assert_allclose(np.sort(raw[stands == neuron]), np.sort(got.values[:, neuron]), atol=1e-6)
    assert seen >= len(analysis.layers) - 1

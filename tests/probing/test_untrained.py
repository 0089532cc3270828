"""Untrained copies: drawn by seed and name, at the size that keeps signals alive, with everything else as it was."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from graphneurons.analyzing import analyze
from graphneurons.probing.collecting import activations
from graphneurons.probing.untrained import draws
from tests.probing.models import KNOWN, exported


def test_a_seed_draws_the_same_everywhere() -> None:
    known, path = KNOWN["images"], exported("images", "legacy")
    data = known.data()
    trained, one, again, other = (
        activations(path, "grouped", data, untrained=seed).values for seed in (None, 1, 1, 2)
    )
    assert one.tobytes() == again.tobytes()
    assert not np.allclose(one, other)
    assert not np.allclose(one, trained)
    # A layer's draw does not depend on which layer is asked for: the earlier layers are the same copy's.
    deeper = draws(analyze(path), 1)
    assert deeper == draws(analyze(path), 1)


def test_an_onnx_copy_is_the_copy_of_the_module(tmp_path: Path) -> None:
    """Weights of the same name and shape are drawn alike, and the module itself is left alone."""
    module = nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 3)).eval()
    before = {name: tensor.clone() for name, tensor in module.state_dict().items()}
    data = np.random.default_rng(0).standard_normal((8, 4)).astype(np.float32)
    path = tmp_path / "model.onnx"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(module, (torch.zeros(8, 4),), str(path), dynamo=False)
    one, other = (activations(model, "2", data, untrained=4) for model in (module, path))
    np.testing.assert_allclose(one.values, other.values, atol=1e-6)
    assert not np.allclose(one.values, activations(module, "2", data).values)
    for name, tensor in module.state_dict().items():
        assert tensor.equal(before[name])


def test_sizes_biases_and_normalisation() -> None:
    analysis = analyze(exported("images", "legacy"))
    plan = draws(analysis, 0)
    layers = {layer.id: layer for layer in analysis.layers}
    first = layers["first"]
    name = first.weights[0].weight.name
    drawn = plan.numbers(name, (200, *first.weights[0].weight.shape[1:]))
    assert first.activation == "Relu"
    assert drawn.std() == pytest.approx(np.sqrt(2 / first.synapses_per_neuron), rel=0.05)
    head = layers["head"]
    assert plan.spreads[head.weights[0].weight.name] == pytest.approx(np.sqrt(1 / head.synapses_per_neuron))
    biases = [use.weight.name for item in analysis.modulators if item.kind == "bias" for use in item.weights]
    assert biases
    assert all(plan.fixed[bias] == 0.0 for bias in biases)
    assert plan.kept == ()
    assert plan.notices == ()


class Normalised(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.up = nn.Linear(4, 64)
        self.norm = nn.BatchNorm1d(64)
        self.layer = nn.LayerNorm(64)
        self.gain = nn.Parameter(torch.full((64,), 3.0))
        self.down = nn.Linear(64, 32)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.down(self.layer(self.norm(self.up(x)) * self.gain))


def test_a_normalisation_starts_again_and_a_gain_stays() -> None:
    module = Normalised()
    nn.init.constant_(module.norm.running_var, 100.0)
    nn.init.constant_(module.norm.weight, 7.0)
    nn.init.constant_(module.layer.bias, 5.0)
    nn.init.constant_(module.down.bias, 9.0)
    data = np.random.default_rng(0).standard_normal((200, 4)).astype(np.float32)
    got = activations(module, "down", data, untrained=0)
    assert abs(got.values.mean()) < 0.5
    assert got.values.std() == pytest.approx(1.0, rel=0.2), "1 / n after a layer normalisation of n values"
    assert got.notices == (
        "in the untrained copy 1 tensor that is neither weight, table, bias nor normalisation stays as trained: gain",
    )
    assert module.norm.weight[0] == 7.0
    assert module.training, "the module is in the mode it was in"


@pytest.mark.parametrize("how", ["torch", "legacy"])
def test_only_what_the_layer_depends_on_is_said_to_stay(how: str, tmp_path: Path) -> None:
    module = Normalised().eval()
    data = np.random.default_rng(0).standard_normal((8, 4)).astype(np.float32)
    model: nn.Module | Path = module
    if how == "legacy":
        model = tmp_path / "model.onnx"
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            torch.onnx.export(module, (torch.zeros(8, 4),), str(model), dynamo=False)
    assert activations(model, "up", data, untrained=0).notices == ()
    (notice,) = activations(model, "down", data, untrained=0).notices
    assert notice.endswith("stays as trained: gain")


def test_signals_neither_grow_nor_die() -> None:
    module = nn.Sequential(*[part for _ in range(20) for part in (nn.Linear(64, 64), nn.ReLU())])
    data = np.random.default_rng(0).standard_normal((50, 64)).astype(np.float32)
    got = activations(module, "38", data, untrained=0)
    assert 0.1 < got.values.std() < 10


def test_weights_stored_as_integers_are_put_in_another_order() -> None:
    plan = draws(analyze(exported("dense", "legacy")), 0)
    name = next(iter(plan.spreads))
    stored = np.arange(64, dtype=np.int8).tobytes()
    drawn = plan.raw(name, "int8", (64,), stored, 8)
    assert drawn != stored
    assert sorted(drawn) == sorted(stored)
    halves = np.arange(32, dtype=np.uint16).tobytes()
    assert sorted(np.frombuffer(plan.raw(name, "bfloat16", (32,), halves, 16), np.uint16)) == list(range(32))

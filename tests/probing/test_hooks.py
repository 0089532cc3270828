"""More layers whose neurons put out what forward hooks of PyTorch see: transposed convolutions and those of one and
three axes, PyTorch's own transformer layer, tied weights, a module used twice, quantized pairs."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from graphneurons.probing.collecting import activations
from tests.probing import models
from tests.probing.models import Known, write
from tests.zoo.exporting import kept, key


class Volumes(nn.Module):
    """A signal made a volume and back."""

    def __init__(self) -> None:
        super().__init__()
        self.line = nn.Conv1d(3, 8, 3, dilation=2, padding=1)
        self.act = nn.ELU()
        self.volume = nn.Conv3d(2, 6, (2, 1, 2), stride=(1, 2, 1), groups=2)
        self.clip = nn.Hardtanh()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.clip(self.volume(self.act(self.line(x)).unflatten(1, (2, 4)).unflatten(-1, (2, 4))))


class Growing(nn.Module):
    """Transposed convolutions with strides, margins and groups."""

    def __init__(self) -> None:
        super().__init__()
        self.image = nn.ConvTranspose2d(3, 5, 3, stride=2, padding=1, output_padding=1)
        self.act = nn.LeakyReLU(0.2)
        self.line = nn.ConvTranspose1d(5, 4, 4, stride=3, bias=False)
        self.squash = nn.Sigmoid()
        self.grouped = nn.ConvTranspose1d(4, 6, 2, groups=2, dilation=2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.grouped(self.squash(self.line(self.act(self.image(x)).flatten(2))))


class Tied(nn.Module):
    """The table of tokens is that of the logits as well, and one layer is used twice."""

    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Embedding(11, 6)
        self.twice = nn.Linear(6, 6)
        self.first, self.second = nn.Tanh(), nn.Sigmoid()
        self.head = nn.Linear(6, 11, bias=False)
        self.head.weight = self.table.weight

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        x = self.first(self.twice(self.table(ids)))
        return self.head(self.second(self.twice(x)))


class Encoder(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.TransformerEncoderLayer(8, 2, 12, activation="gelu", batch_first=True, norm_first=True)
        self.head = nn.Linear(8, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.layer(x))


class Rounded(nn.Module):
    """Quantizes what it is given, and makes it a real number again."""

    def __init__(self, scale: float, zero: int) -> None:
        super().__init__()
        self.scale, self.zero = scale, zero

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.fake_quantize_per_tensor_affine(x, self.scale, self.zero, 0, 255)


class Quantized(nn.Module):
    """Weights and what neurons put out are pairs of QuantizeLinear and DequantizeLinear."""

    def __init__(self) -> None:
        super().__init__()
        self.given, self.kernel = Rounded(0.03, 128), Rounded(0.01, 128)
        self.up = nn.Linear(6, 7)
        self.act = nn.ReLU()
        self.rounded = Rounded(0.02, 0)
        self.down = nn.Linear(7, 4)
        self.out = Rounded(0.05, 100)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        hidden = nn.functional.linear(self.given(x), self.kernel(self.up.weight), self.up.bias)
        return self.out(self.down(self.rounded(self.act(hidden))))


CASES = {
    "volumes": Known(Volumes, (3, 10), {"line": "act", "volume": "clip"}),
    "growing": Known(Growing, (3, 4, 3), {"image": "act", "line": "squash", "grouped": None}),
    "tied": Known(Tied, (5,), {"head": None}, integers=True),
    "encoder": Known(Encoder, (5, 8), {"layer.linear1": None, "layer.linear2": None, "head": None}),
    "quantized": Known(Quantized, (6,), {}),
}
IMAGES = ("volumes", "growing")
HOWS = [(name, how) for name in CASES for how in ("legacy", "torch")]


@pytest.fixture(autouse=True)
def plain_attention() -> Iterator[None]:
    """The fused encoder layer is no graph, and no export."""
    fast = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    yield
    torch.backends.mha.set_fastpath_enabled(fast)


def model(name: str, how: str) -> nn.Module | Path:
    if how == "torch":
        return CASES[name].module()
    made_by = key(sys.modules[__name__], models)
    return kept(f"hooks_{name}", made_by, lambda path: write(CASES[name], "legacy", path))


@cache
def outputs(name: str) -> dict[str, np.ndarray]:
    """Module -> (samples, neurons): every position of every row."""
    known = CASES[name]
    found = known.outputs(known.module(), known.data())
    if name in IMAGES:
        found = {part: np.moveaxis(one, 1, -1) for part, one in found.items()}
    return {part: one.reshape(-1, one.shape[-1]) for part, one in found.items()}


def check(name: str, how: str, layer: str, wanted: np.ndarray, *, after: bool = True) -> str | None:
    got = activations(model(name, how), layer, CASES[name].data(), pooling="keep", after=after)
    assert got.notices == ()
    np.testing.assert_allclose(got.values, wanted, atol=2e-6, rtol=1e-5)
    np.testing.assert_array_equal(got.rows, np.repeat(np.arange(models.ROWS), len(wanted) // models.ROWS))
    return got.after


@pytest.mark.parametrize(("name", "how"), HOWS)
def test_neurons_put_out_what_modules_do(name: str, how: str) -> None:
    for layer, act in CASES[name].layers.items():
        said = check(name, how, layer, outputs(name)[layer], after=False)
        assert said is None
        if act is not None:
            assert check(name, how, layer, outputs(name)[act]) is not None


@pytest.mark.parametrize("how", ["legacy", "torch"])
def test_pytorchs_own_attention(how: str) -> None:
    """Query, key and value are one packed layer; what the attention puts out is what its last one puts out."""
    packed, last = ("MatMul", "Gemm") if how == "legacy" else ("linear", "linear_1")
    module, seen = CASES["encoder"].module(), outputs("encoder")
    attention = module.layer.self_attn
    with torch.no_grad():
        given = torch.from_numpy(seen["layer.norm1"])
        wanted = nn.functional.linear(given, attention.in_proj_weight, attention.in_proj_bias)
        gelu = nn.functional.gelu(torch.from_numpy(seen["layer.linear1"]))
    check("encoder", how, f"layer.self_attn.{packed}", wanted.numpy())
    check("encoder", how, f"layer.self_attn.{last}", seen["layer.self_attn"])
    assert check("encoder", how, "layer.linear1", gelu.numpy()) == "Gelu"


@pytest.mark.parametrize("how", ["legacy", "torch"])
def test_a_module_used_twice_makes_two_layers(how: str) -> None:
    seen = outputs("tied")
    first, second = ("twice", "twice_1") if how == "legacy" else ("twice.linear", "twice.linear_1")
    check("tied", how, first, seen["first"])
    check("tied", how, second, seen["second"])
    check("tied", how, second, seen["twice"], after=False)
    module = CASES["tied"].module()
    assert module.table.weight is module.head.weight


@pytest.mark.parametrize("how", ["legacy", "torch"])
def test_quantized_pairs_are_read_as_real_numbers(how: str) -> None:
    """Before: the sums that the kernel of rounded weights gives. After: what the quantization behind a layer leaves."""
    seen, module = outputs("quantized"), CASES["quantized"].module()
    with torch.no_grad():
        kernel = module.kernel(module.up.weight)
        sums = nn.functional.linear(torch.from_numpy(seen["given"]), kernel, module.up.bias).numpy()
    check("quantized", how, "up", sums, after=False)
    check("quantized", how, "down", seen["down"], after=False)
    rounded = how == "legacy"
    check("quantized", how, "up", seen["rounded" if rounded else "act"])
    check("quantized", how, "down", seen["out" if rounded else "down"])
    assert len(np.unique(seen["rounded"])) < len(np.unique(seen["act"])), "rounding shows"

"""Layers with known neurons: weights set by hand so that one neuron carries a concept alone, two only together, two
only as XOR. What they read are directions of wide inputs, lost among others, which weights drawn anew hardly hit upon.

``alone``     what neuron ``alone`` responds to
``together``  neuron ``noisy`` holds it under noise eight times as strong, which neuron ``noise`` holds too
``xor``       whether the signs that the neurons ``left`` and ``right`` hold differ
``nothing``   no neuron knows
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from graphneurons.probing.records import Pooling

WIDE = 64
UNITS = 8
IMAGE = 7
"""Pixels along a side."""
TAKEN = (5, 11, 37, 40, 52)
"""Coordinates of a residual stream that an attention writes to, and no direction lies along."""


@dataclass(frozen=True)
class At:
    """Which neurons carry what."""

    alone: int = 3
    noisy: int = 5
    noise: int = 6
    left: int = 1
    right: int = 2


def directions() -> npt.NDArray[np.float64]:
    """(WIDE, 5): of four signs and of the noise, at right angles to each other and to what a normalisation takes."""
    random = np.random.default_rng(17)
    free = np.concatenate([np.ones((WIDE, 1)), random.normal(size=(WIDE, 5))], axis=1)
    free[list(TAKEN)] = 0
    return np.linalg.qr(free)[0][:, 1:]


def stimuli(
    rows: int, places: int, *, everywhere: bool, seed: int = 0
) -> tuple[npt.NDArray[np.float32], dict[str, npt.NDArray[np.bool_]]]:
    """(rows, places, WIDE), and the concepts. Signs are ``everywhere`` in a row, each place with an error of its own,
    or at one place of it only (in a sequence as strong as everywhere together)."""
    random = np.random.default_rng(seed)
    basis = directions()
    signs = random.choice([-1.0, 1.0], (rows, 4))
    if everywhere:
        shown = signs[:, None] + 0.3 * random.normal(size=(rows, places, 4))
    else:
        shown = np.zeros((rows, places, 4))
        is_image = len(inside(places)) < places
        shown[np.arange(rows), random.choice(inside(places), rows)] = signs * (1 if is_image else places)
    noise = np.broadcast_to(random.normal(size=(rows, 1, 1)), (rows, places, 1))
    other = 8 * random.normal(size=(rows, 1, WIDE)) + 0.5 * random.normal(size=(rows, places, WIDE))
    other -= other @ basis @ basis.T
    data = np.concatenate([shown, noise], axis=2) @ basis.T + other
    labels = {
        "alone": signs[:, 0] > 0,
        "together": signs[:, 1] > 0,
        "xor": signs[:, 2] != signs[:, 3],
        "nothing": random.random(rows) < 0.5,
    }
    return data.astype(np.float32), labels


def inside(places: int) -> npt.NDArray[np.int64]:
    """The places of a square image that all nine of a convolution's synapses get to see; of a sequence all."""
    side = round(places**0.5)
    if side < IMAGE:
        return np.arange(places)
    return np.arange(places).reshape(side, side)[2:-2, 2:-2].reshape(-1)


def rows_of(at: At, count: int) -> torch.Tensor:
    """(count, WIDE): the synapses of the neurons. Those without a concept read directions of their own."""
    basis = directions()
    rows = 0.3 * np.random.default_rng(5).normal(size=(count, WIDE))
    rows -= rows @ basis @ basis.T
    for neuron, direction in ((at.alone, 0), (at.left, 2), (at.right, 3), (at.noise, 4)):
        if neuron < count:
            rows[neuron] = basis[:, direction]
    if at.noisy < count:
        rows[at.noisy] = basis[:, 1] + 8 * basis[:, 4]
    return torch.from_numpy(rows.astype(np.float32))


class Convolution(nn.Module):
    """Each neuron reads one of the nine places under it."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Conv2d(WIDE, UNITS, 3)
        self.act = nn.ReLU()
        at = At()
        with torch.no_grad():
            self.layer.weight.zero_()
            for neuron, row in enumerate(rows_of(at, UNITS)):
                where = 4 if neuron in (at.noisy, at.noise) else neuron
                self.layer.weight[neuron, :, where // 3, where % 3] = row
            self.layer.bias.zero_()
            self.layer.bias[at.noisy], self.layer.bias[at.noise] = 40, 5

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.act(self.layer(x)).flatten(2).mean(2)


BOTH = At(alone=UNITS + 3, noisy=5, noise=UNITS + 6, left=1, right=UNITS + 2)
"""Neurons of both directions of a recurrent layer, the backward ones after the forward ones."""


class Recurrent(nn.Module):
    """Both directions add up over the steps what their neurons read; no neuron reads another."""

    def __init__(self, kind: type[nn.LSTM] | type[nn.GRU]) -> None:
        super().__init__()
        self.layer = kind(WIDE, UNITS, bidirectional=True, batch_first=True)
        rows = 0.001 * rows_of(BOTH, 2 * UNITS)
        with torch.no_grad():
            for parameter in self.layer.parameters():
                parameter.zero_()
            for direction, suffix in enumerate(("", "_reverse")):
                weight, bias = (getattr(self.layer, f"{name}_l0{suffix}") for name in ("weight_ih", "bias_ih"))
                weight[2 * UNITS : 3 * UNITS] = rows[direction * UNITS : (direction + 1) * UNITS]
                if kind is nn.LSTM:
                    bias[:] = 6
                    bias[2 * UNITS : 3 * UNITS] = 0
                else:
                    bias[UNITS : 2 * UNITS] = 2

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.layer(x)[0]


HEADS, EACH = 2, 8
OUT = At(alone=TAKEN[2], noisy=TAKEN[0], noise=TAKEN[3], left=TAKEN[1], right=TAKEN[4])


class Block(nn.Module):
    """A transformer block: every token attends to all alike, and the keys of the MLP read tokens themselves."""

    def __init__(self) -> None:
        super().__init__()
        inner = HEADS * EACH
        self.norm = nn.LayerNorm(WIDE)
        self.query, self.key, self.value = (nn.Linear(WIDE, inner) for _ in range(3))
        self.out = nn.Linear(inner, WIDE)
        self.up = nn.Linear(WIDE, UNITS)
        self.act = nn.GELU()
        self.down = nn.Linear(UNITS, WIDE)
        at, basis = At(), torch.from_numpy(directions().astype(np.float32))
        with torch.no_grad():
            for parameter in (self.query.weight, self.key.weight, self.out.weight):
                parameter.zero_()
            for channel, direction in enumerate((0, 9, 3, 12, 6)):
                self.value.weight[direction] = basis[:, channel]
                target = (OUT.alone, OUT.noisy, OUT.left, OUT.right, OUT.noise)[channel]
                self.out.weight[target, direction] = 1
            self.out.weight[OUT.noisy, 6] = 8
            self.up.weight[:] = rows_of(at, UNITS)
            self.up.bias.zero_()
            self.up.bias[at.noisy], self.up.bias[at.noise] = 45, 9

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.norm(x)
        q, k, v = (part(y).unflatten(-1, (HEADS, EACH)).transpose(1, 2) for part in (self.query, self.key, self.value))
        mixed = torch.softmax(q @ k.transpose(-1, -2), -1) @ v
        x = x + self.out(mixed.transpose(1, 2).flatten(2))
        return x + self.down(self.act(self.up(x)))


@dataclass(frozen=True)
class Case:
    """A layer of a model, how its positions are pooled, and the data: ``everywhere`` as `stimuli` has it."""

    model: str
    layer: str
    pooling: Pooling
    at: At
    places: int
    everywhere: bool
    rows: int = 240


MODELS: dict[str, Callable[[], nn.Module]] = {
    "convolution": Convolution,
    "lstm": lambda: Recurrent(nn.LSTM),
    "gru": lambda: Recurrent(nn.GRU),
    "block": Block,
}
CASES = {
    "convolution mean": Case("convolution", "layer", "mean", At(), IMAGE**2, True),
    "convolution max": Case("convolution", "layer", "max", At(), IMAGE**2, False),
    "convolution kept": Case("convolution", "layer", "keep", At(), 16, True, 180),
    "lstm last": Case("lstm", "layer", "last", BOTH, 5, False),
    "lstm mean": Case("lstm", "layer", "mean", BOTH, 5, False),
    "gru last": Case("gru", "layer", "last", BOTH, 5, False),
    "gru mean": Case("gru", "layer", "mean", BOTH, 5, False),
    "keys mean": Case("block", "up", "mean", At(), 4, True),
    "keys kept": Case("block", "up", "keep", At(), 4, True, 180),
    "attention mean": Case("block", "out", "mean", OUT, 4, False),
    "attention kept": Case("block", "out", "keep", OUT, 4, False, 180),
}


def module(name: str) -> nn.Module:
    torch.manual_seed(1)
    return MODELS[name]().eval()


def data(case: Case) -> tuple[npt.NDArray[np.float32], dict[str, npt.NDArray[np.bool_]]]:
    found, labels = stimuli(case.rows, case.places, everywhere=case.everywhere)
    if case.model == "convolution":
        side = round(case.places**0.5)
        found = found.transpose(0, 2, 1).reshape(case.rows, WIDE, side, side)
    return np.ascontiguousarray(found), labels

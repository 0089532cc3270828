"""PyTorch models are run by PyTorch: modules, graph modules and exported programs."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from graphneurons.errors import GraphNeuronsError, LoadError, UsageError
from graphneurons.probing.collecting import activations
from tests.probing.models import KNOWN, Dense

DATA = KNOWN["dense"].data(9)


def wanted(module: nn.Module) -> np.ndarray:
    with torch.no_grad():
        return module.act(module.up(torch.from_numpy(DATA))).numpy().mean(1)  # type: ignore[operator]


@pytest.mark.parametrize(
    "held",
    [
        lambda module: module,
        torch.fx.symbolic_trace,
        lambda module: torch.export.export(module, (torch.from_numpy(DATA[:4]),)),
        lambda module: module.double(),
    ],
    ids=["module", "graph module", "exported program", "doubles"],
)
def test_however_it_is_held(held: Callable[[nn.Module], Any]) -> None:
    module = KNOWN["dense"].module()
    expected = wanted(module)
    got = activations(held(module), "up", DATA)
    np.testing.assert_allclose(got.values, expected, atol=1e-6)
    assert got.values.dtype == np.float32


class Named(nn.Module):
    """Two inputs, of which the layer needs one; dropout; a branch that only symbolic tracing refuses."""

    def __init__(self) -> None:
        super().__init__()
        self.up = nn.Linear(6, 5)
        self.drop = nn.Dropout(0.9)
        self.down = nn.Linear(5, 3)

    def forward(self, data: torch.Tensor, scale: torch.Tensor) -> torch.Tensor:
        return self.down(self.drop(torch.relu(self.up(data)))) * scale


def test_inputs_by_name_and_dropout_off() -> None:
    module = Named().train()
    scale = np.ones((9, 1), np.float64)
    got = activations(module, "down", {"data": DATA[:, 0], "scale": scale}, batch=4)
    with torch.no_grad():
        expected = module.down(torch.relu(module.up(torch.from_numpy(DATA[:, 0])))).numpy()
    np.testing.assert_allclose(got.values, expected, atol=1e-6)
    assert module.training
    assert module.drop.training


class Stacked(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.lstm = nn.LSTM(6, 4, num_layers=2, batch_first=True)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.lstm(x)[0]


class Mixing(nn.Module):
    """Every row less the mean of the batch."""

    def __init__(self) -> None:
        super().__init__()
        self.up = nn.Linear(6, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.up(x - x.mean((0, 1), keepdim=True))


class Centred(nn.Module):
    """Less the mean along the first axis, which may be that of the batch or the time."""

    def __init__(self) -> None:
        super().__init__()
        self.up = nn.Linear(6, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.up(x - x.mean(0, keepdim=True))


def test_rows_along_the_second_axis_are_told() -> None:
    module = Centred()
    got = activations(module, "up", DATA, pooling="keep")
    centred = torch.from_numpy(DATA - DATA.mean(1, keepdims=True))
    with torch.no_grad():
        np.testing.assert_allclose(got.values, module.up(centred).flatten(0, 1).numpy(), atol=1e-6)
    assert got.notices == (
        "rows are laid along the second axis of 'x': along the first they cannot be told apart",
    )


REFUSED: dict[str, tuple[Callable[[], Any], str, Any, Mapping[str, Any], type[GraphNeuronsError], str]] = {
    "unknown input": (Dense, "up", {"y": DATA, "z": DATA}, {}, UsageError, "<Dense>: no input is called 'y'; near it"),
    "missing input": (
        Named, "up", {"data": DATA[:, 0]}, {}, UsageError, "no data for input 'scale'; forward takes data, scale",
    ),
    "shape": (Dense, "up", DATA[:, :, :5], {}, LoadError, "PyTorch cannot trace it (RuntimeError: "),
    "layer": (Dense, "upp", DATA, {}, UsageError, "no layer is called 'upp'; near it are up"),
    "inside one call": (Stacked, "lstm.lstm_l0", DATA, {}, UsageError, "PyTorch computes it inside one call"),
    "rows that mix": (Mixing, "up", DATA, {}, UsageError, "which axis of the inputs holds the rows cannot be told"),
    "NaN": (Dense, "up", DATA * np.nan, {}, GraphNeuronsError, "neuron 0 puts out NaN for row 0"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_refused_is_said_in_one_line(name: str) -> None:
    make, layer, data, options, kind, words = REFUSED[name]
    with pytest.raises(kind, match=re.escape(words)) as caught:
        activations(make(), layer, data, **options)
    assert "\n" not in str(caught.value)

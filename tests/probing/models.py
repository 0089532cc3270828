"""Tiny models whose modules tell what their neurons put out: forward hooks hand over every module's output."""

from __future__ import annotations

import io
import sys
import warnings
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import nn

from tests.zoo.exporting import kept, key

How = Literal["dynamo", "legacy"]
Arrays = dict[str, np.ndarray]
ROWS = 5


class Dense(nn.Module):
    """Linears on tokens, after one another, with an activation that is spelled out by one exporter."""

    def __init__(self) -> None:
        super().__init__()
        self.up = nn.Linear(6, 7)
        self.act = nn.GELU()
        self.down = nn.Linear(7, 4, bias=False)
        self.swish = nn.SiLU()
        self.head = nn.Linear(4, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.swish(self.down(self.act(self.up(x)))))


class Images(nn.Module):
    """Convolutions: plain with normalisation, grouped, transposed; then a flatten."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 6, 3, padding=1)
        self.norm = nn.BatchNorm2d(6)
        self.act = nn.ReLU()
        self.grouped = nn.Conv2d(6, 8, 3, groups=2, stride=2)
        self.clip = nn.ReLU6()
        self.up = nn.ConvTranspose2d(8, 4, 2, groups=2)
        self.head = nn.Linear(4 * 4 * 4, 5)
        with torch.no_grad():
            self.norm.running_mean.uniform_(-1, 1)
            self.norm.running_var.uniform_(0.5, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.act(self.norm(self.first(x)))
        x = self.up(self.clip(self.grouped(x)))
        return self.head(x.flatten(1))


class Sequence(nn.Module):
    """A bidirectional LSTM and a GRU, batch first or sequence first."""

    def __init__(self, batch_first: bool) -> None:
        super().__init__()
        self.lstm = nn.LSTM(5, 4, bidirectional=True, batch_first=batch_first)
        self.gru = nn.GRU(8, 3, batch_first=batch_first)
        self.head = nn.Linear(3, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x, _ = self.lstm(x)
        x, _ = self.gru(x)
        return self.head(x)


class Block(nn.Module):
    """A transformer block with heads: query, key and value are read where they are projected."""

    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Embedding(11, 8)
        self.norm = nn.LayerNorm(8)
        self.query, self.key, self.value = (nn.Linear(8, 8) for _ in range(3))
        self.out = nn.Linear(8, 8)
        self.up = nn.Linear(8, 16)
        self.act = nn.GELU()
        self.down = nn.Linear(16, 8)

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        x = self.table(ids)
        y = self.norm(x)
        q, k, v = (part(y).unflatten(-1, (2, 4)).transpose(1, 2) for part in (self.query, self.key, self.value))
        weights = torch.softmax(q @ k.transpose(-1, -2) / 2, -1)
        x = x + self.out((weights @ v).transpose(1, 2).flatten(2))
        return x + self.down(self.act(self.up(x)))


@dataclass(frozen=True)
class Known:
    """A module with data. ``batch``: the axis of the batch in what it takes; ``layers``: modules that make neurons ->
    the module that is their activation (None: there is none), as attributes."""

    make: Callable[[], nn.Module]
    row: tuple[int, ...]
    layers: dict[str, str | None]
    batch: int = 0
    integers: bool = False

    def module(self) -> nn.Module:
        torch.manual_seed(3)
        return self.make().eval()

    def data(self, rows: int = ROWS) -> np.ndarray:
        rng = np.random.default_rng(7)
        if self.integers:
            return rng.integers(0, 11, (rows, *self.row))
        return rng.standard_normal((rows, *self.row)).astype(np.float32)

    def outputs(self, module: nn.Module, data: np.ndarray) -> Arrays:
        """Module -> (rows, ...) of what it put out."""
        found: Arrays = {}
        hooks = [
            part.register_forward_hook(lambda _, __, out, name=name: found.__setitem__(name, _array(out, self.batch)))
            for name, part in module.named_modules()
            if name
        ]
        with torch.no_grad(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            module(torch.from_numpy(np.moveaxis(data, 0, self.batch).copy()))
        for hook in hooks:
            hook.remove()
        return found


def _array(out: Any, batch: int) -> np.ndarray:
    tensor = out[0] if isinstance(out, tuple) else out
    return np.moveaxis(tensor.detach().numpy(), batch if tensor.ndim > 2 else 0, 0)


KNOWN = {
    "dense": Known(Dense, (4, 6), {"up": "act", "down": "swish", "head": None}),
    "images": Known(Images, (3, 8, 8), {"first": "act", "grouped": "clip", "up": None, "head": None}),
    "sequence": Known(lambda: Sequence(True), (6, 5), {"lstm": "lstm", "gru": "gru", "head": None}),
    "sequence_first": Known(lambda: Sequence(False), (6, 5), {"lstm": "lstm", "gru": "gru", "head": None}, batch=1),
    "block": Known(
        Block, (6,), {"query": None, "key": None, "value": None, "out": None, "up": "act", "down": None}, integers=True
    ),
}


def exported(name: str, how: How) -> Path:
    """The model ``name`` as an ONNX file whose batch is dynamic, kept between runs of the tests."""
    made_by = key(sys.modules[__name__])
    return kept(f"probing_{name}.{how}", made_by, lambda path: write(KNOWN[name], how, path))


def write(known: Known, how: How, path: Path, rows: int | None = None) -> None:
    """``known`` as an ONNX file; ``rows`` fixes the batch."""
    example = torch.from_numpy(np.moveaxis(known.data(rows or 3), 0, known.batch).copy())
    dynamic: dict[str, Any]
    if how == "dynamo":
        shapes = ({known.batch: torch.export.Dim("batch")},) if rows is None else None
        dynamic = {"dynamo": True, "dynamic_shapes": shapes, "verbose": False, "external_data": False}
    else:
        dynamic = {"dynamo": False, "dynamic_axes": {"x": {known.batch: "batch"}} if rows is None else None}
    with warnings.catch_warnings(), redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
        warnings.simplefilter("ignore")
        torch.onnx.export(known.module(), (example,), str(path), input_names=["x"], **dynamic)

"""What `graphneurons health --json` writes is what docs/health.schema.json says."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import jsonschema
import numpy as np
import onnx
import pytest

from tests.checks.models import HEALTHY, replace, weight
from tests.cli.conftest import Ran, cli, tiny
from tests.zoo.exporting import How, export
from tests.zoo.quantizing import quantized

SCHEMA = json.loads((Path(__file__).parents[2] / "docs" / "health.schema.json").read_text())
__all__ = ["cli", "tiny"]

Cli = Callable[..., Ran]
EXPORTS: tuple[tuple[str, How, str], ...] = (
    ("resnet50", "legacy", ""), ("bert", "dynamo", ""), ("lstm", "legacy", ""), ("whisper", "dynamo", ""),
    ("cnn_bn", "legacy", "qdq_channels"), ("gpt2", "legacy", "qoperator_channels"), ("gpt2", "legacy", "nbits"),
)  # fmt: skip


def _validated(path: Path, cli: Cli) -> None:
    whole = json.loads(cli("health", path, "--json").out)
    jsonschema.validate(whole, SCHEMA)
    for layer in whole["layers"][:4]:
        one = json.loads(cli("health", path, layer["id"], "--json").out)
        jsonschema.validate(one, SCHEMA)
        (told,) = one["layers"]
        assert all("l2" in each["neurons"] and "l2" in each["channels"] for each in told["weights"])


@pytest.mark.parametrize(("name", "how", "scheme"), EXPORTS)
def test_the_health_of_exports_is_valid(name: str, how: How, scheme: str, cli: Cli) -> None:
    _validated(quantized(name, how, scheme) if scheme else export(name, how), cli)


@pytest.mark.parametrize("name", HEALTHY)
def test_the_health_of_broken_weights_is_valid(name: str, cli: Cli, tmp_path: Path) -> None:
    made = HEALTHY[name](np.random.default_rng(0))
    for tensor in made.graph.initializer:
        values = weight(made, tensor.name)
        if values.dtype == np.float32 and values.ndim:
            values[0], values[-1] = np.nan, 0
            values.reshape(-1)[-1] = np.inf
            replace(made, tensor.name, values)
    onnx.save(made, tmp_path / "m.onnx")
    _validated(tmp_path / "m.onnx", cli)


def test_weights_that_are_skipped_are_in_it(cli: Cli, tiny: Path) -> None:
    jsonschema.validate(json.loads(cli("health", tiny, "--json").out), SCHEMA)

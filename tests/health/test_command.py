"""``graphneurons health``: what it prints, writes and refuses."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np

from tests.cli.conftest import Ran, cli, process
from tests.health.test_scan import FIXTURES, saved

__all__ = ["cli", "process"]

Cli = Callable[..., Ran]


def ailing(path: Path) -> Path:
    last = np.random.default_rng(0).normal(size=(64, 33)).astype(np.float32)
    last[:, 5] = 0
    last[3, 7] = np.inf
    last[:, 11] = last[:, 10]
    last[20] = 0
    return saved(path, last=last)


def test_a_line_per_layer(cli: Cli, tmp_path: Path) -> None:
    ran = cli("health", ailing(tmp_path / "m.onnx"))
    assert (ran.code, ran.err) == (0, "")
    third = next(line for line in ran.out.splitlines() if line.strip().startswith("third"))
    assert third.split()[:6] == ["third", "33", "1", "1", "1", "1"]
    assert "bias bias b: 1 NaN, 1 infinite" in ran.out
    assert "3 layers, 161 neurons, 24,832 bytes of weights" in ran.out


def test_top_keeps_the_oddest_layers(cli: Cli, tmp_path: Path) -> None:
    ran = cli("health", ailing(tmp_path / "m.onnx"), "--top", 1)
    assert "third" in ran.out
    assert "second" not in ran.out
    assert "2 other layers" in ran.out


def test_one_layer_lists_its_neurons(cli: Cli, tmp_path: Path) -> None:
    ran = cli("health", ailing(tmp_path / "m.onnx"), "third", "--top", 3)
    assert "all weights zero: 5" in ran.out
    assert "with NaN or Inf: 7" in ran.out
    assert "copies of each other: 10, 11" in ran.out
    assert "inputs of c that nobody hears: 20" in ran.out
    assert "64 presynaptic channels" in ran.out


def test_the_neurons_of_a_layer_are_there_on_a_narrow_screen(process: Cli, tmp_path: Path) -> None:
    arguments = ("health", ailing(tmp_path / "m.onnx"), "third", "--top", 3)
    wide, narrow = process(*arguments).out.splitlines(), process(*arguments, COLUMNS="30").out.splitlines()
    start = next(at for at, text in enumerate(wide) if text.split()[:2] == ["neuron", "min"])
    told = [text.split()[1] for text in narrow if text.startswith("  neuron ")]
    assert told == [text.split()[0] for text in wide[start + 1 : start + 4]]
    assert sum(text.startswith("    L2 ") for text in narrow) >= 2


def test_json_is_strict_and_complete(cli: Cli, tmp_path: Path) -> None:
    def refuse(constant: str) -> None:
        raise AssertionError(constant)

    path = ailing(tmp_path / "m.onnx")
    record = json.loads(cli("health", path, "--json").out, parse_constant=refuse)
    third = record["layers"][2]
    assert (third["neurons"]["dead"], third["neurons"]["broken"]) == ([5], [7])
    assert third["duplicates"] == [{"neurons": [10, 11], "factors": [1.0, 1.0], "weight": None}]
    assert record["modulators"][0]["nan_at"] == [1]
    whole = json.loads(cli("health", path, "third", "--json").out, parse_constant=refuse)
    assert [len(whole["layers"][0]["neurons"][name]) for name in ("min", "l2", "positive")] == [33] * 3
    assert len(whole["layers"][0]["weights"][0]["channels"]["l2"]) == 64


def test_missing_data_is_one_line_and_nothing_is_written(cli: Cli, tmp_path: Path) -> None:
    path = saved(tmp_path / "m.onnx", external=True)
    os.unlink(tmp_path / "m.onnx.data")
    ran = cli("health", path, "-o", tmp_path / "out.txt")
    data = tmp_path / "m.onnx.data"
    assert (ran.code, ran.out) == (2, "")
    assert ran.err == f"error: {data}: a: the file with its external data is missing; put it back beside the model\n"
    assert not (tmp_path / "out.txt").exists()


def test_an_unknown_layer_lists_near_ones(cli: Cli) -> None:
    ran = cli("health", FIXTURES / "mlp.onnx", "lauer")
    assert ran.code == 2
    assert ran.err.startswith("error: ")
    assert "no layer is called 'lauer'; near it are" in ran.err


def test_output_and_piped_runs(process: Cli, tmp_path: Path) -> None:
    path = FIXTURES / "transformer.onnx"
    ran = process("health", path, COLUMNS="40")
    assert (ran.code, ran.err) == (0, "")
    assert max(map(len, ran.out.splitlines())) <= 40
    done = process("health", path, "-o", tmp_path / "out.txt")
    assert (done.code, done.out, done.err) == (0, "", "")
    assert "13 layers, 245 neurons" in (tmp_path / "out.txt").read_text()

"""``graphneurons probe``: what it prints and writes, and one line for everything that does not fit."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import onnx
import pytest
from jsonschema import Draft202012Validator
from onnx import TensorProto, helper, numpy_helper

from tests.cli.conftest import Ran, cli  # noqa: F401

ROOT = Path(__file__).parents[2]
SCHEMA = Draft202012Validator(json.loads((ROOT / "docs" / "probe.schema.json").read_text()))
ROWS, WIDE = 240, 12


@pytest.fixture
def files(tmp_path: Path) -> Path:
    """A layer of four neurons, of which neuron 2 alone says whether input 2 is high."""
    rng = np.random.default_rng(0)
    inputs = rng.normal(size=(ROWS, WIDE)).astype(np.float32)
    weight = rng.normal(size=(4, WIDE)).astype(np.float32) / WIDE
    weight[:, 2] = [0, 0, 2, 0]
    graph = helper.make_graph(
        [
            helper.make_node("Gemm", ["x", "w", "b"], ["sums"], "fc", transB=1),
            helper.make_node("Tanh", ["sums"], ["y"], "tanh"),
        ],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", WIDE])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 4])],
        [numpy_helper.from_array(weight, "w"), numpy_helper.from_array(np.zeros(4, np.float32), "b")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, tmp_path / "m.onnx")
    np.savez(tmp_path / "x.npz", x=inputs)
    np.savez(tmp_path / "y.npz", high=inputs[:, 2] > 0, coin=rng.integers(0, 2, ROWS))
    np.save(tmp_path / "groups.npy", np.arange(ROWS) // 4)
    return tmp_path


def asked(files: Path, *more: object, layer: str = "fc", data: str = "x.npz", labels: str = "y.npz") -> list[object]:
    given = ["probe", files / "m.onnx", layer, "--data", files / data, "--labels", files / labels]
    return [*given, *more]


def test_a_table(cli, files) -> None:  # type: ignore[no-untyped-def]  # noqa: F811
    ran: Ran = cli(*asked(files, "--groups", files / "groups.npy", "--probe", "single"))
    assert (ran.code, ran.err) == (0, "")
    assert f"model {files / 'm.onnx'}\nlayer fc  after Tanh\n240 samples · 4 neurons" in ran.out
    high, coin = ran.out.split("  coin: 0")
    assert "1 neuron of 4 carries it alone" in high
    table = high[high.index("fires with/without") :].splitlines()[1:]
    assert [row.split()[0] for row in table if row.endswith("carries it")] == ["2"]
    assert "0 of 4 neurons carry it alone" in coin
    assert "carries it" not in coin


def test_json(cli, files) -> None:  # type: ignore[no-untyped-def]  # noqa: F811
    command = asked(files, "--json", "--concept", "high", "--before", "--seed", 3, "--neurons", "1:4", "--no-untrained")
    first: Ran = cli(*command)
    record = json.loads(first.out)
    SCHEMA.validate(record)
    assert (record["after"], record["value"], record["seed"]) == (None, "sums", 3)
    (concept,) = record["concepts"]
    assert concept["neurons"][0]["neuron"] == 2
    assert [one["verdict"]["carries"] for one in concept["neurons"]] == [True, False, False]
    assert concept["probes"][0]["neurons"] == [1, 2, 3]
    assert {control["kind"] for control in concept["single_controls"]} == {"shuffled", "random"}


def test_the_same_seed_says_the_same(cli, files) -> None:  # type: ignore[no-untyped-def]  # noqa: F811
    command = asked(files, "--json", "--probe", "single")
    assert cli(*command).out == cli(*command).out


def test_pictures(cli, files) -> None:  # type: ignore[no-untyped-def]  # noqa: F811
    picture, bars = files / "probe.svg", files / "bars.svg"
    ran: Ran = cli(*asked(files, "--concept", "high", "--picture", picture, "--histogram", bars, "-o", files / "t.txt"))
    assert (ran.code, ran.out, ran.err) == (0, "", "")
    assert "high = True" in picture.read_text("utf-8")
    assert "threshold" in bars.read_text("utf-8")
    assert (files / "t.txt").read_text("utf-8").startswith("model ")


@pytest.mark.parametrize(
    ("more", "changes", "said"),
    [
        ([], {"layer": "fd"}, "no layer is called 'fd'; near it are fc"),
        (["--concept", "low"], {}, "y.npz: holds no labels called 'low'; there are high, coin"),
        (["--picture", "{here}/p.svg"], {}, "a picture is of one concept; name it with --concept, one of high, coin"),
        (["--picture", "{here}/p.txt"], {}, "its name ends in none of .svg, .png, .pdf, .dot"),
        (["--groups", "{here}/y.npz"], {}, "y.npz: holds 2 arrays (high, coin); groups are one array"),
        ([], {"data": "none.npz"}, "none.npz"),
        ([], {"labels": "m.onnx"}, "m.onnx: no labels can be read"),
        ([], {"labels": "short.npz"}, "label 'y' has 239 values; the data have 240 rows"),
        ([], {"data": "wide.npz"}, "input 'x' takes float32 [n, 12]; the data have rows of shape [5]"),
        ([], {"data": "other.npz"}, "no input is called 'z'; near it are x"),
        ([], {"labels": "one.npz"}, "label 'same' is 1 in all 240 rows"),
        (["-o", "{here}/x.npz"], {}, "x.npz: is one of the models to read"),
        (["--json", "--top", "3"], {}, "--top shapes tables"),
    ],
)
def test_what_does_not_fit_is_told_in_one_line(cli, files, more, changes, said) -> None:  # type: ignore[no-untyped-def]  # noqa: F811
    np.savez(files / "short.npz", y=np.arange(ROWS - 1) % 2)
    np.savez(files / "one.npz", same=np.ones(ROWS, np.int64))
    np.savez(files / "wide.npz", x=np.zeros((ROWS, 5), np.float32))
    np.savez(files / "other.npz", z=np.zeros((ROWS, WIDE), np.float32), x2=np.zeros((ROWS, WIDE), np.float32))
    before = sorted(os.listdir(files))
    ran: Ran = cli(*asked(files, *(str(part).format(here=files) for part in more), **changes))
    assert (ran.code, ran.out) == (2, "")
    assert said in ran.err
    assert ran.err.count("\n") == 1
    assert "Traceback" not in ran.err
    assert sorted(os.listdir(files)) == before

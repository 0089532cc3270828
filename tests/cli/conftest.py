"""Tiny models, and two ways to run the command line: in this process, and as a process of its own."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

ROOT = Path(__file__).parents[2]

# Runs the command line on analyses made by hand, whatever the files hold: loading is tested elsewhere.
DRIVER = """
import sys
sys.path.insert(0, {root!r})
import graphneurons.cli.analyze as analyze
import tests.sample_analyses as samples
analyze.analysis_of = lambda path, *_: getattr(samples, {sample!r})()
from graphneurons.cli import main
main()
"""


@dataclass(frozen=True)
class Ran:
    code: int
    out: str
    err: str


@pytest.fixture
def cli(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Ran]]:
    """``cli("analyze", path)`` in this process."""
    for name in ("COLUMNS", "NO_COLOR", "FORCE_COLOR", "GRAPHNEURONS_DEBUG"):
        monkeypatch.delenv(name, raising=False)
    before = signal.getsignal(signal.SIGTERM)

    def run(*arguments: object) -> Ran:
        from graphneurons.cli.running import run as start

        code = start([str(argument) for argument in arguments])
        captured = capsys.readouterr()
        return Ran(code, captured.out, captured.err)

    yield run
    signal.signal(signal.SIGTERM, before)


def environment(**changes: str) -> dict[str, str]:
    kept = {k: v for k, v in os.environ.items() if k not in ("COLUMNS", "NO_COLOR", "FORCE_COLOR", "PYTHONIOENCODING")}
    # An empty entry would be the working directory.
    places = [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    return kept | {"PYTHONPATH": os.pathsep.join(places)} | changes


def driver(sample: str, *arguments: str) -> list[str]:
    return [sys.executable, "-c", DRIVER.format(root=str(ROOT), sample=sample), *arguments]


@pytest.fixture
def process() -> Callable[..., Ran]:
    """``process("analyze", path, COLUMNS="80")`` as a process of its own, with its output piped."""

    def run(*arguments: object, sample: str = "", encoding: str = "utf-8", **changes: str) -> Ran:
        texts = [str(argument) for argument in arguments]
        command = driver(sample, *texts) if sample else [sys.executable, "-m", "graphneurons", *texts]
        done = subprocess.run(command, capture_output=True, env=environment(**changes), timeout=120, cwd="/")
        return Ran(done.returncode, done.stdout.decode(encoding), done.stderr.decode("utf-8"))

    return run


@pytest.fixture
def tiny(tmp_path: Path) -> Path:
    """A convolution with a dynamic batch, and a weight nothing is known of."""
    return save(tmp_path / "tiny.onnx")


def save(path: Path, node_name: str = "/stem/conv/Conv") -> Path:
    nodes = [
        helper.make_node("Conv", ["x", "stem.conv.weight"], ["c"], name=node_name),
        helper.make_node("Relu", ["c"], ["r"], name="/stem/relu/Relu"),
        helper.make_node("Foo", ["r", "odd"], ["y"], domain="acme", name="/odd/Foo"),
    ]
    weights = [
        numpy_helper.from_array(np.zeros((4, 3, 3, 3), np.float32), "stem.conv.weight"),
        numpy_helper.from_array(np.zeros(5, np.float32), "odd"),
    ]
    graph = helper.make_graph(
        nodes,
        "graph",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 3, 8, 8])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        weights,
    )
    opsets = [helper.make_opsetid("", 20), helper.make_opsetid("acme", 1)]
    path.parent.mkdir(parents=True, exist_ok=True)
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=10, producer_name="tests"), path)
    return path

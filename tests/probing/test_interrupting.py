"""``graphneurons probe`` shows how far it is, and ctrl-C ends it wherever it is: exit code 130, nothing written."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper, parser

from graphneurons.cli.bars import Bar
from tests.cli.conftest import Ran, cli, environment  # noqa: F401

ROWS, WIDE = 1200, 384

# Interrupts itself while the runtime is busy with many rows, or while scikit-learn is.
DRIVER = """
import os, signal, sys, threading

# A shell that starts this in the background has it ignore interrupts.
signal.signal(signal.SIGINT, signal.default_int_handler)
said = []

def interrupt_soon(what):
    if said:
        return
    said.append(what)
    sys.stderr.write(f"interrupted: {what}\\n")
    sys.stderr.flush()
    timer = threading.Timer(0.005, os.kill, (os.getpid(), signal.SIGINT))
    timer.daemon = True
    timer.start()

if sys.argv[1] == "running":
    import onnxruntime
    real = onnxruntime.InferenceSession.run
    def run(self, names, feeds, *more):
        if len(feeds["x"]) > 100:
            interrupt_soon("running")
        return real(self, names, feeds, *more)
    onnxruntime.InferenceSession.run = run
else:
    from graphneurons.probing import fitting
    real, calls = fitting._quietly, []
    def quietly(model, values, labels):
        calls.append(model)
        if len(calls) == 4:
            interrupt_soon(type(model).__name__)
        return real(model, values, labels)
    fitting._quietly = quietly

from graphneurons.cli import main
sys.argv[1:2] = []
main()
"""


@pytest.fixture
def files(tmp_path: Path) -> Path:
    random = np.random.default_rng(0)
    steps = "\n".join(f"h{at + 1} = MatMul(h{at}, w{at % 2})" for at in range(12))
    model = parser.parse_model(f"""<ir_version: 8, opset_import: ["" : 17]>
        g (float[batch, {WIDE}] x) => (float y) {{ h0 = Identity(x) {steps} fc = MatMul(h12, last) y = Relu(fc) }}""")
    for name, width in (("w0", WIDE), ("w1", WIDE), ("last", 6)):
        weight = (random.normal(size=(WIDE, width)) / WIDE**0.5).astype(np.float32)
        model.graph.initializer.append(numpy_helper.from_array(weight, name))
    onnx.save(model, tmp_path / "m.onnx")
    data = random.normal(size=(ROWS, WIDE)).astype(np.float32)
    np.savez(tmp_path / "x.npz", x=data)
    np.savez(tmp_path / "y.npz", high=data[:, 0] > 0)
    (tmp_path / "old.txt").write_text("from before")
    return tmp_path


def asked(files: Path, *more: object) -> list[str]:
    given = ["probe", files / "m.onnx", "fc", "--data", files / "x.npz", "--labels", files / "y.npz", *more]
    return [str(part) for part in given]


@pytest.mark.parametrize(
    ("stage", "probe", "during"),
    [
        ("running", "single", "running"),
        ("fitting", "linear", "GridSearchCV"),
        ("fitting", "nonlinear", "MLPClassifier"),
    ],
)
def test_an_interrupt_ends_it(files: Path, stage: str, probe: str, during: str) -> None:
    before = {path.name: path.read_bytes() for path in files.iterdir()}
    options = ["--probe", probe, "--batch", 600, "-o", files / "old.txt", "--picture", files / "probe.svg"]
    options = options if probe == "linear" else options[:-2]
    command = [sys.executable, "-c", DRIVER, stage, *asked(files, *options)]
    ran = subprocess.run(command, env=environment(), capture_output=True, timeout=120, cwd="/")
    assert ran.returncode == 130
    assert ran.stdout == b""
    assert ran.stderr.decode().splitlines()[0] == f"interrupted: {during}"
    assert b"Traceback" not in ran.stderr
    assert {path.name: path.read_bytes() for path in files.iterdir()} == before


def test_the_bar_goes_up_while_it_runs_and_while_it_learns(cli, files, monkeypatch) -> None:  # type: ignore[no-untyped-def]  # noqa: F811
    seen: list[float] = []
    monkeypatch.setattr(Bar, "show", lambda self, done, to_do: seen.append(done / to_do))
    ran: Ran = cli(*asked(files, "--probe", "single", "--batch", 100))
    assert (ran.code, ran.err) == (0, "")
    assert seen == sorted(seen)
    assert sum(share <= 0.1 for share in seen) == ROWS // 100, "every batch"
    assert sum(0.1 < share <= 0.2 for share in seen) == ROWS // 100, "every batch of the untrained copy"
    assert seen[-1] == 1
    assert len(set(seen)) > 2 * ROWS // 100 + 3

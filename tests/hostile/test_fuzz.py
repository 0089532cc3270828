"""Damaged models in great number: nothing but the package's own errors may come of them.

``GRAPHNEURONS_FUZZ_INPUTS`` (20,000) and ``GRAPHNEURONS_FUZZ_BASE`` choose how many and which.
"""

from __future__ import annotations

import json
import os
import resource
import signal
import traceback
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from math import prod
from pathlib import Path
from types import FrameType

import pytest

from graphneurons import Analysis, GraphNeuronsError, analyze, load
from graphneurons.load import load_bytes
from graphneurons.reports.json import dumps

from .fuzz import BASE, damaged, seeds
from .running import Runner, broken_promises, raw_characters

INPUTS = int(os.environ.get("GRAPHNEURONS_FUZZ_INPUTS", "20000"))
START = int(os.environ.get("GRAPHNEURONS_FUZZ_BASE", str(BASE)))
CHUNKS = 40
SECONDS = 5
SPARE = 2**30
"""Address space that one input may take on top of what the process has, in bytes."""


class TooLong(BaseException):
    """Not an Exception: nothing may catch it on the way."""


@contextmanager
def bounded() -> Iterator[None]:
    """At most `SECONDS` and `SPARE` for what runs inside; a warning from numpy is an error."""

    def stop(_: int, __: FrameType | None) -> None:
        raise TooLong

    size = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    before = signal.signal(signal.SIGALRM, stop)
    resource.setrlimit(resource.RLIMIT_AS, (size + SPARE, hard))
    signal.setitimer(signal.ITIMER_REAL, SECONDS)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))
        signal.signal(signal.SIGALRM, before)


def consistent(analysis: Analysis) -> None:
    """What holds of every analysis, however strange the model."""
    totals = analysis.totals
    assert 0 <= totals.labelled_elements <= totals.weight_elements
    assert all(layer.neurons * layer.synapses_per_neuron == layer.synapses for layer in analysis.layers)
    for each in (*analysis.layers, *analysis.lookups, *analysis.modulators):
        for use in each.weights:
            assert [axis.size for axis in use.axes] == list(use.weight.shape)
            sizes = [prod(factor.size for factor in axis.factors) for axis in use.axes]
            assert all(size <= axis.size for size, axis in zip(sizes, use.axes, strict=True))
            assert use.part or sizes == list(use.weight.shape)


def attempt(data: bytes, folder: Path | None) -> None:
    """Load, analyze and report: from a file if there is a folder to write it to, else from memory."""
    try:
        if folder is None:
            graph = load_bytes(data)
        else:
            (folder / "model.onnx").write_bytes(data)
            graph = load(folder / "model.onnx")
        analysis = analyze(graph)
        report = dumps(analysis)
    except GraphNeuronsError as error:
        said = str(error)
        assert said
        assert "\n" not in said
        assert not raw_characters(said)
        return
    consistent(analysis)
    json.loads(report)


@pytest.mark.parametrize("chunk", range(CHUNKS))
def test_damaged_models(chunk: int, tmp_path: Path, pytestconfig: pytest.Config) -> None:
    (tmp_path / "w.bin").write_bytes(bytes(128))
    failures: list[str] = []
    for index in range(chunk, INPUTS, CHUNKS):
        done, data = damaged(START, index)
        try:
            with bounded():
                attempt(data, tmp_path if index % 8 == 0 or "external" in done else None)
        except (Exception, TooLong) as error:
            assert pytestconfig.cache is not None
            kept = pytestconfig.cache.mkdir("fuzz") / f"{START}-{index}.onnx"
            kept.write_bytes(data)
            at = traceback.extract_tb(error.__traceback__)[-1]
            where = f"{Path(at.filename).name}:{at.lineno} in {at.name}"
            failures.append(f"base {START}, index {index} ({done}): {error!r:.200} at {where}; kept as {kept}")
    assert not failures, "\n".join([f"{len(failures)} failed", *failures[:20]])


@pytest.mark.parametrize("form", ["text", "csv", "markdown"])
def test_reports_of_damaged_models(form: str, runner: Runner, tmp_path: Path) -> None:
    (tmp_path / "w.bin").write_bytes(bytes(128))
    path = tmp_path / "model.onnx"
    shown = 0
    for index in range(0, INPUTS, max(1, INPUTS // 150)):
        done, data = damaged(START, index)
        path.write_bytes(data)
        outcome = runner("analyze", path, "--format", form, "--all", cwd=tmp_path)
        assert broken_promises(outcome) == [], f"base {START}, index {index} ({done}): {outcome.stderr}"
        assert (outcome.stdout == "") == (outcome.exit == 2)
        shown += outcome.exit == 0
    assert shown > 10, "nearly all damaged models were refused: the fuzzer does not get past the loader"


@pytest.mark.parametrize("name", list(seeds()))
def test_the_models_it_starts_from_are_good(name: str, runner: Runner, tmp_path: Path) -> None:
    (tmp_path / "w.bin").write_bytes(bytes(128))
    path = tmp_path / "model.onnx"
    path.write_bytes(seeds()[name])
    checked = runner(path, cwd=tmp_path, program="checker")
    assert checked.exit == 0, checked.stderr
    outcome = runner("analyze", path, "--json", cwd=tmp_path)
    assert outcome.exit == 0, outcome.stderr
    assert json.loads(outcome.stdout)["totals"]["weight_elements"] > 0


def test_the_same_number_makes_the_same_model() -> None:
    assert [damaged(BASE, index) for index in range(50)] == [damaged(BASE, index) for index in range(50)]
    assert len({data for _, data in (damaged(BASE, index) for index in range(50))}) > 45

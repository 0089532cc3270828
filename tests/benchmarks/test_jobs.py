"""The tables hold together: names, models, targets; and one tiny job goes from end to end without peers."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import pytest

from benchmarks.jobs import JOBS
from benchmarks.measured import Session, do
from benchmarks.measuring import FailedError
from benchmarks.models.cache import WrongSizeError, cached
from benchmarks.models.table import MODELS, Model, Recipe
from benchmarks.peers import PEERS, PINS, ROOT, Environment
from benchmarks.targets import Target
from benchmarks.ways import Job, Scaling, Way, code, on_file
from benchmarks.works import files, modules

MEASURED_ALIKE = {"python", "torch", "onnx", "onnx-ir", "graphneurons"}
WAYS = [(job, way) for job in JOBS for way in job.ways]


@pytest.mark.parametrize("job", JOBS, ids=lambda job: job.name)
def test_a_job_names_its_ways(job: Job) -> None:
    names = [way.name for way in job.ways]
    assert len(set(names)) == len(names)
    scripted = bool(job.scripts)
    for target in job.targets:
        assert scripted or target.way in names
        assert scripted or target.beside is None or target.beside in names
        assert (target.beside is None) == (target.how == "plain")
    for _, way in job.scaling.sizes if job.scaling else ():
        assert way in names


@pytest.mark.parametrize(("job", "way"), WAYS, ids=lambda each: each.name)
def test_a_way_names_models_works_and_peers(job: Job, way: Way) -> None:
    assert way.peer in MEASURED_ALIKE | {peer.distribution for peer in PEERS}
    if way.works:
        assert way.command[5] in files.WORKS | modules.WORKS
    known = {"python", "bin", "scratch", "gpt3", *(model.name for model in MODELS)}
    assert {part[1:].partition("}")[0] for part in way.command if part.startswith("{")} <= known


def test_every_peer_is_measured_and_pinned() -> None:
    assert {peer.distribution for peer in PEERS} <= {way.peer for _, way in WAYS}
    pinned = "\n".join(file.read_text() for file in PINS).lower().replace("_", "-")
    for peer in PEERS:
        assert f"\n{peer.distribution}==" in pinned
    assert "torchvision" not in pinned


def environment(folder: Path) -> Environment:
    """This interpreter instead of one with the peers."""
    home = Environment(folder, {"onnx-card": "not installed: there is no such thing"})
    home.python.parent.mkdir(parents=True)
    home.python.write_text(f'#!/bin/sh\nexec {sys.executable} "$@"\n')
    home.python.chmod(0o755)
    (home.sources).symlink_to(ROOT)
    return home


def session(folder: Path) -> Session:
    home = environment(folder)
    variables = home.variables(isolated=False)
    assert variables["http_proxy"].endswith(":9")
    return Session(home, variables, False, 1, lambda message: None, folder)


def test_a_tiny_job_from_end_to_end(tmp_path: Path) -> None:
    ways = (
        on_file("ours", "analyze", "small"),
        code("nothing", "pass", peer="python"),
        code("broken", "raise SystemExit('see ' + __import__('os').environ['HOME'])"),
        code("absent", "pass", peer="onnx-card"),
    )
    targets = (Target("CPU", "ours", "work_cpu", 60), Target("CPU", "ours", "cpu", 0, "ratio", "absent"))
    scaling = Scaling("cpu", ((1, "nothing"), (2, "ours")))
    record = do(Job("tiny", "Tiny", ways, targets, scaling=scaling), session(tmp_path))
    ours, nothing, broken = record["ways"]
    assert ours["samples"][0]["work_cpu"] > 0
    assert "work_cpu" not in nothing["samples"][0]
    assert broken["failure"] == "status 1: see .../home"
    assert record["left_out"] == [{"name": "absent", "reason": "not installed: there is no such thing"}]
    assert [target["reached"] for target in record["targets"]] == [True, None]
    assert record["exponent"] > 0
    assert record["models"]["small"]["bytes"] < 20_000


def test_models_are_built_once_and_weighed(tmp_path: Path) -> None:
    built = []

    def build(arguments: list[str]) -> None:
        built.append(arguments[1:])
        Path(arguments[0]).write_bytes(b"x" * 1_000_000)

    good = Model("good", "", Recipe(("chain", 5), (0.9, 1.1)), Recipe(("chain", 2), (1, 1)))
    assert cached(tmp_path, good, False, build) == cached(tmp_path, good, False, build)
    assert cached(tmp_path, good, True, build) != cached(tmp_path, good, False, build)
    assert built == [["chain", "5"], ["chain", "2"]]
    shutil.rmtree(tmp_path)
    heavy = Model("heavy", "", Recipe(("chain", 5), (2, 3)))
    with pytest.raises(WrongSizeError, match=r"heavy has 1\.0 MB, not 2 to 3"):
        cached(tmp_path, heavy, False, build)


def test_a_model_that_cannot_be_built(tmp_path: Path) -> None:
    with pytest.raises(FailedError, match="status 1"):
        session(tmp_path)._build([str(tmp_path / "model.onnx"), "nonsense"])

"""Tables and the page, from JSON alone."""

from __future__ import annotations

import json
from typing import Any

import pytest

from benchmarks import reporting
from benchmarks.__main__ import PAGE, REMAINS, RESULTS, jobs, main, merged, parsed
from benchmarks.jobs import JOBS


def sample(wall: float, work: float | None = None) -> dict[str, float]:
    whole = {"wall": wall, "cpu": wall / 2, "mb": 120.0}
    return whole if work is None else whole | {"work_wall": work, "work_cpu": work, "work_mb": 4.0}


def way(name: str, peer: str, *samples: dict[str, float], failure: str | None = None) -> dict[str, Any]:
    return {"name": name, "peer": peer, "command": name, "samples": list(samples), "failure": failure}


JOB: dict[str, Any] = {
    "name": "nodes",
    "title": "Fifty nodes",
    "repeats": 3,
    "date": "2030-01-02",
    "commit": "abc1234",
    "load": 0.5,
    "models": {"chain": {"about": "a chain", "bytes": 1_620_000_000, "recipe": "chain 50"}},
    "ways": [
        way("ours", "graphneurons", sample(1, 0.5), sample(3, 0.7), sample(2, 0.6)),
        way("ours, whole", "graphneurons", sample(2)),
        way("theirs", "onnx", sample(4, 6)),
        way("theirs, whole", "onnx-card", sample(40)),
        way("hangs", "onnx-tool", failure="stopped after 60 s"),
    ],
    "left_out": [{"name": "gone", "reason": "not installed: no wheel"}],
    "targets": [
        {"text": "CPU", "limit": 0.5, "unit": "", "stretch": False, "value": 0.1, "reached": True},
        {"text": "memory", "limit": 100, "unit": "MB", "stretch": False, "value": 120.4, "reached": False},
        {"text": "wish", "limit": 1.3, "unit": "", "stretch": True, "value": 2.0, "reached": False},
        {"text": "other", "limit": 1, "unit": "s", "stretch": False, "value": None, "reached": None},
    ],
    "exponent": 1.018,
}
RECORD: dict[str, Any] = {
    "quick": False,
    "machine": {"processor": "Abacus", "cores": 2, "memory_gb": 4, "system": "Linux 9", "python": "3.99"},
    "versions": {"onnx": "9.9"},
    "network": "none",
    "missing": {"onnx-gone": "not installed: no wheel"},
    "jobs": [JOB],
}


def test_rows() -> None:
    assert reporting.rows_of(JOB) == [
        ("ours", "2", "1", "120", "0.6", "4", "1"),
        ("ours, whole", "2", "1", "120", "", "", "1"),
        ("theirs", "4", "2", "120", "6", "4", "10"),
        ("theirs, whole", "40", "20", "120", "", "", "20"),
        ("hangs", "failed: stopped after 60 s", "", "", "", "", ""),
    ]


def test_verdicts() -> None:
    assert [reporting.verdict(target) for target in JOB["targets"]] == [
        ("0.5 x", "0.1 x", "reached"),
        ("100 MB", "120 MB", "**missed**"),
        ("1.3 x (stretch)", "2 x", "**missed**"),
        ("1 s", "not measured", ""),
    ]


def test_for_a_terminal() -> None:
    lines = reporting.text(JOB).splitlines()
    assert lines[0] == "nodes: Fifty nodes"
    assert lines[3].split() == ["ours", "2", "1", "120", "0.6", "4", "1"]
    assert "hangs          failed: stopped after 60 s" in lines
    assert "exponent 1.02" in lines
    assert "gone: not measured, not installed: no wheel" in lines
    assert lines[-3].split() == ["memory", "100", "MB", "120", "MB", "missed"]


def test_the_page_says_everything() -> None:
    page = reporting.document(RECORD, "## What remains\n")
    for said in (
        "Abacus, 2 cores, 4 GB, Linux 9, Python 3.99; onnx 9.9.",
        "Not measured: onnx-gone, not installed: no wheel.",
        "## Targets: 1 of 3 reached, 1 without a peer to compare with",
        "| [nodes](#nodes): memory | 100 MB | 120 MB | **missed** |",
        "Fifty nodes. 3 repeats, 2030-01-02, commit abc1234, load 0.5 before.",
        "`chain` 1.62 GB (a chain)",
        "| theirs | 4 | 2 | 120 | 6 | 4 | 10 |",
        "to the power of 1.02",
        "python -m benchmarks --quick",
    ):
        assert said in page
    assert page == reporting.document(json.loads(json.dumps(RECORD)), "## What remains\n")


def test_the_page_is_what_the_committed_results_say() -> None:
    results = json.loads(RESULTS.read_text("utf-8"))
    wanted = reporting.document(results, REMAINS.read_text("utf-8"))
    assert PAGE.read_text("utf-8") == wanted, "run python -m benchmarks --document"
    assert not results["quick"]
    assert [job["name"] for job in results["jobs"]] == [job.name for job in JOBS]


@pytest.mark.parametrize("value", [0.0, 0.00123, 1.0, 12.3, 99.9, 100.0, 3467.0])
def test_numbers_come_back(value: float) -> None:
    assert float(reporting.number(value).replace(",", "")) == pytest.approx(value, rel=0.005)


def test_a_new_record_takes_the_place_of_the_old() -> None:
    first, last = JOBS[0].name, JOBS[-1].name
    before = [{"name": last, "date": "old"}, {"name": first, "date": "old"}, {"name": "no longer"}]
    after = merged(before, {"name": last, "date": "new"})
    assert after == [{"name": first, "date": "old"}, {"name": last, "date": "new"}]


def test_choosing_jobs(capsys: pytest.CaptureFixture[str]) -> None:
    assert [job.name for job in jobs(parsed(["--jobs", "nodes,starting"]))] == ["starting", "nodes"]
    assert len(jobs(parsed(["--quick"]))) < len(jobs(parsed([]))) == len(JOBS)
    assert main(["--list"]) == 0
    assert len(capsys.readouterr().out.splitlines()) == len(JOBS)
    with pytest.raises(SystemExit):
        parsed(["--jobs", "nonsense"])
    assert "no job is called nonsense" in capsys.readouterr().err

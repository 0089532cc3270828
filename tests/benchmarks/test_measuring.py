"""Medians, ratios, exponents; processes that do well, fail and hang; interleaving."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from benchmarks.measuring import FailedError, Sample, forget, interleaved, machine, medians, run, warm
from benchmarks.targets import Target, exponent

FOUND = {"ours": {"cpu": 2.0, "mb": 150.0}, "theirs": {"cpu": 8.0, "mb": 60.0}, "nothing": {"cpu": 0.0}}


@pytest.mark.parametrize(
    ("samples", "expected"),
    [
        ([], {}),
        ([{"wall": 3.0}], {"wall": 3.0}),
        ([{"wall": 3.0}, {"wall": 9.0}, {"wall": 1.0}], {"wall": 3.0}),
        ([{"wall": 3.0, "cpu": 1.0}, {"wall": 5.0}], {"wall": 4.0}),
    ],
)
def test_medians(samples: list[dict[str, float]], expected: dict[str, float]) -> None:
    assert medians(samples) == expected


@pytest.mark.parametrize(
    ("target", "value", "reached"),
    [
        (Target("", "ours", "cpu", 2), 2.0, True),
        (Target("", "ours", "cpu", 1.9), 2.0, False),
        (Target("", "ours", "cpu", 0.25, "ratio", "theirs"), 0.25, True),
        (Target("", "ours", "mb", 89, "over", "theirs"), 90.0, False),
        (Target("", "ours", "cpu", 9, "ratio", "nothing"), float("inf"), False),
        (Target("", "ours", "work_cpu", 1), None, None),
        (Target("", "absent", "cpu", 1), None, None),
        (Target("", "ours", "cpu", 1, "ratio", "absent"), None, None),
    ],
)
def test_targets(target: Target, value: float | None, reached: bool | None) -> None:
    record = target.record(FOUND)
    assert (record["value"], record["reached"]) == (value, reached)


@pytest.mark.parametrize("power", [0.5, 1.0, 2.0])
def test_exponent(power: float) -> None:
    sizes = [5.0, 10.0, 20.0, 50.0]
    assert exponent(sizes, [3 * size**power for size in sizes]) == pytest.approx(power)


def measured(code: str, tmp_path: Path, **options: object) -> Sample:
    command = [sys.executable, "-S", "-c", code]
    return run(command, **{"environment": os.environ, "folder": tmp_path, "timeout": 20, **options})


def test_a_process_and_its_children_are_counted(tmp_path: Path) -> None:
    spin = "import time\nwhile time.process_time() < 0.15: pass"
    code = f"import subprocess, sys\nsubprocess.run([sys.executable, '-S', '-c', {spin!r}])\nx = bytearray(64 << 20)"
    sample = measured(code, tmp_path)
    assert 0.15 <= sample.cpu < 5
    assert sample.wall >= 0.15
    assert sample.mb >= 64
    assert "work_cpu" not in sample.record()


def test_what_a_work_measured_inside(tmp_path: Path) -> None:
    code = "print('chatter')\nprint('{\"wall\": 2, \"cpu\": 1.5, \"mb\": 3}')"
    sample = measured(code, tmp_path, works=True)
    assert (sample.work_wall, sample.work_cpu, sample.work_mb) == (2, 1.5, 3)


@pytest.mark.parametrize(
    ("code", "options", "reason"),
    [
        ("raise SystemExit('no such thing')", {}, "status 1: no such thing"),
        ("import os; os._exit(3)", {}, "status 3: says nothing"),
        ("import os; os.kill(os.getpid(), 11)", {}, "status -11: says nothing"),
        ("import time; time.sleep(60)", {"timeout": 0.3}, "stopped after 0.3 s"),
        ("print('nonsense')", {"works": True}, "its last line is no measurement: nonsense"),
    ],
)
def test_failures_have_a_reason(code: str, options: dict[str, object], reason: str, tmp_path: Path) -> None:
    with pytest.raises(FailedError) as failed:
        measured(code, tmp_path, **options)
    assert str(failed.value) == reason


def test_allowed_statuses(tmp_path: Path) -> None:
    assert measured("raise SystemExit(1)", tmp_path, allowed=(0, 1)).wall > 0


def test_ways_take_turns_and_failures_are_not_repeated() -> None:
    order: list[str] = []

    def way(name: str) -> Sample:
        order.append(name)
        if name == "b":
            raise FailedError("it hangs")
        return Sample(1, 1, 1)

    samples, failures = interleaved({name: lambda name=name: way(name) for name in "abcd"}, 3, once="d")
    assert "".join(order) == "abcdacac"
    assert {name: len(found) for name, found in samples.items()} == {"a": 3, "b": 0, "c": 3, "d": 1}
    assert failures == {"b": "it hangs"}


def test_page_cache(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_bytes(b"x" * 100_000)
    warm(file, 1e6)
    warm(file, 10)
    forget(file)
    assert file.stat().st_size == 100_000


def test_machine_names_no_host() -> None:
    assert set(machine()) == {"processor", "cores", "memory_gb", "system"}
    assert os.uname().nodename not in str(machine())

"""Talks to `runner`: the program under test on one file, with limits, as a user or a pipeline would run it."""

from __future__ import annotations

import json
import subprocess
import sys
import unicodedata
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
WARM = (
    "numpy",
    "onnx",
    "click",
    "numpy.ma",
    "graphneurons.cli.analyze",
    "graphneurons.cli.arguments",
    "graphneurons.cli.commands",
    "graphneurons.cli.failing",
    "graphneurons.cli.running",
    "graphneurons.cli.writing",
    "graphneurons.load.reading",
    "graphneurons.analyzing",
    "graphneurons.load.onnx",
    "graphneurons.reports.json",
    "graphneurons.reports.text",
    "graphneurons.reports.csv",
    "graphneurons.reports.markdown",
)


@dataclass(frozen=True)
class Outcome:
    exit: int | str
    stdout: str
    stderr: str
    seconds: float
    """CPU time: what a run costs does not depend on what else the machine is doing."""
    grown: int
    opened: tuple[str, ...]
    touched: tuple[str, ...]


class Runner:
    """A process that forks one child per job."""

    def __init__(self, *modules: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, str(Path(__file__).with_name("runner.py")), *modules],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=ROOT,
            env={"PATH": "/usr/bin:/bin", "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "HOME": "/nonexistent"},
        )

    def __call__(
        self,
        *arguments: str | Path,
        cwd: Path,
        program: str = "graphneurons",
        seconds: float = 20.0,
        canaries: list[Path] | None = None,
    ) -> Outcome:
        job: dict[str, Any] = {
            "program": program,
            "argv": [str(argument) for argument in arguments],
            "cwd": str(cwd),
            "seconds": seconds,
            "canaries": [str(path) for path in canaries or []],
        }
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(json.dumps(job) + "\n")
        self.process.stdin.flush()
        said = json.loads(self.process.stdout.readline())
        return Outcome(**{**said, "opened": tuple(said["opened"]), "touched": tuple(said["touched"])})

    def close(self) -> None:
        self.process.communicate()


def raw_characters(text: str) -> set[str]:
    """What must never be shown as it is: control, format, surrogate, separator and non-characters."""
    risky = {c for c in set(text) if unicodedata.category(c) in ("Cc", "Cf", "Cs", "Zl", "Zp")}
    risky |= {c for c in set(text) if ord(c) & 0xFFFE == 0xFFFE or 0xFDD0 <= ord(c) <= 0xFDEF}
    return risky - {"\n"}


def log_commands(text: str) -> list[str]:
    """Lines a CI system would obey. GitHub and Azure look for theirs anywhere in a line."""
    return [
        line
        for line in text.splitlines()
        if line.lstrip().startswith(("::", "section_start:", "section_end:"))
        or any(mark in line for mark in ("##[", "##vso[", "##teamcity["))
    ]


def broken_promises(outcome: Outcome, limit: float = 20.0, memory: int = 512 * 2**20) -> list[str]:
    """What no run may do, whatever the file."""
    said = outcome.stdout + outcome.stderr
    found = []
    if outcome.exit not in (0, 2):
        found.append(f"exit code {outcome.exit}")
    if outcome.seconds > limit:
        found.append(f"took {outcome.seconds:.1f} s of CPU time")
    if outcome.grown > memory:
        found.append(f"took {outcome.grown / 2**20:.0f} MiB")
    if "Traceback" in said or "error: internal" in said or ": internal: " in said:
        found.append("an exception that is not the package's own")
    if any(not line.startswith(("error: ", "warning: ")) for line in outcome.stderr.splitlines()):
        found.append("something else than errors and warnings on stderr")
    if "not enough memory" in outcome.stderr:
        found.append("ran into the memory limit")
    if raw := raw_characters(said):
        found.append(f"raw characters {sorted(map(ascii, raw))}")
    if commands := log_commands(said):
        found.append(f"lines a CI system would obey: {commands[:3]!r}")
    if outcome.touched:
        found.append(f"opened {outcome.touched}")
    return found


def findings(outcome: Outcome) -> str:
    """Everything a JSON report says besides labels."""
    report = json.loads(outcome.stdout)
    return json.dumps([report["notices"], report["unlabelled"]]) if report["notices"] or report["unlabelled"] else ""

"""Do a job: build its models, run its ways in turn, and write down what came out."""

from __future__ import annotations

import json
import subprocess
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.jobs import NAIVE, NOTHING, READ, SCAN, scanned
from benchmarks.measuring import METRICS, FailedError, Sample, forget, interleaved, last_line, medians, run, warm
from benchmarks.models.cache import WrongSizeError, cached
from benchmarks.models.table import MODELS, NETWORKS
from benchmarks.peers import Environment
from benchmarks.targets import exponent
from benchmarks.ways import Job, Script, Way

WARM_UP_TO = 4e9
SCRIPT_WAYS = {"read": READ, "naive": NAIVE, "scan": SCAN, "nothing": NOTHING}


@dataclass(frozen=True, slots=True)
class Session:
    """What stays the same during one run of the harness."""

    environment: Environment
    variables: Mapping[str, str]
    quick: bool
    repeat: int | None
    say: Callable[[str], None]
    scratch: Path

    def model(self, name: str) -> Path:
        """The file of a model, built now if it was not before. Raises `FailedError`."""
        found = next(model for model in MODELS if model.name == name)
        try:
            return cached(self.environment.models, found, self.quick, self._build)
        except WrongSizeError as error:
            raise FailedError(str(error)) from None

    def _build(self, arguments: Sequence[str]) -> None:
        self.say(f"building {' '.join(arguments[1:])}")
        command = [str(self.environment.python), "-W", "ignore", "-m", "benchmarks.models", *arguments]
        run(command, environment=self.variables, folder=self.environment.sources, timeout=900)


def do(job: Job, session: Session) -> dict[str, Any]:
    """The record of one job: samples, failures, and targets reached or missed."""
    missing = session.environment.missing
    left_out = [{"name": name, "reason": reason} for name, reason in job.left_out]
    ways = []
    for way in job.ways:
        if way.slow and session.quick:
            left_out.append({"name": way.name, "reason": "only without --quick"})
        elif way.peer in missing:
            left_out.append({"name": way.name, "reason": missing[way.peer]})
        else:
            ways.append(way)
    repeat = session.repeat or job.repeats[session.quick]
    names = sorted({name for way in ways for name in way.models})
    files = {name: session.model(name) for name in names}
    cold = {name for way in ways for name in way.cold}
    for name, path in files.items():
        if name not in cold:
            for file in path.parent.iterdir():
                warm(file, WARM_UP_TO)
    runs = {way.name: _runner(way, files, session) for way in ways}
    samples, failures = interleaved(
        runs,
        repeat,
        lambda name, at: session.say(f"{job.name}: {name} ({at + 1} of {repeat})"),
        {way.name for way in ways if way.once},
    )
    rows: list[dict[str, Any]] = [
        {
            "name": way.name,
            "peer": way.peer,
            "command": " ".join(way.command),
            "samples": [sample.record() for sample in samples[way.name]],
            "failure": _neutral(failures.get(way.name), session),
        }
        for way in ways
    ]
    for script in job.scripts:
        arguments = script.quick if session.quick else script.arguments
        if arguments is None:
            left_out.append({"name": " ".join(script.arguments), "reason": "only without --quick"})
        else:
            rows += scripted(script, arguments, session)
    found = {str(row["name"]): medians(row["samples"]) for row in rows}
    record: dict[str, Any] = {
        "name": job.name,
        "title": job.title,
        "repeats": repeat,
        "models": {name: _about(name, path, session.quick) for name, path in files.items()},
        "ways": rows,
        "left_out": left_out,
        "targets": [target.record(found) for target in job.targets],
    }
    if job.scaling:
        sized = [(size, found.get(way, {}).get(job.scaling.metric)) for size, way in job.scaling.sizes]
        known = [(size, cost) for size, cost in sized if cost is not None]
        record["exponent"] = round(exponent(*zip(*known, strict=True)), 3) if len(known) > 1 else None
    return record


def _runner(way: Way, files: Mapping[str, Path], session: Session) -> Callable[[], Sample]:
    names = {
        "python": session.environment.python,
        "bin": session.environment.python.parent,
        "scratch": session.scratch,
        **{name: chosen[session.quick] for name, chosen in NETWORKS.items()},
        **files,
    }
    filled = [part.format_map(names) if part.count("{") else part for part in way.command]

    def once() -> Sample:
        for name in way.cold:
            for file in files[name].parent.iterdir():
                forget(file)
        return run(
            filled,
            environment=session.variables,
            folder=session.environment.sources,
            timeout=way.timeout,
            allowed=way.allowed,
            works=way.works,
        )

    return once


def _about(name: str, path: Path, quick: bool) -> dict[str, Any]:
    model = next(model for model in MODELS if model.name == name)
    size = sum(file.stat().st_size for file in path.parent.iterdir())
    return {"about": model.about, "bytes": size, "recipe": " ".join(map(str, model.recipe(quick).steps))}


def _neutral(reason: str | None, session: Session) -> str | None:
    """``reason`` without this machine's paths."""
    return reason and reason.replace(str(session.scratch), "...").replace(str(session.environment.folder), "...")


def scripted(script: Script, arguments: Sequence[str], session: Session) -> list[dict[str, Any]]:
    """What `benchmarks/health_scan.py` measured: one sample per way, its medians."""
    report = session.scratch / "script.json"
    session.say(f"health_scan.py {' '.join(arguments)}")
    command = [str(session.environment.python), "benchmarks/health_scan.py", *arguments]
    command += ["--json", str(report), "--directory", str(session.scratch)]
    folder = session.environment.sources
    row: dict[str, Any] = {"peer": "health_scan.py", "command": f"benchmarks/health_scan.py {' '.join(arguments)}"}
    report.unlink(missing_ok=True)
    with tempfile.TemporaryFile() as errors:
        try:
            subprocess.run(
                command, env=dict(session.variables), cwd=folder, timeout=script.timeout, check=True,
                stdout=subprocess.DEVNULL, stderr=errors,
            )  # fmt: skip
            told = json.loads(report.read_text())
        except (subprocess.SubprocessError, OSError, ValueError) as error:
            reason = last_line(errors) or type(error).__name__
            return [{**row, "name": " ".join(arguments), "samples": [], "failure": _neutral(reason, session)}]
    rows = []
    for entry in told:
        size = {"gigabytes": round(entry["gigabytes"], 2)}
        for key, found in entry.items():
            if isinstance(found, dict):
                sample = {name: round(float(found[name]), 6) for name in METRICS if name in found}
                name = scanned(entry["kind"], SCRIPT_WAYS.get(key, key))
                rows.append({**row, **size, "name": name, "samples": [sample], "failure": None})
    return rows

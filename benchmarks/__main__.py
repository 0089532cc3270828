"""``python -m benchmarks``: measure, print a table, save JSON. See docs/performance.md."""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from benchmarks import reporting
from benchmarks.jobs import JOBS
from benchmarks.measured import Session, do
from benchmarks.measuring import FailedError, machine
from benchmarks.peers import ROOT, Environment, copy_sources, cut_network, prepared
from benchmarks.ways import Job

RESULTS, PAGE = ROOT / "benchmarks" / "results.json", ROOT / "docs" / "performance.md"
REMAINS = ROOT / "benchmarks" / "remains.md"
DEFAULT = Path.home() / ".cache" / "graphneurons-bench"


def main(arguments: Sequence[str] | None = None) -> int:
    options = parsed(arguments)
    if options.list:
        for job in JOBS:
            print(f"{job.name:20} {job.title}{'' if job.quick else ' (not with --quick)'}")
        return 0
    if options.document:
        PAGE.write_text(reporting.document(json.loads(RESULTS.read_text()), REMAINS.read_text("utf-8")), "utf-8")
        return 0
    chosen = jobs(options)
    commit = committed()
    environment = prepared(options.env.expanduser().resolve(), say)
    copy_sources(environment)
    target: Path = options.json or environment.folder / "results.json"
    isolated = cut_network()
    say("without a network" if isolated else "the system gives no network namespace: proxies lead nowhere")
    variables = environment.variables(isolated)
    results = started(environment, options, target, isolated)
    with tempfile.TemporaryDirectory(dir=environment.folder) as scratch:
        session = Session(environment, variables, options.quick, options.repeat, say, Path(scratch))
        for job in chosen:
            circumstances = {"date": today(), "commit": commit, "load": round(os.getloadavg()[0], 2)}
            try:
                record = do(job, session) | circumstances
            except FailedError as failure:
                say(f"{job.name}: {failure}")
                return 2
            results["jobs"] = merged(results["jobs"], record)
            target.write_text(json.dumps(results, indent=1) + "\n", "utf-8")
            print(reporting.text(record), flush=True)
    if options.quick:
        print("--quick: models are smaller than those the targets are for")
    missed = [target["text"] for job in results["jobs"] for target in job["targets"] if target["reached"] is False]
    print(f"{len(missed)} targets missed; saved to {target}")
    return 0


def parsed(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser("python -m benchmarks", description="Measures the same work beside its peers.")
    parser.add_argument("--quick", action="store_true", help="smaller models and fewer repeats: minutes")
    parser.add_argument("--jobs", metavar="A,B", help="only these; others in the JSON file stay")
    parser.add_argument("--list", action="store_true", help="the jobs")
    parser.add_argument("--env", type=Path, default=DEFAULT, metavar="DIR", help=f"peers and models; default {DEFAULT}")
    parser.add_argument("--json", type=Path, metavar="FILE", help="where results go; default results.json in DIR")
    parser.add_argument("--repeat", type=int, metavar="N", help="repeats of every job")
    parser.add_argument("--document", action="store_true", help=f"write {PAGE.name} from {RESULTS.name} and stop")
    options = parser.parse_args(arguments)
    if options.repeat is not None and options.repeat < 1:
        parser.error("--repeat is at least 1")
    unknown = set((options.jobs or "").split(",")) - {"", *(job.name for job in JOBS)}
    if unknown:
        parser.error(f"no job is called {', '.join(sorted(unknown))}; see --list")
    return options


def jobs(options: argparse.Namespace) -> list[Job]:
    named = (options.jobs or "").split(",")
    return [job for job in JOBS if (job.name in named if options.jobs else job.quick or not options.quick)]


def started(environment: Environment, options: argparse.Namespace, target: Path, isolated: bool) -> dict[str, Any]:
    """Results without jobs, or with those of ``target`` where only some are measured anew."""
    results: dict[str, Any] = {
        "quick": options.quick,
        "machine": machine() | {"python": platform.python_version()},
        "versions": environment.versions(),
        "network": "none" if isolated else "proxies to nowhere",
        "missing": dict(environment.missing),
        "jobs": [],
    }
    if options.jobs and target.exists():
        before = json.loads(target.read_text("utf-8"))
        if before["quick"] == options.quick and before["machine"] == results["machine"]:
            results["jobs"] = before["jobs"]
    return results


def merged(before: Sequence[dict[str, Any]], record: dict[str, Any]) -> list[dict[str, Any]]:
    """``before`` with ``record`` instead of the one of its name, in the order of the table of jobs."""
    order = [job.name for job in JOBS]
    kept = [job for job in before if job["name"] != record["name"] and job["name"] in order]
    return sorted([*kept, record], key=lambda job: order.index(job["name"]))


def committed() -> str:
    """The commit that is measured, with a mark if the sources differ from it."""
    git = ["git", "-C", str(ROOT)]
    try:
        commit = subprocess.check_output([*git, "rev-parse", "--short", "HEAD"], text=True, stderr=subprocess.DEVNULL)
        changed = subprocess.run([*git, "diff", "--quiet", "HEAD", "--", "graphneurons"]).returncode
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return commit.strip() + (" with changes" if changed else "")


def today() -> str:
    return datetime.now(timezone.utc).strftime("%Y-%m-%d")


def say(message: str) -> None:
    print(f"{time.strftime('%H:%M:%S')} {message}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())

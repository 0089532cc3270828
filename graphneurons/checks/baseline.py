"""Findings that were there before: a baseline lists their fingerprints, and only others count."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from graphneurons.checks.base import CheckReport, ModelReport, Severity, at_least
from graphneurons.checks.fingerprints import fingerprints, readable
from graphneurons.checks.stored import read_stored
from graphneurons.errors import UsageError, printable

VERSION = 1

Baseline = Mapping[str, frozenset[str]]
"""Model path, relative to the baseline's folder -> fingerprints."""


def read_baseline(path: str) -> Baseline:
    """Raises `UsageError` for a file that is no baseline."""
    found = read_stored(path, "baseline", VERSION, "--write-baseline")
    models = found.get("models")
    if not isinstance(models, dict) or not all(_is_entry(entry) for entry in models.values()):
        raise UsageError("is damaged: its models are not lists of findings", file=path)
    return {name: frozenset(entry["fingerprint"] for entry in entries) for name, entries in models.items()}


def _is_entry(entries: object) -> bool:
    return isinstance(entries, list) and all(
        isinstance(entry, dict) and isinstance(entry.get("fingerprint"), str) for entry in entries
    )


def without(report: CheckReport, baseline: Baseline, path: str) -> CheckReport:
    """``report`` without the findings that ``baseline``, read from ``path``, has. A model of which nothing could be
    read gets an error where nothing else fails: no baseline makes it pass."""
    left = (_left(model, baseline.get(key(model, path), frozenset())) for model in report.models)
    return replace(report, models=tuple(_judged(model, report.fail_on) for model in left))


def _left(model: ModelReport, known: frozenset[str]) -> ModelReport:
    kept = tuple(f for f, mark in zip(model.findings, fingerprints(model), strict=True) if mark not in known)
    return replace(model, findings=kept, suppressed=len(model.findings) - len(kept))


def _judged(model: ModelReport, fail_on: Severity) -> ModelReport:
    if model.unread is None or any(at_least(finding.severity, fail_on) for finding in model.findings):
        return model
    return ModelReport(model.path, error=f"{printable(model.path, 1000)}: {model.unread}")


def key(model: ModelReport, path: str) -> str:
    """How a baseline at ``path`` names the model: its path from there."""
    folder = Path(path).resolve().parent
    return readable(os.path.relpath(os.path.abspath(model.path), folder)).replace(os.sep, "/")


def written(report: CheckReport, path: str) -> str:
    """The text of a baseline at ``path`` with all findings of ``report``: one per line, to be reviewed."""
    models: dict[str, list[dict[str, str]]] = {}
    for model in report.models:
        models[key(model, path)] = [
            {"fingerprint": mark, "code": finding.code, "layer": finding.layer or ""}
            for finding, mark in zip(model.findings, fingerprints(model), strict=True)
        ]
    lines = [
        f"  {json.dumps(name)}: [" + ",".join(f"\n   {json.dumps(each)}" for each in entries) + "\n  ]"
        for name, entries in sorted(models.items())
    ]
    return f'{{\n "graphneurons_baseline": {VERSION},\n "models": {{\n' + ",\n".join(lines) + "\n }\n}\n"

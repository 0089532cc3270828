"""GitLab's code quality report: one issue per finding."""

from __future__ import annotations

import hashlib
import json
from typing import Any

from graphneurons.checks.base import CheckReport, Severity
from graphneurons.checks.fingerprints import fingerprints
from graphneurons.reports.findings import located, place
from graphneurons.reports.names import shown

_SEVERITIES: dict[Severity, str] = {"error": "critical", "warning": "major", "info": "info"}


def dumps(report: CheckReport) -> str:
    """The report as a JSON list of issues. A model that could not be read is an issue of its own."""
    issues = []
    for model in report.models:
        path = located(model.path)
        if model.error is not None:
            issues.append(_issue("unreadable", shown(model.error, 1000), "blocker", path, "unreadable"))
        for finding, mark in zip(model.findings, fingerprints(model), strict=True):
            where = place(finding)
            text = f"{finding.code}: {where + ': ' if where else ''}{shown(finding.message, 1000)}"
            issues.append(_issue(finding.code, text, _SEVERITIES[finding.severity], path, mark))
    text = json.dumps(issues, indent=1, ensure_ascii=True, allow_nan=False)
    # Azure pipelines act upon any "##vso[" in a log, so no two number signs are written side by side.
    return text.replace("##", "#\\u0023") + "\n"


def _issue(name: str, description: str, severity: str, path: str, mark: str) -> dict[str, Any]:
    return {
        "description": description,
        "check_name": name,
        "fingerprint": hashlib.sha256(f"{path}\0{mark}".encode()).hexdigest(),
        "severity": severity,
        "location": {"path": path, "lines": {"begin": 1}},
    }

"""Workflow commands of GitHub Actions: one annotation per finding."""

from __future__ import annotations

from graphneurons.checks.base import CheckReport, Severity
from graphneurons.reports.findings import located, place
from graphneurons.reports.names import shown

_COMMANDS: dict[Severity, str] = {"error": "error", "warning": "warning", "info": "notice"}


def dumps(report: CheckReport) -> str:
    """The report as lines that start with ``::error``, ``::warning`` or ``::notice``."""
    lines = []
    for model in report.models:
        file = _property(shown(located(model.path), 4096))
        if model.error is not None:
            lines.append(f"::error file={file},title=graphneurons::{_data(shown(model.error, 1000))}")
        for finding in model.findings:
            where = place(finding)
            text = f"{where + ': ' if where else ''}{shown(finding.message, 1000)}. Fix: {finding.fix}"
            title = _property(f"{finding.code} {finding.name}")
            lines.append(f"::{_COMMANDS[finding.severity]} file={file},title={title}::{_data(text)}")
    return "".join(f"{line}\n" for line in lines)


def _data(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")

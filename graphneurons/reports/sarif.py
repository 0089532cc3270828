"""SARIF 2.1.0: one result per rule and layer, as code scanning services read it."""

from __future__ import annotations

import os
from typing import Any
from urllib.parse import quote

from graphneurons.checks.base import CheckReport, ModelReport, Severity
from graphneurons.checks.numbers import first_few
from graphneurons.checks.registry import checks
from graphneurons.reports.findings import located, merged, place
from graphneurons.reports.json import dumps_record
from graphneurons.reports.names import shown

_SCHEMA = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"
_LEVELS: dict[Severity, str] = {"error": "error", "warning": "warning", "info": "note"}


def dumps(report: CheckReport) -> str:
    """The report as SARIF."""
    return dumps_record(to_sarif(report))


def to_sarif(report: CheckReport) -> dict[str, Any]:
    """The report as a SARIF log of one run. Models that could not be read are notifications of that run."""
    from graphneurons import __version__

    used = sorted({finding.code for finding in report.findings} | {code for m in report.models for code in m.checks})
    places = {code: number for number, code in enumerate(used)}
    return {
        "$schema": _SCHEMA,
        "version": "2.1.0",
        "runs": [
            {
                "tool": {
                    "driver": {
                        "name": "graphneurons",
                        "version": __version__,
                        "rules": [_rule(code) for code in used],
                    }
                },
                "columnKind": "unicodeCodePoints",
                "invocations": [
                    {
                        "executionSuccessful": all(model.error is None for model in report.models),
                        "toolExecutionNotifications": [
                            {
                                "level": "error",
                                "message": {"text": shown(model.error, 1000)},
                                "locations": [{"physicalLocation": {"artifactLocation": {"uri": _uri(model.path)}}}],
                            }
                            for model in report.models
                            if model.error is not None
                        ],
                    }
                ],
                "results": [result for model in report.models for result in _results(model, places)],
            }
        ],
    }


def _rule(code: str) -> dict[str, Any]:
    check = checks()[code]
    told = check.documentation
    return {
        "id": code,
        "name": "".join(part.capitalize() for part in check.name.split("-")),
        "shortDescription": {"text": told.title},
        "fullDescription": {"text": " ".join(told.what.split())},
        "help": {"text": f"{' '.join(told.why.split())}\n\n{' '.join(told.fix.split())}"},
        "defaultConfiguration": {"level": _LEVELS[check.severity]},
    }


def _results(model: ModelReport, places: dict[str, int]) -> list[dict[str, Any]]:
    made = []
    for group in merged(model).values():
        first, mark = group[0]
        texts = []
        for finding, _ in group:
            where = place(finding)
            neurons = f" (neurons {first_few(finding.neurons)})" if finding.neurons else ""
            texts.append(f"{where + ': ' if where else ''}{shown(finding.message, 1000)}{neurons}")
        location: dict[str, Any] = {
            "physicalLocation": {
                "artifactLocation": {"uri": _uri(model.path)},
                # Services that show results beside lines want one, and a binary file has none.
                "region": {"startLine": 1},
            }
        }
        if first.layer:
            location["logicalLocations"] = [
                {"name": shown(first.layer, 1000), "fullyQualifiedName": shown(first.layer, 1000), "kind": "layer"}
            ]
        made.append(
            {
                "ruleId": first.code,
                "ruleIndex": places[first.code],
                "level": _LEVELS[first.severity],
                "message": {"text": "; ".join(texts)},
                "locations": [location],
                "partialFingerprints": {"graphneurons/v1": mark},
                "properties": {
                    "fix": first.fix,
                    "findings": [
                        {
                            "weight": finding.weight,
                            "axis": finding.axis,
                            "neurons": None if finding.neurons is None else list(finding.neurons),
                        }
                        for finding, _ in group
                    ],
                },
            }
        )
    return made


def _uri(path: str) -> str:
    """RFC 3986: relative to the repository, or a file's URI; a colon would make a relative one begin with a scheme."""
    found = located(path)
    if os.path.isabs(found):
        return "file://" + quote("/" + found.lstrip("/"))
    return quote(found)

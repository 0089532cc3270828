"""A check's report as text, one line per finding, JSON (docs/check.schema.json) and Markdown."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from graphneurons.checks.base import SEVERITIES, CheckReport, Finding, ModelReport
from graphneurons.checks.fingerprints import fingerprints, readable
from graphneurons.checks.numbers import first_few
from graphneurons.errors import printable
from graphneurons.reports.json import dumps_record
from graphneurons.reports.lines import Glyphs, Line, line
from graphneurons.reports.markdown import code
from graphneurons.reports.names import shown, wrap

SCHEMA_VERSION = 1
_STYLES = {"error": "bad", "warning": "shared", "info": "synapse"}


def place(finding: Finding) -> str:
    """Where a finding is, in words: ``conv1, conv1.weight, axis 1``; empty for the whole model."""
    parts = [finding.layer, finding.weight if finding.weight != finding.layer else None]
    named = [shown(part) for part in parts if part]
    if finding.axis is not None:
        named.append(f"axis {finding.axis}")
    return ", ".join(named)


def located(path: str) -> str:
    """A model's path as code hosts want it: relative to the working directory (in CI, the repository) where it is below
    it, with nothing to normalise and with slashes; else absolute. Empty for a model that is no file."""
    if not path:
        return ""
    absolute, here = os.path.abspath(path), os.getcwd()
    below = os.path.relpath(absolute, here) if absolute.startswith(os.path.join(here, "")) else absolute
    return readable(below).replace(os.sep, "/")


def full(report: CheckReport, width: int | None, glyphs: Glyphs) -> Iterator[Line]:
    """Every finding with its neurons and its fix, then one line per model."""
    for model in report.models:
        for finding in model.findings:
            where = place(finding)
            yield line(
                (finding.severity, _STYLES[finding.severity]), " ", (finding.code, "strong"), f" {finding.name}  ",
                (shown(model.path), "quiet"), f": {where}" if where else "",
            )  # fmt: skip
            texts = [shown(finding.message, 1000)]
            if finding.neurons:
                texts.append(f"{'neuron' if len(finding.neurons) == 1 else 'neurons'} {first_few(finding.neurons, 16)}")
            yield from _indented(texts, "  ", width, glyphs)
            yield from _indented([f"fix: {finding.fix}"], "  ", width, glyphs, "quiet")
            yield line("")
    yield from _ends(report)


def concise(report: CheckReport) -> Iterator[Line]:
    """One line per finding, and one per model."""
    for model in report.models:
        for finding in model.findings:
            where = place(finding)
            yield line(
                f"{shown(model.path)}: " + (f"{where}: " if where else ""), (finding.code, "strong"), " ",
                (finding.severity, _STYLES[finding.severity]), f": {shown(finding.message, 1000)}",
            )  # fmt: skip
    yield from _ends(report)


def _indented(texts: Iterable[str], indent: str, width: int | None, glyphs: Glyphs, style: str = "") -> Iterator[Line]:
    for text in texts:
        kept = text if glyphs.ellipsis == "…" else text.replace("…", glyphs.ellipsis)
        for piece in wrap(kept, width - len(indent) if width else None):
            yield line(indent, (piece, style))


def _ends(report: CheckReport) -> Iterator[Line]:
    for model in report.models:
        yield line(("", ""), f"{shown(model.path)}: {summary(model)}")


def summary(model: ModelReport) -> str:
    """``2 errors, 1 warning``, or what else came of it."""
    if model.error is not None:
        return f"not checked: {shown(model.error.removeprefix(f'{printable(model.path, 1000)}: '), 1000)}"
    counts = [(severity, model.count(severity)) for severity in SEVERITIES]
    told = [f"{count} {name if count == 1 or name == 'info' else name + 's'}" for name, count in counts if count]
    base = f" ({model.suppressed} more in the baseline)" if model.suppressed else ""
    return (", ".join(told) or f"no findings of {len(model.checks)} rules") + base


def to_record(report: CheckReport) -> dict[str, Any]:
    """The report as docs/check.schema.json describes it."""
    return {
        "schema_version": SCHEMA_VERSION,
        "fail_on": report.fail_on,
        "exit_code": report.exit_code,
        "models": [_model(model) for model in report.models],
    }


def dumps(report: CheckReport) -> str:
    """`to_record` as text: ASCII, strict, deterministic, one model per line."""
    return dumps_record(to_record(report))


def _model(model: ModelReport) -> dict[str, Any]:
    return {
        "path": readable(model.path),
        "error": model.error,
        "findings": [
            _finding(finding, mark) for finding, mark in zip(model.findings, fingerprints(model), strict=True)
        ],
        "summary": {
            **{severity: model.count(severity) for severity in SEVERITIES},
            "suppressed": model.suppressed,
            "rules": list(model.checks),
            "neurons": model.neurons,
            "synapses": model.synapses,
        },
    }


def _finding(finding: Finding, fingerprint: str) -> dict[str, Any]:
    return {
        "code": finding.code,
        "name": finding.name,
        "severity": finding.severity,
        "message": finding.message,
        "fix": finding.fix,
        "layer": finding.layer,
        "weight": finding.weight,
        "axis": finding.axis,
        "neurons": None if finding.neurons is None else list(finding.neurons),
        "evidence": dict(finding.evidence),
        "fingerprint": fingerprint,
    }


def markdown(report: CheckReport) -> str:
    """For the summary of a CI step: one table per model. Names are code: they format, mention and link nothing."""
    lines: list[str] = []
    for model in report.models:
        lines += [f"## {code(model.path) or 'Model'}", "", _escaped(summary(model)) + ".", ""]
        if model.findings:
            lines += ["| severity | rule | layer | weight | neurons | finding |", "|---|---|---|---|---|---|"]
            lines += [
                f"| {finding.severity} | {finding.code} {finding.name} | {code(finding.layer or '')} "
                f"| {code(finding.weight or '')}{'' if finding.axis is None else f' axis {finding.axis}'} "
                f"| {first_few(finding.neurons)} | {code(finding.message)} |"
                for finding in model.findings
            ]
            lines.append("")
    return "\n".join(lines).rstrip("\n") + "\n"


def _escaped(text: str) -> str:
    return "".join(f"\\{each}" if each in "\\`*_{}[]<>#|!@" else each for each in text)


def merged(model: ModelReport) -> Mapping[tuple[str, str | None], list[tuple[Finding, str]]]:
    """Findings with their fingerprints by rule and layer; those of no layer each by itself."""
    groups: dict[tuple[str, str | None], list[tuple[Finding, str]]] = {}
    for finding, mark in zip(model.findings, fingerprints(model), strict=True):
        key = (finding.code, finding.layer if finding.layer else f"\0{mark}")
        groups.setdefault(key, []).append((finding, mark))
    return groups

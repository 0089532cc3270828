"""JUnit XML: one suite per model, one case per rule."""

from __future__ import annotations

import re
from collections.abc import Iterator
from xml.sax.saxutils import escape, quoteattr

from graphneurons.checks.base import CheckReport, Finding, ModelReport, at_least
from graphneurons.checks.numbers import first_few
from graphneurons.checks.registry import checks
from graphneurons.reports.findings import place
from graphneurons.reports.names import shown

_FORBIDDEN = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def dumps(report: CheckReport) -> str:
    """The report as JUnit XML; findings below ``fail_on`` do not fail, and are told in the output of their case."""
    suites = [_suite(model, report) for model in report.models]
    tests, failures, errors = (sum(counts[at] for counts, _ in suites) for at in range(3))
    head = f'<testsuites name="graphneurons" tests="{tests}" failures="{failures}" errors="{errors}">'
    body = "".join(text for _, text in suites)
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{head}\n{body}</testsuites>\n'


def _suite(model: ModelReport, report: CheckReport) -> tuple[tuple[int, int, int], str]:
    path = _attribute(shown(model.path, 4096))
    if model.error is not None:
        text = (
            f'  <testsuite name={path} tests="1" failures="0" errors="1" skipped="0" time="0">\n'
            f'    <testcase classname={path} name="load" time="0">'
            f"<error message={_attribute(shown(model.error, 1000))}/></testcase>\n  </testsuite>\n"
        )
        return (1, 0, 1), text
    by_code: dict[str, list[Finding]] = {code: [] for code in model.checks}
    for finding in model.findings:
        by_code.setdefault(finding.code, []).append(finding)
    cases = "".join(line for code, found in sorted(by_code.items()) for line in _case(code, found, path, report))
    failures = sum(any(at_least(each.severity, report.fail_on) for each in found) for found in by_code.values())
    counts = f'tests="{len(by_code)}" failures="{failures}" errors="0" skipped="0" time="0"'
    return (len(by_code), failures, 0), f"  <testsuite name={path} {counts}>\n{cases}  </testsuite>\n"


def _case(code: str, found: list[Finding], path: str, report: CheckReport) -> Iterator[str]:
    name = _attribute(f"{code} {checks()[code].name}")
    if not found:
        yield f'    <testcase classname={path} name={name} time="0"/>\n'
        return
    told = "\n".join(_told(each) for each in found)
    failing = [each for each in found if at_least(each.severity, report.fail_on)]
    if failing:
        more = f" (and {len(found) - 1} more)" if len(found) > 1 else ""
        message = _attribute(shown(failing[0].message, 1000) + more)
        inner = f"<failure type={_attribute(failing[0].severity)} message={message}>{_text(told)}</failure>"
    else:
        inner = f"<system-out>{_text(told)}</system-out>"
    yield f'    <testcase classname={path} name={name} time="0">{inner}</testcase>\n'


def _told(finding: Finding) -> str:
    where = place(finding)
    neurons = f" (neurons {first_few(finding.neurons)})" if finding.neurons else ""
    message = f"{where + ': ' if where else ''}{shown(finding.message, 1000)}{neurons}"
    return f"{finding.severity}: {message}\n  fix: {finding.fix}"


def _clean(text: str) -> str:
    return _FORBIDDEN.sub("\ufffd", text)


def _attribute(text: str) -> str:
    return quoteattr(_clean(text), {"\n": "&#10;", "\t": "&#9;"})


def _text(text: str) -> str:
    return escape(_clean(text))

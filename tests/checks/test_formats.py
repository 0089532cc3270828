"""Every format as the service that reads it would: against its published schema, or with that service's own parsing."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import jsonschema
import numpy as np
import onnx
import pytest
import xmlschema

from graphneurons.checks.base import SEVERITIES, CheckReport, Finding, ModelReport, Severity
from graphneurons.checks.registry import checks
from graphneurons.cli.check import FORMATS, Format, rendered
from tests.checks.models import HEALTHY, replace, weight
from tests.checks.published import check_junit, check_sarif
from tests.cli.conftest import Ran

# What https://docs.gitlab.com/ci/testing/code_quality/#code-quality-report-format asks of every issue.
GITLAB = {
    "type": "array",
    "items": {
        "type": "object",
        "required": ["description", "check_name", "fingerprint", "severity", "location"],
        "properties": {
            "description": {"type": "string", "minLength": 1},
            "check_name": {"type": "string", "minLength": 1},
            "fingerprint": {"type": "string", "pattern": "^[0-9a-f]{32,}$"},
            "severity": {"enum": ["info", "minor", "major", "critical", "blocker"]},
            "location": {
                "type": "object",
                "required": ["path", "lines"],
                "properties": {
                    "path": {"type": "string", "pattern": r"^(?!\./|/)"},
                    "lines": {"type": "object", "required": ["begin"], "properties": {"begin": {"type": "integer"}}},
                },
            },
        },
    },
}

NASTY = "w\n::error::x%0A,:\r\x1b[31m\u202e<a b=\"c\">&'|`]]>\x00\ud7ff\U0001f980"
Cli = Callable[..., Ran]


def _finding(code: str, severity: Severity, name: str) -> Finding:
    return Finding(
        f"of {name}", name, f"{name}.weight", 1, (0, 3), {"what": name}, code=code, name=checks()[code].name,
        severity=severity, fix=f"Fix {name}.",
    )  # fmt: skip


def every(paths: tuple[str, str, str] = ("a.onnx", "b.onnx", "c.onnx"), name: str = NASTY) -> CheckReport:
    """A finding of every rule in every severity, a clean model, and one that cannot be read."""
    found = [_finding(code, severity, name) for severity in SEVERITIES for code in checks()]
    whole = [Finding("of all", code="GN404", name="budget", severity="error", fix="f")]
    return CheckReport(
        (
            ModelReport(paths[0], (*whole, *found), tuple(checks()), 10, 20),
            ModelReport(paths[1], (), tuple(checks()), 1, 1, suppressed=3),
            ModelReport(paths[2], error=f"cannot: {name}"),
        )
    )


@pytest.mark.parametrize("name", ["fc1", NASTY])
def test_sarif_of_every_rule_is_valid(name: str) -> None:
    log = json.loads(rendered(every(name=name), "sarif", on_screen=False))
    check_sarif(log)
    (run,) = log["runs"]
    assert {rule["id"] for rule in run["tool"]["driver"]["rules"]} == set(checks())
    marks = [tuple(result["partialFingerprints"].values()) for result in run["results"]]
    assert len(set(marks)) == len(marks)


@pytest.mark.parametrize("name", ["fc1", NASTY])
def test_junit_of_every_rule_is_valid(name: str) -> None:
    check_junit(rendered(every(name=name), "junit", on_screen=False))


@pytest.mark.parametrize(
    ("before", "after"),
    [('"startLine":1', '"startLine":0'), ('"level":"note"', '"level":"info"'), ('"runs"', '"run"')],
)
def test_the_schema_of_sarif_refuses_what_is_wrong(before: str, after: str) -> None:
    text = json.dumps(json.loads(rendered(every(), "sarif", on_screen=False)), separators=(",", ":"))
    assert before in text
    with pytest.raises(jsonschema.ValidationError):
        check_sarif(json.loads(text.replace(before, after)))


@pytest.mark.parametrize(
    ("before", "after"), [(" tests=", " count="), ("<failure ", "<fault "), ('skipped="0" time="0"', 'time="a"')]
)
def test_the_schema_of_junit_refuses_what_is_wrong(before: str, after: str) -> None:
    text = rendered(every(name="fc1"), "junit", on_screen=False)
    text = text.replace("</failure>", "</fault>") if "fault" in after else text
    assert before in text
    with pytest.raises(xmlschema.XMLSchemaValidationError):
        check_junit(text.replace(before, after))


def test_gitlab_is_as_its_documentation_asks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    report = every(("./deep/../a.onnx", f"{tmp_path}/b.onnx", f"{tmp_path}/models/c.onnx"))
    issues = json.loads(rendered(report, "gitlab", on_screen=False))
    jsonschema.validate(issues, GITLAB)
    assert {issue["location"]["path"] for issue in issues} == {"a.onnx", "models/c.onnx"}
    assert len({issue["fingerprint"] for issue in issues}) == len(issues)


# A line as the runner reads it: ActionCommand.TryParseV2 of https://github.com/actions/runner.
_COMMAND = re.compile(r"^::(?P<command>[a-z-]+)(?: (?P<properties>.*?))?::(?P<data>.*)$")


def _unescaped(text: str, pairs: tuple[str, ...]) -> str:
    for pair in pairs:
        text = text.replace(pair, chr(int(pair[1:], 16)))
    return text


def _commands(text: str) -> list[tuple[str, dict[str, str], str]]:
    found = []
    for line in text.split("\n")[:-1]:
        match = _COMMAND.match(line)
        assert match is not None, line
        assert not re.search("%(?!25|0D|0A|3A|2C)", line), line
        pairs = [each.split("=", 1) for each in match["properties"].split(",")]
        properties = {key: _unescaped(value, ("%0D", "%0A", "%3A", "%2C", "%25")) for key, value in pairs}
        found.append((match["command"], properties, _unescaped(match["data"], ("%0D", "%0A", "%25"))))
    return found


@pytest.mark.parametrize("name", ["fc1", NASTY])
def test_github_reads_one_annotation_per_finding(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    report = every((f"{tmp_path}/a,b:c%=.onnx", "b.onnx", f"./{NASTY}.onnx"), name)
    found = _commands(rendered(report, "github", on_screen=False))
    assert len(found) == len(report.findings) + 1
    assert {command for command, _, _ in found} == {"error", "warning", "notice"}
    assert {tuple(properties) for _, properties, _ in found} == {("file", "title")}
    assert found[0][1] == {"file": "a,b:c%=.onnx", "title": "GN404 budget"}
    assert all(f"{finding.fix}" in data for finding, (_, _, data) in zip(report.findings[:1], found, strict=False))


@pytest.mark.parametrize(
    ("given", "uri"),
    [
        ("m.onnx", "m.onnx"),
        ("./x/../m.onnx", "m.onnx"),
        ("{here}/models/m 1#?.onnx", "models/m%201%23%3F.onnx"),
        ("c:m.onnx", "c%3Am.onnx"),
        ("/elsewhere/m.onnx", "file:///elsewhere/m.onnx"),
    ],
)
def test_sarif_names_files_by_uri(given: str, uri: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    report = every((given.format(here=tmp_path), "b.onnx", "c.onnx"))
    log = json.loads(rendered(report, "sarif", on_screen=False))
    places = [result["locations"][0]["physicalLocation"] for result in log["runs"][0]["results"]]
    assert {place["artifactLocation"]["uri"] for place in places} == {uri}
    parts = urlsplit(uri)
    assert os.path.abspath(unquote(parts.path)) == os.path.abspath(given.format(here=tmp_path))


@pytest.fixture
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.mark.usefixtures("_here")
@pytest.mark.parametrize("format", FORMATS)
def test_hostile_file_names_stay_data(format: Format, cli: Cli, tmp_path: Path) -> None:
    name = "m\x1b[31m\n::error::x\u202e<script>|`##vso[a,b%0A.onnx"
    made = HEALTHY["mlp"](np.random.default_rng(0))
    values = weight(made, "fc1.weight")
    values[3] = np.nan
    replace(made, "fc1.weight", values)
    onnx.save(made, tmp_path / name)
    (tmp_path / f"n{name}").write_bytes(b"")
    ran = cli("check", tmp_path, "--format", format, "--jobs", "1")
    assert ran.code == 2
    for text in (ran.out, ran.err):
        assert not [c for c in text if c != "\n" and (ord(c) < 32 or c in "\u202e\x7f")]
        assert "##vso" not in text
    assert ran.err.count("\n") == 1
    starts = [line for line in ran.out.splitlines() if line.lstrip().startswith("::")]
    assert len(starts) == (ran.out.count("\n") if format == "github" else 0)
    parsers: dict[str, Callable[[str], Any]] = {
        "json": json.loads, "gitlab": json.loads, "junit": check_junit, "github": _commands,
        "sarif": lambda text: check_sarif(json.loads(text)),
    }  # fmt: skip
    if format in parsers:
        parsers[format](ran.out)

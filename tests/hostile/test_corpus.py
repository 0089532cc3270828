"""Every broken and hostile file, through the command line as installed."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from graphneurons.errors import printable

from .case import Case
from .corpus import CASES
from .external import CANARY
from .running import Outcome, Runner, broken_promises, findings

OLD = "an old report\n"


def listed(folder: Path) -> list[str]:
    return sorted(str(path) for path in folder.rglob("*"))


class Bench:
    """One case, made in a folder of its own, and the program run on it in several ways."""

    def __init__(self, case: Case, runner: Runner, folder: Path) -> None:
        self.case, self.runner = case, runner
        self.models, self.reports = folder / "models", folder / "reports"
        self.models.mkdir()
        self.reports.mkdir()
        self.path = case.write(self.models)
        self.before = listed(self.models)
        self.canaries = [path for path in self.models.rglob(f"*{CANARY}*") if path.stat().st_nlink == 1]

    def __call__(self, *options: str | Path) -> Outcome:
        outcome = self.runner(
            "analyze", self.path, *options, cwd=self.models, seconds=self.case.limit, canaries=self.canaries
        )
        assert broken_promises(outcome, self.case.limit, self.case.memory) == []
        assert listed(self.models) == self.before, "the run made or removed files"
        elsewhere = [path for path in outcome.opened if CANARY in path or path.startswith("/etc/passwd")]
        assert elsewhere == []
        return outcome


def refusal(bench: Bench, outcome: Outcome) -> None:
    assert outcome.exit == 2
    assert outcome.stdout == ""
    assert outcome.stderr.count("\n") == 1
    assert outcome.stderr.startswith(f"error: {printable(str(bench.path), 1000)}: "), outcome.stderr
    assert outcome.stderr.endswith("\n")


def warnings_only(outcome: Outcome) -> None:
    assert all(line.startswith("warning: ") for line in outcome.stderr.splitlines()), outcome.stderr


def refuses(bench: Bench, first: Outcome) -> None:
    refusal(bench, first)
    assert bench.case.says.casefold() in first.stderr.casefold()
    report = bench.reports / "report"
    if bench.case.over_old:
        report.write_text(OLD)
    again = bench("-o", report)
    refusal(bench, again)
    assert again.stderr == first.stderr
    assert listed(bench.reports) == [str(report)] * bench.case.over_old
    assert not bench.case.over_old or report.read_text() == OLD


def accepts(bench: Bench, first: Outcome) -> None:
    assert first.exit == 0, first.stderr
    warnings_only(first)
    report = json.loads(first.stdout)
    assert report["totals"]["labelled_elements"] <= report["totals"]["weight_elements"]
    said = ("layers", "lookups", "modulators", "unlabelled", "notices")
    assert bench.case.weightless or any(report[part] for part in said), "a weight got lost without a word"
    for form in bench.case.formats:
        shown = bench("--format", form)
        assert shown.exit == 0, shown.stderr
        assert shown.stdout


def notes(bench: Bench, first: Outcome) -> None:
    accepts(bench, first)
    found = findings(first)
    assert found, "accepted without a word"
    assert bench.case.says.casefold() in found.casefold()


def parameters(slow: bool) -> list[object]:
    return [pytest.param(case, id=name) for name, case in CASES.items() if case.slow == slow]


def judged(case: Case, runner: Runner, folder: Path) -> None:
    bench = Bench(case, runner, folder)
    outcome = bench("--json")
    if case.expect == "EW":
        (refuses if outcome.exit else notes)(bench, outcome)
    else:
        {"E": refuses, "W": notes, "OK": accepts}[case.expect](bench, outcome)


@pytest.mark.parametrize("case", parameters(slow=False))
def test_what_comes_of_it(case: Case, runner: Runner, tmp_path: Path) -> None:
    judged(case, runner, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("case", parameters(slow=True))
def test_what_comes_of_a_large_one(case: Case, runner: Runner, tmp_path: Path) -> None:
    judged(case, runner, tmp_path)


@pytest.mark.parametrize(
    "case", [pytest.param(case, id=name) for name, case in CASES.items() if case.expect == "OK" and not case.alone]
)
def test_onnx_checker_agrees_that_it_is_valid(case: Case, runner: Runner, tmp_path: Path) -> None:
    path = case.write(tmp_path)
    outcome = runner(path, cwd=tmp_path, program="checker")
    if case.checker:
        assert outcome.exit == 2, f"the checker accepts it now, but was said to refuse: {case.checker}"
    else:
        assert outcome.exit == 0, outcome.stderr


def test_the_corpus_is_as_large_as_it_should_be() -> None:
    kinds = [case.expect for case in CASES.values()]
    assert len(kinds) - kinds.count("OK") >= 170
    assert kinds.count("OK") >= 40


def test_the_corpus_is_the_same_every_time(tmp_path: Path) -> None:
    def content(folder: Path) -> dict[str, bytes]:
        folder.mkdir()
        chosen = [case for name, case in CASES.items() if name.startswith(("wire", "tensors"))]
        return {case.name: case.write(folder).read_bytes() for case in chosen}

    assert content(tmp_path / "a") == content(tmp_path / "b")
    assert os.listdir(tmp_path / "a") == ["model.onnx"]

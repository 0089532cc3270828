"""Every defect injected into healthy models is found where it is, the originals are clean, and the page says so."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from tests.checks.detection import (
    PAGE,
    SEEDS,
    SMALL,
    TEXT,
    false_alarms,
    outcomes,
    row,
    small_outcome,
    small_row,
    told_row,
)  # fmt: skip
from tests.checks.models import HEALTHY, checked
from tests.checks.real_defects import REAL_DEFECTS, RealDefect
from tests.checks.real_models import FLOAT, QUANTIZED, ground, whole_zoo

CURRENT = "docs/detection.md is not current: read what changed, then run `python -m tests.checks --write`"


def _rows() -> list[str]:
    return [line for line in PAGE.read_text(encoding="utf-8").splitlines() if line.startswith("| ")]


def _slug(text: str) -> str:
    return re.sub(r"\W+", "_", text)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("name", HEALTHY)
def test_healthy_models_are_clean(name: str, seed: int, tmp_path: Path) -> None:
    report = checked(HEALTHY[name](np.random.default_rng(seed)), tmp_path)
    assert [(finding.code, finding.message) for finding in report.findings] == []
    assert report.neurons > 0


@pytest.mark.parametrize(("code", "name"), SMALL, ids=lambda text: _slug(text))
def test_defects_are_found_where_they_are(code: str, name: str, tmp_path: Path) -> None:
    made = [small_outcome(each, seed, tmp_path) for each in SMALL[code, name] for seed in SEEDS]
    assert [(right, codes) for _, right, codes in made if set(right) != {code} or codes.count(code) != len(right)] == []
    assert small_row(code, name, made) in _rows(), CURRENT


@pytest.mark.parametrize("defect", REAL_DEFECTS, ids=lambda defect: _slug(defect.name))
def test_defects_are_found_in_real_exports(defect: RealDefect, tmp_path: Path) -> None:
    made = outcomes(defect, tmp_path)
    assert [(each.file, each.wrong, each.told) for each in made if each.wrong] == []
    assert [(each.file, each.told) for each in made if not each.caught] == []
    assert len(made) >= 2
    assert row(defect, made) in _rows(), CURRENT


def _untouched(grounds: Iterator[tuple[str, ...]]) -> list[tuple[str, str, str]]:
    """False alarms, and lines that the page lacks."""
    found = [ground(*each) for each in grounds]  # type: ignore[arg-type]
    assert all(each.report.neurons > 0 for each in found)
    rows = _rows()
    lacking = [(each.name, "", told_row(each)) for each in found if each.report.findings and told_row(each) not in rows]
    return [(each.name, alarm.code, alarm.message) for each in found for alarm in false_alarms(each)] + lacking


def test_real_exports_are_clean() -> None:
    in_zoo = (each for each in FLOAT if not each[1].endswith("_raw"))
    assert _untouched(in_zoo) == []
    assert _untouched(iter(QUANTIZED)) == []
    assert [alarm for each in FLOAT for alarm in false_alarms(ground(*each))] == []


@pytest.mark.slow
def test_all_exports_are_clean() -> None:
    assert _untouched(iter(whole_zoo())) == []


def test_the_page_has_these_rows_and_no_others() -> None:
    names = [*(each.name for each in REAL_DEFECTS), *(name for _, name in sorted(SMALL))]
    text = PAGE.read_text(encoding="utf-8")
    files = [line for line in _rows() if re.match(r"\| \w+\.(dynamo|legacy)", line)]
    told = [line for line in _rows() if line not in files and not line.startswith(("| defect", "| file"))]
    assert [line.split(" | ")[0].removeprefix("| ") for line in told] == names
    pattern = re.escape(TEXT).replace(r"\{", "{").replace(r"\}", "}")
    assert re.fullmatch(re.sub(r"\{\w+\}", "(?s:.*)", pattern), text), CURRENT

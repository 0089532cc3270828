"""Every defect injected into a healthy model is found, at the right layer and neurons; the originals are clean."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from tests.checks.defects import DEFECTS, Defect, Expected
from tests.checks.models import HEALTHY, checked, found

SEEDS = (0, 1, 2)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("name", HEALTHY)
def test_healthy_models_are_clean(name: str, seed: int, tmp_path: Path) -> None:
    report = checked(HEALTHY[name](np.random.default_rng(seed)), tmp_path)
    assert [(finding.code, finding.message) for finding in report.findings] == []
    assert report.neurons > 0


def _outcome(defect: Defect, seed: int, folder: Path) -> tuple[Expected, list[str], list[str]]:
    """What was expected, the codes found at the right place, and the codes found in all."""
    random = np.random.default_rng([seed, *defect.name.encode()])
    made = HEALTHY[defect.model](random)
    expected = defect.inject(made, random)
    report = checked(made, folder, dict(expected.policy))
    right = [
        finding.code
        for finding in found(report, expected.code)
        if (expected.layer is None or finding.layer == expected.layer)
        and (expected.neurons is None or finding.neurons == expected.neurons)
    ]
    return expected, right, [finding.code for finding in report.findings]


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("defect", DEFECTS, ids=lambda defect: re.sub(r"\W+", "_", f"{defect.name} {defect.model}"))
def test_defects_are_found_where_they_are(defect: Defect, seed: int, tmp_path: Path) -> None:
    expected, right, codes = _outcome(defect, seed, tmp_path)
    assert set(right) == {expected.code}, codes
    assert right.count(expected.code) == codes.count(expected.code), codes


def table(folder: Path) -> str:
    """Rules x defects: how many were caught, missed, and what else was said of them."""
    rows: dict[tuple[str, str], Counter[str]] = {}
    for defect in DEFECTS:
        for seed in SEEDS:
            expected, right, codes = _outcome(defect, seed, folder)
            row = rows.setdefault((expected.code, defect.name), Counter())
            row["caught" if right else "missed"] += 1
            row.update(code for code in set(codes) - {expected.code})
    lines = ["| rule | defect | caught | missed | also said |", "|---|---|---:|---:|---|"]
    for (code, name), row in sorted(rows.items()):
        also = ", ".join(f"{other} {count}" for other, count in sorted(row.items()) if other.startswith("GN"))
        lines.append(f"| {code} | {name} | {row['caught']} | {row['missed']} | {also} |")
    return "\n".join(lines) + "\n"

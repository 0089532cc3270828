"""docs/pytorch.md says what is so."""

from __future__ import annotations

from pathlib import Path

from tests.torch.__main__ import table

PAGE = Path(__file__).parents[2] / "docs" / "pytorch.md"


def test_the_table_is_the_one_the_tests_make() -> None:
    assert table() in PAGE.read_text(encoding="utf-8")


def test_the_table_shows_every_front_end_at_work() -> None:
    rows = [line for line in table().splitlines() if "yes" in line]
    assert len(rows) >= 30
    assert sum(row.count("yes") for row in rows) > 4 * len(rows)

"""Hostile names in every report: what a spreadsheet, a browser or a reader of Markdown makes of them."""

from __future__ import annotations

import csv
import io
import json
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest

from graphneurons import analyze
from graphneurons.load import load_bytes
from graphneurons.reports.csv import as_csv
from graphneurons.reports.html import as_html
from graphneurons.reports.json import dumps
from graphneurons.reports.markdown import as_markdown
from graphneurons.reports.text import View

from .names import TEXTS, foreign, named

EVERYTHING = View(everything=True)
EVERY = [pytest.param(name, id=name) for name in TEXTS]
HARMLESS = {"table", "thead", "tbody", "tr", "th", "td", "div", "span", "p", "b", "code", "details", "summary", "br",
            "h3", "h4", "caption", "small", "ul", "li", "em", "strong", "style", "i"}  # fmt: skip


class Tags(HTMLParser):
    """Collects what a browser would act on."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.attributes: set[str] = set()
        self.values: list[str] = []
        self.other: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes |= {key for key, _ in attrs}
        self.values += [value or "" for _, value in attrs]

    def handle_decl(self, decl: str) -> None:
        self.other.append(decl)

    def handle_comment(self, data: str) -> None:
        self.other.append(data)

    def handle_pi(self, data: str) -> None:
        self.other.append(data)


def analyses(name: str) -> list[object]:
    return [analyze(load_bytes(make(TEXTS[name]).SerializeToString())) for make in (named, foreign)]


@pytest.mark.parametrize("name", EVERY)
def test_json_keeps_the_exact_name(name: str) -> None:
    for analysis in analyses(name):
        report = json.loads(dumps(analysis))
        weights = {use["name"] for layer in report["layers"] for use in layer["weights"]}
        weights |= {each["name"] for each in report["unlabelled"]}
        types = {each["op"]["type"] for each in report["unlabelled"]}
        assert TEXTS[name] in weights | types


@pytest.mark.parametrize("name", EVERY)
def test_csv_is_a_table_without_formulas(name: str) -> None:
    for analysis in analyses(name):
        rows = list(csv.reader(io.StringIO(as_csv(analysis, EVERYTHING), newline=""), strict=True))
        assert len(rows) > 1
        assert {len(row) for row in rows} == {len(rows[0])}
        formulas = [cell for row in rows for cell in row if cell.startswith(("=", "+", "-", "@", "\t", "\r"))]
        assert formulas == []


@pytest.mark.parametrize("name", EVERY)
def test_markdown_tables_stay_tables(name: str) -> None:
    for analysis in analyses(name):
        text = as_markdown(analysis, EVERYTHING)
        for table in re.findall(r"(?:^\|.*\n)+", text, re.MULTILINE):
            widths = {len(re.findall(r"(?<!\\)(?:\\\\)*\|", row)) for row in table.splitlines()}
            assert len(widths) == 1, table
        outside_code = re.sub(r"(`+)(?!`).+?(?<!`)\1(?!`)", "", text)
        assert not re.search(r"(?<!\\)<[a-zA-Z/!]", outside_code), outside_code
        assert not re.search(r"(?<!\\)\]\(", outside_code), outside_code


@pytest.mark.parametrize("name", EVERY)
def test_html_holds_no_foreign_markup(name: str) -> None:
    for analysis in analyses(name):
        page = as_html(analysis)
        found = Tags()
        found.feed(page)
        found.close()
        assert found.tags <= HARMLESS
        assert not [
            key for key in found.attributes if key.startswith("on") or key in ("href", "src", "srcdoc", "action")
        ]
        assert not [value for value in found.values if "javascript:" in value or "url(" in value]
        assert found.other == []


def test_every_text_is_in_the_file_it_names(tmp_path: Path) -> None:
    for text in TEXTS.values():
        assert text.encode() in named(text).SerializeToString()

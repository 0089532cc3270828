"""CSV, Markdown and HTML."""

from __future__ import annotations

import csv
import io
import re
from html.parser import HTMLParser

import pytest

from graphneurons.reports.csv import as_csv
from graphneurons.reports.html import MOST_ROWS, as_html
from graphneurons.reports.markdown import as_markdown, code
from graphneurons.reports.text import View
from tests.sample_analyses import analysis, hostile, layer, mixture, transformer, use

BYS = ["layer", "scope", "op"]


@pytest.mark.parametrize("by", BYS)
def test_golden(golden, by):
    view = View(by=by, everything=True)
    golden(f"csv/mixture-{by}.csv", as_csv(mixture(), view))
    golden(f"markdown/mixture-{by}.md", as_markdown(mixture(), view))


def test_golden_html(golden):
    golden("html/mixture.html", as_html(mixture()) + "\n")
    golden("html/hostile.html", as_html(hostile()) + "\n")
    golden("markdown/hostile.md", as_markdown(hostile(), View(everything=True)))


def rows(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text)))


def test_csv_has_one_row_per_layer_weight():
    made = mixture()
    found = rows(as_csv(made))
    assert [(row["id"], row["weight"]) for row in found] == [
        (each.id, used.weight.name) for each in made.layers for used in each.weights
    ]
    counted = [row for row in found if row["use"] == "0" and not row["tied_to"]]
    assert sum(int(row["synapses"]) for row in counted) == made.totals.synapses


def test_csv_of_all_records():
    found = rows(as_csv(mixture(), View(everything=True)))
    assert {row["record"] for row in found} == {"layer", "lookup", "modulator", "unlabelled"}


def test_csv_header_only_once():
    text = as_csv(mixture()) + as_csv(mixture(), header=False)
    assert text.count("synapses_per_neuron") == 1


@pytest.mark.parametrize("name", ["=1+1", "+1", "-1", "@SUM(A1)", '=cmd|" /C calc"!A0'])
def test_csv_cells_are_never_formulas(name):
    made = analysis(name, (layer(name, name, "linear", 2, 3, use(name, "2n", "3s"), scope=(name,), activation=name),))
    for by in BYS:
        for row in csv.reader(io.StringIO(as_csv(made, View(by=by, everything=True)))):
            assert not [cell for cell in row if cell.startswith(("=", "+", "-", "@", "\t", "\r"))]


def test_csv_of_hostile_names_has_one_line_per_row():
    text = as_csv(hostile(), View(everything=True))
    assert len(text.splitlines()) == len(rows(text)) + 1
    assert "\x1b" not in text
    assert "##" not in text


@pytest.mark.parametrize("by", BYS)
def test_markdown_tables_keep_their_shape(by):
    for made in (mixture(), hostile(), transformer()):
        tables = re.findall(r"(?:^\|.*\|\n)+", as_markdown(made, View(by=by, everything=True)), re.MULTILINE)
        assert tables
        for table in tables:
            assert len({line.count("|") for line in table.splitlines()}) == 1


def test_markdown_code_stays_code():
    assert code("a|b`c") == "`a\\x7cb\\x60c`"
    assert code("<script>") == "`<script>`"
    assert code("") == ""
    assert code("  ") == ""


def test_markdown_has_no_names_outside_code():
    text = re.sub(r"`[^`\n]*`", "", as_markdown(hostile(), View(everything=True)))
    assert "<b>" not in text
    assert "::error::\\x1b[" not in text


class Tags(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: set[str] = set()
        self.attributes: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.add(tag)
        self.attributes |= {name for name, _ in attrs}
        if tag != "br":
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


@pytest.mark.parametrize("make", [mixture, hostile, transformer, lambda: analysis("none.onnx")])
def test_html_is_balanced_and_inert(make):
    tags = Tags()
    tags.feed(as_html(make()))
    tags.close()
    assert not tags.open
    assert tags.seen <= {"div", "p", "b", "br", "span", "table", "thead", "tbody", "tr", "th", "td"}
    assert tags.attributes <= {"style"}


def test_html_escapes_names():
    made = analysis(
        "<script>'\"&.onnx", (layer("<img src=x onerror=alert(1)>", "Gemm", "linear", 1, 1, use("w", "1n", "1s")),)
    )
    text = as_html(made)
    assert "<script>" not in text
    assert "&lt;img src=x onerror=alert(1)&gt;" in text
    assert "&lt;script&gt;&#x27;&quot;&amp;.onnx" in text


def test_html_of_a_long_model_is_cut_with_a_note():
    text = as_html(transformer(60))
    assert text.count("<tr") == MOST_ROWS + 1
    assert "… and 41 more layers." in text


def test_notebooks_show_the_table():
    assert mixture()._repr_html_() == as_html(mixture())

"""What is shown of a probe: text at every width, JSON by its schema, pictures drawn by every engine."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from jsonschema import Draft202012Validator

from graphneurons.errors import UsageError
from graphneurons.reports.json import dumps_record
from graphneurons.reports.lines import ASCII, UNICODE, measure, painted, plain
from graphneurons.reports.probe import probability, probe_lines, told
from graphneurons.reports.probe_json import probe_record
from graphneurons.reports.text import View
from graphneurons.views.drawing import Drawing
from graphneurons.views.histograms import draw_histograms
from graphneurons.views.options import Options
from graphneurons.views.probed import draw_probe, strongest
from tests.probing.sample_reports import binary, classes, number, report, score
from tests.views.drawn import each_engine, groups, of

SCHEMA = Draft202012Validator(json.loads((Path(__file__).parents[2] / "docs" / "probe.schema.json").read_text()))


def text(**view) -> str:  # type: ignore[no-untyped-def]
    return "".join(plain(probe_lines(report(), View(**view))))


@pytest.mark.parametrize("width", [60, 140, None])
def test_golden_text(golden, width) -> None:  # type: ignore[no-untyped-def]
    golden(f"probe/report-{width or 'pipe'}.txt", text(width=width, top=4))


@pytest.mark.parametrize("width", [30, 50, 80, 100, 140, None])
@pytest.mark.parametrize("glyphs", [UNICODE, ASCII])
def test_everything_fits(width, glyphs) -> None:  # type: ignore[no-untyped-def]
    lines = list(probe_lines(report(), View(width=width, glyphs=glyphs)))
    assert all(width is None or measure(spans) <= width for spans in lines)
    assert "".join(painted(lines)).count("\x1b[0m") > 10


def test_names_from_the_labels_do_no_harm() -> None:
    assert "::error::" not in text(width=None)
    assert "::error::" not in draw_probe(report(), classes(), Options()).dot()
    assert "<b> 20" in text(width=None)


def test_of_many_neurons_the_strongest_are_listed() -> None:
    assert "… 16 weaker ones (--top, --json)" in text(width=None, top=4)
    assert "… 4 weaker ones (--top, --json)" in text(width=None)
    assert "2 of 20 neurons carry it alone" in text(width=None)


def test_numbers_as_people_read_them() -> None:
    assert told(score(0.9)) == "0.900 [0.860, 0.930]"
    assert [probability(p) for p in (0.0009, 0.001, 0.04999, 1.0)] == ["<0.001", "0.001", "0.050", "1.000"]


def test_golden_json(golden) -> None:  # type: ignore[no-untyped-def]
    written = dumps_record(probe_record(report()))
    assert written == dumps_record(probe_record(report()))
    SCHEMA.validate(json.loads(written))
    golden("probe/report.json", written)


def test_json_has_null_for_what_is_no_number() -> None:
    found = number()
    broken = replace(found, singles=(replace(found.singles[0], selectivity=float("nan")),))
    record = probe_record(replace(report(), concepts=(broken,)))
    SCHEMA.validate(record)
    assert record["concepts"][0]["neurons"][0]["selectivity"] is None


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize(
    ("name", "draw", "found"),
    [
        ("probe-binary", draw_probe, binary()),
        ("probe-classes", draw_probe, classes()),
        ("histograms-binary", draw_histograms, binary()),
        ("histograms-number", draw_histograms, number()),
    ],
)
def test_golden_pictures(golden, theme, name, draw, found) -> None:  # type: ignore[no-untyped-def]
    dot = draw(report(), found, Options(theme=theme)).dot()
    assert dot == draw(report(), found, Options(theme=theme)).dot()
    golden(f"probe/{name}-{theme}.dot", dot)


@each_engine
def test_a_probe_is_drawn_as_a_neuron(engine: str) -> None:
    found = binary()
    drawn = groups(Drawing(draw_probe(report(), found, Options(max_synapses=6)).dot(), engine), engine)
    assert len(of(drawn, "neuron")) == 1
    assert len(of(drawn, "source")) == 6
    weights, sigma = found.probes[0].weights, report().activations.values.std(axis=0)
    assert weights is not None
    wanted = {f"synapse-s{at}-p0" for at in strongest(weights[0] * sigma, 6)}
    assert {one.id for one in of(drawn, "synapse")} == wanted


@each_engine
def test_bars_hold_all_samples(engine: str) -> None:
    made = report()
    found = binary()
    drawn = groups(Drawing(draw_histograms(made, found, Options(max_neurons=2)).dot(), engine), engine)
    bars = of(drawn, "bar")
    assert {one.id.split("-")[1] for one in bars} == {str(one.neuron) for one in found.singles[:2]}
    shares: dict[tuple[str, ...], float] = {}
    for one in bars:
        key = tuple(one.id.split("-")[1:3])
        shares[key] = shares.get(key, 0.0) + float(one.tooltip.split(": ")[1].split("%")[0])
    for (neuron, place), share in shares.items():
        values = made.activations.values[found.concept.values == int(place), int(neuron)]
        silent = 100 * float(np.mean(values == 0)) if int(neuron) % 2 == 0 else 0.0
        assert share + silent == pytest.approx(100, abs=1.5)


def test_strongest_takes_both_signs_and_no_zeros() -> None:
    assert strongest(np.array([3.0, -1.0, 2.0, 0.0, -4.0, 1.0]), 4) == (4, 0, 2, 1)
    assert strongest(np.array([3.0, 2.0, 0.0, 1.0]), 2) == (0, 1)
    assert strongest(np.array([3.0, -2.0, 2.5, 1.0]), 3) == (0, 2, 1)
    assert strongest(np.zeros(3), 4) == ()


def test_what_cannot_be_drawn_says_what_to_add() -> None:
    with pytest.raises(UsageError, match=r"only a linear one has any; add --probe linear"):
        draw_probe(report(), number(), Options())
    with pytest.raises(UsageError, match=r"no neuron was probed on its own for kind; add --probe single"):
        draw_histograms(report(), classes(), Options())


def test_a_report_in_a_notebook() -> None:
    made = report()
    assert made._repr_html_().startswith("<pre>model digits.onnx\n")
    assert "&lt;b&gt; 20" in made._repr_html_()
    assert made.concept("ink").singles[0].neuron == 4
    assert made.picture("loop", theme="dark").dot == draw_probe(made, binary(), Options(theme="dark")).dot()
    assert made.histogram("loop").dot == draw_histograms(made, binary(), Options()).dot()
    with pytest.raises(UsageError, match="there is no concept 'lop'; there are loop, kind, ink"):
        made.concept("lop")
    with pytest.raises(UsageError, match="there are several concepts; name one of loop, kind, ink"):
        made.histogram()
    assert replace(made, concepts=(number(),)).concept().concept.name == "ink"


def test_a_constant_neuron_has_a_histogram() -> None:
    found = binary()
    constant = next(one for one in found.singles if one.neuron == 7)
    assert "n7" in draw_histograms(report(), replace(found, singles=(constant,)), Options()).dot()

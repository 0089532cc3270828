from __future__ import annotations

import json
import unicodedata
from pathlib import Path

import jsonschema
import numpy as np
import pytest
from referencing import Registry, Resource

from graphneurons.reports.around import around, look_around
from graphneurons.reports.json import dumps_record
from graphneurons.reports.lines import ASCII, UNICODE, measure, plain
from graphneurons.reports.links import around_record, wiring_record
from graphneurons.reports.text import View
from graphneurons.reports.wiring import overview
from graphneurons.wiring.records import Junction, Source, Synapses, Wiring
from tests.sample_analyses import HOSTILE, analysis, hostile, layer, mixture, use

DOCS = Path(__file__).parents[2] / "docs"
SCHEMAS = {name: json.loads((DOCS / f"{name}.schema.json").read_text("utf-8")) for name in ("analysis", "wiring")}
REGISTRY = Registry().with_resources((each["$id"], Resource.from_contents(each)) for each in SCHEMAS.values())
WIRING = jsonschema.Draft202012Validator(SCHEMAS["wiring"], registry=REGISTRY)
WIDTHS = (40, 60, 80, 120)


def seen(made, name: str, neuron: int | None = None, up: int = 1, down: int = 1):
    return look_around(made.wiring, made.wiring.source[name], neuron, up, down)


def tree(made, name: str, neuron: int | None = None, up: int = 1, down: int = 1, **view) -> str:
    return "".join(plain(around(made, seen(made, name, neuron, up, down), View(**view))))


def attacked():
    """A wiring whose every name is an attack."""
    made = hostile()
    numbers = np.arange(3, dtype=np.int64)
    wiring = Wiring(
        (Source("input", HOSTILE, 0, 3), Source("layer", HOSTILE, 3, 4), Source("junction", HOSTILE, 7, 3)),
        (Junction(HOSTILE, "sum", 3, (numbers, numbers + 3), HOSTILE),),
        {HOSTILE: (Synapses(HOSTILE, 0, np.array([0, -3, 8])),)},
        (HOSTILE,),
    )
    return analysis(made.model.path, made.layers, made.lookups, wiring=wiring)


@pytest.mark.parametrize("width", [40, 80, 120, None])
def test_golden_overview(golden, width):
    golden(f"wiring/overview-{width or 'pipe'}.txt", "".join(plain(overview(mixture(), View(width=width)))))


@pytest.mark.parametrize(
    ("name", "neuron", "up", "down"),
    [
        ("up.deconv", None, 1, 1),
        ("up.deconv", 20, 2, 2),
        ("memory.lstm", 40, 1, 1),
        ("head", None, 9, 1),
        ("lookup:embed", None, 1, 3),
        ("junction:/blocks.0/Add_1", 5, 2, 2),
        ("head_again", None, 1, 0),
    ],
)
def test_golden_trees(golden, name, neuron, up, down):
    out = tree(mixture(), name, neuron, up, down) + tree(mixture(), name, neuron, up, down, width=60, glyphs=ASCII)
    file = name.replace("/", "_").replace(":", "_")
    golden(f"wiring/{file}{'' if neuron is None else f'-{neuron}'}.txt", out)


def test_golden_json(golden):
    golden("wiring/whole.json", dumps_record(wiring_record(mixture())))
    golden("wiring/around.json", dumps_record(around_record(mixture(), seen(mixture(), "up.deconv", 20, 2, 2))))


@pytest.mark.parametrize("make", [mixture, attacked, lambda: analysis("empty.onnx")])
def test_json_follows_its_schema(make):
    made = make()
    WIRING.validate(json.loads(dumps_record(wiring_record(made))))
    for name in made.wiring.source:
        WIRING.validate(json.loads(dumps_record(around_record(made, seen(made, name, None, 3, 3)))))
        WIRING.validate(json.loads(dumps_record(around_record(made, seen(made, name, 2, 3, 3)))))


def test_the_schema_refuses_half_a_link():
    report = around_record(mixture(), seen(mixture(), "head"))
    assert WIRING.is_valid(report)
    assert not WIRING.is_valid(report | {"reads": [{"level": 1, "to": "head", "from": "x"}]})


@pytest.mark.parametrize("make", [mixture, attacked])
@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("glyphs", [UNICODE, ASCII])
def test_lines_are_safe_and_fit(make, width, glyphs):
    made = make()
    view = View(width=width, glyphs=glyphs)
    reports = [
        overview(made, view),
        *(around(made, seen(made, name, None, 64, 64), view) for name in made.wiring.source),
    ]
    for report in reports:
        for spans in report:
            text = "".join(part for part, _ in spans)
            assert measure(spans) <= width, text
            assert not text.strip().startswith("::"), text
            assert "##" not in text
            assert not [c for c in text if c != " " and unicodedata.category(c)[0] in "CZ"], text


def test_a_neuron_of_a_group_reads_its_group_only():
    out = tree(mixture(), "up.deconv", 20)
    assert "16:32 ← stem.conv[48:64]" in out
    assert "stem.depthwise" not in out


def test_what_is_met_again_is_not_followed_again():
    out = tree(mixture(), "head", up=64, down=0)
    assert out.count("lookup:embed") == 1
    assert out.count("shown elsewhere") == 3


def test_a_loop_ends():
    assert "memory.lstm  Sigmoid, Tanh, Tanh  shown elsewhere" in tree(mixture(), "memory.lstm", up=64)


def test_junctions_at_the_edge_say_what_is_behind_them():
    assert "junction:/blocks.0/Add  sum of memory.lstm, lookup:embed" in tree(mixture(), "blocks.0.attn.q")
    assert "junction:/blocks.0/Add_1  sum, read by blocks.0.mlp.fc1, junction:/blocks.0/Add_2" in tree(
        mixture(), "blocks.0.attn.v"
    )


def test_outputs_and_inputs_have_ends():
    assert "nothing reads it neuron by neuron" in tree(mixture(), "head")
    assert "where signals come from" in tree(mixture(), "input:pixels")


def test_a_deep_chain_is_cut_on_the_left_only():
    count = 200
    sources = [Source("input", "x", 0, 2), *(Source("layer", f"l{i}", 2 + 2 * i, 2) for i in range(count))]
    fed = {f"l{i}": (Synapses(f"l{i}", 0, np.array([2 * i, 2 * i + 1])),) for i in range(count)}
    layers = tuple(layer(f"l{i}", "Gemm", "linear", 2, 2, use(f"l{i}.weight", "2n", "2s")) for i in range(count))
    made = analysis("deep.onnx", layers, wiring=Wiring(tuple(sources), (), fed))
    out = tree(made, "l199", up=64, down=0, width=60)
    assert "l136" in out
    assert "l134" not in out
    assert max(len(each) for each in out.splitlines()) <= 60


def test_a_model_of_many_layers_is_cut_with_a_note():
    count = 10_050
    layers = tuple(layer(f"l{i}", "Gemm", "linear", 2, 2, use(f"l{i}.weight", "2n", "2s")) for i in range(count))
    out = "".join(plain(overview(analysis("wide.onnx", layers))))
    assert "… 50 more layers (--json lists them all)" in out
    assert "l9999" in out
    assert "l10000" not in out

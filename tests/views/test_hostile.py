"""Names from a model cannot break out of a picture: they are escaped, cut to size, and never executed."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from pathlib import Path

import graphviz
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st

import graphneurons
from docs.draw import FIXTURES
from graphneurons.views.dot import escaped, html, named, plain, quoted
from graphneurons.views.drawing import Drawing
from graphneurons.views.rendering import foreign
from tests.views.drawn import SVG, all_texts, each_engine

NAMES = {
    "quotes": 'a"]; evil [label="x',
    "html": "<b>bold</b><script>alert(1)</script>&amp;",
    "breaking out": '</FONT></TD></TR></TABLE>> evil [URL="http://evil"]; x [label=<',
    "newlines": "one\ntwo\r\nthree\\ntail",
    "escapes": "\\N \\G \\E \\l\\",
    "bidi": "left\u202eright\u2066",
    "long": "x" * 10_000,
    "korean": "신경망.층",
    "nothing": " ",
    "controls": "\x01\x1b[31mred\x00",
}
each_name = pytest.mark.parametrize("name", list(NAMES.values()), ids=list(NAMES))
VIEWS = [("rows", "layer"), ("columns", "layer"), ("pair", "layer"), ("network", None), ("circuit", "layer")]


def renamed(name: str, folder: Path) -> Path:
    """The key-value MLP whose first layer, its weight and its input are called ``name``."""
    model = onnx.load(FIXTURES / "kv_mlp.onnx")
    for node in model.graph.node:
        node.input[:] = [{"x": name, "keys.weight": f"{name}.weight"}.get(one, one) for one in node.input]
    model.graph.node[0].name = name
    model.graph.input[0].name = name
    for tensor in model.graph.initializer:
        tensor.name = {"keys.weight": f"{name}.weight"}.get(tensor.name, tensor.name)
    path = folder / "hostile.onnx"
    path.write_bytes(model.SerializeToString())
    return path


@each_engine
@each_name
@pytest.mark.parametrize(("view", "which"), VIEWS)
def test_no_name_breaks_a_picture(name: str, view: str, which: str | None, engine: str, tmp_path: Path) -> None:
    analysis = graphneurons.analyze(renamed(name, tmp_path))
    layer = analysis.layers[0].id if which else None
    drawing = graphneurons.render(analysis, f"{layer}:0" if view == "circuit" else layer, view, title=None)
    made = Drawing(drawing.dot, engine).svg
    root = ElementTree.fromstring(made)
    assert {element.tag.removeprefix(SVG) for element in root.iter()} <= {
        "svg", "g", "title", "polygon", "polyline", "path", "text", "ellipse", "a", "tspan",
    }  # fmt: skip
    assert not any("href" in key for element in root.iter() for key in element.attrib)
    assert not any("evil" in (element.get("id") or "") for element in root.iter())
    assert not set("\u202e\u2066\x1b\x01\x00") & set(made)
    same = {"network": None, "circuit": "keys:0"}.get(view, "keys")
    harmless = graphneurons.render(FIXTURES / "kv_mlp.onnx", same, view)
    assert drawing.dot.count("\n  ") - drawing.dot.count("\n  t") == harmless.dot.count("\n  ") - harmless.dot.count(
        "\n  t"
    )
    assert drawing.dot.count('class="neuron"') == harmless.dot.count('class="neuron"')


@each_engine
def test_korean_is_legible(engine: str, tmp_path: Path) -> None:
    drawing = graphneurons.render(renamed(NAMES["korean"], tmp_path))
    assert "신경망" in all_texts(Drawing(drawing.dot, engine).svg)


def test_long_names_keep_both_ends() -> None:
    name = "encoder." + "x" * 10_000 + ".weight"
    assert len(named(name)) == 48
    assert named(name).startswith("encoder.")


@each_name
def test_the_title_is_escaped_too(name: str) -> None:
    drawing = graphneurons.render(FIXTURES / "mlp.onnx", "layers.0", title=name)
    root = ElementTree.fromstring(drawing.svg)
    assert not [element for element in root.iter() if element.tag.removeprefix(SVG) in ("script", "b")]


@given(st.text())
def test_quoting_is_that_of_the_graphviz_package(text: str) -> None:
    wanted = graphviz.quoting.quote(graphviz.escape(text))
    assert quoted(text) == (wanted if wanted.startswith('"') else f'"{wanted}"')


@given(st.text())
def test_labels_of_several_lines_hold_no_newline(text: str) -> None:
    assert "\n" not in plain(text, "left").text
    assert plain(text.replace("\n", " ")).text == quoted(text.replace("\n", " "))


@given(st.text())
def test_no_markup_survives_escaping(text: str) -> None:
    inner = html(escaped(text)).text[1:-1]
    assert not set('<>"') & set(inner)
    assert escaped(text).replace("&lt;", "<").replace("&gt;", ">").replace("&quot;", '"').replace("&amp;", "&") == text


def test_what_needs_fonts_is_told_apart() -> None:
    assert foreign("층")
    assert foreign("層")
    assert not foreign("‖w‖ × Σ − … · naïve ñ Ω Ж")

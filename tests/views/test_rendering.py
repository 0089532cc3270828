"""Engines: which one is taken, what is said where there is none, and files that are whole or not there."""

from __future__ import annotations

import os
import stat
import sys
from pathlib import Path

import pytest

import graphneurons
from docs.draw import FIXTURES
from graphneurons.errors import UsageError
from graphneurons.views import rendering
from graphneurons.views.drawing import Drawing, format_of
from graphneurons.views.rendering import Engine, RenderError, choose, drawn, engines
from tests.views.drawn import each_engine

BOTH = {name: Engine(name, f"/bin/{name}") for name in ("graphviz-pure", "dot")}
PLAIN, KOREAN = 'digraph { a [label="a"] }', 'digraph { a [label="층"] }'


@pytest.fixture(autouse=True)
def nothing_chosen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(rendering.VARIABLE, raising=False)


def having(monkeypatch: pytest.MonkeyPatch, *names: str) -> None:
    monkeypatch.setattr(rendering, "engines", lambda: {name: BOTH[name] for name in names})


@pytest.mark.parametrize(
    ("format", "dot", "taken"),
    [
        ("svg", PLAIN, "graphviz-pure"),
        ("svg", KOREAN, "graphviz-pure"),
        ("png", PLAIN, "graphviz-pure"),
        ("png", KOREAN, "dot"),
        ("pdf", PLAIN, "dot"),
    ],
)
def test_the_engine_that_fits(format: str, dot: str, taken: str, monkeypatch: pytest.MonkeyPatch) -> None:
    having(monkeypatch, "graphviz-pure", "dot")
    assert choose(format, dot).name == taken


def test_the_other_one_where_only_that_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    having(monkeypatch, "dot")
    assert choose("svg", PLAIN).name == "dot"
    having(monkeypatch, "graphviz-pure")
    assert choose("png", KOREAN).name == "graphviz-pure"


def test_an_engine_asked_for_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    having(monkeypatch, "graphviz-pure", "dot")
    assert choose("svg", PLAIN, "dot").name == "dot"
    monkeypatch.setenv(rendering.VARIABLE, "dot")
    assert choose("svg", PLAIN).name == "dot"
    assert choose("svg", PLAIN, "graphviz-pure").name == "graphviz-pure"


@pytest.mark.parametrize(
    ("installed", "format", "wanted", "said"),
    [
        ((), "svg", None, r'no engine to draw with: pip install "graphneurons\[render\]" .*or write a \.dot file'),
        (
            (),
            "svg",
            "graphviz-pure",
            r'the engine graphviz-pure is not installed: pip install "graphneurons\[render\]"',
        ),
        ((), "svg", "dot", r"the engine dot is not installed: install Graphviz"),
        (("graphviz-pure",), "pdf", None, r"drawing PDF needs a system Graphviz .*write \.svg, \.png or \.dot"),
        (("graphviz-pure",), "pdf", "graphviz-pure", r"graphviz-pure draws no PDF: use --engine dot"),
    ],
)
def test_what_is_missing_is_said(
    installed: tuple[str, ...], format: str, wanted: str | None, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    having(monkeypatch, *installed)
    with pytest.raises(RenderError, match=said):
        choose(format, PLAIN, wanted)


def test_dot_needs_no_engine(monkeypatch: pytest.MonkeyPatch) -> None:
    having(monkeypatch)
    drawing = graphneurons.render(FIXTURES / "mlp.onnx", "layers.0")
    assert drawing.bytes("dot").decode() == drawing.dot


def test_unknown_engines_and_formats() -> None:
    with pytest.raises(UsageError, match="no engine is called 'inkscape'; there are auto, graphviz-pure, dot"):
        choose("svg", PLAIN, "inkscape")
    with pytest.raises(UsageError, match="no format is called 'gif'"):
        drawn(PLAIN, "gif")


def test_a_failing_engine_is_quoted() -> None:
    with pytest.raises(RenderError, match=r"graphviz-pure failed: .*syntax error"):
        drawn("digraph {", "svg", "graphviz-pure")


def test_an_engine_that_hangs_is_stopped(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    slow = tmp_path / "slow"
    slow.write_text(f"#!{sys.executable}\nimport time\ntime.sleep(60)\n")
    slow.chmod(slow.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setattr(rendering, "engines", lambda: {"dot": Engine("dot", str(slow))})
    with pytest.raises(RenderError, match=r"dot took more than 0\.5 s; draw less, or write a \.dot file"):
        drawn(PLAIN, "svg", "dot", timeout=0.5)


def test_the_engine_pip_installs_is_there() -> None:
    assert "graphviz-pure" in engines()


@each_engine
def test_pdf_is_drawn_by_dot_alone(engine: str) -> None:
    drawing = Drawing(graphneurons.render(FIXTURES / "mlp.onnx", "layers.0").dot, engine)
    if engine == "dot":
        assert drawing.bytes("pdf").startswith(b"%PDF")
    else:
        with pytest.raises(RenderError, match="graphviz-pure draws no PDF"):
            drawing.bytes("pdf")


def test_notebooks_show_it() -> None:
    drawing = graphneurons.render(FIXTURES / "mlp.onnx", "layers.0")
    assert drawing._repr_svg_().lstrip().startswith("<?xml")
    assert "digraph" not in repr(drawing)


@pytest.mark.parametrize(("name", "format"), [("a.svg", "svg"), ("A.PNG", "png"), ("b.gv", "dot"), ("c.pdf", "pdf")])
def test_the_format_is_in_the_name(name: str, format: str) -> None:
    assert format_of(name) == format


def test_a_name_without_a_format() -> None:
    with pytest.raises(UsageError, match=r"a\.txt: its name ends in none of \.svg, \.png, \.pdf, \.dot: say --format"):
        format_of("a.txt")


def test_saved_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    drawing = graphneurons.render(FIXTURES / "mlp.onnx", "layers.0")
    target = tmp_path / "a.svg"
    drawing.save(target)
    assert target.read_text("utf-8") == drawing.svg
    target.write_text("before")

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        drawing.save(target)
    assert target.read_text() == "before"
    assert os.listdir(tmp_path) == ["a.svg"]


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError) as caught:
        Drawing(PLAIN).save(tmp_path / "none" / "a.dot")
    assert caught.value.filename == str(tmp_path / "none" / "a.dot")

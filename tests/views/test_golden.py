"""Every view's DOT, byte for byte, and every one of them drawn by every engine there is."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from docs.draw import Picture, model_file
from graphneurons import render
from graphneurons.views.drawing import Drawing
from tests.views.cases import VIEWS, WIDE
from tests.views.drawn import each_engine, groups

ALL = [(name, theme, case) for name, case in VIEWS.items() for theme in ("light", "dark")]
ALL += [(name, "light", case) for name, case in WIDE.items()]
each_case = pytest.mark.parametrize(("name", "theme", "case"), ALL, ids=[f"{name}-{theme}" for name, theme, _ in ALL])


def drawing(case: Picture, theme: str, folder: Path) -> Drawing:
    return render(model_file(case.model, folder), case.layer, case.view, theme=theme, **case.options)


@each_case
def test_dot(name: str, theme: str, case: Picture, tmp_path: Path, golden: Callable[[str, str], None]) -> None:
    first = drawing(case, theme, tmp_path).dot
    assert drawing(case, theme, tmp_path).dot == first
    golden(f"views/{name}-{theme}.dot", first)


@each_engine
@each_case
def test_drawn_twice_alike(name: str, theme: str, case: Picture, tmp_path: Path, engine: str) -> None:
    made = Drawing(drawing(case, theme, tmp_path).dot, engine)
    assert made.svg == made.svg
    found = groups(made, engine)
    ids = [one.id for one in found]
    assert len(ids) == len(set(ids))
    assert made.bytes("png").startswith(b"\x89PNG")


@each_case
def test_every_picture_has_a_title_and_a_legend(name: str, theme: str, case: Picture, tmp_path: Path) -> None:
    svg = drawing(case, theme, tmp_path).svg
    if name == "network":
        assert "transformer.onnx" in svg
        assert "queries and keys attend" in svg
    else:
        assert "excitatory, w &gt; 0" in svg
        assert "inhibitory, w &lt; 0" in svg

"""docs/views.md shows every picture that `python -m docs.draw` draws, and names every option of the command."""

from __future__ import annotations

import re
from pathlib import Path

import graphneurons
from docs.draw import DRAWN, PICTURES, Picture, model_file
from graphneurons.cli.render import command

PAGE = (PICTURES.parent / "views.md").read_text("utf-8")


def test_every_picture_is_shown_and_there() -> None:
    shown = re.findall(r"\(pictures/(\w+)\.svg\)", PAGE)
    assert sorted(shown) == sorted(DRAWN)
    assert sorted(path.stem for path in PICTURES.glob("*.svg")) == sorted(DRAWN)


def test_every_view_has_a_picture(tmp_path: Path) -> None:
    drawn = {picture.view or ("network" if picture.layer is None else "") for picture in DRAWN.values()}
    assert drawn >= {"rows", "columns", "pair", "mlp", "conv", "recurrent", "attention", "network", "circuit"}
    picture: Picture = DRAWN["mlp_two_layers"]
    drawing = graphneurons.render(model_file(picture.model, tmp_path), picture.layer, picture.view)
    assert (PICTURES / "mlp_two_layers.svg").read_text("utf-8").count("<g ") == drawing.svg.count("<g ")


def test_every_option_is_explained() -> None:
    for parameter in command.params:
        if parameter.param_type_name == "option" and "--help" not in parameter.opts:
            assert any(f"`{option}" in PAGE or f", `{option}" in PAGE for option in parameter.opts), parameter.opts

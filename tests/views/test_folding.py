"""Blocks folded, modules collapsed, long runs summed up."""

from __future__ import annotations

from pathlib import Path

import pytest

import graphneurons
from docs.draw import FIXTURES
from fixtures.builders import Graph
from graphneurons.views.folding import Item, collapse, fold, runs
from graphneurons.views.network import short
from tests.views.drawn import groups, of


def item(path: str, looks: object = 8, kind: str = "linear") -> Item:
    *scope, text = path.split(".")
    return Item(path, kind, tuple(scope), text, (looks,), 1, 8, 64)


def test_blocks_alike_are_folded() -> None:
    folded = fold([item(f"h.{n}.{name}") for n in range(96) for name in ("fc", "proj")])
    assert [one.id for one in folded.items] == ["h.0.fc", "h.0.proj"]
    assert [(stack.prefix, stack.first, stack.last, stack.copies) for stack in folded.stacks] == [(("h",), 0, 95, 96)]
    assert folded.stands_for["h.57.proj"] == "h.0.proj"


def test_blocks_that_differ_are_not() -> None:
    folded = fold([item(f"h.{n}.fc", looks=n < 2) for n in range(5)])
    assert [one.id for one in folded.items] == ["h.0.fc", "h.2.fc"]
    assert [(stack.first, stack.copies) for stack in folded.stacks] == [(0, 2), (2, 3)]


def test_only_neighbours_are_folded() -> None:
    folded = fold([item(f"h.{n}.fc") for n in (0, 2, 4)])
    assert len(folded.items) == 3
    assert not folded.stacks


def test_blocks_within_blocks() -> None:
    folded = fold([item(f"stage.{s}.block.{b}.conv") for s in range(3) for b in range(4)])
    assert [one.id for one in folded.items] == ["stage.0.block.0.conv"]
    assert [stack.copies for stack in folded.stacks] == [3, 4]


def test_equal_names_in_one_block_stay_apart() -> None:
    folded = fold([Item(f"add{n}{twice}", "sum", ("h", str(n)), "sum", (4,)) for n in range(3) for twice in "ab"])
    assert [one.id for one in folded.items] == ["add0a", "add0b"]
    assert folded.stands_for["add2b"] == "add0b"


def test_modules_collapse_to_sums() -> None:
    folded = fold([item("encoder.a.fc"), item("encoder.b.fc", 9), item("decoder.fc", 7), item("head", 5)])
    collapsed = collapse(folded, 1)
    assert [(one.text, one.layers, one.neurons, one.synapses) for one in collapsed.items] == [
        ("encoder", 2, 16, 128),
        ("fc", 1, 8, 64),
        ("head", 1, 8, 64),
    ]
    assert collapsed.stands_for["encoder.b.fc"] == collapsed.stands_for["encoder.a.fc"]


def test_long_runs_are_drawn_together() -> None:
    summed = runs(fold([item(f"fc_{n}", looks=n) for n in range(1000)]), 90)
    assert len(summed.items) <= 90
    assert sum(one.layers for one in summed.items) == 1000
    assert summed.items[0].text == "fc_0 … fc_11"


def test_deep_paths_are_cut_short() -> None:
    folded = fold([item(".".join(["m"] * 5000) + f".fc{n}", looks=n) for n in range(3)])
    assert len(folded.items) == 3
    assert max(len(one.path) for one in folded.items) <= 16


@pytest.mark.parametrize(("alike", "drawn"), [(True, 3), (False, 90)])
def test_a_thousand_layers(alike: bool, drawn: int, tmp_path: Path) -> None:
    graph, x, width = Graph("deep"), "x", 8
    for n in range(1000):
        out = 8 if alike else 8 + n % 13
        y = graph.op("Relu", f"layers.{n}.relu", graph.linear(x, f"layers.{n}.fc", width, out, bias=False))
        x = graph.op("Add", f"layers.{n}.sum", x, y, scope=f"layers.{n}") if alike else y
        width = out
    path = tmp_path / "deep.onnx"
    path.write_bytes(graph.model({"x": ("batch", 8)}, x, ("batch", width)).SerializeToString())
    drawing = graphneurons.render(path)
    items = of(groups(drawing), "item")
    assert len(items) <= drawn
    assert ("× 1,000" in drawing.svg) == alike
    assert "1,000 layers" in drawing.svg


def test_collapsing_by_depth_is_said() -> None:
    drawing = graphneurons.render(FIXTURES / "transformer.onnx", depth=1)
    assert "modules deeper than 1 levels are collapsed" in drawing.svg
    names = [one.texts[0] for one in of(groups(drawing), "item")]
    assert "blocks" in names


def test_counts_in_short() -> None:
    assert [short(n) for n in (0, 999, 1000, 603_979_776, 7_000_000_000)] == ["0", "999", "1 k", "604 M", "7 G"]

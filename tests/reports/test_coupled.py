"""Coupled groups as lines and as JSON."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

import graphneurons
from graphneurons.reports.coupled import coupled, groups_record
from graphneurons.reports.json import dumps_record
from graphneurons.reports.lines import ASCII, UNICODE, measure, plain
from graphneurons.reports.links import wiring_record
from graphneurons.reports.text import View
from tests.reports.test_wiring import WIRING

FIXTURES = Path(__file__).parents[2] / "fixtures"


@pytest.fixture(params=["kv_mlp", "gpt_block", "conv", "lstm"])
def made(request):
    return graphneurons.analyze(str(FIXTURES / f"{request.param}.onnx"))


@pytest.mark.parametrize("width", [30, 60, None])
@pytest.mark.parametrize("glyphs", [UNICODE, ASCII])
def test_every_group_is_shown_and_fits(made, width, glyphs):
    lines = list(coupled(made, made.groups, View(width=width, glyphs=glyphs)))
    assert all(width is None or measure(spans) <= width for spans in lines)
    whole = "".join("".join(plain(lines)).split())
    assert made.groups
    for group in made.groups:
        assert "".join(group.id.split()) in whole
    assert ("cannotbecut" in whole) == any(group.fixed is not None for group in made.groups)


def test_json_follows_its_schema(made):
    report = json.loads(dumps_record(wiring_record(made) | {"groups": groups_record(made.groups)}))
    WIRING.validate(report)
    assert [group["id"] for group in report["groups"]] == [group.id for group in made.groups]


def test_json_says_where_every_index_stands(made):
    for group, record in zip(made.groups, groups_record(made.groups), strict=True):
        for member, told in zip(group.members, record["members"], strict=True):
            if "coordinates" in told:
                found = np.array(told["coordinates"])
            else:
                columns: dict[int, list] = {}
                for run in told["runs"]:
                    start, stop = run["index"]
                    rows = [
                        [run["first"] + run["step"] * (i - start) + run["stride"] * k for k in range(run["count"])]
                        for i in range(start, stop)
                    ]
                    columns.setdefault(start, []).append(np.array(rows))
                found = np.concatenate([np.concatenate(blocks, axis=1) for _, blocks in sorted(columns.items())])
            assert np.array_equal(found, member.coordinates(group.size))


def test_a_model_without_weights():
    from tests.sample_analyses import analysis

    made = analysis("empty.onnx")
    object.__setattr__(made, "groups", ())
    assert "no axes are coupled" in "".join(plain(coupled(made, made.groups)))

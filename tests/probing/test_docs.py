"""docs/probe.md tells the truth: its commands run, what it says of the digits holds, and every option is explained."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path

import pytest

from docs import digits
from graphneurons.cli.probe import command
from tests.cli.conftest import cli  # noqa: F401

DOCS = Path(__file__).parents[2] / "docs"
PAGE = (DOCS / "probe.md").read_text("utf-8")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("tutorial")
    assert digits.write(made / "digits") > 0.93
    return made


def commands() -> list[str]:
    lines = PAGE.replace("\\\n", " ").splitlines()
    return [line.removeprefix("$ ") for line in lines if re.match(r"(\$ )?graphneurons probe digits", line)]


def test_its_pictures_can_be_drawn(cli, folder, monkeypatch) -> None:  # type: ignore[no-untyped-def]  # noqa: F811
    monkeypatch.chdir(folder)
    (_, second) = commands()
    ran = cli(*shlex.split(second)[1:])
    assert (ran.code, ran.err) == (0, "")
    assert sorted(path.name for path in folder.glob("*.svg")) == ["neurons.svg", "probe.svg"]


def test_what_it_says_of_loops_holds(cli, folder, monkeypatch) -> None:  # type: ignore[no-untyped-def]  # noqa: F811
    monkeypatch.chdir(folder)
    (first, _) = commands()
    ran = cli(*shlex.split(first)[1:-2], "--json")
    (loop,) = json.loads(ran.out)["concepts"]
    singles, (together,) = loop["neurons"], loop["probes"]
    reached = {control["kind"]: control["score"]["value"] for control in together["controls"]}
    assert sum(one["verdict"]["carries"] for one in singles) >= 2
    assert together["score"]["value"] > singles[0]["score"]["value"] + 0.08
    assert reached["untrained"] > singles[0]["score"]["value"] + 0.05
    assert singles[0]["selectivity"] > 2 * together["selectivity"]
    assert abs(reached["shuffled"] - 0.5) < 0.05
    responding = [one for one in singles if one["verdict"]["carries"] and one["sign"] > 0]
    assert any(min(one["rate_with"], one["rate_without"]) > 0.9 and one["threshold"] > 0.5 for one in responding)


def test_every_option_is_explained() -> None:
    for parameter in command.params:
        if parameter.param_type_name == "option" and "--help" not in parameter.opts:
            assert all(f"`{option}" in PAGE or f" {option} " in PAGE for option in parameter.opts[-1:]), parameter.opts


def test_its_pictures_are_there() -> None:
    shown = re.findall(r"\((pictures/probe/\w+\.svg)\)", PAGE)
    assert shown == ["pictures/probe/histogram.svg", "pictures/probe/probe.svg"]
    assert all("loop" in (DOCS / path).read_text("utf-8") for path in shown)

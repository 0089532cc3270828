"""What the command references show is what the commands print."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SHOWN = re.findall(
    r"```\n\$ graphneurons (wiring .*)\n((?:.*\n)*?)```", (ROOT / "docs" / "wiring.md").read_text("utf-8")
)


@pytest.mark.parametrize(("command", "shown"), SHOWN)
def test_examples_of_the_reference_are_true(command, shown, monkeypatch, capsys):
    from graphneurons.cli.running import run

    monkeypatch.chdir(ROOT)
    for name in ("COLUMNS", "NO_COLOR", "FORCE_COLOR"):
        monkeypatch.delenv(name, raising=False)
    assert run(shlex.split(command)) == 0
    title, _, rest = capsys.readouterr().out.partition("\n")
    assert title.startswith("model fixtures/")
    assert rest == shown


def test_there_are_examples():
    assert len(SHOWN) == 3


def test_every_option_is_described():
    from graphneurons.cli.analyze import command as analyze
    from graphneurons.cli.wiring import command as wiring

    for command, file in ((analyze, "analyze.md"), (wiring, "wiring.md")):
        text = (ROOT / "docs" / file).read_text("utf-8")
        options = [option for each in command.params for option in each.opts if option.startswith("--")]
        assert options
        missing = [option for option in options if f"`{option}" not in text]
        assert missing in ([], ["--input", "--trust-code"])

"""What costs nothing must cost nothing: help and version load no reader of models."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import click
import pytest

import graphneurons.cli as cli_room
from graphneurons.cli.commands import COMMANDS, commands
from tests.cli.conftest import environment

HEAVY = ("numpy", "onnx", "networkx", "rich", "torch", "google.protobuf", "graphneurons.analysis", "graphneurons.load")

PROBE = """
import json, sys
sys.argv = ["graphneurons", *json.loads(sys.argv[1])]
from graphneurons.cli import main
try:
    main()
except SystemExit as end:
    loaded = sorted(sys.modules)
    sys.stderr.write(json.dumps({"code": end.code or 0, "loaded": loaded}))
"""


@pytest.mark.parametrize(
    "arguments",
    [
        ["--help"],
        ["-h"],
        ["--version"],
        ["analyze", "--help"],
        ["wiring", "--help"],
        ["analyze", "--nonsense"],
        ["nonsense"],
    ],
)
def test_help_and_version_import_nothing_heavy(arguments):
    command = [sys.executable, "-c", PROBE, json.dumps(arguments)]
    done = subprocess.run(command, capture_output=True, env=environment(), timeout=60, check=True)
    told = json.loads(done.stderr[done.stderr.rindex(b'{"code"') :])
    assert not [name for name in HEAVY if name in told["loaded"]]
    assert told["code"] == (2 if "nonsense" in arguments[-1] else 0)


def test_the_list_of_commands_says_what_each_command_says_of_itself():
    """The list is written down apart, so that it imports no command."""
    context = click.Context(commands, info_name="graphneurons")
    assert {name: commands.get_command(context, name).get_short_help_str(120) for name in COMMANDS} == COMMANDS
    modules = Path(cli_room.__file__).parent.glob("*.py")
    assert {path.stem for path in modules if "@click.command" in path.read_text()} == set(COMMANDS)


def test_version(process):
    from graphneurons import __version__

    ran = process("--version")
    assert (ran.code, ran.out, ran.err) == (0, f"graphneurons {__version__}\n", "")


def test_help_shows_commands_and_examples(process):
    assert "analyze" in process("--help").out
    out = process("analyze", "--help").out
    assert "graphneurons analyze model.onnx --by scope --depth 2" in out
    assert "Exit code: 0 if all models were analyzed, 2 if not." in out


@pytest.mark.parametrize("arguments", [[], ["analyze"], ["wiring"]])
def test_nothing_to_do_shows_help_on_stderr(process, arguments):
    ran = process(*arguments)
    assert ran.code == 2
    assert ran.out == ""
    assert ran.err.startswith("Usage: graphneurons")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--bogus"], "No such option '--bogus'"),
        (["frobnicate"], "No such command 'frobnicate'"),
        (["analyze", "m.onnx", "--by", "colour"], "Invalid value for '--by': 'colour' is not one of"),
        (["analyze", "m.onnx", "--top", "0"], "Invalid value for '--top'"),
        (["analyze", "m.onnx", "--json", "--format", "csv"], "--json and --format csv exclude each other"),
        (["analyze", "m.onnx", "--json", "--by", "op"], "JSON always holds everything"),
        (["analyze", "m.onnx", "--depth", "2"], "--depth needs --by scope"),
        (["analyze", "m.onnx", "--by", "scope", "--top", "2"], "use --depth with --by scope"),
    ],
)
def test_usage_errors_are_one_line(cli, arguments, said):
    ran = cli(*arguments)
    assert ran.code == 2
    assert ran.out == ""
    assert ran.err.startswith("error: ")
    assert said in ran.err
    assert ran.err.count("\n") == 1
    assert "--help'." in ran.err


def test_hostile_arguments_are_escaped(cli):
    ran = cli("analyze", "m.onnx", "--by", "\x1b[31m\n::error::")
    assert ran.code == 2
    assert "\x1b" not in ran.err
    assert ran.err.count("\n") == 1

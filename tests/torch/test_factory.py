"""``graphneurons analyze package.module:factory``: runs code only when told to, and says what goes wrong in it."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from graphneurons.cli.commands import commands
from graphneurons.errors import UsageError
from graphneurons.load.factory import Example, is_factory, parse_example

SOURCE = """
import torch
from torch import nn

ran = True

def small():
    return nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2))

def with_example():
    return small(), (torch.zeros(3, 4),)

class Text(nn.Module):
    def __init__(self):
        super().__init__()
        self.words, self.head = nn.Embedding(11, 6), nn.Linear(6, 11)
    def forward(self, ids, mask=None):
        x = self.words(ids)
        return self.head(x if mask is None else x * mask.unsqueeze(-1))

def on_meta():
    with torch.device("meta"):
        return Text()

def fails():
    return 1 // 0

class Decides(nn.Module):
    def forward(self, x):
        return x if x.sum() > 0 else -x

number = 5
module = small()
"""


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "zoo_of_tests.py").write_text(SOURCE)
    (tmp_path / "broken_zoo.py").write_text("import nothing_of_this_name\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    monkeypatch.delitem(sys.modules, "zoo_of_tests", raising=False)
    return tmp_path


def run(*arguments: str) -> tuple[int, str]:
    done = CliRunner().invoke(commands, ["analyze", *arguments], standalone_mode=False)
    assert done.exception is None, done.exception
    return done.return_value, done.output


def test_refused_without_trust_and_nothing_is_imported(home: Path) -> None:
    code, text = run("zoo_of_tests:small")
    assert code == 2
    assert text == (
        "error: zoo_of_tests:small: this would import and run Python code; add --trust-code if you trust it, "
        "or analyze an exported model (.onnx, .pt2)\n"
    )
    assert "zoo_of_tests" not in sys.modules


@pytest.mark.parametrize(
    ("factory", "inputs"),
    [
        ("small", ["1,4"]),
        ("small", ["input=1,4"]),
        ("with_example", []),
        ("module", ["2,7,4"]),
        ("Text", ["int64:1,16"]),
        ("Text", ["int64:1,16", "mask=float32:1,16"]),
        ("on_meta", ["ids=int64:1,16"]),
    ],
)
def test_factories_are_called_and_traced(home: Path, factory: str, inputs: list[str]) -> None:
    given = [part for text in inputs for part in ("--input", text)]
    code, text = run(f"zoo_of_tests:{factory}", "--trust-code", *given)
    assert code == 0, text
    assert "neurons" in text


@pytest.mark.parametrize(
    ("command", "said"),
    [
        (["wiring", "zoo_of_tests:small", "2:1"], "0  mlp_key, Relu"),
        (["wiring", "zoo_of_tests:small", "0", "--groups"], "2.weight axis 1  synapse of 2"),
        (["health", "zoo_of_tests:small", "0"], "0.weight  float32, as stored"),
        (["render", "zoo_of_tests:small", "0", "--format", "dot"], "digraph graphneurons"),
    ],
)
def test_other_commands_open_factories_too(home: Path, command: list[str], said: str) -> None:
    done = CliRunner().invoke(commands, [*command, "--input", "1,4"], standalone_mode=False)
    assert done.return_value == 2
    assert "add --trust-code if you trust it" in done.output
    done = CliRunner().invoke(commands, [*command, "--input", "1,4", "--trust-code"], standalone_mode=False)
    assert (done.exception, done.return_value) == (None, 0)
    assert said in done.output


@pytest.mark.parametrize(
    ("factory", "inputs", "said"),
    [
        ("small", [], "Sequential.forward takes (input), given no inputs"),
        (
            "Text",
            ["int64:1,16", "1,16", "1,16"],
            "Text.forward takes (ids, mask=None), given int64 [1, 16], float32 [1, 16]",
        ),
        ("small", ["1,5"], "Sequential.forward takes (input), given float32 [1, 5]"),
        ("fails", ["1"], "calling it fails at zoo_of_tests.py:26: ZeroDivisionError"),
        ("nothing", ["1"], "there is no 'nothing' in it; it has torch, nn, ran, small"),
        ("number", ["1"], "int is no model"),
        ("Decides", ["3"], "at zoo_of_tests.py:30: what happens next depends on the values of a tensor"),
    ],
)
def test_what_goes_wrong_is_one_line(home: Path, factory: str, inputs: list[str], said: str) -> None:
    given = [part for text in inputs for part in ("--input", text)]
    code, text = run(f"zoo_of_tests:{factory}", "--trust-code", *given)
    assert code == 2
    assert said in text
    assert text.count("\n") == 1


def test_modules_that_cannot_be_imported(home: Path) -> None:
    assert "module 'missing_zoo' cannot be imported" in run("missing_zoo:f", "--trust-code")[1]
    assert "nothing_of_this_name" in run("broken_zoo:f", "--trust-code")[1]


def test_spelling(home: Path) -> None:
    assert is_factory("a.b_c:d.e")
    assert not any(map(is_factory, ("model.onnx", "a:b:c", "C:/x", "a.b", ":f", "a:", "a-b:f")))
    (home / "a:b").write_text("")
    assert not is_factory("a:b")
    assert parse_example("x=int64:1,16") == Example("x", "int64", (1, 16))
    assert parse_example("") == Example("", "float32", ())
    for wrong in ("int65:1", "1,x", "1,-2", "int64:1:2"):
        with pytest.raises(UsageError, match="expected"):
            parse_example(wrong)

"""``graphneurons render``: what it writes, and one line for everything that cannot be drawn."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import onnx
import pytest

from docs.draw import FIXTURES
from graphneurons.cli.render import FORMATS as CLI_FORMATS
from graphneurons.cli.render import VIEWS as CLI_VIEWS
from graphneurons.views.rendering import FORMATS
from graphneurons.views.viewing import VIEWS

Run = Callable[..., tuple[int, str]]


@pytest.fixture
def run(capfd: pytest.CaptureFixture[str]) -> Iterator[Run]:
    """``run("fixtures/mlp.onnx", ...)``: exit code and stderr of ``graphneurons render``."""
    before = signal.getsignal(signal.SIGTERM)

    def start(*arguments: object) -> tuple[int, str]:
        from graphneurons.cli.running import run as start

        code = start(["render", *map(str, arguments)])
        return code, capfd.readouterr().err

    yield start
    signal.signal(signal.SIGTERM, before)


def fixture(name: str) -> str:
    return str(FIXTURES / f"{name}.onnx")


def test_the_choices_are_those_of_the_views() -> None:
    assert set(CLI_VIEWS) == set(VIEWS)
    assert tuple(CLI_FORMATS) == FORMATS


@pytest.mark.parametrize(("ending", "start"), [("svg", b"<?xml"), ("png", b"\x89PNG"), ("dot", b"digraph")])
def test_formats(ending: str, start: bytes, run: Run, tmp_path: Path) -> None:
    target = tmp_path / f"a.{ending}"
    assert run(fixture("mlp"), "layers.0", "-o", target) == (0, "")
    assert target.read_bytes().startswith(start)


def test_standard_output(capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    from graphneurons.cli.running import run as start

    before = signal.getsignal(signal.SIGTERM)
    try:
        assert start(["render", fixture("mlp"), "--format", "dot"]) == 0
    finally:
        signal.signal(signal.SIGTERM, before)
    assert capfdbinary.readouterr().out.startswith(b"digraph graphneurons {")


def test_options_reach_the_picture(run: Run, tmp_path: Path) -> None:
    target = tmp_path / "a.dot"
    code, _ = run(
        fixture("mlp"), "layers.1", "--theme", "dark", "--font-size", "21", "--title", "My net", "--neurons", "2,0",
        "-o", target,
    )  # fmt: skip
    text = target.read_text("utf-8")
    assert code == 0
    assert 'bgcolor="#15191f"' in text
    assert "My net" in text
    assert 'fontsize="21"' in text
    assert text.count('class="neuron"') == 2


CANNOT = [
    (("mlp", "layer.0"), "no layer is called 'layer.0'; near it are layers.0, layers.1"),
    (("mlp", "layers.0:3"), "layers.0 has neurons 0 to 2, not 3"),
    (("mlp", "layers.0:1", "--view", "rows"), "only --view circuit is about one neuron; use layers.0 --neurons 1"),
    (("mlp", "layers.0", "--neurons", "5"), "--neurons 5: layers.0 has neurons 0 to 2, 5 is not there"),
    (("mlp", "--view", "rows"), "--view rows is about one layer: name it, as layers.0, layers.1"),
    (("mlp", "layers.0", "--view", "network"), "the network view shows the whole model; leave the layer out"),
    (("mlp", "layers.0", "--view", "circuit"), "--view circuit is about one neuron: name it, as layers.0:0"),
    (("mlp", "layers.0", "--view", "conv"), "is a linear layer, --view conv is for convolutions; use --view rows"),
    (("mlp", "layers.0", "--view", "recurrent"), "is a linear layer, --view recurrent is for LSTM, GRU and RNN"),
    (("mlp", "layers.0", "--view", "attention"), "layers.0 is no part of an attention"),
    (("conv", "stem", "--view", "columns"), "stem has kernels: columns are drawn of single weights, use --view conv"),
    (("conv", "depthwise", "--view", "pair"), "depthwise has kernels or groups; use --view conv"),
    (("lstm", "lstm", "--view", "pair"), "lstm is recurrent; use --view recurrent"),
    (("transformer", "head", "--view", "pair"), "head is no half of a pair: no single layer feeds it or reads it"),
    (
        ("gpt_block", "attn.c_attn", "--view", "attention", "--heads", "5"),
        "attn.c_attn has 12 query neurons, which do not divide by it",
    ),
    (("mlp", "layers.1", "--view", "columns", "--at", "1"), "--at has 1 numbers, layers.0 reads 2"),
    (("mlp", "layers.1", "--view", "columns", "--at", "1,x"), "--at 1,x: expected numbers"),
    (("mlp", "layers.0", "--view", "columns", "--at", "1,2"), "--at needs a linear layer that alone feeds layers.0"),
    (("mlp", "--font-size", "3"), "a font size of 3 is not between 4 and 96"),
    (("mlp", "--max-neurons", "0"), "max-neurons 0 is not between 1 and 256"),
    (("mlp", "--up", "99"), "up 99 is not between 0 and 8"),
]


@pytest.mark.parametrize(("arguments", "said"), CANNOT, ids=[" ".join(arguments) for arguments, _ in CANNOT])
def test_one_line_and_no_file(arguments: tuple[str, ...], said: str, run: Run, tmp_path: Path) -> None:
    model, *rest = arguments
    code, error = run(fixture(model), *rest, "-o", tmp_path / "a.svg")
    assert code == 2
    assert error.count("\n") == 1
    assert error.startswith("error: ")
    assert said in error
    assert not os.listdir(tmp_path)


def test_a_name_that_says_no_format(run: Run, tmp_path: Path) -> None:
    code, error = run(fixture("mlp"), "-o", tmp_path / "a.jpg")
    assert (code, error.count("\n")) == (2, 1)
    assert "its name ends in none of .svg, .png, .pdf, .dot: say --format" in error


def test_the_model_is_not_overwritten(run: Run, tmp_path: Path) -> None:
    model = tmp_path / "m.svg"
    model.write_bytes(Path(fixture("mlp")).read_bytes())
    code, error = run(model, "-o", model)
    assert code == 2
    assert "is one of the models to read" in error
    assert model.read_bytes() == Path(fixture("mlp")).read_bytes()


def test_a_folder_that_is_not_there(run: Run, tmp_path: Path) -> None:
    code, error = run(fixture("mlp"), "-o", tmp_path / "none" / "a.svg")
    assert code == 2
    assert "does not exist; make it first" in error


def test_missing_weights(run: Run, tmp_path: Path) -> None:
    model = onnx.load(fixture("kv_mlp"))
    onnx.save_model(model, tmp_path / "kv.onnx", save_as_external_data=True, location="kv.data", size_threshold=0)
    (tmp_path / "kv.data").unlink()
    code, error = run(tmp_path / "kv.onnx", "keys", "-o", tmp_path / "a.svg")
    assert code == 2
    assert error.count("\n") == 1
    assert "keys.weight: the data file cannot be opened" in error
    assert run(tmp_path / "kv.onnx", "-o", tmp_path / "a.svg")[0] == 0

"""Pairs of layers of one module and its exports: renamed, transposed, reordered, folded, untied, and nothing lost."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner
from torch import Tensor, nn

import graphneurons
from graphneurons.cli.commands import commands
from graphneurons.errors import LoadError
from graphneurons.matching import OTHER_SYNAPSES, Match, match
from tests.torch.fronts import DIFFERENT, FRONTS, Front, analysis, takes
from tests.zoo.architectures import ZOO

CASES = [
    (name, front)
    for name in ZOO
    for front in FRONTS[1:]
    if takes(name, front) and not {(name, front), (name, "export")} & set(DIFFERENT)
]


@pytest.mark.parametrize(("name", "front"), CASES)
def test_every_layer_finds_its_partner_and_no_synapse_changes(name: str, front: Front) -> None:
    found = match(analysis(name, "export"), analysis(name, front))
    assert found.complete, (found.only_a, found.only_b)
    assert not [pair for pair in found.pairs if OTHER_SYNAPSES & {*pair.changes}]
    if front in ("pt2", "fx"):
        assert all(pair.by == "content" and not set(pair.changes) - {"renamed"} for pair in found.pairs)


@pytest.mark.parametrize("name", [name for name in ZOO if takes(name, "dynamo") and takes(name, "legacy")])
def test_two_exporters_write_the_same_layers(name: str) -> None:
    found = match(analysis(name, "dynamo"), analysis(name, "legacy"))
    assert found.complete, (found.only_a, found.only_b)
    assert {pair.by for pair in found.pairs} <= {"content"}
    assert not [pair for pair in found.pairs if OTHER_SYNAPSES & {*pair.changes}]


def changes(found: Match) -> Counter[tuple[str, ...]]:
    return Counter(pair.changes for pair in found.pairs)


def test_what_exporters_do_is_said() -> None:
    assert changes(match(analysis("lstm_bi_2", "export"), analysis("lstm_bi_2", "dynamo"))) == {
        ("renamed", "reordered"): 2, ("renamed", "transposed"): 1,
    }  # fmt: skip
    assert changes(match(analysis("cnn_bn", "export"), analysis("cnn_bn", "dynamo")))["folded",] == 2
    assert changes(match(analysis("tied_head", "export"), analysis("tied_head", "legacy")))[
        "renamed", "transposed", "untied"
    ] == 1  # fmt: skip
    # Two layers of two directions: a linear for the inputs of all six steps, and five for the states between them.
    unrolled = match(analysis("rnn_bi_2", "export"), analysis("rnn_bi_2", "dynamo"))
    assert changes(unrolled) == {("renamed", "transposed", "unrolled"): 24, ("renamed", "transposed"): 1}
    assert len({pair.a for pair in unrolled.pairs}) == 3
    assert changes(match(analysis("rnn_bi_2", "dynamo"), analysis("rnn_bi_2", "export"))) == {
        ("renamed", "transposed", "rolled"): 24, ("renamed", "transposed"): 1,
    }  # fmt: skip


class Attention(nn.Module):
    """Query, key and value in one linear, or in three."""

    def __init__(self, packed: bool) -> None:
        super().__init__()
        torch.manual_seed(1)
        weight = torch.randn(12, 4)
        parts = [weight] if packed else list(weight.split(4))
        self.parts = nn.ModuleList(nn.Linear(4, len(part), bias=False) for part in parts)
        for linear, part in zip(self.parts, parts, strict=True):
            linear.weight = nn.Parameter(part.clone())

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = torch.cat([part(x) for part in self.parts], -1).chunk(3, -1)
        return (q @ k.transpose(-1, -2)).softmax(-1) @ v


def test_packed_projections_are_found_in_their_parts() -> None:
    x = torch.zeros(1, 3, 4)
    packed, apart = (graphneurons.trace(Attention(flag), x) for flag in (True, False))
    found = match(packed, apart)
    assert found.complete
    assert [(pair.a, pair.b, pair.changes) for pair in found.pairs] == [
        ("parts.0", f"parts.{part}", ("renamed", "split") if part else ("split",)) for part in range(3)
    ]
    assert {pair.changes[-1] for pair in match(apart, packed).pairs} == {"merged"}


def test_other_synapses_and_other_layers_are_told() -> None:
    torch.manual_seed(0)
    x = torch.zeros(1, 4)
    first, other = (graphneurons.trace(nn.Sequential(nn.Linear(4, 3), nn.Linear(3, size)), x) for size in (2, 5))
    found = match(first, other)
    assert [(pair.a, pair.by, pair.changes) for pair in found.pairs] == [("0", "position", ("changed",))]
    assert (found.only_a, found.only_b) == (("1",), ("1",))
    assert found.partner("0") == "0"
    assert found.partner("1") is None


def test_models_without_values_are_paired_by_position() -> None:
    with torch.device("meta"):
        module = nn.Sequential(nn.Linear(4, 3), nn.Linear(3, 4))
    graph = graphneurons.trace(module, torch.zeros(1, 4, device="meta"))
    assert [(pair.a, pair.b, pair.by, pair.changes) for pair in match(graph, graph).pairs] == [
        ("0", "0", "position", ()), ("1", "1", "position", ()),
    ]  # fmt: skip


class Tied(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.words, self.head = nn.Embedding(11, 6), nn.Linear(6, 11, bias=False)
        self.head.weight = self.words.weight

    def forward(self, ids: Tensor) -> Tensor:
        return self.head(self.words(ids))


def test_export_onnx_keeps_names_and_is_checked(tmp_path: Path) -> None:
    path = tmp_path / "tied.onnx"
    found = graphneurons.export_onnx(Tied().eval(), (torch.zeros(1, 3, dtype=torch.long),), path)
    assert found.complete
    assert all("changed" not in pair.changes for pair in found.pairs)
    stored = graphneurons.load(path)
    assert "words.weight" in stored.weights or "head.weight" in stored.weights
    assert {op.scope for op in stored.ops if op.scope} >= {("words",), ("head",)}


@pytest.mark.parametrize("name", ["mlp_3d", "lstm", "rnn_no_bias", "encoder", "gpt2", "resnet50"])
def test_export_onnx_of_models_of_the_zoo(tmp_path: Path, name: str) -> None:
    architecture = ZOO[name]
    assert graphneurons.export_onnx(architecture.module(), architecture.arguments(), tmp_path / "model.onnx").complete


def test_what_the_optimizer_folds_is_the_module(tmp_path: Path) -> None:
    architecture = ZOO["cnn_bn"]
    found = graphneurons.export_onnx(
        architecture.module(), architecture.arguments(), tmp_path / "model.onnx", optimize=True
    )
    assert changes(found)["folded",] == 2


def test_export_onnx_says_what_fails(tmp_path: Path) -> None:
    class Decides(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x if x.sum() > 0 else -x

    with pytest.raises(LoadError, match=r"<Decides>: at test_matching.py:\d+: what happens next depends on the values"):
        graphneurons.export_onnx(Decides(), (torch.zeros(3),), tmp_path / "model.onnx")


def test_the_check_finds_a_file_that_is_not_the_module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from graphneurons import exporting

    other = graphneurons.trace(nn.Sequential(nn.Linear(4, 3), nn.Linear(3, 7)), torch.zeros(1, 4))
    monkeypatch.setattr(exporting, "trace", lambda *args, **kwargs: other)
    with pytest.raises(LoadError, match="the file is not the module: layer '1' of the module is not in it"):
        graphneurons.export_onnx(
            nn.Sequential(nn.Linear(4, 3), nn.Linear(3, 2)).eval(), (torch.zeros(1, 4),), tmp_path / "m.onnx"
        )


def small() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 3), nn.Tanh(), nn.Linear(3, 2)).eval()


def test_the_command(tmp_path: Path) -> None:
    module, x = small(), torch.zeros(1, 5, 4)
    archive, file = tmp_path / "model.pt2", tmp_path / "model.onnx"
    torch.export.save(torch.export.export(module, (x,)), archive)
    torch.onnx.export(module, (x,), str(file), dynamo=True, verbose=False)
    done = CliRunner().invoke(commands, ["match", str(archive), str(file)], standalone_mode=False)
    assert done.return_value == 0
    assert "2 pairs: 2 renamed, 2 transposed; 0 only in A, 0 only in B" in done.output
    told = CliRunner().invoke(commands, ["match", str(archive), str(file), "--json"], standalone_mode=False)
    assert '"changes": [' in told.output
    made = ["tests.torch.test_matching:small", str(file), "--input", "1,5,4", "--trust-code"]
    factory = CliRunner().invoke(commands, ["match", *made], standalone_mode=False)
    assert factory.return_value == 0
    assert "2 pairs: 2 renamed, 2 transposed" in factory.output
    assert (
        CliRunner().invoke(commands, ["match", str(archive), "missing.onnx"], standalone_mode=False).return_value == 2
    )

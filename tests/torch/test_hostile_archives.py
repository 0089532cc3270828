"""Damaged and hostile ``.pt2`` archives: one line that says what is wrong, in little time and memory; no code runs."""

from __future__ import annotations

import json
import pickle
import stat
import struct
import warnings
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import graphneurons
from graphneurons.errors import DataError, LoadError
from graphneurons.load import archives, pt2
from graphneurons.load.reading import read

Entries = dict[str, bytes]


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    class Small(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first = nn.Linear(4, 3)
            self.turned = nn.Parameter(torch.arange(6.0).reshape(3, 2).t())

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return torch.relu(self.first(x)) @ self.turned.t()

    path = tmp_path_factory.mktemp("archives") / "small.pt2"
    torch.export.save(torch.export.export(Small(), (torch.zeros(1, 4),)), path)
    return path


@pytest.fixture
def entries(saved: Path) -> Entries:
    with zipfile.ZipFile(saved) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def packed(path: Path, entries: Entries, compression: int = zipfile.ZIP_STORED) -> Path:
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, data in entries.items():
            archive.writestr(name, data)
    return path


def model_of(entries: Entries) -> str:
    return next(name for name in entries if name.endswith("models/model.json"))


def changed(entries: Entries, change: Callable[[Any], None]) -> Entries:
    """The archive with its model's JSON changed."""
    name = model_of(entries)
    told = json.loads(entries[name])
    change(told)
    return {**entries, name: json.dumps(told).encode()}


def refused(path: Path) -> str:
    with pytest.raises(LoadError) as caught:
        graphneurons.load(path)
    text = str(caught.value)
    assert "\n" not in text
    assert text.startswith(str(path))
    return text


def test_an_archive_is_read_with_its_weights(saved: Path) -> None:
    analysis = graphneurons.analyze(saved)
    assert analysis.totals.neurons == 5
    refs = analysis.graph.weights
    assert read(refs["turned"]).tolist() == [[0.0, 2.0, 4.0], [1.0, 3.0, 5.0]]
    assert read(refs["first.weight"]).shape == (3, 4)


@pytest.mark.parametrize("kept", [0.1, 0.5, 0.9, 0.99])
def test_truncated(tmp_path: Path, saved: Path, kept: float) -> None:
    data = saved.read_bytes()
    path = tmp_path / "cut.pt2"
    path.write_bytes(data[: int(len(data) * kept)])
    assert "damaged: the archive has no end" in refused(path)


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04", b"\0" * 100, b"hello", b"PK\x05\x06" + b"\xff" * 18])
def test_no_archive_at_all(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "odd.pt2"
    path.write_bytes(content)
    assert "damaged" in refused(path) or "more than this reads" in refused(path)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (b"", "not JSON"),
        (b"{", "not JSON"),
        (b"\xff\xfe", "not JSON"),
        (b"[" * 100_000, "nested too deep"),
        (b'{"a":' * 50_000 + b"1" + b"}" * 50_000, "nested too deep"),
        (b"[]", "an object is missing"),
        (b"{}", "an object is missing"),
        (b'{"graph_module": {"graph": []}}', "an object is missing"),
        (b'{"n": ' + b"9" * 10_000 + b"}", "not JSON"),
        (b"[" + b"[]," * 4_000_000 + b"[]]", "more than"),
    ],
)
def test_wrong_json(tmp_path: Path, entries: Entries, text: bytes, said: str) -> None:
    assert said in refused(packed(tmp_path / "a.pt2", {**entries, model_of(entries): text}))


def nodes(told: Any) -> Any:
    return told["graph_module"]["graph"]["nodes"]


def values(told: Any) -> Any:
    return told["graph_module"]["graph"]["tensor_values"]


def _nested(told: Any) -> None:
    graph = {"inputs": [], "outputs": [], "nodes": [], "tensor_values": {}}
    for _ in range(60):
        argument = {"name": "", "arg": {"as_graph": {"name": "g", "graph": graph}}}
        node = {"target": "torch.ops.higher_order.wrap", "inputs": [argument], "outputs": [], "metadata": {}}
        graph = {"inputs": [], "outputs": [], "nodes": [node], "tensor_values": {}}
    told["graph_module"]["graph"] = graph


def first(told: Any) -> Any:
    """The description of the first tensor."""
    return next(iter(values(told).values()))


CHANGES: dict[str, tuple[Callable[[Any], None], str]] = {
    "nodes is text": (lambda told: told["graph_module"]["graph"].update(nodes="x"), "a list is missing"),
    "a node is a number": (lambda told: nodes(told).append(3), "an object is missing"),
    "a target is no text": (lambda told: nodes(told)[0].update(target=5), "a name is missing"),
    "a lone surrogate": (lambda told: nodes(told)[0].update(name="\ud800"), "a name is missing"),
    "two kinds": (lambda told: nodes(told)[0]["inputs"][0]["arg"].update(as_int=1), "several kinds"),
    "reads nothing": (
        lambda told: nodes(told)[0]["inputs"][0].update(arg={"as_tensor": {"name": "ghost"}}),
        "reads 'ghost', which nothing makes",
    ),
    "negative size": (lambda told: first(told).update(sizes=[{"as_int": -4}]), "negative size"),
    "huge size": (lambda told: first(told).update(sizes=[{"as_int": 2**70}]), "a size is no number"),
    "size is text": (lambda told: first(told).update(sizes=[{"as_int": "4"}]), "a size is no number"),
    "rank 10 000": (lambda told: first(told).update(sizes=[{"as_int": 1}] * 10_000), "10000 axes"),
    "unknown type": (lambda told: first(told).update(dtype=99), "element type 99 is not known"),
    "other shape": (lambda told: values(told)["p_first_weight"].update(sizes=[{"as_int": 9}] * 2), "stored as"),
    "deep subgraphs": (_nested, "nested deeper than 32"),
}


@pytest.mark.parametrize("name", CHANGES)
def test_a_program_that_makes_no_sense(tmp_path: Path, entries: Entries, name: str) -> None:
    change, said = CHANGES[name]
    assert said in refused(packed(tmp_path / "a.pt2", changed(entries, change)))


def test_expressions_and_targets_are_data(tmp_path: Path, entries: Entries) -> None:
    def change(told: Any) -> None:
        evil = "__import__('os').system('touch %s')" % (tmp_path / "owned")
        nodes(told)[0]["target"] = f"torch.ops.aten.linear.{evil}"
        nodes(told)[1]["target"] = "os.system"
        expression = {"as_expr": {"expr_str": evil, "hint": {"as_int": 1}}}
        values(told)["x"]["sizes"][0] = expression

    graph = graphneurons.load(packed(tmp_path / "a.pt2", changed(entries, change)))
    graphneurons.analyze(graph)
    assert [op.qualified for op in graph.ops][1] == "os.system"
    assert not (tmp_path / "owned").exists()


def test_pickles_are_never_opened(tmp_path: Path, entries: Entries) -> None:
    class Bomb:
        def __reduce__(self) -> Any:
            return open, (str(tmp_path / "owned"), "w")

    config = next(name for name in entries if name.endswith("model_weights_config.json"))
    told = json.loads(entries[config])
    for item in told["config"].values():
        item["use_pickle"] = True
    weights = {name: pickle.dumps(Bomb()) for name in entries if "/weights/weight_" in name or name.endswith(".pt")}
    path = packed(tmp_path / "a.pt2", {**entries, **weights, config: json.dumps(told).encode()})
    analysis = graphneurons.analyze(path)
    assert analysis.totals.neurons == 5
    with pytest.raises(DataError, match="pickles are never opened"):
        read(analysis.graph.weights["first.weight"])
    assert not (tmp_path / "owned").exists()


def test_a_weight_shorter_than_its_shape(tmp_path: Path, entries: Entries) -> None:
    name = next(name for name in entries if "/weights/weight_" in name)
    assert "bytes stored, but shape" in refused(packed(tmp_path / "a.pt2", {**entries, name: b"\0" * 4}))


def test_strides_that_leave_the_entry(tmp_path: Path, entries: Entries) -> None:
    config = next(name for name in entries if name.endswith("model_weights_config.json"))
    told = json.loads(entries[config])
    told["config"]["turned"]["tensor_meta"]["strides"] = [{"as_int": 2**40}, {"as_int": 1}]
    path = packed(tmp_path / "a.pt2", {**entries, config: json.dumps(told).encode()})
    assert "bytes stored, but shape" in refused(path)


def test_a_bomb(tmp_path: Path, entries: Entries, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pt2, "MOST_JSON_BYTES", 1 << 20)
    bomb = {**entries, model_of(entries): b" " * (8 << 20)}
    assert "more than the 1048576 this reads" in refused(packed(tmp_path / "a.pt2", bomb, zipfile.ZIP_DEFLATED))


def test_a_size_that_lies(tmp_path: Path, entries: Entries) -> None:
    """The list says 100 bytes; the entry unpacks to megabytes."""
    name = model_of(entries)
    path = packed(tmp_path / "a.pt2", {**entries, name: b" " * (4 << 20)}, zipfile.ZIP_DEFLATED)
    data = bytearray(path.read_bytes())
    at = data.rfind(name.encode())
    data[at - 46 + 24 : at - 46 + 28] = struct.pack("<I", 100)
    path.write_bytes(data)
    assert "holds others" in refused(path) or "damaged" in refused(path)


def test_a_wrong_checksum(tmp_path: Path, entries: Entries) -> None:
    name = model_of(entries)
    path = packed(tmp_path / "a.pt2", entries)
    data = bytearray(path.read_bytes())
    data[data.find(entries[name]) + 10] ^= 1
    path.write_bytes(data)
    assert "damaged (Bad CRC-32" in refused(path)


def test_duplicate_entries(tmp_path: Path, entries: Entries) -> None:
    path = tmp_path / "a.pt2"
    with warnings.catch_warnings(), zipfile.ZipFile(path, "w") as archive:
        warnings.simplefilter("ignore")
        for name, data in [*entries.items(), (model_of(entries), b"{}")]:
            archive.writestr(name, data)
    assert "two entries of this name" in refused(path)


@pytest.mark.parametrize("name", ["/etc/passwd", "../../x", "small/../../x", "a\\b", "C:/x"])
def test_names_that_leave_the_archive(tmp_path: Path, entries: Entries, name: str) -> None:
    path = tmp_path / "a.pt2"
    with zipfile.ZipFile(path, "w") as archive:
        for other, data in entries.items():
            archive.writestr(other, data)
        archive.writestr(zipfile.ZipInfo(name), b"x")
    assert "the name leaves the archive" in refused(path)


def test_a_symbolic_link(tmp_path: Path, entries: Entries) -> None:
    path = tmp_path / "a.pt2"
    link = zipfile.ZipInfo("small/link")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    with zipfile.ZipFile(path, "w") as archive:
        for other, data in entries.items():
            archive.writestr(other, data)
        archive.writestr(link, b"/etc/passwd")
    assert "a symbolic link" in refused(path)


def flagged(path: Path, name: str, offset: int, value: int) -> None:
    """Sets a 16-bit field of an entry in the list at the end."""
    data = bytearray(path.read_bytes())
    at = data.rfind(name.encode()) - 46
    data[at + offset : at + offset + 2] = struct.pack("<H", value)
    path.write_bytes(data)


def test_encrypted(tmp_path: Path, entries: Entries) -> None:
    path = packed(tmp_path / "a.pt2", entries)
    flagged(path, model_of(entries), 8, 1)
    assert "encrypted" in refused(path)


def test_an_unknown_compression(tmp_path: Path, entries: Entries) -> None:
    path = packed(tmp_path / "a.pt2", entries)
    flagged(path, model_of(entries), 10, 77)
    assert "damaged" in refused(path)


def test_overlapping_entries(tmp_path: Path, entries: Entries) -> None:
    path = packed(tmp_path / "a.pt2", entries)
    data = bytearray(path.read_bytes())
    names = list(entries)
    first, second = (data.rfind(name.encode()) - 46 for name in names[:2])
    data[second + 42 : second + 46] = data[first + 42 : first + 46]
    path.write_bytes(data)
    assert "another entry, or none" in refused(path)


def test_an_archive_in_an_archive(tmp_path: Path, saved: Path) -> None:
    path = packed(tmp_path / "a.pt2", {"inner/small.pt2": saved.read_bytes()})
    assert "an archive that holds 'small.pt2'; unpack it" in refused(path)


def test_too_many_entries(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, entries: Entries) -> None:
    monkeypatch.setattr(archives, "MOST_ENTRIES", 5)
    assert "more than the 5 this reads" in refused(packed(tmp_path / "a.pt2", entries))


def test_a_list_of_entries_too_long_to_read(tmp_path: Path) -> None:
    path = tmp_path / "a.pt2"
    path.write_bytes(b"PK\x05\x06" + struct.pack("<HHHHIIH", 0, 0, 9, 9, 1 << 31, 0, 0))
    assert "more than this reads" in refused(path)


def test_other_zip_files_are_told_apart(tmp_path: Path) -> None:
    path = packed(tmp_path / "a.pt2", {"notes.txt": b"hello"})
    assert "without models/model.json" in refused(path)
    other = packed(tmp_path / "model.pt", {"archive/data.pkl": b"x", "archive/version": b"3"})
    assert "a PyTorch checkpoint or TorchScript archive" in refused(other)


def test_missing_weights_are_absent_and_named(tmp_path: Path, entries: Entries) -> None:
    name = next(name for name in entries if "/weights/weight_" in name)
    analysis = graphneurons.analyze(packed(tmp_path / "a.pt2", {k: v for k, v in entries.items() if k != name}))
    absent = []
    for ref in analysis.graph.weights.values():
        try:
            read(ref)
        except DataError as error:
            absent.append(str(error))
    assert len(absent) == 1
    assert "has no entry" in absent[0]


@pytest.mark.parametrize("seed", range(60))
def test_flipped_bytes_never_crash(tmp_path: Path, saved: Path, seed: int) -> None:
    data = bytearray(saved.read_bytes())
    at = zlib.crc32(seed.to_bytes(4, "big"))
    for step in range(1 + seed % 7):
        data[(at * (step + 1)) % len(data)] ^= 1 << (seed % 8)
    path = tmp_path / "a.pt2"
    path.write_bytes(data)
    said = ""
    try:
        graphneurons.analyze(path)
    except LoadError as error:
        said = str(error)
    assert "\n" not in said

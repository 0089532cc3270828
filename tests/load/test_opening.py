"""Files that are no model: said what they look like, and never waited for."""

from __future__ import annotations

import io
import os
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from onnx import TensorProto, helper

from graphneurons.errors import LoadError
from graphneurons.load import load, load_bytes
from tests.load.building import chunk, floats, graph, model

RELU = helper.make_node("Relu", ["x"], ["y"])


def zipped(*names: str) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name in names:
            archive.writestr(name, b"content")
    return buffer.getvalue()


LOOKS = {
    "a Git LFS pointer.*git lfs pull": b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n",
    "a web page": b"<!DOCTYPE html><html><body>404</body></html>",
    "a web page.*download the model again": b"\n  <HTML><head>",
    "an XML file .OpenVINO": b'<?xml version="1.0"?><net name="m"></net>',
    "a zip archive; unpack it": zipped("readme.txt"),
    r"a PyTorch checkpoint or TorchScript archive \(.pt\); export": zipped("archive/data.pkl"),
    "a Keras archive": zipped("metadata.json", "config.json"),
    "a NumPy archive": zipped("w.npy"),
    "an ELF program": b"\x7fELF\x02\x01\x01" + bytes(100),
    "a Python pickle .never opened": pickle.dumps({"weights": [1.0]}, protocol=4),
    "a safetensors file": (40).to_bytes(8, "little") + b'{"w":{"dtype":"F32","shape":[1]}}',
    "a GGUF file": b"GGUF\x03\x00\x00\x00",
    "an HDF5 file .Keras .h5": b"\x89HDF\r\n\x1a\n" + bytes(50),
    "a TensorFlow Lite": b"\x1c\x00\x00\x00TFL3" + bytes(50),
    "a model in onnxruntime's ORT format": b"\x1c\x00\x00\x00ORTM" + bytes(50),
    "a tar archive": b"m.onnx".ljust(257, b"\0") + b"ustar\0" + bytes(300),
    "a gzip archive": b"\x1f\x8b\x08\x00",
    "a NumPy array": b"\x93NUMPY\x01\x00",
    "an ONNX model in protobuf text format": b'ir_version: 8\ngraph {\n  name: "g"\n}\n',
    "a JSON file": b'{"irVersion": "8", "graph": {}}',
    "a text file": b"hello, this is no model at all\n",
    "a file of zero bytes": bytes(5000),
    "a bare GraphProto": graph([RELU]).SerializeToString(),
    "a TensorProto": TensorProto(data_type=1, dims=[2], raw_data=bytes(8)).SerializeToString(),
    "a protobuf of another kind": b"\x08\x01" + chunk(2, b"meta graph"),
    "a protobuf message, but it holds no graph": chunk(100, b"abc"),
}


def test_an_exported_program_is_read_as_one_whatever_it_is_called(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(zipped("m/models/model.json"))
    with pytest.raises(LoadError, match=r"model.onnx: models/model.json: not JSON .*; export it again"):
        load(path)


@pytest.mark.parametrize("says", LOOKS)
def test_it_says_what_a_file_looks_like(says: str, tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(LOOKS[says])
    with pytest.raises(LoadError, match=f"model.onnx: not an ONNX model: this is {says}"):
        load(path)


def test_a_model_that_is_nothing_is_refused() -> None:
    with pytest.raises(LoadError, match="its graph is empty and nothing else is set"):
        load_bytes(chunk(7, b""))


@pytest.mark.parametrize("data", [b"\xff" * 100, b"\x80" * 100, b"\x12\x34\x56\x78" * 9])
def test_random_bytes_are_refused(data: bytes) -> None:
    with pytest.raises(LoadError, match="<memory>: not a"):
        load_bytes(data)


def missing(folder: Path) -> Path:
    return folder / "gone.onnx"


def a_directory(folder: Path) -> Path:
    return folder


def a_pipe(folder: Path) -> Path:
    os.mkfifo(folder / "pipe")
    return folder / "pipe"


def a_device(folder: Path) -> Path:
    return Path("/dev/zero")


def dangling(folder: Path) -> Path:
    (folder / "link").symlink_to("gone")
    return folder / "link"


def circular(folder: Path) -> Path:
    (folder / "link").symlink_to("link")
    return folder / "link"


def empty(folder: Path) -> Path:
    (folder / "empty").write_bytes(b"")
    return folder / "empty"


def below_a_file(folder: Path) -> Path:
    (folder / "file").write_bytes(b"")
    return folder / "file" / "m.onnx"


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (missing, "no such file; check the path"),
        (a_directory, "this is a directory, not a regular file; name the .onnx file in it"),
        (a_pipe, "this is a named pipe, not a regular file; give a model file"),
        (a_device, "this is a character device, not a regular file"),
        (dangling, "this symbolic link points to nothing; restore the file it names"),
        (circular, "this symbolic link leads back to itself"),
        (empty, "the file is empty; download or export it again"),
        (below_a_file, "the file cannot be opened .Not a directory"),
    ],
)
def test_what_is_no_file_is_refused(make: Callable[[Path], Path], says: str, tmp_path: Path) -> None:
    path = make(tmp_path)
    with pytest.raises(LoadError, match=says) as caught:
        load(path)
    assert caught.value.file == str(path)


def test_a_name_with_nul_is_refused() -> None:
    with pytest.raises(LoadError, match="the file name holds a NUL character"):
        load("a\0b")


def test_a_model_may_be_reached_through_a_link(tmp_path: Path) -> None:
    (tmp_path / "real.onnx").write_bytes(model([RELU], weights=[floats("w", 4)]).SerializeToString())
    (tmp_path / "link.onnx").symlink_to("real.onnx")
    assert len(load(tmp_path / "link.onnx").ops) == 1


def test_a_file_name_need_not_be_utf_8(tmp_path: Path) -> None:
    path = os.fsencode(tmp_path) + b"/\xff.onnx"
    with open(path, "wb") as file:
        file.write(model([RELU]).SerializeToString())
    assert len(load(os.fsdecode(path)).ops) == 1


def test_nothing_in_memory_is_refused() -> None:
    with pytest.raises(LoadError, match="<memory>: the model is empty"):
        load_bytes(b"")

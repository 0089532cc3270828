"""Files that are something else, things that are not files, and file names that are hard to handle."""

from __future__ import annotations

import gzip
import io
import os
import pickle
import stat
import struct
import tarfile
import zipfile
from pathlib import Path

from onnx import ModelProto, TensorProto

from . import protobuf as pb
from .build import function, linear, mlp, node, weight
from .case import Case, Made, Maker, refused, valid

LFS = b"""version https://git-lfs.github.com/spec/v1
oid sha256:4d7a214614ab2935c943f9e0ff69d22eadbb8f32b1258daaa5e2ca24d17e2393
size 12345678
"""
HTML = b"<!DOCTYPE html>\n<html><head><title>404 Not Found</title></head><body>Not Found</body></html>\n"
OPENVINO = b'<?xml version="1.0"?>\n<net name="Model0" version="11">\n<layers></layers></net>\n'
TEXTUAL = b'<ir_version: 7, opset_import: ["" : 10]>\nagraph (float[N, 128] X) => (float[N] C) { C = Relu(X) }\n'


class Attack:
    """A pickle that makes a file named ``executed`` where it is loaded."""

    def __reduce__(self) -> tuple[object, tuple[str, str]]:
        return open, ("executed", "w")


def zipped(**entries: bytes) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, data in entries.items():
            archive.writestr(zipfile.ZipInfo(name.replace("__", "/")), data)
    return buffer.getvalue()


def tarred() -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        archive.addfile(tarfile.TarInfo("model.onnx"), io.BytesIO())
    return buffer.getvalue()


def safetensors() -> bytes:
    header = b'{"w":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}'
    return struct.pack("<Q", len(header)) + header + bytes(8)


def numpy_file() -> bytes:
    return b"\x93NUMPY\x01\x00v\x00{'descr': '<f4', 'fortran_order': False, 'shape': (2,), }".ljust(128) + bytes(8)


def unknown_only() -> bytes:
    return pb.number(400, 1) + pb.chunk(401, "nothing an ONNX reader knows") + pb.chunk(402, bytes(50))


def tensorflow() -> bytes:
    """A GraphDef: repeated NodeDef {name, op} = 1; versions = 4."""
    nodes = b"".join(pb.chunk(1, pb.chunk(1, f"n{i}") + pb.chunk(2, "Const")) for i in range(9))
    return nodes + pb.chunk(4, pb.number(1, 27))


def no_graph() -> bytes:
    library = function("double", ["a"], ["b"], [node("Add", ["a", "a"], ["b"])])
    return ModelProto(ir_version=8, functions=[library]).SerializeToString()


def placed(name: str | bytes, data: bytes | None = None, mode: int = 0o644) -> Maker:
    """A maker that writes a good model (or ``data``) under a hard name."""

    def make(folder: Path) -> Made:
        path = os.fsencode(folder) + b"/" + (name.encode() if isinstance(name, str) else name)
        with open(path, "wb") as file:
            file.write(mlp().SerializeToString() if data is None else data)
        os.chmod(path, mode)
        return Path(os.fsdecode(path))

    return make


def here(name: str, how: str, target: str = "") -> Maker:
    """A maker of something that is not a plain file, or of a link."""

    def make(folder: Path) -> Made:
        path = folder / name
        if how == "directory":
            path.mkdir()
        elif how == "fifo":
            os.mkfifo(path)
        elif how == "socket":
            os.mknod(path, stat.S_IFSOCK | 0o644)
        elif how == "model link":
            (folder / "real").write_bytes(mlp().SerializeToString())
            path.symlink_to("real")
        elif how == "hard link":
            (folder / "real").write_bytes(mlp().SerializeToString())
            path.hardlink_to(folder / "real")
        elif how == "fifo link":
            os.mkfifo(folder / "pipe")
            path.symlink_to("pipe")
        elif how == "link":
            path.symlink_to(target)
        return path

    return make


def in_a_file(folder: Path) -> Path:
    (folder / "file").write_bytes(mlp().SerializeToString())
    return folder / "file" / "model.onnx"


def shown(name: str, make: Maker, checker: str = "") -> Case:
    return Case(name, "OK", make, checker=checker, shown=True)


CASES: tuple[Case, ...] = (
    refused("HTML page", HTML, "HTML"),
    refused("HTML after blank lines", b"\n\n  " + HTML.lower(), "HTML"),
    refused("Git LFS pointer", LFS, "LFS"),
    refused("zip", zipped(a=b"a"), "zip"),
    refused("zip that holds a model", zipped(**{"model.onnx": mlp().SerializeToString()}), "zip"),
    refused("PyTorch checkpoint", zipped(archive__data=b"\x80\x02}q\0.", archive__version=b"3\n"), "zip"),
    refused("gzip of a model", lambda _: gzip.compress(mlp().SerializeToString(), mtime=0), "gzip"),
    refused("tar", tarred(), "tar"),
    refused("ELF", b"\x7fELF\x02\x01\x01" + bytes(200), "ELF"),
    refused("Windows program", b"MZ\x90\0" + bytes(200)),
    refused("pickle that would run code", pickle.dumps(Attack(), 2), "pickle"),
    refused("pickle, protocol 0", pickle.dumps(Attack(), 0)),
    refused("pickle, protocol 5", pickle.dumps({"state": [1.0] * 50}, 5), "pickle"),
    refused("safetensors", safetensors(), "safetensors"),
    refused("GGUF", b"GGUF\x03\0\0\0" + bytes(64), "GGUF"),
    refused("TFLite", b"\x1c\0\0\0TFL3" + bytes(64), "TensorFlow Lite"),
    refused("ORT format", b"\x20\0\0\0ORTM" + bytes(64), "ORT"),
    refused("HDF5", b"\x89HDF\r\n\x1a\n" + bytes(64), "HDF5"),
    refused("NumPy array", numpy_file(), "NumPy"),
    refused("JSON", b'{"format": "graph-model", "nodes": []}', "JSON"),
    refused("OpenVINO XML", OPENVINO, "XML"),
    refused("ONNX as text", TEXTUAL, "text"),
    refused("Python source", b"import torch\n\nmodel = torch.nn.Linear(3, 4)\n", "text"),
    refused("UTF-16 text", "not a model\n".encode("utf-16")),
    refused("PNG", b"\x89PNG\r\n\x1a\n" + bytes(64), "PNG"),
    refused("PDF", b"%PDF-1.7\n" + bytes(64), "PDF"),
    refused("SQLite", b"SQLite format 3\0" + bytes(84)),
    refused("TensorFlow graph", tensorflow()),
    refused("unknown fields only", unknown_only()),
    refused("bare GraphProto", lambda _: mlp().graph.SerializeToString()),
    refused("bare TensorProto", lambda _: weight("w1", 4, 4).SerializeToString()),
    refused("bare NodeProto", lambda _: mlp().graph.node[0].SerializeToString()),
    refused("functions but no graph", no_graph(), "graph"),
    refused("opset and nothing else", lambda _: ModelProto(ir_version=8).SerializeToString(), "graph"),
    refused("directory without models", here("model.onnx", "directory")),
    refused("FIFO", here("model.onnx", "fifo"), "pipe"),
    refused("link to a FIFO", here("model.onnx", "fifo link"), "pipe"),
    refused("socket", here("model.onnx", "socket")),
    refused("/dev/null", Path("/dev/null"), "device"),
    refused("/dev/zero", Path("/dev/zero"), "device"),
    refused("link to /dev/zero", here("model.onnx", "link", "/dev/zero"), "device"),
    refused("/proc/self/maps", Path("/proc/self/maps")),
    refused("link to itself", here("model.onnx", "link", "model.onnx")),
    refused("link to nothing", here("model.onnx", "link", "gone")),
    refused("missing file", lambda folder: folder / "no such model.onnx", "no such"),
    refused("name too long", lambda folder: folder / ("a" * 300)),
    refused("a file as a directory", in_a_file),
    refused("bad file with escape codes in its name", placed("a\x1b[31m\x9b31m.onnx", b"\xff")),
    refused("bad file with a CI command in its name", placed("a\n::error::owned\r.onnx", b"\xff")),
    refused("bad file with a bidi name", placed("\u202egnp.onnx", HTML)),
    refused("bad file whose name is not UTF-8", placed(b"\xff\xfe\x80.onnx", b"\xff")),
    valid("link to a model", here("model.onnx", "model link")),
    valid("hard link to a model", here("model.onnx", "hard link")),
    shown("file name is not UTF-8", placed(b"\xff\xfe\x80.onnx"), checker="takes paths in UTF-8 only"),
    shown("file name with escape codes", placed("a\x1b[31mb\x9bc.onnx")),
    shown("file name with a CI command", placed("a\n::error::owned\r.onnx")),
    shown("file name with bidi and zero width", placed("\u202eevil\u200b.onnx")),
    shown("file name with rich markup", placed("[bold red]a[link=file:x].onnx")),
    shown("file name with spaces and letters", placed("mein Modell äö 模型.onnx")),
    valid("no extension", placed("model")),
    valid("upper-case extension", placed("MODEL.ONNX")),
    valid("read-only file", placed("ro.onnx", mode=0o444)),
    valid("bytes after which a pickle could start", lambda _: linear(weight("w1", 4, 4), producer_name="\x80\x02}.")),
    valid("HTML as producer", lambda _: linear(weight("w1", 4, 4), producer_name=HTML.decode())),
    valid(
        "zip as weight bytes",
        lambda _: linear(TensorProto(name="w1", data_type=1, dims=[4, 1], raw_data=b"PK\3\4" * 4)),
    ),
)

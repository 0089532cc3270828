"""External data: locations that leave the model's folder, at every site; numbers that lie; layouts that are right."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path

from onnx import ModelProto, SparseTensorProto, StringStringEntryProto, TensorProto

from .build import FLOAT, INT64, linear, model, node, weight
from .case import Case, Maker, not_silent, noted, refused, valid
from .tensors import SITES, WHERE, sparse_weight

CANARY = "outside-canary"
"""Part of the name of every file that must never be opened."""

Entries = Sequence[tuple[str, str]]


def outside(entries: Entries, dims: Sequence[int] = (4, 4), name: str = "w1", dtype: int = FLOAT) -> TensorProto:
    return TensorProto(
        name=name,
        data_type=dtype,
        dims=dims,
        data_location=TensorProto.EXTERNAL,
        external_data=[StringStringEntryProto(key=key, value=value) for key, value in entries],
    )


def at(location: str, offset: object = None, length: object = None, **other: str) -> TensorProto:
    entries = [("location", location)]
    entries += [(key, str(item)) for key, item in (("offset", offset), ("length", length)) if item is not None]
    return outside([*entries, *other.items()])


def beside(folder: Path, name: str = "w.bin", size: int = 64) -> None:
    (folder / name).write_bytes(bytes(range(256)) * (size // 256) + bytes(size % 256))


def inner(folder: Path) -> Path:
    """The model's own folder, one below the case's, with a file beside it that must not be read."""
    place = folder / "inner"
    place.mkdir()
    beside(folder, f"{CANARY}.bin")
    return place


def saved(folder: Path, made: ModelProto) -> Path:
    path = folder / "model.onnx"
    path.write_bytes(made.SerializeToString())
    return path


def with_data(tensor: TensorProto, size: int = 64, put: Callable[[TensorProto], ModelProto] = linear) -> Maker:
    def make(folder: Path) -> ModelProto:
        beside(folder, size=size)
        return put(tensor)

    return make


def escaping(location: str, put: Callable[[TensorProto], ModelProto] = linear) -> Maker:
    """``location`` may hold ``{folder}``: the absolute path of the folder above the model's."""

    def make(folder: Path) -> Path:
        place = inner(folder)
        (place / "sub").mkdir()
        return saved(place, put(at(location.format(folder=folder, canary=CANARY))))

    return make


def linked(how: str) -> Maker:
    def make(folder: Path) -> Path:
        place = inner(folder)
        target, data = Path("..") / f"{CANARY}.bin", place / "w.bin"
        location = "w.bin"
        if how == "final":
            data.symlink_to(target)
        elif how == "absolute":
            data.symlink_to(folder / target.name)
        elif how == "parent":
            (place / "sub").symlink_to("..")
            location = f"sub/{target.name}"
        elif how == "chain":
            (place / "one").symlink_to("two")
            (place / "two").symlink_to(target)
            location = "one"
        elif how == "inside":
            beside(place, "real.bin")
            data.symlink_to("real.bin")
        elif how == "loop":
            data.symlink_to("w.bin")
        elif how == "device":
            data.symlink_to("/dev/zero")
        elif how == "hard":
            data.hardlink_to(folder / target.name)
        return saved(place, linear(at(location)))

    return make


def odd_file(how: str) -> Maker:
    def make(folder: Path) -> ModelProto:
        if how == "FIFO":
            os.mkfifo(folder / "w.bin")
        else:
            (folder / "w.bin").mkdir()
        return linear(at("w.bin"))

    return make


def sparse_site(which: str, tensor: TensorProto) -> ModelProto:
    values, indices = weight("w1", 3), weight("", 3, dtype=INT64)
    indices.raw_data = b"".join(index.to_bytes(8, "little") for index in (1, 6, 11))
    made = outside([(e.key, e.value) for e in tensor.external_data], [3], "w1", FLOAT)
    if which == "values":
        values = made
    else:
        made.data_type = INT64
        indices = made
    return sparse_weight(SparseTensorProto(values=values, indices=indices, dims=[4, 4]))


ALL_SITES: dict[str, Callable[[TensorProto], ModelProto]] = {
    **SITES,
    "sparse values": lambda tensor: sparse_site("values", tensor),
    "sparse indices": lambda tensor: sparse_site("indices", tensor),
}


def sub_folder(location: str, place: str) -> Maker:
    def make(folder: Path) -> ModelProto:
        (folder / place).parent.mkdir(parents=True, exist_ok=True)
        beside(folder, place)
        return linear(at(location, 0, 64))

    return make


def overlapping(second: int) -> ModelProto:
    """Two weights of 64 bytes, at 0 and at ``second``."""
    weights = [
        outside([("location", "w.bin"), ("offset", str(start)), ("length", "64")], name=name)
        for name, start in (("w1", 0), ("w2", second))
    ]
    nodes = [node("MatMul", ["x", "w1"], ["h"], "fc1"), node("MatMul", ["h", "w2"], ["y"], "fc2")]
    return model(nodes, weights=weights)


def raw_too() -> TensorProto:
    tensor = at("w.bin")
    tensor.raw_data = bytes(64)
    return tensor


def external_large(folder: Path) -> ModelProto:
    """3 GB of weights that take no room on the disk."""
    with open(folder / "w.bin", "wb") as file:
        file.truncate(3 * 10**9)
    shape = (30_000, 25_000)
    return model(
        [node("Gemm", ["x", "w1"], ["y"], "fc1", transB=1)],
        {"x": [1, 25_000]},
        weights=[outside([("location", "w.bin"), ("offset", "0"), ("length", str(3 * 10**9))], shape)],
    )


LOCATIONS = {
    "absolute": "{folder}/{canary}.bin",
    "parent folder": "../{canary}.bin",
    "parent of a folder inside": "sub/../../{canary}.bin",
    "back into the own folder": "../inner/w.bin",
    "parent, with a dot": "./../{canary}.bin",
    "double slash": "//{folder}/{canary}.bin",
    "backslashes": "..\\{canary}.bin",
    "drive": "C:\\{canary}.bin",
    "drive, forward": "C:/{canary}.bin",
    "UNC": "\\\\host\\share\\{canary}.bin",
    "device path": "\\\\?\\C:\\{canary}.bin",
    "/proc/self/root": "/proc/self/root{folder}/{canary}.bin",
    "/dev/stdin": "/dev/stdin",
    "/etc/passwd": "/etc/passwd",
    "file URL": "file://{folder}/{canary}.bin",
    "http URL": "http://127.0.0.1:9/{canary}.bin",
    "parent folder alone": "..",
    "own folder": ".",
    "empty": "",
    "slash": "/",
    "NUL": "w.bin\0.txt",
    "too long": "a" * 5000,
    "path too long": "a/" * 5000 + "b",
}

BAD_NUMBERS = {
    "negative": "-4",
    "text": "abc",
    "empty": "",
    "2^63": str(2**63),
    "2^64 less 64": str(2**64 - 64),
    "5,000 digits": "9" * 5000,
    "fraction": "1.5",
    "exponent": "1e1",
    "hexadecimal": "0x10",
    "underscore": "1_0",
    "Arabic digits": "\u0661\u0662",
    "past the end": "1000",
}

CASES: tuple[Case, ...] = (
    *(refused(f"location: {name}", escaping(location), "w1") for name, location in LOCATIONS.items()),
    *(
        refused(f"location outside, {site}", escaping("../{canary}.bin", put), WHERE.get(site, "w1"))
        for site, put in ALL_SITES.items()
        if site != "initializer"
    ),
    *(
        refused(f"absolute location, {site}", escaping("{folder}/{canary}.bin", put), WHERE.get(site, "w1"))
        for site, put in ALL_SITES.items()
        if site != "initializer"
    ),
    *(refused(f"link: {how}", linked(how), "w1") for how in ("final", "absolute", "parent", "chain", "loop", "device")),
    refused("link: hard", linked("hard"), "w1"),
    refused("data is a FIFO", odd_file("FIFO"), "w1"),
    refused("data is a directory", odd_file("directory"), "w1"),
    refused("no location", with_data(outside([("offset", "0")])), "w1"),
    refused("no entries", with_data(outside([])), "w1"),
    refused("location twice", with_data(outside([("location", "w.bin"), ("location", f"../{CANARY}.bin")])), "w1"),
    *(refused(f"offset: {name}", with_data(at("w.bin", text)), "w1") for name, text in BAD_NUMBERS.items()),
    *(refused(f"length: {name}", with_data(at("w.bin", 0, text)), "w1") for name, text in BAD_NUMBERS.items()),
    refused("length less than the shape", with_data(at("w.bin", 0, 60)), "w1"),
    refused("length more than the shape", with_data(at("w.bin", 0, 68), 128), "w1"),
    refused("length 0", with_data(at("w.bin", 0, 0)), "w1"),
    refused("ends past the end", with_data(at("w.bin", 4, 64)), "w1"),
    refused("file shorter than the shape", with_data(at("w.bin"), 60), "w1"),
    refused("file is empty", with_data(at("w.bin"), 0), "w1"),
    refused("raw_data and external data", with_data(raw_too()), "w1"),
    refused("shape 2^62", with_data(outside([("location", "w.bin")], (2**31, 2**31))), "w1"),
    refused("negative shape", with_data(outside([("location", "w.bin")], (4, -4))), "w1"),
    noted("overlap by half", with_data(outside([]), 256, lambda _: overlapping(32)), "overlap"),
    noted("missing, with a line break in its name", linear(at("w.bin\n::error::owned")), "w.bin"),
    noted("unknown key", with_data(at("w.bin", basepath="/etc")), "basepath"),
    noted("attribute injection", with_data(at("w.bin", __class__="os.system")), "__class__"),
    noted("data is missing", linear(at("gone.bin", 0, 64)), "gone.bin"),
    noted("data in a missing folder", linear(at("gone/w.bin", 0, 64)), "gone/w.bin"),
    not_silent("data named like a huge file that is missing", linear(at("gone.bin", 2**50, 64))),
    not_silent("link to a file inside", linked("inside"), "w1"),
    valid("beside the model", with_data(at("w.bin", 0, 64))),
    valid("no offset, no length", with_data(at("w.bin"))),
    valid("length, no offset", with_data(at("w.bin", None, 64))),
    valid("unaligned offset", with_data(at("w.bin", 7, 64), 80)),
    valid("with a checksum", with_data(at("w.bin", 0, 64, checksum="0" * 40))),
    valid("dot in front", sub_folder("./w.bin", "w.bin")),
    valid("in a folder below", sub_folder("sub/deep/w.bin", "sub/deep/w.bin")),
    valid("dots within the name", sub_folder("w..bin", "w..bin"), checker="takes '..' anywhere for a parent"),
    valid(
        "dots at the start of the name", sub_folder("..w.bin", "..w.bin"), checker="takes a leading '..' for a parent"
    ),
    valid("spaces and letters", sub_folder("mein Gewicht ä 模.bin", "mein Gewicht ä 模.bin")),
    valid("colon within the name", sub_folder("layer:0.bin", "layer:0.bin")),
    valid("two weights end to end", with_data(outside([]), 256, lambda _: overlapping(64))),
    valid("two weights far apart", with_data(outside([]), 4096, lambda _: overlapping(2048))),
    valid("3 GB of weights", external_large, alone=True),
)

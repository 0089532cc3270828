"""External data stays inside the model's folder, or the model is refused; what is missing is only noted."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from pathlib import Path

import pytest
from onnx import TensorProto, helper

from graphneurons.errors import LoadError
from graphneurons.graph import External, ModelGraph
from graphneurons.load import load, load_bytes
from graphneurons.load.paths import RefusedError, components, open_inside
from tests.load.building import floats, model

RELU = helper.make_node("Relu", ["x"], ["y"])


def outside(location: str | None = "w.bin", shape: tuple[int, ...] = (4,), name: str = "w", **more: str) -> TensorProto:
    tensor = TensorProto(name=name, data_type=1, dims=shape, data_location=TensorProto.EXTERNAL)
    for key, value in ({"location": location} if location is not None else {}).items() | more.items():
        tensor.external_data.add(key=key, value=value)
    return tensor


def written(folder: Path, *weights: TensorProto, data: int | None = 64) -> ModelGraph:
    folder.mkdir(exist_ok=True)
    path = folder / "m.onnx"
    path.write_bytes(model([RELU], weights=weights).SerializeToString())
    if data is not None:
        (folder / "w.bin").write_bytes(bytes(data))
    return load(path)


def test_data_that_is_there(tmp_path: Path) -> None:
    found = written(tmp_path, outside(offset="16", length="16"))
    assert found.weights["w"].storage == External(str(tmp_path), "w.bin", 16, 16, True)
    assert found.notices == ()


def test_length_may_be_left_out(tmp_path: Path) -> None:
    storage = written(tmp_path, outside()).weights["w"].storage
    assert isinstance(storage, External)
    assert (storage.offset, storage.length) == (0, 16)


def test_missing_data_is_only_noted(tmp_path: Path) -> None:
    found = written(tmp_path, outside("gone/w.bin"), outside("gone/w.bin", name="v"), data=None)
    storage = found.weights["w"].storage
    assert isinstance(storage, External)
    assert not storage.present
    assert [(notice.code, notice.where) for notice in found.notices] == [("external-missing", "gone/w.bin")]


def test_a_subfolder_is_inside(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "w.bin").write_bytes(bytes(16))
    found = written(tmp_path, outside("./sub//w.bin"), data=None)
    assert found.notices == ()


def test_a_model_in_the_working_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written(tmp_path, outside())
    monkeypatch.chdir(tmp_path)
    assert load("m.onnx").notices == ()


@pytest.mark.parametrize(
    ("location", "says"),
    [
        ("/etc/passwd", "is an absolute path"),
        ("//server/share", "is an absolute path"),
        ("../w.bin", "leaves the model's folder"),
        ("a/../../w.bin", "leaves the model's folder"),
        ("a/..", "leaves the model's folder"),
        ("..\\w.bin", "holds a backslash"),
        ("\\\\server\\w.bin", "holds a backslash"),
        ("C:/w.bin", "is a URL or names a drive"),
        ("http://localhost/w.bin", "is a URL or names a drive"),
        ("file:///etc/passwd", "is a URL or names a drive"),
        ("w\0.bin", "holds a NUL character"),
        ("", "names no file"),
        (".", "names a directory"),
        ("sub/", "names a directory"),
        ("a" * 256, "has a component longer than 255 bytes"),
        ("é" * 128, "has a component longer than 255 bytes"),
        ("a/" * 3000 + "w", "is longer than 4096 bytes"),
    ],
)
def test_a_location_that_escapes_is_refused(tmp_path: Path, location: str, says: str) -> None:
    with pytest.raises(RefusedError, match=says):
        components(location)
    with pytest.raises(LoadError, match=f"w: external data location .*{says}"):
        written(tmp_path, outside(location))


def link_final(folder: Path) -> None:
    (folder / "w.bin").symlink_to(folder.parent / "secret")


def link_parent(folder: Path) -> None:
    (folder / "sub").symlink_to(folder.parent, target_is_directory=True)


def link_chain(folder: Path) -> None:
    (folder / "a").symlink_to("b")
    (folder / "b").symlink_to(folder.parent)


def link_hard(folder: Path) -> None:
    os.link(folder.parent / "secret", folder / "w.bin")


def link_loop(folder: Path) -> None:
    (folder / "w.bin").symlink_to("w.bin")


def a_directory(folder: Path) -> None:
    (folder / "w.bin").mkdir()


def a_pipe(folder: Path) -> None:
    os.mkfifo(folder / "w.bin")


def a_socket(folder: Path) -> None:
    here = os.getcwd()
    os.chdir(folder)
    try:
        socket.socket(socket.AF_UNIX).bind("w.bin")
    finally:
        os.chdir(here)


def a_file_as_folder(folder: Path) -> None:
    (folder / "sub").write_bytes(b"")


@pytest.mark.parametrize(
    ("make", "location", "says"),
    [
        (link_final, "w.bin", "goes through a symbolic link; copy the data beside the model"),
        (link_parent, "sub/secret", "goes through a symbolic link"),
        (link_chain, "a/secret", "goes through a symbolic link"),
        (link_loop, "w.bin", "goes through a symbolic link"),
        (link_hard, "w.bin", "has a second hard link"),
        (a_directory, "w.bin", "is a directory, not a regular file"),
        (a_pipe, "w.bin", "is a named pipe, not a regular file"),
        (a_socket, "w.bin", "is a socket or device, not a regular file"),
        (a_file_as_folder, "sub/w.bin", "goes through 'sub', which is not a directory"),
    ],
)
def test_what_is_no_plain_file_inside_is_refused(
    tmp_path: Path, make: Callable[[Path], None], location: str, says: str
) -> None:
    (tmp_path / "secret").write_bytes(bytes(64))
    folder = tmp_path / "model"
    folder.mkdir()
    make(folder)
    with pytest.raises(LoadError, match=f"w: external data location .*{says}"):
        written(folder, outside(location), data=None)


def test_without_openat_links_are_refused_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "supports_dir_fd", set())
    (tmp_path / "secret").write_bytes(bytes(64))
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "plain").write_bytes(bytes(3))
    descriptor, size = open_inside(str(folder), "plain")
    os.close(descriptor)
    assert size == 3
    link_final(folder)
    link_parent(folder)
    for location in ("w.bin", "sub/secret"):
        with pytest.raises(RefusedError, match="goes through a symbolic link"):
            open_inside(str(folder), location)


@pytest.mark.parametrize(
    ("more", "says"),
    [
        ({"offset": "-1"}, "offset '-1' is not a number of bytes"),
        ({"offset": "0x10"}, "offset '0x10' is not a number of bytes"),
        ({"offset": "1_0"}, "offset '1_0' is not a number of bytes"),
        ({"offset": "١"}, "offset '١' is not a number of bytes"),
        ({"offset": str(2**63)}, "offset '9223372036854775808' is not a number of bytes"),
        ({"offset": ""}, "offset '' is not a number of bytes"),
        ({"length": "many"}, "length 'many' is not a number of bytes"),
        ({"length": "15"}, "external data of 15 bytes, but shape and data type need 16"),
        ({"offset": "49"}, r"external data at 49 to 65 is past the end of 'w.bin' \(64 bytes\)"),
    ],
)
def test_places_that_cannot_be_are_refused(tmp_path: Path, more: dict[str, str], says: str) -> None:
    with pytest.raises(LoadError, match=f"w: .*{says}"):
        written(tmp_path, outside(**more))


def test_a_key_given_twice_is_refused(tmp_path: Path) -> None:
    twice = outside()
    twice.external_data.add(key="location", value="v.bin")
    with pytest.raises(LoadError, match="w: external data gives 'location' twice"):
        written(tmp_path, twice)


def test_no_location_is_refused(tmp_path: Path) -> None:
    with pytest.raises(LoadError, match="w: external data without a location"):
        written(tmp_path, outside(None))


def test_data_inside_and_outside_is_refused(tmp_path: Path) -> None:
    both = outside()
    both.float_data.extend([1, 2, 3, 4])
    with pytest.raises(LoadError, match=r"w: the tensor holds data .float_data. and names external data too"):
        written(tmp_path, both)


def test_unknown_keys_are_noted(tmp_path: Path) -> None:
    found = written(tmp_path, outside(basepath="/etc", checksum="ab"))
    assert [(notice.code, notice.message) for notice in found.notices] == [
        ("external-key", "unknown external data key 'basepath' is ignored")
    ]


def test_overlap_is_noted_but_equal_places_are_a_tie(tmp_path: Path) -> None:
    tied = written(tmp_path, outside(), outside(name="v"))
    assert tied.notices == ()
    found = written(tmp_path, outside(offset="8"), outside(name="v"))
    assert [(notice.code, notice.where, notice.message) for notice in found.notices] == [
        ("external-overlap", "w", "overlaps v in 'w.bin'")
    ]


def test_external_data_of_a_tensor_stored_inside_is_noted_or_refused(tmp_path: Path) -> None:
    inside = floats("w", 4)
    inside.external_data.add(key="location", value="w.bin")
    assert [notice.code for notice in written(tmp_path, inside).notices] == ["external-unused"]
    inside.external_data[0].value = "../w.bin"
    with pytest.raises(LoadError, match="leaves the model's folder"):
        written(tmp_path, inside)


def test_a_model_in_memory_has_no_folder() -> None:
    with pytest.raises(LoadError, match=r"w: external data 'w.bin' of a model that is not a file"):
        load_bytes(model([RELU], weights=[outside()]).SerializeToString())


def test_strings_are_never_external(tmp_path: Path) -> None:
    text = outside()
    text.data_type = 8
    with pytest.raises(LoadError, match="w: strings cannot be external data"):
        written(tmp_path, text)

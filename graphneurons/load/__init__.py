"""Reads models into `ModelGraph`. Importing this costs nothing: onnx comes in when a model is loaded."""

from __future__ import annotations

import os
import sys
from types import ModuleType

from graphneurons.graph import ModelGraph


def load(path: str | os.PathLike[str]) -> ModelGraph:
    """The architecture graph of a model file. Weight bytes are not read, external data files are not needed.

    ``path`` is an ONNX file or an exported program (``.pt2``), which is read without PyTorch.

    Raises `graphneurons.errors.LoadError` where ``path`` is not a readable model, saying what it looks like.
    """
    from graphneurons.load.onnx import load_file

    path = os.fsdecode(path)
    if _is_zip(path):
        from graphneurons.load.pt2 import is_program, load_archive

        if is_program(path):
            return load_archive(path)
    return load_file(path)


def _is_zip(path: str) -> bool:
    """Whether the file starts like a zip archive, or is called like an exported program. Raises `LoadError`."""
    from graphneurons.load.paths import open_model

    with os.fdopen(open_model(path), "rb") as file:
        return file.read(4) == b"PK\x03\x04" or path.lower().endswith(".pt2")


def load_bytes(data: bytes, path: str = "<memory>") -> ModelGraph:
    """The architecture graph of a model in memory; its weights keep copies of their bytes (`Inline`).

    There is no folder external data could be in, so a model that names some is refused. ``path`` is what messages call
    the model. Raises `graphneurons.errors.LoadError`.
    """
    from graphneurons.load.onnx import load_bytes as load_from

    return load_from(data, path)


class _CallablePackage(ModuleType):
    """`graphneurons.load` is a public function and this package; importing anything below it binds the package to that
    name, so the package has to be callable too."""

    def __call__(self, path: str | os.PathLike[str]) -> ModelGraph:
        return load(path)


sys.modules[__name__].__class__ = _CallablePackage

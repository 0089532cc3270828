"""Export a model of the zoo to a file, once per machine: the files are kept in a cache keyed by what made them."""

from __future__ import annotations

import hashlib
import inspect
import io
import logging
import os
import tempfile
import warnings
from collections.abc import Callable
from contextlib import redirect_stdout
from functools import cache, partial
from importlib.metadata import version
from pathlib import Path
from types import ModuleType
from typing import Literal

import torch
from filelock import FileLock
from torch import nn

from tests.zoo import architectures, models

How = Literal["dynamo", "legacy", "dynamo_raw", "legacy_raw", "dynamo_23"]
"""Exporter; ``raw``: as traced, without its optimizer (dynamo) or constant folding (legacy); ``23``: in that opset."""

MADE_WITH = ("torch", "onnx", "onnxscript", "onnxruntime", "transformers")


@cache
def directory() -> Path:
    """Where exports are kept. ``GRAPHNEURONS_ZOO`` names another place."""
    chosen = os.environ.get("GRAPHNEURONS_ZOO")
    found = Path(chosen) if chosen else Path(tempfile.gettempdir()) / "graphneurons-zoo"
    found.mkdir(parents=True, exist_ok=True)
    return found


@cache
def key(*modules: ModuleType) -> str:
    """A short hash of these modules' sources and of the versions of everything that writes a file."""
    digest = hashlib.sha256(" ".join(f"{name}={version(name)}" for name in MADE_WITH).encode())
    for module in modules:
        digest.update(inspect.getsource(module).encode())
    return digest.hexdigest()[:12]


def kept(name: str, made_by: str, write: Callable[[Path], None]) -> Path:
    """The file ``name`` in the cache, written by ``write`` if nobody has yet; safe among parallel test processes."""
    path = directory() / made_by / f"{name}.onnx"
    if path.exists():
        return path
    path.parent.mkdir(exist_ok=True)
    with FileLock(path.with_suffix(".lock")):
        if not path.exists():
            with tempfile.TemporaryDirectory(dir=path.parent) as workshop:
                unfinished = Path(workshop) / path.name
                write(unfinished)
                unfinished.replace(path)
    return path


def export(name: str, how: How) -> Path:
    """The file PyTorch's exporter makes of the model ``name``; whatever the exporter raises is raised."""
    architecture = architectures.ZOO[name]
    made_by = key(architectures.family(name), models, inspect.getmodule(export))
    return kept(f"{name}.{how}", made_by, lambda path: write(architecture, how, path))


def write(architecture: models.Architecture, how: How, path: Path) -> None:
    module, arguments = architecture.module(), architecture.arguments()
    fast = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(), redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            WRITERS[how](module, arguments, architecture, path)
    finally:
        torch.backends.mha.set_fastpath_enabled(fast)


def _dynamo(
    module: nn.Module,
    arguments: tuple[torch.Tensor, ...],
    architecture: models.Architecture,
    path: Path,
    optimize: bool = True,
    opset: int | None = None,
) -> None:
    torch.onnx.export(
        module,
        arguments,
        str(path),
        dynamo=True,
        external_data=False,
        verbose=False,
        optimize=optimize,
        opset_version=opset,
        dynamic_shapes=architecture.dynamic,
    )


def _legacy(
    module: nn.Module,
    arguments: tuple[torch.Tensor, ...],
    architecture: models.Architecture,
    path: Path,
    fold: bool = True,
) -> None:
    named = [f"input_{index}" for index in range(len(arguments))]
    axes = dict(zip(named, architecture.dynamic, strict=True)) if architecture.dynamic else None
    torch.onnx.export(
        module,
        arguments,
        str(path),
        dynamo=False,
        input_names=named,
        dynamic_axes=axes,
        opset_version=17,
        do_constant_folding=fold,
    )


WRITERS: dict[str, Callable[..., None]] = {
    "dynamo": _dynamo,
    "legacy": _legacy,
    "dynamo_23": partial(_dynamo, opset=23),
    "dynamo_raw": partial(_dynamo, optimize=False),
    "legacy_raw": partial(_legacy, fold=False),
}

IMPOSSIBLE: dict[tuple[str, How], str] = {
    ("bilinear", "legacy"): "Exporting the operator 'aten::bilinear' to ONNX opset version 17 is not supported",
    ("branches", "legacy"): "torch.jit.trace a dynamo-optimized function",
    ("scanned", "legacy"): "torch.jit.trace a dynamo-optimized function",
    ("whisper", "legacy"): "Exporting the operator 'aten::diff' to ONNX opset version 17 is not supported",
}
"""What the exporters refuse, with their reason; a test keeps the list true."""

"""The models of the zoo through every front end that takes PyTorch models."""

from __future__ import annotations

import io
import logging
import warnings
from contextlib import redirect_stderr, redirect_stdout
from functools import cache
from pathlib import Path
from typing import Literal

import numpy as np
import torch

import graphneurons
from graphneurons.analysis import Analysis
from graphneurons.errors import DataError
from graphneurons.load.reading import read
from graphneurons.tracing import trace
from tests.zoo import models
from tests.zoo.architectures import ZOO, family
from tests.zoo.exporting import IMPOSSIBLE, directory, export, key
from tests.zoo.truth import Codebook

Front = Literal["export", "pt2", "fx", "dynamo", "legacy"]
FRONTS: tuple[Front, ...] = ("export", "pt2", "fx", "dynamo", "legacy")
TORCH: tuple[Front, ...] = ("export", "pt2", "fx")

UNTRACEABLE = {
    "branches": "Expected pred to be bool or tensor",
    "scanned": "control flow",
    "mamba": "cannot be interpreted as an integer",
    "bert": "slice indices must be integers",
    **dict.fromkeys(
        ("gpt2", "gpt2_dynamic", "t5", "t5_tied", "llama", "llama_dynamic", "qwen3", "gemma2", "mixtral", "vit",
         "whisper",
         "modernbert"), "control flow",
    ),
}  # fmt: skip
"""Models torch.fx cannot trace, with what it says."""

BILINEAR = "ONNX writes a linear, then a product; ATen has one op, whose neurons have a synapse per pair of inputs"
DIFFERENT: dict[tuple[str, Front], str] = {
    **{("bilinear", front): BILINEAR for front in TORCH},
    ("experts", "fx"): "torch.fx decomposes matmul: the activation is expanded first, so experts are shared, not free",
}
"""What is labelled otherwise than in the ONNX file, rightly."""


def takes(name: str, front: Front) -> bool:
    if front == "fx":
        return name not in UNTRACEABLE
    return front in ("export", "pt2") or (name, front) not in IMPOSSIBLE


@cache
def program(name: str) -> torch.export.ExportedProgram:
    architecture = ZOO[name]
    before = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    logging.disable(logging.CRITICAL)
    try:
        with warnings.catch_warnings(), redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
            warnings.simplefilter("ignore")
            return torch.export.export(architecture.module(), architecture.arguments())
    finally:
        logging.disable(logging.NOTSET)
        torch.backends.mha.set_fastpath_enabled(before)


def archive(name: str) -> Path:
    """The model saved by torch.export.save, kept like the ONNX files of the zoo."""
    folder = directory() / key(family(name), models)
    path = folder / f"{name}.pt2"
    if not path.exists():
        folder.mkdir(exist_ok=True)
        unfinished = path.with_suffix(f".{id(path)}.pt2")
        torch.export.save(program(name), unfinished)
        unfinished.replace(path)
    return path


@cache
def analysis(name: str, front: Front) -> Analysis:
    if front in ("dynamo", "legacy"):
        return graphneurons.analyze(export(name, front))
    if front == "pt2":
        return graphneurons.analyze(archive(name))
    if front == "export":
        return graphneurons.analyze(trace(program(name)))
    architecture = ZOO[name]
    return graphneurons.analyze(trace(architecture.module(), *architecture.arguments(), how="fx"))


@cache
def codebook(name: str) -> Codebook:
    return Codebook(ZOO[name].module())


def origins(name: str, front: Front) -> dict[str, np.ndarray]:
    """Weight -> where each of its elements came from, for those that hold parameters of the model."""
    found = {}
    for key_, ref in analysis(name, front).graph.weights.items():
        try:
            values = read(ref)
        except DataError:
            continue
        if values.dtype == np.float32 and values.size:
            elements = codebook(name).find(np.ascontiguousarray(values))
            if (elements >= 0).all():
                found[key_] = elements
    return found

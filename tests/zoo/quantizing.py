"""What onnxruntime makes of an exported model: quantized dynamically, statically, to 4 bits; fused by its optimizer."""

from __future__ import annotations

import inspect
import logging
import re
import warnings
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
from onnxruntime import quantization
from onnxruntime.quantization.matmul_nbits_quantizer import MatMulNBitsQuantizer

from tests.zoo import architectures, models
from tests.zoo.comparing import stored_tensors
from tests.zoo.exporting import How, export, kept, key
from tests.zoo.truth import Ints


class Samples(quantization.CalibrationDataReader):
    """The architecture's example arguments, once."""

    def __init__(self, path: Path, architecture: models.Architecture) -> None:
        names = [value.name for value in onnx.load(path, load_external_data=False).graph.input]
        feed = {name: value.numpy() for name, value in zip(names, architecture.arguments(), strict=True)}
        self.feeds: Iterator[dict[str, np.ndarray[Any, Any]]] = iter([feed])

    def get_next(self) -> dict[str, np.ndarray[Any, Any]] | None:
        return next(self.feeds, None)


def _dynamic(source: Path, target: Path, architecture: models.Architecture, per_channel: bool) -> None:
    quantization.quantize_dynamic(source, target, per_channel=per_channel)


def _static(
    source: Path, target: Path, architecture: models.Architecture, per_channel: bool, layout: quantization.QuantFormat
) -> None:
    quantization.quantize_static(
        source, target, Samples(source, architecture), quant_format=layout, per_channel=per_channel
    )


def _nbits(
    source: Path,
    target: Path,
    architecture: models.Architecture,
    layout: quantization.QuantFormat,
    ops: tuple[str, ...] = ("MatMul",),
) -> None:
    made = MatMulNBitsQuantizer(
        onnx.load(source), block_size=BLOCK, is_symmetric=True, quant_format=layout, op_types_to_quantize=ops
    )
    made.process()
    made.model.save_model_to_file(str(target))


def _fused(source: Path, target: Path, architecture: models.Architecture, model_type: str, heads: int) -> None:
    from onnxruntime.transformers import optimizer

    made = optimizer.optimize_model(str(source), model_type, num_heads=heads, hidden_size=24, opt_level=0)
    made.save_model_to_file(str(target))


def _extended(source: Path, target: Path, architecture: models.Architecture) -> None:
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
    options.optimized_model_filepath = str(target)
    options.log_severity_level = 3
    onnxruntime.InferenceSession(source, options, providers=["CPUExecutionProvider"])


BLOCK = 16
"""Synapses that share a scale in 4-bit weights."""

QDQ, QOPERATOR = quantization.QuantFormat.QDQ, quantization.QuantFormat.QOperator

SCHEMES: dict[str, Callable[[Path, Path, models.Architecture], None]] = {
    "dynamic": partial(_dynamic, per_channel=False),
    "dynamic_channels": partial(_dynamic, per_channel=True),
    "qdq": partial(_static, per_channel=False, layout=QDQ),
    "qdq_channels": partial(_static, per_channel=True, layout=QDQ),
    "qoperator": partial(_static, per_channel=False, layout=QOPERATOR),
    "qoperator_channels": partial(_static, per_channel=True, layout=QOPERATOR),
    "nbits": partial(_nbits, layout=QOPERATOR),
    "nbits_qdq": partial(_nbits, layout=QDQ),
    "nbits_tables": partial(_nbits, layout=QOPERATOR, ops=("MatMul", "Gather")),
    "extended": _extended,
    "fused_bert": partial(_fused, model_type="bert", heads=3),
    "fused_gpt2": partial(_fused, model_type="gpt2", heads=3),
    "fused_vit": partial(_fused, model_type="vit", heads=3),
}


def quantized(name: str, how: How, scheme: str) -> Path:
    """The file onnxruntime makes of the export ``name``.``how`` by ``scheme``; kept like exports are."""
    source = export(name, how)
    made_by = key(architectures.family(name), models, inspect.getmodule(export), inspect.getmodule(quantized))
    return kept(f"{name}.{how}.{scheme}", made_by, lambda path: _write(source, path, name, scheme))


def _write(source: Path, target: Path, name: str, scheme: str) -> None:
    logging.getLogger().setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        SCHEMES[scheme](source, target, architectures.ZOO[name])


def inherited(path: Path, source: Path, origins: Mapping[str, Ints]) -> dict[str, Ints]:
    """Where the elements of a quantized file's integer weights came from, given that of the export it was made of.

    The quantizer's names say which tensor it was; the signs of its elements say whether it was transposed on the way.
    4-bit weights of MatMulNBits are packed: their origin is the logical matrix (N, K), without the padding.
    """
    before, after = stored_tensors(source), stored_tensors(path)
    found: dict[str, Ints] = {}
    for name in after:
        base = re.sub(r"(_quantized|(_DQ)?_Q4)$", "", name)
        if base == name or base not in origins:
            continue
        signs = _signs(name, base, after)
        if after[name].ndim != signs.ndim:
            signs = signs[:, : before[base].shape[-2]]
        for turn in (_same, _turned):
            candidate = turn(before[base])
            if candidate.shape == signs.shape and (np.sign(candidate) == signs).mean() > 0.97:
                found[name] = turn(origins[base])
                break
        else:
            raise AssertionError(f"{name} {signs.shape} does not look like {base} {before[base].shape}")
    return found


def _signs(name: str, base: str, tensors: Mapping[str, np.ndarray[Any, Any]]) -> np.ndarray[Any, Any]:
    """Signs of what the quantized tensor ``name`` stands for. Scales of 4-bit blocks may be negative."""
    values = tensors[name].astype(np.int64)
    if not name.endswith("_Q4"):
        zero = tensors.get(f"{base}_zero_point", np.zeros(1)).astype(np.int64)
        return np.sign(values - (zero if zero.size == 1 else 0))
    if values.ndim == 3:
        values = np.stack([values & 15, values >> 4], -1).reshape(len(values), -1) - 8
    scales = tensors[name.removesuffix("_Q4") + "_scales"]
    scales = np.repeat(scales, BLOCK, axis=int(len(scales) == len(values)))
    return np.sign(values * scales[tuple(slice(extent) for extent in values.shape)])


def _same(values: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    return values


def _turned(values: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    return values.swapaxes(-1, -2) if values.ndim > 1 else values


UNQUANTIZABLE: dict[tuple[str, How, str], str] = {
    ("mlp_2d", "dynamo", "dynamic"): "Inferred shape and existing shape differ",
    ("conv_transpose", "dynamo", "qdq_channels"): "could not be broadcast together",
}
"""What onnxruntime cannot do: a Gemm with a declared weight shape; a grouped transposed convolution with a bias."""

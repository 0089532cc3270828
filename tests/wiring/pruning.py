"""Changes the stored tensors of a model file as a coupled group says: permuted, zeroed or cut, and runs it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime
from onnx import numpy_helper

from graphneurons.wiring.group_records import Group

Array = npt.NDArray[Any]

HUGE = 1e4
"""Numbers beyond this are masks, not weights."""


class Weights:
    """The stored tensors of a model by the name of their value, wherever they are stored; ``write`` puts them back."""

    def __init__(self, model: onnx.ModelProto) -> None:
        self.model = model
        self.tensors = dict(_tensors(model.graph))
        self.arrays = {name: numpy_helper.to_array(tensor).copy() for name, tensor in self.tensors.items()}

    def shaken(self, seed: int) -> Weights:
        """Every weight changed at random, so that no two neurons are alike and no bias is zero."""
        random = np.random.default_rng(seed)
        for name, array in self.arrays.items():
            if array.dtype.kind == "f" and array.size > 1 and np.isfinite(array).all() and np.abs(array).max() < HUGE:
                scale = 0.3 * float(np.abs(array).mean()) + 0.02
                noise = random.uniform(0, scale, array.shape) * np.where(array >= 0, 1, -1)
                self.arrays[name] = (array + noise).astype(array.dtype)
        return self

    def permuted(self, group: Group, order: Sequence[int], left_out: int = -1) -> Weights:
        """Index ``i`` of the group becomes what index ``order[i]`` was, along every member but number ``left_out``."""
        for position, member in enumerate(group.members):
            if position == left_out:
                continue
            coordinates = member.coordinates(group.size)
            array = self.arrays[member.root]
            taken = np.arange(array.shape[member.axis])
            taken[coordinates.reshape(-1)] = coordinates[list(order)].reshape(-1)
            self.arrays[member.root] = np.take(array, taken, axis=member.axis)
        return self

    def write(self) -> onnx.ModelProto:
        for name, tensor in self.tensors.items():
            tensor.CopyFrom(numpy_helper.from_array(self.arrays[name], tensor.name))
        return self.model


def _tensors(graph: onnx.GraphProto) -> Iterator[tuple[str, onnx.TensorProto]]:
    for tensor in graph.initializer:
        yield tensor.name, tensor
    for node in graph.node:
        for attribute in node.attribute:
            if node.op_type == "Constant" and attribute.name == "value":
                yield node.output[0], attribute.t
            elif attribute.type == onnx.AttributeProto.GRAPH:
                yield from _tensors(attribute.g)


def load(path: Path | str) -> Weights:
    return Weights(onnx.load(str(path)))


def feeds(model: onnx.ModelProto, seed: int) -> dict[str, Array]:
    """Random inputs; dynamic sizes are 3."""
    random = np.random.default_rng(seed)
    stored = {tensor.name for tensor in model.graph.initializer}
    made = {}
    for value in model.graph.input:
        if value.name in stored:
            continue
        kind = onnx.helper.tensor_dtype_to_np_dtype(value.type.tensor_type.elem_type)
        shape = tuple(dim.dim_value or 3 for dim in value.type.tensor_type.shape.dim)
        if kind.kind == "f":
            made[value.name] = random.standard_normal(shape).astype(kind)
        else:
            made[value.name] = random.integers(0, 2 if kind.kind == "b" else 5, shape).astype(kind)
    return made


def run(model: onnx.ModelProto, given: dict[str, Array]) -> list[Array]:
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.intra_op_num_threads = 1
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return [np.asarray(found) for found in session.run(None, given)]


def difference(one: Iterable[Array], other: Iterable[Array]) -> float:
    """The largest difference between two lists of outputs, relative to how much each output varies."""
    worst = 0.0
    for a, b in zip(one, other, strict=True):
        if a.shape != b.shape:
            return float("inf")
        if not a.size:
            continue
        x, y = a.astype(np.float64), b.astype(np.float64)
        if not np.array_equal(np.isfinite(x), np.isfinite(y)):
            return float("inf")
        x, y = np.nan_to_num(x, posinf=0, neginf=0), np.nan_to_num(y, posinf=0, neginf=0)
        worst = max(worst, float(np.abs(x - y).max() / (np.abs(x - x.mean()).max() + 1e-6)))
    return worst

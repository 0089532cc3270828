"""A model as one flat list of ONNX nodes that can be taken apart, run and rewired."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
from onnx import helper, numpy_helper

from graphneurons.graph import CONTROL, ModelGraph, Op, WeightRef
from graphneurons.load.reading import read

Array = np.ndarray
Arrays = Mapping[str, Array]

NESTED = frozenset({"If", "Loop", "Scan"})
PASSES = 3
"""How often the body of a loop is written out: what comes back after one round must have been seen twice."""


@dataclass(frozen=True)
class Program:
    """``copies``: value of the model -> the values here that stand for it (one per round of a loop; itself if missing).

    ``inputs`` are example values of what the caller feeds.
    """

    nodes: tuple[onnx.NodeProto, ...]
    stored: Mapping[str, onnx.TensorProto]
    inputs: Arrays
    opsets: tuple[tuple[str, int], ...]
    ir_version: int
    copies: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def names(self, value: str) -> tuple[str, ...]:
        return self.copies.get(value, (value,))


def flat(path: Path | str, graph: ModelGraph, inputs: Sequence[Array] | Arrays) -> Program:
    """The file itself, or, where it has control flow, what the loader made of it with its loops written out."""
    model = onnx.load(str(path))
    given = _given(model, inputs)
    if not model.functions and not any(node.op_type in NESTED for node in model.graph.node):
        return opened(model, given)
    return unrolled(graph, given, model.ir_version)


def _given(model: onnx.ModelProto, inputs: Sequence[Array] | Arrays) -> dict[str, Array]:
    if isinstance(inputs, Mapping):
        return dict(inputs)
    stored = {tensor.name for tensor in model.graph.initializer}
    names = [value.name for value in model.graph.input if value.name not in stored]
    return dict(zip(names, inputs, strict=True))


def opened(model: onnx.ModelProto, inputs: Arrays) -> Program:
    """A model without control flow as it is."""
    return Program(
        tuple(model.graph.node),
        {tensor.name: tensor for tensor in model.graph.initializer},
        dict(inputs),
        tuple((entry.domain, entry.version) for entry in model.opset_import),
        model.ir_version,
    )


def unrolled(graph: ModelGraph, inputs: Arrays, ir_version: int = 10) -> Program:
    """`PASSES` rounds of every op: a state is its initial value in the first round and what came back in the others.

    Both branches of an If are there, and where they meet they are added: either of them may be what runs.
    """
    rounds = PASSES if any(op.domain == CONTROL and op.type == "Carry" for op in graph.ops) else 1
    made = {name for op in graph.ops for name in op.outputs if name}

    def at(name: str, turn: int) -> str:
        return f"{name}@{turn}" if name in made and rounds > 1 else name

    nodes: list[onnx.NodeProto] = []
    for turn in range(rounds):
        for op in graph.ops:
            nodes.extend(_written(op, turn, at, graph))
    stored = {
        name: numpy_helper.from_array(np.asarray(read(ref), order="C"), name) for name, ref in graph.weights.items()
    }
    copies = {name: tuple(at(name, turn) for turn in range(rounds)) for name in made} if rounds > 1 else {}
    return Program(tuple(nodes), stored, dict(inputs), graph.info.opsets, ir_version, copies)


def _written(op: Op, turn: int, at: Any, graph: ModelGraph) -> Iterable[onnx.NodeProto]:
    inputs = [at(name, turn) for name in op.inputs]
    outputs = [at(name, turn) for name in op.outputs]
    if op.domain != CONTROL:
        node = helper.make_node(op.type, inputs, outputs, name=f"{op.name}@{turn}", domain=op.domain)
        node.attribute.extend(_attribute(name, value) for name, value in op.attributes.items())
        return [node]
    name = outputs[0]
    if op.type == "Carry":
        feedback = op.attributes.get("feedback")
        source = at(feedback, turn - 1) if turn and isinstance(feedback, str) else inputs[0]
        return [helper.make_node("Identity", [source], [name])]
    if op.type == "Merge":
        both = _is_float(graph, op.output)
        return [helper.make_node("Sum" if both else "Identity", inputs if both else inputs[:1], [name])]
    axis = op.attributes.get("axis", 0)
    if op.type == "Stack":
        wider = f"{name}/wider"
        axes = [helper.make_node("Constant", [], [f"{name}/axes"], value_ints=[axis])]
        size = op.attributes.get("size", 1)
        return [
            *axes,
            helper.make_node("Unsqueeze", [inputs[0], f"{name}/axes"], [wider]),
            helper.make_node("Concat", [wider] * (size if isinstance(size, int) else 1), [name], axis=axis),
        ]
    if op.type == "Unstack":
        return [
            helper.make_node("Constant", [], [f"{name}/turn"], value_int=turn),
            helper.make_node("Gather", [inputs[0], f"{name}/turn"], [name], axis=axis),
        ]
    if op.type == "Iteration":
        declared = graph.declared.get(op.output)
        number = np.array(True) if declared is not None and declared.dtype == "bool" else np.array(turn)
        return [helper.make_node("Constant", [], [name], value=numpy_helper.from_array(number))]
    raise AssertionError(f"{op.type} is not written out")


def _is_float(graph: ModelGraph, name: str) -> bool:
    declared = graph.declared.get(name)
    return declared is None or declared.dtype.startswith(("float", "bfloat"))


def _attribute(name: str, value: Any) -> onnx.AttributeProto:
    if isinstance(value, WeightRef):
        value = numpy_helper.from_array(np.asarray(read(value), order="C"))
    elif isinstance(value, tuple):
        value = [numpy_helper.from_array(read(item)) if isinstance(item, WeightRef) else item for item in value]
        if not value:
            return helper.make_attribute(name, value, attr_type=onnx.AttributeProto.INTS)
    return helper.make_attribute(name, value)


def run(
    program: Program,
    nodes: Sequence[onnx.NodeProto],
    stored: Iterable[onnx.TensorProto],
    feeds: Arrays,
    wanted: Sequence[str],
) -> dict[str, Any]:
    """The values ``wanted`` of one run of ``nodes``."""
    return started(program, nodes, stored, feeds, wanted)(feeds)


def started(
    program: Program,
    nodes: Sequence[onnx.NodeProto],
    stored: Iterable[onnx.TensorProto],
    feeds: Arrays,
    wanted: Sequence[str],
) -> Any:
    """A function that runs ``nodes`` on feeds like ``feeds`` and returns the values ``wanted`` by name."""
    inputs = [
        helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(array.dtype), array.shape)
        for name, array in feeds.items()
    ]
    outputs = [onnx.ValueInfoProto(name=name) for name in wanted]
    body = helper.make_graph(nodes, "cut", inputs, outputs, list(stored))
    opsets = [helper.make_opsetid(domain, version) for domain, version in program.opsets]
    model = helper.make_model(body, opset_imports=opsets, ir_version=program.ir_version)
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])

    def call(values: Arrays) -> dict[str, Any]:
        return dict(zip(wanted, session.run(list(wanted), dict(values)), strict=True))

    return call

"""Cuts a model inside its local functions: the ops are written out as the loader has flattened them."""

from __future__ import annotations

from typing import Any

from graphneurons.errors import DataError
from graphneurons.graph import CONTROL, ModelGraph, Op, WeightRef
from graphneurons.graph import Attribute as Stored
from graphneurons.load.dtypes import BITS, DTYPES, stored_bytes
from graphneurons.load.reading import read
from graphneurons.probing.untrained import Draws

_CLOSED = frozenset(
    ["If", "Loop", "Scan", "SequenceMap", "BeamSearch", "GreedySearch", "Sampling", "WhisperBeamSearch"]
)
_NUMBERS = {dtype.name: number for number, dtype in DTYPES.items()}


def inlined_inputs(graph: ModelGraph, value: str) -> tuple[str, ...]:
    """The inputs that ``value`` depends on. Raises `DataError` where it is made in a loop or a branch, or depends on
    what one makes, or on what flattening does not keep."""
    ops = _makers(graph, value)
    if any(op.domain == CONTROL or op.type in _CLOSED for op in ops) or _in_branch(graph, value):
        raise DataError(
            "the model cannot be cut in a loop or a branch, which run as often as data say, nor in a function that "
            "reads what one makes; choose a layer outside",
            file=graph.info.path,
            where=value,
        )
    if any(op.domain == "ai.onnx.ml" or (op.type == "Slice" and "starts" in op.attributes) for op in ops):
        raise _refused(graph, value, "the loader has rewritten an op that it depends on")
    if len({(op.domain, op.version) for op in ops}) > len({op.domain for op in ops}):
        raise _refused(graph, value, "it is made by functions of different operator sets")
    read_there = {name for op in ops for name in op.inputs}
    return tuple(item.name for item in graph.inputs if item.name in read_there)


def inlined(graph: ModelGraph, value: str, draws: Draws | None) -> Any:
    """A ModelProto that makes ``value`` and nothing else, for which `inlined_inputs` has found no objection."""
    import onnx

    ops = _makers(graph, value)
    model = onnx.ModelProto(ir_version=graph.info.ir_version)
    model.graph.name = "cut"
    model.graph.output.append(onnx.ValueInfoProto(name=value))
    for domain, version in dict.fromkeys((op.domain, op.version) for op in ops):
        model.opset_import.add(domain=domain, version=version)
    for op in ops:
        node = onnx.helper.make_node(op.type, op.inputs, op.outputs, name=op.name, domain=op.domain)
        node.attribute.extend(_attribute(name, stored) for name, stored in op.attributes.items())
        model.graph.node.append(node)
    read_there = dict.fromkeys(name for op in ops for name in op.inputs if name)
    model.graph.initializer.extend(
        _tensor(graph.weights[name], name, draws) for name in read_there if name in graph.weights
    )
    model.graph.input.extend(
        onnx.helper.make_tensor_value_info(item.name, _NUMBERS.get(item.dtype, 0), item.shape)
        for item in graph.inputs
        if item.name in read_there
    )
    return model


def _refused(graph: ModelGraph, value: str, why: str) -> DataError:
    return DataError(
        f"the model cannot be cut here: {why}; inline functions with onnx.inliner.inline_local_functions, or choose a "
        "layer outside",
        file=graph.info.path,
        where=value,
    )


def _makers(graph: ModelGraph, value: str) -> list[Op]:
    """The ops that ``value`` depends on, in graph order."""
    needed = {value}
    for op in reversed(graph.ops):
        if needed.intersection(op.outputs):
            needed.update(op.inputs)
    return [op for op in graph.ops if needed.intersection(name for name in op.outputs if name)]


def _in_branch(graph: ModelGraph, value: str) -> bool:
    """Whether what ``value`` leads to is joined with what another branch or round makes: then it may be inside."""
    reached = {value}
    for op in graph.ops:
        if reached.intersection(op.inputs):
            if op.domain == CONTROL:
                return True
            reached.update(name for name in op.outputs if name)
    return False


def _attribute(name: str, stored: Stored) -> Any:
    from onnx import AttributeProto, helper

    if isinstance(stored, WeightRef):
        return helper.make_attribute(name, _tensor(stored, stored.name, None))
    if isinstance(stored, tuple):
        items = [_tensor(item, item.name, None) if isinstance(item, WeightRef) else item for item in stored]
        return helper.make_attribute(name, items, attr_type=None if items else AttributeProto.INTS)
    return helper.make_attribute(name, stored)


def _tensor(ref: WeightRef, name: str, draws: Draws | None) -> Any:
    from onnx import TensorProto

    tensor = TensorProto(name=name, data_type=_NUMBERS[ref.dtype], dims=ref.shape)
    stored = _raw(ref)
    if draws is not None and draws.concerns(ref.name):
        stored = draws.raw(ref.name, ref.dtype, ref.shape, stored, BITS[ref.dtype])
    tensor.raw_data = stored
    return tensor


def _raw(ref: WeightRef) -> bytes:
    """The bytes of a tensor as ``raw_data`` has them."""
    encoding = getattr(ref.storage, "encoding", "raw")
    bits = BITS[ref.dtype]
    if bits == 0:
        raise DataError("strings are not read", where=ref.name)
    if encoding == "raw":
        whole = WeightRef(ref.name, "uint8", (stored_bytes(ref.elements, bits),), ref.storage)
        return bytes(read(whole).tobytes())
    if bits < 8:
        raise DataError("narrow numbers in a typed field are not read here; save the model again", where=ref.name)
    return bytes(read(ref).tobytes())

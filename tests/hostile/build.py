"""Short ways to say a small model. Names are fixed: weights w1, b1, w2, b2, ops fc1, act, fc2, input x, output y."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import prod
from typing import Any

import numpy as np
from onnx import (
    AttributeProto,
    FunctionProto,
    GraphProto,
    ModelProto,
    NodeProto,
    TensorProto,
    TypeProto,
    ValueInfoProto,
    helper,
)

FLOAT, INT64, UINT8, INT8 = TensorProto.FLOAT, TensorProto.INT64, TensorProto.UINT8, TensorProto.INT8
Sizes = Sequence[Any]


def weight(name: str, *dims: int, dtype: int = FLOAT) -> TensorProto:
    """A small tensor with the same bytes on every run."""
    kind = helper.tensor_dtype_to_np_dtype(dtype)
    data = (np.arange(prod(dims)) % 13 * 0.07 - 0.3 if dtype == FLOAT else np.arange(prod(dims)) % 5).astype(kind)
    return TensorProto(name=name, data_type=dtype, dims=dims, raw_data=data.tobytes())


def integers(name: str, *values: int, scalar: bool = False) -> TensorProto:
    dims = [] if scalar else [len(values)]
    return TensorProto(name=name, data_type=INT64, dims=dims, raw_data=np.array(values, np.int64).tobytes())


def bare(name: str, dims: Sequence[int], dtype: int = FLOAT, **fields: Any) -> TensorProto:
    """A tensor exactly as told, whether it makes sense or not."""
    return TensorProto(name=name, data_type=dtype, dims=dims, **fields)


def node(
    kind: str, inputs: Sequence[str], outputs: Sequence[str], name: str = "", domain: str = "", **attributes: Any
) -> NodeProto:
    made = helper.make_node(kind, inputs, outputs, name=name or None, domain=domain or None)
    for key, value in attributes.items():
        made.attribute.append(value if isinstance(value, AttributeProto) else helper.make_attribute(key, value))
    return made


def value(name: str, shape: Sizes | None = None, dtype: int = FLOAT) -> ValueInfoProto:
    return helper.make_tensor_value_info(name, dtype, shape)


def typed(name: str, kind: TypeProto) -> ValueInfoProto:
    return helper.make_value_info(name, kind)


def graph(
    nodes: Sequence[NodeProto],
    inputs: Mapping[str, Sizes | None] | Sequence[ValueInfoProto] = (),
    outputs: Sequence[str | ValueInfoProto] = ("y",),
    weights: Sequence[TensorProto] = (),
    name: str = "g",
    **fields: Any,
) -> GraphProto:
    ins = [value(key, shape) for key, shape in inputs.items()] if isinstance(inputs, Mapping) else list(inputs)
    outs = [out if isinstance(out, ValueInfoProto) else value(out) for out in outputs]
    return GraphProto(node=nodes, name=name, input=ins, output=outs, initializer=weights, **fields)


def wrap(
    body: GraphProto,
    opset: int | None = 17,
    domains: Mapping[str, int] | None = None,
    functions: Sequence[FunctionProto] = (),
    **fields: Any,
) -> ModelProto:
    opsets = [] if opset is None else [helper.make_opsetid("", opset)]
    opsets += [helper.make_opsetid(domain, version) for domain, version in (domains or {}).items()]
    return ModelProto(**{"ir_version": 8, **fields}, graph=body, opset_import=opsets, functions=functions)


def model(
    nodes: Sequence[NodeProto],
    inputs: Mapping[str, Sizes | None] | Sequence[ValueInfoProto] | None = None,
    outputs: Sequence[str | ValueInfoProto] = ("y",),
    weights: Sequence[TensorProto] = (),
    *,
    graph_fields: Mapping[str, Any] | None = None,
    **fields: Any,
) -> ModelProto:
    """A model whose input is ``x`` of shape (1, 4) unless told otherwise; outputs given by name alone are matrices."""
    outs = [value(out, ["rows", "columns"]) if isinstance(out, str) else out for out in outputs]
    body = graph(nodes, {"x": [1, 4]} if inputs is None else inputs, outs, weights, **(graph_fields or {}))
    return wrap(body, **fields)


def mlp() -> ModelProto:
    """x (1, 4) -> fc1 (8 neurons) -> act -> fc2 (3 neurons) -> y."""
    return model(
        [
            node("Gemm", ["x", "w1", "b1"], ["h"], "fc1", transB=1),
            node("Relu", ["h"], ["a"], "act"),
            node("Gemm", ["a", "w2", "b2"], ["y"], "fc2", transB=1),
        ],
        weights=[weight("w1", 8, 4), weight("b1", 8), weight("w2", 3, 8), weight("b2", 3)],
    )


def linear(tensor: TensorProto, **fields: Any) -> ModelProto:
    """One MatMul, fc1, of x (1, 4) with ``tensor``, whatever that is."""
    return model([node("MatMul", ["x", tensor.name], ["y"], "fc1")], weights=[tensor], **fields)


def through(*nodes: NodeProto, last: str, weights: Sequence[TensorProto] = (), **fields: Any) -> ModelProto:
    """``nodes`` compute the constant ``last``, which op fc1 multiplies with x."""
    return model([*nodes, node("MatMul", ["x", last], ["y"], "fc1")], weights=weights, **fields)


def boolean(name: str) -> ValueInfoProto:
    return value(name, [], TensorProto.BOOL)


def branches(then: GraphProto, other: GraphProto, weights: Sequence[TensorProto] = (), **fields: Any) -> ModelProto:
    """An If, called choose, over input c."""
    return model(
        [node("If", ["c"], ["y"], "choose", then_branch=then, else_branch=other)],
        [value("x", [1, 4]), boolean("c")],
        weights=weights,
        **fields,
    )


def function(
    name: str,
    inputs: Sequence[str],
    outputs: Sequence[str],
    nodes: Sequence[NodeProto],
    attributes: Sequence[str] = (),
    domain: str = "local",
    opset: int | None = 17,
    **fields: Any,
) -> FunctionProto:
    opsets = [] if opset is None else [helper.make_opsetid("", opset)]
    opsets.append(helper.make_opsetid("local", 1))
    return FunctionProto(
        name=name,
        domain=domain,
        input=inputs,
        output=outputs,
        node=nodes,
        attribute=attributes,
        opset_import=opsets,
        **fields,
    )


def reference(name: str, outer: str, kind: int) -> AttributeProto:
    """Attribute ``name`` whose value the caller of the function gives as ``outer``."""
    return AttributeProto(name=name, ref_attr_name=outer, type=kind)

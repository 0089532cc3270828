"""Ops that mix a little, written out, so that what mixes in them (a mean, a variance, a scale) can be held still."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

import onnx
from onnx import helper

from tests.wiring.flattening import Program

Nodes = list[onnx.NodeProto]


def expanded(program: Program) -> Program:
    """``program`` with every normalisation written out as means, differences and quotients."""
    version = dict(program.opsets).get("", 17)
    read = {name for node in program.nodes for name in node.input}
    nodes: Nodes = []
    for index, node in enumerate(program.nodes):
        write = EXPANSIONS.get(node.op_type)
        if write and node.op_type in ALONE and any(name in read for name in node.output[1:]):
            write = None
        nodes.extend(write(node, f"{node.output[0]}/{index}", version) if write else [node])
    return replace(program, nodes=tuple(nodes))


def _value(node: onnx.NodeProto, name: str, default: float) -> float:
    return next((helper.get_attribute_value(item) for item in node.attribute if item.name == name), default)


def _mean(source: str, name: str, axes: Sequence[int], version: int) -> Iterator[onnx.NodeProto]:
    if version < 18:
        yield helper.make_node("ReduceMean", [source], [name], axes=list(axes), keepdims=1)
        return
    yield helper.make_node("Constant", [], [f"{name}/axes"], value_ints=list(axes))
    yield helper.make_node("ReduceMean", [source, f"{name}/axes"], [name], keepdims=1)


def _centred(source: str, name: str, axes: Sequence[int], version: int) -> Iterator[onnx.NodeProto]:
    yield from _mean(source, f"{name}/mean", axes, version)
    yield helper.make_node("Sub", [source, f"{name}/mean"], [name])


def _scaled(source: str, name: str, axes: Sequence[int], epsilon: float, version: int) -> Iterator[onnx.NodeProto]:
    """``source`` over the root of its mean square."""
    yield helper.make_node("Mul", [source, source], [f"{name}/square"])
    yield from _mean(f"{name}/square", f"{name}/variance", axes, version)
    yield helper.make_node("Constant", [], [f"{name}/epsilon"], value_float=float(epsilon))
    yield helper.make_node("Add", [f"{name}/variance", f"{name}/epsilon"], [f"{name}/positive"])
    yield helper.make_node("Sqrt", [f"{name}/positive"], [f"{name}/deviation"])
    yield helper.make_node("Div", [source, f"{name}/deviation"], [name])


def _gained(source: str, name: str, output: str, scale: str, bias: str) -> Iterator[onnx.NodeProto]:
    yield helper.make_node("Mul", [source, scale], [f"{name}/gained" if bias else output])
    if bias:
        yield helper.make_node("Add", [f"{name}/gained", bias], [output])


def _layer(node: onnx.NodeProto, name: str, version: int) -> Nodes:
    axes = [int(_value(node, "axis", -1))]
    bias = node.input[2] if len(node.input) > 2 else ""
    return [
        *_centred(node.input[0], f"{name}/centred", axes, version),
        *_scaled(f"{name}/centred", f"{name}/unit", axes, _value(node, "epsilon", 1e-5), version),
        *_gained(f"{name}/unit", name, node.output[0], node.input[1], bias),
    ]


def _root(node: onnx.NodeProto, name: str, version: int) -> Nodes:
    axes = [int(_value(node, "axis", -1))]
    return [
        *_scaled(node.input[0], f"{name}/unit", axes, _value(node, "epsilon", 1e-5), version),
        *_gained(f"{name}/unit", name, node.output[0], node.input[1], ""),
    ]


def _instance(node: onnx.NodeProto, name: str, version: int) -> Nodes:
    """Mean and variance over (2, 3, ...) of an operand brought to three axes, then one gain and bias per channel."""
    source, scale, bias = node.input
    return [
        helper.make_node("Shape", [source], [f"{name}/shape"]),
        helper.make_node("Constant", [], [f"{name}/three"], value_ints=[0, 0, -1]),
        helper.make_node("Reshape", [source, f"{name}/three"], [f"{name}/flat"]),
        *_centred(f"{name}/flat", f"{name}/centred", [2], version),
        *_scaled(f"{name}/centred", f"{name}/unit", [2], _value(node, "epsilon", 1e-5), version),
        helper.make_node("Constant", [], [f"{name}/column"], value_ints=[-1, 1]),
        helper.make_node("Reshape", [scale, f"{name}/column"], [f"{name}/scale"]),
        helper.make_node("Reshape", [bias, f"{name}/column"], [f"{name}/bias"]),
        *_gained(f"{name}/unit", name, f"{name}/out", f"{name}/scale", f"{name}/bias"),
        helper.make_node("Reshape", [f"{name}/out", f"{name}/shape"], [node.output[0]]),
    ]


def _group(node: onnx.NodeProto, name: str, version: int) -> Nodes:
    if version < 21:
        return [node]
    source, scale, bias = node.input
    groups = int(_value(node, "num_groups", 1))
    return [
        helper.make_node("Shape", [source], [f"{name}/shape"]),
        helper.make_node("Constant", [], [f"{name}/groups"], value_ints=[0, groups, -1]),
        helper.make_node("Reshape", [source, f"{name}/groups"], [f"{name}/flat"]),
        *_centred(f"{name}/flat", f"{name}/centred", [2], version),
        *_scaled(f"{name}/centred", f"{name}/unit", [2], _value(node, "epsilon", 1e-5), version),
        helper.make_node("Constant", [], [f"{name}/apart"], value_ints=[0, 0, -1]),
        helper.make_node("Reshape", [f"{name}/unit", f"{name}/shape"], [f"{name}/whole"]),
        helper.make_node("Reshape", [f"{name}/whole", f"{name}/apart"], [f"{name}/channels"]),
        helper.make_node("Constant", [], [f"{name}/column"], value_ints=[-1, 1]),
        helper.make_node("Reshape", [scale, f"{name}/column"], [f"{name}/scale"]),
        helper.make_node("Reshape", [bias, f"{name}/column"], [f"{name}/bias"]),
        *_gained(f"{name}/channels", name, f"{name}/out", f"{name}/scale", f"{name}/bias"),
        helper.make_node("Reshape", [f"{name}/out", f"{name}/shape"], [node.output[0]]),
    ]


def _skip(centre: bool) -> Callable[[onnx.NodeProto, str, int], Nodes]:
    """com.microsoft: (input, skip, gamma[, beta][, bias]) -> (output, _, _, sum); the simplified one has no beta."""

    def write(node: onnx.NodeProto, name: str, version: int) -> Nodes:
        given = list(node.input)
        beta = given[3] if centre and len(given) > 3 else ""
        bias = given[4 if centre else 3] if len(given) > (4 if centre else 3) else ""
        total = node.output[3] if len(node.output) > 3 and node.output[3] else f"{name}/sum"
        nodes = [helper.make_node("Sum", [*given[:2], bias] if bias else given[:2], [total])]
        if centre:
            nodes.extend(_centred(total, f"{name}/centred", [-1], version))
        source = f"{name}/centred" if centre else total
        epsilon = _value(node, "epsilon", 1e-12)
        nodes.extend(_scaled(source, f"{name}/unit", [-1], epsilon, version))
        nodes.extend(_gained(f"{name}/unit", name, node.output[0], given[2], beta))
        return nodes

    return write


def _dynamic_quantize(node: onnx.NodeProto, name: str, version: int) -> Nodes:
    """The scale is that of the whole tensor; with a scale held still every element is quantized by itself."""
    first, scale, zero = node.output
    return [
        helper.make_node("DynamicQuantizeLinear", list(node.input), [f"{name}/first", scale, zero]),
        helper.make_node("QuantizeLinear", [node.input[0], scale, zero], [first]),
    ]


GAIN = "/gain"
"""How the name of a factor ends that an op is written out with."""


def _multiplied(node: onnx.NodeProto, name: str, version: int) -> Nodes:
    """Whatever the op does to its operand, as a factor by which it is multiplied."""
    twin = onnx.NodeProto()
    twin.CopyFrom(node)
    twin.output[0] = f"{name}/whole"
    return [
        twin,
        helper.make_node("Div", [f"{name}/whole", node.input[0]], [name + GAIN]),
        helper.make_node("Mul", [node.input[0], name + GAIN], [node.output[0]]),
    ]


ALONE = frozenset({"LayerNormalization", "RMSNormalization", "SimplifiedLayerNormalization"})
"""Only these are left whole where someone reads the means or deviations they put out as well."""

EXPANSIONS: dict[str, Callable[[onnx.NodeProto, str, int], Nodes]] = {
    "DynamicQuantizeLinear": _dynamic_quantize,
    "GroupNormalization": _group,
    "InstanceNormalization": _instance,
    "LRN": _multiplied,
    "LayerNormalization": _layer,
    "LpNormalization": _multiplied,
    "RMSNormalization": _root,
    "SimplifiedLayerNormalization": _root,
    "SkipLayerNormalization": _skip(True),
    "SkipSimplifiedLayerNormalization": _skip(False),
}

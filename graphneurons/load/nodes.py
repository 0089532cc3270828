"""NodeProto to a plain record: strings, tuples and converted attributes, with subgraphs set apart."""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from sys import intern
from typing import Any, NamedTuple

from graphneurons.graph import CONTROL, NOTHING, Attribute, Inline, WeightRef
from graphneurons.load.attributes import GRAPH, GRAPHS, kind_of, value_of
from graphneurons.load.repeats import Heads, Repeats, names_of
from graphneurons.load.scopes import from_name, scope_of
from graphneurons.load.tensors import Tensors


class Node(NamedTuple):
    """A node as it stands in the file. ``references`` are (attribute, function attribute) pairs. ``alone``: what is
    read of it depends on its names, so that it does not hold of another node that differs in nothing else."""

    type: str
    domain: str
    overload: str
    name: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: Mapping[str, Attribute]
    scope: tuple[str, ...]
    graphs: tuple[tuple[str, Any], ...] = ()
    references: tuple[tuple[str, str], ...] = ()
    alone: bool = False

    @property
    def label(self) -> str:
        """What a message calls it."""
        output = next(filter(None, self.outputs), "")
        made = f" (makes {output})" if output and output != self.name else ""
        return f"{self.name or self.type}{made}"


def normal_domain(domain: str) -> str:
    """``ai.onnx`` is another name of the default domain. The loader's own domain is not open to files."""
    if domain == "ai.onnx":
        return ""
    return f"file.{CONTROL}" if domain == CONTROL else domain


def read_node(proto: Any, tensors: Tensors) -> Node:
    """The record of ``proto``. Raises `LoadError` where it has no op type or a malformed attribute."""
    return read_rest(proto, *names_of(proto), tensors)


def heads_of(protos: Sequence[Any], repeats: Repeats | None) -> Heads:
    """The names in each of a graph's nodes, and which of ``protos`` says the rest."""
    if repeats is not None:
        repeats.complete(protos)
        return repeats.heads
    heads = Heads()
    for index, proto in enumerate(protos):
        heads.add(*names_of(proto), index)
    return heads


def read_rest(
    proto: Any, name: str, inputs: tuple[str, ...], outputs: tuple[str, ...], tensors: Tensors
) -> Node:
    """`read_node` where the names were read before."""
    kind = proto.op_type
    domain = proto.domain
    overload = proto.overload
    if not (type(name) is type(kind) is type(domain) is type(overload) is str):
        for stored in (name, kind, domain, overload):
            tensors.text(stored, "a node")
    kind = intern(kind)
    if not kind:
        tensors.refuse(name or "a node without a name", "the node has no op type")
    if domain:
        domain = intern(normal_domain(domain))
    metadata = proto.metadata_props
    scope = scope_of(name, _texts(metadata)) if metadata else from_name(name) if "/" in name else ()
    attributes = proto.attribute
    plain = Node(kind, domain, overload, name, inputs, outputs, NOTHING, scope, alone=len(metadata) > 0)
    if not attributes:
        return plain
    # Nodes that have the same attributes share one mapping of them.
    written = tuple([attribute.SerializeToString() for attribute in attributes])
    known = tensors.attributes.get(written)
    if known is not None:
        return plain._replace(attributes=known)
    found = _with_attributes(plain, attributes, tensors)
    if found.graphs or found.references or any(map(_has_tensors, found.attributes.values())):
        return found._replace(alone=True)
    tensors.attributes[written] = found.attributes
    return found


def _texts(metadata: Any) -> dict[str, str]:
    """Metadata entries; what is not UTF-8 there names nothing and is passed over."""
    entries = ((entry.key, entry.value) for entry in metadata)
    return {key: value for key, value in entries if isinstance(key, str) and isinstance(value, str)}


def _with_attributes(node: Node, protos: Any, tensors: Tensors) -> Node:
    values: dict[str, Attribute] = {}
    graphs: list[tuple[str, Any]] = []
    references: list[tuple[str, str]] = []
    met: set[str] = set()
    for proto in protos:
        name = intern(tensors.text(proto.name, node.label))
        where = f"{node.label}.{name}"
        if not name:
            tensors.refuse(node.label, "an attribute has no name")
        if name in met:
            tensors.refuse(where, "the attribute is given twice; which one counts is not defined")
        met.add(name)
        if proto.ref_attr_name:
            references.append((name, tensors.text(proto.ref_attr_name, where)))
            continue
        kind = kind_of(proto, tensors, where)
        if kind == GRAPH:
            graphs.append((name, proto.g))
        elif kind == GRAPHS:
            graphs += ((f"{name}[{index}]", graph) for index, graph in enumerate(proto.graphs))
        elif kind:
            own = node.name or next(filter(None, node.outputs), node.type)
            values[name] = value_of(proto, kind, tensors, where, f"{own}.{name}")
        else:
            tensors.refuse(where, "the attribute has no value")
    return node._replace(attributes=values or NOTHING, graphs=tuple(graphs), references=tuple(references))


def _has_tensors(value: Attribute) -> bool:
    """Whether an attribute holds tensors: those are called by the node they are in."""
    return isinstance(value, WeightRef) or (isinstance(value, tuple) and any(isinstance(v, WeightRef) for v in value))


def _strings(value: Any) -> WeightRef:
    count = () if isinstance(value, str) else (len(value),)
    return WeightRef("", "string", count, Inline(b"", "string_data"))


_CONSTANTS: dict[str, Callable[[Any], WeightRef]] = {
    "value": lambda value: value,
    "sparse_value": lambda value: value,
    "value_float": lambda value: WeightRef("", "float32", (), Inline(struct.pack("<f", value))),
    "value_floats": lambda value: WeightRef(
        "", "float32", (len(value),), Inline(struct.pack(f"<{len(value)}f", *value))
    ),
    "value_int": lambda value: WeightRef("", "int64", (), Inline(struct.pack("<q", value))),
    "value_ints": lambda value: WeightRef("", "int64", (len(value),), Inline(struct.pack(f"<{len(value)}q", *value))),
    "value_string": _strings,
    "value_strings": _strings,
}
_WANTED: dict[str, type | tuple[type, ...]] = {
    "value": WeightRef, "sparse_value": WeightRef, "value_float": float, "value_int": int, "value_string": str,
    "value_floats": tuple, "value_ints": tuple, "value_strings": tuple,
}  # fmt: skip


def constant_of(node: Node, attributes: Mapping[str, Attribute], tensors: Tensors) -> WeightRef:
    """The tensor a ``Constant`` node holds, called by the node's output. Raises `LoadError` where it holds none."""
    given = [name for name in attributes if name in _CONSTANTS]
    if len(given) != 1 or len(node.outputs) != 1 or not node.outputs[0] or any(node.inputs):
        tensors.refuse(node.label, "a Constant needs exactly one value, one output and no input")
    value = attributes[given[0]]
    if not isinstance(value, _WANTED[given[0]]):
        tensors.refuse(node.label, f"the Constant's attribute {given[0]} has the wrong type")
    try:
        found = _CONSTANTS[given[0]](value)
    except struct.error:
        tensors.refuse(node.label, f"the Constant's attribute {given[0]} has the wrong type")
    return replace(found, name=node.outputs[0])

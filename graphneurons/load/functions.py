"""Local functions: how large each becomes when every call in it is written out, without writing anything out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from graphneurons.errors import LoadError
from graphneurons.graph import Attribute
from graphneurons.load.attributes import kind_of, value_of
from graphneurons.load.nodes import Node, normal_domain, read_node
from graphneurons.load.repeats import Heads
from graphneurons.load.tensors import Tensors
from graphneurons.load.wording import brief, quoted

Key = tuple[str, str, str]
DEEPEST = 32
_ENOUGH = 1 << 40
_LIGHT = 8
_BYTES = 8


@dataclass(frozen=True, slots=True)
class Function:
    """A function of the file, read once. ``size`` is the work of one call in ops, all calls inside written out; ``own``
    leaves out those calls."""

    name: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    nodes: tuple[Node, ...]
    heads: Heads
    defaults: Mapping[str, Attribute]
    versions: Mapping[str, int]
    own: int
    size: int


def key_of(proto: Any) -> Key:
    """Identity of a FunctionProto: (domain, name, overload)."""
    return normal_domain(proto.domain), proto.name, proto.overload


def _check_texts(proto: Any, tensors: Tensors) -> None:
    for stored in (proto.domain, proto.name, proto.overload, *proto.input, *proto.output, *proto.attribute):
        tensors.text(stored, "a function")
    for node in proto.node:
        for stored in (*node.input, *node.output):
            tensors.text(stored, "a function's node")


def read_functions(protos: Iterable[Any], tensors: Tensors) -> dict[Key, Function]:
    """Every function of the file. Raises `LoadError` on functions that are malformed, given twice or recursive."""
    found: dict[Key, Any] = {}
    for proto in protos:
        _check_texts(proto, tensors)
        key = key_of(proto)
        if not proto.name:
            tensors.refuse("a function without a name", "functions must be named")
        if key in found:
            tensors.refuse(label(key), "the function is defined twice")
        found[key] = proto
    bodies = {key: _calls(proto, found) for key, proto in found.items()}
    sizes = _sizes(bodies, tensors.path)
    return {key: _read(proto, label(key), bodies[key][0], sizes[key], tensors) for key, proto in found.items()}


def label(key: Key) -> str:
    domain, name, overload = key
    return brief("function " + ".".join(filter(None, (domain, name))) + (f":{overload}" if overload else ""))


def _read(proto: Any, where: str, own: int, size: int, tensors: Tensors) -> Function:
    nodes = tuple(read_node(node, tensors) for node in proto.node)
    made = Counter(name for node in nodes for name in node.outputs if name)
    made.update(proto.input)
    for name, count in made.items():
        if count > 1:
            tensors.refuse(where, f"the value {quoted(name)} is defined {count} times")
    for name in proto.output:
        if name not in made:
            tensors.refuse(where, f"its output {quoted(name)} is never made")
    defaults: dict[str, Attribute] = {}
    for attribute in proto.attribute_proto:
        name = tensors.text(attribute.name, where)
        at = f"{where}.{name}"
        defaults[name] = value_of(attribute, kind_of(attribute, tensors, at), tensors, at, at)
    declared = {*proto.attribute, *defaults}
    for node in nodes:
        for name, source in node.references:
            if source not in declared:
                message = f"its attribute {brief(name)} refers to {quoted(source)}, which {where} does not declare"
                tensors.notices.add("undeclared-attribute", node.label, message)
    versions = {normal_domain(opset.domain): opset.version for opset in proto.opset_import}
    heads = Heads()
    for index, node in enumerate(nodes):
        heads.add(node.name, node.inputs, node.outputs, index)
    return Function(where, tuple(proto.input), tuple(proto.output), nodes, heads, defaults, versions, own, size)


def _calls(proto: Any, functions: Mapping[Key, Any]) -> tuple[int, Counter[Key]]:
    """How much work a body is, in nodes, subgraphs included, and how often it calls each function.

    Everything a call goes through again counts, not nodes alone: a function of one node with a million inputs, or with
    a branch of a million initializers, is no small one.
    """
    count = (len(proto.input) + len(proto.output) + len(proto.attribute_proto)) // _LIGHT
    calls: Counter[Key] = Counter()
    bodies = [proto.node]
    while bodies:
        for node in bodies.pop():
            count += 1 + (len(node.input) + len(node.output) + len(node.attribute)) // _LIGHT
            key = (normal_domain(node.domain), node.op_type, node.overload)
            if key in functions:
                calls[key] += 1
            for attribute in node.attribute:
                for graph in (*attribute.graphs, *([attribute.g] if attribute.HasField("g") else [])):
                    bodies.append(graph.node)
                    count += graph.ByteSize() // _BYTES
    return count, calls


def _sizes(bodies: Mapping[Key, tuple[int, Counter[Key]]], path: str) -> dict[Key, int]:
    """Size of each function written out, by memoised product: calls x size of what is called."""
    sizes: dict[Key, int] = {}
    depths: dict[Key, int] = {}
    open_now: set[Key] = set()
    for start in bodies:
        stack = [start]
        while stack:
            key = stack[-1]
            if key in sizes:
                stack.pop()
                continue
            count, calls = bodies[key]
            if key not in open_now:
                open_now.add(key)
                for called in calls:
                    if called in open_now:
                        what = "calls itself" + (f" through {label(key)}" if key != called else "")
                        raise LoadError(f"the function {what}; no runtime can run it", file=path, where=label(called))
                    if called not in sizes:
                        stack.append(called)
                if stack[-1] != key:
                    continue
            open_now.discard(key)
            stack.pop()
            sizes[key] = min(count + sum(times * sizes[called] for called, times in calls.items()), _ENOUGH)
            depths[key] = 1 + max((depths[called] for called in calls), default=0)
            if depths[key] > DEEPEST:
                raise LoadError(f"functions call each other more than {DEEPEST} deep", file=path, where=label(key))
    return sizes

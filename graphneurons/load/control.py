"""If, Loop and Scan written out with the ops of `graphneurons.graph.CONTROL`. Semantics: onnx operator documentation.

A handler writes the bodies' ops and the ops that join them, and returns None; or it changes nothing and returns the
reason why the op stays closed (its arity disagrees with its bodies').
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from graphneurons.graph import Attribute
from graphneurons.load.frames import Frame
from graphneurons.load.nodes import Node

if TYPE_CHECKING:
    from graphneurons.load.flatten import Flattening

Handler = Callable[
    ["Flattening", Node, str, tuple[str, ...], Mapping[str, Attribute], Frame, Callable[[str], Frame]], str | None
]


def flatten_if(
    flat: Flattening, node: Node, name: str, inputs: tuple[str, ...], attributes: Mapping[str, Attribute],
    frame: Frame, below: Callable[[str], Frame],
) -> str | None:  # fmt: skip
    """Both branches, then one Merge per output: which branch runs is not known."""
    graphs = dict(node.graphs)
    branches = [(branch, graphs[branch]) for branch in ("then_branch", "else_branch") if branch in graphs]
    if len(branches) != 2 or len(graphs) != 2:
        return "a branch is missing"
    if any(len(graph.output) < len(node.outputs) for _, graph in branches):
        return "a branch has fewer outputs than the op"
    if any(len(graph.input) for _, graph in branches):
        return "a branch has inputs"
    results = []
    for branch, graph in branches:
        inner = below(branch)
        flat.write(flat.open_graph(graph, inner), inner)
        results.append(flat.outputs(graph, inner))
    for index, output in enumerate(node.outputs):
        if output:
            sources = [result[index] for result in results]
            flat.control("Merge", _numbered(name, index), sources, frame.names[output], node, frame)
    return None


def flatten_loop(
    flat: Flattening, node: Node, name: str, inputs: tuple[str, ...], attributes: Mapping[str, Attribute],
    frame: Frame, below: Callable[[str], Frame],
) -> str | None:  # fmt: skip
    """The body once. States become Carry, the number of the iteration and the condition come from Iteration."""
    body = dict(node.graphs).get("body")
    initial = inputs[2:]
    states = len(initial)
    if body is None or len(node.graphs) != 1:
        return "its body is missing"
    if len(inputs) < 2 or len(body.input) != 2 + states:
        return f"{states} states are passed to a body of {len(body.input)} inputs"
    if len(body.output) < 1 + states or len(node.outputs) > len(body.output) - 1:
        return f"the body's {len(body.output)} outputs do not match"
    if not all(initial):
        return "a state has no initial value"
    if _has_defaults(body):
        return "an input of the body is an initializer too"
    inner = below("body")
    carried = _Carried(flat, node, name, body, 2, 1, initial, inner)
    for value in body.input[:2]:
        flat.control("Iteration", f"{name}/{value.name}", (), inner.names[value.name], node, inner)
    carried.write()
    results = flat.outputs(body, inner)
    outputs = [frame.names[output] for output in node.outputs]
    carried.finish(outputs, results[1:], frame)
    for index in range(states, len(outputs)):
        if outputs[index]:
            source = (results[1 + index],)
            flat.control("Stack", _numbered(name, index), source, outputs[index], node, frame, {"axis": 0})
    return None


def flatten_scan(
    flat: Flattening, node: Node, name: str, inputs: tuple[str, ...], attributes: Mapping[str, Attribute],
    frame: Frame, below: Callable[[str], Frame],
) -> str | None:  # fmt: skip
    """The body once. Scanned inputs are unstacked, states carried, scanned outputs stacked.

    Scan-8 also maps over a batch (axis 0 of every operand, its first operand being the lengths): one more Unstack and
    Stack each.
    """
    body = dict(node.graphs).get("body")
    scanned = attributes.get("num_scan_inputs")
    if body is None or len(node.graphs) != 1:
        return "its body is missing"
    batched = frame.versions.get("") == 8
    operands = inputs[1:] if batched else inputs
    if not isinstance(scanned, int) or not 0 <= scanned <= len(operands) or len(body.input) != len(operands):
        return f"{len(operands)} operands are passed to a body of {len(body.input)} inputs"
    states = len(operands) - scanned
    if len(body.output) < states or len(node.outputs) > len(body.output):
        return f"the body's {len(body.output)} outputs do not match"
    if not all(operands):
        return "an operand is left out"
    if _has_defaults(body):
        return "an input of the body is an initializer too"
    axes_in = _axes(attributes.get("scan_input_axes"), scanned)
    axes_out = _axes(attributes.get("scan_output_axes"), len(body.output) - states)
    if axes_in is None or axes_out is None:
        return "its axes do not match its operands"
    inner = below("body")
    if batched:
        operands = tuple(_each(flat, node, name, value, body.input[i].name, inner) for i, value in enumerate(operands))
    carried = _Carried(flat, node, name, body, 0, 0, operands[:states], inner)
    for index, axis in enumerate(axes_in):
        value = body.input[states + index].name
        flat.control(
            "Unstack", f"{name}/{value}", (operands[states + index],), inner.names[value], node, inner, {"axis": axis}
        )
    carried.write()
    results = flat.outputs(body, inner)
    outputs = [frame.names[output] for output in node.outputs]
    made = [flat.new_value(f"{output}/each", inner) if output else "" for output in outputs] if batched else outputs
    carried.finish(made, results, frame)
    for index in range(states, len(made)):
        if made[index]:
            along = {"axis": axes_out[index - states]}
            flat.control("Stack", _numbered(name, index), (results[index],), made[index], node, frame, along)
    for index, each in enumerate(made) if batched else ():
        if each:
            flat.control("Stack", f"{name}/{index}/all", (each,), outputs[index], node, frame, {"axis": 0})
    return None


class _Carried:
    """The states of a Loop or Scan. A state the body returns unchanged is no state: it goes by its outer name."""

    def __init__(
        self, flat: Flattening, node: Node, name: str, body: Any, first_input: int, first_output: int,
        initial: Sequence[str], inner: Frame,
    ) -> None:  # fmt: skip
        self._flat, self._node, self._name, self._inner = flat, node, name, inner
        self._initial = tuple(initial)
        self._inputs = [value.name for value in body.input[first_input : first_input + len(initial)]]
        self._returned = [value.name for value in body.output[first_output : first_output + len(initial)]]
        passes = passed_through(body)
        self._fixed = [
            passes.get(back, back) == value for value, back in zip(self._inputs, self._returned, strict=True)
        ]
        given = {
            value: start for value, start, fixed in zip(self._inputs, self._initial, self._fixed, strict=True) if fixed
        }
        self._body = flat.open_graph(body, inner, given)

    def write(self) -> None:
        """The Carry ops, then the body."""
        for value, back, start, fixed in zip(self._inputs, self._returned, self._initial, self._fixed, strict=True):
            if not fixed:
                feedback = self._flat.resolve(back, self._inner, self._node.label)
                self._flat.control(
                    "Carry", f"{self._name}/{value}", (start,), self._inner.names[value], self._node, self._inner,
                    {"feedback": feedback},
                )  # fmt: skip
        self._flat.write(self._body, self._inner)

    def finish(self, outputs: Sequence[str], results: Sequence[str], frame: Frame) -> None:
        """The states after the last iteration, under their flat names; the initial ones if there was none, so Merge."""
        for index, (start, fixed) in enumerate(zip(self._initial, self._fixed, strict=True)):
            if index >= len(outputs) or not outputs[index]:
                continue
            output = outputs[index]
            name = _numbered(self._name, index)
            if fixed:
                self._flat.identity(name, start, output, self._node, frame)
            else:
                self._flat.control("Merge", name, (start, results[index]), output, self._node, frame)


def passed_through(graph: Any) -> dict[str, str]:
    """Value -> the value it is a copy of, through Identity and through Loops that return a state unchanged."""
    copies: dict[str, str] = {}
    for proto in graph.node:
        if proto.domain not in ("", "ai.onnx"):
            continue
        if proto.op_type == "Identity" and len(proto.input) == 1 and len(proto.output) == 1:
            copies[proto.output[0]] = proto.input[0]
        elif proto.op_type == "Loop":
            bodies = [attribute.g for attribute in proto.attribute if attribute.name == "body"]
            copies.update(_unchanged(proto, bodies[0]) if bodies else {})
    resolved: dict[str, str] = {}
    for value in copies:
        path: dict[str, None] = {}
        at = value
        while at in copies and at not in resolved and at not in path:
            path[at] = None
            at = copies[at]
        resolved.update(dict.fromkeys(path, resolved.get(at, at)))
    return resolved


def _unchanged(proto: Any, body: Any) -> dict[str, str]:
    inner = passed_through(body)
    states = zip(proto.input[2:], proto.output, body.input[2:], body.output[1:], strict=False)
    return {after: before for before, after, value, back in states if inner.get(back.name, back.name) == value.name}


def _has_defaults(body: Any) -> bool:
    stored = {tensor.name for tensor in body.initializer} | {tensor.values.name for tensor in body.sparse_initializer}
    return any(value.name in stored for value in body.input)


def _axes(declared: Attribute | None, count: int) -> Sequence[int] | None:
    if declared is None:
        return (0,) * count
    if not isinstance(declared, tuple) or len(declared) != count:
        return None
    return [axis for axis in declared if isinstance(axis, int)]


def _each(flat: Flattening, node: Node, name: str, value: str, label: str, inner: Frame) -> str:
    """One element of the batch."""
    each = flat.new_value(f"{name}/{label}/each", inner)
    flat.control("Unstack", each, (value,), each, node, inner, {"axis": 0})
    return each


def _numbered(name: str, index: int) -> str:
    return f"{name}/{index}" if index else f"{name}/out"


HANDLERS: dict[str, Handler] = {"If": flatten_if, "Loop": flatten_loop, "Scan": flatten_scan}

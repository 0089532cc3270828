"""A `torch.export.ExportedProgram` to a `ModelGraph`. Parameters keep their names, nothing is decomposed."""

from __future__ import annotations

import operator
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from graphneurons.graph import ModelGraph, ModelInfo, Value, WeightRef
from graphneurons.load.aliasing import hidden_writes
from graphneurons.load.programs import Argument, Body, Call, Program, Ref, written
from graphneurons.load.resident import dtype_name, held, identity

if TYPE_CHECKING:
    from torch.export import ExportedProgram
    from torch.fx import GraphModule, Node

UNBACKED = 16
"""The size a dimension is given that only data decide (the number of nonzero elements, say)."""

_TENSORS = ("Tensor", "Tensor[]", "Tensor?[]", "List[Tensor]", "List[Optional[Tensor]]", "Optional[Tensor]")


def from_exported(program: ExportedProgram, path: str = "<ExportedProgram>") -> ModelGraph:
    """The architecture graph of an exported program. Weights are references to its tensors, never copies."""
    import torch

    traced = read_graph(program.graph_module)
    if hidden_writes(traced):
        # Functionalised: what is written through a view is otherwise not seen where the viewed tensor is read.
        program = program.run_decompositions({})
        traced = read_graph(program.graph_module)
    signature = program.graph_signature
    weights: dict[str, WeightRef] = {}
    aliases: dict[str, str] = {}
    known: dict[object, str] = {}
    for spec in signature.input_specs:
        if spec.target is None or not hasattr(spec.arg, "name"):
            continue
        tensor = program.state_dict.get(spec.target)
        if tensor is None:
            tensor = program.constants.get(spec.target)
        if not isinstance(tensor, torch.Tensor):
            continue
        name = known.setdefault(identity(tensor), spec.target)
        aliases[spec.arg.name] = name
        if name not in weights:
            weights[name] = held(name, tensor, spec.kind.name == "PARAMETER")
    kept = {value.name for spec in signature.input_specs if (value := spec.arg) and hasattr(value, "name")}
    returned = [
        spec.arg.name
        for spec in signature.output_specs
        if spec.kind.name == "USER_OUTPUT" and hasattr(spec.arg, "name")
    ]
    traced = Program(
        tuple(name for name in traced.inputs if name in kept and (name in aliases or name in traced.values)),
        traced.calls,
        tuple(Ref(name) for name in returned),
        traced.values,
    )
    info = ModelInfo(path, f"torch.export {torch.__version__}", 0, (("aten", 0),), 0)
    return written(traced, info, weights, aliases)


def read_graph(module: GraphModule) -> Program:
    """The graph of ``module`` and of the subgraphs its higher-order operators call."""
    return _Reader(module).program()


class _Reader:
    def __init__(self, module: GraphModule) -> None:
        self.module = module
        self.values: dict[str, Value] = {}
        self.inputs: list[str] = []
        self.outputs: tuple[Argument, ...] = ()

    def program(self) -> Program:
        calls: list[Call] = []
        for node in self.module.graph.nodes:
            if node.op == "placeholder":
                self.inputs.append(node.name)
                self._note(node.name, node.meta.get("val"))
            elif node.op == "output":
                found = self._argument(node.args[0])
                self.outputs = found if isinstance(found, tuple) else (found,)
            elif node.op == "call_function" and node.target is not operator.getitem:
                call = self._call(node)
                if call is not None:
                    calls.append(call)
        return Program(tuple(self.inputs), tuple(calls), self.outputs, self.values)

    def _call(self, node: Node) -> Call | None:
        value = node.meta.get("val")
        several = isinstance(value, (tuple, list))
        results: tuple[str, ...]
        if several:
            results = self._several(node, value)
        elif _is_tensor(value):
            results = (node.name,)
            self._note(node.name, value)
        elif value is None and getattr(node.target, "namespace", "") == "higher_order":
            results = ()
        else:
            return None  # a size, a condition, an assertion: no tensor
        return Call(node.name, target_name(node.target), tuple(self._arguments(node)), results, scope_of(node))

    def _several(self, node: Node, value: Any) -> tuple[str, ...]:
        names = [""] * len(value)
        for user in node.users:
            if user.target is operator.getitem and isinstance(user.args[1], int):
                at = user.args[1]
                if _is_tensor(value[at]):
                    names[at] = names[at] or user.name
                    self._note(names[at], value[at])
        return tuple(names)

    def _arguments(self, node: Node) -> Iterator[tuple[str, Argument]]:
        import torch

        if not isinstance(node.target, torch._ops.OpOverload):
            for index, argument in enumerate(node.args):
                yield f"arg{index}", self._argument(argument)
            for name, argument in node.kwargs.items():
                yield name, self._argument(argument)
            return
        for index, parameter in enumerate(node.target._schema.arguments):
            given = index < len(node.args) and not parameter.kwarg_only
            argument = node.args[index] if given else node.kwargs.get(parameter.name)
            is_tensor = str(parameter.type) in _TENSORS
            if argument is None and not is_tensor:
                continue
            yield parameter.name, self._argument(argument)

    def _argument(self, argument: Any) -> Argument:
        import torch

        if isinstance(argument, torch.fx.Node):
            if argument.op == "get_attr":
                return self._attribute(argument)
            value = argument.meta.get("val")
            if _is_tensor(value) or (argument.op == "placeholder" and value is None):
                return Ref(self._first(argument))
            return self._argument(value)
        if isinstance(argument, (tuple, list)):
            return tuple(self._argument(item) for item in argument)
        if isinstance(argument, (torch.SymInt, torch.SymFloat, torch.SymBool)):
            return size_of(argument)
        if argument is None or isinstance(argument, (bool, int, float, str)):
            return argument
        if isinstance(argument, torch.dtype):
            return dtype_name(argument)
        if isinstance(argument, (torch.device, torch.layout, torch.memory_format)):
            return str(argument)
        if isinstance(argument, torch.fx.GraphModule):
            return Body(read_graph(argument))
        return None

    def _first(self, node: Node) -> str:
        """The name of a value: of several getitems of one place, the first."""
        if node.target is operator.getitem:
            source, at = node.args
            for user in getattr(source, "users", ()):
                if user.target is operator.getitem and user.args[1] == at:
                    return str(user.name)
        return node.name

    def _attribute(self, node: Node) -> Argument:
        import torch

        found: Any = self.module
        for part in str(node.target).split("."):
            found = getattr(found, part, None)
        return Body(read_graph(found)) if isinstance(found, torch.fx.GraphModule) else None

    def _note(self, name: str, value: Any) -> None:
        if _is_tensor(value):
            self.values[name] = Value(name, dtype_name(value.dtype), tuple(size_of(size) for size in value.shape))


def target_name(target: Any) -> str:
    """``aten.linear.default`` for an operator, ``higher_order.cond`` for a higher-order one, else its own name."""
    namespace = getattr(target, "namespace", None)
    if namespace is not None and hasattr(target, "_schema"):
        return f"{namespace}.{target._schema.name.partition('::')[2]}.{target._overloadname}"
    if namespace is not None:
        return f"{namespace}.{target.name() if callable(getattr(target, 'name', None)) else target.__name__}"
    return f"python.{getattr(target, '__name__', str(target))}"


def scope_of(node: Node) -> tuple[str, ...]:
    """The path of the module a node was called in, as attribute names."""
    stack: Mapping[str, Any] = node.meta.get("nn_module_stack") or {}
    if not stack:
        return ()
    path = str(list(stack.values())[-1][0]).partition("@")[0]
    return tuple(part for part in path.split(".") if part)


def _is_tensor(value: Any) -> bool:
    import torch

    return isinstance(value, torch.Tensor)


def size_of(size: Any) -> int:
    """A size as a number: a symbolic one has the size it was traced with."""
    if isinstance(size, int):
        return size
    node = size.node
    if node.hint is not None:
        return int(node.hint)
    expression = node.expr
    hints = (
        node.shape_env.backed_var_to_val if hasattr(node.shape_env, "backed_var_to_val") else node.shape_env.var_to_val
    )
    return int(expression.xreplace({s: hints.get(s, UNBACKED) for s in expression.free_symbols}))

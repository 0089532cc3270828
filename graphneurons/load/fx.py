"""A `torch.fx` graph to a `ModelGraph`. Fake tensors are sent through it, node by node: they have shapes and no values.

A module of the table `graphneurons.load.leaves` becomes one op of the domain ``torch.nn``, its parameters operands;
everything else a node calls is written down as the ATen operators it makes, so functions need no table of their own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, partial
from typing import TYPE_CHECKING, Any

from graphneurons.errors import UsageError
from graphneurons.graph import ModelGraph, ModelInfo, Notice, Value, WeightRef
from graphneurons.load.aliasing import hidden_writes
from graphneurons.load.export import scope_of, size_of, target_name
from graphneurons.load.fakes import Fakes
from graphneurons.load.leaves import is_alike, leaf_call, leaf_shape
from graphneurons.load.programs import Argument, Call, Program, Ref, written
from graphneurons.load.resident import dtype_name, held, identity

if TYPE_CHECKING:
    import torch
    from torch import nn
    from torch.fx import Graph, Node


def from_module(module: nn.Module, args: Sequence[Any], kwargs: Mapping[str, Any], path: str) -> ModelGraph:
    """The graph of ``module`` (traced symbolically if it is no `GraphModule` yet) called with these arguments."""
    import torch

    # What `torch.fx.symbolic_trace` does besides is to write and compile a forward, which is never called here.
    graph = module.graph if isinstance(module, torch.fx.GraphModule) else torch.fx.Tracer().trace(module)
    walk = _Walk(module)
    given = _bound(graph, args, kwargs, path)
    with torch.no_grad():
        program = walk.program(graph, given)
    notices = [
        Notice(
            "in-place-view",
            call.name,
            f"{call.target} writes over memory that is read elsewhere; trace with how='export'",
        )
        for call in hidden_writes(program)
    ]
    info = ModelInfo(path, f"torch.fx {torch.__version__}", 0, (("aten", 0),), 0)
    return written(program, info, walk.weights, {name: name for name in walk.weights}, notices)


def _bound(graph: Graph, args: Sequence[Any], kwargs: Mapping[str, Any], path: str) -> dict[str, Any]:
    """Placeholder -> argument. Raises `UsageError` that says what the module wants."""
    wanted = [node for node in graph.nodes if node.op == "placeholder"]
    names = [str(node.target).lstrip("*") for node in wanted]
    if len(args) > len(names) or any(name not in names for name in kwargs):
        raise UsageError(
            f"takes {', '.join(names)}; given {len(args)} arguments and {', '.join(kwargs) or 'no names'}", file=path
        )
    found: dict[str, Any] = dict(zip(names, args, strict=False))
    found.update(kwargs)
    for node, name in zip(wanted, names, strict=True):
        if name not in found and node.args:
            found[name] = node.args[0]
        elif name not in found and "val" in node.meta:
            found[name] = node.meta["val"]
        elif name not in found:
            raise UsageError(f"input {name!r} is missing; the module takes {', '.join(names)}", file=path)
    return {node.name: found[name] for node, name in zip(wanted, names, strict=True)}


class _Walk:
    """One walk over a graph: which fake tensor has which name, and the calls so far."""

    def __init__(self, module: nn.Module) -> None:
        import torch

        self.module = module
        self.fakes = Fakes()
        self.weights: dict[str, WeightRef] = {}
        self.values: dict[str, Value] = {}
        self.calls: list[Call] = []
        self._tensor = torch.Tensor
        self._recorder = _recorder(self)
        self._names: dict[int, str] = {}
        self._alive: list[Any] = []
        self._first: dict[object, str] = {}
        self._stored: dict[object, torch.Tensor] = {}
        self._trainable = {id(parameter) for parameter in module.parameters()}
        self._label = ""
        self._scope: tuple[str, ...] = ()

    def program(self, graph: Graph, given: Mapping[str, Any]) -> Program:
        from torch.fx.node import map_arg

        env: dict[Node, Any] = {}
        inputs: list[str] = []
        outputs: tuple[Argument, ...] = ()
        for node in graph.nodes:
            if node.op == "placeholder":
                env[node] = self._fake_input(given[node.name])
                if isinstance(env[node], self._tensor):
                    inputs.append(node.name)
                    self._name(env[node], node.name)
            elif node.op == "get_attr":
                env[node] = self._attribute(str(node.target))
            elif node.op == "output":
                found = self.argument(map_arg(node.args[0], env.__getitem__))
                outputs = found if isinstance(found, tuple) else (found,)
            else:
                args = map_arg(node.args, env.__getitem__)
                kwargs = map_arg(node.kwargs, env.__getitem__)
                env[node] = self._run(node, args, kwargs)
        return Program((*self.weights, *inputs), tuple(self.calls), tuple(outputs), self.values)

    def _fake_input(self, value: Any) -> Any:
        return self.fakes.mode.from_tensor(value) if isinstance(value, self._tensor) else value

    def _name(self, tensor: torch.Tensor, name: str) -> str:
        self._names[id(tensor)] = name
        self._alive.append(tensor)
        self._noted(tensor, name)
        return name

    def _noted(self, tensor: torch.Tensor, name: str) -> None:
        self.values[name] = Value(name, dtype_name(tensor.dtype), tuple(map(size_of, tensor.shape)))

    def _attribute(self, target: str) -> Any:
        found: Any = self.module
        for part in target.split("."):
            found = getattr(found, part)
        return self.weight(found, target) if isinstance(found, self._tensor) else found

    def weight(self, tensor: torch.Tensor, name: str) -> torch.Tensor:
        """The fake tensor that stands for a parameter or buffer; tied ones share it, and the first name."""
        key = self._known(tensor, name)
        fake = self._stored.get(key)
        if fake is None:
            fake = self._stored[key] = self.fakes.of(tensor)
            self._names[id(fake)] = self._first[key]
        return fake

    def _known(self, tensor: torch.Tensor, name: str) -> object:
        """The identity of a parameter or buffer; it is called by the first name that it was met under."""
        key = identity(tensor)
        first = self._first.setdefault(key, name)
        if first not in self.weights:
            self.weights[first] = held(first, tensor, id(tensor) in self._trainable)
            self._noted(tensor, first)
        return key

    def _run(self, node: Node, args: Any, kwargs: Any) -> Any:
        """The value of a node; the operators it calls are written down."""
        target: Any = node.target
        if node.op == "call_module":
            return self._module(target, node.name, args, kwargs)
        if node.op == "call_method":
            call = partial(getattr(args[0], target), *args[1:], **kwargs)
        else:
            call = partial(target, *args, **kwargs)
        return self._recorded(call, node.name, scope_of(node))

    def _module(self, target: str, label: str, args: Any, kwargs: Any) -> Any:
        module = self.module.get_submodule(target)
        scope = tuple(target.split("."))
        own = {name: (tensor, f"{target}.{name}") for name, tensor in _own(module)}
        names = {name: Ref(self._first[self._known(*each)]) for name, each in own.items()}
        leaf = leaf_call(module, label, args, kwargs, names, scope, self.argument)
        if leaf is not None:
            value = self._told(module, leaf, args, (tensor for tensor, _ in own.values()))
            if value is not None:
                return self._leaf(leaf, value)
        stored = {name: self.weight(*each) for name, each in own.items()}
        call = partial(_functional, module, stored, args, kwargs)
        if leaf is None:
            return self._recorded(call, label, scope)
        with self.fakes.mode:
            return self._leaf(leaf, call())

    def _told(self, module: nn.Module, leaf: Call, args: Any, stored: Iterable[torch.Tensor]) -> Any:
        """What a module of the table returns, None if it has to be called to tell."""
        import torch

        x = args[0]
        if is_alike(leaf):
            if self.fakes.is_ordered(x):
                return self.fakes.made(tuple(x.shape), x)
            with self.fakes.mode:
                return torch.empty_like(x)
        if not self.fakes.is_ordered(x) or not self.fakes.agree(x, stored):
            return None
        shape = leaf_shape(module, tuple(x.shape))
        return None if shape is None else self.fakes.made(shape, x)

    def _leaf(self, call: Call, value: Any) -> Any:
        """The results of a module, under the names its call has for them."""
        flat = [item for item in _flat(value) if isinstance(item, self._tensor)]
        for name, tensor in zip(call.results, flat, strict=False):
            self._name(tensor, name)
        self.calls.append(call)
        return value

    def _recorded(self, call: Callable[[], Any], label: str, scope: tuple[str, ...]) -> Any:
        """What ``call`` returns; the operators it calls are written down, under the name of its node."""
        first = len(self.calls)
        self._label, self._scope = label, scope
        with self.fakes.mode, self._recorder:
            value = call()
        if len(self.calls) > first:
            self._rename(first, value, label)
        return value

    def note(self, target: str, arguments: tuple[tuple[str, Argument], ...], value: Any) -> None:
        """Writes one operator down. Its results get names of the node they belong to, and a number."""
        label = f"{self._label}.{len(self.calls)}"
        results = []
        for index, item in enumerate(_flat(value)):
            name = f"{label}.{index}" if index else label
            results.append(self._name(item, name) if isinstance(item, self._tensor) else "")
        if any(results):
            self.calls.append(Call(label, target, arguments, tuple(results), self._scope))

    def arguments(
        self, operator: _Operator, args: Sequence[Any], kwargs: Mapping[str, Any]
    ) -> Iterator[tuple[str, Argument]]:
        """The arguments of an operator by the names of its schema; those left out are left out."""
        for index, (name, by_name, is_tensor) in enumerate(operator.parameters):
            given = args[index] if index < len(args) and not by_name else kwargs.get(name)
            if given is not None or is_tensor:
                yield name, self.argument(given)

    def argument(self, value: Any) -> Argument:
        """A value as an argument: tensors by name."""
        if isinstance(value, self._tensor):
            name = self._names.get(id(value))
            if name is None:
                # A tensor made outside of the graph: a constant of the Python code.
                fake = self.weight(value, f"constant_{len(self.weights)}")
                name = self._names[id(fake)]
            return Ref(name)
        if isinstance(value, (bool, int, float, str)):
            return value
        if isinstance(value, (tuple, list)):
            return tuple(self.argument(item) for item in value)
        import torch

        if isinstance(value, (torch.SymInt, torch.SymFloat, torch.SymBool)):
            return size_of(value)
        return dtype_name(value) if isinstance(value, torch.dtype) else None

    def _rename(self, first: int, value: Any, name: str) -> None:
        """Gives the results of a node the node's own name, where they were made by it."""
        made = {result for call in self.calls[first:] for result in call.results}
        renamed: dict[str, str] = {}
        for index, item in enumerate(_flat(value)):
            old = self._names.get(id(item), "")
            if old in made and isinstance(item, self._tensor):
                renamed[old] = name if not index else f"{name}.out{index}"
                self._name(item, renamed[old])
                self.values.pop(old, None)
        if not renamed:
            return
        for at in range(first, len(self.calls)):
            call = self.calls[at]
            results = tuple(renamed.get(result, result) for result in call.results)
            arguments = tuple((key, _renamed(argument, renamed)) for key, argument in call.arguments)
            label = name if name in results else call.name
            self.calls[at] = Call(label, call.target, arguments, results, call.scope)


@dataclass(frozen=True, slots=True)
class _Operator:
    """``parameters``: name, whether it is given by name alone, and whether it is a tensor or has some."""

    target: str
    parameters: tuple[tuple[str, bool, bool], ...]


@cache
def _operator(func: Any) -> _Operator:
    parameters = ((each.name, each.kwarg_only, "Tensor" in str(each.type)) for each in func._schema.arguments)
    return _Operator(target_name(func), tuple(parameters))


def _recorder(walk: _Walk) -> Any:
    """A mode that hands every operator that is called to ``walk``."""
    from torch.utils._python_dispatch import TorchDispatchMode

    class Recorder(TorchDispatchMode):  # type: ignore[no-untyped-call, unused-ignore]
        @classmethod
        def _should_skip_dynamo(cls) -> bool:
            return False  # Nothing is compiled here, so nothing has to be kept from the compiler.

        def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            operator, kwargs = _operator(func), kwargs or {}
            if operator.target == _DEVICE:
                return args[0].device
            arguments = tuple(walk.arguments(operator, args, kwargs))
            value = walk.fakes.told(operator.target, func, args, kwargs)
            if value is None:
                value = func(*args, **kwargs)
            walk.note(operator.target, arguments, value)
            return value

    mode: Any = Recorder
    return mode()


_DEVICE = "prim.device.default"
"""Fake tensors ask for their own device by calling it."""


def _own(module: nn.Module) -> Iterator[tuple[str, torch.Tensor]]:
    yield from module.named_parameters()
    yield from module.named_buffers()


def _functional(module: Any, stored: Any, args: Any, kwargs: Any) -> Any:
    import torch

    call: Any = torch.func.functional_call
    return call(module, stored, args, kwargs, tie_weights=False)


def _renamed(argument: Argument, names: Mapping[str, str]) -> Argument:
    if isinstance(argument, Ref):
        return Ref(names.get(argument.name, argument.name))
    return tuple(_renamed(item, names) for item in argument) if isinstance(argument, tuple) else argument


def _flat(value: Any) -> list[Any]:
    """All leaves of nested results, in order."""
    if isinstance(value, Mapping):
        value = tuple(value.values())
    if not isinstance(value, (tuple, list)):
        return [value]
    return [leaf for item in value for leaf in _flat(item)]

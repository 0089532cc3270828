"""A `torch.fx` graph to a `ModelGraph`. Fake tensors are sent through it, node by node: they have shapes and no values.

A module of the table `graphneurons.load.leaves` becomes one op of the domain ``torch.nn``, its parameters operands;
everything else a node calls is written down as the ATen operators it makes, so functions need no table of their own.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

from graphneurons.errors import UsageError
from graphneurons.graph import ModelGraph, ModelInfo, Notice, Value, WeightRef
from graphneurons.load.aliasing import hidden_writes
from graphneurons.load.export import scope_of, size_of, target_name
from graphneurons.load.leaves import is_alike, leaf_call
from graphneurons.load.programs import Argument, Call, Program, Ref, written
from graphneurons.load.resident import dtype_name, held, identity

if TYPE_CHECKING:
    import torch
    from torch import nn
    from torch.fx import GraphModule, Node


def from_module(module: nn.Module, args: Sequence[Any], kwargs: Mapping[str, Any], path: str) -> ModelGraph:
    """The graph of ``module`` (traced symbolically if it is no `GraphModule` yet) called with these arguments."""
    import torch

    traced = module if isinstance(module, torch.fx.GraphModule) else torch.fx.symbolic_trace(module, concrete_args=None)
    walk = _Walk(traced)
    given = _bound(traced, args, kwargs, path)
    with torch.no_grad():
        program = walk.program(given)
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


def _bound(module: GraphModule, args: Sequence[Any], kwargs: Mapping[str, Any], path: str) -> dict[str, Any]:
    """Placeholder -> argument. Raises `UsageError` that says what the module wants."""
    wanted = [node for node in module.graph.nodes if node.op == "placeholder"]
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

    def __init__(self, module: GraphModule) -> None:
        from torch._subclasses import FakeTensorMode

        self.module = module
        self.fake = FakeTensorMode(allow_non_fake_inputs=True)
        self.weights: dict[str, WeightRef] = {}
        self.values: dict[str, Value] = {}
        self.calls: list[Call] = []
        self._names: dict[int, str] = {}
        self._alive: list[Any] = []
        self._first: dict[object, str] = {}
        self._stored: dict[object, torch.Tensor] = {}
        self._trainable = {id(parameter) for parameter in module.parameters()}

    def program(self, given: Mapping[str, Any]) -> Program:
        import torch

        env: dict[Node, Any] = {}
        inputs: list[str] = []
        outputs: tuple[Argument, ...] = ()
        for node in self.module.graph.nodes:
            if node.op == "placeholder":
                env[node] = self._fake_input(given[node.name])
                if isinstance(env[node], torch.Tensor):
                    inputs.append(node.name)
                    self._name(env[node], node.name)
            elif node.op == "get_attr":
                env[node] = self._attribute(str(node.target))
            elif node.op == "output":
                found = self.argument(torch.fx.node.map_arg(node.args[0], env.__getitem__))
                outputs = found if isinstance(found, tuple) else (found,)
            else:
                args = torch.fx.node.map_arg(node.args, env.__getitem__)
                kwargs = torch.fx.node.map_arg(node.kwargs, env.__getitem__)
                env[node] = self._run(node, args, kwargs)
        return Program((*self.weights, *inputs), tuple(self.calls), tuple(outputs), self.values)

    def _fake_input(self, value: Any) -> Any:
        import torch

        return self.fake.from_tensor(value) if isinstance(value, torch.Tensor) else value

    def _name(self, tensor: torch.Tensor, name: str) -> str:
        self._names[id(tensor)] = name
        self._alive.append(tensor)
        self._noted(tensor, name)
        return name

    def _noted(self, tensor: torch.Tensor, name: str) -> None:
        self.values[name] = Value(name, dtype_name(tensor.dtype), tuple(size_of(size) for size in tensor.shape))

    def _attribute(self, target: str) -> Any:
        import torch

        found: Any = self.module
        for part in target.split("."):
            found = getattr(found, part)
        return self.weight(found, target) if isinstance(found, torch.Tensor) else found

    def weight(self, tensor: torch.Tensor, name: str) -> torch.Tensor:
        """The fake tensor that stands for a parameter or buffer; tied ones share it, and the first name."""
        import torch

        first, key = self._known(tensor, name), identity(tensor)
        if key not in self._stored:
            fake = self.fake.from_tensor(tensor.detach() if isinstance(tensor, torch.nn.Parameter) else tensor)
            self._stored[key] = fake
            self._name(fake, first)
        return self._stored[key]

    def _known(self, tensor: torch.Tensor, name: str) -> str:
        """The name of a parameter or buffer: the first that it was met under."""
        first = self._first.setdefault(identity(tensor), name)
        if first not in self.weights:
            self.weights[first] = held(first, tensor, id(tensor) in self._trainable)
            self._noted(tensor, first)
        return first

    def _run(self, node: Node, args: Any, kwargs: Any) -> Any:
        """The value of a node; the operators it calls are written down."""
        import torch

        scope = scope_of(node)
        target: Any = node.target
        if node.op == "call_module":
            scope = tuple(target.split("."))
            module = self.module.get_submodule(target)
            own = {name: (tensor, f"{target}.{name}") for name, tensor in _own(module)}
            names = {name: Ref(self._known(*each)) for name, each in own.items()}
            leaf = leaf_call(module, node.name, args, kwargs, names, scope, self.argument)
            if leaf is not None and is_alike(leaf):
                with self.fake:
                    return self._leaf(leaf, torch.empty_like(args[0]))
            call = partial(_functional, module, {name: self.weight(*each) for name, each in own.items()}, args, kwargs)
            if leaf is not None:
                with self.fake:
                    return self._leaf(leaf, call())
        elif node.op == "call_method":
            call = partial(getattr(args[0], target), *args[1:], **kwargs)
        else:
            call = partial(target, *args, **kwargs)
        first = len(self.calls)
        with self.fake, self._recorded(node.name, scope):
            value = call()
        self._rename(first, value, node.name)
        return value

    def _leaf(self, call: Call, value: Any) -> Any:
        """The results of a module, under the names its call has for them."""
        import torch

        flat = [item for item in _flat(value) if isinstance(item, torch.Tensor)]
        for name, tensor in zip(call.results, flat, strict=False):
            self._name(tensor, name)
        self.calls.append(call)
        return value

    @contextmanager
    def _recorded(self, label: str, scope: tuple[str, ...]) -> Iterator[None]:
        from torch.utils._python_dispatch import TorchDispatchMode

        walk = self

        class Recorder(TorchDispatchMode):  # type: ignore[no-untyped-call, unused-ignore]
            def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
                arguments = tuple(walk.arguments(func, args, kwargs or {}))
                value = func(*args, **(kwargs or {}))
                walk.note(func, arguments, value, label, scope)
                return value

        mode: Any = Recorder
        with mode():
            yield

    def note(
        self, func: Any, arguments: tuple[tuple[str, Argument], ...], value: Any, label: str, scope: tuple[str, ...]
    ) -> None:
        """Writes one operator down. Its results get names of the node they belong to, and a number."""
        import torch

        number = len(self.calls)
        results = []
        for index, item in enumerate(_flat(value)):
            name = f"{label}.{number}" + (f".{index}" if index else "")
            results.append(self._name(item, name) if isinstance(item, torch.Tensor) else "")
        if any(results):
            self.calls.append(Call(f"{label}.{number}", target_name(func), arguments, tuple(results), scope))

    def arguments(self, func: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Iterator[tuple[str, Argument]]:
        """The arguments of an operator by the names of its schema; those left out are left out."""
        for index, parameter in enumerate(func._schema.arguments):
            given = args[index] if index < len(args) and not parameter.kwarg_only else kwargs.get(parameter.name)
            if given is None and "Tensor" not in str(parameter.type):
                continue
            yield parameter.name, self.argument(given)

    def argument(self, value: Any) -> Argument:
        """A value as an argument: tensors by name."""
        import torch

        if isinstance(value, torch.Tensor):
            name = self._names.get(id(value))
            if name is None:
                # A tensor made outside of the graph: a constant of the Python code.
                fake = self.weight(value, f"constant_{len(self.weights)}")
                name = self._names[id(fake)]
            return Ref(name)
        if isinstance(value, (tuple, list)):
            return tuple(self.argument(item) for item in value)
        if isinstance(value, (torch.SymInt, torch.SymFloat, torch.SymBool)):
            return size_of(value)
        if isinstance(value, torch.dtype):
            return dtype_name(value)
        return value if isinstance(value, (bool, int, float, str)) else None

    def _rename(self, first: int, value: Any, name: str) -> None:
        """Gives the results of a node the node's own name, where they were made by it."""
        import torch

        renamed: dict[str, str] = {}
        for index, item in enumerate(_flat(value)):
            old = self._names.get(id(item)) if isinstance(item, torch.Tensor) else None
            if (
                old is not None
                and old.startswith(f"{name}.")
                and any(old in call.results for call in self.calls[first:])
            ):
                renamed[old] = name if not index else f"{name}.out{index}"
                self._name(item, renamed[old])
                self.values.pop(old, None)
        for at in range(first, len(self.calls)):
            call = self.calls[at]
            results = tuple(renamed.get(result, result) for result in call.results)
            arguments = tuple((key, _renamed(argument, renamed)) for key, argument in call.arguments)
            label = name if name in results else call.name
            self.calls[at] = Call(label, call.target, arguments, results, call.scope)


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

"""Runs a PyTorch model up to one value: its traced graph is cut there and called, in eval mode, without gradients."""

from __future__ import annotations

import copy
import inspect
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any

import numpy as np

from graphneurons.analysis import Analysis, Layer
from graphneurons.analyzing import analyze
from graphneurons.errors import DataError, GraphNeuronsError, LoadError, UsageError
from graphneurons.finding import find_layer
from graphneurons.graph import ModelGraph, Value
from graphneurons.load.resident import dtype_name, identity, is_empty
from graphneurons.probing.choosing import Chosen, choose
from graphneurons.probing.feeding import ONLY, Array, Batching, Feed, matched
from graphneurons.probing.settling import (
    DEFAULT_BATCH,
    Reading,
    Runner,
    Settled,
    checked,
    choices,
    settle,
    told_of_second,
    untold,
)
from graphneurons.probing.untrained import Draws, draws
from graphneurons.probing.wishing import Opened, Wish
from graphneurons.tracing import failure, imported, name_of, plain_attention

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True, slots=True, eq=False)
class Traced:
    """A traced model: ``module``, a GraphModule; ``stored``: those of its placeholders that are weights, and ``names``:
    what these are called in the graph; ``placeholders``: argument of ``forward`` -> placeholder."""

    graph: ModelGraph
    module: Any
    stored: Mapping[str, torch.Tensor]
    names: Mapping[str, str]
    placeholders: Mapping[str, str]


def from_torch(model: Any, wish: Wish) -> Opened:
    """A module (or an ExportedProgram) ready to run up to a layer. Raises `UsageError`, `DataError` and `LoadError`.

    A module is traced with the first rows of the data as its example, and run on batches of just that size: a trace may
    hold for no other. Where its rows lie along the second axis (see `graphneurons.probing.settling.settle`), that is
    found by tracing it again.
    """
    torch = imported()
    if isinstance(model, torch.export.ExportedProgram):
        return _of_program(model, wish)
    if not isinstance(model, torch.nn.Module):
        raise UsageError(
            f"{type(model).__name__} is no model; give a path, an Analysis, an nn.Module, a GraphModule, an "
            "ExportedProgram or a ModelProto"
        )
    if isinstance(model, torch.jit.ScriptModule):
        raise UsageError(
            "TorchScript is not traced; give the module it was made of, or export the model to ONNX",
            file=name_of(model),
        )
    if any(is_empty(tensor) for tensor in (*model.parameters(), *model.buffers())):
        raise UsageError("its weights have no values (meta device); load them first", file=name_of(model))
    with _evaluating(model), plain_attention():
        return _of_module(model, wish)


@contextmanager
def _evaluating(module: Any) -> Iterator[None]:
    """``module`` in eval mode, and every part of it afterwards in the mode it was in."""
    before = [(part, part.training) for part in module.modules()]
    module.eval()
    try:
        yield
    finally:
        for part, training in before:
            part.training = training


def _of_program(program: Any, wish: Wish) -> Opened:
    traced = _exported(program, "<ExportedProgram>")
    analysis = analyze(traced.graph, dims=wish.dims)
    layer, chosen = _chosen(analysis, wish)
    part = _cut(traced, chosen.value, layer)
    feeds = matched(wish.data, analysis.graph.inputs, part.inputs, analysis.model.path)
    reading = Reading(analysis, layer, chosen.value, feeds, wish.dims)
    runner, notices = part.runner(analysis, wish, chosen)
    return _opened(reading, chosen, settle(reading, runner, wish.batch), runner, notices)


def _of_module(module: Any, wish: Wish) -> Opened:
    """Traces with rows along one choice of axes after another, until they can be followed to the layer."""
    given = _fed(module, wish.data)
    rows = len(given[0].rows)
    size = wish.batch or max(2, min(DEFAULT_BATCH, rows))
    why: UsageError | None = None
    for axes in choices(given):
        arrays = Batching(size, axes).picked(given, [min(at, rows - 1) for at in range(size)])
        try:
            traced = _trace(module, arrays)
        except LoadError:
            if why is None:
                raise
            continue
        analysis = analyze(traced.graph, dims=wish.dims)
        layer, chosen = _chosen(analysis, wish)
        part = _cut(traced, chosen.value, layer)
        by_name = {value.name: value for value in analysis.graph.inputs}
        pairs = [(feed.name, traced.placeholders.get(feed.name, feed.name), feed.rows) for feed in given]
        used = {name: Feed(by_name[inside], held) for name, inside, held in pairs if inside in part.inputs}
        if not used:
            raise UsageError("it does not depend on any input", file=analysis.model.path, where=layer.id)
        reading = Reading(analysis, layer, chosen.value, list(used.values()), wish.dims)
        batching = Batching(size, {feed.name: axes[name] for name, feed in used.items()})
        runner, notices = part.runner(analysis, wish, chosen)
        found = reading.settled(batching)
        found = checked(reading, found, runner) if isinstance(found, Settled) else found
        if isinstance(found, Settled):
            notice = told_of_second(reading, batching.axes)
            return _opened(reading, chosen, found, runner, (notice, *notices))
        why = why or untold(reading, found, second=False)
    assert why is not None
    raise why


def _opened(
    reading: Reading, chosen: Chosen, settled: Settled, runner: Runner, notices: tuple[str, ...]
) -> Opened:
    return Opened(reading, chosen, settled, runner, tuple(filter(None, (settled.notice, *notices))))


def _chosen(analysis: Analysis, wish: Wish) -> tuple[Layer, Chosen]:
    layer = find_layer(analysis, wish.layer)
    return layer, choose(analysis, layer, after=wish.after)


def _fed(module: Any, data: Mapping[str, Array]) -> list[Feed]:
    """The data by the names of ``forward``'s arguments, floats in the type of the module's own. Raises `UsageError`."""
    torch = imported()
    path = name_of(module)
    parameters = _parameters(module)
    names = [item.name for item in parameters]
    given = dict(data)
    if len(given) == 1 and next(iter(given)) not in names and (ONLY in given or len(names) == 1) and names:
        given = {names[0]: next(iter(given.values()))}
    for name in given:
        if name not in names and names:
            near = get_close_matches(name, names, 3, 0.4) or names[:4]
            raise UsageError(f"no input is called {name!r}; near it are {', '.join(near)}", file=path)
    missing = [item.name for item in parameters if item.default is item.empty and item.name not in given]
    if missing:
        raise UsageError(f"no data for input {missing[0]!r}; forward takes {', '.join(names)}", file=path)
    floating = next((t.dtype for t in module.parameters() if t.is_floating_point()), torch.float32)
    values = []
    for name in sorted(given, key=names.index) if names else given:
        array = given[name]
        kind = np.asarray(array).dtype.kind
        wanted = {"f": dtype_name(floating), "i": "int64", "u": "int64", "b": "bool"}.get(kind, "")
        # numpy has no bfloat16: such inputs are handed over as float32 and cast on the way.
        values.append(Value(name, "float32" if wanted == "bfloat16" else wanted, None))
    return matched(given, values, list(given), path)


def _parameters(module: Any) -> list[inspect.Parameter]:
    """The named arguments of ``forward``, in the order of its signature: torch.export keeps to it."""
    found = inspect.signature(module.forward).parameters.values()
    return [item for item in found if item.kind not in _VARIADIC]


_VARIADIC = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)


def _trace(module: Any, arrays: Mapping[str, Array]) -> Traced:
    """``module`` traced by torch.export, or by torch.fx where that fails. Raises `LoadError`."""
    from graphneurons.load.fx import from_module

    torch = imported()
    like = next(iter(module.parameters()), None)
    example = {name: _tensor(array, like) for name, array in arrays.items()}
    # By position where that is possible: arguments that are collected by a star have no names.
    names = [item.name for item in _parameters(module) if item.kind != item.KEYWORD_ONLY]
    first = not names or names[: len(example)] == list(example)
    args, kwargs = (tuple(example.values()), {}) if first else ((), example)
    try:
        with warnings.catch_warnings():
            # What torch.export says of how a module holds its weights is no news to who probes it.
            warnings.simplefilter("ignore")
            program = torch.export.export(module, args, kwargs, strict=False)
        return _exported(program, name_of(module), list(example))
    except GraphNeuronsError:
        raise
    except Exception as error:
        untraced = LoadError(failure(error, False), file=name_of(module))
    try:
        traced = module if isinstance(module, torch.fx.GraphModule) else torch.fx.symbolic_trace(module)
        placeholders = {
            str(node.target).lstrip("*"): node.name for node in traced.graph.nodes if node.op == "placeholder"
        }
        return Traced(from_module(traced, args, kwargs, name_of(module)), traced, {}, {}, placeholders)
    except Exception:
        raise untraced from None


def _exported(program: Any, path: str, arguments: Sequence[str] = ()) -> Traced:
    """``arguments``: what the program was called with, by name and in order."""
    from graphneurons.load.aliasing import hidden_writes
    from graphneurons.load.export import from_exported, read_graph

    torch = imported()
    if hidden_writes(read_graph(program.graph_module)):
        program = program.run_decompositions({})
    stored: dict[str, Any] = {}
    names: dict[str, str] = {}
    known: dict[object, str] = {}
    for spec in program.graph_signature.input_specs:
        tensor = program.state_dict.get(spec.target, program.constants.get(spec.target)) if spec.target else None
        if isinstance(tensor, torch.Tensor):
            stored[spec.arg.name] = tensor
            names[spec.arg.name] = known.setdefault(identity(tensor), spec.target)
    inputs = [str(name) for name in program.graph_signature.user_inputs]
    placeholders = dict(zip(arguments, inputs, strict=True)) if arguments else {}
    return Traced(from_exported(program, path), program.graph_module, stored, names, placeholders)


def _tensor(array: Array, like: Any) -> Any:
    """``array`` on the device of the weight ``like``, and floats in its type."""
    tensor = imported().from_numpy(np.array(array))
    if like is None:
        return tensor
    floating = tensor.is_floating_point() and like.is_floating_point()
    return tensor.to(like.device, like.dtype if floating else tensor.dtype)


@dataclass(frozen=True, slots=True, eq=False)
class Part:
    """A traced model up to one value. ``placeholders``: what its graph is called with; ``inputs``: which of the model's
    inputs it needs."""

    traced: Traced
    graph: Any
    placeholders: tuple[str, ...]
    inputs: tuple[str, ...]

    def runner(self, analysis: Analysis, wish: Wish, chosen: Chosen) -> tuple[Runner, tuple[str, ...]]:
        """What runs the part, of the model as it is or of its untrained copy; with notices about that copy."""
        drawn = None if wish.untrained is None else draws(analysis, wish.untrained, chosen.value)
        return _Runner(self, drawn, analysis.model.path), drawn.notices if drawn else ()


def _cut(traced: Traced, value: str, layer: Layer) -> Part:
    """The graph of ``traced`` with ``value`` for its output. Raises `UsageError` where no node of it makes that."""
    torch = imported()
    if value not in {node.name for node in traced.module.graph.nodes}:
        raise UsageError(
            "PyTorch computes it inside one call, where it cannot be read (a layer of a stacked LSTM but the last, a "
            "branch, a loop); probe what that call puts out, or export the model to ONNX",
            where=layer.id,
        )
    graph: Any = torch.fx.Graph()
    made: dict[Any, Any] = {}
    for node in traced.module.graph.nodes:
        made[node] = graph.node_copy(node, made.__getitem__)
        if node.name == value:
            graph.output(made[node])
            break
    graph.eliminate_dead_code()
    # A copy of a node may have another name ("input" is taken in a fresh graph), but it is at the same place.
    placeholders = {node.name: bool(copied.users) for node, copied in made.items() if node.op == "placeholder"}
    needed = tuple(name for name, used in placeholders.items() if used and name not in traced.stored)
    return Part(traced, graph, tuple(placeholders), needed)


class _Runner:
    """Calls the part with arrays by input name. Raises `DataError` where PyTorch cannot run it."""

    def __init__(self, part: Part, drawn: Draws | None, path: str) -> None:
        torch = imported()
        module, self._stored = part.traced.module, dict(part.traced.stored)
        if drawn is not None:
            self._stored = {
                name: _redrawn(tensor, part.traced.names[name], drawn) for name, tensor in self._stored.items()
            }
            module = _redrawn_module(module, drawn)
        self._module = torch.fx.GraphModule(module, part.graph)
        self._names = part.placeholders
        self._like = next(iter((*self._stored.values(), *module.parameters())), None)
        self._path = path

    def __call__(self, feeds: Mapping[str, Array]) -> Array:
        torch = imported()
        tensors = [
            self._stored[name] if name in self._stored else _tensor(feeds[name], self._like) if name in feeds else None
            for name in self._names
        ]
        try:
            with torch.no_grad():
                found = self._module(*tensors)
        except Exception as error:
            shapes = ", ".join(f"{name} {list(array.shape)}" for name, array in feeds.items())
            line = next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
            raise DataError(f"PyTorch cannot run it on {shapes}: {line[:300]}", file=self._path) from None
        while isinstance(found, (tuple, list)):
            found = found[0]
        array: Array = found.detach().to("cpu", torch.float32).numpy()
        return array


def _redrawn(tensor: Any, name: str, drawn: Draws) -> Any:
    """A copy of ``tensor`` with its elements drawn anew; itself where it stays."""
    torch = imported()
    if not drawn.concerns(name):
        return tensor
    if tensor.is_floating_point():
        return torch.from_numpy(drawn.numbers(name, tuple(tensor.shape))).to(tensor.device, tensor.dtype)
    order = torch.from_numpy(drawn.order(name, tensor.numel())).to(tensor.device)
    return tensor.reshape(-1)[order].reshape(tensor.shape)


def _redrawn_module(module: Any, drawn: Draws) -> Any:
    """A copy of a module that holds its own weights, with these drawn anew."""
    torch = imported()
    held = [(name, tensor) for name, tensor in (*module.named_parameters(), *module.named_buffers())]
    if not any(drawn.concerns(name) for name, _ in held):
        return module
    other = copy.deepcopy(module)
    with torch.no_grad():
        for name, tensor in (*other.named_parameters(), *other.named_buffers()):
            tensor.copy_(_redrawn(tensor, name, drawn))
    return other

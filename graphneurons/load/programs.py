"""A traced program, whoever traced it: calls of operators by name, with arguments by the names of their schema.

`torch.export`, a ``.pt2`` archive and `torch.fx` are all read into a `Program`; `written` makes the `ModelGraph` of it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Union

from graphneurons.errors import LoadError
from graphneurons.graph import CONTROL, Attribute, ModelGraph, ModelInfo, Notice, Op, Value, WeightRef
from graphneurons.load.frames import FreeNames

DEEPEST = 32
"""How deep subgraphs may be nested."""


@dataclass(frozen=True, slots=True)
class Ref:
    """A tensor of the program, by name."""

    name: str


@dataclass(frozen=True, slots=True)
class Body:
    """A subgraph handed to a higher-order operator."""

    program: Program


Argument = Union[Ref, Body, int, float, str, None, tuple["Argument", ...]]  # noqa: UP007 - recursive by name


@dataclass(frozen=True, slots=True)
class Call:
    """``target`` is ``namespace.name.overload``; ``results`` are value names, ``""`` where one is never used."""

    name: str
    target: str
    arguments: tuple[tuple[str, Argument], ...]
    results: tuple[str, ...]
    scope: tuple[str, ...] = ()

    @property
    def key(self) -> tuple[str, str]:
        """Domain and type of the op: the overload is dropped, and the underscore of ops that write in place."""
        return _key(self.target)

    @property
    def in_place(self) -> bool:
        """Whether the op writes its result over its first operand."""
        return _in_place(self.target)


@lru_cache(1024)
def _key(target: str) -> tuple[str, str]:
    if target.startswith("torch.nn."):
        return "torch.nn", target.removeprefix("torch.nn.")
    domain, _, rest = target.partition(".")
    name = rest.partition(".")[0]
    return domain, name if name.endswith("__") else name.rstrip("_") or name


@lru_cache(1024)
def _in_place(target: str) -> bool:
    name = target.split(".")[1] if "." in target else ""
    return name.endswith("_") and not name.endswith("__")


@dataclass(frozen=True)
class Program:
    """``inputs``: names in order; ``outputs``: what is returned; ``values``: types and shapes of tensors."""

    inputs: tuple[str, ...]
    calls: tuple[Call, ...]
    outputs: tuple[Argument, ...]
    values: Mapping[str, Value] = field(default_factory=dict)


Names = Mapping[str, str]


def written(
    program: Program, info: ModelInfo, weights: Mapping[str, WeightRef], aliases: Names, notices: Sequence[Notice] = ()
) -> ModelGraph:
    """``program`` with its subgraphs entered. ``weights``: name -> stored tensor; ``aliases``: input of the program ->
    the name of the weight it is (tied weights share one). Raises `LoadError`."""
    writer = Writer(info.path)
    for name in weights:
        writer.free.take(name, "")
    given = {name: aliases.get(name) or writer.value(name, "") for name in program.inputs}
    results = writer.write(program, given, "", ())
    inputs = tuple(
        _renamed(program.values.get(name) or Value(name, "", None), given[name])
        for name in program.inputs
        if name not in aliases
    )
    used = {name for op in writer.ops for name in op.inputs}.union(results)
    return ModelGraph(
        info,
        tuple(writer.ops),
        inputs,
        tuple(dict.fromkeys(name for name in results if name)),
        {name: ref for name, ref in weights.items() if name in used},
        writer.declared,
        (*notices, *writer.notices),
    )


def _renamed(value: Value, name: str) -> Value:
    return Value(name, value.dtype, value.shape)


class Writer:
    """Writes calls as ops, entering subgraphs. Every value of the flat graph has one name."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.ops: list[Op] = []
        self.declared: dict[str, Value] = {}
        self.notices: list[Notice] = []
        self.free = FreeNames()
        self._op_names = FreeNames()
        self._attributes: dict[str, Mapping[str, Attribute]] = {}
        self._depth = 0

    def value(self, name: str, prefix: str) -> str:
        """A name for a value that is not taken yet."""
        return self.free.take(name, prefix)

    def write(self, program: Program, given: Names, prefix: str, scope: tuple[str, ...]) -> list[str]:
        """Writes all calls; ``given``: input -> flat name. Returns the flat names of the outputs (``""``: none)."""
        from graphneurons.load.higher_order import HANDLERS
        from graphneurons.load.spelled_out import EXPANSIONS

        if self._depth >= DEEPEST:
            raise LoadError(f"subgraphs are nested deeper than {DEEPEST}", file=self.path, where=prefix)
        self._depth += 1
        frame = dict(given)
        for call in program.calls:
            handler = HANDLERS.get(call.target.removesuffix(".default"))
            closed = handler(self, call, program, frame, prefix, scope) if handler else "no handler"
            if closed is None:
                continue
            expand = EXPANSIONS.get(call.target)
            for part in expand(call) if expand else (call,):
                self._op(part, program, frame, prefix, scope)
        self._depth -= 1
        return [self.flat(item, frame) for item in program.outputs]

    def flat(self, argument: Argument, frame: Names) -> str:
        """The flat name of a tensor argument, ``""`` for anything else."""
        return frame.get(argument.name, "") if isinstance(argument, Ref) else ""

    def define(self, name: str, program: Program, frame: dict[str, str], prefix: str) -> str:
        """The flat name of a result of ``program``, with what is known of it."""
        flat = frame[name] = self.value(name, prefix)
        known = program.values.get(name)
        if known is not None:
            self.declared[flat] = known if flat == known.name else _renamed(known, flat)
        return flat

    def control(self, kind: str, name: str, inputs: Iterable[str], output: str, scope: tuple[str, ...],
                attributes: Mapping[str, Attribute] | None = None) -> None:  # fmt: skip
        """An op of the domain `CONTROL`."""
        taken = self._op_names.take(name, "")
        self.ops.append(Op(taken, kind, CONTROL, tuple(inputs), (output,), dict(attributes or {}), scope))

    def _op(self, call: Call, program: Program, frame: dict[str, str], prefix: str, scope: tuple[str, ...]) -> None:
        domain, kind = call.key
        inputs: list[str] = []
        attributes: dict[str, Attribute] = {}
        for name, argument in call.arguments:
            if isinstance(argument, Ref):
                if argument.name not in frame:
                    raise LoadError(f"reads {argument.name!r}, which nothing makes", file=self.path, where=call.name)
                inputs.append(frame[argument.name])
            elif argument is None:
                inputs.append("")
            elif isinstance(argument, tuple) and any(isinstance(item, Ref) for item in argument):
                inputs.extend(self.flat(item, frame) for item in argument)
            elif not isinstance(argument, Body):
                kept = attribute(argument)
                if kept is not None:
                    attributes[name] = kept
        while inputs and not inputs[-1]:
            inputs.pop()
        first = next((argument for _, argument in call.arguments), None)
        outputs = tuple(self.define(name, program, frame, prefix) if name else "" for name in call.results)
        if call.in_place and isinstance(first, Ref) and outputs:
            frame[first.name] = outputs[0]
        op_name = self._op_names.take(call.name, prefix)
        # Ops that have the same attributes share one mapping of them, by which they are found to be alike.
        shared = self._attributes.setdefault(repr(attributes), attributes)
        self.ops.append(Op(op_name, kind, domain, tuple(inputs), outputs, shared, (*scope, *call.scope)))


def attribute(argument: Argument) -> Attribute | None:
    """``argument`` as an attribute, None where it is of no kind attributes have."""
    if isinstance(argument, (int, float, str)):
        return int(argument) if isinstance(argument, bool) else argument
    if not isinstance(argument, tuple):
        return None
    items: list[Any] = [int(item) if isinstance(item, bool) else item for item in argument]
    if all(isinstance(item, str) for item in items) or all(isinstance(item, int) for item in items):
        return tuple(items)
    return tuple(float(item) for item in items) if all(isinstance(item, (int, float)) for item in items) else None

"""The architecture graph: ops, values and lazy references to weights. Only this module knows networkx attributes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from math import prod
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from graphneurons.quick import quick

if TYPE_CHECKING:
    import networkx

NOTHING: Mapping[str, Attribute] = MappingProxyType({})

CONTROL = "graphneurons"
"""Domain of the ops the loader writes where it flattens control flow:

``Merge(a, b, ...)``    one of the inputs, chosen while the model runs (outputs of If; state after a Loop)
``Carry(initial)``      a state carried by Loop or Scan; attribute ``feedback`` names the value that comes back
``Stack(value)``        the value of every iteration, stacked along attribute ``axis``
``Unstack(value)``      one slice per iteration, taken along attribute ``axis``
``Iteration()``         the iteration number or the loop condition: a scalar made by the loop itself
``Entry()``             an input of a subgraph nobody in the file calls with known arguments (BeamSearch's decoder)
"""


@quick
@dataclass(frozen=True, slots=True)
class Inline:
    """Bytes small enough to be kept. ``encoding``: ``raw`` (little endian) or the TensorProto field they came from."""

    data: bytes
    encoding: str = "raw"


@quick
@dataclass(frozen=True, slots=True)
class FileSlice:
    """Bytes inside the model file itself: ``length`` bytes from ``offset``."""

    path: str
    offset: int
    length: int
    encoding: str = "raw"


@dataclass(frozen=True, slots=True)
class External:
    """Bytes in another file: ``location`` is relative to ``directory`` and already proved to stay inside it."""

    directory: str
    location: str
    offset: int
    length: int
    present: bool


@dataclass(frozen=True, slots=True)
class Filled:
    """No bytes at all: every element has this value (ConstantOfShape)."""

    value: float | int


@dataclass(frozen=True, slots=True)
class Sparse:
    """Values and their coordinates (onnx SparseTensorProto). Never made dense to analyze."""

    values: WeightRef
    indices: WeightRef


@dataclass(frozen=True, slots=True)
class InMemory:
    """Elements that live in this process: ``array()`` gives them as a numpy array, without a copy where it can."""

    array: Callable[[], Any] = field(compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Absent:
    """A tensor without elements: on the meta device, fake, or pickled (pickles are never opened). ``why`` says so."""

    why: str


Storage = Inline | FileSlice | External | Filled | Sparse | InMemory | Absent


@quick
@dataclass(frozen=True, slots=True)
class WeightRef:
    """A stored constant tensor: what it is called, what it looks like and where its bytes lie.

    ``dtype`` is the ONNX name in lower case (``float32``, ``bfloat16``, ``int4``, ``float8e4m3fn``, ``string``).
    ``trainable``: True for a parameter, False for a buffer, None where the format does not tell them apart (ONNX).
    """

    name: str
    dtype: str
    shape: tuple[int, ...]
    storage: Storage
    trainable: bool | None = None

    @property
    def elements(self) -> int:
        return prod(self.shape)

    @property
    def is_integer(self) -> bool:
        return self.dtype.startswith(("int", "uint", "bool"))


Attribute = (
    int | float | str | WeightRef | tuple[int, ...] | tuple[float, ...] | tuple[str, ...] | tuple[WeightRef, ...]
)


@quick
@dataclass(frozen=True, slots=True)
class Op:
    """One node. ``inputs`` and ``outputs`` are value names, ``""`` where an optional one is left out.

    ``name`` is unique in the graph (the node's own name where it has one that is free); ``scope`` is the path of module
    names the exporter recorded, outermost first; ``version`` is what the file declares of the op's domain (or 0).
    """

    name: str
    type: str
    domain: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: Mapping[str, Attribute] = field(default_factory=lambda: NOTHING)
    scope: tuple[str, ...] = ()
    version: int = 0

    @property
    def output(self) -> str:
        """Name of the first output that is not left out (``""`` if there is none)."""
        outputs = self.outputs
        return outputs[0] if outputs and outputs[0] else next(filter(None, outputs), "")

    @property
    def qualified(self) -> str:
        """The op's type with its domain, as users write it: ``Conv``, ``com.microsoft.FusedConv``."""
        return f"{self.domain}.{self.type}" if self.domain else self.type


Dim = int | str | None
"""A size, the name of a dynamic dimension, or nothing known."""


@quick
@dataclass(frozen=True, slots=True)
class Value:
    """What a file declares of a tensor that flows: ``shape`` is None if not even its rank is known."""

    name: str
    dtype: str
    shape: tuple[Dim, ...] | None


@dataclass(frozen=True, slots=True)
class Notice:
    """Something odd that does not stop the analysis. ``code`` is stable, ``message`` one line."""

    code: str
    where: str
    message: str


@dataclass(frozen=True, slots=True)
class ModelInfo:
    """Where a model came from. ``opsets`` are (domain, version) pairs as declared."""

    path: str
    producer: str = ""
    ir_version: int = 0
    opsets: tuple[tuple[str, int], ...] = ()
    bytes: int = 0


@dataclass(frozen=True)
class ModelGraph:
    """A whole model, flattened: control flow and local functions are entered, every value has one name.

    ``ops``      in an order in which every op comes after the ops it reads (a Carry's feedback excepted)
    ``inputs``   what the caller feeds, in the file's order
    ``outputs``  value names, in the file's order
    ``weights``  value name -> stored tensor, for initializers and Constant ops alike (Constant ops are not in ``ops``)
    ``declared`` what the file says of other values (value_info, outputs)
    ``notices``  oddities met while loading
    """

    info: ModelInfo
    ops: tuple[Op, ...]
    inputs: tuple[Value, ...]
    outputs: tuple[str, ...]
    weights: Mapping[str, WeightRef]
    declared: Mapping[str, Value] = field(default_factory=dict)
    notices: tuple[Notice, ...] = ()

    @cached_property
    def producer(self) -> Mapping[str, Op]:
        """Value name -> the op that computes it."""
        return {name: op for op in self.ops for name in op.outputs if name}

    @cached_property
    def consumers(self) -> Mapping[str, tuple[Op, ...]]:
        """Value name -> the ops that read it, in graph order, each once."""
        readers = readers_of((op, op.inputs) for op in self.ops)
        readers.pop("", None)
        return readers

    @cached_property
    def nx(self) -> networkx.MultiDiGraph:
        """The graph in networkx, built when first asked for.

        Nodes are keyed ``("op", name)`` and ``("value", name)``; edges run value -> op (attribute ``input``: operand
        index) and op -> value (``output``: result index). Node attributes:

        ========= ==============================================================================================
        op        ``kind="op"``, ``type``, ``domain``, ``scope``, ``attributes``
        value     ``kind="weight" | "input" | "value"``, ``dtype``, ``shape`` (None where the file does not say),
                  and ``weight`` (the `WeightRef`) on weights; ``is_output`` is True on outputs of the model
        ========= ==============================================================================================
        """
        from networkx import MultiDiGraph

        graph = MultiDiGraph(name=self.info.path)
        kept = set(self.outputs)
        inputs = {value.name: value for value in self.inputs}

        def add_value(name: str) -> tuple[str, str]:
            key = ("value", name)
            if key in graph:
                return key
            ref = self.weights.get(name)
            if ref is not None:
                graph.add_node(key, kind="weight", dtype=ref.dtype, shape=ref.shape, weight=ref, is_output=name in kept)
                return key
            value = inputs.get(name) or self.declared.get(name)
            graph.add_node(
                key,
                kind="input" if name in inputs else "value",
                dtype=value.dtype if value else None,
                shape=value.shape if value else None,
                is_output=name in kept,
            )
            return key

        for name in (*inputs, *self.weights):
            add_value(name)
        for op in self.ops:
            node = ("op", op.name)
            graph.add_node(
                node, kind="op", type=op.type, domain=op.domain, scope=op.scope, attributes=dict(op.attributes)
            )
            for index, name in enumerate(op.inputs):
                if name:
                    graph.add_edge(add_value(name), node, input=index)
            for index, name in enumerate(op.outputs):
                if name:
                    graph.add_edge(node, add_value(name), output=index)
        return graph


def readers_of(reading: Iterable[tuple[Op, Iterable[str]]]) -> dict[str, tuple[Op, ...]]:
    """Value name -> the ops that read it, each once, of ops in order with the names each reads."""
    # Most values have one reader: what an op reads alone shares one tuple of it.
    readers: dict[str, tuple[Op, ...]] = {}
    several: dict[str, list[Op]] = {}
    for op, names in reading:
        alone = (op,)
        for name in names:
            first = readers.setdefault(name, alone)
            if first is not alone:
                found = several.setdefault(name, [*first])
                if found[-1] is not op:
                    found.append(op)
    readers.update((name, tuple(found)) for name, found in several.items())
    return readers

"""Writes a model's graphs out as one flat list of ops: subgraphs and local functions are entered, names made unique."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import chain
from typing import Any, NamedTuple

from graphneurons.graph import CONTROL, NOTHING, Attribute, Op, Value, WeightRef
from graphneurons.load.control import HANDLERS
from graphneurons.load.frames import Frame, FreeNames
from graphneurons.load.functions import Function, Key, label
from graphneurons.load.nodes import Node, constant_of, heads_of, read_node, read_rest
from graphneurons.load.notices import Notices
from graphneurons.load.repeats import Heads, Repeats
from graphneurons.load.scopes import from_name
from graphneurons.load.tensors import Tensors
from graphneurons.load.values import value_of
from graphneurons.load.wording import brief, quoted

DEEPEST = 32
EXPANSION = 500_000
"""Ops that calls of local functions may add to those the file holds. Beyond it, calls stay calls."""


class Body(NamedTuple):
    """The nodes of a graph or function, read when they are asked for, and for each the op name it was promised (empty:
    one is made up). ``plain``: every name that is read in it is defined in it and means itself."""

    heads: Heads
    promised: Sequence[str]
    node: Callable[[int], Node]
    plain: bool = False


class Kind(NamedTuple):
    """What an op has from its node, names and scope apart."""

    type: str
    domain: str
    attributes: Mapping[str, Attribute]
    version: int


class Flattening:
    """The flat graph while it is being written. ``ops`` come in file order, each subgraph before what it belongs to."""

    def __init__(self, tensors: Tensors, notices: Notices, functions: Mapping[Key, Function]) -> None:
        self.tensors = tensors
        self.notices = notices
        self.ops: list[Op] = []
        self.weights: dict[str, WeightRef] = {}
        self.declared: dict[str, Value] = {}
        self.in_order = False
        """Whether every op is sure to read nothing but what was made before it."""
        self._functions = functions
        self._values = FreeNames()
        self._names = FreeNames()
        self._expansion_left = EXPANSION + sum(function.own for function in functions.values())

    # ---- names -------------------------------------------------------------------------------------------------------

    def open_graph(
        self, graph: Any, frame: Frame, given: Mapping[str, str] | None = None, repeats: Repeats | None = None
    ) -> Body:
        """Define every name of ``graph`` in ``frame``, store its weights, and return its nodes, still unwritten.

        ``given`` are the body's inputs whose values the caller already knows, ``repeats`` is what was not parsed of the
        main graph. Raises `LoadError` on a name that is defined twice and on nesting deeper than `DEEPEST`.
        """
        if frame.depth > DEEPEST:
            self.tensors.refuse(frame.prefix, f"subgraphs and functions are nested more than {DEEPEST} deep")
        given = given or {}
        frame.names.update(given)
        stored = self._initializers(graph, repeats)
        inputs = [self.tensors.text(value.name, "a graph input") for value in graph.input]
        protos = list(graph.node)
        heads = heads_of(protos, repeats)
        outputs = [name for made in heads.outputs for name in made if name]
        if {*map(type, outputs)} - {str}:
            for name in outputs:
                self.tensors.text(name, "a node's output")
        fed = [*stored, *(name for name in inputs if name not in stored)]
        if given:
            fed = [name for name in fed if name not in given]
        defined = {*fed, *outputs}
        if len(defined) != len(fed) + len(outputs) or not defined.isdisjoint(given) or len({*inputs}) != len(inputs):
            self._refuse_twice(inputs, outputs, stored)
        for name in inputs:
            if not name:
                self.tensors.refuse(frame.prefix or "the graph", "an input has no name")
        plain = repeats is not None and repeats.reads_only(defined, fed)
        if repeats is not None and plain:
            frame.names = repeats.names
            self.in_order = repeats.in_order
            self.weights = stored
            self._values.claim_all(defined)
        else:
            self._define_all(fed, outputs, defined, frame)
            self.weights.update((frame.names[name], ref) for name, ref in stored.items() if name not in given)
        self._declare(graph, frame)
        # Names the file gives come before names made up for nameless nodes, hence all at once.
        promised = self._names.claim_each(heads.names)

        def node(index: int) -> Node:
            names, inputs, outputs = heads.names[index], heads.inputs[index], heads.outputs[index]
            return read_rest(protos[heads.sources[index]], names, inputs, outputs, self.tensors)

        return Body(heads, promised, node, plain)

    def _refuse_twice(self, inputs: Sequence[str], outputs: Sequence[str], stored: Mapping[str, WeightRef]) -> None:
        """Each name is defined once (static single assignment); an initializer may give an input its default."""
        made = Counter(outputs)
        twice = next((name for name in (*stored, *inputs) if name in made), None)
        if len(outputs) != len(made):
            twice = next(name for name, count in made.items() if count > 1)
        twice = twice or next((name for name, count in Counter(inputs).items() if count > 1), None)
        if twice is not None:
            self.tensors.refuse(twice, "the value is defined twice; the graph is damaged or was edited by hand")

    def _define_all(self, fed: Sequence[str], outputs: Sequence[str], defined: set[str], frame: Frame) -> None:
        if self._values.claim_all(defined):
            frame.names.update((name, name) for name in defined)
            return
        for name in (*fed, *outputs):
            self._define(name, frame)

    def _define(self, name: str, frame: Frame) -> str:
        found = frame.names[name] = self._values.take(name, frame.prefix)
        return found

    def new_value(self, name: str, frame: Frame) -> str:
        """A value the file does not name, as ``name`` or near it."""
        return self._values.take(name, frame.prefix)

    def _initializers(self, graph: Any, repeats: Repeats | None = None) -> dict[str, WeightRef]:
        stored: dict[str, WeightRef] = {}
        sparse = (
            self.tensors.sparse(tensor, tensor.values.name or "a sparse initializer without a name")
            for tensor in graph.sparse_initializer
        )
        for ref in chain(self.tensors.all_of(graph.initializer, repeats), sparse):
            name = ref.name
            if not name:
                self.tensors.refuse("an initializer", "it has no name, so nothing can read it")
            if name in stored:
                self.tensors.refuse(name, "the initializer is stored twice")
            stored[name] = ref
        return stored

    def _declare(self, graph: Any, frame: Frame) -> None:
        inputs = graph.input if frame.parent is not None else ()
        for infos in (graph.value_info, graph.output, inputs):
            for info in infos:
                name = frame.names.get(self.tensors.text(info.name, "a value"))
                if name and name not in self.declared and name not in self.weights:
                    self.declared[name] = value_of(info, name, self.tensors)

    def resolve(self, name: str, frame: Frame, reader: str) -> str:
        """The flat name of ``name``. Raises `LoadError` naming ``reader`` if nothing defines it."""
        found = frame.find(self.tensors.text(name, reader))
        if found is None:
            self.tensors.refuse(reader, f"reads {quoted(name)}, which nothing in the file makes")
        return found

    # ---- ops ---------------------------------------------------------------------------------------------------------

    def write(self, body: Body, frame: Frame) -> None:
        """Append the ops of ``body``, whose names are defined in ``frame``, with everything inside them."""
        heads, add = body.heads, self.ops.append
        kinds: dict[int, Kind] = {}
        columns = zip(body.promised, heads.names, heads.inputs, heads.outputs, heads.sources, strict=True)
        for index, (promised, own, inputs, outputs, source) in enumerate(columns):
            kind = kinds.get(source)
            if kind is None:
                written = self._write(body.node(index), index, promised, frame)
                if written is not None and body.plain:
                    kinds[source] = written
                continue
            type_, domain, attributes, version = kind
            name = promised or self._names.take("", frame.prefix, own or f"{type_}_{index}")
            scope = from_name(own) if "/" in own else ()
            add(Op(name, type_, domain, inputs, outputs, attributes, scope, version))

    def _write(self, node: Node, index: int, promised: str, frame: Frame) -> Kind | None:
        """Append the ops of one node; returns what those that differ in names alone have in common with it, if all they
        are is one op each."""
        inputs = self._resolved(node, frame)
        called = self._functions.get((node.domain, node.type, node.overload)) if self._functions else None
        attributes = self._attributes(node, frame) if node.references else node.attributes
        if node.type == "Constant" and not node.domain and called is None:
            ref = constant_of(node, attributes, self.tensors)
            self.weights[frame.names[ref.name]] = ref
            return None
        name = promised or self._names.take("", frame.prefix, node.name or f"{node.type}_{index}")
        if called is not None and self._affordable(called, node, frame):
            self.in_order = False
            self._call(called, node, name, inputs, attributes, frame)
            return None
        entered = bool(node.graphs) or node.type in HANDLERS
        self.in_order &= not entered
        if entered and self._entered(node, name, inputs, attributes, frame):
            return None
        if node.overload:
            self._no_overload(node)
        version = frame.versions.get(node.domain)
        if version is None:
            version = 0
            self._undeclared(node.domain)
        outputs = tuple([frame.names[output] for output in node.outputs])
        scope = self.scope(node, frame)
        self.ops.append(Op(name, node.type, node.domain, inputs, outputs, attributes, scope, version))
        alone = node.alone or called or entered or node.overload
        return None if alone else Kind(node.type, node.domain, attributes, version)

    def _resolved(self, node: Node, frame: Frame) -> tuple[str, ...]:
        """The flat names of the inputs of ``node``."""
        try:
            return tuple([frame.names[name] for name in node.inputs])
        except KeyError:
            return tuple([self.resolve(name, frame, node.label) for name in node.inputs])

    def scope(self, node: Node, frame: Frame) -> tuple[str, ...]:
        """A node's own scope; inside a function below the call's, in a subgraph the surrounding op's if it has none."""
        outer = frame.scope
        if not outer or node.scope[: len(outer)] == outer:
            return node.scope
        return outer + node.scope if frame.in_function else node.scope or outer

    def control(
        self, kind: str, name: str, inputs: Iterable[str], output: str, node: Node, frame: Frame,
        attributes: Mapping[str, Attribute] = NOTHING,
    ) -> None:  # fmt: skip
        """Append an op of the loader's own domain (see `graphneurons.graph.CONTROL`)."""
        unique = self._names.take(name, frame.prefix)
        scope = self.scope(node, frame)
        self.ops.append(Op(unique, kind, CONTROL, tuple(inputs), (output,), attributes, scope))

    def identity(self, name: str, value: str, output: str, node: Node, frame: Frame) -> None:
        """Append an Identity: the value goes by another name from here on."""
        unique = self._names.take(name, frame.prefix)
        version = frame.versions.get("", 0)
        self.ops.append(Op(unique, "Identity", "", (value,), (output,), NOTHING, self.scope(node, frame), version))

    def kept(self, node: Node, why: str) -> None:
        """Note that a control-flow op stays closed; its bodies are still checked."""
        self.notices.add("control-flow-kept", node.label, f"{node.type} is not entered: {why}")
        self.check(graph for _, graph in node.graphs)

    def _undeclared(self, domain: str) -> None:
        shown = domain or "ai.onnx"
        self.notices.add("undeclared-domain", shown, "the file imports no operator set of this domain")

    def _no_overload(self, node: Node) -> None:
        if (node.domain, node.type, node.overload) not in self._functions:
            self.notices.add(
                "unknown-overload", node.label, f"the file has no overload {quoted(node.overload)} of {node.type}"
            )

    def _attributes(self, node: Node, frame: Frame) -> Mapping[str, Attribute]:
        """Attributes of a function's node with those of the call filled in; one the call omits is left out."""
        if not frame.in_function:
            self.tensors.refuse(node.label, "an attribute refers to a function's, but the node is in no function")
        given = {}
        for name, source in node.references:
            if source in frame.bound:
                given[name] = frame.bound[source]
            else:
                call = brief(frame.prefix)
                message = f"its attribute {name} is to come from {quoted(source)} of the call {call}, which has none"
                self.notices.add("attribute-not-given", node.label, message)
        return {**node.attributes, **given}

    def _entered(
        self, node: Node, name: str, inputs: tuple[str, ...], attributes: Mapping[str, Attribute], frame: Frame
    ) -> bool:
        """Write out the subgraphs of ``node``; True if they say all there is, so that no op is left to write."""
        prefix = self._names.prefix(name)

        def below(branch: str) -> Frame:
            return Frame(
                frame.versions, frame, f"{prefix}/{branch}", self.scope(node, frame), frame.depth + 1,
                frame.in_function, frame.bound,
            )  # fmt: skip

        handler = HANDLERS.get(node.type) if not node.domain else None
        if handler is not None:
            done = handler(self, node, name, inputs, attributes, frame, below)
            if isinstance(done, str):
                self.kept(node, done)
                return False
            return True
        for branch, graph in node.graphs:
            inner = below(branch)
            body = self.open_graph(graph, inner)
            for value in graph.input:
                entry = inner.names[value.name]
                if entry not in self.weights:
                    self.control("Entry", f"{name}/{branch}/{value.name}", (), entry, node, inner)
            self.write(body, inner)
            self.outputs(graph, inner)
        return False

    def outputs(self, graph: Any, frame: Frame) -> tuple[str, ...]:
        """The flat names of a graph's outputs. Raises `LoadError` for one that is never made."""
        found = []
        for output in graph.output:
            name = frame.find(self.tensors.text(output.name, "a graph output"))
            if not name:
                self.tensors.refuse(output.name or frame.prefix or "the graph", "this output is never made")
            found.append(name)
        return tuple(found)

    # ---- functions ---------------------------------------------------------------------------------------------------

    def _affordable(self, function: Function, node: Node, frame: Frame) -> bool:
        """Whether a call may be written out. What is inside was paid for by the outermost call."""
        if frame.in_function:
            return True
        if function.size > self._expansion_left:
            self.notices.add(
                "function-too-large",
                label((node.domain, node.type, node.overload)),
                f"calls stay calls: written out they would exceed {EXPANSION} ops; what is inside is not labelled",
            )
            return False
        self._expansion_left -= function.size
        return True

    def _call(
        self, function: Function, node: Node, name: str, inputs: tuple[str, ...],
        attributes: Mapping[str, Attribute], frame: Frame,
    ) -> None:  # fmt: skip
        if len(inputs) > len(function.inputs) or len(node.outputs) > len(function.outputs):
            self.tensors.refuse(node.label, f"{function.name} is called with more inputs or outputs than it has")
        inner = Frame(
            function.versions, None, self._names.prefix(name), self.scope(node, frame), frame.depth + 1, True,
            {**function.defaults, **attributes},
        )  # fmt: skip
        if inner.depth > DEEPEST:
            self.tensors.refuse(node.label, f"subgraphs and functions are nested more than {DEEPEST} deep")
        if len(inputs) < len(function.inputs):
            self.notices.add("input-not-given", node.label, f"{function.name} is called with too few inputs")
        inner.names.update(dict.fromkeys(function.inputs, ""))
        inner.names.update(zip(function.inputs, inputs, strict=False))
        wanted = [frame.names[output] for output in node.outputs]
        for formal, output in zip(function.outputs, wanted, strict=False):
            if output:
                inner.names.setdefault(formal, output)
        for inside in function.nodes:
            for output in inside.outputs:
                if output not in inner.names:
                    self._define(output, inner)
        self.check_unpassed(node)
        names = self._names.claim_each(function.heads.names)
        self.write(Body(function.heads, names, function.nodes.__getitem__), inner)
        for formal, output in zip(function.outputs, wanted, strict=False):
            value = inner.names[formal]
            if output and not value:
                self.tensors.refuse(
                    node.label, f"{function.name} returns its input {quoted(formal)}, which is not given"
                )
            if output and value != output:
                self.identity(f"{name}/{formal}", value, output, node, inner)

    def check_unpassed(self, node: Node) -> None:
        """Subgraphs handed to a function as attributes are not entered."""
        if node.graphs:
            self.kept(node, "a function takes it as an attribute")

    # ---- checks of what is not written -------------------------------------------------------------------------------

    def check(self, graphs: Iterable[Any]) -> None:
        """Check every tensor in ``graphs``, at any depth, though nothing of them is written out."""
        waiting = list(graphs)
        while waiting:
            graph = waiting.pop()
            self._initializers(graph)
            for proto in graph.node:
                waiting += (inner for _, inner in read_node(proto, self.tensors).graphs)

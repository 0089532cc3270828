"""One walk over the graph that settles, op by op: shapes, small known values, what is constant, what each op does."""

from __future__ import annotations

from collections.abc import Collection, Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

from graphneurons.axes import planes
from graphneurons.axes.dimensions import Dimensions, concrete_inputs, declared_shape
from graphneurons.axes.folding import fold
from graphneurons.axes.rules.site import NoRule, Shape, Site
from graphneurons.axes.steps import Step, Unknown, site_of, step_of
from graphneurons.axes.values import Array, Operands, Values
from graphneurons.errors import RuleError
from graphneurons.graph import CONTROL, ModelGraph, Op, readers_of

FOLD_BUDGET = 1 << 24
"""Elements that are folded in one model, all together."""

_RANDOM = frozenset({"RandomNormal", "RandomUniform", "EyeLike"})


@dataclass(frozen=True, slots=True, eq=False)
class Doing:
    """What an op does, shared by all that are alike: its ``step``; the shapes of its outputs, as far as that tells them
    (``made``); and of its operands, which derive from ``constants`` alone and which are ``fed``: all others, and
    constants of unknown shape."""

    step: Step
    made: Sequence[Shape | None]
    constants: tuple[int, ...]
    fed: tuple[int, ...]


Made = Sequence[tuple[Shape, int]]
"""The shapes of outputs, and what is told of them."""


@dataclass(frozen=True)
class Resolution:
    """What the walk found. ``shapes`` misses values whose shape cannot be made concrete; ``constants`` are the values
    that derive from stored tensors and shapes alone; ``doings`` say what each op of the graph does; ``running`` are the
    ops that make anything else, in the order of the graph, with what they do."""

    graph: ModelGraph
    shapes: Mapping[str, Shape]
    values: Values
    constants: frozenset[str] | set[str]
    doings: Sequence[Doing]
    running: Sequence[tuple[Op, Doing]]

    @cached_property
    def steps(self) -> Mapping[str, Step]:
        """Op name -> what the op does."""
        return {op.name: doing.step for op, doing in zip(self.graph.ops, self.doings, strict=True)}

    @cached_property
    def readers(self) -> Mapping[str, Sequence[Op]]:
        """Name of an activation -> the running ops that read it, in graph order, each once."""
        return readers_of((op, [op.inputs[index] for index in doing.fed]) for op, doing in self.running)

    def site(self, op: Op) -> Site:
        return site_of(op, self.graph, self.shapes, self.values, self.constants)

    def doing(self, op: Op) -> Doing:
        """What ``op`` does, for who asks of few."""
        return _doing(op, self.steps[op.name], (), self.shapes, self.constants)


Likeness = tuple[str | int | None, ...]
"""All of an op and its operands that a rule may look at, but for the numbers in them."""

Asked = tuple[int, ...]
"""The operands of an op whose numbers its rule looks at."""

Contents = tuple[int, ...]
"""What the operands that are asked for hold; equal where they hold the same."""


@dataclass
class _Walk:
    """``told``: value name -> the number that stands for all a rule may look at of it, but for the numbers in it;
    ``contents``: the same for those. ``alike``: what ops that are alike do, by what the operands they ask hold;
    ``plain``: of those that nothing else of the walk concerns, with the shapes of their outputs and what is told of
    them."""

    graph: ModelGraph
    known: Dimensions
    shapes: dict[str, Shape]
    values: Values
    constants: set[str] = field(default_factory=set)
    computed: set[str] = field(default_factory=set)
    told: dict[str, int] = field(default_factory=dict)
    contents: dict[str, int] = field(default_factory=dict)
    tellings: dict[Hashable, int] = field(default_factory=dict)
    alike: dict[Likeness, tuple[Asked, dict[Contents, Doing]]] = field(default_factory=dict)
    plain: dict[Likeness, tuple[Asked, dict[Contents, tuple[Doing, Made]]]] = field(default_factory=dict)
    folded: int = 0


_NONE_YET: tuple[Asked, Mapping[Contents, tuple[Doing, Made]]] = ((), {})


def resolve(
    graph: ModelGraph, shapes: Mapping[str, Shape] | None = None, dims: Mapping[str, int] | None = None
) -> Resolution:
    """Settles every op of ``graph``. ``shapes``: input name -> shape; ``dims``: dimension name -> size.

    Raises `UsageError` for names the model does not have. Reads no weight but small integers.
    """
    inputs, known = concrete_inputs(graph, shapes or {}, dims or {})
    stored = {name: ref.shape for name, ref in graph.weights.items()}
    shapes_known = {
        name: shape
        for name, shape in (*inputs.items(), *stored.items())
        if shape is not None and len(shape) <= planes.MOST_AXES
    }
    walk = _Walk(graph, known, shapes_known, Values(graph.weights))
    walk.constants.update(graph.weights)
    told, plain, tellings = walk.told, walk.plain, walk.tellings
    for name in ("", *inputs):
        _tell(walk, name)
    for name, ref in graph.weights.items():
        told[name] = tellings.setdefault((ref.shape, ref.dtype), len(tellings))
    doings: list[Doing] = []
    running: list[tuple[Op, Doing]] = []
    for op in graph.ops:
        like = (op.type, op.domain, op.version, id(op.attributes), len(op.outputs), *map(told.get, op.inputs))
        asked, before = plain.get(like, _NONE_YET)
        found = before.get(_contents(walk, op, asked) if asked else ())
        if found is not None:
            doing, made = found
            running.append((op, doing))
            if len(made) == 1:
                name = op.outputs[0]
                shapes_known[name], told[name] = made[0]
            else:
                for name, (shape, telling) in zip(op.outputs, made, strict=True):
                    shapes_known[name] = shape
                    told[name] = telling
        else:
            doing = _settle(walk, op, like)
            if (output := op.output) and output not in walk.constants:
                running.append((op, doing))
        doings.append(doing)
    return Resolution(graph, walk.shapes, walk.values, walk.constants, doings, running)


def _tell(walk: _Walk, name: str) -> None:
    telling = (name == "", walk.shapes.get(name), name in walk.constants, name in walk.computed)
    walk.told[name] = walk.tellings.setdefault(telling, len(walk.tellings))


def _settle(walk: _Walk, op: Op, like: Likeness) -> Doing:
    shapes = walk.shapes
    constant = _is_constant(walk, op)
    try:
        doing = _settled(walk, op, like)
    except (NoRule, RuleError, planes.TooLargeError) as error:
        doing = _doing(op, Unknown(str(error), has_rule=True), (), shapes, walk.constants)
    made = doing.made
    if constant:
        walk.constants.update(name for name in op.outputs if name)
    folds = constant or op.type in _SHAPE_READERS
    if folds:
        made = _fold(walk, op, doing.step) or made
    for index, name in enumerate(op.outputs):
        if not name:
            continue
        shape = made[index] if index < len(made) else None
        if shape is None:
            shape = declared_shape(walk.graph.declared.get(name), walk.known)
        if shape is not None and len(shape) <= planes.MOST_AXES:
            shapes[name] = shape
        _tell(walk, name)
    asked, found = walk.alike.get(like, ((), {}))
    contents = _contents(walk, op, asked)
    if not folds and found.get(contents) is doing:
        # Nothing else decided, so that the next one like it need not be settled.
        known = [(shape, walk.told[name]) for name, shape in zip(op.outputs, made, strict=False) if shape is not None]
        if 0 < len(known) == len(op.outputs) and all(len(shape) <= planes.MOST_AXES for shape, _ in known):
            if asked != walk.plain.get(like, (None,))[0]:
                walk.plain[like] = asked, {}
            walk.plain[like][1][contents] = doing, known
    return doing


def _doing(
    op: Op, step: Step, made: Sequence[Shape | None], shapes: Mapping[str, Shape], constants: Collection[str]
) -> Doing:
    names = list(enumerate(op.inputs))
    own = tuple([index for index, name in names if name in constants])
    fed = tuple([index for index, name in names if name not in constants or name not in shapes])
    return Doing(step, made, own, fed)


_SHAPE_READERS = frozenset({"Shape", "Size"})


def _is_constant(walk: _Walk, op: Op) -> bool:
    if op.domain == CONTROL and op.type != "Merge":
        return False
    if not any(op.inputs):
        return op.type in _RANDOM
    constants, computed = walk.constants, walk.computed
    for name in op.inputs:  # noqa: SIM110 - quicker
        if name not in constants and name and name not in computed:
            return False
    return True


def _settled(walk: _Walk, op: Op, like: Likeness) -> Doing:
    """What ``op`` does, worked out once for all ops that are alike in all it depends on."""
    asked, found = walk.alike.get(like, ((), {}))
    contents = _contents(walk, op, asked)
    settled = found.get(contents)
    if settled is None or "" in op.outputs:
        operands = Operands(op.inputs, walk.values)
        step, made = step_of(op, walk.graph, walk.shapes, operands, walk.constants)
        settled = _doing(op, step, made, walk.shapes, walk.constants)
        if "" in op.outputs:
            return settled
        if not operands.asked.issubset(asked):
            asked = tuple(sorted(operands.asked.union(asked)))
            found, contents = {}, _contents(walk, op, asked)
        found[contents] = settled
        walk.alike[like] = asked, found
    return settled


def _contents(walk: _Walk, op: Op, asked: Asked) -> Contents:
    return tuple([_content(walk, op.inputs[index]) for index in asked])


def _content(walk: _Walk, name: str) -> int:
    """The number that stands for the numbers in value ``name``: one for all that hold the same."""
    known = walk.contents.get(name)
    if known is None:
        known = walk.contents[name] = walk.tellings.setdefault(walk.values.likeness(name), len(walk.tellings))
    return known


def _fold(walk: _Walk, op: Op, step: Step) -> Sequence[Shape | None] | None:
    """Computes a small op ahead, keeping its outputs in ``walk.values``; the shapes of the outputs."""
    if op.type in _SHAPE_READERS and not op.domain:
        results = _shape_of(walk, op)
    elif walk.folded > FOLD_BUDGET or not op.inputs or walk.values.get(op.inputs[0]) is None:
        return None
    else:
        site = site_of(op, walk.graph, walk.shapes, walk.values, walk.constants)
        results = fold(site, list(site.values))
    if results is None:
        shape = _filled_shape(walk, op)
        return None if shape is None else (shape,)
    for name, result in zip(op.outputs, results, strict=False):
        if name:
            walk.values.set(name, result)
            walk.computed.add(name)
            walk.folded += result.size
    return [result.shape for result in results]


def _filled_shape(walk: _Walk, op: Op) -> Shape | None:
    """The shape of a ConstantOfShape too large to be folded."""
    wanted = walk.values.get(op.inputs[0]) if op.type == "ConstantOfShape" and not op.domain and op.inputs else None
    if wanted is None or wanted.dtype.kind not in "iu":
        return None
    shape = tuple(int(size) for size in wanted.reshape(-1).tolist())
    return shape if min(shape, default=0) >= 0 else None


def _shape_of(walk: _Walk, op: Op) -> tuple[Array, ...] | None:
    import numpy as np

    shape = walk.shapes.get(op.inputs[0]) if op.inputs else None
    if shape is None:
        return None
    if op.type == "Size":
        return (np.array(int(np.prod(shape, dtype=object)), dtype=np.int64),)
    start = op.attributes.get("start", 0)
    end = op.attributes.get("end", len(shape))
    if not isinstance(start, int) or not isinstance(end, int):
        return None
    return (np.array(shape[start:end], dtype=np.int64),)

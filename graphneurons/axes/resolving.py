"""One walk over the graph that settles, op by op: shapes, small known values, what is constant, what each op does."""

from __future__ import annotations

from collections.abc import Collection, Hashable, Mapping, Sequence
from dataclasses import dataclass, field

from graphneurons.axes import planes
from graphneurons.axes.binding import Binding, bound
from graphneurons.axes.dimensions import Dimensions, concrete_inputs, declared_shape
from graphneurons.axes.folding import fold
from graphneurons.axes.layouts import LAYOUTS, PAYLOADS, broadcast_shapes
from graphneurons.axes.notation import Pattern, Rule, parse
from graphneurons.axes.rules.site import NoRule, RuleText, Shape, Site
from graphneurons.axes.rules.tables import RULES, TRACED
from graphneurons.axes.shaping import made_shapes
from graphneurons.axes.values import Array, Operands, Values
from graphneurons.axes.windows import resized_shape, window_shape
from graphneurons.errors import RuleError
from graphneurons.graph import CONTROL, ModelGraph, Op

MOST_COMPARED = 64
"""Elements of a known value up to which ops are found alike by its numbers, not by its name."""

FOLD_BUDGET = 1 << 24
"""Elements that are folded in one model, all together."""

_BROADCASTING = frozenset({"sum", "product", "select"})
_WINDOWED = frozenset({"conv", "conv_transpose", "pool"})
CHOOSING = frozenset({"Where", "where"})
"""Ops whose operand 0 says, place by place, which of the others counts."""

_RANDOM = frozenset({"RandomNormal", "RandomUniform", "EyeLike"})


@dataclass(frozen=True, slots=True)
class Layout:
    """The op only moves elements."""


@dataclass(frozen=True, slots=True)
class Featureless:
    """The op makes values that carry no features of what it reads (shapes, ranges, random numbers)."""


@dataclass(frozen=True, slots=True)
class Unknown:
    """What the op does cannot be said; ``reason`` is for the user. ``has_rule``: there is a rule that does not fit."""

    reason: str
    has_rule: bool = False


Step = Rule | Binding | Layout | Featureless | Unknown
"""What an op does. A bare `Rule` is one that works element by element on operands of one shape."""

LAYOUT = Layout()
FEATURELESS = Featureless()


@dataclass(frozen=True, slots=True, eq=False)
class Doing:
    """What an op does, shared by all that are alike: its ``step``; the shapes of its outputs, as far as that tells them
    (``made``); and of its operands, which derive from ``constants`` alone and which are ``fed``: all others, and
    constants of unknown shape."""

    step: Step
    made: Sequence[Shape | None]
    constants: tuple[int, ...]
    fed: tuple[int, ...]


@dataclass(frozen=True)
class Resolution:
    """What the walk found. ``shapes`` misses values whose shape cannot be made concrete; ``constants`` are the values
    that derive from stored tensors and shapes alone; ``steps`` is keyed by op name; ``running`` are the ops that make
    anything else, in the order of the graph, with what they do."""

    graph: ModelGraph
    shapes: Mapping[str, Shape]
    values: Values
    constants: frozenset[str] | set[str]
    steps: Mapping[str, Step]
    running: Sequence[tuple[Op, Doing]]

    def site(self, op: Op) -> Site:
        return _site(op, self.graph, self.shapes, self.values, self.constants)

    def doing(self, op: Op) -> Doing:
        """What ``op`` does, for who asks of few."""
        return _doing(op, self.steps[op.name], (), self.shapes, self.constants)


Settled = tuple[Step, Sequence[Shape | None]]
"""What an op does, and the shapes of its outputs, as far as that tells them."""


Likeness = tuple[str | int | None, ...]
"""All of an op and its operands that a rule may look at, but for the numbers in them."""


@dataclass
class _Walk:
    """``told``: value name -> the number that stands for all a rule may look at of it, but for the numbers in it;
    ``plain``: what ops do that none of the rest of the walk concerns, with the shapes of their outputs and what is
    told of those."""

    graph: ModelGraph
    known: Dimensions
    shapes: dict[str, Shape]
    values: Values
    constants: set[str] = field(default_factory=set)
    computed: set[str] = field(default_factory=set)
    told: dict[str, int] = field(default_factory=dict)
    tellings: dict[Hashable, int] = field(default_factory=dict)
    alike: dict[Likeness, tuple[tuple[int, ...], dict[Hashable, Doing]]] = field(default_factory=dict)
    plain: dict[Likeness, tuple[Doing, Sequence[tuple[Shape, int]]]] = field(default_factory=dict)
    folded: int = 0

    def tell(self, name: str, telling: Hashable) -> None:
        self.told[name] = self.tellings.setdefault(telling, len(self.tellings))


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
    walk.tell("", "left out")
    for name in inputs:
        _tell(walk, name)
    told, tellings, plain = walk.told, walk.tellings, walk.plain
    for name, ref in graph.weights.items():
        told[name] = tellings.setdefault((ref.shape, ref.dtype), len(tellings))
    steps: dict[str, Step] = {}
    running: list[tuple[Op, Doing]] = []
    for op in graph.ops:
        like = (op.type, op.domain, op.version, id(op.attributes), len(op.outputs), *map(told.get, op.inputs))
        before = plain.get(like)
        if before is not None:
            doing, made = before
            running.append((op, doing))
            for name, (shape, telling) in zip(op.outputs, made, strict=True):
                shapes_known[name] = shape
                told[name] = telling
        else:
            doing = _settle(walk, op, like)
            if (output := op.output) and output not in walk.constants:
                running.append((op, doing))
        steps[op.name] = doing.step
    return Resolution(graph, walk.shapes, walk.values, walk.constants, steps, running)


def _tell(walk: _Walk, name: str) -> None:
    walk.tell(name, (walk.shapes.get(name), name in walk.constants, name in walk.computed))


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
    if not folds and walk.alike.get(like) == ((), {(): doing}):
        # Nothing but `like` decided, so that it is all the next one like it needs to be asked for.
        told = [(shape, walk.told[name]) for name, shape in zip(op.outputs, made, strict=False) if shape is not None]
        if 0 < len(told) == len(op.outputs) and all(len(shape) <= planes.MOST_AXES for shape, _ in told):
            walk.plain[like] = doing, told
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
    if "" in op.outputs:
        return _doing(op, *_step(walk, op, Operands(op.inputs, walk.values)), walk.shapes, walk.constants)
    asked, found = walk.alike.get(like, ((), {}))
    numbers = _numbers(walk, op, asked) if asked else ()
    settled = found.get(numbers)
    if settled is None:
        operands = Operands(op.inputs, walk.values)
        settled = _doing(op, *_step(walk, op, operands), walk.shapes, walk.constants)
        if operands.asked.issubset(asked):
            found[numbers] = settled
        else:
            asked = tuple(sorted(operands.asked.union(asked)))
            found = {_numbers(walk, op, asked): settled}
        walk.alike[like] = asked, found
    return settled


def _numbers(walk: _Walk, op: Op, asked: Sequence[int]) -> Hashable:
    """The numbers in the operands ``asked`` for, told apart by what they are, or, where they are many, by name."""
    told: list[Hashable] = []
    for index in asked:
        name = op.inputs[index]
        array = walk.values.get(name) if name else None
        if array is None or array.size > MOST_COMPARED:
            told.append(None if array is None else name)
        else:
            told.append((array.dtype.str, array.shape, array.tobytes()))
    return tuple(told)


def _step(walk: _Walk, op: Op, operands: Operands) -> Settled:
    entry = RULES.get((op.domain, op.type)) if op.domain != CONTROL else RULES[op.domain, op.type]
    if entry is None:
        return Unknown(_no_rule(op)), ()
    site = None
    text: RuleText = entry
    if not isinstance(text, str):
        site = _site(op, walk.graph, walk.shapes, operands, walk.constants)
        text = text(site)
    if text == "shape" or text.startswith("stop"):
        made = made_shapes(site or _site(op, walk.graph, walk.shapes, operands, walk.constants))
        return FEATURELESS if text == "shape" else Unknown(f"{op.qualified}: {text.partition(':')[2].strip()}"), made
    if not any(op.inputs):
        raise NoRule("it has no operands")
    if text == "layout":
        site = site or _site(op, walk.graph, walk.shapes, operands, walk.constants)
        return LAYOUT, _moved_shapes(site)
    rule = parse(text)
    simple = _elementwise_shape(rule, op, walk.shapes)
    if simple is not None:
        return rule, simple
    site = site or _site(op, walk.graph, walk.shapes, operands, walk.constants)
    if any(site.has(index) for index in range(len(rule.operands), len(op.inputs))):
        raise NoRule(f"it has {len(op.inputs)} operands, where rule `{rule}` knows {len(rule.operands)}")
    binding = bound(text, site.shapes)
    made = [binding.result_shape(index) for index in range(len(op.outputs))]
    if made and made[0] is None and op.domain not in TRACED:
        if rule.kind in _WINDOWED:
            made[0] = window_shape(site, binding)
        elif rule.kind == "resize":
            made[0] = resized_shape(site)
    if None in made:
        told = made_shapes(site)
        made = [shape if shape is not None or n >= len(told) else told[n] for n, shape in enumerate(made)]
    return binding, made


def _no_rule(op: Op) -> str:
    if (op.domain, op.type) == ("", ""):
        return "the node has no op type"
    return f"no rule says what {op.qualified} does"


def _elementwise_shape(rule: Rule, op: Op, shapes: Mapping[str, Shape]) -> Sequence[Shape | None] | None:
    """The shapes of the results where the rule is one of the many that need no binding, else None."""
    if rule.kind == "map" and all(pattern.mark == "_" for pattern in rule.operands[1:]) and len(rule.results) == 1:
        pattern = rule.operands[0]
        if len(pattern.axes) == 1 and pattern.axes[0].variadic and not pattern.axes[0].mixed:
            return (shapes.get(op.inputs[0]) if op.inputs else None,)
    if rule.kind in _BROADCASTING and len(rule.results) == 1 and all(_is_whole(p) for p in rule.operands):
        found = [shapes.get(name) for name in op.inputs if name]
        if not found or None in found:
            return (None,)
        if op.domain == CONTROL and len(set(found)) > 1:
            return (None,)
        return (broadcast_shapes([shape for shape in found if shape is not None]),)
    return None


def _is_whole(pattern: Pattern) -> bool:
    """Whether the operand is ``*x`` and nothing else."""
    return pattern.mark == "" and len(pattern.axes) == 1 and pattern.axes[0].variadic and not pattern.axes[0].mixed


def _site(
    op: Op,
    graph: ModelGraph,
    shapes: Mapping[str, Shape],
    values: Values | Operands,
    constants: Collection[str],
) -> Site:
    names = op.inputs
    stored = [graph.weights.get(name) for name in names]
    return Site(
        op,
        tuple([shapes.get(name) if name else None for name in names]),
        values if isinstance(values, Operands) else Operands(names, values),
        tuple([name in constants for name in names]),
        tuple(["" if ref is None else ref.dtype for ref in stored]),
    )


def payload(op: Op) -> tuple[int, ...]:
    """Which operands of a layout op carry the elements it moves."""
    chosen = PAYLOADS.get(op.type, (0,))
    count = len(op.inputs)
    if chosen is None:
        return tuple(range(count))
    return tuple(i % count for i in chosen if -count <= i < count)


def _moved_shapes(site: Site) -> Sequence[Shape | None]:
    op = site.op
    move = LAYOUTS.get(op.type)
    if move is None:
        raise NoRule(f"{op.qualified} moves elements in a way that is not followed")
    carried = payload(op)
    given: list[planes.Plane | None] = [None] * len(op.inputs)
    for index in carried:
        shape = site.shape(index)
        if shape is None:
            raise NoRule(f"the shape of its operand {op.inputs[index]!r} is not known; give it with --dim or --shape")
        given[index] = planes.constant(shape)
    return [plane.shape for plane in move(site, given, 0)]


def _fold(walk: _Walk, op: Op, step: Step) -> Sequence[Shape | None] | None:
    """Computes a small op ahead, keeping its outputs in ``walk.values``; the shapes of the outputs."""
    if op.type in _SHAPE_READERS and not op.domain:
        results = _shape_of(walk, op)
    elif walk.folded > FOLD_BUDGET or not op.inputs or walk.values.get(op.inputs[0]) is None:
        return None
    else:
        site = _site(op, walk.graph, walk.shapes, walk.values, walk.constants)
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

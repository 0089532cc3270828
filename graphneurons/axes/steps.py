"""What one op does by its rule, and the shapes it makes."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from graphneurons.axes import planes
from graphneurons.axes.binding import Binding, bound
from graphneurons.axes.layouts import LAYOUTS, PAYLOADS, RESHAPING, broadcast_shapes
from graphneurons.axes.notation import Pattern, Rule, parse
from graphneurons.axes.rules.site import NoRule, RuleText, Shape, Site
from graphneurons.axes.rules.tables import RULES, TRACED
from graphneurons.axes.shaping import made_shapes
from graphneurons.axes.values import Operands, Values
from graphneurons.axes.windows import resized_shape, window_shape
from graphneurons.graph import CONTROL, ModelGraph, Op

_BROADCASTING = frozenset({"sum", "product", "select"})
_WINDOWED = frozenset({"conv", "conv_transpose", "pool"})
CHOOSING = frozenset({"Where", "where"})
"""Ops whose operand 0 says, place by place, which of the others counts."""



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


Settled = tuple[Step, Sequence[Shape | None]]
"""What an op does, and the shapes of its outputs, as far as that tells them."""




def step_of(
    op: Op, graph: ModelGraph, shapes: Mapping[str, Shape], operands: Operands, constants: Collection[str]
) -> Settled:
    """What ``op`` does by its rule. Raises `NoRule` and `RuleError` where the rule does not fit its operands."""
    entry = RULES.get((op.domain, op.type)) if op.domain != CONTROL else RULES[op.domain, op.type]
    if entry is None:
        return Unknown(_no_rule(op)), ()
    site = None
    text: RuleText = entry
    if not isinstance(text, str):
        site = site_of(op, graph, shapes, operands, constants)
        text = text(site)
    if text == "shape" or text.startswith("stop"):
        made = made_shapes(site or site_of(op, graph, shapes, operands, constants))
        return FEATURELESS if text == "shape" else Unknown(f"{op.qualified}: {text.partition(':')[2].strip()}"), made
    if not any(op.inputs):
        raise NoRule("it has no operands")
    if text == "layout":
        site = site or site_of(op, graph, shapes, operands, constants)
        return LAYOUT, _moved_shapes(site)
    rule = parse(text)
    simple = _elementwise_shape(rule, op, shapes)
    if simple is not None:
        return rule, simple
    site = site or site_of(op, graph, shapes, operands, constants)
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


def site_of(
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


def told_by_shapes(op: Op, step: Step) -> bool:
    """Whether the rule and the shapes alone say where ``op`` puts what it reads: no numbers, no kinds of senders."""
    if op.domain == CONTROL or op.type in CHOOSING:
        return False
    if isinstance(step, Binding):
        return step.rule.kind != "softmax"
    return isinstance(step, Rule) or op.type in RESHAPING or op.type == "Transpose"

"""The walk that ties slots: op by op, which axes of what it reads and makes are the same index by index.

What a rule's factors say is proved numerically for every op (permuting a factor wherever it appears commutes with it);
factors whose order means something (kernel taps, gates, tokens of a causal mask) cannot be cut, and neither can
anything that meets an op whose meaning is not known. Constant ops are walked like all others, so stored tensors are
followed through transposes, dequantization and slices by the same few functions.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from math import prod
from typing import Any

from graphneurons.axes import planes
from graphneurons.axes.binding import Binding, Factors
from graphneurons.axes.notation import Rule
from graphneurons.axes.resolving import Resolution
from graphneurons.axes.rules.site import NoRule, Shape
from graphneurons.axes.steps import Featureless, Layout, Unknown
from graphneurons.graph import CONTROL, Op
from graphneurons.wiring.cuttable import alias
from graphneurons.wiring.forms import Form, form, large, likeness
from graphneurons.wiring.relaying import relay
from graphneurons.wiring.slots import SINGLE, Slots
from graphneurons.wiring.states import MOST_AXES, Coupling

_READ_FOR_SHAPE = re.compile(
    r"Shape|Size|ConstantOfShape|Range|EyeLike|Random\w+|SequenceLength|OptionalHasElement|Constant|Iteration|Entry"
)
_UNIFORM = frozenset({"ConstantOfShape", "RandomNormal", "RandomUniform", "RandomNormalLike", "RandomUniformLike"})


def couple(resolution: Resolution) -> Coupling:
    """Walks the whole graph once; cost is linear in it and in the sizes of its axes."""
    walk = Coupling(resolution)
    graph = resolution.graph
    for value in graph.inputs:
        _entry(walk, value.name)
    for number, op in enumerate(graph.ops):
        step = resolution.steps[op.name]
        try:
            _WALKS[type(step)](walk, op, step)
        except (NoRule, planes.TooLargeError) as error:
            _stop(walk, op, f"{op.qualified} {op.name!r}: {error}")
        for index, name in enumerate(op.inputs):
            for axis, found in enumerate(walk.states.get(name, ())):
                if found is not None and not isinstance(found, int):
                    walk.ledger.note(found, (number * 64 + index) * 64 + axis)
    for op in graph.ops:
        feedback = op.attributes.get("feedback")
        if op.domain == CONTROL and op.type == "Carry" and isinstance(feedback, str) and feedback:
            _same(walk, op, [op.output, feedback])
    for name in graph.outputs:
        if walk.state(name) is not None:
            for axis in range(len(walk.states[name])):
                walk.slots(name, axis)
            walk.fix(name, f"output {name!r} of the model")
    return walk


def _entry(walk: Coupling, name: str) -> None:
    shape = walk.resolution.shapes.get(name)
    if shape is not None:
        walk.states[name] = [
            walk.ledger.code(f"input {name!r} of the model, axis {axis}", entry=True) if size > 1 else SINGLE
            for axis, size in enumerate(shape)
        ]


def _stop(walk: Coupling, op: Op, reason: str) -> None:
    for name in op.inputs:
        if name and walk.state(name) is not None:
            walk.fix(name, reason)
    code = walk.ledger.code(reason)
    for name in op.outputs:
        shape = walk.resolution.shapes.get(name)
        if name and shape is not None and len(shape) <= MOST_AXES:
            walk.states[name] = [code] * len(shape)


def _same(walk: Coupling, op: Op, names: Sequence[str]) -> None:
    """Values of one shape, axis by axis."""
    shapes = [walk.resolution.shapes.get(name) for name in names]
    if any(
        shape is None or shape != shapes[0] or walk.state(name) is None
        for shape, name in zip(shapes, names, strict=True)
    ):
        for name in names:
            walk.fix(name, f"{op.qualified} {op.name!r}: a state whose shape is not known or changes")
        return
    for axis, size in enumerate(shapes[0] or ()):
        if size > 1:
            walk.tied([(name, axis) for name in names], size)


def _elementwise(walk: Coupling, op: Op, step: Rule) -> None:
    """Operands that broadcast as numpy does."""
    names = [name for name in op.inputs if name]
    marked = [
        op.inputs[i] for i, p in enumerate(step.operands) if p.mark == "_" and i < len(op.inputs) and op.inputs[i]
    ]
    used = [name for name in names if name not in marked]
    marked = marked if op.type != "CastLike" else []
    shape = walk.resolution.shapes.get(op.output)
    if shape is None or not used or any(walk.state(name) is None for name in used):
        _stop(walk, op, f"{op.qualified} {op.name!r}: the shape of what it reads or makes is not known")
        return
    if (
        len(used) == 1
        and walk.resolution.shapes[used[0]] == shape
        and all(found is not None for found in walk.states[used[0]])
    ):
        made = [found for found in walk.states[used[0]] if found is not None]
    else:
        made = _broadcast(walk, used, shape)
    if op.type in ("Trilu", "triu", "tril"):
        for found in made[-2:]:
            walk.ledger.fix(found, walk.ledger.code(f"{op.qualified} {op.name!r} keeps a triangle"))
    _unread(walk, op, marked, made)
    for name in op.outputs:
        if name:
            walk.put(name, made)


def _broadcast(walk: Coupling, used: Sequence[str], shape: Shape) -> list[Slots]:
    """The slots of what several operands make together, broadcast as numpy does."""
    made: list[Slots] = []
    for axis, size in enumerate(shape):
        here = []
        for name in used:
            own = walk.resolution.shapes[name]
            at = axis - (len(shape) - len(own))
            if at >= 0 and own[at] == size:
                here.append((name, at))
        made.append(SINGLE if size <= 1 or not here else walk.tied(here, size))
    return made


def _unread(walk: Coupling, op: Op, names: Sequence[str], made: Sequence[Slots]) -> None:
    """Operands that an elementwise rule says nothing of: where one holds more than a number, it may lie along any axis
    (the scales of blocks of uneven length)."""
    for name in names:
        shape = walk.resolution.shapes.get(name)
        if shape is not None and prod(shape) <= 1:
            continue
        if walk.state(name) is not None:
            walk.fix(name, f"{op.qualified} {op.name!r}: read in a way that is not followed")
        for found in made:
            walk.ledger.fix(found, walk.ledger.code(f"{op.qualified} {op.name!r}: may lie along {name!r}"))


def _ignored(walk: Coupling, op: Op, names: Sequence[str], env: Mapping[str, Slots], sizes: Mapping[str, int]) -> None:
    """Operands a rule says nothing of: they cannot be cut, and neither can factors that may lie along them."""
    code = walk.ledger.code(f"{op.qualified} {op.name!r}: may lie along an operand whose axes are not followed")
    for name in names:
        if walk.state(name) is not None:
            walk.fix(name, f"{op.qualified} {op.name!r}: read in a way that is not followed")
        shape = walk.resolution.shapes.get(name)
        if name in walk.resolution.values or (
            name in walk.resolution.constants and shape is not None and len(shape) < 2
        ):
            continue
        for factor, found in env.items():
            size = sizes.get(factor, 0)
            if size > 1 and (shape is None or any(length > 1 and length % size == 0 for length in _aligned(op, shape))):
                walk.ledger.fix(found, code)


def _aligned(op: Op, shape: Shape) -> Shape:
    """The axes of an operand that factors may lie along. What attention is given beside its operands has batch, heads,
    tokens and width (a cache) or batch, heads, queries and keys (a bias), or is a mask of tokens."""
    if "Attention" not in op.type:
        return shape
    return (shape[-3], shape[-1]) if len(shape) > 3 else ()


def _bound(walk: Coupling, op: Op, step: Binding) -> None:
    like = likeness(op, step)
    told = walk.forms.get(like)
    if told is None:
        told = walk.forms[like] = form(op, step)
    inputs = op.inputs
    for index in told.read:
        if step.operands[index] is None or walk.state(inputs[index]) is None:
            _stop(walk, op, f"{op.qualified} {op.name!r}: the shape of {inputs[index]!r} is not known")
            return
    env = _factors(walk, op, step, told)
    products: dict[Factors, Slots] = {}
    if told.has_products:
        places = [(inputs[index], axis, factors) for index, axis, factors in told.places]
        products = _products(walk, op, step, places, env)
    if told.ignored:
        cut = {**env, **{" ".join(factors): found for factors, found in products.items()}}
        _ignored(walk, op, [inputs[index] for index in told.ignored], cut, _with_products(step, products))
    unmade = walk.ledger.code(f"{op.qualified} {op.name!r}: positions it makes")
    for name, result in zip(op.outputs, told.results, strict=True):
        if not name:
            continue
        if result is None:
            shape = walk.resolution.shapes.get(name)
            if shape is not None and len(shape) <= MOST_AXES:
                walk.states[name] = [unmade] * len(shape)
            continue
        made: list[Slots] = []
        for factors in result:
            if not factors:
                made.append(SINGLE)
            elif len(factors) == 1:
                made.append(env.get(factors[0], unmade))
            elif factors in products:
                made.append(products[factors])
            else:
                children = [env.get(factor, unmade) for factor in factors]
                known = all(factor in step.sizes for factor in factors)
                made.append(
                    walk.ledger.product(op.name, children, [step.sizes[factor] for factor in factors])
                    if known
                    else unmade
                )
        walk.put(name, made)


def _with_products(step: Binding, products: Mapping[Factors, Slots]) -> dict[str, int]:
    sizes = dict(step.sizes)
    for factors in products:
        size = 1
        for factor in factors:
            size *= step.sizes[factor]
        sizes[" ".join(factors)] = size
    return sizes


def _factors(walk: Coupling, op: Op, step: Binding, told: Form) -> dict[str, Slots]:
    """The slots of every factor that is an axis of its own, and of those that cannot be cut."""
    env: dict[str, Slots] = {}
    for reason, factors in told.unmovable.items():
        env.update(dict.fromkeys(factors, walk.ledger.code(f"{op.qualified} {op.name!r}: {reason}")))
    inputs, states = op.inputs, walk.states
    for factor, places in told.along.items():
        axes = [(inputs[index], axis) for index, axis in places]
        start = env.get(factor)
        if start is not None:
            axes = [(name, axis) for name, axis in axes if states[name][axis] is not None]
        if axes:
            size = step.sizes[factor] if factor in step.sizes else walk.resolution.shapes[axes[0][0]][axes[0][1]]
            env[factor] = walk.tied(axes, size, start)
    return env


def _products(
    walk: Coupling, op: Op, step: Binding, places: Sequence[tuple[str, int, Factors]], env: dict[str, Slots]
) -> dict[Factors, Slots]:
    """The slots of axes that are products of factors. Factors that are never apart stay together."""
    axes: dict[Factors, list[tuple[str, int]]] = {}
    for name, axis, factors in places:
        if len(factors) > 1:
            axes.setdefault(tuple(alias(step, factor) for factor in factors), []).append((name, axis))
    results = {tuple(large(axis, step.sizes)) for result in (*step.sums, *step.results) for axis in result or ()}
    whole = {item for item in (*axes, *results) if len(item) > 1}
    found: dict[Factors, Slots] = {}
    for factors, carriers in axes.items():
        if any(factor not in step.sizes for factor in factors):
            for name, axis in carriers:
                walk.ledger.fix(
                    walk.slots(name, axis), walk.ledger.code(f"{op.qualified} {op.name!r}: a product of unknown sizes")
                )
            found[factors] = walk.ledger.code(f"{op.qualified} {op.name!r}: a product of unknown sizes")
            continue
        sizes = [step.sizes[factor] for factor in factors]
        alone = all(
            factor not in env
            and (factor,) not in results
            and not any(factor in other for other in whole if other != factors)
            for factor in factors
        )
        unread = [item for item in carriers if walk.states[item[0]][item[1]] is None]
        read = [item for item in carriers if walk.states[item[0]][item[1]] is not None]
        total = 1
        for size in sizes:
            total *= size
        if alone:
            found[factors] = walk.tied(carriers, total)
            continue
        for name, axis in read:
            parent = walk.slots(name, axis)
            if isinstance(parent, int):
                for factor in factors:
                    env[factor] = parent if factor not in env else walk.ledger.tie(env[factor], parent)
                continue
            children = walk.ledger.apart(op.name, parent, sizes, [env.get(factor) for factor in factors])
            env.update(zip(factors, children, strict=True))
        if unread:
            for factor, size in zip(factors, sizes, strict=True):
                if factor not in env:
                    env[factor] = walk.made(size)
            common = walk.ledger.product(op.name, [env[factor] for factor in factors], sizes)
            for name, axis in unread:
                walk.states[name][axis] = walk.ledger.of_entry(common, total) if isinstance(common, int) else common
    return found


def _layout(walk: Coupling, op: Op, step: Layout) -> None:
    relay(walk, op)


def _featureless(walk: Coupling, op: Op, step: Featureless) -> None:
    if op.domain == CONTROL and op.type == "Entry":
        _entry(walk, op.output)
        return
    if not _READ_FOR_SHAPE.fullmatch(op.type):
        for name in op.inputs:
            if name and walk.state(name) is not None:
                walk.fix(name, f"{op.qualified} {op.name!r} reads it as positions")
    code = walk.ledger.code(f"{op.qualified} {op.name!r}: what it makes follows from shapes")
    for name in op.outputs:
        shape: Shape | None = walk.resolution.shapes.get(name)
        if name and shape is not None and len(shape) <= MOST_AXES:
            walk.states[name] = [
                SINGLE if size <= 1 else walk.made(size) if op.type in _UNIFORM else code for size in shape
            ]


def _unknown(walk: Coupling, op: Op, step: Unknown) -> None:
    for name in op.inputs:
        if name and walk.state(name) is not None:
            for axis in range(len(walk.states[name])):
                walk.slots(name, axis)
    _stop(walk, op, f"{op.qualified} {op.name!r}: {step.reason}")


_WALKS: Mapping[type, Callable[[Coupling, Op, Any], None]] = {
    Rule: _elementwise,
    Binding: _bound,
    Layout: _layout,
    Featureless: _featureless,
    Unknown: _unknown,
}

__all__ = ["Coupling", "couple"]

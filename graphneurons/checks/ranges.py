"""Between which numbers every value of a graph lies, element by element, where that can be proved."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace

import numpy as np

from graphneurons.activations import kind_of
from graphneurons.analysis import Analysis
from graphneurons.axes.layouts import LAYOUTS
from graphneurons.axes.planes import Plane, TooLargeError
from graphneurons.axes.rules.site import NoRule, Shape
from graphneurons.axes.steps import Layout, Unknown, payload
from graphneurons.checks.bending import bend_of, fused_bend, numbers_of
from graphneurons.checks.contracting import INTEGER_SUMMING, SUMMING, Sums
from graphneurons.checks.declared import is_dynamic, with_other_sizes
from graphneurons.checks.intervals import Moving, Range, between, made
from graphneurons.checks.reckoning import RULES, mixed
from graphneurons.checks.walking import ENDS, Walk, quantized
from graphneurons.graph import ModelGraph, Op
from graphneurons.health.fetching import Files

_DOMAINS = frozenset({"", "ai.onnx", "aten", "torch.nn", "com.microsoft", "quantized_decomposed"})


def walked(analysis: Analysis, declared: Mapping[str, tuple[float, float]]) -> Walk | None:
    """All that can be proved of a model. ``declared``: smallest and largest number of inputs. None where the model has
    no activation of which something could be said."""
    graph, resolution = analysis.graph, analysis.resolution
    if resolution is None:
        return None
    needed = _needed(graph)
    if not needed:
        return None
    other: Mapping[str, Shape] | None = None
    if is_dynamic(graph):
        other = with_other_sizes(graph, resolution) or {}
    with Files() as files:
        walk = Walk(analysis, resolution, Sums(analysis, files), other)
        for value in graph.inputs:
            bounds, shape = declared.get(value.name, ENDS.get(value.dtype)), walk.shape(value.name)
            if bounds is not None and shape is not None:
                is_real = value.dtype.startswith(("float", "bfloat"))
                walk.tell(value.name, replace(between(shape, *bounds), integers=not is_real))
        for op in graph.ops:
            if op.name in needed and op.domain in _DOMAINS and op.output:
                for name, found in _evaluated(walk, op):
                    walk.tell(name, found)
    return walk


def _needed(graph: ModelGraph) -> set[str]:
    """Names of the activations, and of all ops they depend on."""
    needed: set[str] = set()
    for op in reversed(graph.ops):
        ends = op.type in ("QuantizeLinear", "quantize_per_tensor") or (op.domain, op.type) in INTEGER_SUMMING
        if op.name in needed or ends or _bends(op):
            needed.add(op.name)
            needed.update(graph.producer[name].name for name in op.inputs if name in graph.producer)
    return needed


def _bends(op: Op) -> bool:
    return kind_of(op) in _BENDING or bool(op.attributes.get("activation"))


_BENDING = frozenset(
    {"Relu", "Sigmoid", "Tanh", "Softplus", "Gelu", "FastGelu", "SiLU", "Swish", "Mish", "HardSwish", "HardSigmoid",
     "Elu", "Celu", "Selu", "ThresholdedRelu", "Clip"}
)  # fmt: skip


def _evaluated(walk: Walk, op: Op) -> Iterator[tuple[str, Range | None]]:
    step = walk.resolution.steps.get(op.name)
    if isinstance(step, Layout):
        yield from _moved(walk, op)
        return
    if isinstance(step, Unknown) and step.has_rule:
        return  # its operands do not fit together
    key = (op.domain, op.type)
    rule: Callable[[Walk, Op], Range | None] | None
    if key in SUMMING:
        rule = _summed if walk.sums.layer(op) is not None else mixed
    elif key in INTEGER_SUMMING:
        rule = _integers_summed
    else:
        rule = _bent if kind_of(op) in _BENDING else RULES.get(kind_of(op))
    if rule is not None:
        yield op.output, rule(walk, op)


def _summed(walk: Walk, op: Op) -> Range | None:
    try:
        fused = fused_bend(op)
    except ValueError:
        return None
    found = walk.sums.of(op, lambda at: walk.input(op, at), walk.shape(op.output))
    return found if fused is None else walk.through(op, *fused, found)


def _integers_summed(walk: Walk, op: Op) -> Range | None:
    """QLinearConv and its like: integers in, what they stand for summed, and integers out again."""
    places = INTEGER_SUMMING[op.domain, op.type]
    numbers = [walk.constant(op, at) for at in (places.input_scale, places.input_zero, places.weight_scale)]
    given = walk.any_input(op, places.input_scale - 1)
    scale, zero, weights = numbers
    if given is None or not given.integers or scale is None or weights is None or scale.size != 1:
        return None
    offset = 0.0 if zero is None else float(zero.reshape(-1)[0])
    low, high = (given.low - offset) * scale.reshape(-1)[0], (given.high - offset) * scale.reshape(-1)[0]
    bias = np.zeros(1)
    if places.bias is not None and walk.has(op, places.bias):
        stored = walk.constant(op, places.bias)
        if stored is None:
            return None
        bias = stored.reshape(-1) * scale.reshape(-1)[0] * weights.reshape(-1)
    found = walk.sums.of(op, lambda at: made(given.shape, low, high), walk.shape(op.output), bias)
    if places.output_scale is None or not walk.has(op, places.output_scale):
        return found
    return quantized(walk, op, found, places.output_scale, places.output_zero)


def _bent(walk: Walk, op: Op) -> Range | None:
    kind, numbers = kind_of(op), numbers_of(op)
    if kind in ("QuickGelu", "BiasGelu") or (kind == "FastGelu" and walk.has(op, 1)):
        return None
    if kind == "Clip":
        for at, name in ((1, "min"), (2, "max")):
            if walk.has(op, at):
                given = walk.constant(op, at)
                if given is None or given.size != 1:
                    return None
                numbers[name] = float(given.reshape(-1)[0])
    bend = bend_of("Gelu" if kind == "FastGelu" else kind, numbers)
    return None if bend is None else walk.through(op, kind, bend, walk.input(op))


def _moved(walk: Walk, op: Op) -> Iterator[tuple[str, Range | None]]:
    """Layout ops, run on the places of bounds."""
    move = LAYOUTS.get(op.type)
    carried = payload(op)
    parts = [walk.any_input(op, at) for at in carried]
    shapes = [walk.shape(op.inputs[at]) for at in carried]
    if move is None or any(part is None or part.shape != shape for part, shape in zip(parts, shapes, strict=True)):
        return
    if op.type in ("Pad", "pad", "constant_pad_nd", "CenterCropPad") and not _pads_with_zero(walk, op):
        return
    moving = Moving([part for part in parts if part is not None])
    given: list[Plane | None] = [None] * len(op.inputs)
    for at, plane in zip(carried, moving.planes, strict=True):
        given[at] = plane
    try:
        results = move(walk.resolution.site(op), given, 0)
    except (NoRule, TooLargeError):
        return
    for name, plane in zip(op.outputs, results, strict=False):
        if name:
            yield name, moving.taken(plane)


def _pads_with_zero(walk: Walk, op: Op) -> bool:
    if op.attributes.get("mode", "constant") != "constant":
        return True
    if op.attributes.get("value", 0) not in (0, 0.0) or op.domain not in ("", "aten"):
        return False
    if op.domain == "aten" or not walk.has(op, 2):
        return len(op.inputs) == 1 or op.domain != "aten"
    stored = walk.constant(op, 2)
    return stored is not None and bool((stored == 0).all())

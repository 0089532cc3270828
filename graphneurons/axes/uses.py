"""Every meeting of a weight and an activation: which op, which operand, and what its axes index there."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Literal, NamedTuple

from graphneurons.analysis import Role, WeightUse
from graphneurons.axes.binding import Binding
from graphneurons.axes.labelling import (
    FOLDED,
    OperandLabel,
    aligned,
    chosen,
    covers,
    label_operand,
    modulating,
    stage_of,
    unrepeated,
    use_of,
)
from graphneurons.axes.notation import Rule
from graphneurons.axes.planes import TooLargeError
from graphneurons.axes.resolving import Doing, Resolution
from graphneurons.axes.rules.site import NoRule
from graphneurons.axes.steps import Featureless, Layout, Step, Unknown, payload
from graphneurons.axes.strands import Constant, Lost, Strand, constant_of
from graphneurons.graph import Op, WeightRef

CONTRACTING = frozenset({"linear", "conv", "conv_transpose", "recurrent", "attention", "experts"})
"""Kinds of rules whose weights are layers: they have neurons and synapses."""

Part = Literal["weight", "lookup", "modulator", "unlabelled"]


class Use(NamedTuple):
    """One stored tensor at one operand of one op, and what the op does.

    ``part``: what it is there; ``kind``: of the layer or the modulator; ``stage``: which of the op's sums it makes;
    ``label``: the roles of the whole operand; ``weight``: the roles in the stored tensor's own axes (None where
    unlabelled, with the ``reason``); ``root``: the value name of the stored tensor.
    """

    op: Op
    step: Step
    operand: int
    part: Part
    kind: str
    root: str
    ref: WeightRef
    stage: int = 0
    label: OperandLabel | None = None
    weight: WeightUse | None = None
    reason: str = ""


def uses(resolution: Resolution, woven: Mapping[str, Constant]) -> Iterator[Use]:
    """All uses, in graph order. Tables whose picked rows are weights (experts) are no lookups."""
    found: list[Use] = []
    known: dict[Doing, Sequence[tuple[Use, WeightUse]] | None] = {}
    weights = resolution.graph.weights
    chosen = woven.keys() - resolution.constants
    for op, doing in resolution.running:
        before = known.get(doing)
        if before is None:
            here = [use for index in doing.constants for use in _at(op, doing.step, index, resolution, woven)]
            found += here
            if doing not in known:
                told = [(use, use.weight) for use in here if use.weight is not None]
                known[doing] = told if _holds_of_all(op, doing, here, resolution) else None
        else:
            inputs = op.inputs
            for use, weight in before:
                name = inputs[use.operand]
                ref = weights[name]
                again = WeightUse(ref, weight.input, weight.axes, weight.part, weight.elements)
                found.append(Use(op, use.step, use.operand, use.part, use.kind, name, ref, use.stage, use.label, again))
        if chosen and not chosen.isdisjoint(op.inputs):
            found += _picked_at(op, doing.step, resolution, woven)
    experts = {use.root for use in found if use.kind == "experts"}
    read = {use.root for use in found if use.part == "weight"}
    return (
        use
        for use in found
        if use.part == "weight"
        or (not (use.part == "lookup" and use.root in experts) and not (use.root in read and _is_folded(use)))
    )


def _is_folded(use: Use) -> bool:
    """Whether the tensor was contracted with a constant before it met the activation here, as in the first step of an
    unrolled loop: where it is a weight elsewhere, that says nothing new of it."""
    axes = use.weight.axes if use.part == "modulator" and use.weight is not None else ()
    return any(axis.role == "mixed" and axis.factors[0].name == FOLDED for axis in axes)


def _holds_of_all(op: Op, doing: Doing, found: Sequence[Use], resolution: Resolution) -> bool:
    """Whether the uses ``found`` at ``op`` are those of every op that does the same, but for the tensors: all of them
    are stored ones, of the same shapes and types wherever ops do the same, and none is unlabelled."""
    stored = resolution.graph.weights
    return (
        not isinstance(doing.step, Unknown)
        and all(op.inputs[index] in stored for index in doing.constants)
        and all(use.weight is not None for use in found)
    )


def _at(op: Op, step: Step, index: int, resolution: Resolution, woven: Mapping[str, Constant]) -> Iterator[Use]:
    """The uses at one operand that is constant."""
    name = op.inputs[index]
    role = _role(op, step, index, resolution)
    if role is None:
        return
    constant = constant_of(name, resolution, woven)
    part, kind = role
    least = 0 if (isinstance(step, Unknown) and step.has_rule) or part == "weight" else 1
    yield from _lost(op, step, index, kind, constant.lost, least)
    if isinstance(step, Unknown):
        yield from _unlabelled(op, step, index, constant.strands, step.reason, 0 if step.has_rule else 1)
        return
    try:
        label = _label(step, index, part, _shape(name, resolution))
        if part == "weight":
            label = unrepeated(label, constant.strands)
    except NoRule as error:
        yield from _unlabelled(op, step, index, constant.strands, str(error), 0)
        return
    if part == "weight" and any(strand.ref.dtype == "string" for strand in constant.strands):
        yield from (
            Use(op, step, index, "unlabelled", kind, s.root, s.ref, reason="it holds text") for s in constant.strands
        )
        return
    stage = stage_of(step, index) if isinstance(step, Binding) else 0
    for strand, own in _parts(constant.strands, label, part, kind):
        yield _told(Use(op, step, index, own[0], own[1], strand.root, strand.ref, stage, label), strand)


def _picked_at(op: Op, step: Step, resolution: Resolution, woven: Mapping[str, Constant]) -> Iterator[Use]:
    """Weights that the running model picked from a stored tensor, where they meet an activation."""
    if not isinstance(step, Binding) or step.rule.kind not in CONTRACTING:
        return
    for index, name in enumerate(op.inputs):
        if name in resolution.constants or name not in woven or step.rule.operands[index].mark:
            continue
        try:
            label = label_operand(step, index)
        except NoRule as error:
            yield from _unlabelled(op, step, index, woven[name].strands, str(error), 0)
            continue
        for strand in woven[name].strands:
            own = chosen(strand, label)
            if own is not None:
                yield _told(Use(op, step, index, "weight", "experts", strand.root, strand.ref, 0, own), strand)


def _role(op: Op, step: object, index: int, resolution: Resolution) -> tuple[Part, str] | None:
    """What a constant at operand ``index`` is there; None where it carries no features."""
    if isinstance(step, Unknown):
        return ("unlabelled", "")
    if isinstance(step, Featureless):
        return None
    if isinstance(step, Layout):
        return ("modulator", "elementwise") if index in payload(op) else None
    rule = step.rule if isinstance(step, Binding) else step
    if not isinstance(rule, Rule) or index >= len(rule.operands):
        return None
    pattern = rule.operands[index]
    if pattern.mark == "_":
        return None
    if pattern.mark == "%":
        return ("modulator", "quantization")
    if pattern.mark == "~":
        kind = (
            "bias" if rule.kind in CONTRACTING else "normalisation" if rule.kind == "normalisation" else "elementwise"
        )
        return ("modulator", kind)
    if pattern.mark == "<":
        return ("modulator", "elementwise")
    if rule.kind in CONTRACTING:
        return ("weight", rule.kind)
    if rule.kind == "lookup" and any(axis.picked for axis in pattern.axes):
        return ("lookup", "lookup")
    return ("modulator", "elementwise")


def _shape(name: str, resolution: Resolution) -> tuple[int, ...]:
    shape = resolution.shapes.get(name)
    if shape is None:
        raise NoRule(f"the shape of {name!r} is not known; give the dynamic dimensions with --dim or --shape")
    return shape


def _label(step: object, index: int, part: Part, shape: tuple[int, ...]) -> OperandLabel:
    if not isinstance(step, Binding):
        return aligned(shape)
    if part == "modulator":
        return modulating(step, index) if step.operands[index] is not None else aligned(shape)
    label = label_operand(step, index)
    if (
        part == "weight"
        and step.rule.kind.startswith("conv")
        and not any(axis.variadic and axis.factors[0] == "k" for axis in step.rule.operands[index].axes)
    ):
        raise NoRule("the image is constant and the kernel is not")
    return label


def _parts(
    strands: tuple[Strand, ...], label: OperandLabel, part: Part, kind: str
) -> Iterator[tuple[Strand, tuple[Part, str]]]:
    """Every strand with what it is: of several that make up one operand, those that reach both its neurons and its
    synapses are its weights, and the others modulate them (a scale, a low-rank factor)."""
    if part == "weight" or part == "lookup":
        inner: Role = "synapse" if part == "weight" else "lookup"
        full = [
            strand
            for strand in strands
            if strand.modulates is None and covers(strand, label, "neuron") and covers(strand, label, inner)
        ]
        for strand in strands:
            if strand in full or (not full and strand.modulates is None):
                yield strand, (part, kind)
            else:
                yield strand, ("modulator", strand.modulates or "elementwise")
        return
    for strand in strands:
        own = strand.modulates or kind
        if own == "elementwise" and strand.picked and strand.is_numeric:
            # Rows of a table picked by constant indices (positions): a lookup, though nothing of the input picks them.
            yield strand, ("lookup", "lookup")
        elif own in ("bias", "normalisation") or (
            strand.ref.elements > 1 and (own == "quantization" or strand.is_numeric)
        ):
            yield strand, (part, own)


def _told(use: Use, strand: Strand) -> Use:
    """``use`` with its label told in the stored tensor's own axes, or unlabelled with the reason."""
    label = use.label
    if label is None:
        return use
    if use.part == "modulator":
        label = OperandLabel(label.axes, label.sizes, dict.fromkeys(label.roles, "shared"))
    elif use.part == "lookup" and strand.picked:
        label = OperandLabel(label.axes, label.sizes, dict.fromkeys(label.roles, "neuron"))
    try:
        weight = use_of(strand, label, use.operand)
    except (NoRule, TooLargeError) as error:
        return use._replace(part="unlabelled", label=None, weight=None, reason=str(error))
    return use._replace(weight=weight, reason="")


def _unlabelled(
    op: Op, step: Step, index: int, strands: tuple[Strand, ...], reason: str, least: int
) -> Iterator[Use]:
    """The strands nothing can be said of, but for those of ``least`` elements and fewer: constants that steer an op."""
    for strand in strands:
        if strand.is_numeric and strand.ref.elements > least:
            yield Use(op, step, index, "unlabelled", "", strand.root, strand.ref, reason=reason)


def _lost(op: Op, step: Step, index: int, kind: str, lost: tuple[Lost, ...], least: int) -> Iterator[Use]:
    for item in lost:
        if item.ref.elements > least and not (item.ref.dtype == "int32" and kind == "elementwise"):
            yield Use(op, step, index, "unlabelled", kind, item.root, item.ref, reason=item.reason)

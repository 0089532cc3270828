"""Counting: neurons, synapses and parameters of every layer and of the model, each stored weight once."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from itertools import groupby
from math import prod

from graphneurons.activations import activation_of
from graphneurons.analysis import (
    Analysis,
    Layer,
    Lookup,
    Modulator,
    OpRef,
    Totals,
    Unlabelled,
    WeightUse,
)
from graphneurons.axes.binding import Binding
from graphneurons.axes.labelling import OperandLabel
from graphneurons.axes.resolving import Resolution
from graphneurons.axes.steps import Step
from graphneurons.axes.uses import Use
from graphneurons.graph import Op
from graphneurons.naming import unique_ids
from graphneurons.wiring.records import Wiring
from graphneurons.wiring.wiring import Named

Group = tuple[Op, list[Use]]


def named(resolution: Resolution, found: Iterable[Use], part: str) -> list[Named]:
    """The uses that play ``part``, those of one op and one of its sums together, with the id they go by."""
    groups = _grouped([use for use in found if use.part == part])
    ids = unique_ids([(op, uses[0].ref.name) for op, uses in groups])
    if part != "weight":
        return [Named(name, op, tuple(uses)) for name, (op, uses) in zip(ids, groups, strict=True)]
    return [
        Named(name, op, tuple(uses), activation_of(op, resolution))
        for name, (op, uses) in zip(ids, groups, strict=True)
    ]


def count(
    resolution: Resolution,
    found: Sequence[Use],
    weights: Sequence[Named],
    tables: Sequence[Named],
    modulators: tuple[Modulator, ...],
    roles: Mapping[str, str],
    wiring: Wiring,
) -> Analysis:
    """The analysis: ``found`` uses, of which ``weights`` make layers (of which some play one of ``roles``, by id) and
    ``tables`` lookups, recorded and summed up."""
    attached: dict[str | None, tuple[str, ...]] = {}
    for modulator in modulators:
        kinds = attached.get(modulator.of, ())
        if modulator.kind not in kinds:
            attached[modulator.of] = (*kinds, modulator.kind)
    layers = _layers(weights, roles, attached)
    unknown = [use for use in found if use.part == "unlabelled"]
    return Analysis(
        model=resolution.graph.info,
        totals=_totals(layers, weights, found),
        layers=layers,
        lookups=_lookups(tables),
        modulators=modulators,
        unlabelled=tuple(
            dict.fromkeys(Unlabelled(use.ref.name, use.ref.shape, op_ref(use.op), use.reason) for use in unknown)
        ),
        notices=resolution.graph.notices,
        graph=resolution.graph,
        wiring=wiring,
        resolution=resolution,
    )


def op_ref(op: Op) -> OpRef:
    return OpRef(op.type, op.domain, op.name, op.output)


def _grouped(found: Iterable[Use]) -> list[Group]:
    """Uses of one op and one of its sums together, in graph order."""
    groups: list[Group] = []
    own: dict[tuple[int, str], list[Use]] = {}
    op: Op | None = None
    for use in found:
        if use.op is not op:
            # All uses of one op come one after the other.
            op, own = use.op, {}
        key = (use.stage if use.part == "weight" else 0, use.kind if use.part == "modulator" else "")
        group = own.get(key)
        if group is None:
            group = own[key] = []
            groups.append((use.op, group))
        group.append(use)
    return groups


def _weights(found: Iterable[Use]) -> tuple[WeightUse, ...]:
    return tuple([weight for use in found if (weight := use.weight) is not None])


def _layers(
    groups: Sequence[Named],
    roles: Mapping[str, str],
    attached: Mapping[str | None, tuple[str, ...]],
) -> tuple[Layer, ...]:
    layers: list[Layer] = []
    alike: dict[tuple[str, ...], list[Named]] = {}
    for item in groups:
        name, op, found = item.id, item.op, item.uses
        neurons, synapses, units = _sizes(found[0].step, *[(use.operand, use.label) for use in found])
        same = alike.setdefault(tuple([use.root for use in found]), [])
        layers.append(
            Layer(
                id=name,
                scope=op.scope,
                kind=item.kind,
                op=op_ref(op),
                neurons=neurons,
                synapses_per_neuron=synapses,
                synapses=neurons * synapses,
                activation=item.activation,
                weights=_weights(found),
                units=units,
                tied_to=next((other.id for other in same if _are_tied(item, other)), None),
                role=roles.get(name),
                attached=attached.get(name, ()),
            )
        )
        same.append(item)
    return tuple(layers)


def _are_tied(one: Named, other: Named) -> bool:
    """Whether two layers of the same stored tensors use the same parts of them, in the same roles."""
    weights = [(use.weight, twin.weight) for use, twin in zip(one.uses, other.uses, strict=True)]
    return all(a == b or (a and b and (a.part, a.axes) == (b.part, b.axes)) for a, b in weights)


@lru_cache(maxsize=8192)
def _sizes(step: Step, *told: tuple[int, OperandLabel | None]) -> tuple[int, int, int | None]:
    """Of an op whose weight operands are labelled so: its neurons, the synapses of each, and its hidden units, if it is
    recurrent: of its neuron factors, those that its output still has."""
    labels = {operand: label for operand, label in told if label is not None}
    neurons = max([label.neurons for label in labels.values()])
    synapses = sum([label.synapses_per_neuron for label in labels.values()])
    first = told[0][1]
    if not isinstance(step, Binding) or step.rule.kind != "recurrent" or first is None:
        return neurons, synapses, None
    kept = {name for axis in step.results[0] or () for name in axis}
    units = [first.sizes[name] for name, role in first.roles.items() if role == "neuron" and name in kept]
    return neurons, synapses, prod(units)


def _lookups(groups: Sequence[Named]) -> tuple[Lookup, ...]:
    return tuple(
        Lookup(item.id, item.op.scope, op_ref(item.op), *_extent(item.uses), _weights(item.uses)) for item in groups
    )


def _extent(found: Sequence[Use]) -> tuple[int, int]:
    """Rows and width of a table: the sizes of its lookup axes, and of all others."""
    rows = width = 1
    for axis in found[0].weight.axes if found[0].weight else ():
        rows, width = (rows * axis.size, width) if axis.role == "lookup" else (rows, width * axis.size)
    return rows, width


def modulator(item: Named, kind: str, of: str | None) -> Modulator:
    """The record of modulating uses, aligned with the neurons of what is called ``of``."""
    return Modulator(item.id, item.op.scope, kind, op_ref(item.op), _weights(item.uses), of)


def _totals(layers: Sequence[Layer], groups: Sequence[Named], found: Sequence[Use]) -> Totals:
    counted: set[object] = set()
    synapses = 0
    for layer, item in zip(layers, groups, strict=True):
        for here in _by_operand(item.uses):
            key = tuple([(use.root, use.weight and use.weight.part) for use in here])
            label = here[0].label
            if key not in counted and label is not None:
                counted.add(key)
                synapses += layer.neurons * label.synapses_per_neuron
    elements = _elements(found)
    lost = {use.root for use in found if use.part == "unlabelled"}
    whole = sum(elements.values())
    return Totals(
        neurons=sum([layer.neurons for layer in layers if layer.tied_to is None]),
        synapses=synapses,
        parameters=whole,
        labelled_elements=whole - sum([elements[root] for root in lost]),
        weight_elements=whole,
    )


def _by_operand(uses: Sequence[Use]) -> Iterable[Sequence[Use]]:
    """Uses of one op, those of one operand together."""
    if len(uses) == 1:
        return (uses,)
    return [list(together) for _, together in groupby(uses, lambda use: use.operand)]


def _elements(found: Iterable[Use]) -> Mapping[str, int]:
    """Stored tensor -> how many numbers it holds; packed ones count what they unpack to."""
    elements: dict[str, int] = {}
    sizes: dict[tuple[int, ...], int] = {}
    for use in found:
        label, shape = use.label, use.ref.shape
        size = sizes.get(shape)
        if size is None:
            size = sizes[shape] = prod(shape)
        if label is not None and label.packed is not None and use.part == "weight":
            size = label.neurons * label.synapses_per_neuron
        elements[use.root] = max(size, elements.get(use.root, 0))
    return elements

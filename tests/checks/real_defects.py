"""Defects to inject into real exports, at random places; each says what has to be found, and where."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper

from graphneurons.checks.readers import groups_of
from tests.checks.defects import ON_NEURONS
from tests.checks.models import Random, attribute
from tests.checks.real_models import (
    FLOAT,
    QUANTIZED,
    RECURRENT,
    Ground,
    Spot,
    bias_of,
    chain,
    node_of,
    pick,
    put,
    readers,
    spots,
    stored,
    values_of,
)  # fmt: skip
from tests.checks.real_scales import bad_scale, clip, scale_axis
from tests.checks.sought import Inject, Place, Sought, sought_at, two


@dataclass(frozen=True)
class RealDefect:
    """``inject`` changes a copy of a model, or returns None where it has no place for this defect."""

    name: str
    inject: Inject
    grounds: tuple[tuple[str, ...], ...] = FLOAT


def _explode(rows: Any, chosen: tuple[int, ...], random: Random) -> None:
    rows[list(chosen)] = np.sign(rows[list(chosen)] + np.float32(0.5)) * np.float32(2e4)


def _overflow(rows: Any, chosen: tuple[int, ...], random: Random) -> None:
    rows[list(chosen)] = np.sign(rows[list(chosen)] + np.float32(0.5)) * np.float32(1e6)


def _on_neurons(change: Callable[..., None], code: str) -> Inject:
    def inject(ground: Ground, made: onnx.ModelProto, random: Random) -> Sought | None:
        spot: Spot | None = pick(spots(ground.analysis, made), random)
        if spot is None:
            return None
        values = values_of(stored(made)[spot.name])
        rows = np.moveaxis(values, spot.axis, 0)
        chosen = two(rows.shape[0], random)
        change(rows, chosen, random)
        put(made, spot.name, values)
        return sought_at(code, spot.layer.id, chosen)

    return inject


def _recurrent(change: Callable[..., None], code: str, weights: slice) -> Inject:
    """In rows of one direction, of the weights of inputs and of states."""

    def inject(ground: Ground, made: onnx.ModelProto, random: Random) -> Sought | None:
        layer = pick([each for each in ground.analysis.layers if each.op.type in ("LSTM", "GRU", "RNN")], random)
        if layer is None or any(use.weight.name not in stored(made) for use in layer.weights):
            return None
        directions = layer.weights[0].weight.shape[0]
        rows = layer.neurons // directions
        direction = int(random.integers(directions))
        chosen = two(rows, random)
        for use in layer.weights[weights]:
            values = values_of(stored(made)[use.weight.name])
            change(values[direction], chosen, random)
            put(made, use.weight.name, values)
        return sought_at(code, layer.id, tuple(direction * rows + each for each in chosen))

    return inject


def _grouped(change: Callable[..., None], code: str) -> Inject:
    """In a convolution whose groups read channels of their own."""

    def inject(ground: Ground, made: onnx.ModelProto, random: Random) -> Sought | None:
        layer = pick([each for each in ground.analysis.layers if groups_of(ground.analysis, each.id) > 1], random)
        if layer is None or layer.op.type != "Conv" or layer.weights[0].weight.name not in stored(made):
            return None
        name = layer.weights[0].weight.name
        values = values_of(stored(made)[name])
        chosen = two(values.shape[0], random)
        change(values, chosen, random)
        put(made, name, values)
        return sought_at(code, layer.id, chosen)

    return inject


def _unread(ground: Ground, made: onnx.ModelProto, random: Random) -> Sought | None:
    found = _chains(ground, made)
    if not found:
        return None
    before, after = pick(found, random)
    (inner,) = (at for at, axis in enumerate(after.use.axes) if axis.size == before.layer.neurons and at != after.axis)
    chosen = two(before.layer.neurons, random)
    values = values_of(stored(made)[after.name])
    np.moveaxis(values, inner, 0)[list(chosen)] = 0
    put(made, after.name, values)
    return sought_at("GN209", before.layer.id, chosen)


def _chains(ground: Ground, made: onnx.ModelProto) -> list[tuple[Spot, Spot]]:
    """Pairs of layers of which the second alone reads the first."""
    all_spots = spots(ground.analysis, made)
    among = {spot.layer.op.output: spot for spot in all_spots}
    pairs = [(spot, chain(made, spot.layer, among)) for spot in all_spots]
    return [
        (before, after)
        for before, after in pairs
        if after is not None
        and sum(axis.size == before.layer.neurons for at, axis in enumerate(after.use.axes) if at != after.axis) == 1
    ]


def _silence(ground: Ground, made: onnx.ModelProto, random: Random) -> Sought | None:
    found = [spot for spot in spots(ground.analysis, made) if spot.layer.activation == "Relu"]
    spot: Spot | None = pick([each for each in found if bias_of(made, each.layer) is not None], random)
    if spot is None:
        return None
    place = bias_of(made, spot.layer)
    assert place is not None
    name = place[0].input[place[1]]
    bias = values_of(stored(made)[name])
    chosen = two(bias.size, random)
    bias[list(chosen)] = -1e37
    put(made, name, bias)
    inputs = [each for each in made.graph.input if each.type.tensor_type.elem_type == onnx.TensorProto.FLOAT]
    ranges = {each.name: [-1.0, 1.0] for each in inputs}
    return sought_at("GN203", spot.layer.id, chosen, policy={"input-ranges": ranges})


def _nan_bias(ground: Ground, made: onnx.ModelProto, random: Random) -> Sought | None:
    found = [spot for spot in spots(ground.analysis, made) if bias_of(made, spot.layer) is not None]
    spot: Spot | None = pick(found, random)
    if spot is None:
        return None
    place = bias_of(made, spot.layer)
    assert place is not None
    name = place[0].input[place[1]]
    bias = values_of(stored(made)[name])
    chosen = int(random.integers(bias.size))
    bias[chosen] = np.nan
    put(made, name, bias)
    return sought_at("GN201", spot.layer.id, (chosen,))


def _drop_bias(cleaned: bool) -> Inject:
    def inject(ground: Ground, made: onnx.ModelProto, random: Random) -> Sought | None:
        found = [spot for spot in spots(ground.analysis, made) if bias_of(made, spot.layer) is not None]
        spot: Spot | None = pick(found, random)
        if spot is None:
            return None
        place = bias_of(made, spot.layer)
        assert place is not None
        node, at = place
        name = node.input[at]
        if node.op_type == "Add":
            _bypass(made, node, node.input[1 - at])
        else:
            del node.input[2:]
        if not cleaned:
            return sought_at("GN102", None, weight=name) if spot.layer.neurons >= 16 else None
        made.graph.initializer.remove(stored(made)[name])
        return Sought(DRIFT, frozenset({(spot.layer.id, None)}), {"select": ["GN5"]}, against=True)

    return inject


DRIFT = ("GN501", "GN502", "GN503", "GN504", "GN506", "GN509")


def _bypass(made: onnx.ModelProto, node: onnx.NodeProto, value: str) -> None:
    """Whoever read the node's output now reads ``value``."""
    outputs = {each.name for each in made.graph.output}
    if node.output[0] in outputs:
        node.CopyFrom(helper.make_node("Identity", [value], [node.output[0]], name=node.name))
        return
    for each in readers(made, node.output[0]):
        each.input[:] = [value if name == node.output[0] else name for name in each.input]
    made.graph.node.remove(node)


def _transpose(square: bool) -> Inject:
    def inject(ground: Ground, made: onnx.ModelProto, random: Random) -> Sought | None:
        found = [spot for spot in spots(ground.analysis, made) if len(spot.use.axes) == 2]
        spot: Spot | None = pick([s for s in found if (s.use.axes[0].size == s.use.axes[1].size) is square], random)
        if spot is None:
            return None
        put(made, spot.name, values_of(stored(made)[spot.name]).T)
        if square:
            return Sought(DRIFT, frozenset({(spot.layer.id, None)}), {"select": ["GN5"]}, against=True)
        return sought_at("GN107", spot.layer.id)

    return inject


def _swap_layers(ground: Ground, made: onnx.ModelProto, random: Random) -> Sought | None:
    found = spots(ground.analysis, made)
    first: Spot | None = pick(found, random)
    if first is None:
        return None
    alike = [each for each in found if each.use.weight.shape == first.use.weight.shape and each.name != first.name]
    second: Spot | None = pick(alike, random)
    if second is None:
        return None
    one, two = values_of(stored(made)[first.name]), values_of(stored(made)[second.name])
    put(made, first.name, two)
    put(made, second.name, one)
    places: frozenset[Place] = frozenset({(first.layer.id, None), (second.layer.id, None)})
    return Sought(DRIFT, places, {"select": ["GN5"]}, against=True)


def _other_model(ground: Ground, made: onnx.ModelProto, random: Random) -> Sought | None:
    """The weights of a model of the same architecture, trained from another seed."""
    found = spots(ground.analysis, made)
    for spot in found:
        values = values_of(stored(made)[spot.name])
        put(made, spot.name, (random.normal(size=values.shape) * values.std()).astype(np.float32))
    if not found:
        return None
    places: frozenset[Place] = frozenset((spot.layer.id, None) for spot in found)
    return Sought(DRIFT, places, {"select": ["GN5"]}, against=True)


def _less_a_neuron(made: onnx.ModelProto, spot: Spot, random: Random) -> None:
    """Cuts one neuron of a layer, with its bias, and leaves its readers as they were."""
    bias = bias_of(made, spot.layer)
    gone = int(random.integers(spot.layer.neurons))
    put(made, spot.name, np.delete(values_of(stored(made)[spot.name]), gone, spot.axis))
    if bias is not None:
        name = bias[0].input[bias[1]]
        put(made, name, np.delete(values_of(stored(made)[name]), gone))
    del made.graph.value_info[:]


def _prune(ground: Ground, made: onnx.ModelProto, random: Random) -> Sought | None:
    """A neuron less, with its bias, and its reader as it was."""
    found = _chains(ground, made)
    if not found:
        return None
    before, after = pick(found, random)
    _less_a_neuron(made, before, random)
    return sought_at("GN107", after.layer.id)


def _prune_coupled(ground: Ground, made: onnx.ModelProto, random: Random) -> Sought | None:
    """A neuron less in one of two layers whose outputs are added."""
    all_spots = spots(ground.analysis, made)
    producers = {spot.layer.op.output: spot for spot in all_spots}
    for spot in all_spots:
        bias = bias_of(made, spot.layer)
        if bias is not None and bias[0].op_type == "Add":
            producers[bias[0].output[0]] = spot
    # fmt: off
    coupled = [
        spot
        for value, spot in producers.items()
        for node in readers(made, value)
        if node.op_type == "Add" and len(readers(made, value)) == 1
        and not any(name in stored(made) for name in node.input)
    ]
    # fmt: on
    chosen: Spot | None = pick(coupled, random)
    if chosen is None:
        return None
    _less_a_neuron(made, chosen, random)
    return sought_at("GN107", chosen.layer.id)


def _train_dropout(ground: Ground, made: onnx.ModelProto, random: Random) -> Sought | None:
    spot: Spot | None = pick(spots(ground.analysis, made), random)
    node = None if spot is None else node_of(made, spot.layer)
    if spot is None or node is None or next(each.version for each in made.opset_import if each.domain == "") < 12:
        return None
    made.graph.initializer.append(numpy_helper.from_array(np.float32(0.1), "injected.ratio"))
    made.graph.initializer.append(numpy_helper.from_array(np.array(True), "injected.training"))
    value = node.output[0]
    node.output[0] = "injected.before"
    drop = helper.make_node("Dropout", ["injected.before", "injected.ratio", "injected.training"], [value], name="drop")
    made.graph.node.insert(list(made.graph.node).index(node) + 1, drop)
    return Sought(("GN104",), frozenset())


def _train_batch_norm(ground: Ground, made: onnx.ModelProto, random: Random) -> Sought | None:
    nodes = [each for each in made.graph.node if each.op_type == "BatchNormalization" and len(each.output) == 1]
    node = pick(nodes, random)
    layers = {layer.op.output: layer.id for layer in ground.analysis.layers}
    if node is None or next(each.version for each in made.opset_import if each.domain == "") < 14:
        return None
    attribute(node, "training_mode", 1)
    node.output.extend(["injected.mean", "injected.variance"])
    return sought_at("GN104", layers.get(node.input[0]))


def _lose_branch(ground: Ground, made: onnx.ModelProto, random: Random) -> Sought | None:
    """The sum of a residual connection takes only what came in: what is beside it reaches nothing."""
    layers = {layer.op.output: layer.id for layer in ground.analysis.layers}
    before = _needed(made)
    sums = [each for each in made.graph.node if each.op_type == "Add"]
    for at in random.permutation(len(sums)):
        node = sums[int(at)]
        up = [_upstream(made, [name]) for name in node.input]
        kept = next((each for each in range(2) if node.input[each] in up[1 - each]), None)
        if kept is None:
            continue
        tried = onnx.ModelProto()
        tried.CopyFrom(made)
        _bypass(tried, next(each for each in tried.graph.node if each.output == node.output), node.input[kept])
        lost = before - _needed(tried)
        if any(name in layers for name in lost):
            made.CopyFrom(tried)
            return Sought(("GN106",), frozenset((layers[name], None) for name in lost if name in layers))
    return None


def _needed(made: onnx.ModelProto) -> set[str]:
    return _upstream(made, [each.name for each in made.graph.output])


def _upstream(made: onnx.ModelProto, values: list[str]) -> set[str]:
    writers = {name: node for node in made.graph.node for name in node.output}
    seen: set[str] = set()
    waiting = [*values]
    while waiting:
        name = waiting.pop()
        if name not in seen:
            seen.add(name)
            waiting.extend(writers[name].input if name in writers else ())
    return seen


def _untie(ground: Ground, made: onnx.ModelProto, random: Random) -> Sought | None:
    tables = {use.weight.name for each in ground.analysis.lookups for use in each.weights}
    tied = [layer for layer in ground.analysis.layers if layer.weights[0].weight.name in tables]
    layer = pick(tied, random)
    node = None if layer is None else node_of(made, layer)
    writers = {name: each for each in made.graph.node for name in each.output}
    if layer is None or node is None or len(node.input) < 2:
        return None
    table = values_of(stored(made)[layer.weights[0].weight.name])
    turn = writers.get(node.input[1])
    if turn is None or turn.op_type != "Transpose":
        return None
    made.graph.initializer.append(numpy_helper.from_array(np.ascontiguousarray(table.T), "injected.head"))
    node.input[1] = "injected.head"
    if not readers(made, turn.output[0]):
        made.graph.node.remove(turn)
    return sought_at("GN103", layer.id)


_CHANGES = {**ON_NEURONS, "exploding neurons": (_explode, "GN208"), "float16 overflow": (_overflow, "GN305")}
_QDQ = tuple(each for each in QUANTIZED if each[2].startswith("qdq"))
_QOPERATOR = tuple(each for each in QUANTIZED if each[2].startswith("qoperator"))

REAL_DEFECTS: tuple[RealDefect, ...] = (
    *(RealDefect(name, _on_neurons(change, code)) for name, (change, code) in _CHANGES.items()),
    RealDefect("zeroed recurrent neurons", _recurrent(*ON_NEURONS["zeroed neurons"], slice(None)), RECURRENT),
    RealDefect("duplicated recurrent neuron", _recurrent(*ON_NEURONS["duplicated neuron"], slice(None)), RECURRENT),
    RealDefect("NaN in the weights of a state", _recurrent(*ON_NEURONS["NaN"], slice(1, 2)), RECURRENT),
    RealDefect("zeroed neurons of a grouped convolution", _grouped(*ON_NEURONS["zeroed neurons"])),
    RealDefect("NaN in a grouped convolution", _grouped(*ON_NEURONS["NaN"])),
    RealDefect("columns zeroed", _unread),
    RealDefect("silent ReLU", _silence),
    RealDefect("NaN in a bias", _nan_bias),
    RealDefect("dropped bias, left in the file", _drop_bias(cleaned=False)),
    RealDefect("dropped bias, gone from the file", _drop_bias(cleaned=True)),
    RealDefect("transposed weight", _transpose(square=False)),
    RealDefect("transposed square weight", _transpose(square=True)),
    RealDefect("swapped weights of two layers", _swap_layers),
    RealDefect("weights of another model", _other_model),
    RealDefect("pruned without its reader", _prune),
    RealDefect("pruned without what it is added to", _prune_coupled),
    RealDefect("dropout in training mode", _train_dropout),
    RealDefect("batch normalisation in training mode", _train_batch_norm),
    RealDefect("lost residual branch", _lose_branch),
    RealDefect("untied embedding", _untie),
    RealDefect("scales on a synapse axis, QDQ", scale_axis("qdq"), _QDQ),
    RealDefect("scales of a synapse axis, QOperator", scale_axis("qoperator"), _QOPERATOR),
    RealDefect("scale zero, QDQ", bad_scale("qdq", 0.0), _QDQ),
    RealDefect("scale infinite, QOperator", bad_scale("qoperator", float("inf")), _QOPERATOR),
    RealDefect("clipped, QDQ", clip("qdq"), _QDQ),
    RealDefect("clipped, QOperator", clip("qoperator"), _QOPERATOR),
)

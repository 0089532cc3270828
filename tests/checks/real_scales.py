"""Defects of scales and of what they quantize, injected into real quantized exports."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
from onnx import numpy_helper

from tests.checks.models import Random, attribute
from tests.checks.real_models import Ground, pick, put, stored, values_of
from tests.checks.sought import Inject, Sought, sought_at, two


def _scaled(ground: Ground, made: onnx.ModelProto, kind: str) -> list[tuple[onnx.NodeProto, Any, Any]]:
    """Nodes that scale (DequantizeLinear) or multiply (QLinear...) a weight per neuron, with its layer and use."""
    uses = {use.weight.name: (layer, use) for layer in ground.analysis.layers for use in layer.weights}
    tensors = stored(made)
    at = {"DequantizeLinear": 0, "QLinearConv": 3, "QLinearMatMul": 3}
    found = []
    for node in made.graph.node:
        if node.op_type in at and (node.op_type == "DequantizeLinear") is (kind == "qdq"):
            own = uses.get(node.input[at[node.op_type]])
            scale = tensors.get(node.input[at[node.op_type] + 1])
            if own is not None and scale is not None and list(scale.dims) == [own[0].neurons]:
                found.append((node, *own))
    return found


def scale_axis(kind: str) -> Inject:
    def inject(ground: Ground, made: onnx.ModelProto, random: Random) -> Sought | None:
        chosen = pick(_scaled(ground, made, kind), random)
        if chosen is None:
            return None
        node, layer, use = chosen
        synapses = [at for at, each in enumerate(use.axes) if each.role == "synapse" and each.size > 1]
        synapses = [at for at in synapses if kind == "qdq" or use.axes[at].size != layer.neurons]
        if not synapses:
            return None
        first = 1 if kind == "qdq" else 4
        for operand in (first, first + 1):
            old = values_of(stored(made)[node.input[operand]])
            size = use.axes[synapses[0]].size
            new = np.full(size, old.reshape(-1)[0], old.dtype)
            made.graph.initializer.append(numpy_helper.from_array(new, f"injected.{operand}"))
            node.input[operand] = f"injected.{operand}"
        if kind == "qdq":
            attribute(node, "axis", synapses[0])
            return sought_at("GN301", layer.id, axis=synapses[0])
        return sought_at("GN302", layer.id)

    return inject


def bad_scale(kind: str, value: float) -> Inject:
    def inject(ground: Ground, made: onnx.ModelProto, random: Random) -> Sought | None:
        chosen = pick(_scaled(ground, made, kind), random)
        if chosen is None:
            return None
        node, layer, _ = chosen
        name = node.input[1 if kind == "qdq" else 4]
        scale = values_of(stored(made)[name])
        neurons = two(scale.size, random)
        scale[list(neurons)] = value
        put(made, name, scale)
        return sought_at("GN303", layer.id, neurons)

    return inject


def clip(kind: str) -> Inject:
    def inject(ground: Ground, made: onnx.ModelProto, random: Random) -> Sought | None:
        found = [each for each in _scaled(ground, made, kind) if each[2].weight.dtype == "int8"]
        chosen = pick([each for each in found if each[1].synapses_per_neuron >= 64], random)
        if chosen is None:
            return None
        _, layer, use = chosen
        values = values_of(stored(made)[use.weight.name]).astype(np.int64)
        axis = next(at for at, each in enumerate(use.axes) if each.role != "synapse")
        rows = np.moveaxis(values, axis, 0)
        neurons = two(rows.shape[0], random)
        rows[list(neurons)] *= 8
        put(made, use.weight.name, values.clip(-127, 127).astype(np.int8))
        return sought_at("GN304", layer.id, neurons)

    return inject

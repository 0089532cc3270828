"""Cut and perturb: every layer's output is held, one neuron of one layer is moved, and PyTorch says which channels of
which layers see it. Statistics of normalisations and attention weights are held too: through them all reaches all.
"""

from __future__ import annotations

import random
from functools import cache
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from graphneurons.analysis import Layer
from graphneurons.wiring.records import MIXED, Wiring
from tests.torch.fronts import analysis, program
from tests.zoo.architectures import ZOO

MODELS = (
    "mlp_2d", "mlp_3d", "cnn_bn", "grouped_conv", "conv_1d_3d", "pixel_shuffle", "nhwc_flatten", "concat_flatten",
    "shared_linear", "gated", "lora", "tied_head", "attention", "encoder", "encoder_norm_first", "densenet",
    "shufflenet",
    "unet", "convnext", "swin", "mixer", "gpt2", "bert", "vit", "llama", "qwen3",
)  # fmt: skip
NEURONS_OF_A_LAYER = 3
READS = {"linear": -1, "addmm": -1, "mm": -1, "conv1d": 1, "conv2d": 1, "conv3d": 1}
"""Operator -> the axis of its activation that it contracts."""


class Cut(torch.fx.Interpreter):
    """Runs a program with the outputs of its layers held at ``held``, noting what arrives at each of them."""

    def __init__(self, name: str, layers: dict[str, Layer], held: dict[str, Tensor]) -> None:
        super().__init__(program(name).graph_module)
        self.layers, self.held = layers, held
        self.arrived: dict[str, Tensor] = {}
        self.frozen: dict[str, Tensor] = {}

    def run_node(self, node: torch.fx.Node) -> Any:
        kind = getattr(node.target, "_opname", "")
        if node.op == "call_function" and kind in HOLDING:
            args, kwargs = self.fetch_args_kwargs_from_env(node)
            return HOLDING[kind](self, node.name, args, kwargs)
        value = super().run_node(node)
        if node.name in self.layers:
            if kind not in READS:
                return self.held.setdefault(node.name, value)
            args, _ = self.fetch_args_kwargs_from_env(node)
            self.arrived[node.name] = args[1] if kind == "addmm" else args[0]
            return self.held.setdefault(node.name, value)
        return value


def _normalised(cut: Cut, name: str, args: Any, kwargs: Any) -> Tensor:
    x = args[0]
    kind = getattr(torch.ops.aten, "group_norm" if isinstance(args[1], int) else "layer_norm")
    found = kind(*args, **kwargs)
    before = cut.held.setdefault(f"{name}/in", x)
    after = cut.held.setdefault(name, found)
    return after + (x - before)


def _held(cut: Cut, name: str, args: Any, kwargs: Any) -> Tensor:
    return cut.held.setdefault(name, torch.softmax(args[0], args[1]))


def _attended(cut: Cut, name: str, args: Any, kwargs: Any) -> Tensor:
    query, key, value = args[:3]
    if query.shape[1] != key.shape[1]:
        key, value = (part.repeat_interleave(query.shape[1] // key.shape[1], 1) for part in (key, value))
    weights = cut.held.setdefault(name, torch.softmax(query @ key.transpose(-1, -2), -1))
    return weights @ value


HOLDING = {
    "layer_norm": _normalised,
    "group_norm": _normalised,
    "softmax": _held,
    "scaled_dot_product_attention": _attended,
    "rsqrt": lambda cut, name, args, kwargs: cut.held.setdefault(name, torch.rsqrt(args[0])),
}


def arguments(name: str) -> list[Any]:
    """What the graph's placeholders are fed, parameters and buffers first."""
    exported = program(name)
    state = {**exported.state_dict, **exported.constants}
    specs = exported.graph_signature.input_specs
    stored = [state[spec.target] for spec in specs if spec.target is not None]
    return [*stored, *ZOO[name].arguments()]


@cache
def layers(name: str) -> dict[str, Layer]:
    """Layers by the node that makes them."""
    return {layer.op.name: layer for layer in analysis(name, "export").layers}


def reaching(wiring: Wiring) -> dict[int, frozenset[int]]:
    """Junction index -> the numbers of all that flows into it, through other junctions too."""
    found: dict[int, frozenset[int]] = {}
    for junction in wiring.junctions:
        base = wiring.source[f"junction:{junction.id}"].base
        for index in range(junction.size):
            numbers = {int(member.reshape(-1)[index]) for member in junction.members}
            found[base + index] = frozenset().union(*(found.get(number, frozenset({number})) for number in numbers))
    return found


def changed_channels(before: Tensor, after: Tensor, axis: int) -> set[int]:
    moved = ((before - after).abs() > 1e-6 * before.abs().max().clamp(min=1)).movedim(axis, 0).flatten(1).any(1)
    return set(moved.nonzero().flatten().tolist())


def perturbed(name: str, held: dict[str, Tensor], node: str, axis: int, neuron: int, by: float) -> Cut:
    """A run with one neuron moved, up or down by different amounts: an activation may let only one of them through."""
    moved = held[node].clone()
    line = moved.select(axis, neuron)
    line.add_((1 + torch.rand_like(line)) * by * (10 + 4 * line.abs().max()))
    cut = Cut(name, layers(name), {**held, node: moved})
    with torch.no_grad():
        cut.run(*arguments(name))
    return cut


@pytest.mark.parametrize("name", MODELS)
def test_a_neuron_arrives_where_the_wiring_says_and_nowhere_else(name: str) -> None:
    torch.manual_seed(3)
    chance = random.Random(3)
    found, wiring = layers(name), analysis(name, "export").wiring
    nodes = {node.name: getattr(node.target, "_opname", "") for node in program(name).graph.nodes}
    held: dict[str, Tensor] = {}
    plain = Cut(name, found, held)
    with torch.no_grad():
        plain.run(*arguments(name))
    flow = reaching(wiring)
    reads = {
        node: [flow.get(int(number), frozenset({int(number)})) for number in wiring.synapses[layer.id][0].neurons]
        for node, layer in found.items()
        if layer.id in wiring.synapses and nodes[node] in READS
    }
    assert reads
    checked = 0
    for node, layer in found.items():
        source = wiring.source.get(layer.id)
        axis = READS.get(nodes[node], 1)
        if source is None or held[node].shape[axis] != source.size:
            continue
        for neuron in chance.sample(range(source.size), min(NEURONS_OF_A_LAYER, source.size)):
            cuts = [perturbed(name, held, node, axis, neuron, by) for by in (1.0, -1.0)]
            for reader, numbers in reads.items():
                before, at = plain.arrived[reader], READS[nodes[reader]]
                seen = set().union(*(changed_channels(before, cut.arrived[reader], at) for cut in cuts))
                told = {channel for channel, senders in enumerate(numbers) if source.base + neuron in senders}
                unsure = {
                    channel for channel, senders in enumerate(numbers) if MIXED in senders or min(senders) < MIXED
                }
                assert seen - unsure <= told, (layer.id, neuron, found[reader].id)
                if not set(layer.role.split("+") if layer.role else ()) & {"query", "key"}:
                    assert told <= seen, (layer.id, neuron, found[reader].id)
                checked += bool(told)
    assert checked


def test_every_number_of_the_wiring_is_known() -> None:
    for name in MODELS:
        for weights in analysis(name, "export").wiring.synapses.values():
            for synapses in weights:
                assert not np.any(synapses.neurons < MIXED), name

"""The judge itself: a right wiring passes, and every way of spoiling it is found."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest

import graphneurons
from graphneurons.analysis import Analysis
from graphneurons.wiring.records import CONSTANT, MIXED, Wiring
from tests.wiring.judging import Judge
from tests.zoo.architectures import ZOO
from tests.zoo.exporting import export


@cache
def opened(name: str) -> tuple[Analysis, Path, dict[str, np.ndarray]]:
    path = export(name, "dynamo")
    graph = graphneurons.load(path)
    inputs = dict(
        zip((value.name for value in graph.inputs), (item.numpy() for item in ZOO[name].arguments()), strict=True)
    )
    return graphneurons.analyze(graph, shapes={key: value.shape for key, value in inputs.items()}), path, inputs


def problems(name: str, spoil: Callable[[Wiring], Wiring]) -> str:
    analysis, path, inputs = opened(name)
    return "\n".join(Judge(replace(analysis, wiring=spoil(analysis.wiring)), path, inputs).verdict().problems)


def rewired(layer: str, change: Callable[[np.ndarray], np.ndarray]) -> Callable[[Wiring], Wiring]:
    """The wiring with the numbers of one layer changed."""

    def spoil(wiring: Wiring) -> Wiring:
        first, *others = wiring.synapses[layer]
        changed = replace(first, neurons=change(first.neurons.copy()))
        return replace(wiring, synapses={**wiring.synapses, layer: (changed, *others)})

    return spoil


def put(at: int, number: int) -> Callable[[np.ndarray], np.ndarray]:
    def change(numbers: np.ndarray) -> np.ndarray:
        numbers[at] = number
        return numbers

    return change


def swapped(numbers: np.ndarray) -> np.ndarray:
    numbers[[2, 3]] = numbers[[3, 2]]
    return numbers


def only_first_members(wiring: Wiring) -> Wiring:
    return replace(wiring, junctions=tuple(replace(item, members=item.members[:1]) for item in wiring.junctions))


def head(name: str) -> str:
    return opened(name)[0].layers[-1].id


def test_a_right_wiring_passes() -> None:
    assert problems("cnn_bn", lambda wiring: wiring) == ""


def test_two_neurons_exchanged_are_found() -> None:
    found = problems("cnn_bn", rewired(head("cnn_bn"), swapped))
    assert "false source" in found
    assert "neuron 2 moves synapse 2, which names" in found


def test_a_source_left_out_is_found() -> None:
    found = problems("cnn_bn", rewired(head("cnn_bn"), put(4, CONSTANT)))
    assert "missing source" in found
    assert "neuron 4 moves synapse 4, which names constant" in found


def test_a_synapse_called_mixed_that_one_neuron_feeds_is_found() -> None:
    assert "1 unnamed neurons move synapse 4" in problems("cnn_bn", rewired(head("cnn_bn"), put(4, MIXED)))


def test_a_wrong_number_of_synapses_is_found() -> None:
    found = problems("cnn_bn", rewired(head("cnn_bn"), lambda numbers: numbers[:-1]))
    assert "the wiring numbers 13 synapses, the op contracts 14 channels" in found


def test_a_weight_nothing_is_said_of_is_found() -> None:
    found = problems("cnn_bn", lambda wiring: replace(wiring, synapses={}))
    assert found.count("the wiring says nothing of this weight") == 3


@pytest.mark.parametrize("name", ["gpt2", "unet", "mobilenet", "swin"])
def test_a_member_missing_from_a_junction_is_found(name: str) -> None:
    if name == "unet":
        found = problems(name, rewired(head(name), lambda numbers: np.roll(numbers, 1)))
    else:
        found = problems(name, only_first_members)
    assert "missing source" in found


def test_queries_named_as_values_are_found() -> None:
    name = "attention"
    analysis = opened(name)[0]
    output = [layer for layer in analysis.layers if "out_proj" in layer.id or layer.neurons == 12][-1]
    query = analysis.wiring.source[analysis.layers[0].id]

    def as_query(numbers: np.ndarray) -> np.ndarray:
        return np.arange(numbers.size) + query.base

    assert "source" in problems(name, rewired(output.id, as_query))


def test_recurrent_synapses_in_another_order_are_found() -> None:
    layer = opened("lstm_bi_2")[0].layers[0].id

    def spoil(wiring: Wiring) -> Wiring:
        first, second = wiring.synapses[layer]
        turned = replace(second, neurons=second.neurons[::-1].copy())
        return replace(wiring, synapses={**wiring.synapses, layer: (first, turned)})

    assert "not the op's own 14 units in order" in problems("lstm_bi_2", spoil)

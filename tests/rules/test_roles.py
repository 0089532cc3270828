"""What the axes of every weight index, as the engine derives it from the rules."""

from __future__ import annotations

import pytest

from graphneurons.axes.labelling import label_operand
from tests.rules.cases import CASES
from tests.rules.roles import ROLES


@pytest.mark.parametrize(("name", "operand"), ROLES)
def test_roles(name: str, operand: int) -> None:
    label = label_operand(CASES[name].binding(), operand)
    told = " ".join(f"{factor}:{role}" for factor, role in label.roles.items())
    assert told == ROLES[name, operand]


def test_every_contracting_weight_is_listed() -> None:
    listed = {
        (name, operand)
        for name, case in CASES.items()
        for operand in case.weights
        if case.binding().rule.operands[operand].contracts
    }
    assert set(ROLES) == listed


COUNTS = {
    ("Conv/grouped 1-D", 1): (4, 9),
    ("Conv/depthwise with multiplier", 1): (6, 9),
    ("ConvTranspose/grouped", 1): (8, 9),
    ("Gemm/weight left", 0): (3, 4),
    ("MatMul/batched weight", 1): (30, 4),
    ("LSTM/one step", 1): (32, 3),
    ("LSTM/one step", 2): (32, 4),
    ("com.microsoft.DynamicQuantizeLSTM", 2): (32, 4),
    ("com.microsoft.MatMulNBits", 1): (5, 64),
    ("com.microsoft.MatMulBnb4", 1): (5, 32),
    ("com.microsoft.Attention", 1): (24, 5),
    ("com.microsoft.MoE/interleaved gate", 2): (40, 8),
    ("com.microsoft.QMoE", 5): (128, 32),
}


@pytest.mark.parametrize(("name", "operand"), COUNTS)
def test_neurons_and_synapses(name: str, operand: int) -> None:
    label = label_operand(CASES[name].binding(), operand)
    assert (label.neurons, label.synapses_per_neuron) == COUNTS[name, operand]

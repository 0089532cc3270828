"""The numeric proof of every rule, on the real op with onnxruntime.

Permuting a factor wherever it appears must commute with the op; a slice of a weight along its neurons must change only
their own places of the results; a source must not get past a weight that is zero. Kernel taps, windows, gates and
positions have an order of their own and are exempt from permutation (`proving.SEGMENTS`, `Case.fixed`, each with why).
"""

from __future__ import annotations

import numpy as np
import pytest

from tests.rules.case import Case
from tests.rules.cases import CASES, RUNNABLE
from tests.rules.proving import (
    Model,
    leaking_neurons,
    leaking_synapses,
    moving,
    not_equivariant,
    permutable,
    wrong_shapes,
)


@pytest.mark.parametrize("name", RUNNABLE)
def test_results_have_the_shape_the_rule_makes(name: str) -> None:
    assert wrong_shapes(RUNNABLE[name]) == []


@pytest.mark.parametrize("name", RUNNABLE)
def test_permutations_commute(name: str) -> None:
    assert not_equivariant(RUNNABLE[name]) == []


WEIGHTED = [name for name, case in RUNNABLE.items() if case.weights]


@pytest.mark.parametrize("name", WEIGHTED)
def test_a_neuron_changes_its_own_place_only(name: str) -> None:
    assert leaking_neurons(RUNNABLE[name]) == []


@pytest.mark.parametrize("name", WEIGHTED)
def test_no_source_gets_past_a_zero_synapse(name: str) -> None:
    assert leaking_synapses(RUNNABLE[name]) == []


def test_fixed_factors_exist() -> None:
    """An exemption for a factor the rule does not have would hide a misspelling."""
    wrong = {
        f"{name}: {factor}"
        for name, case in CASES.items()
        for factor in case.fixed
        if not any(factor in axis for axes in case.binding().operands if axes for axis in axes)
    }
    assert wrong == set()


def test_weights_of_every_proved_rule_have_something_to_permute() -> None:
    bare = [name for name in WEIGHTED if not permutable(RUNNABLE[name], RUNNABLE[name].binding())]
    assert bare == []


REFUSED = [name for name, case in CASES.items() if case.refused]


@pytest.mark.parametrize("name", REFUSED)
def test_onnxruntime_refuses_what_is_not_proved(name: str) -> None:
    assert CASES[name].refused in _refusal(CASES[name])


def _refusal(case: Case) -> str:
    try:
        model = Model(case)
        model.run(model.arrays)
    except Exception as error:
        return str(error)
    return "nothing: it runs"


def test_random_ops_differ_from_run_to_run() -> None:
    assert {name: case.random for name, case in CASES.items() if case.random} == {
        "Bernoulli": "it draws random numbers",
        "ai.onnx.ml.CategoryMapper": "strings cannot be compared as numbers",
    }


@pytest.mark.parametrize(
    ("name", "zero"), [("com.microsoft.MatMulNBits", 3), ("com.microsoft.MatMulNBits/eight bits, flat scales", None)]
)
def test_blocks_of_packed_synapses_lie_along_k(name: str, zero: int | None) -> None:
    """Block ``n`` of a packed row meets inputs ``n * block_size`` and on: zeroed there, they do not matter."""
    case = CASES[name]
    model = Model(case)
    arrays = list(model.arrays)
    packed, x = arrays[1], arrays[0]
    assert packed is not None
    assert x is not None
    width = int(case.attributes["block_size"])
    if zero is not None:
        arrays[zero] = np.zeros_like(arrays[zero])
    nothing = 0 if zero is not None else 128
    for block in range(packed.shape[1]):
        zeroed = packed.copy()
        zeroed[:, block] = nothing
        arrays[1] = zeroed
        other = x.copy()
        other[:, block * width : (block + 1) * width] += 1.0
        (plain,), (moved,) = model.run(arrays), model.run([other, *arrays[1:]])
        assert not moving(plain, moved, 1e-5).any()
        arrays[1] = packed
        (plain,), (moved,) = model.run(arrays), model.run([other, *arrays[1:]])
        assert moving(plain, moved, 1e-5).any()

"""The numeric proof of every ATen rule, on the real op, run by PyTorch: see `tests.rules.test_numeric`."""

from __future__ import annotations

import pytest

from graphneurons.axes.rules.aten import ATEN
from graphneurons.axes.rules.aten_elementwise import filled
from tests.rules.case import f
from tests.rules.proving import leaking_neurons, leaking_synapses, not_equivariant, wrong_shapes
from tests.torch.calling import Call, Eager
from tests.torch.cases import CASES, PROVED

NAMES = list(PROVED)
WEIGHTED = [name for name, case in PROVED.items() if case.weights]


@pytest.mark.parametrize("name", NAMES)
def test_results_have_the_shape_the_rule_makes(name: str) -> None:
    assert wrong_shapes(PROVED[name], Eager) == []


@pytest.mark.parametrize("name", NAMES)
def test_permutations_commute(name: str) -> None:
    assert not_equivariant(PROVED[name], Eager) == []


@pytest.mark.parametrize("name", WEIGHTED)
def test_a_neuron_changes_its_own_place_only(name: str) -> None:
    assert leaking_neurons(PROVED[name], Eager) == []


@pytest.mark.parametrize("name", WEIGHTED)
def test_no_source_gets_past_a_zero_synapse(name: str) -> None:
    assert leaking_synapses(PROVED[name], Eager) == []


def test_every_rule_has_a_case() -> None:
    listed = {case.op for case in CASES.values()}
    saying = {
        name
        for name, rule in ATEN.items()
        if rule is not filled
        and not (isinstance(rule, str) and (rule in ("layout", "shape") or rule.startswith("stop")))
    }
    assert saying - listed == {
        # Kernels of CUDA and of float8 hardware: the same function as a proved one, with other operands left out.
        "_conv_depthwise2d", "conv_depthwise3d", "_scaled_dot_product_cudnn_attention", "_scaled_mm",
        "_scaled_dot_product_efficient_attention", "_scaled_dot_product_flash_attention",
        "_scaled_dot_product_fused_attention_overrideable", "_transformer_encoder_layer_fwd",
    }  # fmt: skip


def test_new_tensors_do_not_depend_on_what_they_are_made_like() -> None:
    for name, attributes in (("zeros_like", {}), ("ones_like", {}), ("full_like", {"fill_value": 2.0})):
        case = Call(name, (f(3, 4),), attributes=attributes)
        model = Eager(case)
        assert (model.run(model.arrays)[0] == model.run([model.arrays[0] * 3])[0]).all()
        assert case.text() == "map: _ -> _"

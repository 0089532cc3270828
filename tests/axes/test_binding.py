"""Rules bound to shapes: factor sizes, broadcast axes, and contradictions."""

from __future__ import annotations

import pytest

from graphneurons.axes.binding import bind
from graphneurons.axes.labelling import label_operand
from graphneurons.axes.notation import parse
from graphneurons.axes.rules.site import NoRule

CONV = "conv: n (g i) *s, (g o) i *k, ~(g o) -> n (g o) *t | g=2"
MATMUL = "linear: *b m i, *b i o -> *b m o"
LSTM = (
    "recurrent: t n i, d (gate h) i, d (gate h) u, ~d (b gate h), _, <d n u, ~d n h, ~d (p h) "
    "-> t n d (gate h) => t d n h, d n h, d n h | gate=4 b=2 p=3"
)


def test_sizes_are_solved_across_operands() -> None:
    binding = bind(parse(CONV), [(1, 6, 9, 9), (8, 3, 5, 5), (8,)])
    assert binding.sizes == {"g": 2, "n": 1, "i": 3, "o": 4, "s0": 9, "s1": 9, "k0": 5, "k1": 5}
    assert binding.sums[0] == (("n",), ("g", "o"), ("t0",), ("t1",))
    assert binding.result_shape(0) is None


@pytest.mark.parametrize(
    ("left", "right", "roles"),
    [
        ((5, 3), (3, 7), {"i": "synapse", "o": "neuron"}),
        ((2, 5, 3), (2, 3, 7), {"b0": "shared", "i": "synapse", "o": "neuron"}),
        ((1, 5, 3), (2, 3, 7), {"b0": "neuron", "i": "synapse", "o": "neuron"}),
        ((5, 3), (2, 3, 7), {"b0": "neuron", "i": "synapse", "o": "neuron"}),
        ((4, 2, 5, 3), (2, 3, 7), {"b1": "shared", "i": "synapse", "o": "neuron"}),
    ],
)
def test_stacked_weights_are_shared_only_with_what_is_stacked(
    left: tuple[int, ...], right: tuple[int, ...], roles: dict[str, str]
) -> None:
    assert label_operand(bind(parse(MATMUL), [left, right]), 1).roles == roles


def test_the_left_operand_can_be_the_weight() -> None:
    assert label_operand(bind(parse(MATMUL), [(5, 3), (3, 7)]), 0).roles == {"m": "neuron", "i": "synapse"}


def test_what_recurrent_weights_make_is_added_not_multiplied() -> None:
    binding = bind(parse(LSTM), [(9, 1, 5), (2, 12, 5), (2, 12, 3), (2, 24), None, None, None, None])
    assert label_operand(binding, 1).roles == {"d": "shared", "gate": "neuron", "h": "neuron", "i": "synapse"}
    recurrent = label_operand(binding, 2)
    assert recurrent.roles == {"d": "shared", "gate": "neuron", "h": "neuron", "u": "synapse"}
    assert (recurrent.neurons, recurrent.synapses_per_neuron) == (24, 3)


def test_a_stacked_weight_of_an_unknown_operand_is_not_guessed() -> None:
    binding = bind(parse(MATMUL), [None, (2, 3, 7)])
    with pytest.raises(NoRule, match="may or may not be in an operand of unknown shape"):
        label_operand(binding, 1)


def test_a_plain_weight_of_an_unknown_operand_is_proved_all_the_same() -> None:
    assert label_operand(bind(parse(MATMUL), [None, (3, 7)]), 1).roles == {"i": "synapse", "o": "neuron"}


@pytest.mark.parametrize(
    ("rule", "shapes", "complaint"),
    [
        (
            MATMUL,
            [(5, 3), (4, 7)],
            "axis 0 of operand 1 has size 4, but rule `linear: *b m i, *b i o -> *b m o` makes it (i=3)",
        ),
        (CONV, [(1, 6, 9), (9, 3, 5), None], "axis 0 of operand 1 has size 9, but"),
        ("linear: m i, o i -> m o", [(5, 3), (7,)], "operand 1 has shape [7], which does not fit `o i`"),
    ],
)
def test_contradictions_name_axis_size_and_rule(rule: str, shapes: list[tuple[int, ...]], complaint: str) -> None:
    with pytest.raises(NoRule) as caught:
        bind(parse(rule), shapes)
    assert complaint in str(caught.value)

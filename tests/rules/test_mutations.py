"""Rules broken on purpose: the proof must catch every one.

The weights are square, so that shapes alone cannot give the mistake away; where a factor's size does not fit, binding
refuses, and that counts too.
"""

from __future__ import annotations

from dataclasses import replace

import pytest

from graphneurons.axes.rules.site import NoRule
from tests.rules.case import Case, f, ids, positive
from tests.rules.fused import ms
from tests.rules.proving import leaking_neurons, leaking_synapses, not_equivariant, wrong_shapes

_UNIT = (("h", "u"),)

GEMM = Case("Gemm", (f(4, 4), f(4, 4), f(4)), weights=(1,))
MATMUL = Case("MatMul", (f(4, 4, 4), f(4, 4, 4)), weights=(1,))
CONV = Case("Conv", (f(2, 3, 5, 5), f(3, 3, 3, 3)), weights=(1,))
GROUPED = Case("Conv", (f(2, 4, 5), f(4, 2, 3)), attributes={"group": 2}, weights=(1,))
TRANSPOSED = Case("ConvTranspose", (f(2, 3, 5, 5), f(3, 3, 3, 3)), weights=(1,))
TRANSPOSED_GROUPED = Case("ConvTranspose", (f(2, 4, 5), f(4, 2, 3)), attributes={"group": 2}, weights=(1,))
GRU = Case(
    "GRU",
    (f(1, 2, 4), f(1, 12, 4), f(1, 12, 4), f(1, 24), None, f(1, 2, 4)),
    attributes={"hidden_size": 4, "linear_before_reset": 1},
    weights=(1, 2),
    outputs=2,
    together=_UNIT,
)
LSTM = Case(
    "LSTM",
    (f(1, 4, 4), f(1, 16, 4), f(1, 16, 4), f(1, 32), None, f(1, 4, 4)),
    attributes={"hidden_size": 4},
    weights=(1, 2),
    outputs=3,
    together=_UNIT,
)
ATTENTION = ms("Attention", f(2, 3, 5), f(5, 27), f(27), attributes={"num_heads": 3}, weights=(1,))
MOE = ms(
    "MoE",
    f(6, 8),
    f(6, 4),
    f(4, 8, 8),
    f(4, 8),
    f(4, 8, 4),
    f(4, 8),
    attributes={"k": 4, "activation_type": "swiglu", "swiglu_fusion": 1},
    weights=(2, 4),
    together=_UNIT,
)
TABLE = Case("Gather", (f(4, 4), ids(4, 2, 3)), weights=(0,), indices={"v": 1})
NORM = Case("BatchNormalization", (f(3, 3, 4), f(3), f(3), f(3), positive(3)))
SCALED = Case("DequantizeLinear", (ids(99, 4, 4, dtype="int8"), positive(4)), attributes={"axis": 1})
FUSED = ms("FusedMatMul", f(4, 4, 4), f(4, 4, 4), attributes={"transBatchA": 1}, weights=(1,))

MUTATIONS: tuple[tuple[Case, str], ...] = (
    (GEMM, "linear: m i, o i, ~o -> m o"),
    (GEMM, "linear: i m, i o, ~o -> m o"),
    (GEMM, "linear: m i, i o, ~m -> m o"),
    (GEMM, "linear: m i, i o, ~o -> o m"),
    (MATMUL, "linear: *b m i, *b o i -> *b m o"),
    (MATMUL, "linear: m b i, b i o -> m b o"),
    (CONV, "conv: n i *s, i o *k -> n o *t"),
    (GROUPED, "conv: n (g i) *s, (o g) i *k -> n (o g) *t | g=2"),
    (GROUPED, "conv: n (i g) *s, (g o) i *k -> n (g o) *t | g=2"),
    (TRANSPOSED, "conv_transpose: n i *s, o i *k -> n o *t"),
    (TRANSPOSED_GROUPED, "conv_transpose: n (g i) *s, (i g) o *k -> n (g o) *t | g=2"),
    (TRANSPOSED_GROUPED, "conv_transpose: n (g i) *s, (g i) o *k -> n (o g) *t | g=2"),
    (TRANSPOSED_GROUPED, "conv_transpose: n (g o) *s, (g o) i *k -> n (g i) *t | g=1"),
    (GRU, "recurrent: t n i, d (h gate) i, d (h gate) u, _, _, <d n u -> t n d (h gate) => t d n h, d n h | gate=3"),
    (GRU, "recurrent: t n i, d (gate h) u, d (gate h) i, _, _, <d n u -> t n d (gate h) => t d n h, d n h | gate=3"),
    (GRU, "recurrent: t n i, d (gate i) h, d (gate h) u, _, _, <d n u -> t n d (gate h) => t d n h, d n h | gate=3"),
    (LSTM, "recurrent: t n i, d (gate h) i, d (gate h) u, _, _, <d n u -> t n d (gate h) => t d h n, d n h | gate=4"),
    (LSTM, "recurrent: t n i, d (gate h) i, d (gate u) h, _, _, <d n u -> t n d (gate h) => t d n h, d n h | gate=4"),
    (ATTENTION, "attention: b t i, i (h d qkv), ~(h d qkv) -> b t (h d qkv) => b t (h d) | qkv=3 h=3"),
    (ATTENTION, "attention: b t i, i (qkv d h), ~(qkv d h) -> b t (qkv d h) => b t (h d) | qkv=3 h=3"),
    (
        MOE,
        "experts: t i, t e, e (part h) i, ~e (part h), e o u, ~e o -> t e (part h), t e o => t o | part=2",
    ),
    (TABLE, "lookup: d @v, *n -> *n d"),
    (NORM, "normalisation: c n *s, ~c, ~c, ~c, ~c -> c n *s"),
    (SCALED, "map: c a, %c -> c a"),
    (FUSED, "linear: *b m i, *b i o -> *b m o"),
    (FUSED, "linear: m *b i, *b i o -> m *b o"),
)


def mistakes(case: Case) -> list[str]:
    """What the proof has against a case."""
    try:
        # A wrong shape can be permuted no further.
        return wrong_shapes(case) or [*not_equivariant(case), *leaking_neurons(case), *leaking_synapses(case)]
    except NoRule as error:
        return [str(error)]


@pytest.mark.parametrize(("case", "text"), MUTATIONS, ids=lambda item: item if isinstance(item, str) else item.name)
def test_a_broken_rule_is_caught(case: Case, text: str) -> None:
    assert mistakes(replace(case, says=text))


def test_the_rules_themselves_are_not() -> None:
    cases = {f"{case.name} {index}": case for index, (case, _) in enumerate(MUTATIONS)}
    assert {name: mistakes(case) for name, case in cases.items()} == {name: [] for name in cases}

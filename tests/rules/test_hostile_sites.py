"""No rule trips over attributes and shapes that make no sense: it says nothing, or something that can be read."""

from __future__ import annotations

import random

import numpy as np
import pytest

from graphneurons.axes.binding import bind
from graphneurons.axes.notation import parse
from graphneurons.axes.rules.site import NoRule, Shape, Site
from graphneurons.axes.rules.tables import RULES
from graphneurons.graph import Attribute, Op

FUNCTIONS = {key: entry for key, entry in RULES.items() if not isinstance(entry, str)}
_NUMBERS = (-(2**63), -7, -1, 0, 1, 2, 3, 4, 5, 8, 100, 2**31, 2**62)
_WORDS = """
    axis axes group transA transB transBatchA equation layout num_groups groups num_heads kv_num_heads q_num_heads
    qkv_hidden_sizes K N block_size bits keepdims noop_with_empty_axes scales output_height pooled_shape channels_last
    ndim dilation swiglu_fusion expert_weight_bits batch_dims gather_axis quantize_axis num_branches signal_ndim dim
    size step targets coefficients opset state_window sliding_window_cache past_present_share_buffer height_scale
    across_channels spatial quant_type reduction keep_aspect_ratio_policy
"""
_ATTRIBUTES = _WORDS.split()


def _attribute(chance: random.Random) -> Attribute:
    return chance.choice(
        [
            chance.choice(_NUMBERS),
            chance.choice(_NUMBERS),
            0.5,
            float("nan"),
            "",
            "ij,jk->ik",
            "...a,b...->",
            "(((",
            "none",
            (),
            tuple(chance.choice(_NUMBERS) for _ in range(chance.randrange(4))),
            (0.5, 1.5),
            ("a", "b"),
        ]
    )


def _shape(chance: random.Random) -> Shape | None:
    if chance.random() < 0.15:
        return None
    return tuple(chance.choice((0, 1, 1, 2, 3, 4, 6, 8, 24, 2**40)) for _ in range(chance.randrange(6)))


def _site(chance: random.Random, domain: str, name: str) -> Site:
    count = chance.randrange(18)
    shapes = tuple(_shape(chance) for _ in range(count))
    values = tuple(
        None
        if shape is None or chance.random() < 0.5
        else np.array(
            [chance.choice(_NUMBERS) for _ in range(min(4, int(np.prod(shape, dtype=object))))], dtype=np.int64
        )
        for shape in shapes
    )
    names = chance.sample(_ATTRIBUTES, chance.randrange(len(_ATTRIBUTES)))
    inputs = tuple("" if chance.random() < 0.2 else f"x{index}" for index in range(count))
    outputs = tuple(f"y{index}" for index in range(chance.randrange(5)))
    op = Op(
        "op", name, domain, inputs, outputs, {item: _attribute(chance) for item in names}, version=chance.randrange(30)
    )
    return Site(op, shapes, values, tuple(chance.random() < 0.5 for _ in range(count)))


@pytest.mark.parametrize("key", FUNCTIONS, ids=lambda key: f"{key[0]}.{key[1]}")
def test_nonsense_gives_no_rule_or_a_readable_one(key: tuple[str, str]) -> None:
    chance = random.Random(f"{key}")
    said: list[str] = []
    for _ in range(150):
        site = _site(chance, *key)
        try:
            text = FUNCTIONS[key](site)
            if text in ("layout", "shape") or text.startswith("stop:"):
                continue
            bind(parse(text), site.shapes)
            said.append(text)
        except NoRule as refusal:
            said.append(str(refusal))
    assert said
    assert all(said)


def test_a_long_equation_is_not_read() -> None:
    letters = "ab" * 50_000
    op = Op("op", "Einsum", "", ("x0", "x1"), ("y0",), {"equation": f"{letters},{letters}->{letters}"})
    with pytest.raises(NoRule, match="an equation of 300003 letters"):
        FUNCTIONS["", "Einsum"](Site(op, (None, None), (None, None), (False, False)))

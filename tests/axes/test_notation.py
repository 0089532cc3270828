"""The notation: what is read, how it is printed, and what its errors say."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from graphneurons.axes.notation import AxisPattern, Pattern, Rule, expand, parse
from graphneurons.axes.rules.tables import RULES
from graphneurons.errors import RuleError

RULE_TEXTS = sorted({text for text in RULES.values() if isinstance(text, str) and "->" in text})


@pytest.mark.parametrize("text", RULE_TEXTS)
def test_every_rule_of_the_tables_prints_as_it_reads(text: str) -> None:
    rule = parse(text)
    assert parse(str(rule)) == rule


NAMES = st.sampled_from(["a", "b", "gate", "h2", "i"])
AXES = st.one_of(
    st.just(AxisPattern(())),
    st.builds(
        lambda names, picked: AxisPattern(tuple(names), False, picked),
        st.lists(NAMES, min_size=1, max_size=3),
        st.booleans(),
    ),
    st.builds(lambda name, mixed: AxisPattern((name,), True, False, mixed), NAMES, st.booleans()),
)
OPERANDS = st.one_of(
    st.just(Pattern((), "_")),
    st.builds(
        lambda axes, mark: Pattern(tuple(axes), mark), st.lists(AXES, max_size=4), st.sampled_from(["", "~", "%", "<"])
    ),
)


@given(st.lists(OPERANDS, min_size=1, max_size=4), st.lists(OPERANDS, min_size=1, max_size=3), st.booleans())
def test_printing_and_parsing_are_inverse(operands: list[Pattern], sums: list[Pattern], packed: bool) -> None:
    rule = Rule("linear", tuple(operands), tuple(sums), tuple(sums), {"#": 7} if packed else {})
    assert parse(str(rule)) == rule


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("linear *b i -> *b o", "rule `linear *b i -> *b o`: expected `:` at column 8, `*`"),
        (
            "linear: *b i, -> *b o",
            "expected an operand (`_` for one that does not matter, `.` for a scalar) at column 15, `->`",
        ),
        ("linear: *b i, o i", "expected `->` at its end"),
        ("linear: i -> o | x=2", "gives a size to `x`, which is in no operand; remove it or name the axis"),
        ("linear: i -> o | o=two", "expected a number at column 20, `two`"),
        ("linear: i -> (o", "expected a factor name or `)` at its end"),
        ("linear: i ! -> o", "cannot read `! -> o` at column 10"),
    ],
)
def test_errors_show_the_rule_and_the_place(text: str, complaint: str) -> None:
    with pytest.raises(RuleError) as caught:
        parse(text)
    assert complaint in str(caught.value)


@pytest.mark.parametrize(
    ("text", "rank", "longest", "names"),
    [
        ("*b i", 3, {"b": 2}, ["b0", "b1", "i"]),
        ("*b i", 2, {"b": 3}, ["b2", "i"]),
        ("*b i", 1, {"b": 3}, ["i"]),
        ("n c *s", 4, {"s": 2}, ["n", "c", "s0", "s1"]),
        ("*a v *d", 4, {"a": 1, "d": 2}, ["a0", "v", "d0", "d1"]),
    ],
)
def test_variadic_axes_align_at_the_right(text: str, rank: int, longest: dict[str, int], names: list[str]) -> None:
    axes = expand(parse(f"map: {text} -> {text}").operands[0].axes, rank, longest)
    assert axes is not None
    assert [name for axis in axes for name in axis.factors] == names


def test_a_rank_that_does_not_fit_expands_to_nothing() -> None:
    axes = parse("map: n c -> n c").operands[0].axes
    assert expand(axes, 3, {}) is None
    assert expand(axes, 1, {}) is None

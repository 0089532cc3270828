"""Ops that multiply and sum: matrix products, einsum and convolutions."""

from __future__ import annotations

import re
from collections import Counter

from graphneurons.axes.rules.site import NoRule, Site
from graphneurons.axes.rules.spelling import aligned

_TERM = re.compile(r"\.\.\.|[A-Za-z]")
_REST = "*rest"


def gemm(site: Site) -> str:
    """``Y = alpha A' B' + beta C``; transA and transB swap the axes of A and B, C broadcasts against Y."""
    left = "i m" if site.number("transA", 0) else "m i"
    right = "o i" if site.number("transB", 0) else "i o"
    return f"linear: {left}, {right}, {aligned(site, 2, ('m', 'o'))} -> m o"


def matrix_operands(site: Site, left: int = 0, right: int = 1) -> tuple[str, str, str]:
    """Both operands and the result of numpy's matmul, where an operand with one axis is a vector."""
    first = "i" if site.rank(left) == 1 else "*b m i"
    second = "i" if site.rank(right) == 1 else "*b i o"
    result = [name for name in ("*b", "m", "o") if name in first.split() or name in second.split()]
    return first, second, " ".join(result) or "."


def matmul(site: Site) -> str:
    """numpy's matmul. Either operand may be the weight: the graph says which."""
    first, second, result = matrix_operands(site)
    return f"linear: {first}, {second} -> {result}"


def einsum(site: Site) -> str:
    """The equation itself, one factor per letter. Operand axes of size one broadcast and are written ``1``."""
    equation = site.text("equation").replace(" ", "")
    left, arrow, right = equation.partition("->")
    terms = [_letters(term, equation) for term in left.split(",")]
    if len(terms) != len(site.op.inputs):
        raise NoRule(f"the equation `{equation}` has {len(terms)} terms for {len(site.op.inputs)} operands")
    if arrow:
        result = _letters(right, equation)
    else:
        seen = Counter(letter for term in terms for letter in term)
        result = ["..."] * ("..." in seen) + sorted(
            letter for letter, times in seen.items() if times == 1 and letter != "..."
        )
    unknown = [letter for letter in result if not any(letter in term for term in terms)]
    if unknown:
        raise NoRule(f"the equation `{equation}` puts out `{unknown[0]}`, which no operand has")
    widest = _sizes(site, terms)
    operands = [_operand(site, index, term, widest) for index, term in enumerate(terms)]
    kind = "linear"
    if len(terms) == 1:
        kind = "reduce" if set(terms[0]) - set(result) else "map"
    return f"{kind}: {', '.join(operands)} -> {_axes(result)}"


def _letters(term: str, equation: str) -> list[str]:
    if not re.fullmatch(r"[A-Za-z]*(\.\.\.)?[A-Za-z]*", term):
        raise NoRule(f"the equation `{equation}` cannot be read at `{term}`")
    return _TERM.findall(term)


def _sizes(site: Site, terms: list[list[str]]) -> dict[str, int]:
    widest: dict[str, int] = {}
    for index, term in enumerate(terms):
        shape = site.shape(index)
        if shape is not None and "..." not in term and len(shape) == len(term):
            for letter, size in zip(term, shape, strict=True):
                widest[letter] = max(size, widest.get(letter, 0))
    return widest


def _operand(site: Site, index: int, term: list[str], widest: dict[str, int]) -> str:
    shape = site.shape(index)
    if shape is None or "..." in term or len(shape) != len(term):
        return _axes(term)
    return _axes(["1" if size == 1 < widest[letter] else letter for letter, size in zip(term, shape, strict=True)])


def _axes(term: list[str]) -> str:
    return " ".join(_REST if letter == "..." else letter for letter in term) or "."


def conv_operands(site: Site, *, channels_last: bool = False) -> tuple[str, str, str, str, str]:
    """Activation, weight, per-channel modulator, result and sizes of a convolution with attribute ``group``."""
    group = site.number("group", 1)
    i, o, sizes = ("i", "o", "") if group == 1 else ("(g i)", "(g o)", f" | g={group}")
    if channels_last:
        return f"n *s {i}", f"{o} i *k", o, f"n *t {o}", sizes
    return f"n {i} *s", f"{o} i *k", o, f"n {o} *t", sizes


def conv(site: Site) -> str:
    """W is (M, C/group, k...): the group is the outer part of both channel axes."""
    x, w, o, y, sizes = conv_operands(site)
    return f"conv: {x}, {w}, ~{o} -> {y}{sizes}"


def conv_transpose(site: Site) -> str:
    """W is (C, M/group, k...): axis 0 holds group and input channels, axis 1 the outputs of one group."""
    group = site.number("group", 1)
    if group == 1:
        return "conv_transpose: n i *s, i o *k, ~o -> n o *t"
    return f"conv_transpose: n (g i) *s, (g i) o *k, ~(g o) -> n (g o) *t | g={group}"


def deform_conv(site: Site) -> str:
    """Conv whose sampling positions (offset) and tap weights (mask) are computed."""
    x, w, o, y, sizes = conv_operands(site)
    return f"conv: {x}, {w}, _, ~{o}, _ -> {y}{sizes}"

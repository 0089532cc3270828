"""Ops that multiply and sum: matrix products, einsum and convolutions."""

from __future__ import annotations

import re
from collections import Counter

from graphneurons.axes.rules.site import NoRule, Site
from graphneurons.axes.rules.spelling import aligned, positive

_TERM = re.compile(r"\.\.\.|[A-Za-z]")
_REST = "*rest"
_LONGEST_EQUATION = 1000


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


def fused_matmul(site: Site) -> str:
    """com.microsoft FusedMatMul: transA and transB swap the last two axes; with transBatchA the rows of A are its first
    axis, before the batch axes. Vectors are not transposed."""
    left = _transposed("m i", site, "A", 0)
    right = _transposed("i o", site, "B", 1)
    first = "i" if site.rank(0) == 1 else left
    second = "i" if site.rank(1) == 1 else right
    result = [name for name in ("*b", "m", "o") if name in first.split() or name in second.split()]
    return f"linear: {first}, {second} -> {' '.join(result) or '.'}"


def _transposed(plain: str, site: Site, operand: str, index: int) -> str:
    row, column = plain.split()
    if site.number(f"transBatch{operand}", 0) and (site.rank(index) or 0) > 2:
        return f"{column} *b {row}" if site.number(f"trans{operand}", 0) else f"{row} *b {column}"
    return f"*b {column} {row}" if site.number(f"trans{operand}", 0) else f"*b {row} {column}"


def einsum(site: Site) -> str:
    """The equation itself, one factor per letter. Operand axes of size one broadcast and are written ``1``."""
    equation = site.text("equation").replace(" ", "")
    if len(equation) > _LONGEST_EQUATION:
        raise NoRule(f"an equation of {len(equation)} letters")
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
    group = positive(site, "group", 1)
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
    group = positive(site, "group", 1)
    if group == 1:
        return "conv_transpose: n i *s, i o *k, ~o -> n o *t"
    return f"conv_transpose: n (g i) *s, (g i) o *k, ~(g o) -> n (g o) *t | g={group}"


def fused_conv(site: Site) -> str:
    """com.microsoft FusedConv: Conv, to whose sums operand 3 is added before the activation."""
    x, w, o, y, sizes = conv_operands(site)
    return f"conv: {x}, {w}, ~{o}, ~{y} -> {y}{sizes}"


def nhwc_conv(site: Site) -> str:
    """Channels last; the weight stays (M, C/group, k...). NhwcFusedConv adds operand 3."""
    x, w, o, y, sizes = conv_operands(site, channels_last=True)
    return f"conv: {x}, {w}, ~{o}, ~{y} -> {y}{sizes}"


def nhwc_conv_transpose(site: Site) -> str:
    """ConvTranspose with channels last; the weight stays (C, M/group, k...)."""
    group = positive(site, "group", 1)
    if group == 1:
        return "conv_transpose: n *s i, i o *k, ~o -> n *t o"
    return f"conv_transpose: n *s (g i), (g i) o *k, ~(g o) -> n *t (g o) | g={group}"


def conv_transpose_dynamic_pads(site: Site) -> str:
    """com.microsoft ConvTransposeWithDynamicPads: ConvTranspose whose pads are operand 2, its bias operand 3."""
    return conv_transpose(site).replace(", ~", ", _, ~")


def causal_conv(site: Site) -> str:
    """CausalConvWithState: depthwise along time, with the last inputs carried over. One tap row per channel.

    com.microsoft's has more axes (``ndim``), other layouts, and a window of states, which is left out here.
    """
    spatial = site.number("ndim", 1)
    if spatial not in (1, 2, 3):
        raise NoRule(f"ndim {spatial} is none of 1, 2 and 3")
    state, weight = "_", site.shape(1)
    more = ""
    last = bool(site.number("channels_last", 0))
    if spatial == 1 and not last and not site.number("state_window", 0) and weight is not None and len(weight) == 3:
        state, more = "n (g i) p", f" p={max(0, weight[2] - 1) * positive(site, 'dilation', 1)}"
    if last and site.known_rank(0) != 3:
        raise NoRule("its channels are spread over several axes")
    x, y = ("n *s (g i)", "n *s (g o)") if last else ("n (g i) *s", "n (g o) *s")
    return f"conv: {x}, (g o) i *k, ~(g o), _ -> {y} => {y}, {state} | i=1 o=1{more}"


def deform_conv(site: Site) -> str:
    """Conv whose sampling positions (offset) and tap weights (mask) are computed."""
    x, w, o, y, sizes = conv_operands(site)
    return f"conv: {x}, {w}, _, ~{o}, _ -> {y}{sizes}"

"""Recurrent ops: one neuron per gate, unit and direction, whose row is ``[W | R]``.

``u`` is the unit whose last output comes back, ``b`` the two biases (of W, then of R), ``p`` the peepholes. The sums
hold every gate; what is put out (after ``=>``) is one value per unit.
"""

from __future__ import annotations

from graphneurons.axes.rules.site import NoRule, RuleFunction, Site


def recurrent(gates: int, *, cell: bool = False) -> RuleFunction:
    """LSTM, GRU or RNN: W (d, gates*h, i), R (d, gates*h, u), B (d, 2*gates*h), P (d, 3*h)."""

    def rule(site: Site) -> str:
        _check(site)
        batch_first = site.number("layout", 0)
        x, h0, c0 = ("n t i", "<n d u", "~n d h") if batch_first else ("t n i", "<d n u", "~d n h")
        y, last = ("n t d h", "n d h") if batch_first else ("t d n h", "d n h")
        rows = "h" if gates == 1 else "(gate h)"
        bias = "~d (b h)" if gates == 1 else "~d (b gate h)"
        sums = "n t d" if batch_first else "t n d"
        sizes = "b=2" if gates == 1 else f"gate={gates} b=2"
        text = f"recurrent: {x}, d {rows} i, d {rows} u, {bias}, _, {h0}"
        if cell:
            return f"{text}, {c0}, ~d (p h) -> {sums} {rows} => {y}, {last}, {last} | {sizes} p=3"
        return f"{text} -> {sums} {rows} => {y}, {last} | {sizes}"

    return rule


def _check(site: Site, units_axis: int = 2) -> None:
    """What the attributes say must be what the weights are: directions (axis 0 of R) and hidden units."""
    weight = site.shape(2)
    directions = {"forward": 1, "reverse": 1, "bidirectional": 2}.get(site.text("direction", "forward"))
    if directions is None:
        raise NoRule(f"direction is {site.text('direction')!r}, not forward, reverse or bidirectional")
    if weight is None or len(weight) != 3:
        return
    units = site.number("hidden_size", weight[units_axis])
    if weight[0] != directions or weight[units_axis] != units:
        raise NoRule(
            f"R of shape {list(weight)} is not what {directions} direction(s) of hidden_size {units} have"
        )


def dynamic_quantize_lstm(site: Site) -> str:
    """com.microsoft.DynamicQuantizeLSTM: W (d, i, 4h) and R (d, u, 4h) are transposed, with their scales at the end."""
    _check(site, 1)
    scales = ", ".join(_scale(site, index) for index in (8, 9, 10, 11))
    return (
        "recurrent: t n i, d i (gate h), d u (gate h), ~d (b gate h), _, <d n u, ~d n h, ~d (p h), "
        f"{scales} -> t n d (gate h) => t d n h, d n h, d n h | gate=4 b=2 p=3"
    )


def _scale(site: Site, index: int) -> str:
    shape = site.shape(index)
    if shape is None:
        raise NoRule(f"the shape of scale {index} is not known")
    return "%d" if len(shape) == 1 else "%d (gate h)"

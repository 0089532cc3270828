"""Ops that reduce, resample or mix along axes: what passes, what is dropped, what is kept but mixed (``^``)."""

from __future__ import annotations

from collections.abc import Sequence

from graphneurons.axes.rules.site import NoRule, RuleText, Site
from graphneurons.axes.rules.spelling import constant_integers, marked, names, spelled


def reduce(site: Site) -> str:
    """ReduceX: axes from the attribute or from a constant operand, all of them if none are given."""
    rank = site.known_rank(0)
    axes = site.numbers("axes")
    if axes is None and site.has(1):
        axes = constant_integers(site, 1, "the list of axes to reduce")
    if not axes:
        if site.number("noop_with_empty_axes", 0):
            return "map: *x, _ -> *x"
        axes = tuple(range(rank))
    return reduced(site, rank, axes, ", _" * site.has(1))


def reduced(site: Site, rank: int, axes: tuple[int, ...], more: str = "") -> str:
    gone = {site.axis(axis, rank) for axis in axes}
    operand = names(rank)
    keep = site.number("keepdims", 1)
    result = ["1" if index in gone else name for index, name in enumerate(operand) if keep or index not in gone]
    return f"reduce: {spelled(operand)}{more} -> {spelled(result)}"


def arg_reduce(site: Site) -> str:
    """ArgMax and ArgMin: an index takes the place of what it was found among."""
    return reduced(site, site.known_rank(0), (site.number("axis", 0),))


def global_pool(site: Site) -> str:
    """All spatial axes reduced to size one."""
    return f"reduce: n c *s -> n c{' 1' * (site.known_rank(0) - 2)}"


def resize(site: Site) -> str:
    """Resize and Upsample: axes that keep their size pass, the others are resampled."""
    rank = site.known_rank(0)
    more = ", _" * (len(site.op.inputs) - 1)
    changed = _resized(site, rank)
    if rank >= 3 and not changed & {0, 1}:
        return f"resize: n c *s{more} -> n c *t"
    operand = names(rank)
    result = [f"new{index}" if index in changed else name for index, name in enumerate(operand)]
    return f"resize: {spelled(marked(operand, changed))}{more} -> {spelled(result)}"


def _resized(site: Site, rank: int) -> set[int]:
    shape = site.shape(0) or ()
    chosen = site.numbers("axes")
    axes = [site.axis(axis, rank) for axis in chosen] if chosen is not None else list(range(rank))
    if "height_scale" in site.op.attributes:
        return {2, 3}
    scales = site.op.attributes.get("scales")
    values: Sequence[object] = scales if isinstance(scales, tuple) else ()
    for index in (2, 1):
        known = site.values[index] if index < len(site.values) else None
        if not values and known is not None and site.shape(index) == (len(axes),):
            values = known.tolist()
    if values:
        return {axis for axis, scale in zip(axes, values, strict=False) if scale != 1}
    sizes = site.integers(3)
    if sizes:
        # keep_aspect_ratio_policy may turn a size into another, but never the size an axis has into a new one: all
        # chosen axes are scaled by one ratio, which is 1 only if every one of them keeps its size.
        kept = site.text("keep_aspect_ratio_policy", "stretch") == "stretch"
        same = {axis for axis, size in zip(axes, sizes, strict=False) if kept and shape[axis] == size}
        return set(axes) - same
    if chosen is not None:
        return set(axes)
    raise NoRule("the scales or sizes to resize to are computed while the model runs")


def cumulative(site: Site) -> str:
    """CumSum and CumProd: the axis is operand 1."""
    rank = site.known_rank(0)
    axis = site.axis(constant_integers(site, 1, "the axis to accumulate along")[0], rank)
    axes = spelled(marked(names(rank), [axis]))
    return f"mix: {axes}, _ -> {axes}"


def dft(site: Site) -> str:
    """The signal axis becomes frequencies; the last axis holds real and imaginary parts."""
    rank = site.known_rank(0)
    axis = site.number("axis", 1)
    if "axis" not in site.op.attributes:
        axis = constant_integers(site, 2, "the axis to transform")[0] if site.has(2) else -2 if _late_dft(site) else 1
    signal = site.axis(axis, rank)
    if signal == rank - 1:
        raise NoRule("the last axis holds real and imaginary parts and cannot be transformed")
    operand = names(rank, {signal: "s", rank - 1: "part"})
    result = names(rank, {signal: "f", rank - 1: "value"})
    result = [name if index in (signal, rank - 1) else operand[index] for index, name in enumerate(result)]
    return f"mix: {spelled(operand)}, _, _ -> {spelled(result)}"


def _late_dft(site: Site) -> bool:
    """Opset 20 moved the axis from an attribute (default 1) to an operand (default -2)."""
    return site.op.version >= 20


_REDUCTIONS = """
    ReduceL1 ReduceL2 ReduceLogSum ReduceLogSumExp ReduceMax ReduceMean ReduceMin ReduceProd ReduceSum ReduceSumSquare
"""

MIXING: dict[str, RuleText] = {
    **dict.fromkeys(_REDUCTIONS.split(), reduce),
    "ArgMax": arg_reduce,
    "ArgMin": arg_reduce,
    "AveragePool": "pool: n c *s -> n c *t",
    "CumProd": cumulative,
    "CumSum": cumulative,
    "DFT": dft,
    "Det": "reduce: *n m k -> *n",
    "GlobalAveragePool": global_pool,
    "GlobalLpPool": global_pool,
    "GlobalMaxPool": global_pool,
    "GridSample": "mix: n c *s, _ -> n c *t",
    "LpPool": "pool: n c *s -> n c *t",
    "MaxPool": "pool: n c *s -> n c *t, _",
    "MaxRoiPool": "mix: n c *s, _ -> roi c *t",
    "MaxUnpool": "pool: n c *s, _, _ -> n c *t",
    "Resize": resize,
    "RoiAlign": "mix: n c *s, _, _ -> roi c *t",
    "STFT": "mix: n s part, _, _, _ -> n t f value",
    "Upsample": resize,
}

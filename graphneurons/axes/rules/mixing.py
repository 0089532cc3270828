"""Ops that reduce, resample or mix along axes: what passes, what is dropped, what is kept but mixed (``^``)."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

from graphneurons.axes.rules.site import NoRule, RuleFunction, RuleText, Site
from graphneurons.axes.rules.spelling import constant_integers, marked, names, positive, spelled


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
    axis = site.axis(constant_integers(site, 1, "the axis to accumulate along", 1)[0], rank)
    axes = spelled(marked(names(rank), [axis]))
    return f"mix: {axes}, _ -> {axes}"


def dft(site: Site) -> str:
    """The signal axis becomes frequencies; the last axis holds real and imaginary parts."""
    rank = site.known_rank(0)
    axis = site.number("axis", 1)
    if "axis" not in site.op.attributes:
        axis = (
            constant_integers(site, 2, "the axis to transform", 1)[0] if site.has(2) else -2 if _late_dft(site) else 1
        )
    signal = site.axis(axis, rank)
    if signal == rank - 1:
        raise NoRule("the last axis holds real and imaginary parts and cannot be transformed")
    operand = names(rank, {signal: "s", rank - 1: "part"})
    result = names(rank, {signal: "f", rank - 1: "value"})
    result = [name if index in (signal, rank - 1) else operand[index] for index, name in enumerate(result)]
    return f"mix: {spelled(operand)}, _, _ -> {spelled(result)}"


def grid_sample(site: Site) -> str:
    """Every channel is sampled at the positions of the grid (n, t..., 2)."""
    grid = site.shape(1)
    axes = [f"t{index}" for index in range(site.known_rank(0) - 2)]
    sizes = zip(axes, grid[1:-1], strict=True) if grid is not None and len(grid) == len(axes) + 2 else ()
    told = " ".join(f"{name}={size}" for name, size in sizes)
    return f"mix: n c *s, _ -> n c {' '.join(axes)}{f' | {told}' if told else ''}"


def region_align(site: Site) -> str:
    """RoiAlign and MaxRoiPool: every channel is pooled over every region (region, 4 or 5)."""
    regions = site.shape(1)
    pooled = site.numbers("pooled_shape") or (site.number("output_height", 1), site.number("output_width", 1))
    if len(pooled) != 2 or min(pooled) < 1:
        raise NoRule(f"regions pooled to {list(pooled)}")
    told = f"t0={pooled[0]} t1={pooled[1]}" + (f" roi={regions[0]}" if regions else "")
    more = ", _" * (len(site.op.inputs) - 1)
    return f"mix: n c *s{more} -> roi c t0 t1 | {told}"


def crop_and_resize(site: Site) -> str:
    """com.microsoft CropAndResize: like RoiAlign, with the size as operand 3."""
    regions, size = site.shape(1), constant_integers(site, 3, "the size of the crops", 2)
    if min(size[:2]) < 1:
        raise NoRule(f"crops of size {list(size)}")
    told = f"t0={size[0]} t1={size[1]}" + (f" roi={regions[0]}" if regions else "")
    return f"mix: n c *s, _, _, _ -> roi c t0 t1 | {told}"


def column_to_image(site: Site) -> str:
    """Col2Im: the positions ``k`` of a block are added where blocks overlap; channels stay apart."""
    image = constant_integers(site, 1, "the shape of the image", 1)
    block = constant_integers(site, 2, "the shape of a block", 1)
    if min(image) < 1 or min(block) < 1:
        raise NoRule(f"blocks of {list(block)} in an image of {list(image)}")
    axes = [f"t{index}" for index in range(len(image))]
    told = " ".join(f"{name}={size}" for name, size in zip(axes, image, strict=True))
    return f"reduce: n (c k) l, _, _ -> n c {' '.join(axes)} | k={prod(block)} {told}"


def tensor_scatter(site: Site) -> str:
    """TensorScatter: new tokens take the place of old ones along ``axis``; nothing else moves."""
    rank = site.known_rank(0)
    axis = site.axis(site.number("axis", -2), rank)
    cache = spelled(names(rank, {axis: "t"}))
    return f"select: {cache}, {spelled(names(rank, {axis: 'n'}))}, _ -> {cache}"


def unfold(site: Site) -> str:
    """com.microsoft UnfoldTensor: overlapping slices along ``dim``, their elements in a new last axis."""
    shape = site.shape(0)
    if shape is None:
        raise NoRule("the shape of its operand is not known")
    axis = site.axis(site.number("dim", -1), len(shape))
    size, step = site.number("size", 1), site.number("step", 1)
    if size < 1 or step < 1:
        raise NoRule(f"slices of {size} with a step of {step}")
    operand = names(len(shape), {axis: "s"})
    result = ["t" if index == axis else name for index, name in enumerate(operand)]
    count = (shape[axis] - size) // step + 1
    if count < 1:
        raise NoRule(f"an axis of {shape[axis]} has no slice of {size}")
    return f"mix: {spelled(operand)} -> {spelled([*result, 'w'])} | t={count} w={size}"


def fourier(forward: bool) -> RuleFunction:
    """com.microsoft Rfft and Irfft over the last ``signal_ndim`` axes; real and imaginary parts are the last axis."""

    def rule(site: Site) -> str:
        count = positive(site, "signal_ndim", 1)
        if count > site.known_rank(0):
            raise NoRule(f"{count} signal axes in a tensor of rank {site.known_rank(0)}")
        signal, spectrum = (spelled(f"{name}{index}" for index in range(count)) for name in ("s", "f"))
        if forward:
            return f"mix: *n {signal} -> *n {spectrum} part"
        return f"mix: *n {spectrum} part -> *n {signal}"

    return rule


def loss(site: Site) -> str:
    """NegativeLogLikelihoodLoss and SoftmaxCrossEntropyLoss: one weight per class, ``c``."""
    result = "n *s" if site.text("reduction", "mean") == "none" else "."
    more = ", n c *s" if len([name for name in site.op.outputs if name]) > 1 else ""
    return f"reduce: n c *s, _, ~c -> {result}{more}"


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
    "Col2Im": column_to_image,
    "CumProd": cumulative,
    "CumSum": cumulative,
    "DFT": dft,
    "Det": "reduce: *n m k -> *n",
    "GlobalAveragePool": global_pool,
    "GlobalLpPool": global_pool,
    "GlobalMaxPool": global_pool,
    "GridSample": grid_sample,
    "LpPool": "pool: n c *s -> n c *t",
    "MaxPool": "pool: n c *s -> n c *t, _",
    "MaxRoiPool": region_align,
    "MaxUnpool": "pool: n c *s, _, _ -> n c *t",
    "NegativeLogLikelihoodLoss": loss,
    "Resize": resize,
    "RoiAlign": region_align,
    "SoftmaxCrossEntropyLoss": loss,
    "STFT": "mix: n s part, _, _, _ -> n t f value",
    "TensorScatter": tensor_scatter,
    "Upsample": resize,
}

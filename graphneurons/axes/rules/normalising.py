"""Normalisations: the axes whose statistics are shared are marked ``^``; gains and biases are aligned modulators."""

from __future__ import annotations

from graphneurons.axes.rules.site import NoRule, RuleText, Site
from graphneurons.axes.rules.spelling import aligned, marked, names, positive, spelled


def batch_normalization(site: Site) -> str:
    """Statistics are stored per channel (before opset 9, with ``spatial=0``, per element of the rest)."""
    shape = site.shape(1)
    modulator = "~c" if shape is None or len(shape) == 1 else "~c *s"
    more = ", c" * max(0, sum(map(bool, site.op.outputs)) - 1) if modulator == "~c" else ""
    return f"normalisation: n c *s{f', {modulator}' * 4} -> n c *s{more}"


def layer_normalization(site: Site) -> str:
    """LayerNormalization and RMSNormalization over the axes from ``axis`` on; scale and bias broadcast to them."""
    rank = site.known_rank(0)
    start = site.axis(site.number("axis", -1), rank)
    axes = names(rank, {start: "d"} if start == rank - 1 else None)
    x = spelled(marked(axes, range(start, rank)))
    kept = spelled([*axes[:start], *["1"] * (rank - start)])
    return f"normalisation: {x}, {aligned(site, 1, axes)}, {aligned(site, 2, axes)} -> {x}, {kept}, {kept}"


def rms_normalization(site: Site) -> str:
    rank = site.known_rank(0)
    start = site.axis(site.number("axis", -1), rank)
    axes = names(rank, {start: "d"} if start == rank - 1 else None)
    x = spelled(marked(axes, range(start, rank)))
    return f"normalisation: {x}, {aligned(site, 1, axes)} -> {x}"


def group_normalization(site: Site) -> str:
    """Scale and bias per channel; in opset 18 per group, which their size tells."""
    groups = positive(site, "num_groups", 1)
    shape, scale = site.shape(0), site.shape(1)
    per_group = shape is not None and len(shape) > 1 and scale == (groups,) and shape[1] != groups
    modulator = "~g" if per_group else "~(g c)"
    return f"normalisation: n ^(g c) ^*s, {modulator}, {modulator} -> n ^(g c) ^*s | g={groups}"


def lp_normalization(site: Site) -> str:
    rank = site.known_rank(0)
    axis = site.axis(site.number("axis", -1), rank)
    axes = spelled(marked(names(rank), [axis]))
    return f"normalisation: {axes} -> {axes}"


def mean_variance_normalization(site: Site) -> str:
    """Axes (0, 2, 3) unless told; in opset 1 ``across_channels`` adds the channels."""
    rank = site.known_rank(0)
    default = [0, 1, 2, 3] if site.number("across_channels", 0) else [0, 2, 3]
    axes = names(rank)
    found = site.numbers("axes") or tuple(axis for axis in default if axis < rank)
    x = spelled(marked(axes, [site.axis(axis, rank) for axis in found]))
    return f"normalisation: {x} -> {x}"


def softmax_axes(site: Site, flattens: bool) -> str:
    """The axes of a softmax: one is marked, or (``flattens``) every one from ``axis`` (default 1) on."""
    rank = site.known_rank(0)
    if rank == 0:
        return "."
    axis = site.axis(site.number("axis", 1 if flattens and rank > 1 else -1), rank)
    return spelled(marked(names(rank), range(axis, rank) if flattens else [axis]))


def softmax(site: Site) -> str:
    """Softmax, LogSoftmax and Hardmax along one axis; before opset 13 over all axes from ``axis`` on.

    Nothing but the opset tells the two apart. The older reading marks more axes as mixed, so it is safe where the
    stamped opset is too low.
    """
    x = softmax_axes(site, 0 < site.op.version < 13)
    return f"softmax: {x} -> {x}"


def skip_layer_normalization(beta: bool) -> RuleText:
    """com.microsoft SkipLayerNormalization: operand and skip (which may lack the batch axis) are added, then normalised
    over the last axis; the fourth output is the sum itself."""
    modulators = "~d, ~d, ~d" if beta else "~d, ~d"
    return f"normalisation: *n ^d, *n ^d, {modulators} -> *n ^d, _, _, *n d"


def group_norm(site: Site) -> str:
    """com.microsoft GroupNorm: channels last unless told; gains and biases per channel."""
    groups = positive(site, "groups", 1)
    x = "n ^*s ^(g c)" if site.number("channels_last", 1) else "n ^(g c) ^*s"
    return f"normalisation: {x}, ~(g c), ~(g c) -> {x} | g={groups}"


def skip_group_norm(site: Site) -> str:
    """com.microsoft SkipGroupNorm: the skip may have the spatial axes, ones in their place, or none."""
    groups, rank, last = positive(site, "groups", 1), site.known_rank(0), bool(site.number("channels_last", 1))
    spatial = [f"s{index}" for index in range(rank - 2)]
    skip = site.shape(3)
    if skip is None:
        raise NoRule("the shape of the skip operand is not known")
    if len(skip) == 2:
        kept = []
    elif len(skip) != rank:
        raise NoRule(f"a skip operand of rank {len(skip)} for a tensor of rank {rank}")
    else:
        sizes = skip[1:-1] if last else skip[2:]
        kept = ["1" if size == 1 else name for name, size in zip(spatial, sizes, strict=True)]
    marks = marked(spatial, range(len(spatial)))
    x = spelled(["n", *marks, "^(g c)"] if last else ["n", "^(g c)", *marks])
    y = x.replace("^", "")
    added = spelled(["n", *kept, "(g c)"] if last else ["n", "(g c)", *kept])
    return f"normalisation: {x}, ~(g c), ~(g c), {added}, ~(g c) -> {x}, {y} | g={groups}"


def branchwise_rms_norm(site: Site) -> str:
    """com.microsoft BranchwiseRMSNorm: branches in an axis of their own, or ``num_branches`` in the last one."""
    branches, scale = max(0, site.number("num_branches", 0)), site.shape(1)
    x, axes = ("*n ^(c d)", "(c d)") if branches else ("*n c ^d", "c d")
    if scale is not None and len(scale) == 2:
        axes = "c d"
    elif scale is not None and site.shape(0) is not None and len(scale) == 1:
        width = (site.shape(0) or (0,))[-1] // (branches or 1)
        axes = "d" if scale[0] == width else "(c d)"
    return f"normalisation: {x}, ~{axes} -> {x}" + (f" | c={branches}" if branches else "")


def gated_rms_norm(site: Site) -> str:
    """com.microsoft GatedRMSNorm: every stretch of as many features as the scale has is normalised, then gated."""
    return "normalisation: *n ^(h d), ~d, *n (h d) -> *n ^(h d)"


NORMALISATIONS: dict[str, RuleText] = {
    "BatchNormalization": batch_normalization,
    "GroupNormalization": group_normalization,
    "Hardmax": softmax,
    "InstanceNormalization": "normalisation: n c ^*s, ~c, ~c -> n c ^*s",
    "LRN": "normalisation: n ^c *s -> n ^c *s",
    "LayerNormalization": layer_normalization,
    "LogSoftmax": softmax,
    "LpNormalization": lp_normalization,
    "MeanVarianceNormalization": mean_variance_normalization,
    "RMSNormalization": rms_normalization,
    "SimplifiedLayerNormalization": layer_normalization,
    "Softmax": softmax,
}

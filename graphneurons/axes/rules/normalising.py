"""Normalisations: the axes whose statistics are shared are marked ``^``; gains and biases are aligned modulators."""

from __future__ import annotations

from graphneurons.axes.rules.site import RuleText, Site
from graphneurons.axes.rules.spelling import aligned, marked, names, spelled


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
    groups = site.number("num_groups", 1)
    shape, scale = site.shape(0), site.shape(1)
    per_group = shape is not None and scale == (groups,) and shape[1] != groups
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


def softmax(site: Site) -> str:
    """Softmax, LogSoftmax and Hardmax along one axis; before opset 13 over all axes from ``axis`` (default 1) on."""
    rank = site.known_rank(0)
    if rank == 0:
        return "softmax: . -> ."
    flattens = 0 < site.op.version < 13
    axis = site.axis(site.number("axis", 1 if flattens and rank > 1 else -1), rank)
    x = spelled(marked(names(rank), range(axis, rank) if flattens else [axis]))
    return f"softmax: {x} -> {x}"


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

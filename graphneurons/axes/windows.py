"""Sizes that only a formula tells: what a sliding window leaves of an axis (ONNX operator specification, Conv)."""

from __future__ import annotations

from collections.abc import Sequence
from math import isfinite

from graphneurons.axes.binding import Binding
from graphneurons.axes.rules.site import NoRule, Shape, Site


def window_shape(site: Site, binding: Binding) -> Shape | None:
    """The shape of result 0 of a convolution, pooling or transposed convolution, or None if it cannot be told.

    By convention the rules call the axes a window slides over ``*s``, its taps ``*k``, and what is left ``*t``.
    """
    axes = binding.results[0] if binding.results else None
    if axes is None:
        return None
    inner = _numbered(binding, "s")
    kernel = _numbered(binding, "k")
    taps = list(site.numbers("kernel_shape") or kernel)
    if kernel and taps != kernel:
        raise NoRule(f"kernel_shape says {taps}, its weight has a kernel of {kernel}")
    if not inner:
        return None
    if len(taps) != len(inner):
        raise NoRule(f"a kernel over {len(taps)} axes does not slide over the {len(inner)} axes {inner}")
    made = dict(zip((f"t{index}" for index in range(len(inner))), _slide(site, binding, inner, taps), strict=True))
    sizes = {**binding.sizes, **made}
    shape = []
    for axis in axes:
        size = 1
        for name in axis:
            if name not in sizes:
                return None
            size *= sizes[name]
        shape.append(size)
    return tuple(shape)


def _numbered(binding: Binding, name: str) -> list[int]:
    sizes: list[int] = []
    while f"{name}{len(sizes)}" in binding.sizes:
        sizes.append(binding.sizes[f"{name}{len(sizes)}"])
    return sizes


def _slide(site: Site, binding: Binding, inner: Sequence[int], taps: Sequence[int]) -> list[int]:
    count = len(inner)
    strides = _filled(site, "strides", count, 1)
    dilations = _filled(site, "dilations", count, 1)
    pads = _filled(site, "pads", 2 * count, 0)
    if min(strides) < 1 or min(dilations) < 1 or min(taps) < 1:
        raise NoRule(f"strides {strides}, dilations {dilations} and kernel {list(taps)} must be positive")
    automatic = site.text("auto_pad", "NOTSET")
    reach = [dilation * (tap - 1) + 1 for dilation, tap in zip(dilations, taps, strict=True)]
    if binding.rule.kind == "conv_transpose":
        return _transposed(site, inner, strides, reach, pads, automatic)
    if automatic in ("SAME_UPPER", "SAME_LOWER"):
        return [-(-size // stride) for size, stride in zip(inner, strides, strict=True)]
    if automatic == "VALID":
        pads = [0] * (2 * count)
    sizes = []
    for at in range(count):
        room = inner[at] + pads[at] + pads[at + count] - reach[at]
        if room < 0:
            raise NoRule(f"a window of {reach[at]} does not fit an axis of size {inner[at]}; check --dim and --shape")
        size = room // strides[at] + 1
        if site.number("ceil_mode", 0) and room % strides[at] and size * strides[at] < inner[at] + pads[at]:
            size += 1
        sizes.append(size)
    return sizes


def _filled(site: Site, name: str, count: int, default: int) -> list[int]:
    given = site.numbers(name) or (default,) * count
    if len(given) != count:
        raise NoRule(f"{name} {list(given)} must hold {count} numbers")
    return list(given)


def _transposed(
    site: Site,
    inner: Sequence[int],
    strides: Sequence[int],
    reach: Sequence[int],
    pads: Sequence[int],
    automatic: str,
) -> list[int]:
    count = len(inner)
    wanted = site.numbers("output_shape")
    if wanted:
        return list(wanted[-count:])
    if automatic in ("SAME_UPPER", "SAME_LOWER"):
        return [size * stride for size, stride in zip(inner, strides, strict=True)]
    extra = _filled(site, "output_padding", count, 0)
    sizes = [strides[at] * (inner[at] - 1) + extra[at] + reach[at] - pads[at] - pads[at + count] for at in range(count)]
    if min(sizes) < 0:
        raise NoRule(f"pads {list(pads)} leave nothing of sizes {list(inner)}")
    return sizes


def resized_shape(site: Site) -> Shape | None:
    """What Resize (or Upsample) makes of its operand, where scales or sizes are known: floor(size x scale)."""
    shape = site.shape(0)
    if shape is None:
        return None
    chosen = site.numbers("axes")
    axes = [site.axis(axis, len(shape)) for axis in chosen] if chosen else list(range(len(shape)))
    sizes = site.integers(3)
    given = site.op.attributes.get("scales")
    scales: Sequence[float] = (
        [float(item) for item in given if isinstance(item, (int, float))] if (isinstance(given, tuple)) else ()
    )
    for index in (2, 1):
        value = site.value(index)
        if not scales and value is not None and value.size == len(axes):
            scales = [float(item) for item in value.reshape(-1)]
    result = list(shape)
    if not all(map(isfinite, scales)):
        raise NoRule("a scale it resizes by is no finite number")
    if scales and len(scales) == len(axes):
        for axis, scale in zip(axes, scales, strict=True):
            result[axis] = int(shape[axis] * scale)
    elif sizes and len(sizes) == len(axes) and site.text("keep_aspect_ratio_policy", "stretch") == "stretch":
        for axis, size in zip(axes, sizes, strict=True):
            result[axis] = size
    else:
        return None
    return tuple(result) if min(result, default=0) >= 0 else None

"""Layout ops that pick and place by indices known before the model runs: Gather, Scatter and their kin, on planes."""

from __future__ import annotations

from collections.abc import Mapping
from math import prod

import numpy as np

from graphneurons.axes import planes
from graphneurons.axes.moving import Layout, Payload, first, in_range, overwritten, positions
from graphneurons.axes.planes import Integers, Plane
from graphneurons.axes.rules.site import NoRule, Site


def _indices(site: Site, index: int, size: int) -> Integers:
    value = site.value(index)
    if value is None or value.dtype.kind not in "iu":
        raise NoRule(f"its indices (operand {index}) are computed while the model runs, or are no integers")
    return in_range(value.astype(np.int64), size)


def _gather(site: Site, given: Payload, fill: int | None) -> tuple[Plane, ...]:
    plane = first(given)
    axis = site.axis(site.number("axis", 0), len(plane.shape))
    return (planes.take(plane, _indices(site, 1, plane.shape[axis]), axis),)


def _gather_elements(site: Site, given: Payload, fill: int | None) -> tuple[Plane, ...]:
    plane = first(given)
    axis = site.axis(site.number("axis", 0), len(plane.shape))
    found = _indices(site, 1, plane.shape[axis])
    if found.ndim != len(plane.shape) or any(
        a > b for i, (a, b) in enumerate(zip(found.shape, plane.shape, strict=True)) if i != axis
    ):
        raise NoRule(f"indices of shape {list(found.shape)} do not fit {list(plane.shape)}")
    region = positions(plane.shape)[tuple(slice(0, n) if i != axis else slice(None) for i, n in enumerate(found.shape))]
    return (planes.gather_flat(plane, np.take_along_axis(region, found, axis).reshape(-1), found.shape),)


def _gather_nd(site: Site, given: Payload, fill: int | None) -> tuple[Plane, ...]:
    plane = first(given)
    value = site.value(1)
    batch = site.number("batch_dims", 0)
    if value is None:
        raise NoRule("its indices (operand 1) are computed while the model runs")
    depth = value.shape[-1] if value.ndim else 0
    if batch or not 1 <= depth <= len(plane.shape):
        raise NoRule(f"indices of shape {list(value.shape)} with batch_dims {batch} are not followed")
    found = tuple(in_range(value[..., axis].astype(np.int64), plane.shape[axis]) for axis in range(depth))
    if depth == 1:
        return (planes.take(plane, found[0], 0),)
    flat = positions(plane.shape)[found]
    return (planes.gather_flat(plane, flat.reshape(-1), flat.shape),)


def _overwrite(site: Site, given: Payload, flat: Integers) -> tuple[Plane, ...]:
    """``given[0]`` with ``given[2]`` written at the flat places; a None among them is what does not matter."""
    shape, update_shape = site.shape(0), site.shape(2)
    if shape is None or update_shape is None or flat.shape != update_shape:
        raise NoRule("the shapes of its data and updates are not known or do not fit")
    return (overwritten(given[0], given[2] if len(given) > 2 else None, shape, flat),)


def _scatter_elements(site: Site, given: Payload, fill: int | None) -> tuple[Plane, ...]:
    shape = site.shape(0)
    if shape is None:
        raise NoRule("the shape of its data is not known")
    if site.text("reduction", "none") != "none":
        raise NoRule("it adds up where it scatters")
    axis = site.axis(site.number("axis", 0), len(shape))
    found = _indices(site, 1, shape[axis])
    if found.ndim != len(shape) or any(a > b for a, b in zip(found.shape, shape, strict=True)):
        raise NoRule(f"indices of shape {list(found.shape)} do not fit {list(shape)}")
    region = positions(shape)[tuple(slice(0, n) if i != axis else slice(None) for i, n in enumerate(found.shape))]
    return _overwrite(site, given, np.take_along_axis(region, found, axis))


def _scatter_nd(site: Site, given: Payload, fill: int | None) -> tuple[Plane, ...]:
    shape, value = site.shape(0), site.value(1)
    if shape is None or value is None:
        raise NoRule("its indices (operand 1) are computed while the model runs")
    if site.text("reduction", "none") != "none":
        raise NoRule("it adds up where it scatters")
    depth = value.shape[-1] if value.ndim else 0
    if not 1 <= depth <= len(shape):
        raise NoRule(f"indices of shape {list(value.shape)} do not fit {list(shape)}")
    found = tuple(in_range(value[..., axis].astype(np.int64), shape[axis]) for axis in range(depth))
    return _overwrite(site, given, positions(shape)[found])


def _compress(site: Site, given: Payload, fill: int | None) -> tuple[Plane, ...]:
    plane = first(given)
    kept = np.flatnonzero(np.array(_condition(site), dtype=bool))
    if "axis" not in site.op.attributes:
        plane, axis = planes.reshape(plane, (prod(plane.shape),)), 0
    else:
        axis = site.axis(site.number("axis", 0), len(plane.shape))
    if kept.size and int(kept.max()) >= plane.shape[axis]:
        raise NoRule("its condition is longer than the axis it picks from")
    return (planes.take(plane, kept, axis),)


def _condition(site: Site) -> tuple[int, ...]:
    numbers = site.integers(1)
    if numbers is None:
        raise NoRule("its condition (operand 1) is computed while the model runs")
    return numbers


LAYOUTS: Mapping[str, Layout] = {
    "Gather": _gather,
    "GatherElements": _gather_elements,
    "GatherND": _gather_nd,
    "Scatter": _scatter_elements,
    "ScatterElements": _scatter_elements,
    "ScatterND": _scatter_nd,
    "Compress": _compress,
}
"""Op type -> how it moves planes."""

PAYLOADS: Mapping[str, tuple[int, ...] | None] = dict.fromkeys(("Scatter", "ScatterElements", "ScatterND"), (0, 2))
"""Which operands carry elements, as in `graphneurons.axes.layouts.PAYLOADS`."""

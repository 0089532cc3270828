"""Stored tensors that hold the same numbers, transposed or not."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from graphneurons.analysis import Analysis, WeightUse
from graphneurons.checks.base import Found
from graphneurons.errors import printable
from graphneurons.graph import Filled
from graphneurons.health import Health, WeightHealth
from graphneurons.load.reading import read

LARGEST_COMPARED = 1 << 24
"""Elements up to which two tensors are compared number by number; beyond, the extremes of all rows are proof enough."""


def copied_weights(analysis: Analysis, health: Health, least: int) -> Iterator[Found]:
    """One finding per tensor that is a copy of an earlier one."""
    uses = {layer.id: layer.weights for layer in analysis.layers}
    uses |= {f"lookup:{lookup.id}": lookup.weights for lookup in analysis.lookups}
    measured = [(each.layer, each) for each in health.weights]
    measured += [(f"lookup:{each.layer}", each) for each in health.lookups]
    groups: dict[object, list[tuple[str, WeightUse]]] = {}
    for where, each in measured:
        use = uses[where][each.position]
        if use.weight.elements < least or use.part is not None or isinstance(use.weight.storage, Filled) or _flat(each):
            continue
        groups.setdefault(_outline(each), []).append((where, use))
    for alike in groups.values():
        first_where, first = alike[0]
        told = {first.weight.name}
        for where, use in alike[1:]:
            if use.weight.name in told or not _same(first, use):
                continue
            told.add(use.weight.name)
            turned = " transposed" if use.weight.shape != first.weight.shape else ""
            yield Found(
                f"holds the same numbers as {printable(first.weight.name)}{turned}",
                layer=next((each for each in (where, first_where) if not each.startswith("lookup:")), None),
                weight=use.weight.name,
                evidence={
                    "copy_of": printable(first.weight.name),
                    "used_by": printable(first_where),
                    "elements": use.weight.elements,
                },
            )


def _flat(health: WeightHealth) -> bool:
    rows = health.neurons
    return bool(rows.broken.all()) or float(np.nanmin(rows.min)) == float(np.nanmax(rows.max))


def _outline(health: WeightHealth) -> object:
    rows = health.neurons
    return (health.dtype, rows.size, rows.elements, rows.min.tobytes(), rows.max.tobytes(), rows.zeros.tobytes())


def _same(a: WeightUse, b: WeightUse) -> bool:
    if a.weight.elements > LARGEST_COMPARED:
        return True
    one, two = read(a.weight), read(b.weight)
    if one.shape == two.shape and np.array_equal(one, two):
        return True
    return one.ndim == 2 and one.T.shape == two.shape and np.array_equal(one.T, two)

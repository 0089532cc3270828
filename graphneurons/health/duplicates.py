"""Neurons that are copies or multiples of others in their layer.

Sums that the scan makes anyway are nearly the same for them, up to the factor; only neurons that agree in all of these
are read again, multiplied with a random vector, and where they agree in that too, compared synapse by synapse.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from graphneurons.health.numbering import Integers, Tile
from graphneurons.health.statistics import Duplicates
from graphneurons.health.summing import TILE, Entries
from graphneurons.health.weights import Weight

Array = npt.NDArray[Any]

TOLERANCE = 1e-5
"""How far sums of equal rows may differ: they are added in float32, in another order."""

_AT_ONCE = 1 << 21
_MOST_PASSES = 8
_MOST_ROUNDS = 4
_PRECISION = 48
"""Bits of agreement beyond which a multiple is no coincidence."""


class Found(NamedTuple):
    """``is_limited``: there may be more, which were too many to be compared."""

    groups: tuple[Duplicates, ...]
    is_limited: bool = False


def duplicates_of(parts: Sequence[tuple[Weight, Entries]], position: int | None) -> Found:
    """The copies and multiples among neurons whose weights are ``parts``, each with the sums of all neurons."""
    synapses = sum(weight.numbering.synapses for weight, _ in parts)
    sums = [entries for _, entries in parts]
    live = _live(sums)
    if live.size < 2 or not synapses:
        return Found(())
    clusters, is_limited = _clusters(sums, live), False
    at_once = max(2, _AT_ONCE // synapses)
    few = sum(map(len, clusters)) <= at_once and all(cluster.size <= _MOST_ROUNDS for cluster in clusters)
    if not few and not _is_keyed(sums):
        live = np.sort(np.concatenate(clusters))
        for weight, entries in parts:
            if "key" not in entries.sums:
                entries.sums["key"] = weight.summing.keys(live, weight.read)
        clusters = _clusters(sums, live)
    if len(clusters) and 2 * synapses > 2 * _AT_ONCE:
        return Found((), True)
    groups: list[Duplicates] = []
    compared = _Comparison(parts, synapses)
    for _ in range(_MOST_ROUNDS):
        if not clusters:
            break
        agreed, rest, was_limited = compared.compare(clusters)
        is_limited |= was_limited
        groups.extend(Duplicates(*group, position) for group in agreed)
        clusters = [cluster for cluster in rest if cluster.size > 1]
    return Found(tuple(sorted(groups, key=lambda group: int(group.neurons[0]))), is_limited or bool(clusters))


def _live(sums: Sequence[Entries]) -> Integers:
    """Neurons that are neither all zero nor broken."""
    square = sum((entries.of("square") for entries in sums), np.zeros(sums[0].size))
    live = (square > 0) & np.isfinite(square)
    for entries in sums:
        for name in ("nan", "inf"):
            if name in entries.sums:
                live &= entries.sums[name] == 0
    return np.flatnonzero(live)


def _is_keyed(sums: Sequence[Entries]) -> bool:
    return all("key" in entries.sums for entries in sums)


def _clusters(sums: Sequence[Entries], live: Integers) -> list[Integers]:
    """Neurons that agree in everything that does not change with a factor."""

    def added(name: str) -> Array:
        found: Array = sum((entries.of(name)[live] for entries in sums), np.zeros(live.size))
        return found

    norm = np.sqrt(added("square"))
    low = np.minimum.reduce([entries.of("low")[live] for entries in sums])
    high = np.maximum.reduce([entries.of("high")[live] for entries in sums])
    sizes = np.abs(low), np.abs(high)
    largest = np.maximum(*sizes)
    keys = [np.abs(added("total")) / norm, largest / norm, np.minimum(*sizes) / largest]
    if _is_keyed(sums):
        keys.insert(0, np.abs(added("key")) / norm)
    # Places in ``live`` and the cluster of each, ascending; whoever is alone in its cluster is left out.
    places, ids = np.arange(live.size), np.zeros(live.size, np.int64)
    for key in (*keys, keys[0]):
        values = key[places]
        # As yet all are in one cluster.
        order = np.lexsort((values, ids)) if ids[-1] else np.argsort(values)
        places, values, ids = places[order], values[order], ids[order]
        fresh = np.concatenate(([True], (np.diff(values) > TOLERANCE) | (np.diff(ids) != 0), [True]))
        shared = ~(fresh[:-1] & fresh[1:])
        places, ids = places[shared], np.cumsum(fresh[:-1])[shared]
        if not places.size:
            return []
    return [np.sort(live[run]) for run in np.split(places, np.flatnonzero(np.diff(ids)) + 1)]


Agreed = tuple[Integers, npt.NDArray[np.float64]]


class _Comparison:
    def __init__(self, parts: Sequence[tuple[Weight, Entries]], synapses: int) -> None:
        self._parts = parts
        self._synapses = synapses
        bits = min(weight.bits for weight, _ in parts)
        self._least = 1 + -(-_PRECISION // max(bits, 1))
        self._rounding = max(weight.rounding for weight, _ in parts)
        self._passes = 0

    def compare(self, clusters: Sequence[Integers]) -> tuple[list[Agreed], list[Integers], bool]:
        """(groups that agree with the first of a cluster, what is left of every cluster, whether some was not read)."""
        agreed: list[Agreed] = []
        rest: list[Integers] = []
        is_limited = False
        for batch in _batches(clusters, max(2, _AT_ONCE // self._synapses)):
            wanted = np.unique(np.concatenate(batch))
            if self._passes >= _MOST_PASSES and not self._is_seekable():
                is_limited = True
                continue
            self._passes += 1
            values = self._rows(wanted)
            for cluster in batch:
                rows = values[np.searchsorted(wanted, cluster)]
                factors = self._factors(rows)
                same = ~np.isnan(factors)
                if same.sum() > 1:
                    agreed.append((cluster[same], factors[same]))
                rest.append(cluster[~same])
        return _joined(agreed), rest, is_limited

    def _factors(self, rows: Array) -> npt.NDArray[np.float64]:
        """What every row is of the first: its factor, NaN where it is no multiple."""
        first = rows[0].astype(np.float64)
        factors = np.full(len(rows), np.nan)
        at = int(np.abs(first).argmax())
        may_scale = np.count_nonzero(first) >= self._least
        for number, row in enumerate(rows):
            if np.array_equal(row, rows[0]):
                factors[number] = 1.0
            elif may_scale:
                factor = float(row[at]) / first[at]
                if factor and (np.abs(row - factor * first) <= self._rounding * np.abs(row)).all():
                    factors[number] = factor
        return factors

    def _is_seekable(self) -> bool:
        return all(weight.numbering.upper_neurons for weight, _ in self._parts)

    def _rows(self, neurons: Integers) -> Array:
        """The weights of some neurons, one row each, synapses in one order for all."""
        parts = [_read_rows(weight, neurons) for weight, _ in self._parts]
        return parts[0] if len(parts) == 1 else np.concatenate(parts, axis=1)


def _batches(clusters: Sequence[Integers], most: int) -> Iterator[list[Integers]]:
    """Clusters together, as many as may be held; of larger ones a part at a time, each with the cluster's first."""
    batch: list[Integers] = []
    held = 0
    for cluster in clusters:
        for start in range(1, cluster.size, most - 1):
            part = np.concatenate((cluster[:1], cluster[start : start + most - 1]))
            if batch and held + part.size > most:
                yield batch
                batch, held = [], 0
            batch.append(part)
            held += part.size
    if batch:
        yield batch


def _joined(agreed: Sequence[Agreed]) -> list[Agreed]:
    """Parts of one cluster, which begin with the same neuron, as one group."""
    groups: dict[int, list[Agreed]] = {}
    for neurons, factors in agreed:
        groups.setdefault(int(neurons[0]), []).append((neurons, factors))
    return [
        (
            np.concatenate([parts[0][0], *(neurons[1:] for neurons, _ in parts[1:])]),
            np.concatenate([parts[0][1], *(factors[1:] for _, factors in parts[1:])]),
        )
        for parts in groups.values()
    ]


def _read_rows(weight: Weight, neurons: Integers) -> Array:
    numbering = weight.numbering
    found = np.zeros((neurons.size, numbering.synapses), weight.source.number_type)
    side = numbering.upper if numbering.upper_neurons else numbering.lower
    for outer in range(numbering.outer.size):
        numbers = numbering.outer.neurons[outer] + side.neurons
        at = np.flatnonzero(np.isin(numbers, neurons))
        if not at.size:
            continue
        into = np.searchsorted(neurons, numbers[at])
        base = numbering.outer.synapses[outer]
        if numbering.upper_neurons:
            for row, place in zip(at.tolist(), into.tolist(), strict=True):
                x = weight.read(Tile((outer, outer + 1), (row, row + 1), (0, numbering.lower.size)))
                found[place, base + numbering.upper.synapses[row] + numbering.lower.synapses] = x[0, 0]
            continue
        height = max(1, TILE // numbering.lower.size)
        for start in range(0, numbering.upper.size, height):
            stop = min(start + height, numbering.upper.size)
            x = weight.read(Tile((outer, outer + 1), (start, stop), (0, numbering.lower.size)))
            synapses = base + numbering.upper.synapses[start:stop, None] + numbering.lower.synapses[at]
            found[np.broadcast_to(into, synapses.shape), synapses] = x[0][:, at]
    return found



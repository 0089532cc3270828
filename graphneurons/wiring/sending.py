"""What a layer or a lookup sends: which of its neurons stands at every place of what the op puts out."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from math import prod
from typing import NamedTuple

import numpy as np

from graphneurons.axes import planes
from graphneurons.axes.binding import Binding, Factors
from graphneurons.axes.carrying import carry
from graphneurons.axes.planes import Plane, Shape
from graphneurons.wiring.records import CONSTANT, MIXED, Integers, Source


class Sender(NamedTuple):
    """``source`` numbers the neurons; ``factors`` are those that number them, outermost first, as the sums do;
    ``stage`` is which of the rule's sums it is; ``copies``: of how many stacked sets of neurons the running model picks
    one (experts), the sets numbered one after the other."""

    source: Source
    factors: tuple[str, ...]
    stage: int = 0
    copies: int = 1

    def own_state(self, binding: Binding, names: Sequence[str]) -> Integers:
        """The neurons a recurrent op reads from its own step before, along the state's factors ``names``.

        The state calls the units it reads ``u``; they are the units ``h`` that the op sends, of the same direction.
        """
        count = 1
        for name in names:
            count *= binding.sizes[name]
        numbers = np.arange(count, dtype=np.int64)
        return np.where(numbers < self.source.size, numbers + self.source.base, CONSTANT)


@lru_cache(maxsize=8192)
def sending_factors(binding: Binding, stage: int, made: frozenset[str]) -> tuple[str, ...]:
    """Of the factors ``made`` by a layer (its neuron and shared factors), those its op still has in what it puts out,
    in the order of the sums. A recurrent op sends its units: the gates are inside."""
    sums = [name for axis in binding.sums[stage] or () for name in axis if name in made]
    kept = {name for result in binding.results for axis in result or () for name in axis}
    return tuple(name for name in dict.fromkeys(sums) if name in kept or binding.rule.kind != "recurrent")


def sent(binding: Binding, senders: Sequence[Sender], shapes: Sequence[Shape | None]) -> list[Plane | int | None]:
    """The ids of every output of an op that makes layers; None where its shape is not known."""
    return [_sent(binding, senders, number, shape) for number, shape in enumerate(shapes)]


def _sent(binding: Binding, senders: Sequence[Sender], number: int, shape: Shape | None) -> Plane | int | None:
    if number >= len(binding.results) or binding.rule.results[number].mark == "_":
        return CONSTANT
    result = binding.results[number]
    if result is None or shape is None:
        return None
    sender = senders[0] if len(senders) == 1 else _nearest(result, senders)
    stored = _in_a_row(binding, sender.factors, number, shape)
    if stored is not None:
        planes.check_size(prod(stored))
        return planes.run(shape, stored, sender.source.base)
    names = {name for axis in result for name in axis}
    if binding.rule.kind == "attention":
        # The fused projections number query, key and value rows one after the other; what leaves the op are the values.
        width = shape[-1] if len(shape) == 3 else 0
        if not 0 < width <= sender.source.size:
            return MIXED
        first = sender.source.base + sender.source.size - width
        return Plane(shape, planes.along(shape, len(shape) - 1).data + first)
    factors = tuple(name for name in sender.factors if name in binding.sizes)
    if not set(factors) <= names:
        return MIXED
    sizes = tuple(binding.sizes[name] for name in factors)
    planes.check_size(prod(sizes))
    numbers = planes.run(sizes, sizes, sender.source.base)
    return carry(numbers, tuple((name,) for name in factors), result, shape, binding.sizes)


def _nearest(result: Sequence[Factors], senders: Sequence[Sender]) -> Sender:
    """Of several sums of one op, the one that most of the factors of a result number; of those alike, the last."""
    names = {name for axis in result for name in axis}
    return max(senders, key=lambda item: (len(names & set(item.factors)), item.stage))


@lru_cache(maxsize=8192)
def _in_a_row(binding: Binding, factors: tuple[str, ...], number: int, shape: Shape) -> Shape | None:
    """How result ``number`` stores the neurons that ``factors`` number, where they stand in it one after the other."""
    result = binding.results[number] or ()
    own = [axis for axis in result if not set(axis).isdisjoint(factors)]
    if binding.rule.kind == "attention" or 0 in shape or len(result) != len(shape):
        return None
    if [name for axis in own for name in axis] != list(factors) or not set(factors) <= set(binding.sizes):
        return None
    stored = tuple(size if axis in own else 1 for axis, size in zip(result, shape, strict=True))
    return stored if prod(stored) == prod(binding.sizes[name] for name in factors) else None

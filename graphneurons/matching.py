"""`match`: which layer of one model is which layer of another, and what the way from one to the other changed.

Weights are compared as matrices of neurons x synapses in one order (`graphneurons.comparing`): pairs are found by what
these hold, then by name, then by their place in the wiring.
"""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal, Union, get_args

from graphneurons.analysis import Analysis, Layer, Lookup, WeightUse
from graphneurons.analyzing import analyze
from graphneurons.comparing.differences import Comparison, Difference
from graphneurons.comparing.fingerprints import Item, layer_items
from graphneurons.comparing.linking import contained, links_of, pairings
from graphneurons.comparing.matrices import Reader
from graphneurons.comparing.pairing import ALIKE, Pairing
from graphneurons.graph import ModelGraph

Model = Union[str, "os.PathLike[str]", ModelGraph, Analysis]
By = Literal["content", "position"]
Change = Literal[
    "renamed", "transposed", "reordered", "folded", "permuted", "scaled", "changed", "retyped", "tied", "untied",
    "split", "merged", "unrolled", "rolled",
]  # fmt: skip
OTHER_SYNAPSES: frozenset[Change] = frozenset({"permuted", "scaled", "changed"})
"""Changes after which a layer computes something else."""


@dataclass(frozen=True, slots=True)
class Pair:
    """Layer ``a`` of the first model is layer ``b`` of the second, found by what they hold or by name and place.
    ``changes``, in the order of `Change`:

    ``renamed``     the stored weights have other names     ``transposed``  their axes are in another order
    ``reordered``   the gates of a recurrent layer are stored in another order
    ``folded``      a batch or weight normalisation is multiplied into the weights of one of them, which are the same
    ``permuted``    the neurons, or every neuron's synapses, are the same ones in another order
    ``scaled``      neurons are multiplied by numbers that no normalisation explains
    ``changed``     the synapses are others                 ``retyped``     the element type is another
    ``tied``        only in the second model the weight is also used elsewhere (``untied``: only in the first)
    ``split``       ``b`` holds a part of the neurons of ``a`` (or ``merged``: the other way round)
    ``unrolled``    ``b`` is a step of the recurrent layer ``a`` (or ``rolled``: the other way round)
    """

    a: str
    b: str
    by: By
    changes: tuple[Change, ...] = ()


@dataclass(frozen=True, slots=True)
class Match:
    """``pairs`` in the order of the first model; ``only_a`` and ``only_b`` are layers without a partner."""

    pairs: tuple[Pair, ...]
    only_a: tuple[str, ...] = ()
    only_b: tuple[str, ...] = ()

    @property
    def complete(self) -> bool:
        """Whether every layer of both models has a partner."""
        return not self.only_a and not self.only_b

    def partner(self, layer: str) -> str | None:
        """The layer of the second model that is ``layer`` of the first (the first one, where there are several)."""
        return next((pair.b for pair in self.pairs if pair.a == layer), None)


def match(a: Model, b: Model) -> Match:
    """Pairs the layers of two models: files, graphs or analyses. Reads their weights a few times, in pieces.

    Weights are the same up to rounding: 1e-5 of their norm where both are stored in one type, 1e-3 from or to float16,
    8e-3 bfloat16. Those without values (a model on the meta device, external data that is missing) are paired by name
    and place, and nothing is said of what they hold. Raises `LoadError` for files that are no models.
    """
    first, second = _Side(_analysis(a)), _Side(_analysis(b))
    with Reader(first.analysis.graph) as reader, Reader(second.analysis.graph) as other:
        found = pairings(first.items, second.items, other, by_name=False)
        links = dict(links_of(first.items, second.items, found))
        # Neurons in other matrices, in any order, are no partners that could be compared side by side.
        for at, at_other in contained(first.items, second.items, found, (reader, other)):
            links.setdefault((first.items[at].holder, second.items[at_other].holder), [])
        comparison = Comparison(reader, other)
        pairs = [_pair(first, second, link, same, comparison) for link, same in links.items()]
    return Match(
        tuple(sorted(pairs, key=lambda pair: (first.order[pair.a], second.order[pair.b]))),
        tuple(layer.id for layer in first.analysis.layers if layer.id not in {pair.a for pair in pairs}),
        tuple(layer.id for layer in second.analysis.layers if layer.id not in {pair.b for pair in pairs}),
    )


def _analysis(model: Model) -> Analysis:
    return model if isinstance(model, Analysis) else analyze(model)


class _Side:
    """One model: its layers and their matrices."""

    def __init__(self, analysis: Analysis) -> None:
        self.analysis = analysis
        self.by_id = {layer.id: layer for layer in analysis.layers}
        self.order = {name: at for at, name in enumerate(self.by_id)}
        self.items = tuple(layer_items(analysis))

    @cached_property
    def shared(self) -> frozenset[str]:
        """Stored tensors more than one layer or lookup uses."""
        users: dict[str, set[str]] = defaultdict(set)
        items: tuple[Layer | Lookup, ...] = (*self.analysis.layers, *self.analysis.lookups)
        for item in items:
            for use in item.weights:
                users[use.weight.name].add(item.id)
        return frozenset(name for name, ids in users.items() if len(ids) > 1)


def _pair(
    first: _Side, second: _Side, link: tuple[str, str], pairs: Sequence[Pairing], comparison: Comparison
) -> Pair:
    a, b = first.by_id[link[0]], second.by_id[link[1]]
    told: set[Change] = set()
    near = not pairs
    for pair in pairs:
        befores, nows = [first.items[at] for at in pair.before], [second.items[at] for at in pair.now]
        found = _found(befores, nows, comparison)
        told.update(_of_matrices(befores, nows, found, link))
        near = near or (found is not None and (found.relative <= ALIKE or bool(found.kind)))
    told.update(_of_layers(first, second, a, b, told))
    if not pairs:
        told.add("split" if a.neurons > b.neurons else "merged")
    return Pair(a.id, b.id, "content" if near else "position", tuple(each for each in get_args(Change) if each in told))


def _found(befores: Sequence[Item], nows: Sequence[Item], comparison: Comparison) -> Difference | None:
    is_known = all(item.fingerprint.is_known for item in (*befores, *nows))
    return comparison.of(befores, nows) if is_known else None


def _of_matrices(
    befores: Sequence[Item], nows: Sequence[Item], found: Difference | None, link: tuple[str, str]
) -> Iterator[Change]:
    """What is different between matrices of two layers, which may be parts of packed ones."""
    if _is_reordered(befores) != _is_reordered(nows):
        yield "reordered"
    if len(befores) != len(nows):
        yield "split" if len(befores) < len(nows) else "merged"
    elif befores[0].recurrent != nows[0].recurrent:
        yield "unrolled" if befores[0].recurrent else "rolled"
    if found is None:
        return
    if not _of_part(befores, nows, found, link):
        if _is_normalised(befores) != _is_normalised(nows):
            yield "folded"
    elif found.kind == "permuted" or found.kind == "scaled":
        yield found.kind
    else:
        yield "changed"


def _of_part(befores: Sequence[Item], nows: Sequence[Item], found: Difference, link: tuple[str, str]) -> bool:
    """Whether neurons that these two layers have in common are among those that changed."""
    several, name = (nows, link[1]) if len(nows) > 1 else (befores, link[0])
    start = 0
    for item in several:
        stop = start + item.fingerprint.rows
        if item.holder == name and bool(((found.changed >= start) & (found.changed < stop)).any()):
            return True
        start = stop
    return False


def _is_reordered(items: Sequence[Item]) -> bool:
    return any(item.matrix is not None and item.matrix.reordered for item in items)


def _is_normalised(items: Sequence[Item]) -> bool:
    """Whether a normalisation that is stored apart counts as part of the weights."""
    return any(
        item.matrix is not None and (item.matrix.scale is not None or item.matrix.gain is not None) for item in items
    )


def _of_layers(first: _Side, second: _Side, a: Layer, b: Layer, told: set[Change]) -> Iterator[Change]:
    uses = [[use.weight for use in layer.weights] for layer in (a, b)]
    names = [{weight.name for weight in weights} for weights in uses]
    if names[0] != names[1]:
        yield "renamed"
    if _order(a.weights) != _order(b.weights):
        yield "transposed"
    if {weight.dtype for weight in uses[0]} != {weight.dtype for weight in uses[1]}:
        yield "retyped"
    # The steps of an unrolled layer have one weight: that is no tie.
    if not told & {"unrolled", "rolled"}:
        tied = [any(name in side.shared for name in mine) for side, mine in zip((first, second), names, strict=True)]
        if tied[0] != tied[1]:
            yield "untied" if tied[0] else "tied"


def _order(uses: Sequence[WeightUse]) -> set[tuple[str, ...]]:
    """Which of neurons and synapses comes first in the stored axes."""
    return {
        tuple(
            dict.fromkeys(
                f.role for axis in use.axes for f in axis.factors if f.role in ("neuron", "synapse") and f.size > 1
            )
        )
        for use in uses
    }

"""The numbers a picture shows: rows of some neurons, columns of some synapses, norms of all. Nothing else is kept."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from graphneurons.analysis import Analysis, Layer
from graphneurons.errors import DataError, UsageError
from graphneurons.views.blocks import Floats, Integers, Laid, blocks, laid_out

MOST_SCANNED = 1 << 31
"""Elements of a layer beyond which its norms are not computed."""


@dataclass(frozen=True)
class Values:
    """The weights of one layer as one matrix: its neurons x all their synapses, those of several stored weights (input
    and recurrent ones) side by side. ``offsets``: where each weight's synapses start."""

    layer: Layer
    laid: tuple[Laid, ...]
    offsets: tuple[int, ...]

    @property
    def synapses(self) -> int:
        return self.offsets[-1]

    def rows(self, neurons: Sequence[int]) -> Floats:
        """(len(neurons), synapses): only their bytes are read where the layout allows."""
        wanted, back = np.unique(indices(neurons), return_inverse=True)
        found = np.zeros((wanted.size, self.synapses), np.float32)
        for laid, offset in zip(self.laid, self.offsets, strict=False):
            for block in blocks(laid, neurons=wanted):
                at = np.flatnonzero(np.isin(block.neurons, wanted))
                into = np.searchsorted(wanted, block.neurons[at])
                found[np.ix_(into, offset + block.synapses)] = block.values[at]
        return found[back]

    def columns(self, synapses: Sequence[int]) -> Floats:
        """(neurons, len(synapses)): the weights that all neurons have for some synapses."""
        wanted, back = np.unique(indices(synapses), return_inverse=True)
        found = np.zeros((self.layer.neurons, wanted.size), np.float32)
        for laid, offset in zip(self.laid, self.offsets, strict=False):
            inside = wanted[(wanted >= offset) & (wanted < offset + laid.synapses)] - offset
            if not inside.size:
                continue
            for block in blocks(laid, synapses=inside):
                at = np.flatnonzero(np.isin(block.synapses, inside))
                into = np.searchsorted(wanted, block.synapses[at] + offset)
                found[np.ix_(block.neurons, into)] = block.values[:, at]
        return found[:, back]

    @cached_property
    def norms(self) -> npt.NDArray[np.float64]:
        """The Euclidean norm of every neuron's synapses. Raises `UsageError` for layers too large to be read whole."""
        return self._summed[0]

    @cached_property
    def column_norms(self) -> npt.NDArray[np.float64]:
        """The Euclidean norm of every synapse over all neurons."""
        return self._summed[1]

    @cached_property
    def _summed(self) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
        if self.layer.synapses > MOST_SCANNED:
            raise UsageError(
                f"{self.layer.id} has {self.layer.synapses:,} synapses, too many to rank its neurons; "
                "choose some, as with --neurons 0,5,10:20 or random:16"
            )
        rows = np.zeros(self.layer.neurons)
        columns = np.zeros(self.synapses)
        for laid, offset in zip(self.laid, self.offsets, strict=False):
            for block in blocks(laid):
                squared = np.square(block.values)
                if not np.isfinite(squared.sum()):
                    squared = np.nan_to_num(squared, nan=0.0, posinf=3e38)
                # A piece's numbers are distinct, so plain indexing adds every one of them.
                rows[block.neurons] += squared.sum(axis=1, dtype=np.float32)
                columns[offset + block.synapses] += squared.sum(axis=0, dtype=np.float32)
        return np.sqrt(rows), np.sqrt(columns)


def values_of(analysis: Analysis, layer: Layer) -> Values:
    """The weights of ``layer``. Raises `DataError` where they cannot be read (absent data, packed formats)."""
    op = analysis.graph.producer[layer.op.output]
    laid = tuple(laid_out(use, op, analysis.graph) for use in layer.weights)
    if not laid:
        raise DataError("this layer has no stored weights to draw", file=analysis.model.path, where=layer.id)
    offsets = [0]
    for one in laid:
        if one.neurons != layer.neurons:
            raise DataError(
                f"{one.use.weight.name} holds {one.neurons:,} of its {layer.neurons:,} neurons; a layer whose neurons "
                "are spread over several weights cannot be drawn one by one, the network view shows it whole",
                file=analysis.model.path,
                where=layer.id,
            )
        offsets.append(offsets[-1] + one.synapses)
    return Values(layer, laid, tuple(offsets))


def indices(numbers: Sequence[int]) -> Integers:
    return np.array(numbers, np.int64)

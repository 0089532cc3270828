"""What an analysis says: frozen records of layers, lookups, modulators and what could not be labelled."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Literal

from graphneurons.errors import UsageError
from graphneurons.finding import nearby
from graphneurons.graph import ModelGraph, ModelInfo, Notice, WeightRef
from graphneurons.quick import quick

if TYPE_CHECKING:
    from graphneurons.axes.resolving import Resolution
    from graphneurons.wiring.group_records import Group
    from graphneurons.wiring.records import Wiring

Role = Literal["neuron", "synapse", "shared", "lookup", "mixed"]


@dataclass(frozen=True, slots=True)
class Factor:
    """A named index: an axis is one factor or the product of several, outermost first."""

    name: str
    size: int
    role: Role


@dataclass(frozen=True, slots=True)
class Axis:
    """One axis of a stored tensor. ``role`` is the role of all its factors, or ``mixed`` where they differ."""

    size: int
    role: Role
    factors: tuple[Factor, ...]


@quick
@dataclass(frozen=True, slots=True)
class WeightUse:
    """One stored tensor meeting an activation in one op, with labels in the stored tensor's own axes.

    ``input`` is the operand index at the op; ``part`` gives (start, stop) per axis where only a part of the stored
    tensor is used (a slice of a packed QKV weight), and is None where all of it is. ``elements`` is how many numbers it
    holds where several of them share a stored element (4-bit weights in bytes), and None elsewhere.
    """

    weight: WeightRef
    input: int
    axes: tuple[Axis, ...]
    part: tuple[tuple[int, int], ...] | None = None
    elements: int | None = None


@quick
@dataclass(frozen=True, slots=True)
class OpRef:
    """Which op: ``output`` is the name of its first output value."""

    type: str
    domain: str
    name: str
    output: str


@quick
@dataclass(frozen=True, slots=True)
class Layer:
    """The neurons one op makes, with all the weights that sum into them.

    ``neurons`` x ``synapses_per_neuron`` = ``synapses``. A recurrent neuron is one row ``[W | R]`` of one gate and
    direction; ``units`` is then the number of hidden units (None elsewhere). ``tied_to`` is the id of the first layer
    that uses the same weights: such a layer is listed, and counted once in the totals. ``role`` is the part it plays
    where that can be told: ``query``, ``key``, ``value``, ``output`` of attention (joined by ``+`` where one layer has
    several), ``mlp_key``, ``mlp_gate``, ``mlp_value`` of an MLP block. ``attached``: the kinds of modulators that act
    on its neurons and no others' (``bias``, ``normalisation``), in graph order.
    """

    id: str
    scope: tuple[str, ...]
    kind: str
    op: OpRef
    neurons: int
    synapses_per_neuron: int
    synapses: int
    activation: str | None
    weights: tuple[WeightUse, ...]
    units: int | None = None
    tied_to: str | None = None
    role: str | None = None
    attached: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Lookup:
    """A table whose rows are picked by an index (an embedding): ``rows`` x ``width``. Not counted as neurons."""

    id: str
    scope: tuple[str, ...]
    op: OpRef
    rows: int
    width: int
    weights: tuple[WeightUse, ...]


@quick
@dataclass(frozen=True, slots=True)
class Modulator:
    """Per-neuron parameters that are neither neuron nor synapse: bias, gain, normalisation scale, quantization scale.

    ``kind``: ``bias``, ``normalisation``, ``quantization``, ``elementwise`` (gain, shift, positional embedding, mask).
    ``of``: whose neurons it is aligned with, as the wiring names it: a layer's id, ``junction:ID``, ``lookup:ID``.
    """

    id: str
    scope: tuple[str, ...]
    kind: str
    op: OpRef
    weights: tuple[WeightUse, ...]
    of: str | None = None


@dataclass(frozen=True, slots=True)
class Unlabelled:
    """A weight nothing could be proved of in this use, with the reason and what would help."""

    name: str
    shape: tuple[int, ...]
    op: OpRef
    reason: str


@dataclass(frozen=True, slots=True)
class Totals:
    """Sums over the model; a weight used several times counts once.

    ``parameters`` and ``weight_elements`` count elements of stored tensors that meet activations (packed formats count
    logical elements); ``labelled_elements`` those whose every use is labelled.
    """

    neurons: int
    synapses: int
    parameters: int
    labelled_elements: int
    weight_elements: int

    @property
    def labelled_share(self) -> float:
        return self.labelled_elements / self.weight_elements if self.weight_elements else 1.0


def _no_wiring() -> Wiring:
    from graphneurons.wiring.records import Wiring

    return Wiring((), (), {})


@dataclass(frozen=True)
class Analysis:
    """Everything `analyze` found in one model. ``graph`` is what it was found in."""

    model: ModelInfo
    totals: Totals
    layers: tuple[Layer, ...]
    lookups: tuple[Lookup, ...]
    modulators: tuple[Modulator, ...]
    unlabelled: tuple[Unlabelled, ...]
    notices: tuple[Notice, ...]
    graph: ModelGraph = field(repr=False, compare=False)
    wiring: Wiring = field(default_factory=_no_wiring, repr=False, compare=False)
    resolution: Resolution | None = field(default=None, repr=False, compare=False)

    @cached_property
    def groups(self) -> tuple[Group, ...]:
        """Which axes of which weights share one index and are cut together, computed when first asked for."""
        from graphneurons.wiring.groups import coupled_groups

        return coupled_groups(self)

    def layer(self, name: str) -> Layer:
        """The layer with this id. Raises `UsageError` that lists ids like it."""
        found = self._by_id.get(name)
        if found is None:
            near = nearby(name, list(self._by_id), "the model has no layers")
            raise UsageError(f"no layer is called {name!r}; {near}", file=self.model.path)
        return found

    @cached_property
    def _by_id(self) -> dict[str, Layer]:
        return {layer.id: layer for layer in self.layers}

    def _repr_html_(self) -> str:
        from graphneurons.reports.html import as_html

        return as_html(self)

"""What PyTorch's own modules say of their weights: which elements are one neuron, which synapse of it, in which group.

Every element of every parameter gets coordinates: the neuron it belongs to, which synapse of that neuron it is, which
group, expert or direction it lies in (shared), which row of a table (lookup). A label of a stored tensor is right if
walking along the labelled factor changes that coordinate, and no other, everywhere in the tensor.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

Ints = NDArray[np.int64]
Role = Literal["neuron", "synapse", "shared", "lookup"]
Kind = Literal["layer", "lookup", "modulator"]
ROLES: tuple[Role, ...] = ("neuron", "synapse", "shared", "lookup")

FOLDABLE = re.compile(r"position|relative_attention_bias|wpe|token_type|biases")
"""Tables whose indices may be known when exporting: what is left is a constant that is added."""


@dataclass(frozen=True)
class Reading:
    """One way a parameter is used. ``axes`` holds the (role, size) factors of every axis, outermost first.

    ``owner`` names the neurons: parameters that sum into the same neurons have the same owner. ``group`` and
    ``synapse`` are added to those coordinates (direction of a recurrent weight; ``R`` lies behind ``W``).
    """

    kind: Kind
    owner: str
    axes: tuple[tuple[tuple[Role, int], ...], ...]
    group: int = 0
    synapse: int = 0

    def coordinates(self) -> dict[Role, Ints]:
        """For every role the flat index over its factors, one per element, in the parameter's row-major order."""
        factors = [factor for axis in self.axes for factor in axis]
        grid = np.indices([size for _, size in factors], dtype=np.int64).reshape(len(factors), -1)
        start: dict[Role, int] = {"shared": self.group, "synapse": self.synapse}
        found: dict[Role, Ints] = {}
        for role in ROLES:
            index = np.zeros(grid.shape[1], np.int64)
            for (given, size), along in zip(factors, grid, strict=True):
                if given == role:
                    index = index * size + along
            found[role] = index + start.get(role, 0)
        return found


def axes(roles: str, shape: tuple[int, ...]) -> tuple[tuple[tuple[Role, int], ...], ...]:
    """One single-factor axis per word of ``roles``; ``synapse*`` stands for all axes that are left.

    >>> axes("neuron synapse*", (4, 3, 5))
    ((('neuron', 4),), (('synapse', 3),), (('synapse', 5),))
    """
    words: list[str] = roles.split()
    if words[-1].endswith("*"):
        words[-1:] = [words[-1][:-1]] * (len(shape) - len(words) + 1)
    assert len(words) == len(shape), (roles, shape)
    return tuple(((word, size),) for word, size in zip(words, shape, strict=True))  # type: ignore[misc]


Readings = Iterator[tuple[str, Reading]]


def _plain(kind: Kind, **roles: str) -> Callable[[nn.Module, str], Readings]:
    """Readings of a module whose parameters' axes are single factors: parameter name -> roles."""

    def read(module: nn.Module, name: str) -> Readings:
        for parameter, text in roles.items():
            tensor = getattr(module, parameter, None)
            if tensor is not None:
                yield parameter, Reading(kind, f"{name}.{parameter}", axes(text, tuple(tensor.shape)))

    return read


def _convolution(module: nn.Module, name: str) -> Readings:
    weight, groups = module.weight, module.groups
    first, *rest = weight.shape
    outer: tuple[tuple[Role, int], ...] = (("shared", groups), ("neuron", first // groups))
    yield "weight", Reading("layer", name, (outer, *axes("synapse*", tuple(rest))))


def _transposed(module: nn.Module, name: str) -> Readings:
    weight, groups = module.weight, module.groups
    first, *rest = weight.shape
    outer: tuple[tuple[Role, int], ...] = (("shared", groups), ("synapse", first // groups))
    yield "weight", Reading("layer", name, (outer, *axes("neuron synapse*", tuple(rest))))


def _recurrent(module: nn.Module, name: str) -> Readings:
    for layer in range(module.num_layers):
        for direction in range(2 if module.bidirectional else 1):
            suffix = f"_l{layer}" + ("_reverse" if direction else "")
            inputs = getattr(module, f"weight_ih{suffix}").shape[1]
            for kind, start in (("ih", 0), ("hh", inputs)):
                shape = tuple(getattr(module, f"weight_{kind}{suffix}").shape)
                yield (
                    f"weight_{kind}{suffix}",
                    Reading("layer", f"{name}.l{layer}", axes("neuron synapse", shape), direction, start),
                )
            if getattr(module, "proj_size", 0):
                shape = tuple(getattr(module, f"weight_hr{suffix}").shape)
                yield (
                    f"weight_hr{suffix}",
                    Reading("layer", f"{name}.p{layer}", axes("neuron synapse", shape), direction),
                )


LINEAR = "neuron synapse"
PROJECTIONS = dict.fromkeys(("in_proj_weight", "q_proj_weight", "k_proj_weight", "v_proj_weight"), LINEAR)

MODULES: dict[str, Callable[[nn.Module, str], Readings]] = {
    "Linear": _plain("layer", weight=LINEAR),
    "NonDynamicallyQuantizableLinear": _plain("layer", weight=LINEAR),
    # The exporter splits it: a linear over the left input makes neurons, which then meet the right input.
    "Bilinear": _plain("layer", weight="neuron synapse neuron"),
    "Conv1d": _convolution,
    "Conv2d": _convolution,
    "Conv3d": _convolution,
    "ConvTranspose1d": _transposed,
    "ConvTranspose2d": _transposed,
    "ConvTranspose3d": _transposed,
    "RNN": _recurrent,
    "GRU": _recurrent,
    "LSTM": _recurrent,
    "MultiheadAttention": _plain("layer", **PROJECTIONS),
    "Embedding": _plain("lookup", weight="lookup neuron"),
    "Windows": _plain("lookup", biases="lookup neuron"),
    "Conv1D": _plain("layer", weight="synapse neuron"),
    "MixtralExperts": _plain("layer", gate_up_proj="shared neuron synapse", down_proj="shared neuron synapse"),
    "MixtralTopKRouter": _plain("layer", weight=LINEAR),
    "EinsumLinear": _plain(
        "layer", heads="neuron synapse neuron", merge="synapse synapse neuron", blocks="shared synapse neuron"
    ),
    "Experts": _plain("layer", gate="neuron synapse neuron", up="neuron synapse neuron", down="shared synapse neuron"),
}
"""Module class -> readings of its parameters. What is not listed (norms, biases, positions, gains) is a modulator."""


def readings(module: nn.Module, unrolled: bool = False) -> dict[int, list[Reading]]:
    """Readings of every parameter, keyed by the tensor's ``id``: a tied parameter has several."""
    found: dict[int, list[Reading]] = {}
    for name, child in module.named_modules():
        known = next((MODULES[base.__name__] for base in type(child).__mro__ if base.__name__ in MODULES), None)
        for parameter, reading in known(child, name) if known else ():
            if unrolled and isinstance(child, nn.RNNBase):
                reading = replace(reading, owner=f"{name}.{parameter}", group=0, synapse=0)
            found.setdefault(id(_stored(child, parameter)), []).append(reading)
            if reading.kind == "lookup" and FOLDABLE.search(f"{name}.{parameter}"):
                found[id(_stored(child, parameter))].append(Reading("modulator", name, reading.axes))
    for name, tensor in module.named_parameters():
        if id(tensor) not in found:
            shape = tuple(tensor.shape) or (1,)
            found[id(tensor)] = [Reading("modulator", name, axes("neuron*", shape))]
    return found


def _stored(module: nn.Module, parameter: str) -> torch.Tensor:
    """The tensor itself, or where weight normalisation computes it, the direction it is computed from."""
    if torch.nn.utils.parametrize.is_parametrized(module, parameter):
        return getattr(module.parametrizations, parameter).original1
    return getattr(module, parameter)


def folded(module: nn.Module) -> nn.Module:
    """``module`` with parametrizations (weight normalisation) computed once and for all, as exporters fold them."""
    for child in module.modules():
        if torch.nn.utils.parametrize.is_parametrized(child):
            for parameter in list(child.parametrizations):
                torch.nn.utils.parametrize.remove_parametrizations(child, parameter)
    return module


class Codebook:
    """Finds elements of stored tensors among a model's parameters, by mantissa (`models.coded` makes them distinct).

    ``tolerance``: by how many units in the last place an element may differ and still be the nearest one's.
    ``unrolled``: recurrent networks are written step by step, ``W x`` and ``R h`` are sums of their own.
    """

    def __init__(self, module: nn.Module, tolerance: int = 0, unrolled: bool = False) -> None:
        self.tolerance = tolerance
        known = readings(module, unrolled)
        normalised = {
            id(child.weight) for child in module.modules() if isinstance(child, nn.modules.batchnorm._BatchNorm)
        }
        named = [(name, tensor) for name, tensor in module.named_parameters() if id(tensor) not in normalised]
        self.names = [name for name, _ in named]
        self.readings = [known[id(tensor)] for _, tensor in named]
        sizes = [tensor.numel() for _, tensor in named]
        self.starts = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
        keys = np.concatenate([mantissas(tensor.detach().numpy().reshape(-1)) for _, tensor in named])
        assert len(np.unique(keys)) == len(keys), "two elements look alike"
        self._order = np.argsort(keys)
        self._keys = keys[self._order]
        self._owners: dict[str, int] = {}

    def find(self, values: NDArray[np.float32]) -> Ints:
        """The number of the parameter element each value came from, -1 where there is none. Keeps the shape."""
        keys = mantissas(values)
        above = np.minimum(np.searchsorted(self._keys, keys), len(self._keys) - 1)
        below = np.maximum(above - 1, 0)
        nearest = np.where(np.abs(self._keys[above] - keys) <= np.abs(self._keys[below] - keys), above, below)
        return np.where(np.abs(self._keys[nearest] - keys) <= self.tolerance, self._order[nearest], -1)

    def parameters(self, elements: Ints) -> list[int]:
        """Which parameters the elements lie in."""
        found = np.unique(np.searchsorted(self.starts, elements.reshape(-1), side="right") - 1)
        return [int(index) for index in found]

    def coordinates(self, elements: Ints, kind: Kind, choice: int = 0) -> dict[str, Ints] | None:
        """Coordinates of elements under one reading of ``kind`` (None where a parameter has none).

        Besides the roles: ``unit`` tells neurons of different owners and groups apart, ``own`` groups of owners.
        """
        table: dict[str, Ints] = {name: np.full(elements.shape, -1, np.int64) for name in (*ROLES, "owner")}
        for parameter in self.parameters(elements):
            fitting = [reading for reading in self.readings[parameter] if reading.kind == kind]
            if not fitting:
                return None
            reading = fitting[min(choice, len(fitting) - 1)]
            start = self.starts[parameter]
            inside = (elements >= start) & (elements < self.starts[parameter + 1])
            for role, values in reading.coordinates().items():
                table[role][inside] = values[elements[inside] - start]
            table["owner"][inside] = self._owners.setdefault(reading.owner, len(self._owners))
        spread = 1 << 24
        table["unit"] = (table["owner"] * 4096 + table["shared"]) * spread + table["neuron"]
        table["own neuron"] = table["owner"] * spread + table["neuron"]
        table["own shared"] = table["owner"] * spread + table["shared"]
        return table

    def totals(self) -> tuple[int, int]:
        """Neurons and synapses of all layers, tied ones once."""
        units, synapses = [], 0
        for parameter, known in enumerate(self.readings):
            if any(reading.kind == "layer" for reading in known):
                elements = np.arange(self.starts[parameter], self.starts[parameter + 1])
                found = self.coordinates(elements, "layer")
                assert found is not None
                units.append(np.unique(found["unit"]))
                synapses += len(elements)
        return len(np.unique(np.concatenate(units))), synapses


def mantissas(values: NDArray[np.float32]) -> Ints:
    """Mantissas of float32 values as integers of 24 bits, signs dropped (0 for zero, infinity and nan)."""
    mantissa, _ = np.frexp(np.asarray(values, np.float32))
    usable = np.where(np.isfinite(mantissa), np.abs(mantissa), 0)
    return (usable * np.float32(2**24)).astype(np.int64)

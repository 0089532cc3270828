"""Compare an analysis with the truth, element by element. Every disagreement is one line of text."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from math import prod
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray

from graphneurons.analysis import Analysis, Axis, Layer, WeightUse
from tests.zoo.truth import Codebook, Ints, Kind

MOVES: Mapping[str, tuple[str, tuple[str, ...]]] = {
    "neuron": ("own neuron", ("synapse", "shared", "lookup")),
    "synapse": ("synapse", ("own neuron", "shared", "lookup")),
    "shared": ("own shared", ("neuron", "synapse", "lookup")),
    "lookup": ("lookup", ("own neuron", "synapse", "shared")),
}
"""Role -> the coordinate that changes at every step along such a factor, and those that stay."""


def stored_tensors(path: Path) -> dict[str, NDArray[np.generic]]:
    """Every initializer and tensor Constant of the file, subgraphs and functions included, by value name."""
    model = onnx.load(path)
    found: dict[str, NDArray[np.generic]] = {}
    pending: list[onnx.GraphProto | onnx.FunctionProto] = [model.graph, *model.functions]
    while pending:
        graph = pending.pop()
        if isinstance(graph, onnx.GraphProto):
            for tensor in graph.initializer:
                found[tensor.name] = onnx.numpy_helper.to_array(tensor)
        for node in graph.node:
            for attribute in node.attribute:
                if node.op_type == "Constant" and attribute.name == "value":
                    found[node.output[0]] = onnx.numpy_helper.to_array(attribute.t)
                pending += [*attribute.graphs, *([attribute.g] if attribute.HasField("g") else [])]
    return found


def origins(path: Path, codebook: Codebook) -> dict[str, Ints]:
    """Stored tensors that hold nothing but elements of the model's parameters, with where each element came from."""
    found = {}
    for name, values in stored_tensors(path).items():
        if values.dtype == np.float32 and values.size:
            elements = codebook.find(values.astype(np.float32))
            if (elements >= 0).all():
                found[name] = elements
    return found


class Comparison:
    """All disagreements between one analysis and one model, gathered by `problems`."""

    def __init__(self, analysis: Analysis, codebook: Codebook, origins: Mapping[str, Ints]) -> None:
        self.analysis = analysis
        self.codebook = codebook
        self.origins = origins
        self.covered = np.zeros(codebook.starts[-1], bool)

    def elements(self, use: WeightUse) -> Ints | None:
        """Where the used part of a stored tensor came from; None if it is no parameter of the model."""
        found = self.origins.get(use.weight.name)
        if found is not None and use.part is not None:
            found = found[tuple(slice(*bounds) for bounds in use.part)]
        return found

    def problems(self, unused: Iterable[str] = (), foreign: int = 0) -> list[str]:
        """Everything wrong: labels, counts, missing weights, layers that are no weights of the model.

        ``unused`` names parameters no file can hold; ``foreign`` is how many layers have weights no module owns.
        """
        found = [*self._layers(foreign)]
        for lookup in self.analysis.lookups:
            for use in lookup.weights:
                found += self._use(use, "lookup", f"lookup {lookup.id}")
        for modulator in self.analysis.modulators:
            for use in modulator.weights:
                found += self._modulator(use, f"modulator {modulator.id}")
        found += self._missing(set(unused))
        return found

    def _layers(self, foreign: int) -> Iterator[str]:
        strangers = []
        for layer in self.analysis.layers:
            known = [self.elements(use) for use in layer.weights]
            if any(elements is None for elements in known):
                strangers.append(f"{layer.id} ({', '.join(use.weight.name for use in layer.weights)})")
                continue
            for use in layer.weights:
                yield from self._use(use, "layer", f"layer {layer.id}")
            yield from self._counts(layer, np.concatenate([elements.reshape(-1) for elements in known]))
        if len(strangers) != foreign:
            yield f"{len(strangers)} layers instead of {foreign} have weights no module owns: {'; '.join(strangers)}"

    def _counts(self, layer: Layer, elements: Ints) -> Iterator[str]:
        coordinates = self.codebook.coordinates(elements, "layer")
        if coordinates is None:
            return
        neurons = len(np.unique(coordinates["unit"]))
        wanted = (neurons, len(elements) // neurons, len(elements))
        given = (layer.neurons, layer.synapses_per_neuron, layer.synapses)
        if wanted != given:
            yield f"layer {layer.id}: neurons, synapses per neuron, synapses are {wanted}, labelled {given}"

    def _use(self, use: WeightUse, kind: Kind, where: str) -> Iterator[str]:
        elements = self.elements(use)
        if elements is None:
            return
        where = f"{where}, {use.weight.name} {list(use.weight.shape)}"
        self.covered[elements.reshape(-1)] = True
        if use.weight.dtype == "uint8" and len(use.weight.shape) == 3 and elements.ndim == 2:
            roles = [axis.role for axis in use.axes]
            if roles != ["neuron", "synapse", "synapse"] or use.weight.shape[0] != len(elements):
                yield f"{where}: packed rows of synapses are labelled {roles}"
            return
        sizes = [[factor.size for factor in axis.factors] for axis in use.axes]
        extents = elements.shape
        if (
            len(sizes) != len(extents)
            or len(use.weight.shape) != len(extents)
            or any(axis.size != n for axis, n in zip(use.axes, use.weight.shape, strict=True))
        ):
            yield f"{where}: labels are of shape {[axis.size for axis in use.axes]}"
            return
        grid = [
            [extent] if len(axis) == 1 and extent < whole.size else axis
            for axis, extent, whole in zip(sizes, extents, use.axes, strict=True)
        ]
        if any(prod(axis) != extent for axis, extent in zip(grid, extents, strict=True)):
            yield f"{where}: factors {sizes} do not make up {list(extents)}"
            return
        for axis in use.axes:
            roles = {factor.role for factor in axis.factors}
            if axis.role != (roles.pop() if len(roles) == 1 else "mixed"):
                yield f"{where}: an axis says {axis.role}, its factors {[factor.role for factor in axis.factors]}"
        attempts = []
        for choice in range(2):
            coordinates = self.codebook.coordinates(elements, kind, choice)
            if coordinates is None:
                names = [self.codebook.names[index] for index in self.codebook.parameters(elements)]
                yield f"{where}: {', '.join(names)} is no {kind}"
                return
            attempts.append([*_wrong(use.axes, grid, coordinates)])
        best = min(attempts, key=len)
        yield from (f"{where}: {text}" for text in best)

    def _modulator(self, use: WeightUse, where: str) -> Iterator[str]:
        elements = self.elements(use)
        if elements is None:
            return
        self.covered[elements.reshape(-1)] = True
        names = [self.codebook.names[index] for index in self.codebook.parameters(elements)]
        if self.codebook.coordinates(elements, "modulator") is None:
            yield f"{where}, {use.weight.name}: {', '.join(names)} is no modulator"
        for factor in (factor for axis in use.axes for factor in axis.factors if factor.size > 1):
            if factor.role not in ("neuron", "shared"):
                yield f"{where}, {use.weight.name} {list(use.weight.shape)}: a factor of it is {factor.role}"

    def _missing(self, unused: set[str]) -> Iterator[str]:
        stored = np.zeros(self.codebook.starts[-1], bool)
        for elements in self.origins.values():
            if elements.size > 1:
                stored[elements.reshape(-1)] = True
        for parameter, name in enumerate(self.codebook.names):
            inside = slice(self.codebook.starts[parameter], self.codebook.starts[parameter + 1])
            matters = any(reading.kind != "modulator" for reading in self.codebook.readings[parameter])
            optional = any(reading.kind == "modulator" for reading in self.codebook.readings[parameter])
            wanted = stored[inside] if optional or not matters or name in unused else np.True_
            missing = int((wanted & ~self.covered[inside]).sum())
            if missing:
                whole = self.codebook.starts[parameter + 1] - self.codebook.starts[parameter]
                yield f"{name}: {missing} of {whole} elements have no label"
            if name in unused and stored[inside].any():
                yield f"{name}: said to be unused, but the file holds it"


def _wrong(axes: tuple[Axis, ...], grid: list[list[int]], coordinates: Mapping[str, Ints]) -> Iterator[str]:
    """What is wrong with the roles, given the coordinates of every element of the (part of the) stored tensor."""
    factors = [(number, factor) for number, axis in enumerate(axes) for factor in axis.factors]
    extents = [extent for axis in grid for extent in axis]
    for position, ((number, factor), extent) in enumerate(zip(factors, extents, strict=True)):
        if extent == 1:
            continue
        if factor.role not in MOVES:
            yield f"axis {number}: {factor.name} has role {factor.role}"
            continue
        moving, still = MOVES[factor.role]
        along = np.sort(_walk(coordinates[moving], extents, position), axis=0)
        if not (along[1:] != along[:-1]).all():
            yield f"axis {number}: {factor.name} ({extent}) is not {factor.role}: {moving} stays"
        for other in still:
            walked = _walk(coordinates[other], extents, position)
            if not (walked == walked[:1]).all():
                yield f"axis {number}: {factor.name} ({extent}) is not {factor.role}: {other} changes along it"


def _walk(values: Ints, extents: list[int], position: int) -> Ints:
    return np.moveaxis(values.reshape(extents), position, 0).reshape(extents[position], -1)

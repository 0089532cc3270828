"""`analyze`: load, resolve, label and count, and bundle what was found."""

from __future__ import annotations

import os
from collections.abc import Mapping

from graphneurons.analysis import Analysis, Modulator
from graphneurons.axes.notation import Rule
from graphneurons.axes.resolving import resolve
from graphneurons.axes.rules.site import Shape
from graphneurons.axes.strands import weave
from graphneurons.axes.uses import uses
from graphneurons.census import count, modulator, named
from graphneurons.collecting import paused_collection
from graphneurons.graph import ModelGraph
from graphneurons.load import load
from graphneurons.wiring.records import Source
from graphneurons.wiring.rides import Ride
from graphneurons.wiring.roles import parts_played
from graphneurons.wiring.wiring import Named, wire

Model = str | os.PathLike[str] | ModelGraph


def analyze(
    model: Model, *, shapes: Mapping[str, Shape] | None = None, dims: Mapping[str, int] | None = None
) -> Analysis:
    """What is a neuron and what is a synapse in every weight of ``model`` (a path, or a loaded `ModelGraph`).

    ``shapes``: input name -> shape, and ``dims``: name of a dynamic dimension -> size, make dynamic shapes concrete
    where the defaults (one sample, 16 tokens, 224 x 224 pixels) will not do. No weight is read, the model is not run.

    Raises `LoadError` for files that are no models and `UsageError` for inputs or dimensions that do not exist.
    """
    with paused_collection():
        graph = model if isinstance(model, ModelGraph) else load(model)
        return _analyzed(graph, shapes, dims)


def _analyzed(graph: ModelGraph, shapes: Mapping[str, Shape] | None, dims: Mapping[str, int] | None) -> Analysis:
    resolution = resolve(graph, shapes, dims)
    found = list(uses(resolution, weave(resolution)))
    layers, lookups, modulators = (named(resolution, found, part) for part in ("weight", "lookup", "modulator"))
    wiring, ride = wire(resolution, layers, lookups, modulators)
    scales = tuple([_aligned(item, ride) for item in modulators])
    return count(resolution, found, layers, lookups, scales, parts_played(ride, wiring, layers), wiring)


def _aligned(item: Named, ride: Ride) -> Modulator:
    """A modulator with whose neurons it is aligned: what is added to a layer's own neurons is its bias."""
    of, kind = _modulated(ride, item), item.kind
    if kind == "elementwise" and of is not None and of.kind == "layer":
        step = item.uses[0].step
        kind = "bias" if isinstance(step, Rule) and step.kind == "sum" else kind
    return modulator(item, kind, None if of is None else of.name)


def _modulated(ride: Ride, item: Named) -> Source | None:
    aligned = ride.aligned.get(item.op.name, {})
    found = [aligned[use.operand] for use in item.uses if use.operand in aligned]
    return found[0] if found and all(source is found[0] for source in found) else None

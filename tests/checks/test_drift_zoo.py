"""Drift on exports of every architecture: another export is no drift, and a change in any layer is found in it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import pytest
from onnx import numpy_helper

import graphneurons
from graphneurons.analysis import Analysis, Layer, WeightUse
from graphneurons.checks.base import Finding, Subject
from graphneurons.checks.locking import Reference, kept, lock
from graphneurons.checks.policy import parse_policy
from graphneurons.checks.running import run
from tests.torch.fronts import archive
from tests.zoo.architectures import ZOO
from tests.zoo.exporting import IMPOSSIBLE, export

POLICY = parse_policy({"select": ["GN5"], "ignore": ["GN507"]}, "policy")
"""Without the names of inputs and outputs: every exporter gives others, and whoever calls the model has to know."""

TRUE = {
    # ATen has one op for what ONNX writes as a linear and a product: other counts.
    ("bilinear", "pt2"): [("GN503", "meet"), ("GN504", "meet")],
}
SLOW = pytest.mark.slow
EXPORTS = [
    ("dynamo", "legacy", False), ("legacy", "dynamo", True), ("dynamo", "dynamo_raw", False),
    ("legacy", "legacy_raw", False), ("pt2", "dynamo", False), ("pt2", "legacy", True),
    ("legacy_raw", "dynamo_raw", True),
]  # fmt: skip


@cache
def analysis(name: str, how: Any) -> Analysis | None:
    if how != "pt2" and (name, how.partition("_")[0]) in IMPOSSIBLE:
        return None
    return graphneurons.analyze(archive(name) if how == "pt2" else export(name, how))


@cache
def reference(name: str, how: str, locked: bool) -> Reference:
    found = analysis(name, how)
    assert found is not None
    return Reference(kept(lock(found))) if locked else Reference(lock(found), found)


def findings(now: Analysis, before: Reference) -> list[Finding]:
    return [each for each in run(Subject(now, POLICY, before)).findings if each.severity != "info"]


@pytest.mark.parametrize(
    ("one", "other", "locked"),
    [pytest.param(*each, marks=SLOW if "raw" in f"{each}" or each[0] == "pt2" else ()) for each in EXPORTS],
)
def test_another_export_is_no_drift(one: str, other: str, locked: bool) -> None:
    """56 architectures that both take; every finding would be a false alarm, but for those in TRUE."""
    alarms = {}
    compared = 0
    for name in ZOO:
        before, now = analysis(name, one), analysis(name, other)
        if before is None or now is None:
            continue
        compared += 1
        found = findings(now, reference(name, one, locked))
        if [(each.code, each.layer) for each in found] != TRUE.get((name, one), []):
            alarms[name] = [(each.code, each.layer, each.message) for each in found]
    assert alarms == {}
    assert compared >= 52


Rows = npt.NDArray[Any]


def _sign(values: Rows, neurons: int, synapses: int, random: np.random.Generator) -> None:
    np.moveaxis(values, neurons, 0)[random.integers(values.shape[neurons])] *= -1


def _scale(values: Rows, neurons: int, synapses: int, random: np.random.Generator) -> None:
    np.moveaxis(values, neurons, 0)[random.integers(values.shape[neurons])] *= np.float32(1.01)


def _exchange(values: Rows, axis: int, random: np.random.Generator) -> None:
    rows = np.moveaxis(values, axis, 0)
    one, other = random.choice(len(rows), 2, replace=False)
    rows[[one, other]] = rows[[other, one]]


def _turn(values: Rows, neurons: int, synapses: int, random: np.random.Generator) -> None:
    values[:] = np.swapaxes(values, neurons, synapses).copy()


CHANGES: dict[str, Callable[[Rows, int, int, np.random.Generator], None]] = {
    "sign of a neuron flipped": _sign,
    "a neuron's weights + 1 %": _scale,
    "two synapses exchanged": lambda values, neurons, synapses, random: _exchange(values, synapses, random),
    "two neurons exchanged": lambda values, neurons, synapses, random: _exchange(values, neurons, random),
    "square weight transposed": _turn,
}


def spots(found: Analysis, stored: frozenset[str], square: bool) -> Iterator[tuple[Layer, WeightUse, int, int]]:
    """Weights with an axis of neurons and one of synapses; of the same length if ``square``."""
    for layer in found.layers:
        for use in layer.weights if layer.tied_to is None else ():
            axes = [[at for at, axis in enumerate(use.axes) if axis.role == role and axis.size > 1]
                    for role in ("neuron", "synapse")]  # fmt: skip
            if all(axes) and use.part is None and use.weight.name in stored and use.weight.dtype == "float32":
                neurons, synapses = axes[0][-1], axes[1][0]
                if not square or use.weight.shape[neurons] == use.weight.shape[synapses]:
                    yield layer, use, neurons, synapses


@pytest.mark.parametrize(
    ("before", "locked"),
    [("dynamo", True), pytest.param("dynamo", False, marks=SLOW), pytest.param("legacy", True, marks=SLOW),
     pytest.param("legacy", False, marks=SLOW)],
)  # fmt: skip
@pytest.mark.parametrize("what", CHANGES)
def test_a_change_in_one_layer_is_found_in_it(what: str, before: str, locked: bool, tmp_path: Path) -> None:
    """One random layer of every architecture, exported by the dynamo exporter."""
    missed, found_in = {}, 0
    for name in ZOO:
        now = analysis(name, "dynamo")
        if now is None or analysis(name, before) is None:
            continue
        random = np.random.default_rng([*f"{name} {what}".encode()])
        made = onnx.load(export(name, "dynamo"))
        stored = frozenset(each.name for each in made.graph.initializer)
        places = list(spots(now, stored, what.startswith("square")))
        if not places:
            continue
        _, use, neurons, synapses = places[random.integers(len(places))]
        tensor = next(each for each in made.graph.initializer if each.name == use.weight.name)
        values = numpy_helper.to_array(tensor).copy()
        CHANGES[what](values, neurons, synapses, random)
        tensor.CopyFrom(numpy_helper.from_array(values, tensor.name))
        onnx.save(made, tmp_path / "model.onnx")
        told = findings(graphneurons.analyze(tmp_path / "model.onnx"), reference(name, before, locked))
        # The layers that hold the weight, and no others.
        holders = {layer.id for layer in now.layers for each in layer.weights if each.weight.name == use.weight.name}
        holders |= {None} if any(use.weight.name == each.weights[0].weight.name for each in now.lookups) else set()
        found_in += 1
        layers = {each.layer for each in told}
        if not layers or not layers <= holders or {each.code for each in told} != {"GN506"}:
            missed[name] = (use.weight.name, [(each.code, each.layer, each.message) for each in told])
    assert missed == {}
    assert found_in >= (20 if what.startswith("square") else 50)

"""Attention counted as QK and OV circuits."""

from __future__ import annotations

import json
from pathlib import Path

import jsonschema
import numpy as np
import pytest

import graphneurons
from graphneurons.circuits import find_circuits, merged
from graphneurons.reports.json import to_json
from graphneurons.reports.sums import by_scope
from graphneurons.wiring.records import Integers, Source, Synapses, Wiring
from tests.sample_analyses import analysis, layer, use

ROOT = Path(__file__).parents[2]
SCHEMA = json.loads((ROOT / "docs" / "analysis.schema.json").read_text("utf-8"))


def wired(widths: dict[str, int], fed: dict[str, Integers]) -> Wiring:
    sources, base = [], 0
    for name, size in widths.items():
        sources.append(Source("layer", name, base, size))
        base += size
    return Wiring(tuple(sources), (), {name: (Synapses(name, 0, numbers),) for name, numbers in fed.items()})


def attention(query: int, keys: int, width: int = 24, heads: int = 4, tied: str | None = None):
    """Projections of ``query`` and ``keys`` neurons; values as many as keys, each shared by query / keys heads."""
    shared = np.arange(keys).reshape(-1, query // heads).repeat(query // keys, axis=0).reshape(-1)
    parts = (("q", query, width, "query"), ("k", keys, width, "key"), ("v", keys, width, "value"))
    layers = [
        layer(f"attn.{name}", "MatMul", "linear", n, each, use(f"{name}.w", f"{n}n", f"{each}s"), role=role)
        for name, n, each, role in (*parts, ("o", width, query, "output"))
    ]
    other = layer("mlp", "MatMul", "linear", 7, width, use("mlp.w", "7n", f"{width}s"))
    sizes = {each.id: each.neurons for each in layers}
    value = sizes["attn.q"] + sizes["attn.k"]
    return analysis("attention.onnx", (*layers, other), wiring=wired(sizes, {"attn.o": shared + value}))


def packed(query: int, keys: int, width: int = 24, heads: int = 4, role: str = "query+key+value"):
    total = query + 2 * keys
    shared = np.arange(keys).reshape(-1, query // heads).repeat(query // keys, axis=0).reshape(-1)
    layers = (
        layer("attn.qkv", "Gemm", "linear", total, width, use("qkv.w", f"{total}n", f"{width}s"), role=role),
        layer("attn.o", "Gemm", "linear", width, query, use("o.w", f"{width}n", f"{query}s"), role="output"),
    )
    fed = {"attn.o": shared + query + keys}
    return analysis("packed.onnx", layers, wiring=wired({"attn.qkv": total, "attn.o": width}, fed))


def numbers(made) -> list[tuple[str, int, int]]:
    return [(each.id, each.neurons, each.synapses_per_neuron) for each in find_circuits(made)]


@pytest.mark.parametrize("make", [attention, packed])
def test_half_the_neurons_and_all_the_synapses(make):
    made = make(24, 24)
    assert numbers(made) == [("attn QK", 24, 48), ("attn OV", 24, 48)]
    counted = merged(made, find_circuits(made))
    assert made.totals.neurons - counted.totals.neurons == 2 * 24
    assert counted.totals.synapses == made.totals.synapses
    assert counted.totals.parameters == made.totals.parameters


@pytest.mark.parametrize("make", [attention, packed])
def test_shared_keys_count_with_every_query(make):
    made = make(24, 12)
    assert numbers(made) == [("attn QK", 24, 48), ("attn OV", 24, 48)]
    counted = merged(made, find_circuits(made)).totals
    assert counted.synapses - made.totals.synapses == 2 * 12 * 24


def test_circuits_stand_in_place_of_their_projections():
    made = attention(24, 24)
    counted = merged(made, find_circuits(made))
    assert [(each.id, each.kind, each.role) for each in counted.layers] == [
        ("attn QK", "circuit", "query+key"),
        ("attn OV", "circuit", "value+output"),
        ("mlp", "linear", None),
    ]
    assert [use.weight.name for use in counted.layers[0].weights] == ["q.w", "k.w"]
    root = by_scope(counted)[0]
    assert (root.neurons, root.synapses, root.parameters) == (
        counted.totals.neurons,
        counted.totals.synapses,
        counted.totals.parameters,
    )


def test_what_cannot_be_told_apart_stays_as_it_is():
    made = packed(24, 12)
    odd = analysis("odd.onnx", made.layers, wiring=wired({"attn.qkv": 48, "attn.o": 24}, {"attn.o": np.arange(24) % 7}))
    assert find_circuits(odd) == ()
    assert merged(odd, ()) is odd
    assert find_circuits(packed(24, 24, role="value")) == ()


def test_json_keeps_the_layers():
    made = attention(24, 24)
    plain, circuits = to_json(made), to_json(made, find_circuits(made))
    jsonschema.validate(circuits, SCHEMA)
    assert circuits["layers"] == plain["layers"]
    assert "circuits" not in plain
    assert plain["totals"]["neurons"] == 4 * 24 + 7
    assert circuits["totals"]["neurons"] == 2 * 24 + 7
    assert circuits["circuits"][1] == {
        "id": "attn OV",
        "kind": "OV",
        "neurons": 24,
        "synapses_per_neuron": 48,
        "synapses": 24 * 48,
        "layers": ["attn.v", "attn.o"],
    }


@pytest.mark.parametrize("name", ["transformer", "gpt_block"])
def test_real_files(name):
    made = graphneurons.analyze(str(ROOT / "fixtures" / f"{name}.onnx"))
    circuits = find_circuits(made)
    parts = {part for each in made.layers for part in (each.role or "").split("+")}
    assert {"query", "output"} <= parts
    assert {each.kind for each in circuits} == {"QK", "OV"}
    projections = sum(
        each.neurons
        for each in made.layers
        if each.role and {"query", "key", "value", "output"} & set(each.role.split("+"))
    )
    assert 2 * sum(each.neurons for each in circuits) == projections
    assert merged(made, circuits).totals.synapses == made.totals.synapses

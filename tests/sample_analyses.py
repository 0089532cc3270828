"""Analyses made by hand, so that reports are tested without loading anything."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from graphneurons.analysis import (
    Analysis,
    Axis,
    Factor,
    Layer,
    Lookup,
    Modulator,
    OpRef,
    Role,
    Totals,
    Unlabelled,
    WeightUse,
)
from graphneurons.graph import Inline, ModelGraph, ModelInfo, Notice, WeightRef
from graphneurons.wiring.records import Junction, Source, SourceKind, Synapses, Wiring

ROLES: dict[str, Role] = {"n": "neuron", "s": "synapse", "g": "shared", "r": "lookup"}

HOSTILE = "::error::\x1b[31mred\x1b]52;c;Zm9v\x07\n\u202egpj.##vso[task]|`<b>"


def axis(text: str) -> Axis:
    """``64n`` is one factor; ``4n gate * 32n h`` is a product of named ones."""
    factors = []
    for part in text.split("*"):
        number, _, name = part.strip().partition(" ")
        factors.append(Factor(name or "o", int(number[:-1]), ROLES[number[-1]]))
    size = 1
    for factor in factors:
        size *= factor.size
    roles = {factor.role for factor in factors}
    return Axis(size, factors[0].role if len(roles) == 1 else "mixed", tuple(factors))


def use(
    name: str, *axes: str, input: int = 1, dtype: str = "float32", part: tuple[tuple[int, int], ...] | None = None
) -> WeightUse:
    made = tuple(axis(text) for text in axes)
    shape = tuple(each.size for each in made)
    return WeightUse(WeightRef(name, dtype, shape, Inline(b"")), input, made, part)


def op(type: str, name: str, domain: str = "") -> OpRef:
    return OpRef(type, domain, name, f"{name}_output_0")


def layer(
    id: str,
    type: str,
    kind: str,
    neurons: int,
    each: int,
    *uses: WeightUse,
    activation: str | None = None,
    units: int | None = None,
    tied_to: str | None = None,
    scope: tuple[str, ...] | None = None,
    role: str | None = None,
) -> Layer:
    where = tuple(id.split(".")) if scope is None else scope
    named = op(type, f"/{'/'.join(where)}/{type}")
    return Layer(id, where, kind, named, neurons, each, neurons * each, activation, uses, units, tied_to, role)


def bias(name: str, size: int, kind: str = "bias", type: str = "Conv", of: str | None = None) -> Modulator:
    where = tuple(name.split(".")[:-1])
    return Modulator(name, where, kind, op(type, f"/{'/'.join(where)}/{type}"), (use(name, f"{size}g", input=2),), of)


def analysis(
    path: str,
    layers: tuple[Layer, ...] = (),
    lookups: tuple[Lookup, ...] = (),
    modulators: tuple[Modulator, ...] = (),
    unlabelled: tuple[Unlabelled, ...] = (),
    notices: tuple[Notice, ...] = (),
    wiring: Wiring | None = None,
) -> Analysis:
    counted = [each for each in layers if each.tied_to is None]
    weights = {u.weight.name: u.weight.elements for r in (*layers, *lookups, *modulators) for u in r.weights}
    labelled = sum(weights.values())
    rest = sum(WeightRef(each.name, "", each.shape, Inline(b"")).elements for each in unlabelled)
    info = ModelInfo(path, "pytorch 2.13.0", 10, (("", 20), ("com.microsoft", 1)), 1234)
    totals = Totals(
        sum(each.neurons for each in counted),
        sum(each.synapses for each in counted),
        labelled + rest,
        labelled,
        labelled + rest,
    )
    graph = ModelGraph(info, (), (), (), {})
    return Analysis(info, totals, layers, lookups, modulators, unlabelled, notices, graph, wiring or Wiring((), (), {}))


def mixture() -> Analysis:
    """One of everything: convolutions, a grouped transposed one, an LSTM, a packed projection, ties, an unknown op."""
    packed = "blocks.0.attn.qkv.weight"
    return analysis(
        "mixture.onnx",
        (
            layer(
                "stem.conv",
                "Conv",
                "conv",
                64,
                147,
                use("stem.conv.weight", "64n", "3s", "7s", "7s"),
                activation="Relu",
            ),
            layer("stem.depthwise", "Conv", "conv", 64, 9, use("onnx::Conv_123", "64n", "1s", "3s", "3s")),
            layer(
                "up.deconv",
                "ConvTranspose",
                "conv_transpose",
                32,
                256,
                use("up.deconv.weight", "2g g * 16s i", "16n", "4s", "4s"),
                activation="LeakyRelu",
            ),
            layer(
                "memory.lstm",
                "LSTM",
                "recurrent",
                256,
                96,
                use("memory.lstm.W", "2g dir", "4n gate * 32n h", "64s"),
                use("memory.lstm.R", "2g dir", "4n gate * 32n h", "32s", input=2),
                units=64,
                activation="Sigmoid, Tanh, Tanh",
            ),
            layer(
                "blocks.0.attn.q",
                "MatMul",
                "linear",
                64,
                64,
                use(packed, "64s", "192n", part=((0, 64), (0, 64))),
                scope=("blocks", "0", "attn"),
                role="query+key",
            ),
            layer(
                "blocks.0.attn.v",
                "MatMul",
                "linear",
                64,
                64,
                use(packed, "64s", "192n", part=((0, 64), (128, 192))),
                scope=("blocks", "0", "attn"),
                role="value",
            ),
            layer(
                "blocks.0.mlp.fc1",
                "Gemm",
                "linear",
                256,
                64,
                use("blocks.0.mlp.fc1.weight", "256n", "64s"),
                activation="Gelu",
                role="mlp_key",
            ),
            layer(
                "blocks.0.mlp.fc2",
                "Gemm",
                "linear",
                64,
                256,
                use("blocks.0.mlp.fc2.weight", "64n", "256s"),
                role="mlp_value",
            ),
            layer("head", "MatMul", "linear", 1000, 64, use("embed.weight", "1000n", "64s")),
            layer("head_again", "MatMul", "linear", 1000, 64, use("embed.weight", "1000n", "64s"), tied_to="head"),
        ),
        (
            Lookup(
                "embed",
                ("embed",),
                op("Gather", "/embed/Gather"),
                1000,
                64,
                (use("embed.weight", "1000r", "64g", input=0),),
            ),
        ),
        (
            bias("stem.conv.bias", 64, of="stem.conv"),
            bias("stem.norm.weight", 64, "normalisation", "BatchNormalization"),
            bias("blocks.0.mlp.fc1.bias", 256, type="Gemm", of="blocks.0.mlp.fc1"),
        ),
        (
            Unlabelled(
                "filter.table",
                (3, 5, 7),
                op("Wavelet", "/filter/Wavelet", "acme"),
                "op acme.Wavelet is not in the tables",
            ),
        ),
        (Notice("duplicate-opset", "opset_import", "domain ai.onnx is declared twice"),),
        mixture_wiring(),
    )


def mixture_wiring() -> Wiring:
    """Whom the layers of `mixture` read: groups, repeats, steps, a loop, residual sums, nobody, no pattern."""
    sizes: tuple[tuple[SourceKind, str, int], ...] = (
        ("input", "pixels", 3),
        ("layer", "stem.conv", 64),
        ("layer", "stem.depthwise", 64),
        ("layer", "up.deconv", 32),
        ("layer", "memory.lstm", 64),
        ("lookup", "embed", 64),
        ("junction", "/blocks.0/Add", 64),
        ("layer", "blocks.0.attn.q", 64),
        ("layer", "blocks.0.attn.v", 64),
        ("junction", "/blocks.0/Add_1", 64),
        ("layer", "blocks.0.mlp.fc1", 256),
        ("layer", "blocks.0.mlp.fc2", 64),
        ("junction", "/blocks.0/Add_2", 64),
        ("layer", "head", 1000),
        ("layer", "head_again", 1000),
    )
    bases = [0, *np.cumsum([size for _, _, size in sizes]).tolist()]
    sources = tuple(Source(kind, id, base, size) for (kind, id, size), base in zip(sizes, bases, strict=False))
    of = {source.name: np.arange(source.base, source.base + source.size, dtype=np.int64) for source in sources}
    first, second, third = of["junction:/blocks.0/Add"], of["junction:/blocks.0/Add_1"], of["junction:/blocks.0/Add_2"]
    halves = np.concatenate([of["stem.depthwise"][0:32:2], of["stem.conv"][48:]])
    odd = np.concatenate([of["blocks.0.mlp.fc2"][np.arange(56) ** 2 % 64], np.full(8, -3)])
    fed = {
        "stem.conv": [of["input:pixels"]],
        "stem.depthwise": [of["stem.conv"]],
        "up.deconv": [halves],
        "memory.lstm": [of["up.deconv"].repeat(2), of["memory.lstm"]],
        "blocks.0.attn.q": [first],
        "blocks.0.attn.v": [first],
        "blocks.0.mlp.fc1": [second],
        "blocks.0.mlp.fc2": [of["blocks.0.mlp.fc1"]],
        "head": [third],
        "head_again": [odd],
    }
    groups = {"stem.depthwise": [64], "up.deconv": [2], "memory.lstm": [1, 2]}
    junctions = (
        Junction("/blocks.0/Add", "sum", 64, (of["memory.lstm"], of["lookup:embed"]), "/blocks.0/Add"),
        Junction("/blocks.0/Add_1", "sum", 64, (first, of["blocks.0.attn.v"]), "/blocks.0/Add_1"),
        Junction("/blocks.0/Add_2", "sum", 64, (second, of["blocks.0.mlp.fc2"], np.full(64, -2)), "/blocks.0/Add_2"),
    )
    synapses = {
        name: tuple(
            Synapses(name, position, numbers, groups.get(name, [1])[position]) for position, numbers in enumerate(each)
        )
        for name, each in fed.items()
    }
    return Wiring(sources, junctions, synapses, ("no rule for acme.Wavelet",))


def transformer(blocks: int = 12, width: int = 768) -> Analysis:
    """The layers of GPT-2, with the long names of real exports."""
    layers: list[Layer] = []
    modulators: list[Modulator] = []
    for number in range(blocks):
        for name, ins, outs, activation in (
            ("attn.c_attn", width, 3 * width, None),
            ("attn.c_proj", width, width, None),
            ("mlp.c_fc", width, 4 * width, "Gelu"),
            ("mlp.c_proj", 4 * width, width, None),
        ):
            id = f"transformer.h.{number}.{name}"
            weight = use(f"{id}.weight", f"{ins}s", f"{outs}n")
            layers.append(layer(id, "Gemm", "linear", outs, ins, weight, activation=activation))
            modulators.append(bias(f"{id}.bias", outs, type="Gemm"))
        modulators.append(bias(f"transformer.h.{number}.ln_1.weight", width, "normalisation", "LayerNormalization"))
    table = use("transformer.wte.weight", "50257r", f"{width}g", input=0)
    layers.append(
        layer("lm_head", "MatMul", "linear", 50257, width, use("transformer.wte.weight", "50257n", f"{width}s"))
    )
    lookups = (
        Lookup(
            "transformer.wte", ("transformer", "wte"), op("Gather", "/transformer/wte/Gather"), 50257, width, (table,)
        ),
        Lookup(
            "transformer.wpe",
            ("transformer", "wpe"),
            op("Gather", "/transformer/wpe/Gather"),
            1024,
            width,
            (use("transformer.wpe.weight", "1024r", f"{width}g", input=0),),
        ),
    )
    return analysis("gpt2.onnx", tuple(layers), lookups, tuple(modulators))


def hostile() -> Analysis:
    """Every string a file can choose is an attack."""
    name = HOSTILE
    bad = OpRef(name, name, name, name)
    weight = use(name, "4n", "3s")
    made = analysis(
        name,
        (Layer(name, (name, "x"), name, bad, 4, 3, 12, name, (weight,)),),
        (Lookup(name, (name,), bad, 5, 2, (use(f"{name}t", "5r", "2g"),)),),
        (Modulator(name, (name,), name, bad, (use(f"{name}b", "4g"),)),),
        (Unlabelled(name, (1, 2), bad, name),),
        (Notice(name, name, name),),
    )
    info = ModelInfo(name, name, 10, ((name, 1),), 1)
    return replace(made, model=info)

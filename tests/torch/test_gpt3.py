"""GPT-3 175B (Brown et al. 2020: 96 blocks, d_model 12,288, 96 heads) on the meta device: exact numbers, no memory."""

from __future__ import annotations

from functools import cache
from typing import Literal

import pytest
import torch
from torch import nn

import graphneurons
from benchmarks.models.networks import Block
from graphneurons.analysis import Analysis
from graphneurons.errors import DataError
from graphneurons.load.reading import read

BLOCKS, WIDTH, HEADS = 96, 12_288, 96


def own() -> nn.Module:
    with torch.device("meta"):
        return nn.Sequential(nn.Embedding(50_257, WIDTH), *(Block(WIDTH, HEADS) for _ in range(BLOCKS))).eval()


def huggingface() -> nn.Module:
    from transformers import GPT2Config, GPT2LMHeadModel

    config = GPT2Config(n_layer=BLOCKS, n_embd=WIDTH, n_head=HEADS, n_positions=2048, use_cache=False)
    with torch.device("meta"):
        return GPT2LMHeadModel(config).eval()


BUILDERS = {"own": own, "transformers": huggingface}
Built = Literal["own", "transformers"]


@cache
def analysis(name: Built) -> Analysis:
    tokens = torch.zeros(1, 16, dtype=torch.long, device="meta")
    return graphneurons.analyze(graphneurons.trace(BUILDERS[name](), tokens))


def in_blocks(name: Built) -> dict[str, list[tuple[int, int]]]:
    """Block -> (neurons, synapses) of its layers."""
    found: dict[str, list[tuple[int, int]]] = {}
    for layer in analysis(name).layers:
        if any(part.isdigit() for part in layer.scope):
            block = next(part for part in layer.scope if part.isdigit())
            found.setdefault(block, []).append((layer.neurons, layer.synapses))
    return found


@pytest.mark.parametrize("name", BUILDERS)
def test_model_totals(name: Built) -> None:
    layers = [layer for block in in_blocks(name).values() for layer in block]
    neurons, synapses = sum(n for n, _ in layers), sum(s for _, s in layers)
    assert (neurons, synapses) == (10_616_832, 173_946_175_488)
    assert synapses / neurons == 16_384


@pytest.mark.parametrize("name", BUILDERS)
def test_every_block(name: Built) -> None:
    blocks = in_blocks(name)
    assert len(blocks) == BLOCKS
    for layers in blocks.values():
        mlp, attention = layers[-2:], layers[:-2]
        assert [neurons for neurons, _ in mlp] == [49_152, 12_288]
        assert sum(synapses for _, synapses in mlp) == 1_207_959_552
        assert sum(neurons for neurons, _ in attention) == 4 * 12_288 == 49_152
        assert sum(synapses for _, synapses in attention) == 603_979_776


def test_parts_played() -> None:
    block = [layer for layer in analysis("own").layers if layer.scope[0] == "1"]
    assert [layer.role for layer in block] == ["query", "key", "value", "output", "mlp_key", "mlp_value"]


def test_the_residual_stream_is_junctions_not_paths() -> None:
    wiring = analysis("own").wiring
    assert len(wiring.junctions) == 2 * BLOCKS
    assert wiring.reasons == ()


def test_nothing_is_stored() -> None:
    ref = analysis("transformers").graph.weights["transformer.h.95.mlp.c_fc.weight"]
    assert ref.shape == (12_288, 49_152)
    with pytest.raises(DataError, match="without values"):
        read(ref)

"""Prune check: what a coupled group ties is permuted, left out and deleted in the file, and onnxruntime judges."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np
import pytest

import graphneurons
from graphneurons.analysis import Analysis
from tests.wiring import pruning, trimming
from tests.zoo.architectures import ZOO
from tests.zoo.exporting import IMPOSSIBLE, How, export
from tests.zoo.quantizing import quantized

PLAIN: list[tuple[str, How]] = [
    (name, how)
    for name in ZOO
    for how in ("dynamo", "legacy")
    if (name, how) not in IMPOSSIBLE  # type: ignore[comparison-overlap]
]
RAW: list[tuple[str, How]] = [
    (name, how)
    for name in (
        "lstm_bi_2",
        "gru_bi_2",
        "llama",
        "gpt2",
        "swin",
        "densenet",
        "mobilenet",
        "cross_attention",
        "mixtral",
    )
    for how in ("dynamo_raw", "legacy_raw")
]
NOT_RUN = {"lstm_projected": "onnxruntime refuses the projected LSTM that the exporter writes"}

CLOSE = 1e-3
"""Differences, relative to how much outputs vary, that rounding explains."""
FAR = 1e-5


@cache
def analyzed(name: str, how: How) -> tuple[Path, Analysis]:
    path = export(name, how)
    return path, graphneurons.analyze(path)


@pytest.mark.parametrize(("name", "how"), [case for case in (*PLAIN, *RAW) if case[0] not in NOT_RUN])
def test_permuting_every_group_changes_nothing(name: str, how: How) -> None:
    path, analysis = analyzed(name, how)
    groups = [group for group in analysis.groups if group.fixed is None]
    shaken = pruning.load(path).shaken(1).write()
    given = pruning.feeds(shaken, 2)
    random = np.random.default_rng(3)
    weights = pruning.load(path).shaken(1)
    for group in groups:
        weights.permuted(group, random.permutation(group.size).tolist())
    assert pruning.difference(pruning.run(shaken, given), pruning.run(weights.write(), given)) < CLOSE


@pytest.mark.parametrize(
    ("name", "how", "scheme"),
    [
        ("mlp_3d", "dynamo", "nbits_qdq"),
        ("bert", "dynamo", "nbits"),
        ("gpt2", "dynamo", "nbits_tables"),
        ("mobilenet", "legacy", "qdq_channels"),
        ("resnet50", "legacy", "qoperator"),
        ("vit", "legacy", "qdq"),
        ("lstm", "legacy", "dynamic"),
        ("bert", "legacy", "fused_bert"),
        ("gpt2", "dynamo", "fused_gpt2"),
    ],
)
def test_permuting_the_groups_of_a_quantized_file_changes_nothing(name: str, how: How, scheme: str) -> None:
    path = quantized(name, how, scheme)
    model = pruning.load(path).model
    given = pruning.feeds(model, 2)
    random = np.random.default_rng(3)
    weights = pruning.load(path)
    for group in [group for group in graphneurons.analyze(path).groups if group.fixed is None]:
        weights.permuted(group, random.permutation(group.size).tolist())
    assert pruning.difference(pruning.run(model, given), pruning.run(weights.write(), given)) < CLOSE


INSENSITIVE = {
    ("bert", "self.key.bias"),
    ("vit", "k_proj.bias"),
}
"""A bias of keys adds the same to all scores of a query where all queries are alike in it: softmax drops it."""


@pytest.mark.parametrize(
    "name",
    [
        "mlp_2d",
        "cnn_bn",
        "mobilenet",
        "gpt2",
        "llama",
        "lstm_bi_2",
        "gru_bi_2",
        "bert",
        "vit",
        "conv_transpose",
        "nhwc_flatten",
        "pixel_shuffle",
        "concat_flatten",
        "unet",
        "t5_tied",
    ],
)
def test_leaving_one_member_out_changes_the_outputs(name: str) -> None:
    path, analysis = analyzed(name, "legacy")
    shaken = pruning.load(path).shaken(1).write()
    given = pruning.feeds(shaken, 2)
    outputs = pruning.run(shaken, given)
    unseen = set()
    for group in [group for group in analysis.groups if group.fixed is None and group.size > 1][:12]:
        order = np.roll(np.arange(group.size), 1).tolist()
        for position, member in list(enumerate(group.members))[:6]:
            weights = pruning.load(path).shaken(1).permuted(group, order, left_out=position)
            if pruning.difference(outputs, pruning.run(weights.write(), given)) < FAR:
                unseen.add((name, member.root))
    assert {
        item for item in unseen if not any(item[0] == model and item[1].endswith(end) for model, end in INSENSITIVE)
    } == set()


CUT: list[tuple[str, How]] = [case for case in PLAIN if not case[0].endswith("_dynamic") and case[0] not in NOT_RUN]
"""Models with the sizes that were analyzed."""


@pytest.mark.parametrize(("name", "how"), CUT)
def test_deleting_an_index_equals_silencing_it(name: str, how: How) -> None:
    path, analysis = analyzed(name, how)
    given = pruning.feeds(pruning.load(path).model, 2)
    random = np.random.default_rng(4)
    wrong = []
    for group in [group for group in analysis.groups if group.fixed is None and group.size > 1][:16]:
        index = int(random.integers(group.size))
        trimmed = trimming.trimming(analysis, group, index)
        try:
            model = trimming.patched(trimming.delete(pruning.load(path).shaken(1), group, index).write(), trimmed)
        except trimming.UnpatchedError:
            continue
        outputs = pruning.run(model, given)
        silent = pruning.run(trimming.silence(pruning.load(path).shaken(1), group, index).write(), given)
        if [output.shape for output in outputs] != [output.shape for output in silent]:
            wrong.append((group.id, index, "shapes"))
        elif not any(trimmed.takes_means()) and pruning.difference(silent, outputs) > CLOSE:
            wrong.append((group.id, index, "numbers"))
    assert wrong == []

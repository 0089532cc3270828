"""Every model of the onnx package, and every one its node test generators make, analyzes without a crash."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path

import onnx
import pytest

from graphneurons.analyzing import analyze
from graphneurons.load import load_bytes
from graphneurons.reports.json import dumps

DATA = Path(onnx.__file__).parent / "backend" / "test" / "data"
FILES = sorted(DATA.rglob("*.onnx"))

NEURONS = {
    "light_bvlc_alexnet": 96 + 256 + 384 + 384 + 256 + 4096 + 4096 + 1000,
    "light_resnet50": 26560 + 1000,
    "light_vgg19": 2 * 64 + 2 * 128 + 4 * 256 + 8 * 512 + 4096 + 4096 + 1000,
}
"""Output channels and rows, summed up from the papers' tables (Krizhevsky 2012, He 2015, Simonyan 2014)."""


def test_the_package_brings_its_models() -> None:
    assert len(FILES) >= 149


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.parent.name + "/" + path.stem)
def test_every_model_analyzes(path: Path) -> None:
    analysis = analyze(path)
    assert dumps(analysis)
    assert all(layer.neurons * layer.synapses_per_neuron == layer.synapses for layer in analysis.layers)


@pytest.mark.parametrize("path", [path for path in FILES if path.stem.startswith("light_")], ids=lambda path: path.stem)
def test_light_models_are_labelled_whole(path: Path) -> None:
    """Their weights are all ConstantOfShape: no byte of them exists."""
    analysis = analyze(path)
    assert analysis.totals.labelled_share == 1.0
    assert not analysis.unlabelled
    if path.stem in NEURONS:
        assert analysis.totals.neurons == NEURONS[path.stem]


@lru_cache(maxsize=1)
def _node_models() -> list[tuple[str, bytes]]:
    from onnx.backend.test.case.node import collect_testcases

    return [(case.name, case.model.SerializeToString()) for case in collect_testcases(None) if case.model is not None]


def _chunks(count: int) -> Iterator[int]:
    return iter(range(count))


@pytest.mark.parametrize("chunk", _chunks(8))
def test_every_node_model_analyzes(chunk: int) -> None:
    models = _node_models()[chunk::8]
    assert len(models) > 100
    failed = []
    for name, data in models:
        try:
            dumps(analyze(load_bytes(data, name)))
        except Exception as error:
            failed.append(f"{name}: {type(error).__name__}: {error}")
    assert not failed, "\n".join(failed)

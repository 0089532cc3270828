"""Opens whatever holds a model, cuts it at a layer, and settles how data go through it."""

from __future__ import annotations

import os
from functools import partial
from typing import Any

from graphneurons.analysis import Analysis
from graphneurons.analyzing import analyze
from graphneurons.errors import UsageError
from graphneurons.finding import find_layer
from graphneurons.graph import ModelGraph
from graphneurons.load.memory import serialized
from graphneurons.load.onnx import load_bytes
from graphneurons.probing.choosing import choose
from graphneurons.probing.cutting import Origin, cut
from graphneurons.probing.dequantizing import scaled
from graphneurons.probing.feeding import matched
from graphneurons.probing.onnx_running import OnnxRunner
from graphneurons.probing.settling import Reading, settle
from graphneurons.probing.untrained import draws
from graphneurons.probing.wishing import Opened, Wish


def opened(model: Any, wish: Wish) -> Opened:
    """``model`` ready to run up to the layer that is wished for. Raises `UsageError`, `DataError` and `LoadError`."""
    shapes, dims = wish.shapes, wish.dims
    if isinstance(model, ModelGraph):
        model = analyze(model, shapes=shapes, dims=dims)
    if isinstance(model, (str, os.PathLike)):
        path = os.fsdecode(model)
        _refuse_program(path)
        model = analyze(path, shapes=shapes, dims=dims)
    if isinstance(model, Analysis):
        return _of_onnx(model, _origin(model), wish)
    stored = serialized(model)
    if stored is not None:
        name = f"<{type(model).__name__}>"
        analysis = analyze(load_bytes(stored, name), shapes=shapes, dims=dims)
        return _of_onnx(analysis, Origin(name, stored), wish)
    from graphneurons.probing.torch_running import from_torch

    return from_torch(model, wish)


def _refuse_program(path: str) -> None:
    if path.lower().endswith(".pt2"):
        raise UsageError(
            "an exported program is not run from its file: open it with torch.export.load and give the program, or "
            "export the model to ONNX",
            file=path,
        )


def _origin(analysis: Analysis) -> Origin:
    """Where the model of an analysis can be read again."""
    path = analysis.model.path
    _refuse_program(path)
    if any(domain == "aten" for domain, _ in analysis.model.opsets) or not os.path.exists(path):
        raise UsageError(
            "an analysis does not keep the model it is of; give the model itself: a path, an nn.Module, a ModelProto",
            file=path,
        )
    return Origin(path, size=analysis.model.bytes or None)


def _of_onnx(analysis: Analysis, origin: Origin, wish: Wish) -> Opened:
    layer = find_layer(analysis, wish.layer)
    chosen = choose(analysis, layer, after=wish.after)
    part = cut(origin, analysis.graph, chosen.value)
    feeds = matched(wish.data, analysis.graph.inputs, part.inputs, analysis.model.path)
    reading = Reading(analysis, layer, chosen.value, [feed for feed in feeds if not feed.is_shared], wish.dims)
    drawn = None if wish.untrained is None else draws(analysis, wish.untrained, chosen.value)
    shared = {feed.name: feed.rows for feed in feeds if feed.is_shared}
    session = OnnxRunner(partial(part.filled, drawn), analysis.model.path, shared)
    runner, notice = scaled(session, analysis.graph, chosen.value)
    settled = settle(reading, runner, wish.batch)
    notices = (settled.notice, notice, *(drawn.notices if drawn else ()))
    return Opened(reading, chosen, settled, runner, tuple(filter(None, notices)))

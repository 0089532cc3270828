"""`render`: a model, a layer and the name of a view, as a drawing."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import Any, Union

from graphneurons.analysis import Analysis, Layer
from graphneurons.axes.rules.site import Shape
from graphneurons.errors import UsageError
from graphneurons.graph import ModelGraph
from graphneurons.views.attention import draw_attention
from graphneurons.views.canvas import Canvas
from graphneurons.views.chain import chain_of, draw_chain, pair_of
from graphneurons.views.circuit import draw_circuit
from graphneurons.views.columns import draw_columns
from graphneurons.views.conv import KINDS, draw_conv
from graphneurons.views.drawing import Drawing
from graphneurons.views.network import draw_network
from graphneurons.views.options import Options
from graphneurons.views.recurrent import draw_recurrent
from graphneurons.views.rendering import ENGINES
from graphneurons.views.rows import draw_rows

Subject = Union[str, "os.PathLike[str]", ModelGraph, Analysis]

VIEWS = ("network", "rows", "columns", "pair", "mlp", "conv", "recurrent", "attention", "circuit")


def render(
    model: Subject,
    layer: str | None = None,
    view: str | None = None,
    *,
    engine: str | None = None,
    shapes: Mapping[str, Shape] | None = None,
    dims: Mapping[str, int] | None = None,
    **choices: Any,
) -> Drawing:
    """A picture of ``model`` (a path, a loaded graph, or an `Analysis`), to be saved or shown in a notebook.

    ``layer``: the id of a layer, as `analyze` lists it; for the view ``circuit`` followed by a neuron, ``fc1:3``.
    ``view``: one of `VIEWS`; without it the network, or what suits the layer. ``engine``: ``graphviz-pure``, ``dot`` or
    None (see `graphneurons.views.rendering`). ``choices``: fields of `graphneurons.views.options.Options`: ``theme``,
    ``font_size``, ``title``, ``neurons``, ``max_neurons``, ``max_synapses``, ``perspective``, ``at``, ``up``, ``down``,
    ``top``, ``heads``, ``kv_heads``, ``depth``.

    Only the weights drawn are read (all of a layer's where its neurons are ranked by norm). Raises `UsageError` for a
    layer, a neuron or a view that is not there or does not fit, `DataError` where weights cannot be read, `LoadError`
    for files that are no models. Drawing (not this call) raises `RenderError` where no engine is installed.

    >>> import graphneurons
    >>> graphneurons.render("fixtures/mlp.onnx", "layers.0").dot.splitlines()[0]    # doctest: +SKIP
    'digraph graphneurons {'
    """
    unknown = set(choices) - set(Options.__slots__)
    if unknown:
        raise UsageError(f"render has no option {', '.join(sorted(unknown))}; there are {', '.join(Options.__slots__)}")
    options = Options(**choices)
    if view is not None and view not in VIEWS:
        raise UsageError(f"no view is called {view!r}; there are {', '.join(VIEWS)}")
    if engine is not None and engine not in ENGINES:
        raise UsageError(f"no engine is called {engine!r}; there are {', '.join(ENGINES)}")
    if isinstance(model, Analysis):
        if shapes or dims:
            raise UsageError("shapes and dims are for models that are still to be analyzed")
        analysis = model
    else:
        from graphneurons.analyzing import analyze

        analysis = analyze(model, shapes=shapes, dims=dims)
    return Drawing(draw(analysis, layer, view, options), engine)


def draw(analysis: Analysis, layer: str | None, view: str | None, options: Options) -> str:
    """The view as DOT text."""
    if view == "network" or (view is None and layer is None):
        if layer is not None:
            raise UsageError("the network view shows the whole model; leave the layer out, or choose another view")
        return draw_network(analysis, options).dot()
    found, neuron = _layer(analysis, layer, view)
    name = view or _suiting(found, neuron)
    if name == "circuit":
        return draw_circuit(analysis, found, _neuron(neuron, options, found), options).dot()
    if neuron is not None:
        raise UsageError(f"{layer}: only --view circuit is about one neuron; use {found.id} --neurons {neuron}")
    if name in ("pair", "mlp"):
        layers = pair_of(analysis, found) if name == "pair" else chain_of(analysis, found)
        return draw_chain(analysis, layers, options).dot()
    return _LAYERWISE[name](analysis, found, options).dot()


_LAYERWISE: Mapping[str, Callable[[Analysis, Layer, Options], Canvas]] = {
    "rows": draw_rows,
    "columns": draw_columns,
    "conv": draw_conv,
    "recurrent": draw_recurrent,
    "attention": draw_attention,
}


def _layer(analysis: Analysis, name: str | None, view: str | None) -> tuple[Layer, int | None]:
    """The layer called ``name``, and the neuron after its colon, if any."""
    if not analysis.layers:
        raise UsageError("this model has no layers to draw", file=analysis.model.path)
    if name is None:
        if len(analysis.layers) == 1 or view == "mlp":
            return analysis.layers[0], None
        near = ", ".join(layer.id for layer in analysis.layers[:4])
        raise UsageError(f"--view {view} is about one layer: name it, as {near}", file=analysis.model.path)
    head, colon, tail = name.rpartition(":")
    known = {layer.id for layer in analysis.layers}
    if name not in known and colon and tail.isascii() and tail.isdigit() and len(tail) < 19:
        return analysis.layer(head), int(tail)
    return analysis.layer(name), None


def _suiting(layer: Layer, neuron: int | None) -> str:
    if neuron is not None:
        return "circuit"
    return "conv" if layer.kind in KINDS else "recurrent" if layer.kind == "recurrent" else "rows"


def _neuron(given: int | None, options: Options, layer: Layer) -> int:
    if given is not None:
        return given
    text = (options.neurons or "").strip()
    if text.isascii() and text.isdigit() and len(text) < 19:
        return int(text)
    raise UsageError(f"--view circuit is about one neuron: name it, as {layer.id}:0")

"""Which axis of every weight is neurons, which are synapses, and who feeds whom, without running the network.

>>> import graphneurons
>>> analysis = graphneurons.analyze("model.onnx")        # doctest: +SKIP
>>> analysis.totals.neurons                              # doctest: +SKIP

Importing the package imports neither numpy nor onnx nor torch: every name below is loaded when it is first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

__version__ = "0.1.0"

if TYPE_CHECKING:
    from graphneurons.analysis import Analysis, Axis, Factor, Layer, Lookup, Modulator, Totals, Unlabelled, WeightUse
    from graphneurons.analyzing import analyze
    from graphneurons.checks.running import check
    from graphneurons.errors import DataError, GraphNeuronsError, LoadError, UsageError
    from graphneurons.exporting import export_onnx
    from graphneurons.graph import ModelGraph, Op, WeightRef
    from graphneurons.health import scan
    from graphneurons.load import load
    from graphneurons.matching import match
    from graphneurons.probing.probing import probe
    from graphneurons.tracing import trace
    from graphneurons.views.viewing import render

__all__ = [
    "Analysis",
    "Axis",
    "DataError",
    "Factor",
    "GraphNeuronsError",
    "Layer",
    "LoadError",
    "Lookup",
    "ModelGraph",
    "Modulator",
    "Op",
    "Totals",
    "Unlabelled",
    "UsageError",
    "WeightRef",
    "WeightUse",
    "__version__",
    "analyze",
    "check",
    "export_onnx",
    "load",
    "match",
    "probe",
    "render",
    "scan",
    "trace",
]

_HOMES = {
    "analyze": "analyzing",
    "check": "checks.running",
    "export_onnx": "exporting",
    "load": "load",
    "match": "matching",
    "probe": "probing.probing",
    "scan": "health",
    "trace": "tracing",
    "render": "views.viewing",
    **dict.fromkeys(("ModelGraph", "Op", "WeightRef"), "graph"),
    **dict.fromkeys(("DataError", "GraphNeuronsError", "LoadError", "UsageError"), "errors"),
    **dict.fromkeys(
        ("Analysis", "Axis", "Factor", "Layer", "Lookup", "Modulator", "Totals", "Unlabelled", "WeightUse"), "analysis"
    ),
}


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module 'graphneurons' has no attribute {name!r}")
    return getattr(import_module(f"graphneurons.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)

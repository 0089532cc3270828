"""ONNX's protobuf messages, without the rest of the onnx package: all of it takes longer to import than most models."""

from __future__ import annotations

import sys
from functools import lru_cache
from importlib import import_module
from importlib.machinery import PathFinder
from importlib.util import find_spec, module_from_spec
from typing import Any

SURELY_KNOWN = 21
"""The newest operator set that every version of onnx this package works with knows."""


def model_proto() -> Any:
    """The class of onnx.ModelProto, as ``import onnx`` gives it."""
    return (sys.modules.get("onnx") or _messages()).ModelProto


@lru_cache(maxsize=1)
def _messages() -> Any:
    """The module that protobuf generated, run beside the package; onnx's own import makes the same classes of it, as
    protobuf has one for every message. All of onnx where it is not laid out as it was."""
    package = find_spec("onnx")
    places = None if package is None else package.submodule_search_locations
    spec = PathFinder.find_spec("onnx.onnx_ml_pb2", list(places or ()))
    if spec is not None and spec.loader is not None:
        module = module_from_spec(spec)
        spec.loader.exec_module(module)
        if hasattr(module, "ModelProto"):
            return module
    return import_module("onnx")


def newest_opset() -> int:
    """The newest operator set of ai.onnx that the installed onnx knows."""
    import onnx

    newest: int = onnx.defs.onnx_opset_version()
    return newest

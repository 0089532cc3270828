"""Runs a cut ONNX model with onnxruntime, on the CPU. The only importer of onnxruntime."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from functools import cached_property
from typing import Any

from graphneurons.errors import DataError, UsageError
from graphneurons.probing.cutting import Filled
from graphneurons.probing.feeding import Array

INSTALL = 'pip install "graphneurons[probe]"'
_PREFIX = re.compile(r"^\[ONNXRuntimeError\] : \d+ : \w+ : ")


class OnnxRunner:
    """A session that is called with arrays by input name and returns the one value the model was cut at.

    ``model`` gives the model with its weights; ``shared`` are inputs that are the same in every run. One thread and no
    fusions beyond the basic ones: the same bytes every time. Raises `DataError` where onnxruntime cannot load or run
    the model, `UsageError` where it is not installed.
    """

    def __init__(self, model: Callable[[], Filled], path: str, shared: Mapping[str, Array]) -> None:
        self._model = model
        self._path = path
        self._shared = shared

    @cached_property
    def _session(self) -> Any:
        """Started when it is first needed: what is wrong with the data is found out before the weights are read."""
        try:
            import onnxruntime
        except ImportError as error:
            raise UsageError(f"onnxruntime is not installed ({error}); {INSTALL}") from None
        options = onnxruntime.SessionOptions()
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.log_severity_level = 4
        filled = self._model()
        # Their memory is numpy's: it must live as long as the session.
        self._apart = {name: onnxruntime.OrtValue.ortvalue_from_numpy(item) for name, item in filled.apart.items()}
        try:
            if self._apart:
                options.add_external_initializers(list(self._apart), list(self._apart.values()))
            return onnxruntime.InferenceSession(filled.model, options, providers=["CPUExecutionProvider"])
        except Exception as error:
            raise DataError(f"onnxruntime cannot load it up to this layer: {reason(error)}", file=self._path) from None

    def __call__(self, feeds: Mapping[str, Array]) -> Array:
        session = self._session
        try:
            found: Array = session.run(None, {**self._shared, **feeds})[0]
        except Exception as error:
            shapes = ", ".join(f"{name} {list(array.shape)}" for name, array in feeds.items())
            raise DataError(f"onnxruntime cannot run it on {shapes}: {reason(error)}", file=self._path) from None
        return found


def reason(error: Exception) -> str:
    """The first line of what onnxruntime says, without its codes."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return _PREFIX.sub("", lines[0])[:400] if lines else type(error).__name__

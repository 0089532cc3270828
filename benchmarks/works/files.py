"""Works on ONNX files."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

Call = Callable[[], Any]


def onnx_load(path: str) -> Call:
    import onnx

    return lambda: onnx.load(path)


def onnx_infer(path: str) -> Call:
    """Without external data, and with the shapes of everything."""
    import onnx
    from onnx import shape_inference

    return lambda: shape_inference.infer_shapes(onnx.load(path, load_external_data=False))


def onnx_check(path: str) -> Call:
    import onnx

    return lambda: onnx.checker.check_model(path)


def onnx_ir_load(path: str) -> Call:
    import onnx_ir

    return lambda: onnx_ir.load(path)


def analyze(path: str) -> Call:
    """Layers, roles and counts of every weight, and the wiring."""
    import graphneurons

    return lambda: graphneurons.analyze(path)


def groups(path: str) -> Call:
    import graphneurons

    return lambda: graphneurons.analyze(path).groups


def scan(path: str) -> Call:
    """Statistics of every neuron, and the duplicates among them."""
    import graphneurons

    return lambda: graphneurons.scan(graphneurons.analyze(path))


def scan_without_duplicates(path: str) -> Call:
    from unittest.mock import patch

    from graphneurons.health import duplicates

    call, found = scan(path), duplicates.Found(())

    def patched() -> Any:
        with patch("graphneurons.health.scanning.duplicates_of", lambda *_: found):
            return call()

    return patched


WORKS: dict[str, Callable[[str], Call]] = {
    work.__name__: work
    for work in (onnx_load, onnx_infer, onnx_check, onnx_ir_load, analyze, groups, scan, scan_without_duplicates)
}

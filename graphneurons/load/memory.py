"""ONNX models in memory: ``onnx.ModelProto``, ``onnx_ir.Model``, PyTorch's ``ONNXProgram``. None is imported."""

from __future__ import annotations

from typing import Any

from graphneurons.errors import LoadError
from graphneurons.graph import ModelGraph


def from_memory(model: Any) -> ModelGraph | None:
    """The graph of an ONNX model held in memory, None if ``model`` is no such thing. Told by type names, so that no
    library is imported for it."""
    kinds = {f"{kind.__module__.partition('.')[0]}.{kind.__name__}" for kind in type(model).__mro__}
    if "torch.ONNXProgram" in kinds:
        return _from_ir(model.model, "<ONNXProgram>")
    if "onnx_ir.Model" in kinds:
        return _from_ir(model, "<onnx_ir.Model>")
    if "onnx.ModelProto" in kinds:
        return _from_proto(model, "<ModelProto>")
    return None


def _from_ir(model: Any, name: str) -> ModelGraph:
    import onnx_ir

    return _from_proto(onnx_ir.serde.serialize_model(model), name)


def _from_proto(proto: Any, name: str) -> ModelGraph:
    from graphneurons.load.onnx import load_bytes

    try:
        data = proto.SerializeToString()
    except ValueError as error:
        raise LoadError(
            f"the model cannot be written as one message ({error}); save it with external data", file=name
        ) from None
    return load_bytes(data, name)

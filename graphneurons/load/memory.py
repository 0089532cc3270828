"""ONNX models in memory: ``onnx.ModelProto``, ``onnx_ir.Model``, PyTorch's ``ONNXProgram``. None is imported."""

from __future__ import annotations

from typing import Any

from graphneurons.errors import LoadError
from graphneurons.graph import ModelGraph


def from_memory(model: Any) -> ModelGraph | None:
    """The graph of an ONNX model held in memory, None if ``model`` is no such thing. Told by type names, so that no
    library is imported for it."""
    found = _proto(model)
    if found is None:
        return None
    from graphneurons.load.onnx import load_bytes

    proto, name = found
    return load_bytes(_bytes(proto, name), name)


def serialized(model: Any) -> bytes | None:
    """An ONNX model held in memory as the bytes of a file, None if ``model`` is no such thing. Raises `LoadError`."""
    found = _proto(model)
    return None if found is None else _bytes(*found)


def _proto(model: Any) -> tuple[Any, str] | None:
    """The ModelProto of a model, and what messages call it."""
    kinds = {f"{kind.__module__.partition('.')[0]}.{kind.__name__}" for kind in type(model).__mro__}
    if "torch.ONNXProgram" in kinds:
        return _of_ir(model.model), "<ONNXProgram>"
    if "onnx_ir.Model" in kinds:
        return _of_ir(model), "<onnx_ir.Model>"
    return (model, "<ModelProto>") if "onnx.ModelProto" in kinds else None


def _of_ir(model: Any) -> Any:
    import onnx_ir

    return onnx_ir.serde.serialize_model(model)


def _bytes(proto: Any, name: str) -> bytes:
    try:
        data: bytes = proto.SerializeToString()
    except ValueError as error:
        raise LoadError(
            f"the model cannot be written as one message ({error}); save it with external data", file=name
        ) from None
    return data

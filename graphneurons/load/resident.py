"""PyTorch tensors as weights: what they are called in ONNX, where they live, and whether two are one."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from graphneurons.graph import Absent, InMemory, WeightRef

if TYPE_CHECKING:
    import torch

_NAMES = {
    "float8_e4m3fn": "float8e4m3fn", "float8_e4m3fnuz": "float8e4m3fnuz", "float8_e5m2": "float8e5m2",
    "float8_e5m2fnuz": "float8e5m2fnuz", "float8_e8m0fnu": "float8e8m0", "float4_e2m1fn_x2": "uint8",
    "quint8": "uint8", "qint8": "int8", "qint32": "int32", "complex32": "complex64",
}  # fmt: skip
_BITS = {"bfloat16": "bfloat16", **{name: name for name in _NAMES if name.startswith("float8")}}
WITHOUT_VALUES = "the model was traced without values (on the meta device); trace one with its weights loaded"


def dtype_name(dtype: torch.dtype) -> str:
    """``torch.bfloat16`` as ONNX names it: ``bfloat16``."""
    name = str(dtype).removeprefix("torch.")
    return _NAMES.get(name, name)


def held(name: str, tensor: torch.Tensor, trainable: bool | None) -> WeightRef:
    """A reference to ``tensor``, which is not copied."""
    storage = Absent(WITHOUT_VALUES) if is_empty(tensor) else InMemory(partial(elements, tensor))
    return WeightRef(name, dtype_name(tensor.dtype), tuple(int(size) for size in tensor.shape), storage, trainable)


def is_empty(tensor: torch.Tensor) -> bool:
    """Whether a tensor has a shape but no values."""
    from torch._subclasses import FakeTensor

    return tensor.is_meta or isinstance(tensor, FakeTensor)


def elements(tensor: torch.Tensor) -> Any:
    """The elements of ``tensor`` as a numpy array that shares its memory where it lies in main memory."""
    import torch

    if tensor.is_sparse:
        tensor = tensor.to_dense()
    if tensor.is_quantized:
        tensor = tensor.int_repr()
    plain = tensor.detach().cpu().resolve_conj().resolve_neg()
    narrow = _BITS.get(str(tensor.dtype).removeprefix("torch."))
    if narrow is None:
        return plain.numpy()
    import ml_dtypes

    whole = plain.contiguous().view(torch.int16 if narrow == "bfloat16" else torch.uint8).numpy()
    return whole.view(getattr(ml_dtypes, narrow))


def identity(tensor: torch.Tensor) -> object:
    """Equal for two tensors that are the same elements of the same memory: tied weights."""
    try:
        storage = tensor.untyped_storage()._cdata
    except (NotImplementedError, RuntimeError):
        return id(tensor)
    return storage, tensor.storage_offset(), tuple(tensor.shape), tuple(tensor.stride()), tensor.dtype

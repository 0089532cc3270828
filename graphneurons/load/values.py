"""ValueInfoProto to `Value`: what a file declares of tensors that flow."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from graphneurons.graph import Dim, Value
from graphneurons.load.dtypes import DTYPES
from graphneurons.load.tensors import HIGHEST_RANK, MOST_ELEMENTS, Tensors

_OTHERS: dict[str | None, Callable[[Any], str]] = {
    "sequence_type": lambda proto: "sequence",
    "map_type": lambda proto: "map",
    "optional_type": lambda proto: "optional",
    "opaque_type": lambda proto: "opaque",
    None: lambda proto: "",
}


def value_of(info: Any, name: str, tensors: Tensors) -> Value:
    """The declaration ``info`` under the flattened ``name``.

    ``dtype`` is ``sequence``, ``map``, ``optional`` or ``opaque`` for what is no tensor, and empty where nothing is
    declared. A negative size means "not known" to some exporters and is read as that, with a notice; a shape of more
    than 64 axes is no shape any tensor can have, and is left out. Raises `LoadError` for an unknown data type.
    """
    kind = info.type.WhichOneof("value")
    other = _OTHERS.get(kind)
    if other is not None:
        return Value(name, other(info.type), None)
    tensor = getattr(info.type, kind)
    number = tensor.elem_type
    if number and number not in DTYPES:
        tensors.refuse(info.name, f"data type {number} is not one that ONNX defines")
    shape: tuple[Dim, ...] | None = None
    if tensor.HasField("shape") and len(tensor.shape.dim) <= HIGHEST_RANK:
        shape = tuple(_dim(dim, info.name, tensors) for dim in tensor.shape.dim)
    return Value(name, DTYPES[number].name if number else "", shape)


def _dim(dim: Any, name: str, tensors: Tensors) -> Dim:
    if dim.HasField("dim_value"):
        size: int = dim.dim_value
        if 0 <= size <= MOST_ELEMENTS:
            return size
        tensors.notices.add("impossible-size", name, f"declares the size {size}, which is read as not known")
        return None
    return tensors.text(dim.dim_param, name) or None

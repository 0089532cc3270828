"""AttributeProto to plain Python values."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from graphneurons.graph import Attribute, WeightRef
from graphneurons.load.tensors import Tensors
from graphneurons.load.wording import brief

GRAPH, GRAPHS = 5, 10
_ORDER = {
    "f": 1, "i": 2, "s": 3, "t": 4, "g": GRAPH, "floats": 6, "ints": 7, "strings": 8, "tensors": 9, "graphs": GRAPHS,
    "sparse_tensor": 11, "sparse_tensors": 12, "tp": 13, "type_protos": 14,
}  # fmt: skip


def text(stored: bytes) -> str:
    """A string attribute; custom ops keep binary blobs in them, so what is not UTF-8 is escaped, not refused."""
    return stored.decode("utf-8", errors="backslashreplace")


def named(where: str, tensor: Any) -> str:
    """``where``, with the name the tensor has of its own."""
    return f"{where} ({brief(tensor.name)})" if tensor.name else where


_VALUES: dict[int, Callable[[Any, Tensors, str, str], Attribute]] = {
    1: lambda attribute, tensors, where, name: float(attribute.f),
    2: lambda attribute, tensors, where, name: int(attribute.i),
    3: lambda attribute, tensors, where, name: text(attribute.s),
    4: lambda attribute, tensors, where, name: _tensor(attribute.t, tensors, where, name),
    6: lambda attribute, tensors, where, name: tuple(attribute.floats),
    7: lambda attribute, tensors, where, name: tuple(attribute.ints),
    8: lambda attribute, tensors, where, name: tuple(text(piece) for piece in attribute.strings),
    9: lambda attribute, tensors, where, name: tuple(
        _tensor(tensor, tensors, f"{where}[{index}]", f"{name}[{index}]")
        for index, tensor in enumerate(attribute.tensors)
    ),
    11: lambda attribute, tensors, where, name: _sparse(attribute.sparse_tensor, tensors, where, name),
    12: lambda attribute, tensors, where, name: tuple(
        _sparse(tensor, tensors, f"{where}[{index}]", f"{name}[{index}]")
        for index, tensor in enumerate(attribute.sparse_tensors)
    ),
    13: lambda attribute, tensors, where, name: "",
    14: lambda attribute, tensors, where, name: (),
}
"""By attribute type. Type attributes (13, 14) say nothing of weights and are left empty."""


def _tensor(tensor: Any, tensors: Tensors, where: str, name: str) -> WeightRef:
    return tensors.weight(tensor, named(where, tensor), tensor.name or name)


def _sparse(tensor: Any, tensors: Tensors, where: str, name: str) -> WeightRef:
    return tensors.sparse(tensor, named(where, tensor.values), tensor.values.name or name)


def kind_of(attribute: Any, tensors: Tensors, where: str) -> int:
    """The attribute's type number; IR version 1 had none, there the field that is set tells. 0: nothing is set.

    Raises `LoadError` where a field of another type is set too: readers would disagree on which one counts.
    """
    declared: int = attribute.type
    found = [_ORDER[field.name] for field, _ in attribute.ListFields() if field.name in _ORDER]
    if len(found) > 1 or (declared and found and found[0] != declared):
        tensors.refuse(where, "the attribute's value does not agree with its type, or it has several")
    return declared or (found[0] if found else 0)


def value_of(attribute: Any, kind: int, tensors: Tensors, where: str, name: str) -> Attribute:
    """The value of an attribute that is no subgraph.

    ``where`` is what messages call the attribute, ``name`` what a tensor in it is called that has no name of its own.
    Raises `LoadError`.
    """
    convert = _VALUES.get(kind)
    if convert is None:
        tensors.refuse(where, f"attribute type {kind} is not one that ONNX defines")
    return convert(attribute, tensors, where, name)

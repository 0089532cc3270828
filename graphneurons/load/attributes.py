"""AttributeProto to plain Python values."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from graphneurons.graph import Attribute
from graphneurons.load.tensors import Tensors

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
    return f"{where} ({tensor.name!s})" if tensor.name else where


_VALUES: dict[int, Callable[[Any, Tensors, str], Attribute]] = {
    1: lambda attribute, tensors, where: float(attribute.f),
    2: lambda attribute, tensors, where: int(attribute.i),
    3: lambda attribute, tensors, where: text(attribute.s),
    4: lambda attribute, tensors, where: tensors.weight(
        attribute.t, named(where, attribute.t), attribute.t.name or where
    ),
    6: lambda attribute, tensors, where: tuple(attribute.floats),
    7: lambda attribute, tensors, where: tuple(attribute.ints),
    8: lambda attribute, tensors, where: tuple(text(piece) for piece in attribute.strings),
    9: lambda attribute, tensors, where: tuple(
        tensors.weight(tensor, named(f"{where}[{index}]", tensor), tensor.name or f"{where}[{index}]")
        for index, tensor in enumerate(attribute.tensors)
    ),
    11: lambda attribute, tensors, where: tensors.sparse(
        attribute.sparse_tensor,
        named(where, attribute.sparse_tensor.values),
        attribute.sparse_tensor.values.name or where,
    ),
    12: lambda attribute, tensors, where: tuple(
        tensors.sparse(tensor, named(f"{where}[{index}]", tensor.values), tensor.values.name or f"{where}[{index}]")
        for index, tensor in enumerate(attribute.sparse_tensors)
    ),
    13: lambda attribute, tensors, where: "",
    14: lambda attribute, tensors, where: (),
}


def kind_of(attribute: Any, tensors: Tensors, where: str) -> int:
    """The attribute's type number; IR version 1 had none, there the field that is set tells. 0: nothing is set.

    Raises `LoadError` where a field of another type is set too: readers would disagree on which one counts.
    """
    declared: int = attribute.type
    found = [_ORDER[field.name] for field, _ in attribute.ListFields() if field.name in _ORDER]
    if len(found) > 1 or (declared and found and found[0] != declared):
        tensors.refuse(where, "the attribute's value does not agree with its type, or it has several")
    return declared or (found[0] if found else 0)


def value_of(attribute: Any, kind: int, tensors: Tensors, where: str) -> Attribute:
    """The value of an attribute that is no subgraph; ``where`` names it as ``node.attribute``. Raises `LoadError`."""
    convert = _VALUES.get(kind)
    if convert is None:
        tensors.refuse(where, f"attribute type {kind} is not one that ONNX defines")
    return convert(attribute, tensors, where)

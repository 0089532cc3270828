"""Inputs and outputs a policy asks for, as it writes them: ``"pixels: float32[batch, 3, 224, 224]"``."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from graphneurons.checks.hints import near
from graphneurons.errors import UsageError, printable
from graphneurons.graph import Dim, Value
from graphneurons.load.dtypes import BITS

_FORM = re.compile(r"(?P<dtype>[A-Za-z]\w*)?\s*(?:\[(?P<shape>[^\[\]]*)\])?")
_NAME = re.compile(r"[A-Za-z_][\w.]*")
_EXAMPLE = 'write "x", "x: float32", "x: [?, 3, 224, 224]" or "x: float32[batch, 3, 224, 224]"'


@dataclass(frozen=True, slots=True)
class Signature:
    """``dtype`` and ``shape`` are None where any will do. In a shape None stands for any size, and a name for a size
    that the model leaves open, whatever it calls it."""

    name: str
    dtype: str | None = None
    shape: tuple[Dim, ...] | None = None


def signature(text: str, where: str) -> Signature:
    """What one entry of ``inputs`` or ``outputs`` asks for. Names may hold colons, if no space follows them. Raises
    `UsageError` for what is none."""
    name, colon, rest = text.partition(": ")
    rest = rest.strip()
    if not colon:
        return Signature(text)
    match = _FORM.fullmatch(rest)
    if match is None or not rest or not name:
        raise UsageError(f"{text!r} is no input or output; {_EXAMPLE}", where=where)
    dtype, shape = match.group("dtype"), match.group("shape")
    if dtype is not None and dtype not in BITS:
        raise UsageError(f"{dtype!r} is no type; {near(dtype, BITS)}", where=where)
    return Signature(name.strip(), dtype, None if shape is None else tuple(_dims(shape, text, where)))


def _dims(shape: str, text: str, where: str) -> Iterator[Dim]:
    for part in shape.split(",") if shape.strip() else ():
        dim = part.strip()
        if dim == "?":
            yield None
        elif dim.isascii() and dim.isdigit():
            yield int(dim)
        elif _NAME.fullmatch(dim):
            yield dim
        else:
            raise UsageError(f"{dim!r} in {text!r} is neither a size, a name nor ?", where=where)


def mismatches(kind: str, wanted: Sequence[Signature], there: Sequence[Value]) -> Iterator[str]:
    """What is wrong: an input or output that is missing, too many, of another type or of another shape."""
    values = {value.name: value for value in there}
    asked = {each.name for each in wanted}
    for each in wanted:
        value = values.get(each.name)
        if value is None:
            yield f"the {kind} {each.name!r} is missing; {near(each.name, values) if values else 'there is none'}"
            continue
        name = printable(each.name)
        if each.dtype is not None and value.dtype and value.dtype != each.dtype:
            yield f"the {kind} {name!r} is {value.dtype}, the policy says {each.dtype}"
        if each.shape is not None and value.shape is not None and not _fits(each.shape, value.shape):
            told = f"has the shape {written(value.shape)}, the policy says {written(each.shape)}"
            yield f"the {kind} {name!r} {told}"
    for name in values:
        if name not in asked:
            yield f"the {kind} {printable(name)!r} is none of those the policy lists"


def _fits(wanted: tuple[Dim, ...], there: tuple[Dim, ...]) -> bool:
    """Whether a model with these sizes can be used where those are wanted: what it leaves open takes any size."""
    if len(wanted) != len(there):
        return False
    for want, size in zip(wanted, there, strict=True):
        if isinstance(size, int) and want not in (None, size):
            return False
    return True


def written(shape: Sequence[Dim]) -> str:
    """``[batch, 3, ?]``"""
    return f"[{', '.join('?' if dim is None else printable(str(dim), 40) for dim in shape[:12])}]"

"""Frozen records that are made quickly: graphs, their labels and their wiring are hundreds of thousands of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import MISSING, fields
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

T = TypeVar("T", bound="DataclassInstance")


def quick(record: type[T]) -> type[T]:
    """``record``, a frozen dataclass with slots, with fields set through their slots when one is made.

    What `dataclasses` writes finds every slot by its name, by `object.__setattr__`, and takes almost twice as long.
    """
    names = [each.name for each in fields(record)]
    setters = {f"set_{name}": getattr(record, name).__set__ for name in names}
    defaults: dict[str, Any] = {}
    lines = []
    for each in fields(record):
        if each.default_factory is not MISSING:
            defaults[each.name], setters[f"make_{each.name}"] = MISSING, each.default_factory
            lines.append(f" if {each.name} is MISSING: {each.name} = make_{each.name}()")
        elif each.default is not MISSING:
            defaults[each.name] = each.default
    given = ", ".join(f"{name}=default_{name}" if name in defaults else name for name in names)
    lines += [f" set_{name}(self, {name})" for name in names]
    scope = {**setters, "MISSING": MISSING, **{f"default_{name}": value for name, value in defaults.items()}}
    exec(f"def __init__(self, {given}):\n" + "\n".join(lines), scope)
    made: Callable[..., None] = scope["__init__"]
    made.__qualname__ = f"{record.__qualname__}.__init__"
    made.__annotations__ = record.__init__.__annotations__
    type.__setattr__(record, "__init__", made)
    return record

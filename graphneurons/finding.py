"""Finds a layer by what people call it, and what somebody may have meant by a name that does not exist."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice
from typing import TYPE_CHECKING

from graphneurons.errors import UsageError

if TYPE_CHECKING:
    from graphneurons.analysis import Analysis, Layer

_MOST = 4
_MOST_COMPARED = 20_000
_LONGEST = 200


def nearby(wanted: str, names: Sequence[str], nothing: str) -> str:
    """The rest of a message that says ``wanted`` is none of ``names``: those it is in or looks like, else the first of
    them; ``nothing`` where there are none."""
    if not names:
        return nothing
    from difflib import get_close_matches

    kept = wanted[:_LONGEST]
    inside = list(islice((name for name in names if kept and kept.lower() in name.lower()), _MOST))
    near = inside or get_close_matches(kept, names[:_MOST_COMPARED], _MOST, 0.4)
    if near:
        return f"near it are {', '.join(near)}"
    more = f" and {len(names) - _MOST:,} more" if len(names) > _MOST else ""
    return f"there are {', '.join(names[:_MOST])}{more}"


def find_layer(analysis: Analysis, name: str) -> Layer:
    """The layer that is called ``name``, or whose op or output is. Raises `UsageError` that lists names like it."""
    by_id = {layer.id: layer for layer in analysis.layers}
    if name in by_id:
        return by_id[name]
    by_op = [layer for layer in analysis.layers if layer.op.name == name]
    for found in (by_op, [layer for layer in analysis.layers if layer.op.output == name]):
        if len(found) > 1:
            listed = ", ".join(layer.id for layer in found[:8])
            raise UsageError(
                f"{len(found)} layers are made there; name one of them: {listed}", file=analysis.model.path, where=name
            )
        if found:
            return found[0]
    near = nearby(name, list(by_id), "the model has no layers")
    raise UsageError(f"no layer is called {name!r}; {near}", file=analysis.model.path)

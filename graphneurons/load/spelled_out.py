"""Operators that are several in one, written out with those the rules know."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from graphneurons.load.programs import Argument, Call, Ref
from graphneurons.load.recurrent import EXPANSIONS as RECURRENT


def _step(call: Call, suffix: str, target: str, arguments: Mapping[str, Argument], *results: str) -> Call:
    return Call(
        f"{call.name}{suffix}", target, tuple(arguments.items()), results or (f"{call.name}{suffix}",), call.scope
    )


def _glu(call: Call) -> Iterator[Call]:
    """``a * sigmoid(b)`` of the two halves of an axis."""
    given = dict(call.arguments)
    halves = f"{call.name}_a", f"{call.name}_b"
    split = {"self": given.get("self"), "chunks": 2, "dim": given.get("dim", -1)}
    yield _step(call, "_halves", "aten.chunk.default", split, *halves)
    yield _step(call, "_gate", "aten.sigmoid.default", {"self": Ref(halves[1])})
    yield Call(
        call.name,
        "aten.mul.Tensor",
        (("self", Ref(halves[0])), ("other", Ref(f"{call.name}_gate"))),
        call.results,
        call.scope,
    )


def _added(product: str) -> Callable[[Call], Iterator[Call]]:
    """addcmul and addcdiv: ``self + value * (tensor1 op tensor2)``."""

    def expand(call: Call) -> Iterator[Call]:
        given = dict(call.arguments)
        pair = {"self": given.get("tensor1"), "other": given.get("tensor2")}
        yield _step(call, "_product", f"aten.{product}.Tensor", pair)
        added = (("self", given.get("self")), ("other", Ref(f"{call.name}_product")))
        yield Call(call.name, "aten.add.Tensor", added, call.results, call.scope)

    return expand


EXPANSIONS: Mapping[str, Callable[[Call], Iterator[Call]]] = {
    **RECURRENT,
    "aten.glu.default": _glu,
    **{f"aten.addcmul{end}.default": _added("mul") for end in ("", "_")},
    **{f"aten.addcdiv{end}.default": _added("div") for end in ("", "_")},
}
"""Target -> the calls it stands for; the last one has its results."""

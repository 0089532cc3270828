"""Which factors of an op can be cut or exchanged index by index, and why the others cannot.

That permuting a factor wherever it appears commutes with the op is proved for every rule (tests/rules); what is told
here are the exceptions that those tests know too, and what rules leave open.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from graphneurons.axes.binding import Binding, Factors
from graphneurons.graph import Op

_WINDOWED = frozenset({"conv", "conv_transpose", "pool", "resize"})
_WINDOW = re.compile(r"[stk]\d*$")
_ORDERED = frozenset({"gate", "qkv", "kv", "part", "half", "pack", "packed", "bytes"})
"""Factors whose order means something wherever they appear."""
_ORDERED_IN: Mapping[str, frozenset[str]] = {
    "recurrent": frozenset({"b", "d", "p", "t"}),
    "attention": frozenset({"b", "t", "m", "n", "all", "v"}),
}
_ANY_ORDER = ("Reduce", "Global", "QLinearReduce", "QLinearGlobal", "Einsum")
_SUMMED = frozenset(
    {"sum", "mean", "amax", "amin", "prod", "norm", "logsumexp", "var", "std", "linalg_vector_norm", "einsum"}
)


def alias(step: Binding, factor: str) -> str:
    """The units ``u`` that a recurrent op reads from its own state are the units ``h`` it sends."""
    same = step.rule.kind == "recurrent" and factor == "u" and step.sizes.get("u") == step.sizes.get("h")
    return "h" if same else factor


def unmovable(op: Op, step: Binding, places: Sequence[tuple[str, int, Factors]]) -> dict[str, str]:
    """Factors whose indices cannot be cut or exchanged, with the reason."""
    kind = step.rule.kind
    sums = {name for result in step.sums for axis in result or () for name in axis}
    results = {name for result in step.results for axis in result or () for name in axis}
    made = sums | results
    carriers: dict[str, int] = {}
    for factor in (factor for name, _, factors in places for factor in factors):
        carriers[alias(step, factor)] = carriers.get(alias(step, factor), 0) + 1
    found: dict[str, str] = {}
    for factor in dict.fromkeys([*carriers, *made]):
        if (kind in _WINDOWED and (_WINDOW.match(factor) or factor == "n")) or (
            kind == "pool" and factor.startswith("k")
        ):
            found[factor] = "positions and kernel taps"
        elif factor in _ORDERED or factor in _ORDERED_IN.get(kind, ()):
            found[factor] = f"the order along {factor} means something"
        elif kind == "experts" or (step.packed is not None and factor != "o"):
            found[factor] = "packed into bytes or into experts"
        elif factor in step.picked:
            found[factor] = "rows picked by an index"
        elif factor in step.mixed and (
            kind not in ("softmax", "normalisation") or "LRN" in op.type or "response" in op.type
        ):
            found[factor] = "mixed in an order that means something"
        elif kind == "attention" and factor in ("d", "e") and _turns(op):
            found[factor] = "turned in pairs by a rotary embedding inside"
        elif factor in sums and factor not in results:
            found[factor] = "used up inside the op"
        elif factor in carriers and factor not in made and carriers[factor] == 1 and not _any_order(op, kind):
            found[factor] = "reduced in an order that may mean something"
    return found


def _turns(op: Op) -> bool:
    return any("rotary" in name and value for name, value in op.attributes.items())


def _any_order(op: Op, kind: str) -> bool:
    """Whether what the op reduces may come in any order."""
    if kind == "normalisation":
        return True
    return kind == "reduce" and (op.type.startswith(_ANY_ORDER) or op.type in _SUMMED)

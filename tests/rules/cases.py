"""All cases of all rules, by name."""

from __future__ import annotations

from collections.abc import Mapping

from tests.rules import attending, contracting, elementwise, fused, internal, projecting
from tests.rules.case import Case

_ALL: tuple[Case, ...] = (
    *contracting.CONTRACTING,
    *elementwise.ELEMENTWISE,
    *elementwise.QUANTIZATION,
    *elementwise.NORMALISATION,
    *elementwise.MIXING,
    *fused.CONTRACTING,
    *fused.QLINEAR,
    *fused.ELEMENTWISE,
    *attending.ATTENTION,
    *projecting.EXPERTS,
    *projecting.PACKED,
    *projecting.ML,
    *internal.INTERNAL,
)

CASES: Mapping[str, Case] = {case.name: case for case in _ALL}
assert len(CASES) == len(_ALL), "two cases have one name"

RUNNABLE = {name: case for name, case in CASES.items() if not case.refused and not case.random}
"""The cases proved numerically."""

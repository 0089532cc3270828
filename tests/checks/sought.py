"""What a check has to find of a defect that was injected, and where."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import onnx

from tests.checks.models import Random
from tests.checks.real_models import Ground

Place = tuple[str | None, tuple[int, ...] | None]
"""Layer and neurons of a finding; None where the rule names none."""


@dataclass(frozen=True)
class Sought:
    """What has to be found: one of ``codes`` at every place, and at no other.

    ``against``: the model is compared with a lock of the untouched file. ``weight``: what the findings name, where they
    name no layer. ``axis``: of the weight.
    """

    codes: tuple[str, ...]
    places: frozenset[Place]
    policy: Mapping[str, Any] = field(default_factory=dict)
    against: bool = False
    weight: str | None = None
    axis: int | None = None


Inject = Callable[[Ground, onnx.ModelProto, Random], Sought | None]


def sought_at(code: str, layer: str | None, neurons: tuple[int, ...] | None = None, **more: Any) -> Sought:
    return Sought((code,), frozenset({(layer, neurons)}), **more)


def two(rows: int, random: Random) -> tuple[int, ...]:
    return tuple(sorted(int(each) for each in random.choice(rows, 2, replace=False)))

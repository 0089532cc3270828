"""Activation functions: what they make of an interval, and where they are flat."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import erf, inf

import numpy as np
import numpy.typing as npt

from graphneurons.graph import Op

Bounds = npt.NDArray[np.float64]
Function = Callable[[Bounds], Bounds]


@dataclass(frozen=True, slots=True)
class Bend:
    """``function`` is increasing above ``turn`` and decreasing below it (-inf: increasing everywhere) and never below
    ``least``. Its output is one number for all inputs up to ``below`` (0 if ``rests``) and for all from ``above``: by
    less than half the spacing of float32 at 1 for those that only come near. ``slack``: how far other formulas of the
    same function may be off."""

    function: Function
    below: float = -inf
    above: float = inf
    turn: float = -inf
    least: float = -inf
    most: float = inf
    rests: bool = False
    slack: float = 0.0

    def bounds(self, low: Bounds, high: Bounds) -> tuple[Bounds, Bounds]:
        """What comes out of numbers between ``low`` and ``high``."""
        with np.errstate(all="ignore"):
            at_low, at_high = _clean(self.function(low)), _clean(self.function(high))
        least = np.where(low >= self.turn, at_low, np.where(high <= self.turn, at_high, self.least))
        most = at_high if self.turn == -inf else np.maximum(at_low, at_high)
        least = np.where(np.isnan(least), self.least, least) - self.slack
        most = np.where(np.isnan(most), self.most, most) + self.slack
        return np.maximum(least, self.least - self.slack), np.minimum(most, self.most + self.slack)


def _clean(x: Bounds) -> Bounds:
    return np.asarray(x, np.float64)


def _sigmoid(x: Bounds) -> Bounds:
    made: Bounds = 1 / (1 + np.exp(-x))
    return made


def _erf(x: Bounds) -> Bounds:
    return np.array([erf(each) for each in x.reshape(-1)], np.float64).reshape(x.shape)


def _softplus(x: Bounds) -> Bounds:
    return np.logaddexp(0.0, x)


def _times(gate: Function) -> Function:
    """``x * gate(x)``, 0 at minus infinity."""
    return lambda x: np.where(np.isneginf(x), 0.0, x * gate(x))


def _elu(alpha: float, scale: float = 1.0, over: float = 1.0) -> Function:
    return lambda x: scale * np.where(x > 0, x, alpha * np.expm1(np.minimum(x, 0.0) / over))


_GELU = Bend(_times(lambda x: (1 + _erf(x / 2**0.5)) / 2), -5.6, turn=-0.7518, least=-0.17, rests=True, slack=1e-3)
_FIXED: Mapping[str, Bend] = {
    "Relu": Bend(lambda x: np.maximum(x, 0.0), 0.0, least=0.0, rests=True),
    "Sigmoid": Bend(_sigmoid, -17.0, 17.0, least=0.0, most=1.0),
    "Tanh": Bend(np.tanh, -9.0, 9.0, least=-1.0, most=1.0),
    "Softsign": Bend(lambda x: x / (1 + np.abs(x)), least=-1.0, most=1.0),
    "Erf": Bend(_erf, least=-1.0, most=1.0),
    "Softplus": Bend(_softplus, -17.0, least=0.0, rests=True),
    "Gelu": _GELU,
    "SiLU": Bend(_times(_sigmoid), -21.0, turn=-1.2785, least=-0.2785, rests=True, slack=1e-6),
    "Mish": Bend(_times(lambda x: np.tanh(_softplus(x))), -21.0, turn=-1.1924, least=-0.3089, rests=True, slack=1e-4),
    "HardSwish": Bend(lambda x: np.where(np.isneginf(x), 0.0, x * np.clip(x / 6 + 0.5, 0, 1)), -3.0, turn=-1.5,
                      least=-0.375, rests=True),
    "Exp": Bend(np.exp, least=0.0),
}  # fmt: skip


def bend_of(kind: str, numbers: Mapping[str, float]) -> Bend | None:
    """The activation of this kind (as `graphneurons.activations` names it) with its parameters, or None."""

    def given(*names: str, default: float) -> float:
        return next((numbers[name] for name in names if name in numbers), default)

    if kind == "LeakyRelu":
        slope = given("alpha", "negative_slope", default=0.01)
        return Bend(lambda x: np.where(x > 0, x, slope * x)) if slope >= 0 else None
    if kind in ("Elu", "Celu", "Selu"):
        alpha = given("alpha", default=1.6732632 if kind == "Selu" else 1.0)
        scale = given("gamma", default=1.0507010) if kind == "Selu" else given("scale", default=1.0)
        if alpha <= 0 or scale <= 0 or given("input_scale", default=1.0) != 1.0:
            return None
        over = alpha if kind == "Celu" else 1.0
        bottom = -(17.0 + max(0.0, float(np.log(alpha * scale)))) * over
        return Bend(_elu(alpha, scale, over), bottom, least=-alpha * scale, slack=1e-6)
    if kind == "ThresholdedRelu":
        alpha = given("alpha", default=1.0)
        return None if alpha < 0 else Bend(lambda x: np.where(x > alpha, x, 0.0), alpha, least=0.0, rests=True)
    if kind == "HardSigmoid":
        slope, middle = given("alpha", default=0.2), given("beta", default=0.5)
        if slope <= 0:
            return None
        return Bend(
            lambda x: np.clip(slope * x + middle, 0, 1), -middle / slope, (1 - middle) / slope, least=0.0, most=1.0
        )
    if kind == "Swish":
        return _FIXED["SiLU"] if given("alpha", default=1.0) == 1.0 else None
    if kind == "Softplus" and given("beta", default=1.0) != 1.0:
        return None
    if kind == "Clip":
        low, high = given("min", "min_val", default=-inf), given("max", "max_val", default=inf)
        if not low <= high:
            return None
        return Bend(lambda x: np.clip(x, low, high), low, high, least=low, most=high, rests=low == 0)
    return _FIXED.get(kind)


_DEFAULTS: Mapping[str, Mapping[str, float]] = {
    "hardsigmoid": {"alpha": 1 / 6, "beta": 0.5}, "relu6": {"min": 0.0, "max": 6.0},
    "hardtanh": {"min_val": -1.0, "max_val": 1.0},
}  # fmt: skip


def numbers_of(op: Op) -> dict[str, float]:
    """The attributes of ``op`` that are numbers, and what ATen's ops mean where they say nothing."""
    found = {name: float(value) for name, value in op.attributes.items() if isinstance(value, int | float)}
    return {**_DEFAULTS.get(op.type, {}), **found} if op.domain == "aten" else found


FUSED: Mapping[str, tuple[str, ...]] = {
    "LeakyRelu": ("alpha",), "Clip": ("min", "max"), "HardSigmoid": ("alpha", "beta"), "Relu": (), "Sigmoid": (),
    "Tanh": (),
}  # fmt: skip
"""Activations that com.microsoft's fused ops name in ``activation``, with what ``activation_params`` means there."""


def fused_bend(op: Op) -> tuple[str, Bend] | None:
    """The activation that a fused op applies to its own sums. `ValueError` where it is not one of `FUSED`."""
    kind = op.attributes.get("activation")
    if not isinstance(kind, str) or not kind:
        return None
    parameters = op.attributes.get("activation_params", ())
    names = FUSED.get(kind)
    if names is None or not isinstance(parameters, tuple):
        raise ValueError(kind)
    numbers = {
        name: float(value) for name, value in zip(names, parameters, strict=False) if isinstance(value, int | float)
    }
    numbers |= {
        name: float(value)
        for name in names
        if isinstance(value := op.attributes.get(f"activation_{name}"), int | float)
    }
    found = bend_of(kind, numbers)
    if found is None:
        raise ValueError(kind)
    return kind, found

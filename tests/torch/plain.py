"""Cases of ATen ops that work element by element."""

from __future__ import annotations

from typing import Any

import torch

from graphneurons.axes.rules.aten_elementwise import ELEMENTWISE, filled, of_the_first
from tests.rules.case import Given, Operand, Random, f, i8, positive
from tests.torch.calling import Call

_INTEGERS = frozenset(
    [
        "__and__",
        "__or__",
        "__xor__",
        "__lshift__",
        "__rshift__",
        "bitwise_and",
        "bitwise_or",
        "bitwise_xor",
        "bitwise_not",
        "bitwise_left_shift",
        "bitwise_right_shift",
        "gcd",
        "lcm",
    ]
)
_POSITIVE = frozenset(["igamma", "igammac", "mvlgamma", "polar", "special_zeta"])
_FEW = Random((3, 4), "int8", 0, 5)
_EXTRA: dict[str, dict[str, Any]] = {
    "_cast_Float": {}, "clamp_max": {"max": 0.5}, "clamp_min": {"min": 0.5}, "polygamma": {"n": 1},
    "mvlgamma": {"p": 1},
    "threshold": {"threshold": 0.1, "value": 0.0}, "dropout": {"p": 0.5, "train": False},
    "alpha_dropout": {"p": 0.5, "train": False}, "feature_dropout": {"p": 0.5, "train": False},
    "feature_alpha_dropout": {"p": 0.5, "train": False}, "native_dropout": {"p": 0.5, "train": False},
    "fake_quantize_per_tensor_affine": {"scale": 0.1, "zero_point": 0, "quant_min": -128, "quant_max": 127},
}  # fmt: skip
_ORDERED = {"tril": "positions order the triangle", "triu": "positions order the triangle"}
_OPERANDS: dict[str, tuple[Operand, ...]] = {
    "index_fill": (f(3, 4), Given([1]), Given(2.0, "float32")),
    "rrelu_with_noise": (f(3, 4), f(3, 4)),
    "type_as": (f(3, 4), f(2)),
    "copy": (f(3, 4), f(3, 4)),
    "masked_fill": (f(3, 4), Random((4,), "bool"), f()),
    "where": (Random((3, 4), "bool"), f(3, 4), f(4)),
    "clamp": (f(3, 4), f(4), f(3, 1)),
    "clip": (f(3, 4), f(4), f(3, 1)),
    "lerp": (f(3, 4), f(4), f(3, 4)),
    "prelu": (f(2, 3, 4), f(3)),
    "_prelu_kernel": (f(2, 3), f(3)),
    "_weight_norm": (f(5, 3, 2), f(5, 1, 1)),
    "_weight_norm_interface": (f(5, 3, 2), f(5, 1, 1)),
}
_MORE: dict[str, dict[str, Any]] = {
    "index_fill": {"attributes": {"dim": 0}, "fixed": {"x0": "places are filled by number"}},
    "native_dropout": {"outputs": 2},
    "frexp": {"outputs": 2},
    "_weight_norm_interface": {"outputs": 1},
    "to": {"attributes": {"dtype": 7}, "overload": "dtype"},
    "pin_memory": {"refused": "pinned memory needs an accelerator"},
    "float_power": {"attributes": {"exponent": 2.0}, "overload": "Tensor_Scalar"},
    "imag": {"run": lambda x: torch.complex(x, 2 * x).imag},
    "_conj": {"run": torch.conj},
    "_autocast_to_full_precision": {"attributes": {"cuda_enabled": False, "cpu_enabled": False}},
    "_autocast_to_reduced_precision": {
        "attributes": {"cuda_enabled": False, "cpu_enabled": False, "cuda_dtype": 6, "cpu_dtype": 6}
    },
    "tril": {"fixed": dict.fromkeys(("x0", "x1"), _ORDERED["tril"])},
    "triu": {"fixed": dict.fromkeys(("x0", "x1"), _ORDERED["triu"])},
}


def _case(name: str) -> Call:
    two = ELEMENTWISE[name] is not of_the_first
    one: Operand = _FEW if name in _INTEGERS and "shift" in name else i8(3, 4) if name in _INTEGERS else f(3, 4)
    one = positive(3, 4) if name in _POSITIVE else one
    other: Operand = positive(4) if name in _POSITIVE else f(4) if name not in _INTEGERS else Random((4,), "int8", 1, 5)
    if name in ("complex", "polar"):
        other = positive(3, 4)
    chosen = _OPERANDS.get(name, (one, other) if two and name not in ("native_dropout", "frexp") else (one,))
    more: dict[str, Any] = {"attributes": _EXTRA.get(name, {}), **_MORE.get(name, {})}
    return Call(name, chosen, **more)


PLAIN: tuple[Call, ...] = (
    *(_case(name) for name, rule in ELEMENTWISE.items() if rule is not filled),
    Call("add", (f(3, 4),), variant="a number", attributes={"other": 2}, overload="Scalar"),
    Call(
        "where",
        (Random((3, 4), "bool"), f()),
        variant="a large condition",
        attributes={"other": 0.0},
        overload="ScalarOther",
    ),
    Call("masked_fill", (f(4), Random((3, 4), "bool"), f()), variant="a large mask"),
    Call("prelu", (f(2, 3), f(1)), variant="one slope"),
)

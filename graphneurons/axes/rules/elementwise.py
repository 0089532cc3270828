"""Ops that work element by element: one operand (map), several (sum, product, select), all broadcasting like numpy."""

from __future__ import annotations

from graphneurons.axes.rules.site import RuleText
from graphneurons.axes.rules.spelling import every_operand

_ONE_OPERAND = """
    Abs Acos Acosh Asin Asinh Atan Atanh Bernoulli BitCast BitwiseNot Cast Ceil Celu Cos Cosh Elu Erf Exp Floor Gelu
    HardSigmoid HardSwish Identity IsInf IsNaN LeakyRelu Log Mish Neg Not Reciprocal Relu Round Selu Shrink Sigmoid Sign
    Sin Sinh Softplus Softsign Sqrt Swish Tan Tanh ThresholdedRelu
"""

_SUMS = "Add Sub Sum Mean"
_PRODUCTS = "And BitShift BitwiseAnd BitwiseXor BitwiseOr Div Mod Mul Or Pow SwiGLU Xor"
_SELECTIONS = "Equal Greater GreaterOrEqual Less LessOrEqual Max Min Where"

ELEMENTWISE: dict[str, RuleText] = {
    **dict.fromkeys(_ONE_OPERAND.split(), "map: *x -> *x"),
    **{name: every_operand("sum") for name in _SUMS.split()},
    **{name: every_operand("product") for name in _PRODUCTS.split()},
    **{name: every_operand("select") for name in _SELECTIONS.split()},
    "CastLike": "map: *x, _ -> *x",
    "Clip": "map: *x, _, _ -> *x",
    "Dropout": "map: *x, _, _ -> *x, *x",
    "PRelu": "map: *x, ~*x -> *x",
    "Trilu": "map: *x, _ -> *x",
}

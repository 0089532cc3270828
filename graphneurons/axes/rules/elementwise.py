"""Ops that work element by element: one operand (map), several (sum, product, select), all broadcasting like numpy."""

from __future__ import annotations

from graphneurons.axes.rules.site import RuleText, Site
from graphneurons.axes.rules.spelling import every_operand

_ONE_OPERAND = """
    Abs Acos Acosh Asin Asinh Atan Atanh Bernoulli BitCast BitwiseNot Cast Ceil Celu Cos Cosh Elu Erf Exp Floor Gelu
    HardSigmoid HardSwish Identity IsInf IsNaN LeakyRelu Log Mish Neg Not Reciprocal Relu Round Selu Shrink Sigmoid Sign
    Sin Sinh Softplus Softsign Sqrt Swish Tan Tanh ThresholdedRelu
"""

_SUMS = "Add Sub Sum Mean"
_PRODUCTS = "And BitShift BitwiseAnd BitwiseXor BitwiseOr Div Mod Mul Or Pow SwiGLU Xor"
_SELECTIONS = "Equal Greater GreaterOrEqual Less LessOrEqual Max Min Where"


def prelu(site: Site) -> str:
    """The slope broadcasts like numpy; before opset 7 a vector of them is one per channel."""
    x, slope = site.shape(0), site.shape(1)
    if 0 < site.op.version < 7 and x is not None and slope is not None and len(x) > 1 and slope == (x[1],) != (1,):
        return "map: n c *s, ~c -> n c *s"
    return "map: *x, ~*x -> *x"


ELEMENTWISE: dict[str, RuleText] = {
    **dict.fromkeys(_ONE_OPERAND.split(), "map: *x -> *x"),
    **{name: every_operand("sum") for name in _SUMS.split()},
    **{name: every_operand("product") for name in _PRODUCTS.split()},
    **{name: every_operand("select") for name in _SELECTIONS.split()},
    "CastLike": "map: *x, _ -> *x",
    "Clip": "map: *x, _, _ -> *x",
    "Dropout": "map: *x, _, _ -> *x, *x",
    "PRelu": prelu,
    "Trilu": "map: *x, _ -> *x",
}

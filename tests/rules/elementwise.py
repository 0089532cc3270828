"""Cases of ops that work element by element, normalise, reduce, pool and resample."""

from __future__ import annotations

from tests.rules.case import (
    I8_ZERO,
    SCALE,
    U8_ZERO,
    Case,
    Given,
    Random,
    f,
    i8,
    i32,
    ids,
    ints,
    positive,
    scalar,
    u8,
)

_FLOAT = """
    Abs Acos Acosh Asin Asinh Atan Atanh Ceil Celu Cos Cosh Elu Erf Exp Floor Gelu HardSigmoid HardSwish Identity IsInf
    IsNaN LeakyRelu Log Mish Neg Reciprocal Relu Round Selu Shrink Sigmoid Sign Sin Sinh Softplus Softsign Sqrt Tan Tanh
    ThresholdedRelu
"""
_PAIRS = "Add Div Mod Mul Pow Sub Equal Greater GreaterOrEqual Less LessOrEqual"
_LISTS = "Sum Mean Max Min"
_LOGIC = "And Or Xor"
_BITS = "BitwiseAnd BitwiseOr BitwiseXor"
_REDUCTIONS = """
    ReduceL1 ReduceL2 ReduceLogSum ReduceLogSumExp ReduceMax ReduceMean ReduceMin ReduceProd ReduceSum ReduceSumSquare
"""
_FORGOTTEN = "Affine ParametricSoftplus ScaledTanh"


def _boolean(*shape: int) -> Random:
    return Random(shape, "bool")


ELEMENTWISE: tuple[Case, ...] = (
    *(Case(op, (positive(2, 3, 4),)) for op in _FLOAT.split()),
    *(
        Case(op, (positive(2, 3, 4), positive(3, 1)), attributes={"fmod": 1} if op == "Mod" else {})
        for op in _PAIRS.split()
    ),
    *(Case(op, (f(2, 3, 4), f(4), f(3, 1))) for op in _LISTS.split()),
    *(Case(op, (_boolean(2, 3), _boolean(3))) for op in _LOGIC.split()),
    *(Case(op, (i32(2, 3), i32(3))) for op in _BITS.split()),
    Case("Swish", (f(2, 3),), opset=24),
    Case("SwiGLU", (f(2, 3), f(2, 3)), opset=28, refused="ValidateOpsetForDomain"),
    Case("BitShift", (u8(2, 3), u8(3, high=5)), attributes={"direction": "LEFT"}),
    Case("BitCast", (f(2, 3),), attributes={"to": 6}, opset=26),
    Case("BitwiseNot", (i32(2, 3),)),
    Case("Not", (_boolean(2, 3),)),
    Case("Cast", (f(2, 3),), attributes={"to": 11}),
    Case("CastLike", (f(2, 3), Given([1], "int32")), opset=21),
    Case("Clip", (f(2, 3), scalar(-0.5), scalar(0.5))),
    Case("Dropout", (f(2, 3),)),
    Case("Bernoulli", (positive(2, 3),), random="it draws random numbers"),
    Case("PRelu", (f(2, 3, 4), f(3, 1)), weights=(1,)),
    Case("Trilu", (f(3, 4),), fixed={"x0": "zeros depend on the position", "x1": "zeros depend on the position"}),
    Case("Where", (_boolean(3, 1), f(2, 3, 4), f(4))),
    *(Case(op, (f(2, 3),), opset=1, attributes={"alpha": 0.5, "beta": 0.25}) for op in _FORGOTTEN.split()),
    Case("Scale", (f(2, 3),), opset=1, attributes={"scale": 2.0}),
    Case("ImageScaler", (f(2, 3, 4, 4),), opset=1, attributes={"scale": 2.0, "bias": [0.0, 0.0, 0.0]}),
)

QUANTIZATION: tuple[Case, ...] = (
    Case("QuantizeLinear", (f(2, 3, 4), SCALE, U8_ZERO), tolerance=1),
    Case("QuantizeLinear", (f(2, 3, 4), positive(3), i8(3)), variant="per axis", tolerance=1),
    Case(
        "QuantizeLinear",
        (f(2, 6), positive(2, 3), Random((2, 3), "int8")),
        variant="per block",
        attributes={"block_size": 2},
        tolerance=1,
    ),
    Case("DequantizeLinear", (i8(3, 4), SCALE, I8_ZERO)),
    Case("DequantizeLinear", (i8(3, 4), Given([0.1], "float32"), Given([0], "int8")), variant="one-element scale"),
    Case("DequantizeLinear", (i8(3, 4), positive(4), i8(4)), variant="per last axis", attributes={"axis": -1}),
    Case(
        "DequantizeLinear",
        (i8(6, 4), positive(3, 4), i8(3, 4)),
        variant="per block of rows",
        attributes={"axis": 0, "block_size": 2},
    ),
    Case(
        "DequantizeLinear",
        (i8(5, 4), positive(3, 4), i8(3, 4)),
        variant="short last block",
        attributes={"axis": 0, "block_size": 2},
        fixed={"x0": "scales are not aligned", "x1": "scales are not aligned"},
    ),
    Case("DynamicQuantizeLinear", (f(3, 4),), outputs=3),
)

NORMALISATION: tuple[Case, ...] = (
    Case("BatchNormalization", (f(2, 3, 4, 4), f(3), f(3), f(3), positive(3))),
    Case("BatchNormalization", (f(2, 3), f(3), f(3), f(3), positive(3)), variant="two axes"),
    Case("LayerNormalization", (f(2, 3, 4), f(4), f(4)), outputs=3),
    Case("LayerNormalization", (f(2, 3, 4), f(3, 4), f(3, 4)), variant="two axes", attributes={"axis": 1}, outputs=3),
    Case("LayerNormalization", (f(2, 3, 4), f(2, 1, 4)), variant="one gain per sample"),
    Case("RMSNormalization", (f(2, 3, 4), f(4)), opset=23),
    Case("SimplifiedLayerNormalization", (f(2, 3, 4), f(4))),
    Case(
        "GroupNormalization",
        (f(2, 6, 3), f(6), f(6)),
        attributes={
            "num_groups": 2,
        },
        opset=21,
    ),
    Case(
        "GroupNormalization",
        (f(2, 6, 3), f(2), f(2)),
        variant="one gain per group",
        attributes={"num_groups": 2},
        opset=18,
    ),
    Case("InstanceNormalization", (f(2, 3, 4), f(3), f(3))),
    Case("LRN", (f(2, 5, 3, 3),), attributes={"size": 3}, fixed={"c": "neighbouring channels normalise each other"}),
    Case("LpNormalization", (f(2, 3, 4),), attributes={"axis": 1}),
    Case("MeanVarianceNormalization", (f(2, 3, 4, 4),)),
    Case("Softmax", (f(2, 3, 4),)),
    Case("Softmax", (f(2, 3, 4),), variant="before opset 13", opset=11),
    Case("LogSoftmax", (f(2, 3, 4),), attributes={"axis": 1}),
    Case("Hardmax", (f(2, 3, 4),)),
)

MIXING: tuple[Case, ...] = (
    *(Case(op, (positive(2, 3, 4), ints(1))) for op in _REDUCTIONS.split()),
    Case(
        "ReduceMean", (f(2, 3, 4),), variant="axes in an attribute", attributes={"axes": [-1], "keepdims": 0}, opset=13
    ),
    Case("ReduceSum", (f(2, 3, 4),), variant="everything"),
    Case("ReduceSum", (f(2, 3, 4),), variant="nothing", attributes={"noop_with_empty_axes": 1}),
    Case("ArgMax", (f(2, 3, 4),), attributes={"axis": 1}, fixed={"b": "the result is a position"}),
    Case("ArgMin", (f(2, 3, 4),), attributes={"axis": 2, "keepdims": 0}, fixed={"c": "the result is a position"}),
    Case("AveragePool", (f(2, 3, 6, 6),), attributes={"kernel_shape": [2, 2]}),
    Case("MaxPool", (f(2, 3, 6),), attributes={"kernel_shape": [2]}, outputs=2),
    Case("LpPool", (f(2, 3, 6, 6),), attributes={"kernel_shape": [2, 2]}),
    Case(
        "MaxUnpool",
        (f(2, 3, 2), Given([[[0, 3], [5, 6], [9, 10]], [[12, 13], [17, 18], [20, 22]]])),
        attributes={"kernel_shape": [2], "strides": [2]},
        fixed={"n": "indices count through the tensor", "c": "indices count through the tensor"},
    ),
    Case("GlobalAveragePool", (f(2, 3, 4, 4),)),
    Case("GlobalMaxPool", (f(2, 3, 4),)),
    Case("GlobalLpPool", (f(2, 3, 4, 4),), opset=21),
    Case("Resize", (f(1, 3, 4, 4), None, Given([1, 1, 2, 2], "float32"))),
    Case(
        "Resize",
        (f(2, 3, 4, 4), None, None, ints(2, 6, 4, 4)),
        variant="channels",
        attributes={"mode": "linear"},
        fixed={"b": "resampled"},
    ),
    Case("Upsample", (f(1, 3, 4, 4), Given([1, 1, 2, 2], "float32")), opset=9),
    Case(
        "GridSample",
        (f(2, 3, 4, 4), f(2, 5, 6, 2)),
        fixed={"n": "the grid has a batch axis", "s0": "positions", "s1": "positions"},
    ),
    Case(
        "MaxRoiPool",
        (f(1, 3, 6, 6), Given([[0, 0, 0, 4, 4], [0, 1, 1, 5, 5]], "float32")),
        attributes={"pooled_shape": [2, 2]},
        opset=21,
        fixed={"s0": "positions", "s1": "positions"},
    ),
    Case(
        "RoiAlign",
        (f(1, 3, 6, 6), Given([[0, 0, 4, 4], [1, 1, 5, 5]], "float32"), ints(0, 0)),
        attributes={"output_height": 2, "output_width": 3},
        opset=16,
        fixed={"s0": "positions", "s1": "positions"},
    ),
    Case("CumSum", (f(2, 3), scalar(1, "int64")), fixed={"b": "sums run in order"}),
    Case("CumProd", (f(2, 3), scalar(1, "int64")), fixed={"b": "products run in order"}, opset=26),
    Case("DFT", (f(2, 8, 1), None, scalar(1, "int64")), opset=20, fixed={"s": "positions have a frequency"}),
    Case(
        "DFT",
        (f(2, 8, 3, 1),),
        variant="axis in an attribute",
        attributes={"axis": 1},
        opset=17,
        fixed={"s": "positions have a frequency"},
    ),
    Case("STFT", (f(2, 16, 1), scalar(4, "int64"), f(8)), opset=17, fixed={"s": "positions have a frequency"}),
    Case("Det", (f(2, 3, 3),), fixed={"m": "rows change the sign", "k": "columns change the sign"}),
    Case(
        "Col2Im", (f(1, 8, 9), ints(4, 4), ints(2, 2)), fixed={"k": "positions in a block", "l": "positions of blocks"}
    ),
    Case(
        "TensorScatter",
        (f(2, 3, 6, 4), f(2, 3, 2, 4), ints(1, 3)),
        opset=24,
        fixed={"t": "positions", "n": "positions", "a": "indices have a batch axis"},
    ),
    Case(
        "NegativeLogLikelihoodLoss",
        (f(4, 5), ids(5, 4), positive(5)),
        fixed={"n": "labels have a batch axis", "c": "labels are class numbers"},
    ),
    Case(
        "SoftmaxCrossEntropyLoss",
        (f(4, 5), ids(5, 4), positive(5)),
        outputs=2,
        fixed={"n": "labels have a batch axis", "c": "labels are class numbers"},
    ),
)

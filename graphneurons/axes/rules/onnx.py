"""The table of ai.onnx: every op of every opset."""

from __future__ import annotations

from graphneurons.axes.rules.contractions import conv, conv_transpose, deform_conv, einsum, gemm, matmul
from graphneurons.axes.rules.elementwise import ELEMENTWISE
from graphneurons.axes.rules.lookups import LOOKUPS
from graphneurons.axes.rules.mixing import MIXING
from graphneurons.axes.rules.normalising import NORMALISATIONS
from graphneurons.axes.rules.quantized import (
    conv_integer,
    matmul_integer,
    qlinear_conv,
    qlinear_matmul,
    quantize_linear,
)
from graphneurons.axes.rules.recurrent import recurrent
from graphneurons.axes.rules.site import RuleText

_LAYOUT = """
    CenterCropPad Col2Im Concat ConcatFromSequence DepthToSpace Expand Flatten Optional OptionalGetElement Pad Reshape
    ReverseSequence Scatter ScatterElements ScatterND SequenceAt SequenceConstruct SequenceErase SequenceInsert Slice
    SpaceToDepth Split SplitToSequence Squeeze Tile Transpose Unsqueeze
"""

_SHAPE = """
    BlackmanWindow Constant ConstantOfShape EyeLike HammingWindow HannWindow MelWeightMatrix Multinomial NonZero OneHot
    OptionalHasElement RandomNormal RandomNormalLike RandomUniform RandomUniformLike Range SequenceEmpty SequenceLength
    Shape Size
"""

ONNX: dict[str, RuleText] = {
    **ELEMENTWISE,
    **LOOKUPS,
    **MIXING,
    **NORMALISATIONS,
    **dict.fromkeys(_LAYOUT.split(), "layout"),
    **dict.fromkeys(_SHAPE.split(), "shape"),
    "CausalConvWithState": "conv: n c s, c 1 k, ~c, n c p -> n c s, n c p",
    "Compress": "stop: which elements are kept is computed while the model runs",
    "Conv": conv,
    "ConvInteger": conv_integer,
    "ConvTranspose": conv_transpose,
    "DeformConv": deform_conv,
    "DequantizeLinear": quantize_linear,
    "DynamicQuantizeLinear": "map: *x -> *x, ., .",
    "Einsum": einsum,
    "GRU": recurrent(3),
    "Gemm": gemm,
    "LSTM": recurrent(4, cell=True),
    "MatMul": matmul,
    "MatMulInteger": matmul_integer,
    "NonMaxSuppression": "stop: which boxes are kept is computed while the model runs",
    "QLinearConv": qlinear_conv,
    "QLinearMatMul": qlinear_matmul,
    "QuantizeLinear": quantize_linear,
    "RNN": recurrent(1),
    "TopK": "stop: the order of the values is computed while the model runs",
    "Unique": "stop: which elements are kept is computed while the model runs",
}

"""The table of ai.onnx: every op of every opset."""

from __future__ import annotations

from graphneurons.axes.rules.attention import attention, linear_attention, rotary
from graphneurons.axes.rules.contractions import (
    causal_conv,
    conv,
    conv_transpose,
    deform_conv,
    einsum,
    gemm,
    matmul,
)
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
    CenterCropPad Compress Concat ConcatFromSequence DepthToSpace Expand Flatten Optional OptionalGetElement Pad Reshape
    ReverseSequence Scatter ScatterElements ScatterND SequenceAt SequenceConstruct SequenceErase SequenceInsert Slice
    SpaceToDepth Split SplitToSequence Squeeze Tile Transpose Unsqueeze
"""

_SHAPE = """
    AffineGrid BlackmanWindow Constant ConstantOfShape EyeLike HammingWindow HannWindow MelWeightMatrix Multinomial
    NonZero OneHot OptionalHasElement RandomNormal RandomNormalLike RandomUniform RandomUniformLike Range SequenceEmpty
    SequenceLength Shape Size
"""

_STRINGS = "RegexFullMatch StringConcat StringNormalizer StringSplit TfIdfVectorizer"

_CONTROL = "If Loop Scan SequenceMap"

ONNX: dict[str, RuleText] = {
    **ELEMENTWISE,
    **LOOKUPS,
    **MIXING,
    **NORMALISATIONS,
    **dict.fromkeys(_LAYOUT.split(), "layout"),
    **dict.fromkeys(_SHAPE.split(), "shape"),
    **dict.fromkeys(_STRINGS.split(), "stop: it works on text"),
    **dict.fromkeys(_CONTROL.split(), "stop: control flow that could not be entered"),
    "Attention": attention,
    "CausalConvWithState": causal_conv,
    "Conv": conv,
    "ConvInteger": conv_integer,
    "ConvTranspose": conv_transpose,
    "DeformConv": deform_conv,
    "DequantizeLinear": quantize_linear,
    "DynamicQuantizeLinear": "map: *x -> *x, _, _",
    "Einsum": einsum,
    "GRU": recurrent(3),
    "Gemm": gemm,
    "ImageDecoder": "stop: it decodes a compressed image",
    "LSTM": recurrent(4, cell=True),
    "LinearAttention": linear_attention,
    "MatMul": matmul,
    "MatMulInteger": matmul_integer,
    "NonMaxSuppression": "stop: which boxes are kept is computed while the model runs",
    "QLinearConv": qlinear_conv,
    "QLinearMatMul": qlinear_matmul,
    "QuantizeLinear": quantize_linear,
    "RNN": recurrent(1),
    "RotaryEmbedding": rotary,
    "TopK": "stop: the order of the values is computed while the model runs",
    "Unique": "stop: which elements are kept is computed while the model runs",
    # Ops of opset 1 that onnxruntime still runs and onnx.defs no longer lists.
    "Affine": "map: *x -> *x",
    "Crop": "stop: removed from ONNX before its meaning was settled",
    "DynamicSlice": "stop: removed from ONNX before its meaning was settled",
    "GRUUnit": "stop: removed from ONNX before its meaning was settled",
    "GivenTensorFill": "shape",
    "ImageScaler": "map: n c *s -> n c *s",
    "ParametricSoftplus": "map: *x -> *x",
    "Scale": "map: *x -> *x",
    "ScaledTanh": "map: *x -> *x",
}

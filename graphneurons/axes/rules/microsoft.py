"""The table of com.microsoft and onnxruntime's internal domains: what its optimizer and quantizers write."""

from __future__ import annotations

from graphneurons.axes.rules.attention import ATTENTION
from graphneurons.axes.rules.contractions import (
    causal_conv,
    conv_transpose_dynamic_pads,
    fused_conv,
    fused_matmul,
    gemm,
    matmul,
    nhwc_conv,
    nhwc_conv_transpose,
)
from graphneurons.axes.rules.experts import moe, qmoe
from graphneurons.axes.rules.lookups import gather_nd
from graphneurons.axes.rules.mixing import crop_and_resize, fourier, grid_sample, unfold
from graphneurons.axes.rules.normalising import (
    branchwise_rms_norm,
    gated_rms_norm,
    group_norm,
    skip_group_norm,
    skip_layer_normalization,
    softmax_axes,
)
from graphneurons.axes.rules.packed import PACKED
from graphneurons.axes.rules.qlinear import QLINEAR
from graphneurons.axes.rules.quantized import (
    dynamic_quantize_matmul,
    matmul_integer_to_float,
    per_tensor,
    qgemm,
    qlinear_conv,
    quantize_linear,
)
from graphneurons.axes.rules.recurrent import dynamic_quantize_lstm
from graphneurons.axes.rules.site import NoRule, RuleText, Site
from graphneurons.axes.rules.spelling import constant_integers, names, spelled

_ORDERED = "stop: its int8 weights are stored in an order of cuBLASLt, which their shape does not tell"
_DECODER = "stop: a whole decoder runs inside; its weights are found in the graphs it carries"
_OPAQUE = "stop: a compiled graph for one accelerator, with its weights inside"
_RUNTIME = "stop: what it selects is computed while the model runs"


def bias_softmax(site: Site) -> str:
    """Softmax of scores plus a mask, over every axis from ``axis`` on."""
    x = softmax_axes(site, True)
    return f"softmax: {x}, _ -> {x}"


def float8_gemm(site: Site) -> str:
    """GemmFloat8: Gemm with scales per tensor."""
    text = gemm(site)
    return text.replace(" -> ", f", {per_tensor(site, 3, 4, 5)} -> ")


def embed_layer_normalization(site: Site) -> str:
    """Rows of the word, position and segment tables are added and normalised; positions count up if not given."""
    return "lookup: b t, b t, @v d, @p d, @y d, ~d, ~d, _, _ -> b t ^d, _, b t d"


def quantized_embed_layer_normalization(site: Site) -> str:
    """QEmbedLayerNormalization: the same, every table and modulator with a scale and a zero point."""
    marks = per_tensor(site, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17)
    return f"lookup: b t, b t, @v d, @p d, @y d, ~d, ~d, _, {marks} -> b t ^d, _"


def expand_dims(site: Site) -> str:
    """A new axis of size one at operand 1."""
    rank = site.known_rank(0)
    at = site.axis(constant_integers(site, 1, "the axis to insert", 1)[0], rank + 1)
    axes = names(rank)
    return f"map: {spelled(axes)}, _ -> {spelled([*axes[:at], '1', *axes[at:]])}"


def sparse_matmul(site: Site) -> str:
    """SparseToDenseMatMul: two axes each, transposed as attributes say."""
    left = "i m" if site.number("transA", 0) else "m i"
    right = "o i" if site.number("transB", 0) else "i o"
    return f"linear: {left}, {right} -> m o"


def global_pool_last(site: Site) -> str:
    return f"reduce: n *s c -> n{' 1' * (site.known_rank(0) - 2)} c"


def hyper_connection_pre_mix(site: Site) -> str:
    """Streams are weighted and added up: what is left is one stream."""
    if site.number("num_branches", 0):
        raise NoRule("streams packed into one axis")
    gates = site.shape(1)
    if not gates:
        raise NoRule("the shape of the gates is not known")
    if len(gates) < site.known_rank(0):
        return "reduce: *n c d, ~*n c -> *n d"
    return f"reduce: *n c d, ~*n c {'1' if gates[-1] == 1 else 'd'} -> *n d"


MICROSOFT: dict[str, RuleText] = {
    **ATTENTION,
    **PACKED,
    **QLINEAR,
    "AttnLSTM": "stop: a recurrent cell with an attention inside, which one rule cannot say",
    "BeamSearch": _DECODER,
    "BiasAdd": "sum: *x c, ~c, *x c -> *x c",
    "BiasDropout": "sum: *x, ~*x, *x, _, _ -> *x, _",
    "BiasGelu": "map: *x, ~*x -> *x",
    "BiasSoftmax": bias_softmax,
    "BiasSplitGelu": "product: *n (half d), ~(half d) -> *n d | half=2",
    "BifurcationDetector": _RUNTIME,
    "BitmaskBiasDropout": "sum: *x, ~*x, *x, _, _ -> *x, _",
    "BitmaskDropout": "map: *x, _, _ -> *x, _",
    "BranchwiseRMSNorm": branchwise_rms_norm,
    "CDist": "stop: distances between rows, which are no sums of synapses",
    "CausalConvWithState": causal_conv,
    "ComplexMul": "mix: *x ^part, *x ^part -> *x ^part",
    "ComplexMulConj": "mix: *x ^part, *x ^part -> *x ^part",
    "ConvTransposeWithDynamicPads": conv_transpose_dynamic_pads,
    "CropAndResize": crop_and_resize,
    "DequantizeBFP": "stop: block floating point, whose bytes are opaque",
    "DequantizeLinear": quantize_linear,
    "DequantizeWithOrder": _ORDERED,
    "DynamicQuantizeLSTM": dynamic_quantize_lstm,
    "DynamicQuantizeMatMul": dynamic_quantize_matmul,
    "DynamicSparseAttention": _RUNTIME,
    "DynamicTimeWarping": _RUNTIME,
    "EPContext": _OPAQUE,
    "EmbedLayerNormalization": embed_layer_normalization,
    "EngramGate": "stop: gates that compare two streams, which one rule cannot say",
    "ExpandDims": expand_dims,
    "FastGelu": "map: *x, ~*x -> *x",
    "FusedConv": fused_conv,
    "FusedGemm": gemm,
    "FusedMatMul": fused_matmul,
    "FusedMatMulActivation": fused_matmul,
    "GatedAdd": "sum: *x, *x, *x -> *x",
    "GatedRMSNorm": gated_rms_norm,
    "GatherND": gather_nd,
    "Gelu": "map: *x -> *x",
    "GemmFastGelu": "linear: *n i, i o, ~o -> *n o",
    "GemmFloat8": float8_gemm,
    "GreedySearch": _DECODER,
    "GridSample": grid_sample,
    "GroupNorm": group_norm,
    "HyperConnectionPostMix": "stop: streams mixed by a computed matrix",
    "HyperConnectionPreMix": hyper_connection_pre_mix,
    "Inverse": "mix: *b ^m ^n -> *b ^m ^n",
    "Irfft": fourier(False),
    "IsAllFinite": "shape",
    "LinearAttentionGate": "stop: two gates in one op",
    "MatMulFpQ4": "stop: the layout of its packed weight is not published",
    "MatMulInteger16": matmul,
    "MatMulIntegerToFloat": matmul_integer_to_float,
    "MaxpoolWithMask": "pool: n c *s, _ -> n c *t",
    "MoE": moe,
    "MurmurHash3": "stop: a hash",
    "NGramHashMapping": "stop: a hash",
    "NGramRepeatBlock": "map: n v, _ -> n v",
    "NhwcConv": nhwc_conv,
    "NhwcFusedConv": nhwc_conv,
    "NhwcMaxPool": "pool: n *s c -> n *t c",
    "PackedMultiHeadAttention": "stop: packed tokens, whose sequences only the running model knows",
    "PackedSparseAttentionIndexer": _RUNTIME,
    "Pad": "layout",
    "QEmbedLayerNormalization": quantized_embed_layer_normalization,
    "QGemm": qgemm,
    "QLinearConv": qlinear_conv,
    "QMoE": qmoe,
    "QOrderedAttention": _ORDERED,
    "QOrderedLayerNormalization": _ORDERED,
    "QOrderedLongformerAttention": _ORDERED,
    "QOrderedMatMul": _ORDERED,
    "QuantizeBFP": "stop: block floating point, whose bytes are opaque",
    "QuantizeLinear": quantize_linear,
    "QuantizeWithOrder": _ORDERED,
    "QuickGelu": "map: *x -> *x",
    "Range": "shape",
    # Its shape says (buckets, heads), but onnxruntime stores the transposed bytes (onnx_model_t5.py).
    "RelativePositionBias": "stop: its table is stored transposed under an untransposed shape",
    "RemovePadding": _RUNTIME,
    "RestorePadding": _RUNTIME,
    "Rfft": fourier(True),
    "SampleOp": "map: *x -> *x",
    "Sampling": _DECODER,
    "ScaledSiLU": "map: *x, _ -> *x",
    "SkipGroupNorm": skip_group_norm,
    "SkipLayerNormalization": skip_layer_normalization(beta=True),
    "SkipSimplifiedLayerNormalization": skip_layer_normalization(beta=False),
    "Snpe": _OPAQUE,
    "SparseAttention": "stop: which keys a query meets is computed while the model runs",
    "SparseAttentionIndexer": _RUNTIME,
    "SparsePagedAttention": _RUNTIME,
    "SparseToDenseMatMul": sparse_matmul,
    "Tokenizer": "stop: it works on text",
    "TorchEmbedding": "lookup: @v d, *n, _, _ -> *n d",
    "TransposeMatMul": fused_matmul,
    "Trilu": "map: *x, _ -> *x",
    "UnfoldTensor": unfold,
    "Unique": _RUNTIME,
    "VarlenCausalConvWithState": "stop: packed tokens, whose sequences only the running model knows",
    "VarlenNGramHashMapping": "stop: a hash",
    "WhisperBeamSearch": _DECODER,
    "WordConvEmbedding": "conv: *n t, o 1 *k u, ~o, @v d -> *n o, *n t d => *n o",
}

# Tensors keep an NCHW shape, but their channels lie in padded blocks: neither counts nor coordinates hold.
NCHWC: dict[str, RuleText] = dict.fromkeys(
    (
        "AveragePool",
        "Conv",
        "GlobalAveragePool",
        "GlobalMaxPool",
        "MaxPool",
        "ReorderInput",
        "ReorderOutput",
        "Upsample",
    ),
    "stop: onnxruntime padded its channels for one processor; analyze the model before it is optimized",
)

NHWC: dict[str, RuleText] = {
    "AveragePool": "pool: n *s c -> n *t c",
    "BatchNormalization": "normalisation: n *s c, ~c, ~c, ~c, ~c -> n *s c",
    "Conv": nhwc_conv,
    "ConvTranspose": nhwc_conv_transpose,
    "DepthToSpace": "stop: channels last",
    "GlobalAveragePool": global_pool_last,
    "GlobalLpPool": global_pool_last,
    "GlobalMaxPool": global_pool_last,
    "GridSample": "mix: n *s c, _ -> n *t c",
    "InstanceNormalization": "normalisation: n ^*s c, ~c, ~c -> n ^*s c",
    "LRN": "normalisation: n *s ^c -> n *s ^c",
    "LpPool": "pool: n *s c -> n *t c",
    "MaxPool": "pool: n *s c -> n *t c, _",
    "MaxUnpool": "pool: n *s c, _, _ -> n *t c",
    "QLinearAveragePool": "pool: n *s c, _, _, _, _ -> n *t c",
    "QLinearConv": "stop: an internal op of onnxruntime; analyze the model before it is optimized",
    "QLinearConvTranspose": "stop: an internal op of onnxruntime; analyze the model before it is optimized",
    "Resize": "stop: channels last",
    "SpaceToDepth": "stop: channels last",
}

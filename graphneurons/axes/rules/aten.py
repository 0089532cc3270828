"""The table of ATen and of the few other operator libraries that exported programs hold.

Operands are the tensors among an operator's arguments, in the order of its schema; everything else is an attribute with
the name the schema gives it. Overloads share an entry, and so do ops that write in place.
"""

from __future__ import annotations

from graphneurons.axes.rules.aten_contractions import CONTRACTIONS, attention, deform_conv, grouped_mm
from graphneurons.axes.rules.aten_elementwise import ELEMENTWISE
from graphneurons.axes.rules.aten_mixing import MIXING
from graphneurons.axes.rules.quantized import quantize_linear
from graphneurons.axes.rules.site import RuleText, Site

_LAYOUT = """
    _pad_circular _reshape_alias _unsafe_view adjoint atleast_1d atleast_2d atleast_3d broadcast_tensors
    broadcast_to cat channel_shuffle chunk column_stack concat concatenate constant_pad_nd diag diagonal
    diagonal_copy dsplit dstack expand expand_as expand_copy flatten flip fliplr flipud hsplit hstack im2col
    linalg_diagonal mH mT matrix_H meshgrid moveaxis movedim narrow narrow_copy native_channel_shuffle numpy_T pad
    permute permute_copy pixel_shuffle pixel_unshuffle ravel reflection_pad1d reflection_pad2d reflection_pad3d
    repeat repeat_interleave replication_pad1d replication_pad2d replication_pad3d reshape reshape_as resize roll
    rot90 row_stack select select_copy select_scatter slice slice_copy slice_scatter split split_copy
    split_with_sizes split_with_sizes_copy squeeze squeeze_copy stack swapaxes swapdims t t_copy tensor_split tile
    transpose transpose_copy unbind unbind_copy unflatten unfold unfold_copy unsafe_chunk unsafe_split
    unsafe_split_with_sizes unsqueeze unsqueeze_copy view view_as view_copy vsplit vstack
"""

_INDICES = "argsort bincount bucketize histc isin multinomial nonzero nonzero_static one_hot searchsorted"

_PACKED = """
    _cslt_sparse_mm _dyn_quant_matmul_4bit _mixed_dtypes_linear _sparse_semi_structured_addmm
    _sparse_semi_structured_linear _sparse_semi_structured_mm _weight_int4pack_mm _weight_int4pack_mm_for_cpu
    _wrapped_quantized_linear_prepacked fbgemm_linear_fp16_weight fbgemm_linear_int8_weight mkldnn_linear
"""

_STOPS = {
    "as_strided": "it reads memory by strides",
    "cdist": "distances between rows: every pair meets",
    "chain_matmul": "several products in one; write them one by one",
    "cross": "components of vectors meet crosswise",
    "linalg_multi_dot": "several products in one; write them one by one",
    "kron": "every element meets every other",
    "masked_scatter": "where it writes is computed while the model runs",
    "masked_select": "how many elements it picks is computed while the model runs",
    "mkldnn_rnn_layer": "a fused recurrent layer of one backend; export from the CPU without mkldnn",
    "unique_consecutive": "which elements are kept is computed while the model runs",
    "_unique2": "which elements are kept is computed while the model runs",
    "stft": "overlapping windows are transformed",
    "istft": "overlapping windows are transformed",
    "_thnn_fused_lstm_cell": "the gates were multiplied before; the state enters inside",
}

ATEN: dict[str, RuleText] = {
    **ELEMENTWISE,
    **MIXING,
    **dict.fromkeys(_LAYOUT.split(), "layout"),
    **dict.fromkeys(_INDICES.split(), "shape"),
    **dict.fromkeys(_PACKED.split(), "stop: its weight is packed in a form of its own; export before packing"),
    **{name: f"stop: {why}" for name, why in _STOPS.items()},
    **CONTRACTIONS,
}

_QUANTIZING = "quantize_per_tensor dequantize_per_tensor quantize_per_channel dequantize_per_channel"


def quantized(site: Site) -> str:
    """Scales and zero points are numbers, or tensors with one per index of ``axis``."""
    return "map: *x -> *x" if not site.has(1) else quantize_linear(site)


QUANTIZED: dict[str, RuleText] = dict.fromkeys(_QUANTIZING.split(), quantized)
"""``quantized_decomposed``: what PT2E quantization writes around every weight."""

HIGHER_ORDER: dict[str, RuleText] = {"flex_attention": attention("_", "_")}

TORCHVISION: dict[str, RuleText] = {
    "deform_conv2d": deform_conv,
    "nms": "stop: which boxes are kept is computed while the model runs",
    "roi_align": "mix: n c *s, _ -> roi c t0 t1",
}

TRANSFORMERS: dict[str, RuleText] = {"grouped_mm_fallback": grouped_mm}

PRIMS: dict[str, RuleText] = {
    **dict.fromkeys(("convert_element_type", "device_put", "view_of", "clone"), "map: *x -> *x"),
    **dict.fromkeys(("iota", "empty_permuted", "normal", "inductor_random", "inductor_seeds"), "map: _ -> _"),
}

"""The table of com.microsoft: the ops onnxruntime's optimizer and quantizer write."""

from __future__ import annotations

from graphneurons.axes.rules.quantized import qlinear_conv, quantize_linear
from graphneurons.axes.rules.recurrent import dynamic_quantize_lstm
from graphneurons.axes.rules.site import NoRule, RuleText, Site


def matmul_nbits(site: Site) -> str:
    """B is (N, blocks, bytes of a block), packed along the synapses; K counts them. Scales are one per block."""
    synapses = site.number("K", 0)
    if synapses <= 0 or site.number("N", 0) <= 0:
        raise NoRule("attributes K and N, the sizes of the packed matrix, are missing")
    return (
        f"linear: *n i, o block bytes, {_blocks(site, 2)}, {_blocks(site, 3)}, _, ~o -> *n o "
        f"| i={synapses} #={synapses}"
    )


def _blocks(site: Site, index: int) -> str:
    shape = site.shape(index)
    if not site.has(index) or shape is None:
        return "_"
    if len(shape) == 1:
        return "%(o packed)" if index == 3 else "%(o block)"
    return "%o packed" if index == 3 else "%o block"


MICROSOFT: dict[str, RuleText] = {
    "DequantizeLinear": quantize_linear,
    "DynamicQuantizeLSTM": dynamic_quantize_lstm,
    "MatMulNBits": matmul_nbits,
    "QLinearConv": qlinear_conv,
    "QuantizeLinear": quantize_linear,
}

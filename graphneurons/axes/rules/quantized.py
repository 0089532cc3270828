"""Quantization: scales and zero points per tensor, per axis or per block."""

from __future__ import annotations

from graphneurons.axes.rules.contractions import conv_operands, matrix_operands
from graphneurons.axes.rules.site import NoRule, Site
from graphneurons.axes.rules.spelling import aligned, names, spelled


def quantize_linear(site: Site) -> str:
    """QuantizeLinear and DequantizeLinear: the scale is a scalar, a vector along ``axis``, or one per block of it."""
    scale = site.shape(1)
    if scale is None:
        raise NoRule("the shape of the scale is not known")
    if len(scale) == 0 or scale == (1,):
        return f"map: *x, {per_tensor(site, 1, 2)} -> *x"
    rank = site.known_rank(0)
    axis = site.axis(site.number("axis", 1), rank)
    if len(scale) == 1:
        axes = spelled(names(rank, {axis: "c"}))
        return f"map: {axes}, %c, %c -> {axes}"
    return _blocked(site, scale, rank, axis)


def _blocked(site: Site, scale: tuple[int, ...], rank: int, axis: int) -> str:
    shape = site.shape(0)
    if shape is None or len(scale) != rank:
        raise NoRule(f"a scale of shape {scale} fits no axis of the tensor it scales")
    blocks, size = scale[axis], shape[axis]
    if scale == shape:
        axes = spelled(names(rank))
        return f"map: {axes}, %{axes}, %{axes} -> {axes}"
    if not blocks or size % blocks:
        # The last block is shorter: no product of two factors says which element has which scale.
        return "map: *x, _, _ -> *x"
    axes = spelled(names(rank, {axis: "(block e)"}))
    scales = spelled(
        "1" if scale[index] == 1 != shape[index] else name for index, name in enumerate(names(rank, {axis: "block"}))
    )
    return f"map: {axes}, %{scales}, %{scales} -> {axes} | block={blocks}"


def per_tensor_or(site: Site, index: int, factor: str) -> str:
    """A scale or zero point that is one number, or one for every index of ``factor``."""
    shape = site.shape(index)
    if not site.has(index):
        return "_"
    if shape is None:
        raise NoRule(f"the shape of the scale or zero point (operand {index}) is not known")
    if not shape:
        return "%."
    return "%1" if shape == (1,) else f"%{factor}"


def per_tensor(site: Site, *indices: int) -> str:
    """Scales and zero points that are one number each."""
    return ", ".join(per_tensor_or(site, index, ".") for index in indices)


def qlinear_conv(site: Site) -> str:
    """QLinearConv; com.microsoft's has ``channels_last``, with the weight still (M, C/group, k...)."""
    x, w, o, y, sizes = conv_operands(site, channels_last=bool(site.number("channels_last", 0)))
    w_scale, w_zero = (per_tensor_or(site, index, o) for index in (4, 5))
    first, last = per_tensor(site, 1, 2), per_tensor(site, 6, 7)
    return f"conv: {x}, {first}, {w}, {w_scale}, {w_zero}, {last}, ~{o} -> {y}{sizes}"


def conv_integer(site: Site) -> str:
    """ConvInteger: the zero point of W is one number or one per output channel."""
    x, w, o, y, sizes = conv_operands(site)
    return f"conv: {x}, {w}, {per_tensor(site, 2)}, {per_tensor_or(site, 3, o)} -> {y}{sizes}"


def matmul_integer(site: Site) -> str:
    """MatMulInteger: A's zero point is one number or one per row, B's one number or one per column."""
    a, b, y = matrix_operands(site)
    return f"linear: {a}, {b}, {_quantizer(site, 2, a, 'm')}, {_quantizer(site, 3, b, 'o')} -> {y}"


def qlinear_matmul(site: Site) -> str:
    """QLinearMatMul: scales and zero points per tensor, per row of A, or per column of B."""
    a, b, y = matrix_operands(site, 0, 3)
    left = ", ".join(_quantizer(site, index, a, "m") for index in (1, 2))
    right = ", ".join(_quantizer(site, index, b, "o") for index in (4, 5))
    last = ", ".join(_quantizer(site, index, y, "m") for index in (6, 7))
    return f"linear: {a}, {left}, {b}, {right}, {last} -> {y}"


def _quantizer(site: Site, index: int, operand: str, factor: str) -> str:
    """One number, one per row or column, or (with as many axes as its operand) one per row or column of each matrix."""
    shape = site.shape(index)
    if not site.has(index):
        return "_"
    if shape is None:
        raise NoRule(f"the shape of the scale or zero point (operand {index}) is not known")
    if len(shape) <= 1:
        return per_tensor_or(site, index, factor)
    kept = [name if name in ("*b", factor) else "1" for name in operand.split()]
    return "%" + spelled(kept)


def qgemm(site: Site) -> str:
    """com.microsoft QGemm: Gemm with a scale and a zero point after A and B, B's per column or not."""
    left = "i m" if site.number("transA", 0) else "m i"
    right = "o i" if site.number("transB", 0) else "i o"
    marks = ", ".join(per_tensor_or(site, index, "o") for index in (4, 5))
    bias = aligned(site, 6, ("m", "o"))
    return f"linear: {left}, {per_tensor(site, 1, 2)}, {right}, {marks}, {bias}, {per_tensor(site, 7, 8)} -> m o"


def matmul_integer_to_float(site: Site) -> str:
    """com.microsoft MatMulIntegerToFloat: scales and zero points of B are one number or one per column."""
    a, b, y = matrix_operands(site)
    marks = ", ".join(f"{_quantizer(site, first, a, 'm')}, {_quantizer(site, first + 1, b, 'o')}" for first in (2, 4))
    return f"linear: {a}, {b}, {marks}, ~o -> {y}"


def dynamic_quantize_matmul(site: Site) -> str:
    """com.microsoft DynamicQuantizeMatMul: A is quantized on the way in; B's scale may be one per column."""
    a, b, y = matrix_operands(site)
    return f"linear: {a}, {b}, {_quantizer(site, 2, b, 'o')}, {_quantizer(site, 3, b, 'o')}, ~o -> {y}"

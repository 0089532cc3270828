"""Weights that are packed below one byte per synapse: B is (N, blocks, bytes of a block), N and K are attributes."""

from __future__ import annotations

from graphneurons.axes.rules.lookups import looks_up
from graphneurons.axes.rules.site import NoRule, RuleText, Site
from graphneurons.axes.rules.spelling import names, positive, spelled


def _unsigned(site: Site, index: int, rows: str) -> str:
    """Scales or zero points of MatMulNBits: (N, blocks), or flattened. Packed zero points have fewer columns."""
    shape, packed = site.shape(index), site.shape(index - 1)
    if not site.has(index) or shape is None:
        return "_"
    same = index == 2 or (packed is not None and shape == packed)
    blocks = "block" if same else "packed"
    return f"%({rows} {blocks})" if len(shape) == 1 else f"%{rows} {blocks}"


def matmul_nbits(site: Site) -> str:
    """com.microsoft MatMulNBits: B (N, blocks, bytes), scales (N, blocks), zero points packed or not, bias (N)."""
    synapses, neurons = positive(site, "K"), positive(site, "N")
    shape = site.shape(1)
    if shape is None or len(shape) not in (2, 3) or shape[0] != neurons:
        raise NoRule(f"B of shape {list(shape or ())} does not hold {neurons} rows")
    bits, block = positive(site, "bits", 4), positive(site, "block_size")
    blocks, held = -(-synapses // block), -(-block * bits // 8)
    if shape[1:] not in ((blocks, held), (blocks * held,)):
        raise NoRule(f"B of shape {list(shape)} does not hold {blocks} blocks of {block} elements of {bits} bits")
    packed = "o block bytes" if len(shape) == 3 else "o bytes"
    marks = f"{_unsigned(site, 2, 'o')}, {_unsigned(site, 3, 'o')}"
    return f"linear: *n i, {packed}, {marks}, _, ~o -> *n o | i={synapses} o={neurons} #={synapses}"


def matmul_nbits_mlp(site: Site) -> str:
    """MatMulNBitsMlp: gate and up projection of one activation, multiplied; a norm may be fused in front."""
    synapses = positive(site, "K")
    weights = ", ".join(f"{name} block bytes, %{name} block, ~{name}" for name in ("gate", "up"))
    return f"linear: *n i, *n i, ~i, {weights} -> *n gate, *n up => *n gate, *n i | i={synapses} #={synapses}"


def matmul_nbits_qkv(site: Site) -> str:
    """MatMulNBitsQkv: query, key and value projection of one normalised activation."""
    synapses = positive(site, "K")
    weights = ", ".join(f"{name} block bytes, %{name} block, ~{name}" for name in "qkv")
    sums = "*n q, *n k, *n v"
    return f"linear: *n i, *n i, ~i, {weights} -> {sums} => {sums}, *n i | i={synapses} #={synapses}"


def matmul_bnb4(site: Site) -> str:
    """MatMulBnb4: the matrix (N, K), flattened row by row, two elements per byte; blocks run along the flat matrix."""
    synapses, neurons = positive(site, "K"), positive(site, "N")
    if not site.number("transB", 1):
        raise NoRule("with transB=0 the neurons share bytes")
    if synapses % 2:
        raise NoRule(f"rows of {synapses} elements, two to a byte, share bytes")
    block = site.number("block_size", 0)
    scales = "%(o block)" if block > 0 and synapses % block == 0 else "_"
    return f"linear: *n i, (o bytes), {scales} -> *n o | i={synapses} o={neurons} #={synapses}"


def matmul_fp4(site: Site) -> str:
    """MatMulBlockQuantizedFp4Weight: B (N, K/2), two elements per byte; K is twice the columns."""
    shape = site.shape(1)
    if shape is None or len(shape) != 2:
        raise NoRule("the shape of the packed weight is not known")
    synapses = 2 * shape[1]
    return f"linear: *n i, o bytes, %o block, %., %., ~o -> *n o | i={synapses} #={synapses}"


def gather_block_quantized(site: Site) -> str:
    """GatherBlockQuantized: a table whose scales come one per block; bytes may hold several elements of a row."""
    if not looks_up(site):
        raise NoRule("rows of a packed table picked by constant indices")
    rank = site.known_rank(0)
    axis = site.axis(site.number("gather_axis", 0), rank)
    block = site.axis(site.number("quantize_axis", 1), rank)
    data, scales = site.shape(0), site.shape(2)
    if data is None or scales is None or len(scales) != rank:
        raise NoRule("the shape of the scales is not known")
    table = names(rank, {rank - 1: "d"} if axis != rank - 1 else None)
    result = [*table[:axis], "*n", *table[axis + 1 :]]
    scale = [
        "1" if size == 1 != data[index] else "block" if index == block else table[index]
        for index, size in enumerate(scales)
    ]
    table[axis] = scale[axis] = "v"
    pack = _pack(site, data, scales, block)
    sizes = ""
    if pack > 1:
        # The elements of one byte are neighbours, the low-order bits first.
        table[-1], result[-1], sizes = "bytes", "(bytes pack)", f" | pack={pack}"
    table[axis] = "@v"
    return f"lookup: {spelled(table)}, *n, %{spelled(scale)}, _ -> {spelled(result)}{sizes}"


def _pack(site: Site, data: tuple[int, ...], scales: tuple[int, ...], block: int) -> int:
    """How many elements share a byte: more than one if the blocks cover more elements than the table has columns.
    Types of less than a byte count elements themselves."""
    size, bits = site.number("block_size", 128), site.number("bits", 4)
    if site.dtype(0) in ("int4", "uint4", "int2", "uint2"):
        return 1
    if block != len(data) - 1 or size < 1 or bits not in (2, 4) or scales[block] * size <= data[-1]:
        return 1
    pack = 8 // bits
    if -(-data[-1] * pack // size) != scales[block]:
        return 1
    if -(-data[-1] // size) == scales[block]:
        raise NoRule("whether its elements share bytes cannot be told from shapes: one block holds more than a row")
    return pack


PACKED: dict[str, RuleText] = {
    "GatherBlockQuantized": gather_block_quantized,
    "MatMulBlockQuantizedFp4Weight": matmul_fp4,
    "MatMulBlockQuantizedFp8Weight": "linear: *n i, o i, %o block, %., ~o -> *n o",
    "MatMulBnb4": matmul_bnb4,
    "MatMulNBits": matmul_nbits,
    "MatMulNBitsMlp": matmul_nbits_mlp,
    "MatMulNBitsQkv": matmul_nbits_qkv,
}

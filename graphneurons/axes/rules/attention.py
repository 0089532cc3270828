"""Attention, with projections inside (they make neurons) and without (activations meet activations).

Names: ``h`` heads, ``g`` heads of key and value with ``r`` query heads each, ``d`` width of a query or key head, ``e``
width of a value head, ``m`` queries, ``n`` keys, ``all`` keys with the cached ones. A factor ``qkv`` (or ``kv``)
numbers query, key and value in this order: what is put out follows its *last* index, the values.
"""

from __future__ import annotations

from collections.abc import Sequence

from graphneurons.axes.rules.quantized import per_tensor_or
from graphneurons.axes.rules.site import NoRule, RuleText, Site
from graphneurons.axes.rules.spelling import positive


def _sizes(sizes: dict[str, int | None]) -> str:
    told = [f"{name}={size}" for name, size in sizes.items() if size is not None]
    return f" | {' '.join(told)}" if told else ""


def _cached(site: Site, past: int, axis: int, new: int | None) -> tuple[str, int | None]:
    """The name and size of the key axis after the cache operand ``past`` (keys along ``axis``) took ``new`` keys in."""
    if not site.has(past):
        return "n", None
    shape = site.shape(past)
    return "all", None if shape is None or new is None or len(shape) <= axis else shape[axis] + new


def _length(site: Site, index: int, axis: int) -> int | None:
    shape = site.shape(index)
    return None if shape is None or len(shape) <= axis else shape[axis]


def attention(site: Site) -> str:
    """ai.onnx Attention: Q, K, V as (batch, heads, tokens, width) or (batch, tokens, heads*width); query head j uses
    key head j // r."""
    if site.known_rank(0) == 4:
        query, key, value = _length(site, 0, 1), _length(site, 1, 1), "b g n e"
        operands, result, tokens = "b (g r) m d, b g n d, b g n e", "b (g r) m e", 2
    else:
        query, key, value = positive(site, "q_num_heads"), positive(site, "kv_num_heads"), "b n (g e)"
        operands, result, tokens = f"b m (g r d), b n (g d), {value}", "b m (g r e)", 1
    if query is not None and key is not None and (key < 1 or query % key):
        raise NoRule(f"{query} query heads cannot be shared out over {key} key heads")
    total, size = _cached(site, 4, 2, _length(site, 1, tokens))
    sizes = _sizes({"g": key, "r": query // key if query and key else None, total: size})
    outputs = f"{result}, b g {total} d, b g {total} e, b (g r) m {total}"
    return f"attention: {operands}, _, _, _, _ -> {outputs}{sizes}"


def flex_attention(site: Site) -> str:
    """ai.onnx.preview FlexAttention: Attention on four axes, with subgraphs that change scores element by element."""
    query, key = _length(site, 0, 1), _length(site, 1, 1)
    ratio = query // key if query and key else None
    return f"attention: b (g r) m d, b g n d, b g n e -> b (g r) m e{_sizes({'g': key, 'r': ratio})}"


def linear_attention(site: Site) -> str:
    """LinearAttention (ai.onnx and com.microsoft): recurrent over tokens; packed heads, as many as the attributes say.

    com.microsoft's may have more key heads than query heads.
    """
    query, key = positive(site, "q_num_heads"), positive(site, "kv_num_heads")
    state = "_" if site.number("state_window", 0) else "b g d e"
    if query % key == 0:
        heads = f"b t (g r d), b t (g d), b t (g e), {state}, _, _ -> b t (g r e), {state}"
        return f"attention: {heads} | g={key} r={query // key}"
    if key % query:
        raise NoRule(f"{query} query heads and {key} key heads are no multiple of one another")
    state = state.replace("g", "(g r)")
    heads = f"b t (g d), b t (g r d), b t (g r e), {state}, _, _ -> b t (g r e), {state}"
    return f"attention: {heads} | g={query} r={key // query}"


def fused_projections(site: Site, *, tokens: str = "b t", tail: str = "_, _, _, _") -> str:
    """com.microsoft Attention and its relatives: W is (in, q + k + v). Where the three are equally wide, the columns
    are (qkv h d); else they are one factor, and the values are its last part."""
    sums, sizes = _columns(site, 1, site.numbers("qkv_hidden_sizes"))
    value = sums.replace("qkv ", "") if sums != "o" else "v"
    present, total = _present(site, 4, sums, "t")
    width = {"v": (site.numbers("qkv_hidden_sizes") or (0, 0, None))[2]} if sums == "o" else {}
    text = f"attention: {tokens} i, i {sums}, ~{sums}, {tail} -> {tokens} {sums} => {tokens} {value}{present}"
    return text + _sizes({**sizes, **width, **total})


def _columns(site: Site, weight: int, widths: Sequence[int] | None) -> tuple[str, dict[str, int | None]]:
    heads = positive(site, "num_heads")
    if widths and (len(widths) != 3 or min(widths) < 1):
        raise NoRule(f"qkv_hidden_sizes {list(widths)} are not three sizes")
    if widths and len(set(widths)) > 1:
        return "o", {}
    width = _length(site, weight, 1)
    if width is not None and width % (3 * heads):
        raise NoRule(f"{width} columns do not make query, key and value of {heads} heads each")
    return "(qkv h d)", {"qkv": 3, "h": heads}


def _present(site: Site, past: int, sums: str, tokens: str) -> tuple[str, dict[str, int | None]]:
    """The cache that com.microsoft Attention puts out: keys and values stacked in front."""
    if len(site.op.outputs) < 2 or not site.op.outputs[1]:
        return "", {}
    if sums == "o" or site.number("past_present_share_buffer", 0):
        return ", _", {}
    name, size = _cached(site, past, 3, _length(site, 0, 1))
    return f", kv b h {tokens if name == 'n' else name} d", {"kv": 2, **({name: size} if name != "n" else {})}


def packed_attention(site: Site) -> str:
    """PackedAttention: the tokens of all sequences in one axis."""
    return fused_projections(site, tokens="t", tail="_, _, _")


def quantized_attention(site: Site) -> str:
    """QAttention: the weight's scale and zero point are one number or one per column."""
    sums, sizes = _columns(site, 1, None)
    scales = ", ".join(per_tensor_or(site, index, sums) for index in (3, 4))
    zeros = ", ".join(per_tensor_or(site, index, sums) for index in (6, 7))
    present, total = _present(site, 8, sums, "t")
    operands = f"b t i, i {sums}, ~{sums}, {scales}, _, {zeros}, _"
    return f"attention: {operands} -> b t {sums} => b t (h d){present}" + _sizes({**sizes, **total})


def multi_head_attention(site: Site) -> str:
    """com.microsoft MultiHeadAttention: separate operands, or packed (tokens, heads, 3 or 2, width)."""
    heads = positive(site, "num_heads")
    rank = site.known_rank(0)
    if rank == 5:
        if site.has(6) or len([name for name in site.op.outputs if name]) > 1:
            raise NoRule("packed query, key and value with a cache: not described by onnxruntime's schema")
        return f"attention: b t h qkv d, _, _, ~(qkv h d) -> b t (h d){_sizes({'qkv': 3, 'h': heads})}"
    if not site.has(1):
        return f"attention: b t (qkv h d), _, _, ~(qkv h d) -> b t (h d) | qkv=3 h={heads}"
    bias = "_"
    if site.has(3) and _length(site, 3, 0) == 3 * (_length(site, 0, 2) or 0):
        bias = "~(qkv h d)"
    qkv = {"qkv": 3} if bias != "_" else {}
    if site.rank(1) == 5:
        return f"attention: b m (h d), b n h kv d, _, {bias} -> b m (h d)" + _sizes({"kv": 2, "h": heads, **qkv})
    key, value, axis = ("b h n d", "b h n e", 2) if site.rank(1) == 4 else ("b n (h d)", "b n (h e)", 1)
    name, size = _cached(site, 6, 2, None if site.has(8) else _length(site, 1, axis))
    outputs = f"b m (h e), b h {name} d, b h {name} e, b h m {name}"
    sizes = _sizes({"h": heads, **qkv, **({name: size} if name != "n" else {})})
    return f"attention: b m (h d), {key}, {value}, {bias}, _, _, _, _, _, _ -> {outputs}{sizes}"


def decoder_masked_attention(site: Site) -> str:
    """DecoderMaskedMultiHeadAttention: MultiHeadAttention for one token, with its operands in another order."""
    heads = positive(site, "num_heads")
    if not site.has(1):
        return f"attention: b m (qkv h d) -> b m (h d), _, _, _ | qkv=3 h={heads}"
    key, value = ("b h n d", "b h n e") if site.rank(1) == 4 else ("b n (h d)", "b n (h e)")
    return f"attention: b m (h d), {key}, {value} -> b m (h e), _, _, _ | h={heads}"


def group_query_attention(site: Site, *, past: int = 3) -> str:
    """com.microsoft GroupQueryAttention: query head j uses key head j // r. Packed query, key and value lie side by
    side, ``r + 2`` parts of the size of the keys: the last one holds the values, head by head."""
    query, key = positive(site, "num_heads"), positive(site, "kv_num_heads")
    if query % key:
        raise NoRule(f"{query} query heads cannot be shared out over {key} key heads")
    packed = not site.has(1)
    operands = "b m (qkv g d), _, _" if packed else "b m (g r d), b n (g d), b n (g e)"
    width = "d" if packed else "e"
    name = "m" if packed else "n"
    if site.has(past):
        name, size = _cached(site, past, 2, _length(site, 0 if packed else 1, 1))
        if _length(site, past, 2) == _length(site, 0 if packed else 1, 1) or site.number("sliding_window_cache", 0):
            size = None
    else:
        size = None
    shared = {"qkv": query // key + 2} if packed else {}
    sizes = _sizes({"g": key, "r": query // key, **shared, **({name: size} if size else {})})
    rest = "_, _, _, _, _, _, _, _, ~(g r), _, _, ~d, ~d" if past == 3 else "_, _, _, _, _, _, _, _"
    keys = f"b g {name} d, b g {name} {width}" if size or not site.has(past) else "_, _"
    return f"attention: {operands}, {rest} -> b m (g r {width}), {keys}, _{sizes}"


def paged_attention(site: Site) -> str:
    """PagedAttention: tokens of all sequences in one axis, keys and values in blocks that others own."""
    query, key = positive(site, "num_heads"), positive(site, "kv_num_heads")
    if query % key:
        raise NoRule(f"{query} query heads cannot be shared out over {key} key heads")
    if site.text("kv_cache_layout", "") == "LATENT" or not site.has(1):
        raise NoRule("keys and values are read from a cache that other ops fill")
    rest = "_, _, _, _, _, _, _, _, ~(g r), ~d, ~d"
    return f"attention: t (g r d), t (g d), t (g e), {rest} -> t (g r e), _, _ | g={key} r={query // key}"


def decoder_attention(site: Site) -> str:
    """DecoderAttention: W_q is (in, q), W_kv is (in, k + v), tokens come first. Queries are as wide as values."""
    positive(site, "num_heads")
    return (
        "attention: t b i, n b j, i q, j (kv v), ~(qkv v), _, _, _, _, _, _, _ "
        "-> t b q, n b (kv v) => t b v, _, _ | kv=2 qkv=3"
    )


def longformer_attention(site: Site) -> str:
    """LongformerAttention: two sets of projections, for tokens that attend locally and globally."""
    positive(site, "num_heads")
    return (
        "attention: b t i, i (qkv h), ~(qkv h), _, i (all u), ~(all u), _ "
        "-> b t (qkv h), b t (all u) => b t h | qkv=3 all=3"
    )


def gated_relative_position_bias(site: Site) -> str:
    """GatedRelativePositionBias: every head of the query goes through one small linear (in, D), whose sums gate the
    position bias."""
    heads = positive(site, "num_heads")
    if site.known_rank(0) != 3:
        raise NoRule("packed tokens: their positions are computed while the model runs")
    return f"linear: b t (h i), ~(h i), ~1 h t s, i d, ~d, _, _ -> b h t d => b h t s | h={heads}"


def rotary(site: Site) -> str:
    """RotaryEmbedding: pairs of one head's features are turned into each other; tokens and heads stay apart."""
    axes = "b h t ^d" if site.known_rank(0) == 4 else "*n ^d"
    return f"mix: {axes}, _, _, _ -> {axes}"


def gated_delta_net(site: Site) -> str:
    """GatedDeltaNet: query and key heads are shared by ``r`` value heads each."""
    if not site.has(1):
        raise NoRule("packed query, key and value: their widths are not told")
    key, value = site.shape(1), site.shape(2)
    if key is None or value is None or len(key) != len(value) or len(key) < 3 or not key[-2] or value[-2] % key[-2]:
        raise NoRule("the number of heads is not known")
    outputs = "*t (h r) e, b (h r) e d, _"
    return f"attention: *t h d, *t h d, *t (h r) e -> {outputs} | r={value[-2] // key[-2]}"


ATTENTION: dict[str, RuleText] = {
    "Attention": fused_projections,
    "DecoderAttention": decoder_attention,
    "DecoderMaskedMultiHeadAttention": decoder_masked_attention,
    "DecoderMaskedSelfAttention": fused_projections,
    "GatedDeltaNet": gated_delta_net,
    "GatedRelativePositionBias": gated_relative_position_bias,
    "GemmaRotaryEmbedding": "mix: _, b h t d, b h t d, b n t e, b n t e -> b h t d, b n t e",
    "GroupQueryAttention": group_query_attention,
    "LinearAttention": linear_attention,
    "LongformerAttention": longformer_attention,
    "MRotaryEmbedding": rotary,
    "MultiHeadAttention": multi_head_attention,
    "PackedAttention": packed_attention,
    "PagedAttention": paged_attention,
    "QAttention": quantized_attention,
    "RotaryEmbedding": rotary,
}

"""ATen's ops that multiply and sum, convolve, recur or attend. Operands stand in the order of ATen's schemas."""

from __future__ import annotations

from graphneurons.axes.rules.contractions import einsum, matmul
from graphneurons.axes.rules.site import NoRule, RuleFunction, RuleText, Site
from graphneurons.axes.rules.spelling import aligned, counted, spelled

_LETTERS = "abcdefghijklmnopqrstuvwxyz"


def linear(site: Site) -> str:
    """``x W' + b``: W is (out, in); a W of one axis makes one number."""
    if site.rank(1) == 1:
        return "linear: *b i, i, _ -> *b"
    return "linear: *b i, o i, ~o -> *b o"


def added_product(left: str, right: str, result: str) -> RuleFunction:
    """``beta self + alpha left right``: operand 0 broadcasts against the result."""

    def rule(site: Site) -> str:
        return f"linear: {aligned(site, 0, result.split())}, {left}, {right} -> {result}"

    return rule


def inner(site: Site) -> str:
    """The last axes are contracted, all others of both operands are kept; a number multiplies."""
    first, second = site.known_rank(0), site.known_rank(1)
    if not first or not second:
        return "product: *x, *x -> *x"
    left, right = _names(first - 1), _names(first + second - 2)[first - 1 :]
    return f"linear: {spelled([*left, 'x'])}, {spelled([*right, 'x'])} -> {spelled([*left, *right])}"


def tensordot(site: Site) -> str:
    """Axes ``dims_self`` and ``dims_other`` are contracted pairwise."""
    first, second = site.known_rank(0), site.known_rank(1)
    mine = [site.axis(axis, first) for axis in site.numbers("dims_self") or ()]
    others = [site.axis(axis, second) for axis in site.numbers("dims_other") or ()]
    left = _names(first)
    right = _names(first + second)[first:]
    if len(mine) != len(others):
        raise NoRule(f"{len(mine)} axes of one operand meet {len(others)} of the other")
    for axis, other in zip(mine, others, strict=True):
        right[other] = left[axis]
    result = [n for i, n in enumerate(left) if i not in mine] + [n for i, n in enumerate(right) if i not in others]
    return f"linear: {spelled(left)}, {spelled(right)} -> {spelled(result)}"


def _names(count: int) -> list[str]:
    if count > len(_LETTERS):
        raise NoRule(f"{count} axes are more than this spells")
    return list(_LETTERS[:count])


def trilinear(site: Site) -> str:
    """Three operands, each with axes of size one inserted at ``expand``, multiplied and summed along ``sumdim``."""
    expands = [set(site.numbers(f"expand{number}") or ()) for number in (1, 2, 3)]
    rank = site.known_rank(0) + len(expands[0])
    axes, gone = _names(rank), set(site.numbers("sumdim") or ())
    operands = [spelled(n for i, n in enumerate(axes) if i not in expand) for expand in expands]
    return f"linear: {', '.join(operands)} -> {spelled(n for i, n in enumerate(axes) if i not in gone)}"


def convolution(dimensions: int | None = None, *, transposed: bool = False, bias: int = 2) -> RuleFunction:
    """conv1d, conv2d, ... and convolution: W is (out, in/groups, k...), transposed (in, out/groups, k...). The image
    may lack the batch axis."""

    def rule(site: Site) -> str:
        groups = counted(site, "groups")
        turned = bool(site.number("transposed", int(transposed)))
        image, kernel = site.known_rank(0), site.known_rank(1)
        n = "n " if image == kernel else ""
        if image not in (kernel, kernel - 1) or (dimensions is not None and kernel != dimensions + 2):
            raise NoRule(f"an image of {image} axes does not fit a kernel of {kernel}")
        i, o, sizes = ("i", "o", "") if groups == 1 else ("(g i)", "(g o)", f" | g={groups}")
        kind, weight = ("conv_transpose", f"{i} o *k") if turned else ("conv", f"{o} i *k")
        skipped = ", _" * (bias - 2)
        return f"{kind}: {n}{i} *s, {weight}{skipped}, ~{o} -> {n}{o} *t{sizes}"

    return rule


def depthwise(site: Site) -> str:
    """_conv_depthwise2d and conv_depthwise3d: one group per input channel."""
    shape = site.shape(0)
    if shape is None or len(shape) < 2 or shape[1] < 1:
        raise NoRule("the shape of the image is not known or has no channels")
    return f"conv: n (g i) *s, (g o) i *k, ~(g o) -> n (g o) *t | g={shape[1]}"


def deform_conv(site: Site) -> str:
    """torchvision.deform_conv2d: operands are image, weight, offset, mask, bias."""
    shape, weight = site.shape(0), site.shape(1)
    if shape is None or weight is None or min(len(shape), len(weight)) < 2 or not shape[1] or not weight[1]:
        raise NoRule("the shapes of image and weight are not known")
    if shape[1] % weight[1]:
        raise NoRule("the shapes of image and weight are not known or do not fit")
    groups = shape[1] // weight[1]
    i, o, sizes = ("i", "o", "") if groups == 1 else ("(g i)", "(g o)", f" | g={groups}")
    return f"conv: n {i} *s, {o} i *k, _, _, ~{o} -> n {o} *t{sizes}"


def recurrent(gates: int, *, cell: bool = False) -> RuleFunction:
    """One layer of an LSTM, GRU or RNN as the loader writes it (see `graphneurons.load.recurrent`): image, states, then
    W (d, gates*h, i), R (d, gates*h, u), two biases, and for an LSTM with a projection P (d, p, h)."""

    def rule(site: Site) -> str:
        n = "" if site.known_rank(0) == 2 else "n "
        time = f"{n}t " if site.number("batch_first", 0) else f"t {n}"
        state = "n " if site.number("packed", 0) else n
        rows = "h" if gates == 1 else "(gate h)"
        projected = cell and site.has(7)
        unit = "p" if projected else "h"
        states = f"<d {state}u, ~d {state}h" if cell else f"<d {state}u"
        weights = f"d {rows} i, d {rows} u, ~d {rows}, ~d {rows}" + (", d p h" if projected else "")
        sums = f"{time}d {rows}" + (f", {time}d p" if projected else "")
        last = f"d {state}{unit}" + (f", d {state}h" if cell else "")
        sizes = f" | gate={gates}" if gates > 1 else ""
        return f"recurrent: {time}i, {states}, {weights} -> {sums} => {time}(d {unit}), {last}{sizes}"

    return rule


def recurrent_cell(gates: int, *, cell: bool = False) -> RuleFunction:
    """lstm_cell, gru_cell, rnn_tanh_cell, rnn_relu_cell: one step; the state is an operand like any other."""

    def rule(site: Site) -> str:
        n = "n " if site.known_rank(0) == 2 else ""
        rows = "h" if gates == 1 else "(gate h)"
        states = f"{n}u, ~{n}h" if cell else f"{n}u"
        results = f"{n}h, {n}h" if cell else f"{n}h"
        sizes = f" | gate={gates}" if gates > 1 else ""
        return f"recurrent: {n}i, {states}, {rows} i, {rows} u, ~{rows}, ~{rows} -> {n}{rows} => {results}{sizes}"

    return rule


def attention(*results: str) -> RuleFunction:
    """scaled_dot_product_attention and the kernels it is lowered to; the mask says who attends and carries nothing.

    With fewer heads of keys than of queries (``enable_gqa``), query head j uses key head j // r.
    """

    def rule(site: Site) -> str:
        query, key = site.shape(0), site.shape(1)
        more = "".join(f", {result}" for result in results)
        rest = ", _" * (len(site.op.inputs) - 3)
        if query is None or key is None:
            raise NoRule("the shapes of query and key are not known")
        shared = len(query) == len(key) > 2 and query[-3] != key[-3]
        if not shared or not key[-3] or query[-3] % key[-3]:
            return f"attention: *b m d, *b n d, *b n e{rest} -> *b m e{more}"
        return f"attention: *b (g r) m d, *b g n d, *b g n e{rest} -> *b (g r) m e{more} | g={key[-3]}"

    return rule


def native_multi_head_attention(site: Site) -> str:
    """The fused fast path of nn.MultiheadAttention: packed projections (3E, E), then the output projection (E, E)."""
    heads = counted(site, "num_head")
    return (
        "attention: b m i, b n i, b n i, (qkv h d) i, ~(qkv h d), o (h d), ~o, _ "
        f"-> b m (qkv h d), b m o => b m o, _ | qkv=3 h={heads}"
    )


def transformer_encoder_layer(site: Site) -> str:
    """The fused fast path of nn.TransformerEncoderLayer: four linears, two norms."""
    heads = counted(site, "num_heads")
    return (
        "attention: b t i, (qkv h d) i, ~(qkv h d), o (h d), ~o, ~o, ~o, ~o, ~o, f o, ~f, e f, ~e, _ "
        f"-> b t (qkv h d), b t o, b t f, b t e => b t e | qkv=3 h={heads}"
    )


def grouped_mm(site: Site) -> str:
    """_grouped_mm: 3-D operands multiply group by group; a 2-D one holds the tokens of all groups, one after another,
    and ``offs`` (one entry per group) says where each ends."""
    first, second = site.known_rank(0), site.known_rank(1)
    if first == 3 and second == 3:
        return "linear: e m i, e i o, _, ~e o -> e m o"
    if first == 2 and second == 3:
        return "experts: t i, e i o, e, ~e o -> t e o => t o"
    raise NoRule("groups lie along the axis that is contracted")


def scaled_mm(site: Site) -> str:
    """_scaled_mm: float8 operands (m, i) and (i, o), each with one scale or one per row or column."""
    scale = site.shape(3)
    mark = "%1 o" if scale is not None and len(scale) == 2 and scale[-1] > 1 else "_"
    return f"linear: m i, i o, _, {mark}, ~o, _ -> m o"


CONTRACTIONS: dict[str, RuleText] = {
    "addbmm": added_product("b m i", "b i o", "m o"),
    "addmm": added_product("m i", "i o", "m o"),
    "_addmm_activation": added_product("m i", "i o", "m o"),
    "addmv": added_product("m i", "i", "m"),
    "addr": "product: _, m, o -> m o",
    "baddbmm": added_product("b m i", "b i o", "b m o"),
    "bilinear": "linear: *b i, *b j, o i j, ~o -> *b o",
    "bmm": "linear: b m i, b i o -> b m o",
    "conv1d": convolution(1),
    "conv2d": convolution(2),
    "conv3d": convolution(3),
    "conv_depthwise3d": depthwise,
    "_conv_depthwise2d": depthwise,
    "conv_tbc": "conv: *s n i, *k i o, ~o -> *t n o",
    "conv_transpose1d": convolution(1, transposed=True),
    "conv_transpose2d": convolution(2, transposed=True),
    "conv_transpose3d": convolution(3, transposed=True),
    "convolution": convolution(),
    "_convolution": convolution(),
    "dot": "linear: i, i -> .",
    "einsum": einsum,
    "ger": "product: m, o -> m o",
    "gru": recurrent(3),
    "gru_cell": recurrent_cell(3),
    "_grouped_mm": grouped_mm,
    "inner": inner,
    "_int_mm": "linear: m i, i o -> m o",
    "linear": linear,
    "lstm": recurrent(4, cell=True),
    "lstm_cell": recurrent_cell(4, cell=True),
    "matmul": matmul,
    "mkldnn_convolution": convolution(),
    "mm": "linear: m i, i o -> m o",
    "mv": "linear: m i, i -> m",
    "_native_multi_head_attention": native_multi_head_attention,
    "outer": "product: m, o -> m o",
    "rnn_relu": recurrent(1),
    "rnn_relu_cell": recurrent_cell(1),
    "rnn_tanh": recurrent(1),
    "rnn_tanh_cell": recurrent_cell(1),
    "scaled_dot_product_attention": attention(),
    "_scaled_dot_product_attention_math": attention("_"),
    "_scaled_dot_product_cudnn_attention": attention(*"________"),
    "_scaled_dot_product_efficient_attention": attention("_", "_", "_"),
    "_scaled_dot_product_flash_attention": attention(*"________"),
    "_scaled_dot_product_flash_attention_for_cpu": attention("_"),
    "_scaled_dot_product_fused_attention_overrideable": attention(*"________"),
    "_scaled_mm": scaled_mm,
    "slow_conv3d": convolution(3),
    "slow_conv_dilated2d": convolution(2),
    "slow_conv_dilated3d": convolution(3),
    "tensordot": tensordot,
    "thnn_conv2d": convolution(2),
    "_transformer_encoder_layer_fwd": transformer_encoder_layer,
    "_trilinear": trilinear,
    "vdot": "linear: i, i -> .",
    "_weight_int8pack_mm": "linear: m i, o i, %o -> m o",
}

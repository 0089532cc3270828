"""ATen's ops that normalise, reduce, pool, resample, pick or mix along axes."""

from __future__ import annotations

from math import prod

from graphneurons.axes.rules.site import NoRule, RuleFunction, RuleText, Site
from graphneurons.axes.rules.spelling import aligned, counted, marked, names, spelled


def dims(site: Site, name: str = "dim") -> tuple[int, ...]:
    """The axes attribute ``name`` gives, as one number or a list; all of them where it gives none."""
    rank = site.known_rank(0)
    value = site.op.attributes.get(name)
    given = (value,) if isinstance(value, int) else site.numbers(name) if isinstance(value, tuple) else None
    if not given or not rank:
        return tuple(range(rank))
    return tuple(site.axis(axis, rank) for axis in given)


def reduce(results: int = 1, default: int | None = None) -> RuleFunction:
    """Reductions: over ``dim``, or ``default``, or everything; ``keepdim`` keeps axes of size one."""

    def rule(site: Site) -> str:
        rank = site.known_rank(0)
        missing = default is not None and rank and "dim" not in site.op.attributes
        gone, axes = {(default or 0) % rank} if missing else set(dims(site)), names(rank)
        keep = site.number("keepdim", 0)
        kept = ["1" if index in gone else name for index, name in enumerate(axes) if keep or index not in gone]
        return f"reduce: {spelled(axes)} -> {', '.join([spelled(kept)] * results)}"

    return rule


def extreme(site: Site) -> str:
    """max and min: of two tensors element by element, of one along an axis (with where), or of everything."""
    if len(site.op.inputs) > 1:
        return "select: *x, *x -> *x"
    return reduce(2 if "dim" in site.op.attributes else 1)(site)


def along(kind: str, results: int = 1, default: int | None = None) -> RuleFunction:
    """Ops that keep the shape and mix along ``dim``: softmax, cumsum, sort, fft."""

    def rule(site: Site) -> str:
        rank = site.known_rank(0)
        if default is not None and "dim" not in site.op.attributes:
            chosen: tuple[int, ...] = (site.axis(default, rank),) if rank else ()
        else:
            chosen = dims(site)
        axes = spelled(marked(names(rank), chosen))
        return f"{kind}: {axes} -> {', '.join([axes] * results)}"

    return rule


def picked(operands: int, results: int, default: int = 0) -> RuleFunction:
    """An axis of which positions are picked that only the running model knows: topk, gather, index_select."""

    def rule(site: Site) -> str:
        rank = site.known_rank(0)
        if not rank:
            return f"reduce: .{', _' * (operands - 1)} -> _"
        axis = site.axis(site.number("dim", default), rank)
        axes, result = names(rank, {axis: "v"}), names(rank, {axis: "n"})
        result = ["n" if index == axis else name for index, name in enumerate(axes)]
        made = spelled(result)
        return f"reduce: {spelled(axes)}{', _' * (operands - 1)} -> {made}{', _' * (results - 1)}"

    return rule


def _is_constant(site: Site, index: int) -> bool:
    return index < len(site.constant) and site.constant[index]


def embedding(site: Site) -> str:
    """Rows of a table. With constant indices they are only rearranged."""
    if _is_constant(site, 0) and _is_constant(site, 1):
        return "layout"
    return "lookup: @v d, *n -> *n d" if _is_constant(site, 0) else "reduce: v d, *n -> *n d"


def looked_up(otherwise: RuleText) -> RuleFunction:
    """index_select, gather, take_along_dim: a layout op where the indices are known, a lookup where the table is
    constant, else positions picked while the model runs."""

    def rule(site: Site) -> str:
        if len(site.constant) > 1 and site.value(1) is not None:
            return "layout"
        text = otherwise if isinstance(otherwise, str) else otherwise(site)
        if not _is_constant(site, 0):
            return text
        return text.replace("reduce: ", "lookup: ", 1).replace(" v", " @v", 1)

    return rule


def take(site: Site) -> str:
    """Elements by their place in the flattened tensor."""
    if len(site.constant) > 1 and site.value(1) is not None:
        return "layout"
    return f"reduce: {spelled(names(site.known_rank(0)))}, *n -> *n"


def index(site: Site) -> str:
    """``self[i, :, j, ...]``: indices of one or several axes broadcast together, and their axes take the place of the
    first picked one where the picked axes are next to each other, else they come first."""
    known = [site.value(at) is not None for at in range(1, len(site.op.inputs)) if site.has(at)]
    if known and all(known) and not any(_is_mask(site, at) for at in range(1, len(site.op.inputs))):
        return "layout"
    rank = site.known_rank(0)
    axes = [at - 1 for at in range(1, len(site.op.inputs)) if site.has(at)]
    shapes = [site.shape(axis + 1) for axis in axes]
    if not axes or axes[-1] >= rank:
        raise NoRule(f"indices {axes} do not fit a tensor of rank {rank}")
    if any(shape is None for shape in shapes) or any(_is_mask(site, axis + 1) for axis in axes):
        raise NoRule("it picks by a mask: how many elements that are is known when the model runs")
    depth = max(len(shape) for shape in shapes if shape is not None)
    fresh = [f"n{position}" for position in range(depth)]
    table = names(rank)
    next_to = axes == list(range(axes[0], axes[0] + len(axes)))
    place = axes[0] if next_to else 0
    rest = [name for at, name in enumerate(table) if at not in axes]
    before = len([at for at in range(place) if at not in axes])
    result = [*rest[:before], *fresh, *rest[before:]]
    mark = "@" if _is_constant(site, 0) else ""
    kind = "lookup" if _is_constant(site, 0) else "reduce"
    operands = [f"{mark}v{at}" if at in axes else name for at, name in enumerate(table)]
    ignored = ", _" * (len(site.op.inputs) - 1)
    return f"{kind}: {spelled(operands)}{ignored} -> {spelled(result)}{_sizes(site, axes, fresh)}"


def _sizes(site: Site, axes: list[int], fresh: list[str]) -> str:
    sizes = [1] * len(fresh)
    for axis in axes:
        shape = site.shape(axis + 1) or ()
        for position, size in enumerate(reversed(shape), 1):
            sizes[-position] = max(size, sizes[-position])
    return " | " + " ".join(f"{name}={size}" for name, size in zip(fresh, sizes, strict=True)) if fresh else ""


def _is_mask(site: Site, operand: int) -> bool:
    value = site.value(operand)
    return value is not None and value.dtype == bool


def index_put(site: Site) -> str:
    """Values written at places the running model knows; axes after the indexed ones stay what they are."""
    if all(site.value(at) is not None for at in range(1, len(site.op.inputs) - 1) if site.has(at)) and not site.number(
        "accumulate", 0
    ):
        return "layout"
    rank, last = site.known_rank(0), len(site.op.inputs) - 1
    if last < 2:
        raise NoRule("it has no indices")
    count = max((at for at in range(1, last) if site.has(at)), default=0)
    base = names(rank)
    values = site.shape(last) or ()
    tail = base[count:]
    fitting = min(len(tail), len(values))
    shown = [
        "1" if values[len(values) - fitting + at] == 1 else tail[len(tail) - fitting + at] for at in range(fitting)
    ]
    given = spelled([*["*m"] * (len(values) > fitting), *shown])
    return f"select: {spelled(base)}{', _' * (last - 1)}, {given} -> {spelled(base)}"


def scattered(site: Site) -> str:
    """scatter, scatter_add, index_add, ...: elements of the source go to places along ``dim``."""
    source = next((at for at in range(2, len(site.op.inputs)) if site.has(at)), None)
    if site.op.type == "scatter" and source is not None and site.value(1) is not None and not site.text("reduce"):
        return "layout"
    rank = site.known_rank(0)
    shape, other = site.shape(0) or (), site.shape(source) if source is not None else None
    if source is None or other is None or len(other) != rank or not rank:
        return f"select: *x{', _' * (len(site.op.inputs) - 1)} -> *x"
    axis = site.axis(site.number("dim", 0), rank)
    axes = names(rank)
    moved = [name if at != axis and other[at] == shape[at] else f"m{at}" for at, name in enumerate(axes)]
    return f"sum: {spelled(axes)}, _, {spelled(moved)} -> {spelled(axes)}"


def normalised(results: int = 1) -> RuleFunction:
    """layer_norm and rms_norm over the last axes, ``normalized_shape``; further results are statistics."""

    def rule(site: Site) -> str:
        rank, count = site.known_rank(0), len(site.numbers("normalized_shape") or (1,))
        start = rank - count
        axes = names(rank, {start: "d"} if count == 1 else None)
        x = spelled(marked(axes, range(start, rank)))
        kept = spelled([*axes[:start], *["1"] * count])
        modulators = "".join(f", {aligned(site, at, axes)}" for at in range(1, len(site.op.inputs)))
        return f"normalisation: {x}{modulators} -> {x}{f', {kept}' * (results - 1)}"

    return rule


def batch_norm(results: int = 1, *, flag: str = "training") -> RuleFunction:
    """Statistics are stored; while training (``^``) they are those of the batch."""

    def rule(site: Site) -> str:
        training = site.number(flag, int(flag == "use_input_stats")) or not site.has(3)
        x = "^n c ^*s" if training else "n c *s"
        return f"normalisation: {x}{', ~c' * 4} -> {x}{', _' * (results - 1)}"

    return rule


def group_norm(attribute: str, results: int = 1) -> RuleFunction:
    def rule(site: Site) -> str:
        groups = counted(site, attribute)
        more = ", _" * (results - 1)
        return f"normalisation: n ^(g c) ^*s, ~(g c), ~(g c) -> n ^(g c) ^*s{more} | g={groups}"

    return rule


def instance_norm(site: Site) -> str:
    if not site.number("use_input_stats", 1):
        return batch_norm()(site)
    return "normalisation: n c ^*s, ~c, ~c, ~c, ~c -> n c ^*s"


def pooled(kind: str, dimensions: int, results: int = 1, operands: int = 1) -> RuleFunction:
    """Pooling and resampling over the last ``dimensions`` axes; the batch axis may be missing."""

    def rule(site: Site) -> str:
        rank = site.known_rank(0)
        lead = " ".join(["n", "c"][dimensions + 2 - rank :]) if rank in (dimensions + 1, dimensions + 2) else ""
        if not lead:
            raise NoRule(f"{rank} axes do not fit windows over {dimensions}")
        return f"{kind}: {lead} *s{', _' * (operands - 1)} -> {lead} *t{', _' * (results - 1)}"

    return rule


def grid_sampled(site: Site) -> str:
    spatial = " ".join(f"t{at}" for at in range(site.known_rank(0) - 2))
    return f"mix: n c *s, _ -> n c {spatial}"


def column_to_image(site: Site) -> str:
    """col2im: the positions ``k`` of a block are added where blocks overlap; channels stay apart."""
    image, block = site.numbers("output_size"), site.numbers("kernel_size")
    if image is None or block is None:
        raise NoRule("the shape of the image or of a block is not known")
    n = "n " if site.known_rank(0) == 3 else ""
    told = " ".join(f"t{at}={size}" for at, size in enumerate(image))
    return f"reduce: {n}(c k) l -> {n}c {' '.join(f't{at}' for at in range(len(image)))} | k={prod(block)} {told}"


def spectrum(site: Site) -> str:
    """_fft_c2c, _fft_r2c, _fft_c2r: every frequency is a sum over the signal."""
    chosen, axes = set(dims(site)), names(site.known_rank(0))
    made = [f"f{at}" if at in chosen else name for at, name in enumerate(axes)]
    return f"mix: {spelled(axes)} -> {spelled(made)}"


def traced(site: Site) -> str:
    return "reduce: m m -> ." if (site.shape(0) or (0, 1))[0] == (site.shape(0) or (0, 1))[-1] else "reduce: m o -> ."


_REDUCTIONS = """
    all amax amin any argmax argmin count_nonzero linalg_vector_norm logsumexp mean nanmean nansum norm prod std sum var
    special_logsumexp
"""
_POOLS = {1: "1d", 2: "2d", 3: "3d"}

MIXING: dict[str, RuleText] = {
    **dict.fromkeys(_REDUCTIONS.split(), reduce()),
    **dict.fromkeys(("kthvalue", "mode"), reduce(2, -1)),
    **dict.fromkeys(("max", "min", "median", "nanmedian"), extreme),
    **dict.fromkeys(("aminmax", "std_mean", "var_mean"), reduce(2)),
    **dict.fromkeys(("softmax", "_softmax", "log_softmax", "_log_softmax", "_safe_softmax"), along("softmax")),
    **dict.fromkeys(("cumsum", "cumprod", "logcumsumexp"), along("mix")),
    **dict.fromkeys(("cummax", "cummin"), along("mix", 2)),
    "sort": along("mix", 2, -1),
    "msort": along("mix", 1, 0),
    "topk": picked(1, 2, -1),
    "embedding": embedding,
    "embedding_bag": "lookup: @v d, n, _, _ -> b d, _, _, _",
    "_embedding_bag": "lookup: @v d, n, _, _ -> b d, _, _, _",
    "_embedding_bag_forward_only": "lookup: @v d, n, _, _ -> b d, _, _, _",
    "index_select": looked_up(picked(2, 1)),
    "gather": looked_up(picked(2, 1)),
    "take_along_dim": looked_up(picked(2, 1)),
    "take": take,
    "index": index,
    "_unsafe_index": index,
    "index_put": index_put,
    "_unsafe_index_put": index_put,
    **dict.fromkeys(("scatter", "scatter_add", "scatter_reduce", "index_add", "index_copy", "index_reduce"), scattered),
    "layer_norm": normalised(),
    "native_layer_norm": normalised(3),
    "rms_norm": normalised(),
    "_fused_rms_norm": normalised(2),
    "batch_norm": batch_norm(),
    "native_batch_norm": batch_norm(3),
    "_native_batch_norm_legit": batch_norm(3),
    "_native_batch_norm_legit_no_training": batch_norm(3),
    "_native_batch_norm_legit_functional": batch_norm(5),
    "_batch_norm_no_update": batch_norm(4),
    "_batch_norm_with_update": batch_norm(4),
    "_batch_norm_with_update_functional": batch_norm(6),
    "cudnn_batch_norm": batch_norm(4),
    "_batch_norm_impl_index": batch_norm(5),
    "group_norm": group_norm("num_groups"),
    "native_group_norm": group_norm("group", 3),
    "instance_norm": instance_norm,
    **{f"max_pool{d}": pooled("pool", n) for n, d in _POOLS.items()},
    **{f"max_pool{d}_with_indices": pooled("pool", n, 2) for n, d in _POOLS.items()},
    **{f"avg_pool{d}": pooled("pool", n) for n, d in _POOLS.items()},
    **{f"adaptive_avg_pool{d}": pooled("pool", n) for n, d in _POOLS.items()},
    **{f"_adaptive_avg_pool{d}": pooled("pool", n) for n, d in list(_POOLS.items())[1:]},
    **{f"adaptive_max_pool{d}": pooled("pool", n, 2) for n, d in _POOLS.items()},
    **{f"max_unpool{d}": pooled("pool", n, 1, 2) for n, d in list(_POOLS.items())[1:]},
    **{f"upsample_nearest{d}": pooled("resize", n) for n, d in _POOLS.items()},
    **{f"_upsample_nearest_exact{d}": pooled("resize", n) for n, d in _POOLS.items()},
    "upsample_linear1d": pooled("resize", 1),
    "upsample_bilinear2d": pooled("resize", 2),
    "upsample_bicubic2d": pooled("resize", 2),
    "_upsample_bilinear2d_aa": pooled("resize", 2),
    "_upsample_bicubic2d_aa": pooled("resize", 2),
    "upsample_trilinear3d": pooled("resize", 3),
    **dict.fromkeys(("grid_sampler", "grid_sampler_2d", "grid_sampler_3d"), grid_sampled),
    "col2im": column_to_image,
    "trace": traced,
    "diff": picked(3, 1, -1),
    **dict.fromkeys(("_fft_c2c", "_fft_r2c", "_fft_c2r"), spectrum),
    "view_as_complex": "mix: *x part -> *x",
    "view_as_real": "mix: *x -> *x part | part=2",
    "cosine_similarity": "reduce: *x d, *x d -> *x",
    "linalg_det": "reduce: *n m k -> *n",
    **dict.fromkeys(("linalg_inv_ex", "inverse", "linalg_inv"), "mix: *n ^m ^k -> *n ^m ^k, _"),
}

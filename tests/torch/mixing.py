"""Cases of ATen ops that normalise, reduce, pool, resample, look up or mix."""

from __future__ import annotations

from typing import Any

from tests.rules.case import Given, Random, f, ids, positive
from tests.torch.calling import Call

_NORM = (f(2, 3, 4), f(3), f(3), f(3), positive(3))
_STATS: dict[str, Any] = {"training": False, "momentum": 0.1, "eps": 1e-5}
_NO_TRAIN: dict[str, Any] = {"momentum": 0.1, "eps": 1e-5}
_SUMS = [
    "sum",
    "mean",
    "prod",
    "amax",
    "amin",
    "any",
    "all",
    "nansum",
    "nanmean",
    "var",
    "std",
    "logsumexp",
    "special_logsumexp",
    "linalg_vector_norm",
]
_IMAGES = {1: f(2, 3, 8), 2: f(2, 3, 8, 6), 3: f(2, 3, 4, 6, 8)}
_TIME = {"a": "order along the axis matters", "b": "order along the axis matters"}


def _window(dimensions: int, **more: Any) -> dict[str, Any]:
    return {"attributes": {"kernel_size": (2,) * dimensions, **more}}


MIXING_CASES: tuple[Call, ...] = (
    *(
        Call(name, (f(3, 4, 5),), variant=variant, attributes=attributes)
        for name in _SUMS
        for variant, attributes in (
            ("one axis", {"dim": (1,) if name not in ("any", "all", "prod") else 1}),
            ("kept", {"dim": (-1,) if name not in ("any", "all", "prod") else -1, "keepdim": True}),
        )
    ),
    *(Call(name, (f(3, 4),), variant="everything") for name in ("sum", "mean", "prod", "any", "all", "max", "min")),
    *(
        Call(name, (f(3, 4),), attributes={"dim": 1}, fixed={"b": "positions are numbered"})
        for name in ("argmax", "argmin")
    ),
    Call("count_nonzero", (f(3, 4),), overload="dim_IntList", attributes={"dim": (0,)}),
    Call("norm", (f(3, 4),), attributes={"p": 2, "dim": (0,)}),
    *(
        Call(name, (f(3, 4),), variant="one axis", attributes={"dim": 0}, outputs=1)
        for name in ("max", "min", "median", "nanmedian")
    ),
    *(Call(name, (f(3, 4), f(4)), variant="two tensors", overload="other") for name in ("max", "min")),
    Call("aminmax", (f(3, 4),), attributes={"dim": 1}, outputs=2),
    *(
        Call(name, (f(3, 4),), attributes={"dim": (1,), "correction": 1}, overload="correction", outputs=2)
        for name in ("var_mean", "std_mean")
    ),
    *(Call(name, (f(3, 4),), attributes={"dim": 1}) for name in ("softmax", "log_softmax", "_safe_softmax")),
    *(Call(name, (f(3, 4),), attributes={"dim": 1, "half_to_float": False}) for name in ("_softmax", "_log_softmax")),
    *(Call(name, (f(3, 4),), attributes={"dim": 1}, fixed=_TIME) for name in ("cumsum", "cumprod", "logcumsumexp")),
    *(Call(name, (f(3, 4),), attributes={"dim": 1}, fixed=_TIME, outputs=1) for name in ("cummax", "cummin")),
    Call("sort", (f(3, 4),), fixed={"b": "it is sorted"}, outputs=1),
    Call("msort", (f(3, 4),), fixed={"a": "it is sorted"}),
    Call("topk", (f(3, 4),), attributes={"k": 2}, outputs=1),
    Call("kthvalue", (f(3, 4),), attributes={"k": 2, "dim": 1}, outputs=1),
    Call("mode", (f(3, 4),), attributes={"dim": 1}, outputs=1),
    Call("diff", (f(3, 4),), fixed={"v": "neighbours are subtracted"}),
    Call("trace", (f(4, 4),)),
    Call("embedding", (f(7, 4), ids(7, 2, 3)), weights=(0,), indices={"v": 1}),
    *(
        Call(
            name,
            (f(7, 4), ids(7, 6), Given([0, 2])),
            weights=(0,),
            indices={"v": 1},
            fixed={"n": "bags are runs of indices"},
        )
        for name in ("embedding_bag", "_embedding_bag", "_embedding_bag_forward_only")
    ),
    Call("index_select", (f(7, 4), ids(7, 3)), attributes={"dim": 0}, weights=(0,), indices={"v": 1}),
    Call("index_select", (f(7, 4), ids(4, 3)), variant="activations", attributes={"dim": 1}, indices={"v": 1}),
    Call(
        "gather",
        (f(7, 4), ids(7, 3, 4)),
        attributes={"dim": 0},
        fixed=dict.fromkeys("va", "indices have this axis too"),
    ),
    Call(
        "take_along_dim",
        (f(7, 4), ids(7, 3, 4)),
        attributes={"dim": 0},
        fixed=dict.fromkeys("va", "indices have this axis too"),
    ),
    Call("index", (f(7, 4), ids(7, 2, 3)), weights=(0,), fixed={"v0": "rows are picked by number"}),
    Call(
        "index",
        (f(3, 7, 4), None, ids(7, 2), ids(4, 2)),
        variant="two axes",
        fixed={"v1": "by number", "v2": "by number"},
    ),
    Call(
        "index",
        (f(7, 3, 4), ids(7, 2), None, ids(4, 2)),
        variant="axes apart",
        fixed={"v0": "by number", "v2": "by number"},
    ),
    Call("_unsafe_index", (f(7, 4), ids(7, 2, 3)), weights=(0,), fixed={"v0": "rows are picked by number"}),
    *(
        Call(
            name,
            (f(7, 4), ids(7, 2), f(2, 4)),
            lists={"indices": 1},
            fixed={"a": "places are picked by number", "m0": "they are places"},
        )
        for name in ("index_put", "_unsafe_index_put")
    ),
    *(
        Call(
            name,
            (f(7, 4), ids(7, 3, 4), f(3, 4)),
            attributes={"dim": 0},
            fixed=dict.fromkeys(("a", "b", "m0"), "places have numbers"),
        )
        for name in ("scatter", "scatter_add")
    ),
    Call(
        "scatter_reduce",
        (f(7, 4), ids(7, 3, 4), f(3, 4)),
        attributes={"dim": 0, "reduce": "sum"},
        fixed=dict.fromkeys(("a", "b", "m0"), "places have numbers"),
    ),
    *(
        Call(
            name,
            (f(7, 4), Given([0, 2, 5]), f(3, 4)),
            attributes=attributes,
            fixed={"a": "places have numbers", "m0": "places"},
        )
        for name, attributes in (
            ("index_add", {"dim": 0}),
            ("index_copy", {"dim": 0}),
            ("index_reduce", {"dim": 0, "reduce": "amax"}),
        )
    ),
    Call("layer_norm", (f(2, 3, 4), f(4), f(4)), attributes={"normalized_shape": (4,)}),
    Call("layer_norm", (f(2, 3, 4), f(3, 4), f(3, 4)), variant="two axes", attributes={"normalized_shape": (3, 4)}),
    Call("native_layer_norm", (f(2, 3, 4), f(4), f(4)), attributes={"normalized_shape": (4,), "eps": 1e-5}, outputs=3),
    Call("rms_norm", (f(2, 3, 4), f(4)), attributes={"normalized_shape": (4,)}),
    Call("_fused_rms_norm", (f(2, 3, 4), f(4)), attributes={"normalized_shape": (4,), "eps": 1e-5}, outputs=2),
    Call("batch_norm", _NORM, attributes={**_STATS, "cudnn_enabled": False}),
    Call("batch_norm", _NORM, variant="training", attributes={**_STATS, "training": True, "cudnn_enabled": False}),
    Call("native_batch_norm", _NORM, attributes=_STATS),
    Call("_native_batch_norm_legit", _NORM, attributes=_STATS),
    Call("_native_batch_norm_legit_functional", _NORM, attributes=_STATS),
    Call("_native_batch_norm_legit_no_training", _NORM, attributes=_NO_TRAIN),
    Call("_batch_norm_no_update", _NORM, attributes=_NO_TRAIN),
    Call("_batch_norm_with_update", _NORM, attributes=_NO_TRAIN),
    Call("_batch_norm_with_update_functional", _NORM, attributes=_NO_TRAIN),
    Call("_batch_norm_impl_index", _NORM, attributes={**_STATS, "cudnn_enabled": False}),
    Call("cudnn_batch_norm", _NORM, refused="a kernel of CUDA"),
    Call(
        "group_norm",
        (f(2, 6, 4), f(6), f(6)),
        attributes={"num_groups": 2},
        fixed={"g": "groups share their statistics"},
    ),
    Call("native_group_norm", (f(2, 6, 4), f(6), f(6)), attributes={"N": 2, "C": 6, "HxW": 4, "group": 2, "eps": 1e-5}),
    Call(
        "instance_norm",
        (f(2, 3, 4), f(3), f(3)),
        attributes={"use_input_stats": True, "momentum": 0.1, "eps": 1e-5, "cudnn_enabled": False},
    ),
    Call(
        "instance_norm",
        _NORM,
        variant="stored statistics",
        attributes={"use_input_stats": False, "momentum": 0.1, "eps": 1e-5, "cudnn_enabled": False},
    ),
    *(Call(f"max_pool{d}d", (_IMAGES[d],), **_window(d)) for d in (1, 2, 3)),
    *(Call(f"max_pool{d}d_with_indices", (_IMAGES[d],), outputs=1, **_window(d)) for d in (1, 2, 3)),
    *(Call(f"avg_pool{d}d", (_IMAGES[d],), **_window(d)) for d in (1, 2, 3)),
    Call("avg_pool2d", (f(3, 8, 6),), variant="without batch", **_window(2)),
    *(Call(f"adaptive_avg_pool{d}d", (_IMAGES[d],), attributes={"output_size": (2,) * d}) for d in (1, 2, 3)),
    *(Call(f"_adaptive_avg_pool{d}d", (_IMAGES[d],), attributes={"output_size": (2,) * d}) for d in (2, 3)),
    *(
        Call(f"adaptive_max_pool{d}d", (_IMAGES[d],), attributes={"output_size": (2,) * d}, outputs=1)
        for d in (1, 2, 3)
    ),
    Call("max_unpool2d", (f(2, 3, 2, 2), Given([[[[0, 3], [9, 11]]] * 3] * 2)), attributes={"output_size": (4, 4)}),
    Call(
        "max_unpool3d",
        (f(1, 2, 1, 1, 2), Given([[[[[0, 3]]]] * 2])),
        attributes={"output_size": (2, 2, 2), "stride": (1, 1, 1), "padding": (0, 0, 0)},
    ),
    *(
        Call(f"upsample_nearest{d}d", (_IMAGES[d],), attributes={"output_size": (9,) * d}, overload="default")
        for d in (1, 2, 3)
    ),
    *(
        Call(f"_upsample_nearest_exact{d}d", (_IMAGES[d],), attributes={"output_size": (9,) * d}, overload="default")
        for d in (1, 2, 3)
    ),
    *(
        Call(name, (_IMAGES[d],), attributes={"output_size": (9,) * d, "align_corners": False}, overload="default")
        for name, d in (
            ("upsample_linear1d", 1),
            ("upsample_bilinear2d", 2),
            ("upsample_bicubic2d", 2),
            ("_upsample_bilinear2d_aa", 2),
            ("_upsample_bicubic2d_aa", 2),
            ("upsample_trilinear3d", 3),
        )
    ),
    *(
        Call(
            name,
            (_IMAGES[2], Random((2, 4, 5, 2), "float32")),
            attributes={"interpolation_mode": 0, "padding_mode": 0, "align_corners": False},
            fixed=dict.fromkeys(("n", "s0", "s1", "t0", "t1"), "the grid names positions"),
        )
        for name in ("grid_sampler", "grid_sampler_2d")
    ),
    Call(
        "grid_sampler_3d",
        (_IMAGES[3], Random((2, 2, 4, 5, 3), "float32")),
        attributes={"interpolation_mode": 0, "padding_mode": 0, "align_corners": False},
        fixed=dict.fromkeys(("n", "s0", "s1", "s2", "t0"), "the grid names positions"),
    ),
    Call(
        "col2im",
        (f(2, 12, 9),),
        attributes={
            "output_size": (4, 4),
            "kernel_size": (2, 2),
            "dilation": (1, 1),
            "padding": (0, 0),
            "stride": (1, 1),
        },
        fixed={"l": "windows have places", "k": "taps have places"},
    ),
    Call(
        "_fft_r2c",
        (f(3, 4),),
        attributes={"dim": (1,), "normalization": 0, "onesided": True},
        fixed={"b": "a signal has an order"},
    ),
    Call(
        "_fft_c2c",
        (Random((3, 4), "float32"),),
        attributes={"dim": (1,), "normalization": 0, "forward": True},
        fixed={"b": "a signal has an order"},
        run=lambda x: __import__("torch").fft.fft(x, dim=1),
    ),
    Call(
        "_fft_c2r",
        (Random((3, 4), "float32"),),
        attributes={"dim": (1,), "normalization": 0, "last_dim_size": 6},
        fixed={"b": "a spectrum has an order"},
        run=lambda x: __import__("torch").fft.irfft(x, dim=1),
    ),
    Call("view_as_complex", (f(3, 4, 2),), fixed={"part": "real and imaginary parts differ"}),
    Call("view_as_real", (Random((3, 4), "float32"),), run=lambda x: __import__("torch").view_as_real(x + 0j)),
    Call("cosine_similarity", (f(3, 4), f(3, 4)), attributes={"dim": -1}),
    Call(
        "linalg_det",
        (f(2, 3, 3),),
        fixed={"m": "swapping rows changes the sign", "k": "swapping columns changes the sign"},
    ),
    *(
        Call(name, (f(2, 3, 3),), outputs=1, fixed={"m": "rows become columns", "k": "columns become rows"})
        for name in ("linalg_inv", "linalg_inv_ex", "inverse")
    ),
    Call("take", (f(3, 4), ids(12, 5)), fixed=dict.fromkeys("ab", "places have numbers")),
)

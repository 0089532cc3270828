"""ATen's ops that work element by element. Numbers among the arguments are attributes, so only tensors are operands."""

from __future__ import annotations

from graphneurons.axes.rules.site import RuleText, Site
from graphneurons.axes.rules.spelling import aligned, every_operand, names, spelled

_ONE_OPERAND = """
    _conj _conj_physical _to_copy abs absolute acos acosh alias alpha_dropout angle arccos arccosh arcsin arcsinh
    arctan arctanh asin asinh atan atanh bitwise_not ceil celu clamp_max clamp_min clone conj conj_physical
    contiguous cos cosh deg2rad detach digamma dropout elu erf erfc erfinv exp exp2 expm1
    fake_quantize_per_tensor_affine feature_alpha_dropout feature_dropout fix float_power floor frac gelu hardshrink
    hardsigmoid hardswish hardtanh i0 imag index_fill isfinite isinf isnan isneginf isposinf leaky_relu lgamma lift
    lift_fresh lift_fresh_copy log log10 log1p log2 log_sigmoid logical_not logit mish mvlgamma nan_to_num neg
    negative pin_memory polygamma positive rad2deg real reciprocal relu relu6 resolve_conj resolve_neg round rrelu
    rsqrt selu sgn sigmoid sign signbit silu sin sinc sinh softplus softshrink special_bessel_j0 special_bessel_j1
    special_entr special_erfcx special_i0e special_i1 special_i1e special_log_ndtr special_ndtri sqrt square tan
    tanh threshold to tril triu trunc type_as _autocast_to_full_precision _autocast_to_reduced_precision _cast_Float
    _cast_Half _cast_Double _cast_Long _cast_Int feature_dropout alias_copy detach_copy
"""

_SUMS = "add lerp rsub sub subtract logaddexp logaddexp2"
_PRODUCTS = """
    __and__ __or__ __xor__ atan2 arctan2 bitwise_and bitwise_left_shift bitwise_or bitwise_right_shift bitwise_xor
    copysign div divide floor_divide fmod gcd heaviside hypot lcm ldexp logical_and logical_or logical_xor mul
    multiply nextafter pow remainder special_xlog1py special_zeta true_divide xlogy complex polar igamma igammac
    __lshift__ __rshift__
"""
_SELECTIONS = """
    clamp clip eq fmax fmin ge greater greater_equal gt isclose le less less_equal lt maximum minimum ne not_equal
    where
"""

_FILLED = """
    arange bartlett_window bernoulli blackman_window empty empty_like empty_permuted empty_strided eye fill full
    full_like hamming_window hann_window kaiser_window linspace logspace new_empty new_empty_strided new_full
    new_ones new_zeros normal ones ones_like rand rand_like randint randint_like randn randn_like randperm range
    scalar_tensor tril_indices triu_indices zero zeros zeros_like _efficientzerotensor affine_grid_generator
    exponential uniform random cauchy geometric log_normal
"""


def filled(site: Site) -> str:
    """New tensors of given numbers or random ones: of an operand, if there is one, only the shape is used."""
    return f"map: {', '.join('_' for _ in site.op.inputs)} -> _" if site.op.inputs else "shape"


def of_the_first(site: Site) -> str:
    """Element by element of operand 0; where there are others (a type to take, a limit), they carry nothing."""
    return f"map: *x{', _' * (len(site.op.inputs) - 1)} -> *x"


def prelu(site: Site) -> str:
    """One slope, or one per channel (axis 1)."""
    slope, rank = site.shape(1), site.known_rank(0)
    if slope is None or slope in ((), (1,)) or rank < 2:
        return "map: *x, _ -> *x"
    return "map: n c *s, ~c -> n c *s"


def where(site: Site) -> str:
    """The condition is aligned with what it chooses from, and carries nothing."""
    return f"select: ~*x{', *x' * (len(site.op.inputs) - 1)} -> *x"


def weight_norm(site: Site) -> str:
    """``v g / |v|``: the length g is one number per index of ``dim``."""
    axes = names(site.known_rank(0))
    return f"map: {spelled(axes)}, {aligned(site, 1, axes)} -> {spelled(axes)}, _"


def copied(site: Site) -> str:
    """``copy(self, src)``: src in the shape and type of self."""
    same = site.shape(0) == site.shape(1)
    return "map: _, *x -> *x" if same else "select: _, *x -> *x"


ELEMENTWISE: dict[str, RuleText] = {
    **dict.fromkeys(_ONE_OPERAND.split(), of_the_first),
    **{name: every_operand("sum") for name in _SUMS.split()},
    **{name: every_operand("product") for name in _PRODUCTS.split()},
    **{name: every_operand("select") for name in _SELECTIONS.split()},
    **dict.fromkeys(_FILLED.split(), filled),
    "copy": copied,
    "masked_fill": "select: *x, ~*x, _ -> *x",
    "native_dropout": "map: *x -> *x, _",
    "prelu": prelu,
    "_prelu_kernel": "map: *x, ~*x -> *x",
    "rrelu_with_noise": "map: *x, _ -> *x",
    "frexp": "map: *x -> *x, *x",
    "where": where,
    "_weight_norm": weight_norm,
    "_weight_norm_interface": weight_norm,
}

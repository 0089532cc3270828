"""com.microsoft's quantized element-wise ops: every tensor is followed by its scale and zero point, one number each."""

from __future__ import annotations

from graphneurons.axes.rules.mixing import reduced
from graphneurons.axes.rules.normalising import softmax_axes
from graphneurons.axes.rules.quantized import per_tensor
from graphneurons.axes.rules.site import RuleFunction, RuleText, Site


def _two(kind: str) -> RuleFunction:
    def rule(site: Site) -> str:
        return f"{kind}: *x, {per_tensor(site, 1, 2)}, *x, {per_tensor(site, 4, 5)}, {per_tensor(site, 6, 7)} -> *x"

    return rule


def _one(site: Site) -> str:
    return f"map: *x, {per_tensor(site, 1, 2, 3, 4)} -> *x"


def _where(site: Site) -> str:
    marks = f"{per_tensor(site, 2, 3)}, *x, {per_tensor(site, 5, 6)}, {per_tensor(site, 7, 8)}"
    return f"select: *x, *x, {marks} -> *x"


def _multiply_integers(site: Site) -> str:
    return f"product: *x, {per_tensor(site, 1)}, *x, {per_tensor(site, 3)} -> *x"


def _average_pool(site: Site) -> str:
    x, y = ("n *s c", "n *t c") if site.number("channels_last", 0) else ("n c *s", "n c *t")
    return f"pool: {x}, {per_tensor(site, 1, 2, 3, 4)} -> {y}"


def _global_average_pool(site: Site) -> str:
    ones = " ".join(["1"] * (site.known_rank(0) - 2))
    x, y = ("n *s c", f"n {ones} c") if site.number("channels_last", 0) else ("n c *s", f"n c {ones}")
    return f"reduce: {x}, {per_tensor(site, 1, 2, 3, 4)} -> {y}"


def _reduce_mean(site: Site) -> str:
    rank = site.known_rank(0)
    return reduced(site, rank, site.numbers("axes") or tuple(range(rank)), f", {per_tensor(site, 1, 2, 3, 4)}")


def _softmax(site: Site) -> str:
    """Attribute ``opset`` says whether several axes share one sum (before 13) or only one does."""
    x = softmax_axes(site, site.number("opset", 13) < 13)
    return f"softmax: {x}, {per_tensor(site, 1, 2, 3, 4)} -> {x}"


def _reduce_sum_integer(site: Site) -> str:
    rank = site.known_rank(0)
    return reduced(site, rank, site.numbers("axes") or tuple(range(rank)))


QLINEAR: dict[str, RuleText] = {
    "MulInteger": _multiply_integers,
    "QLinearAdd": _two("sum"),
    "QLinearAveragePool": _average_pool,
    "QLinearConcat": "layout",
    "QLinearGlobalAveragePool": _global_average_pool,
    "QLinearLeakyRelu": _one,
    "QLinearMul": _two("product"),
    "QLinearReduceMean": _reduce_mean,
    "QLinearSigmoid": _one,
    "QLinearSoftmax": _softmax,
    "QLinearWhere": _where,
    "QOrderedGelu": "map: *x, %., %. -> *x",
    "ReduceSumInteger": _reduce_sum_integer,
}

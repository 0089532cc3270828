"""Ops asked for nonsense: sizes, axes, groups, equations, attributes. Noted by the op's name, never guessed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from onnx import AttributeProto, ModelProto, TensorProto, helper

from .build import UINT8, boolean, integers, linear, model, node, through, weight
from .case import Case, not_silent, noted
from .graphs import in_then, loops

W = weight("w1", 4, 4)
CONV = weight("w1", 4, 4, 3, 3)


def one(kind: str, *tensors: TensorProto, shape: Sequence[int] = (1, 4, 8, 8), **attributes: Any) -> ModelProto:
    """One op of x and ``tensors``, named odd."""
    return model(
        [node(kind, ["x", *(t.name for t in tensors)], ["y"], "odd", **attributes)], {"x": shape}, weights=tensors
    )


def layout(kind: str, *more: TensorProto, **attributes: Any) -> ModelProto:
    """w1 (4, 6) goes through one op, named odd, before fc1 uses it."""
    change = node(kind, ["w1", *(t.name for t in more)], ["v"], "odd", **attributes)
    return through(change, last="v", weights=[weight("w1", 4, 6), *more])


def recurrent(kind: str, gates: int, hidden: int, **attributes: Any) -> ModelProto:
    return model(
        [node(kind, ["x", "w1", "r1"], ["y"], "odd", **attributes)],
        {"x": [5, 1, 4]},
        weights=[weight("w1", 1, gates * hidden, 4), weight("r1", 1, gates * hidden, hidden)],
    )


def einsum(equation: str, *tensors: TensorProto) -> ModelProto:
    return model([node("Einsum", ["x", *(t.name for t in tensors)], ["y"], "odd", equation=equation)], weights=tensors)


def packed(**attributes: int) -> ModelProto:
    settings = {"K": 32, "N": 8, "bits": 4, "block_size": 32, **attributes}
    return model(
        [node("MatMulNBits", ["x", "w1", "s1"], ["y"], "odd", "com.microsoft", **settings)],
        {"x": [1, 32]},
        weights=[weight("w1", 8, 1, 16, dtype=UINT8), weight("s1", 8)],
        domains={"com.microsoft": 1},
    )


def without(kind: str, missing: str) -> ModelProto:
    """An If, Loop or Scan without the attribute ``missing``."""
    good = {"If": lambda: in_then(node("MatMul", ["x", "w1"], ["t"], "inner")), "Loop": lambda: loops(1)}[kind]()
    kept = [a for a in good.graph.node[0].attribute if a.name != missing]
    del good.graph.node[0].attribute[:]
    good.graph.node[0].attribute.extend(kept)
    return good


def twice(name: str, first: Any, second: Any) -> ModelProto:
    made = one("Conv", weight("w1", 4, 2, 3, 3))
    made.graph.node[0].attribute.extend([helper.make_attribute(name, first), helper.make_attribute(name, second)])
    return made


def unknown(kind: str, domain: str) -> ModelProto:
    domains = {domain: 1} if domain else {}
    return model([node(kind, ["x", "w1"], ["y"], "odd", domain)], weights=[W], domains=domains)


def sliced(step: int) -> ModelProto:
    bounds = [integers("a", 0), integers("b", 4), integers("c", 1), integers("d", step)]
    return layout("Slice", *bounds)


def dangling_reference() -> ModelProto:
    made = one("Conv", CONV)
    made.graph.node[0].attribute.add(name="group", ref_attr_name="groups", type=AttributeProto.INT)
    return made


def linear_with_more() -> ModelProto:
    made = linear(W)
    made.graph.node[0].input.extend(["x"] * 3)
    return made


CASES: tuple[Case, ...] = (
    noted("unknown domain", lambda _: unknown("Fancy", "acme.ai"), "w1"),
    noted("unknown op", lambda _: unknown("Fancy", ""), "w1"),
    noted("If without a branch", lambda _: without("If", "else_branch"), "choose"),
    noted("If without branches", lambda _: model([node("If", ["c"], ["y"], "choose")], [boolean("c")]), "choose"),
    noted("Loop without a body", lambda _: without("Loop", "body"), "loop"),
    noted("group 0", lambda _: one("Conv", CONV, group=0), "odd"),
    noted("negative group", lambda _: one("Conv", CONV, group=-2), "odd"),
    noted("group does not divide", lambda _: one("Conv", CONV, group=3), "odd"),
    noted("group as text", lambda _: one("Conv", CONV, group="two"), "odd"),
    noted("group as a float", lambda _: one("Conv", CONV, group=1.0), "odd"),
    noted("group 2^62", lambda _: one("Conv", CONV, group=2**62), "odd"),
    not_silent("group twice", lambda _: twice("group", 1, 2), "group"),
    noted("scalar Conv weight", lambda _: one("Conv", weight("w1")), "odd"),
    noted("Conv weight of rank 2", lambda _: one("Conv", weight("w1", 4, 4)), "odd"),
    noted("kernel_shape disagrees", lambda _: one("Conv", CONV, kernel_shape=[5, 5]), "odd"),
    noted("channels disagree", lambda _: one("Conv", weight("w1", 4, 7, 3, 3)), "odd"),
    noted("ConvTranspose, group does not divide", lambda _: one("ConvTranspose", CONV, group=3), "odd"),
    noted("Gemm weight of rank 3", lambda _: one("Gemm", weight("w1", 2, 4, 4), shape=[1, 4]), "odd"),
    noted("Gemm weight that does not fit", lambda _: one("Gemm", weight("w1", 5, 7), shape=[1, 4]), "odd"),
    noted("MatMul weight that does not fit", lambda _: linear(weight("w1", 5, 7)), "fc1"),
    noted("scalar MatMul weight", lambda _: linear(weight("w1")), "fc1"),
    noted("hidden size 2^40", lambda _: recurrent("LSTM", 4, 3, hidden_size=2**40), "odd"),
    noted("hidden size negative", lambda _: recurrent("GRU", 3, 3, hidden_size=-3), "odd"),
    noted("LSTM with three gates", lambda _: recurrent("LSTM", 3, 3, hidden_size=3), "odd"),
    noted("direction unknown", lambda _: recurrent("LSTM", 4, 3, hidden_size=3, direction="sideways"), "odd"),
    noted("direction wants two", lambda _: recurrent("LSTM", 4, 3, hidden_size=3, direction="bidirectional"), "odd"),
    noted("Transpose, axis twice", lambda _: layout("Transpose", perm=[0, 0]), "odd"),
    noted("Transpose, axis 2^40", lambda _: layout("Transpose", perm=[0, 2**40]), "odd"),
    noted("Transpose, too few axes", lambda _: layout("Transpose", perm=[0]), "odd"),
    noted("Reshape that does not fit", lambda _: layout("Reshape", integers("s", 5, 5)), "odd"),
    noted("Reshape, two unknowns", lambda _: layout("Reshape", integers("s", -1, -1)), "odd"),
    noted("Reshape to 2^40", lambda _: layout("Reshape", integers("s", 2**40, 2**40)), "odd"),
    noted("Reshape, shape of floats", lambda _: layout("Reshape", weight("s", 2)), "odd"),
    noted("Concat, axis 9", lambda _: layout("Concat", axis=9), "odd"),
    noted("Squeeze of an axis of 4", lambda _: layout("Squeeze", integers("s", 0)), "odd"),
    noted("Unsqueeze of axis 2^40", lambda _: layout("Unsqueeze", integers("s", 2**40)), "odd"),
    noted("Gather past the end", lambda _: layout("Gather", integers("s", 0, 9, 1, 2)), "odd"),
    noted("Slice, step 0", lambda _: sliced(0), "odd"),
    noted("Split into more than there is", lambda _: layout("Split", integers("s", 9, 9)), "odd"),
    noted("Pad by less than nothing", lambda _: layout("Pad", integers("s", -9, 0, 0, 0)), "odd"),
    noted("Tile, repeats negative", lambda _: layout("Tile", integers("s", -1, 2)), "odd"),
    noted("Expand that does not fit", lambda _: layout("Expand", integers("s", 3, 6)), "odd"),
    noted("Einsum without an equation", lambda _: one("Einsum", W), "odd"),
    noted("Einsum, two ellipses", lambda _: einsum("i...j...,jk->ik", W), "odd"),
    noted("Einsum, ellipsis twice in one operand", lambda _: einsum("...ij...,jk->...k", W), "odd"),
    noted("Einsum, letter from nowhere", lambda _: einsum("ij,jk->iz", W), "odd"),
    noted("Einsum, wrong rank", lambda _: einsum("ijq,jk->ik", W), "odd"),
    noted("Einsum, wrong number of operands", lambda _: einsum("ij,jk,kl->il", W), "odd"),
    noted("Einsum, no letters", lambda _: einsum("\u2192;%$,\0->", W), "odd"),
    noted("Einsum of 100,000 letters", lambda _: einsum("i" * 100_000 + ",jk->k", W), "odd"),
    noted("packed weight, 0 bits", lambda _: packed(bits=0), "odd"),
    noted("packed weight, blocks of 0", lambda _: packed(block_size=0), "odd"),
    noted("packed weight, blocks negative", lambda _: packed(block_size=-32), "odd"),
    noted("packed weight, N 2^40", lambda _: packed(N=2**40), "odd"),
    noted("packed weight, K too large", lambda _: packed(K=4096), "odd"),
    not_silent("attribute from a function's caller, outside", lambda _: dangling_reference(), "odd"),
    noted("more inputs than the op has", lambda _: linear_with_more(), "fc1"),
)

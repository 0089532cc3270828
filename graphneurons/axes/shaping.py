"""Shapes of what ops make that neither move elements nor have a factor rule: indices, one-hot codes, random numbers."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from graphneurons.axes.rules.site import NoRule, Shape, Site


def made_shapes(site: Site) -> Sequence[Shape | None]:
    """The shapes of the outputs of ``site.op``, or nothing where they cannot be told ahead."""
    shape_of = _SHAPES.get(site.op.type) if not site.op.domain else None
    return shape_of(site) if shape_of is not None else ()


def _top_k(site: Site) -> Sequence[Shape | None]:
    shape = site.shape(0)
    given = site.integers(1) or (site.numbers("k") if isinstance(site.op.attributes.get("k"), tuple) else None)
    count = given[0] if given else site.number("k", -1)
    if shape is None or count < 0:
        return ()
    axis = site.axis(site.number("axis", -1), len(shape))
    picked = (*shape[:axis], count, *shape[axis + 1 :])
    return (picked, picked)


def _one_hot(site: Site) -> Sequence[Shape | None]:
    shape, depth = site.shape(0), site.integers(1)
    if shape is None or not depth or depth[0] < 0:
        return ()
    axis = site.axis(site.number("axis", -1), len(shape) + 1)
    return ((*shape[:axis], depth[0], *shape[axis:]),)


def _like(site: Site) -> Sequence[Shape | None]:
    return (site.shape(0),)


def _given(site: Site) -> Sequence[Shape | None]:
    shape = site.numbers("shape")
    if shape is not None and min(shape) < 0:
        raise NoRule(f"shape {list(shape)} has a negative size")
    return (shape,)


def _scaled(site: Site) -> Sequence[Shape | None]:
    """The tensor in steps, and the one scale and zero point that go with it."""
    return (site.shape(0), (), ())


_SHAPES: Mapping[str, Callable[[Site], Sequence[Shape | None]]] = {
    "DynamicQuantizeLinear": _scaled,
    "TopK": _top_k,
    "OneHot": _one_hot,
    "EyeLike": _like,
    "RandomNormalLike": _like,
    "RandomUniformLike": _like,
    "RandomNormal": _given,
    "RandomUniform": _given,
}
"""Op type -> the shapes of its outputs."""

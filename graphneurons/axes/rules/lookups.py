"""Rows picked from a constant table by computed indices. With constant indices these ops only rearrange: ``layout``."""

from __future__ import annotations

from graphneurons.axes.rules.site import NoRule, RuleText, Site
from graphneurons.axes.rules.spelling import names, spelled


def looks_up(site: Site) -> bool:
    """Whether the table is constant and the indices are not, or are constants too involved to be computed ahead."""
    known = len(site.constant) > 1 and site.constant[1] and site.value(1) is not None
    return len(site.constant) > 1 and site.constant[0] and not known


def gather(site: Site) -> str:
    """``data[..., index, ...]``: the axes of the indices take the place of the axis picked from."""
    if not looks_up(site):
        return "layout"
    rank = site.known_rank(0)
    axis = site.axis(site.number("axis", 0), rank)
    table = _table(rank, {axis})
    result = [*table[:axis], "*n", *table[axis + 1 :]]
    table[axis] = "@v"
    return f"lookup: {spelled(table)}, *n -> {spelled(result)}"


def gather_elements(site: Site) -> str:
    """One index per element: every other axis is shared by table and indices, where both have all of it."""
    if not looks_up(site):
        return "layout"
    rank = site.known_rank(0)
    axis = site.axis(site.number("axis", 0), rank)
    table, result = _table(rank, {axis}), _table(rank, {axis})
    data, indices = site.shape(0), site.shape(1)
    if data is None or indices is None or len(data) != len(indices):
        raise NoRule("the shape of the table or of the indices is not known")
    if any(size != data[index] for index, size in enumerate(indices) if index != axis):
        raise NoRule(f"indices of shape {list(indices)} take a corner of a table of shape {list(data)}")
    table[axis], result[axis] = "@v", "n"
    return f"lookup: {spelled(table)}, {spelled(result)} -> {spelled(result)}"


def gather_nd(site: Site) -> str:
    """Index tuples along the last axis of the indices pick from as many axes of the table, after ``batch_dims``."""
    if not looks_up(site):
        return "layout"
    rank, indices = site.known_rank(0), site.shape(1)
    if not indices:
        raise NoRule("the shape of the indices is not known")
    batch, depth = site.number("batch_dims", 0), indices[-1]
    if batch < 0 or depth < 1 or batch + depth > rank:
        raise NoRule(f"index tuples of {depth} do not fit a table of rank {rank} with {batch} batch axes")
    picked = range(batch, batch + depth)
    table = _table(rank, set(picked))
    rest = table[batch + depth :]
    shared = [f"p{index}" for index in range(batch)]
    rows = ["@v"] if depth == 1 else [f"@v{index}" for index in range(depth)]
    return (
        f"lookup: {spelled([*shared, *rows, *rest])}, {spelled([*shared, '*n', 'tuple'])} "
        f"-> {spelled([*shared, '*n', *rest])}"
    )


def _table(rank: int, picked: set[int]) -> list[str]:
    """Names for the axes of a table: ``d`` for the width of an embedding, letters where there are more axes."""
    rest = [index for index in range(rank) if index not in picked]
    return names(rank, {rest[0]: "d"} if len(rest) == 1 else None)


LOOKUPS: dict[str, RuleText] = {"Gather": gather, "GatherElements": gather_elements, "GatherND": gather_nd}

"""Coupled groups for people and for programs: which axes of which weights are cut, permuted or sharded together."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from graphneurons.analysis import Analysis
from graphneurons.reports.lines import Line, line, measure
from graphneurons.reports.names import fold, shown, wrap
from graphneurons.reports.tables import MARGIN
from graphneurons.reports.text import View, title
from graphneurons.reports.totals import plural
from graphneurons.reports.trees import Twig, drawn
from graphneurons.wiring.group_records import Group, Member, Run

_MOST_GROUPS = 10_000
_EACH = {
    "neuron": "a neuron",
    "head": "a head",
    "head width": "one place in every head",
    "block": "a whole block",
    "across blocks": "one place in every block",
}


def groups_around(analysis: Analysis, name: str) -> tuple[Group, ...]:
    """The groups with an axis of a weight of the layer, lookup or modulator ``name``."""
    return tuple(
        group for group in analysis.groups if any(use.of == name for each in group.members for use in each.uses)
    )


def coupled(analysis: Analysis, groups: Sequence[Group], view: View = View()) -> Iterator[Line]:  # noqa: B008
    """``groups`` of the model, each with its members below it."""
    yield from title(analysis, view)
    for group in groups[:_MOST_GROUPS]:
        yield ()
        yield from _heading(group, view)
        yield from drawn(_twigs(group), view.width, view.glyphs)
    if not groups:
        yield ()
        yield line("  no axes are coupled")
    elif len(groups) > _MOST_GROUPS:
        yield line((f"  {view.glyphs.ellipsis} {len(groups) - _MOST_GROUPS:,} more (--json lists them)", "quiet"))


def _heading(group: Group, view: View) -> Iterator[Line]:
    many = "index" if group.size == 1 else "indices"
    size = f"  {group.size:,} {many}, each {_EACH.get(group.granularity, group.granularity)}"
    whole = line(MARGIN, (shown(group.id), "heading"), (size, "quiet"))
    if view.width is None or measure(whole) <= view.width:
        yield whole
        return
    for piece in fold(shown(group.id), view.width - len(MARGIN)):
        yield line(MARGIN, (piece, "heading"))
    for piece in wrap(size.strip(), view.width - len(MARGIN)):
        yield line(MARGIN, (piece, "quiet"))


def _twigs(group: Group) -> list[Twig]:
    twigs = []
    for member in group.members:
        used = ", ".join(f"{use.role} of {shown(use.of)}" for use in member.uses)
        twigs.append(Twig(line(f"{shown(member.weight)} axis {member.axis}", (f"  {used}" if used else "", "quiet"))))
    if group.alternatives:
        others = ", ".join(shown(name) for name in group.alternatives)
        twigs.append(Twig(line((f"{plural(len(group.alternatives), 'other way')} to cut: {others}", "quiet"))))
    if group.fixed is not None:
        twigs.append(Twig(line(("cannot be cut: ", "bad"), shown(group.fixed, 500))))
    return twigs


def groups_record(groups: Sequence[Group]) -> list[dict[str, Any]]:
    """``groups``, with the coordinates at which every index stands in every member."""
    return [
        {
            "id": group.id,
            "size": group.size,
            "granularity": group.granularity,
            "fixed": group.fixed,
            "alternatives": list(group.alternatives),
            "members": [_member(member) for member in group.members],
        }
        for group in groups
    ]


def _member(member: Member) -> dict[str, Any]:
    record: dict[str, Any] = {
        "weight": member.weight,
        "axis": member.axis,
        "uses": [{"of": use.of, "role": use.role} for use in member.uses],
    }
    if member.listed is not None:
        record["coordinates"] = [list(row) for row in member.listed]
    else:
        record["runs"] = [_run(run) for run in member.runs]
    return record


def _run(run: Run) -> dict[str, Any]:
    return {
        "index": [run.start, run.stop],
        "first": run.first,
        "step": run.step,
        "count": run.count,
        "stride": run.stride,
    }

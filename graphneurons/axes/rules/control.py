"""The ops the loader writes where it flattens control flow (see `graphneurons.graph.CONTROL`)."""

from __future__ import annotations

from graphneurons.axes.rules.site import RuleText
from graphneurons.axes.rules.spelling import every_operand

CONTROL_FLOW: dict[str, RuleText] = {
    "Merge": every_operand("select"),
    "Carry": "map: *x -> *x",
    "Stack": "layout",
    "Unstack": "layout",
    "Iteration": "shape",
    "Entry": "shape",
}

"""All tables in one: (domain, op type) -> what the op does."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from graphneurons.axes.rules.control import CONTROL_FLOW
from graphneurons.axes.rules.microsoft import MICROSOFT
from graphneurons.axes.rules.onnx import ONNX
from graphneurons.axes.rules.site import RuleText
from graphneurons.graph import CONTROL

_BY_DOMAIN: Mapping[str, Mapping[str, RuleText]] = {
    "": ONNX,
    "com.microsoft": MICROSOFT,
    CONTROL: CONTROL_FLOW,
}

RULES: Mapping[tuple[str, str], RuleText] = MappingProxyType(
    {(domain, name): rule for domain, table in _BY_DOMAIN.items() for name, rule in table.items()}
)
"""The domain of ai.onnx is ``""``, as the loader writes it. An op that is not here is opaque."""

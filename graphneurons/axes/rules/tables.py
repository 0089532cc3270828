"""All tables in one: (domain, op type) -> what the op does."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from graphneurons.axes.rules.aten import ATEN, HIGHER_ORDER, PRIMS, QUANTIZED, TORCHVISION, TRANSFORMERS
from graphneurons.axes.rules.attention import flex_attention
from graphneurons.axes.rules.control import CONTROL_FLOW
from graphneurons.axes.rules.microsoft import MICROSOFT, NCHWC, NHWC
from graphneurons.axes.rules.ml import ML, TRAINING
from graphneurons.axes.rules.modules import MODULES
from graphneurons.axes.rules.onnx import ONNX
from graphneurons.axes.rules.site import RuleText
from graphneurons.graph import CONTROL

_BY_DOMAIN: Mapping[str, Mapping[str, RuleText]] = {
    "": ONNX,
    "ai.onnx.ml": ML,
    "ai.onnx.preview": {"FlexAttention": flex_attention},
    "ai.onnx.preview.training": TRAINING,
    "com.microsoft": MICROSOFT,
    "com.microsoft.nchwc": NCHWC,
    "com.ms.internal.nhwc": NHWC,
    "aten": ATEN,
    "prims": PRIMS,
    "quantized_decomposed": QUANTIZED,
    "higher_order": HIGHER_ORDER,
    "torchvision": TORCHVISION,
    "transformers": TRANSFORMERS,
    "torch.nn": MODULES,
    CONTROL: CONTROL_FLOW,
}

TRACED = frozenset({"aten", "prims", "quantized_decomposed", "higher_order", "torchvision", "transformers", "torch.nn"})
"""Domains of PyTorch's operators and modules: their values come with the shapes they were traced with."""

RULES: Mapping[tuple[str, str], RuleText] = MappingProxyType(
    {(domain, name): rule for domain, table in _BY_DOMAIN.items() for name, rule in table.items()}
)
"""The domain of ai.onnx is ``""``, as the loader writes it. An op that is not here is opaque.

An entry is a rule's text, ``"layout"`` (the op only moves elements), ``"shape"`` (what it makes carries no features of
what it reads), ``"stop: why"``, or a function that returns one of these.
"""

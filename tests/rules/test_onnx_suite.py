"""The models of one op in onnx's own test suite: rules must make results of the shape onnx expects."""

from __future__ import annotations

import warnings
from functools import lru_cache
from math import prod
from typing import Any

import numpy as np
import onnx
import pytest
from onnx.backend.test.case.node import collect_testcases

from graphneurons.axes.binding import Binding, bind
from graphneurons.axes.notation import parse
from graphneurons.axes.rules.site import NoRule, Shape, Site
from graphneurons.axes.rules.tables import RULES
from graphneurons.graph import Attribute, Op

_SUBGRAPHS = (onnx.AttributeProto.GRAPH, onnx.AttributeProto.GRAPHS, onnx.AttributeProto.TENSOR)


@lru_cache(maxsize=1)
def _models() -> list[Any]:
    """Test cases whose model is one node, with one set of inputs and outputs each."""
    with warnings.catch_warnings():
        # The suite divides by zero on purpose.
        warnings.simplefilter("ignore")
        cases = collect_testcases(None)
    return [case for case in cases if len(case.model.graph.node) == 1 and case.data_sets]


def _attribute(attribute: onnx.AttributeProto) -> Attribute:
    value = onnx.helper.get_attribute_value(attribute)
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    if isinstance(value, list):
        return tuple(item.decode() if isinstance(item, bytes) else item for item in value)
    return value  # type: ignore[no-any-return]


def _shape(value: Any) -> Shape | None:
    if isinstance(value, onnx.TensorProto):
        return tuple(value.dims)
    return np.asarray(value).shape if isinstance(value, np.ndarray | np.generic | float | int) else None


def _site(case: Any) -> Site:
    node = case.model.graph.node[0]
    given = dict(zip((value.name for value in case.model.graph.input), case.data_sets[0][0], strict=False))
    versions = {opset.domain: opset.version for opset in case.model.opset_import}
    attributes = {item.name: _attribute(item) for item in node.attribute if item.type not in _SUBGRAPHS}
    op = Op(
        "op", node.op_type, node.domain, tuple(node.input), tuple(node.output), attributes, (), versions[node.domain]
    )
    shapes = tuple(_shape(given.get(name)) for name in node.input)
    values = tuple(
        np.asarray(given[name])
        if shape is not None and prod(shape) < 200 and isinstance(given[name], np.ndarray | np.generic)
        else None
        for name, shape in zip(node.input, shapes, strict=True)
    )
    return Site(op, shapes, values, (False,) * len(shapes))


def _wrong(case: Any, binding: Binding) -> list[str]:
    node = case.model.graph.node[0]
    made = dict(zip((value.name for value in case.model.graph.output), case.data_sets[0][1], strict=False))
    wrong = []
    for index, name in enumerate(node.output):
        axes = binding.results[index] if index < len(binding.results) else None
        shape = _shape(made.get(name))
        if axes is None or shape is None:
            continue
        sizes = [
            prod(binding.sizes[part] for part in axis) if set(axis) <= set(binding.sizes) else None for axis in axes
        ]
        fits = [told in (None, size) for told, size in zip(sizes, shape, strict=False)]
        if len(sizes) != len(shape) or not all(fits):
            wrong.append(f"{case.name}: `{binding.rule}` makes {sizes}, onnx {list(shape)}")
    return wrong


def test_rules_make_the_results_onnx_expects() -> None:
    bound, wrong, refused = 0, [], []
    for case in _models():
        site = _site(case)
        entry = RULES[site.op.domain, site.op.type]
        try:
            text = entry if isinstance(entry, str) else entry(site)
            if text in ("layout", "shape") or text.startswith("stop:"):
                continue
            binding = bind(parse(text), site.shapes)
        except NoRule as error:
            refused.append(f"{case.name}: {error}")
            continue
        bound += 1
        wrong.extend(_wrong(case, binding))
    assert wrong == []
    assert refused == []
    assert bound > 1000


@pytest.mark.parametrize("op", ["Conv", "Gemm", "LSTM", "Attention", "Einsum", "DequantizeLinear", "ReduceSum"])
def test_the_suite_has_the_op(op: str) -> None:
    assert any(case.model.graph.node[0].op_type == op for case in _models())

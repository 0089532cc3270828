"""Weights that live in attributes: the coefficients of ai.onnx.ml's linear models, as operands like any other weight.

The file stores them as flat lists of floats, rows of neurons one after the other (ONNX-ML operator specification,
LinearClassifier). They get names of their own, ``NODE.coefficients`` and ``NODE.intercepts``, and follow the op's real
operand, so that rules see them.
"""

from __future__ import annotations

from collections.abc import Iterable, MutableMapping
from dataclasses import replace

from graphneurons.graph import Inline, Op, WeightRef

_LINEAR = frozenset({"LinearClassifier", "LinearRegressor", "SVMClassifier", "SVMRegressor"})


def with_coefficients(ops: Iterable[Op], weights: MutableMapping[str, WeightRef]) -> list[Op]:
    """``ops``, linear models among them with their coefficients as operands 1 and 2, which are added to ``weights``."""
    return [_expanded(op, weights) if op.domain == "ai.onnx.ml" and op.type in _LINEAR else op for op in ops]


def _expanded(op: Op, weights: MutableMapping[str, WeightRef]) -> Op:
    if len(op.inputs) != 1 or op.attributes.get("support_vectors"):
        return op
    added = []
    for attribute in ("coefficients", "intercepts"):
        numbers = op.attributes.get(attribute)
        name = f"{op.name}.{attribute}"
        if not isinstance(numbers, tuple) or not numbers or name in weights:
            break
        floats = [number for number in numbers if isinstance(number, (int, float))]
        weights[name] = WeightRef(name, "float32", (len(floats),), Inline(_bytes(floats)))
        added.append(name)
    return replace(op, inputs=(*op.inputs, *added))


def _bytes(numbers: Iterable[float]) -> bytes:
    import numpy as np

    return np.array(list(numbers), dtype="<f4").tobytes()

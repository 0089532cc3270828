"""A pair of layers evaluated at one input, with the stored weights alone: what key neurons put out."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

import numpy as np
import numpy.typing as npt

from graphneurons.analysis import Analysis, Layer
from graphneurons.errors import UsageError
from graphneurons.load.reading import read
from graphneurons.views.values import Values

Vector = npt.NDArray[np.float64]

_ADDING = frozenset({"Add", "Gemm", "FusedGemm", "FusedMatMul", "linear", "addmm", "add"})


def _gelu(x: Vector) -> Vector:
    return np.array([0.5 * value * (1 + math.erf(value / math.sqrt(2))) for value in x.tolist()])


def _sigmoid(x: Vector) -> Vector:
    return 1 / (1 + np.exp(-x))


ACTIVATIONS: Mapping[str | None, Callable[[Vector], Vector]] = {
    None: lambda x: x,
    "relu": lambda x: np.maximum(x, 0.0),
    "tanh": np.tanh,
    "sigmoid": _sigmoid,
    "gelu": _gelu,
    "silu": lambda x: x * _sigmoid(x),
    "swish": lambda x: x * _sigmoid(x),
}


def outputs(analysis: Analysis, values: Values, x: Sequence[float]) -> Vector:
    """act(W x + b) of a linear layer. Raises `UsageError` where ``x`` does not fit, the activation is not one of
    `ACTIVATIONS`, or anything but a bias stands between."""
    layer = values.layer
    if len(x) != values.synapses:
        raise UsageError(f"--at has {len(x)} numbers, {layer.id} reads {values.synapses}", file=analysis.model.path)
    name = layer.activation.lower() if layer.activation else None
    activation = ACTIVATIONS.get(name)
    if layer.kind != "linear" or activation is None:
        what = f"a {layer.kind} layer" if layer.kind != "linear" else f"the activation {layer.activation}"
        raise UsageError(f"--at cannot evaluate {what}", file=analysis.model.path, where=layer.id)
    weights = values.rows(range(layer.neurons)).astype(np.float64)
    return activation(weights @ np.array(x, np.float64) + bias(analysis, layer))


def bias(analysis: Analysis, layer: Layer) -> Vector:
    """The bias added to ``layer``'s neurons. Raises `UsageError` where other parameters change them too."""
    total = np.zeros(layer.neurons)
    for modulator in analysis.modulators:
        if modulator.of != layer.id and modulator.id != layer.id:
            continue
        for use in modulator.weights:
            if modulator.kind == "normalisation" or modulator.op.type not in _ADDING:
                raise UsageError(f"--at cannot evaluate {modulator.op.type} {modulator.id}", where=layer.id)
            if use.weight.elements != layer.neurons:
                raise UsageError(f"--at cannot add {use.weight.name}", where=layer.id)
            total += read(use.weight).astype(np.float64).reshape(-1)
    return total

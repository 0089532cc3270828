"""Real exports that defects are injected into, and the places in them where that can be done."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import numpy_helper

import graphneurons
from graphneurons.analysis import Analysis, Layer, WeightUse
from graphneurons.checks.base import Finding, ModelReport, Subject
from graphneurons.checks.policy import DEFAULT
from graphneurons.checks.readers import groups_of
from graphneurons.checks.running import run
from tests.checks.models import Random
from tests.zoo.architectures import ZOO
from tests.zoo.exporting import How, export
from tests.zoo.quantizing import quantized

FLOAT: tuple[tuple[str, How], ...] = (
    ("mlp_3d", "dynamo"), ("cnn_bn", "legacy"), ("cnn_bn", "legacy_raw"), ("grouped_conv", "dynamo"),
    ("conv_1d_3d", "dynamo"), ("conv_transpose", "dynamo"), ("gated", "dynamo"), ("attention", "legacy"),
    ("encoder", "dynamo"), ("lstm", "legacy"), ("gru_bi_2", "legacy"), ("tied_head", "dynamo"), ("bert", "dynamo"),
    ("gpt2", "legacy"), ("gpt2", "dynamo_raw"), ("llama", "dynamo"), ("t5", "dynamo"), ("t5_tied", "dynamo_raw"),
    ("resnet50", "legacy"), ("resnet50", "legacy_raw"), ("densenet", "dynamo"), ("shufflenet", "dynamo"),
    ("swin", "dynamo"), ("convnext", "legacy"), ("unet", "dynamo"), ("mobilenet", "legacy"), ("mixer", "dynamo"),
    ("vit", "dynamo"), ("whisper", "dynamo"),
)  # fmt: skip

RECURRENT: tuple[tuple[str, How], ...] = tuple(
    (name, how) for name in ("lstm", "lstm_bi_2", "gru", "gru_bi_2", "rnn_bi_2") for how in ("dynamo", "legacy")
)  # type: ignore[assignment]

QUANTIZED: tuple[tuple[str, How, str], ...] = tuple(
    (name, "legacy", scheme)
    for name in ("mlp_2d", "cnn_bn", "resnet50", "mobilenet", "bert", "gpt2")
    for scheme in ("qdq_channels", "qoperator_channels")
)

@dataclass(frozen=True)
class Ground:
    """A healthy model to inject into, and what is found in it as it is."""

    name: str
    path: Path
    analysis: Analysis
    report: ModelReport

    def copy(self) -> onnx.ModelProto:
        return onnx.load(self.path)

    def why(self, finding: Finding) -> str | None:
        """Why a finding is true, as the file itself shows; None where it is a false alarm."""
        made = self.copy()
        if finding.code == "GN103":
            tensors = {name: values_of(each) for name, each in stored(made).items()}
            own = tensors.get(finding.weight or "")
            for name, other in tensors.items():
                if own is not None and name != finding.weight and own.ndim == other.ndim == 2:
                    if np.array_equal(own, other.T):
                        return "the exporter stores a tied head a second time, transposed"
                    if np.array_equal(own, other):
                        return "the exporter stores it twice"
        if finding.code == "GN105":
            writers = {name: each.op_type for each in made.graph.node for name in each.output}
            norms = [each for each in made.graph.node if each.op_type == "BatchNormalization"]
            if any(writers.get(each.input[0]) in ("Conv", "ConvTranspose", "Gemm") for each in norms):
                return "the exporter left a normalisation behind a convolution"
        return None


@cache
def ground(name: str, how: How, scheme: str = "") -> Ground:
    path = quantized(name, how, scheme) if scheme else export(name, how)
    analysis = graphneurons.analyze(path)
    label = f"{name}.{how}.{scheme}" if scheme else f"{name}.{how}"
    return Ground(label, path, analysis, run(Subject(analysis, DEFAULT)))


@cache
def whole_zoo() -> tuple[tuple[str, How], ...]:
    """Every architecture by both exporters, where the file can be written."""
    return tuple((name, how) for name in ZOO for how in ("dynamo", "legacy") if _can_be_written(name, how))  # type: ignore[misc]


def _can_be_written(name: str, how: Any) -> bool:
    try:
        export(name, how)
    except Exception:
        return False
    return True


@dataclass(frozen=True)
class Spot:
    """A weight whose neurons lie along one axis, as an initializer of the file; ``synapses``: the other axes."""

    layer: Layer
    use: WeightUse
    axis: int

    @property
    def name(self) -> str:
        return self.use.weight.name


def spots(analysis: Analysis, made: onnx.ModelProto) -> list[Spot]:
    """Weights with 8 synapses or more and 4 neurons or more that read the same."""
    return list(_spots(analysis, made))


def _spots(analysis: Analysis, made: onnx.ModelProto) -> Iterator[Spot]:
    stored = {each.name for each in made.graph.initializer}
    names = [use.weight.name for layer in analysis.layers for use in layer.weights]
    lookups = {use.weight.name for each in analysis.lookups for use in each.weights}
    for layer in analysis.layers:
        if len(layer.weights) != 1 or groups_of(analysis, layer.id) != 1:
            continue
        use = layer.weights[0]
        kept = [at for at, axis in enumerate(use.axes) if axis.role != "synapse"]
        simple = len(kept) == 1 and use.part is None and use.weight.name in stored and names.count(use.weight.name) == 1
        if not simple or use.weight.name in lookups:
            continue
        if use.weight.dtype == "float32" and layer.synapses_per_neuron >= 8 and layer.neurons >= 4:
            yield Spot(layer, use, kept[0])


def pick(among: list[Any], random: Random) -> Any:
    """One of them at random, or None where there is none."""
    return among[int(random.integers(len(among)))] if among else None


def node_of(made: onnx.ModelProto, layer: Layer) -> onnx.NodeProto | None:
    return next((each for each in made.graph.node if layer.op.output in each.output), None)


def readers(made: onnx.ModelProto, value: str) -> list[onnx.NodeProto]:
    return [each for each in made.graph.node if value in each.input]


def stored(made: onnx.ModelProto) -> dict[str, onnx.TensorProto]:
    return {each.name: each for each in made.graph.initializer}


def bias_of(made: onnx.ModelProto, layer: Layer) -> tuple[onnx.NodeProto, int] | None:
    """The node and the operand that add the layer's bias, an initializer nothing else reads, one number per neuron."""
    node, tensors = node_of(made, layer), stored(made)
    if node is None:
        return None
    places = [(node, 2)] if node.op_type in ("Conv", "Gemm") and len(node.input) > 2 else []
    after = readers(made, node.output[0])
    if node.op_type == "MatMul" and len(after) == 1 and after[0].op_type == "Add":
        places = [(after[0], at) for at in range(2)]
    for place, at in places:
        tensor = tensors.get(place.input[at])
        if tensor is not None and list(tensor.dims) == [layer.neurons] and len(readers(made, tensor.name)) == 1:
            return place, at
    return None


_PASSING = ("Relu", "Gelu", "Clip", "Sigmoid", "Tanh", "HardSwish", "MaxPool", "GlobalAveragePool", "Dropout")


def chain(made: onnx.ModelProto, layer: Layer, among: dict[str, Spot]) -> Spot | None:
    """The layer that alone reads ``layer``, with nothing but a bias, activations and pools between. ``among``: by the
    output of their op."""
    node = node_of(made, layer)
    constant = stored(made)
    while node is not None:
        after = readers(made, node.output[0])
        if len(after) != 1 or node.output[0] in {each.name for each in made.graph.output}:
            return None
        node = after[0]
        if node.output[0] in among:
            return among[node.output[0]]
        adds_bias = node.op_type == "Add" and any(each in constant for each in node.input)
        if node.op_type not in _PASSING and not adds_bias:
            return None
    return None


def values_of(tensor: onnx.TensorProto) -> np.ndarray[Any, Any]:
    return numpy_helper.to_array(tensor).copy()


def put(made: onnx.ModelProto, name: str, values: np.ndarray[Any, Any]) -> None:
    stored(made)[name].CopyFrom(numpy_helper.from_array(np.ascontiguousarray(values), name))

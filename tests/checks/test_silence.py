"""Neurons that never fire or always saturate, however their activation is written: proofs hold in the running model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import graphneurons
from graphneurons.checks import ranges
from graphneurons.checks.base import Finding, Subject
from graphneurons.checks.policy import parse_policy
from graphneurons.checks.running import run
from tests.checks.models import Weights
from tests.checks.test_ranges import MS, normal, observations, op

RANDOM = np.random.default_rng(3)
UNIT = {"input-ranges": {"x": [0.0, 1.0]}}


def _bias(weights: np.ndarray[Any, Any], at: dict[int, float], offset: float = 0.5) -> np.ndarray[Any, Any]:
    """Biases that leave every neuron able to fire, for inputs in [0, 1], but those ``at``: their largest value."""
    rows = weights.reshape(weights.shape[0], -1)
    highest = np.clip(rows, 0, None).sum(axis=1)
    bias = -highest + offset
    for neuron, largest in at.items():
        bias[neuron] = -highest[neuron] + largest
    return bias.astype(np.float32)


W = normal(6, 8)
K = normal(6, 3, 2, 2)
TURNED = {"w": W, "k": K}

# Nodes from x (1, 8) or (1, 3, 5, 5) to y, weights, what silences neurons 1 and 4 and no other, the finding.
CASES: dict[str, tuple[list[onnx.NodeProto], Weights, list[int], str]] = {
    "Relu": ([op("Gemm", "x w b", "h", transB=1), op("Relu", "h", "y")], {"w": W, "b": _bias(W, {1: -0.1, 4: -2})},
             [8], "GN203"),
    "Clip": ([op("Gemm", "x w b", "h", transB=1), op("Clip", "h lo hi", "y")],
             {"w": W, "b": _bias(W, {1: -0.1, 4: -2}), "lo": np.float32(0), "hi": np.float32(6)}, [8], "GN203"),
    "Clip above": ([op("Gemm", "x w b", "h", transB=1), op("Clip", "h lo hi", "y")],
                   {"w": W, "b": _bias(W, {1: -1.1, 4: -3}), "lo": np.float32(-1), "hi": np.float32(6)}, [8], "GN210"),
    "HardSwish": ([op("Gemm", "x w b", "h", transB=1), op("HardSwish", "h", "y")],
                  {"w": W, "b": _bias(W, {1: -3.1, 4: -7}, -2.8)}, [8], "GN203"),
    "HardSigmoid": ([op("Gemm", "x w b", "h", transB=1), op("HardSigmoid", "h", "y")],
                    {"w": W, "b": _bias(W, {1: -2.6, 4: -7}, -2.3)}, [8], "GN210"),
    "Gelu": ([op("Gemm", "x w b", "h", transB=1), op("Gelu", "h", "y")],
             {"w": W, "b": _bias(W, {1: -6, 4: -9}, -5.0)}, [8], "GN203"),
    "Softplus": ([op("Gemm", "x w b", "h", transB=1), op("Softplus", "h", "y")],
                 {"w": W, "b": _bias(W, {1: -18, 4: -90}, -15.0)}, [8], "GN203"),
    "Elu": ([op("Gemm", "x w b", "h", transB=1), op("Elu", "h", "y")],
            {"w": W, "b": _bias(W, {1: -18, 4: -90}, -15.0)}, [8], "GN210"),
    "ThresholdedRelu": ([op("Gemm", "x w b", "h", transB=1), op("ThresholdedRelu", "h", "y", alpha=2.0)],
                        {"w": W, "b": _bias(W, {1: 1.9, 4: -2}, 2.3)}, [8], "GN203"),
    "FusedGemm": ([op("FusedGemm", "x w b", "y", MS, transB=1, activation="Relu")],
                  {"w": W, "b": _bias(W, {1: -0.1, 4: -2})}, [8], "GN203"),
    "FusedConv": ([op("FusedConv", "x k b", "y", MS, activation="Relu")],
                  {"k": K, "b": _bias(K, {1: -0.1, 4: -2})}, [3, 5, 5], "GN203"),
    "BatchNormalization": (
        [op("Conv", "x k", "h"), op("BatchNormalization", "h one b mean var", "n", epsilon=0.0), op("Relu", "n", "y")],
        {"k": K, "b": _bias(K, {1: -0.1, 4: -2}), "one": np.ones(6, np.float32), "mean": np.zeros(6, np.float32),
         "var": np.ones(6, np.float32)}, [3, 5, 5], "GN203",
    ),
    "turned": (
        [op("MatMul", "x w", "h"), op("Add", "h b", "a"), op("Reshape", "a s", "r"), op("Transpose", "r", "t"),
         op("Relu", "t", "y")],
        {"w": np.ascontiguousarray(W.T), "b": _bias(W, {1: -0.1, 4: -2}), "s": np.array([2, 3])}, [8], "GN203",
    ),
    "half": (
        [op("Gemm", "x w b", "h", transB=1), op("Split", "h", "a c", num_outputs=2, axis=1), op("Sigmoid", "a", "s"),
         op("Mul", "s c", "y")],
        {"w": W, "b": _bias(W, {1: -18, 4: -90}, -15.0)}, [8], "GN210",
    ),
    "QDQ": (
        [op("QuantizeLinear", "x xs z", "q"), op("DequantizeLinear", "q xs z", "d"), op("Gemm", "d w b", "h", transB=1),
         op("QuantizeLinear", "h hs z", "k"), op("DequantizeLinear", "k hs z", "y")],
        {"w": W, "b": _bias(W, {1: -0.1, 4: -2}), "xs": np.float32(1 / 255), "hs": np.float32(0.02),
         "z": np.uint8(0)}, [8], "GN203",
    ),
}  # fmt: skip
EXPECTED = {"half": (1,)}


def _saved(path: Path, nodes: list[onnx.NodeProto], weights: Weights, shape: list[int]) -> onnx.ModelProto:
    graph = helper.make_graph(
        nodes, "g", [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, *shape])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(np.asarray(value), key) for key, value in weights.items()],
    )  # fmt: skip
    opsets = [helper.make_opsetid("", 22), helper.make_opsetid(MS, 1)]
    made = helper.make_model(graph, opset_imports=opsets, ir_version=10)
    onnx.save(made, path)
    return made


def _findings(path: Path, policy: dict[str, Any]) -> list[Finding]:
    chosen = parse_policy({"select": ["GN203", "GN210"], **policy}, "policy")
    return list(run(Subject(graphneurons.analyze(path), chosen)).findings)


@pytest.mark.parametrize("name", CASES)
def test_silent_and_saturated_neurons_are_found(name: str, tmp_path: Path) -> None:
    nodes, weights, shape, code = CASES[name]
    made = _saved(tmp_path / "m.onnx", nodes, weights, shape)
    (finding,) = _findings(tmp_path / "m.onnx", UNIT)
    assert (finding.code, finding.neurons) == (code, EXPECTED.get(name, (1, 4)))
    stop = finding.evidence["op"]
    output = next(each.output[0] for each in made.graph.node if each.name == stop)
    silent, others = list(finding.neurons or ()), [0, 2]
    seen = []
    feeds = [RANDOM.uniform(0, 1, shape) if number % 2 else RANDOM.integers(0, 2, shape) for number in range(60)]
    # What every neuron fires at most.
    feeds += [row > 0 for row in W] if shape == [8] else []
    for found in observations(made, [output], ({"x": x[None].astype(np.float32)} for x in feeds)):
        value = found[output]
        seen.append(value.T.reshape(6, 1) if name == "turned" else np.moveaxis(value, 1, 0).reshape(value.shape[1], -1))
    every = np.concatenate(seen, axis=1)
    assert np.ptp(every[silent]) < 1e-7 * max(1.0, np.abs(every[silent]).max()) or code == "GN203"
    if code == "GN203":
        assert np.abs(every[silent]).max() < 1e-7
    assert (np.ptp(every[others], axis=1) > 0).any()


def test_negative_weights_after_relu_need_no_declared_range(tmp_path: Path) -> None:
    weights = {"w": W, "b": np.zeros(6, np.float32), "v": normal(5, 6), "c": normal(5)}
    weights["v"][3] = -np.abs(weights["v"][3])
    weights["c"][3] = -0.01
    nodes = [op("Gemm", "x w b", "h", transB=1), op("Relu", "h", "r"), op("Gemm", "r v c", "g", transB=1),
             op("Relu", "g", "y")]  # fmt: skip
    _saved(tmp_path / "m.onnx", nodes, weights, [8])
    assert [(each.code, each.neurons) for each in _findings(tmp_path / "m.onnx", {})] == [("GN203", (3,))]
    weights["c"][3] = 0.01
    _saved(tmp_path / "m.onnx", nodes, weights, [8])
    assert _findings(tmp_path / "m.onnx", {}) == []


@pytest.mark.parametrize("reader", ["output", "op"])
def test_neurons_that_are_also_heard_elsewhere_are_not_silent(reader: str, tmp_path: Path) -> None:
    nodes, weights, shape, _ = CASES["Relu"]
    more = [] if reader == "output" else [op("Neg", "h", "z")]
    made = _saved(tmp_path / "m.onnx", [*nodes, *more], weights, shape)
    if reader == "output":
        made.graph.output.append(helper.make_tensor_value_info("h", TensorProto.FLOAT, None))
        onnx.save(made, tmp_path / "m.onnx")
    assert _findings(tmp_path / "m.onnx", UNIT) == []


def test_a_neuron_has_to_be_silent_wherever_it_stands(tmp_path: Path) -> None:
    nodes = [op("Gemm", "x w", "h", transB=1), op("Tile", "h twice", "t"), op("Add", "t b", "a"), op("Relu", "a", "y")]
    bias = np.zeros(12, np.float32)
    bias[[2, 5]] = bias[[8, 9]] = -100
    _saved(tmp_path / "m.onnx", nodes, {"w": W, "twice": np.array([1, 2]), "b": bias}, [8])
    assert [each.neurons for each in _findings(tmp_path / "m.onnx", UNIT)] == [(2,)]


def test_sizes_of_dynamic_dimensions_prove_nothing(tmp_path: Path) -> None:
    nodes = [op("InstanceNormalization", "x g b", "n"), op("Conv", "n k c", "h"), op("Relu", "h", "y")]
    weights = {"g": np.ones(3, np.float32), "b": np.zeros(3, np.float32), "k": K, "c": np.full(6, -1e4, np.float32)}
    made = _saved(tmp_path / "m.onnx", nodes, weights, [3, 5, 5])
    assert [each.neurons for each in _findings(tmp_path / "m.onnx", {})] == [tuple(range(6))]
    for axis in (2, 3):
        made.graph.input[0].type.tensor_type.shape.dim[axis].dim_param = "side"
    onnx.save(made, tmp_path / "m.onnx")
    # A thousand pixels can be further from their mean than five.
    assert _findings(tmp_path / "m.onnx", {}) == []


def _network() -> Any:
    torch = pytest.importorskip("torch")
    from torch import nn
    from torch.nn import functional

    class Network(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.stem = nn.Conv2d(3, 8, 3, padding=1)
            self.norm = nn.BatchNorm2d(8)
            self.body = nn.Conv2d(8, 8, 3, groups=2, padding="same")
            self.up = nn.ConvTranspose2d(8, 4, 2, stride=2)
            self.head = nn.Linear(4, 6)
            self.last = nn.Linear(6, 4)

        def forward(self, x: Any) -> Any:
            h = torch.relu(self.norm(self.stem(x)))
            h = functional.hardtanh(self.body(h), 0.0, 6.0)
            h = functional.hardswish(self.up(h)).mean((2, 3))
            h = functional.elu(torch.addmm(self.head.bias, h, self.head.weight.t()) * 2 - 1)
            one, two = torch.cat([h, h[:, 1:3]], 1).chunk(2, 1)
            h = functional.gelu(one) + torch.sigmoid(two).clamp(0.1, 0.8)
            return torch.tanh(self.last(functional.pad(h, (0, 2)))).transpose(0, 1)

    torch.manual_seed(0)
    network = Network().eval()
    with torch.no_grad():
        network.norm.running_var.uniform_(0.5, 2)
        network.norm.running_mean.uniform_(-1, 1)
        # For inputs in [0, 1] the largest is below zero.
        rows = network.stem.weight[5].clamp(min=0)
        network.stem.bias[5] = -rows.sum() - 20
    return torch, network


@pytest.mark.parametrize("how", ["export", "fx"])
def test_proofs_about_traced_models_hold_when_they_run(how: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    torch, network = _network()
    x = torch.zeros(2, 3, 6, 6)
    graph = graphneurons.trace(network, x, how=how)
    chosen = parse_policy({"select": ["GN203"], **UNIT}, "policy")
    findings = run(Subject(graphneurons.analyze(graph), chosen)).findings
    # A module of torch.nn does not say its epsilon to torch.fx.
    assert [(each.layer, each.neurons) for each in findings] == ([("stem", (5,))] if how == "export" else [])
    monkeypatch.setattr(ranges, "_needed", lambda graph: {each.name for each in graph.ops})
    walk = ranges.walked(graphneurons.analyze(graph), {"x": (0.0, 1.0)})
    assert walk is not None
    made = torch.export.export(network, (x,)).module() if how == "export" else torch.fx.symbolic_trace(network)
    seen: dict[str, list[Any]] = {}

    class Recorder(torch.fx.Interpreter):  # type: ignore[misc]
        def run_node(self, node: Any) -> Any:
            value = super().run_node(node)
            if isinstance(value, torch.Tensor) and node.op != "get_attr":
                seen.setdefault(node.name, []).append(value.detach().numpy().astype(np.float64))
            return value

    for _ in range(20):
        Recorder(made).run((torch.rand(2, 3, 6, 6) > 0.5).float())
    told = 0
    for name, values in seen.items():
        known = walk.known.get(name)
        for value in values if known is not None else ():
            assert value.shape == known.shape, name
            assert (value >= np.broadcast_to(known.low, value.shape)).all(), name
            assert (value <= np.broadcast_to(known.high, value.shape)).all(), name
            told += 1
    assert told > 20 * (14 if how == "export" else 1)

"""What does not fit, from end to end: one line that says which and what was expected, for ONNX models and PyTorch's."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from onnx import numpy_helper, parser
from torch import nn

import graphneurons
from graphneurons.errors import DataError, GraphNeuronsError, LoadError, UsageError

ROWS = 40
RNG = np.random.default_rng(6)
X = RNG.standard_normal((ROWS, 6)).astype(np.float32)
Y = X[:, 0] > 0
WEIGHT = RNG.standard_normal((6, 5)).astype(np.float32)
QUICK: dict[str, Any] = {"shuffles": 39, "refits": 20, "folds": 3, "draws": 3, "strength": 1.0}


def built(text: str, **weights: np.ndarray) -> onnx.ModelProto:
    model = parser.parse_model(f'<ir_version: 9, opset_import: ["" : 17]>\n{text}')
    model.graph.initializer.extend(numpy_helper.from_array(array, name) for name, array in weights.items())
    return model


def plain() -> onnx.ModelProto:
    return built("g (float[batch, 6] x) => (float y) { layer = MatMul(x, w) y = Relu(layer) }", w=WEIGHT)


def two() -> onnx.ModelProto:
    return built("g (float[batch, 6] x, float[batch, 6] more) => (float y) { s = Add(x, more) layer = MatMul(s, w) "
                 "y = Relu(layer) }", w=WEIGHT)  # fmt: skip


def roots() -> onnx.ModelProto:
    """NaN where a sum is below 0."""
    text = "g (float[batch, 6] x) => (float y) { s = MatMul(x, e) r = Sqrt(s) layer = MatMul(r, w) y = Relu(layer) }"
    return built(text, w=WEIGHT, e=np.eye(6, dtype=np.float32))


class Plain(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(6, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.relu(self.layer(x))


def spoiled(value: float) -> np.ndarray:
    found = X.copy()
    found[7, 2] = value
    return found


NAN = (
    "neuron 0 puts out NaN for row 7 of the data (5 neurons and 1 rows in all are not finite); check the data, or "
    "leave these rows out"
)
Case = tuple[Callable[[], Any], Any, Any, Mapping[str, Any], type[GraphNeuronsError], str]
REFUSED: dict[str, Case] = {
    "too few labels": (
        plain, X, {"loop": Y[:-1]}, {}, UsageError,
        "label 'loop' has 39 values; the data have 40 rows: expected one label per row",
    ),
    "too many labels of the second concept": (
        plain, {"x": X}, {"loop": Y, "stroke": np.r_[Y, True]}, {}, UsageError,
        "label 'stroke' has 41 values; the data have 40 rows: expected one label per row",
    ),
    "a label per position": (
        plain, X, {"loop": np.stack([Y, Y], 1)}, {}, UsageError,
        "label 'loop' has shape [40, 2]; expected one label per row of the data: [rows]",
    ),
    "one class": (
        plain, X, np.ones(ROWS, int), {}, UsageError,
        "label 'label' is 1 in all 40 rows; expected at least two different",
    ),
    "one class but for two rows": (
        plain, X, {"rare": np.arange(ROWS) < 2}, {}, UsageError,
        "label 'rare': class 'True' is in 2 rows; 3 folds need at least 3 of every class: more data, or fewer folds",
    ),
    "labels that are NaN": (plain, X, {"age": np.r_[np.nan, X[1:, 0]]}, {}, UsageError, "label 'age' is nan in row 0"),
    "groups": (plain, X, Y, {"groups": np.arange(39)}, UsageError, "groups have shape [39]; the data have 40 rows"),
    "NaN in the data": (plain, spoiled(np.nan), Y, {}, DataError, NAN),
    "infinity in the data": (plain, spoiled(np.inf), Y, {}, DataError, "puts out infinity for row 7 of the data (2"),
    "NaN from within": (roots, np.abs(X) * np.where(np.arange(ROWS) == 7, -1, 1)[:, None], Y, {}, DataError, NAN),
    "NaN in the untrained copy": (
        roots, np.abs(X), Y, {}, DataError,
        "in the untrained copy neuron 0 puts out NaN for row 0 of the data (5 neurons and 39 rows in all are not "
        "finite); do without that control (untrained=False)",
    ),
    "features": (
        plain, X[:, :5], Y, {}, UsageError,
        "input 'x' takes float32 [batch, 6]; the data have rows of shape [5] (give arrays with the rows first)",
    ),
    "rank": (
        plain, X[:, None], Y, {}, UsageError, "input 'x' takes float32 [batch, 6]; the data have rows of shape [1, 6]",
    ),
    "name": (two, {"x": X, "mroe": X}, Y, {}, UsageError, "no input is called 'mroe'; near it are more"),
    "an input too few": (
        two, {"x": X}, Y, {}, UsageError,
        "no data for input 'more', which the layer depends on; it takes float32 [batch, 6]",
    ),
    "rows of two inputs": (
        two, {"x": X, "more": X[:9]}, Y, {}, UsageError,
        "the inputs have different numbers of rows: x has 40, more has 9",
    ),
    "type": (plain, X.astype(str), Y, {}, UsageError, "the data of input 'x' are <U32; it takes float32 [batch, 6]"),
    "a module's features": (Plain, X[:, :5], Y, {}, LoadError, "PyTorch cannot trace it (RuntimeError: a and b must"),
    "a module's names": (Plain, {"y": X, "z": X}, Y, {}, UsageError, "<Plain>: no input is called 'y'; near it are x"),
    "a module's NaN": (Plain, spoiled(np.nan), Y, {}, DataError, "<Plain>: layer: " + NAN),
    "a module's labels": (Plain, X, Y[:3], {}, UsageError, "label 'label' has 3 values; the data have 40 rows"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_refused_is_said_in_one_line(name: str) -> None:
    make, data, labels, options, kind, words = REFUSED[name]
    with pytest.raises(kind, match=re.escape(words)) as caught:
        graphneurons.probe(make(), "layer", data, labels, **QUICK, **options)
    assert type(caught.value) is kind
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("how", ["onnx", "torch"])
def test_neurons_that_never_move_are_told_and_the_others_are_found(how: str) -> None:
    """A neuron that is never above its threshold, and one that reads nothing."""
    weight, bias = np.zeros((6, 5), np.float32), np.array([0, -100, 0.25, 0, 0], np.float32)
    weight[0, 3], weight[1:, 4], weight[2:, 0], weight[1, 1] = 1, 0.2, -0.3, 1
    model: Any = built("g (float[batch, 6] x) => (float y) { layer = MatMul(x, w) s = Add(layer, b) y = Relu(s) }",
                       w=weight, b=bias)  # fmt: skip
    if how == "torch":
        model = Plain()
        with torch.no_grad():
            model.layer.weight.copy_(torch.from_numpy(weight.T))
            model.layer.bias.copy_(torch.from_numpy(bias))
    report = graphneurons.probe(model, "layer", X, Y, **QUICK, untrained=False)
    singles = {one.neuron: one for one in report.concept().singles}
    assert singles[1].verdict.reason == "constant: 0 on all 40 samples"
    assert singles[2].verdict.reason == "constant: 0.25 on all 40 samples"
    assert [neuron for neuron, one in sorted(singles.items()) if one.verdict.carries] == [3]
    weights = report.concept().probes[0].weights
    assert weights is not None
    assert np.isfinite(weights).all()
    assert not weights[0, [1, 2]].any()


class Stop(Exception):  # noqa: N818 - what a caller may raise to end it
    pass


@pytest.mark.parametrize("at", [1, 150, 400, 900])
def test_what_progress_raises_ends_it_at_any_stage(at: int) -> None:
    """While the model runs, while its untrained copy does, and while probes are learned."""

    def show(done: int, total: int) -> None:
        if done >= at:
            raise Stop

    with pytest.raises(Stop):
        graphneurons.probe(plain(), "layer", X, Y, batch=4, progress=show, **QUICK)


@pytest.mark.parametrize("methods", [("single",), ("linear", "nonlinear"), ("single", "linear", "nonlinear")])
def test_progress_goes_up_to_all_of_it(methods: tuple[Any, ...]) -> None:
    steps: list[int] = []
    totals: set[int] = set()

    def show(done: int, total: int) -> None:
        steps.append(done)
        totals.add(total)

    graphneurons.probe(plain(), "layer", X, {"a": Y, "b": X[:, 1]}, batch=4, methods=methods, progress=show, **QUICK)
    assert totals == {1000}
    assert steps == sorted(steps)
    assert steps[0] <= 10
    assert steps[-1] == 1000
    running, copied, learned = ([step for step in steps if low < step <= high] for low, high in
                                ((0, 100), (100, 200), (200, 1000)))  # fmt: skip
    assert (len(running), len(copied)) == (ROWS // 4, ROWS // 4)
    assert len(set(learned)) >= 5
    assert max(np.diff(sorted(set(steps)))) <= 400, "no step takes most of it"


def test_a_refused_probe_leaves_no_file_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DataError):
        graphneurons.probe(plain(), "layer", spoiled(np.nan), Y, **QUICK)
    assert list(tmp_path.iterdir()) == []

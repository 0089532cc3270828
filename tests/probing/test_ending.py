"""The last place of a recurrent layer is its final state: PyTorch's ``h_n``, of both directions."""

from __future__ import annotations

import io
import re
import warnings
from contextlib import redirect_stdout
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import numpy_helper, parser
from torch import nn

from graphneurons.errors import UsageError
from graphneurons.probing.collecting import activations

RNG = np.random.default_rng(2)
X = RNG.standard_normal((6, 5, 4)).astype(np.float32)
KINDS: dict[str, type[nn.RNNBase]] = {"lstm": nn.LSTM, "gru": nn.GRU, "rnn": nn.RNN}


class Read(nn.Module):
    def __init__(self, kind: str, both: bool, batch_first: bool) -> None:
        super().__init__()
        self.layer = KINDS[kind](4, 3, bidirectional=both, batch_first=batch_first)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.layer(x)[0]


def final(module: Read, batch_first: bool) -> np.ndarray:
    """(rows, directions * units): forward units first."""
    given = torch.from_numpy(X if batch_first else X.swapaxes(0, 1).copy())
    with torch.no_grad():
        states = module.layer(given)[1]
    states = states[0] if isinstance(states, tuple) else states
    return states.transpose(0, 1).flatten(1).numpy()


@pytest.mark.parametrize(
    ("kind", "both", "batch_first", "how"),
    [
        ("lstm", True, True, "torch"),
        ("lstm", True, False, "legacy"),
        ("gru", True, True, "legacy"),
        ("gru", True, False, "torch"),
        ("rnn", True, True, "legacy"),
        ("gru", False, True, "legacy"),
        ("lstm", False, False, "torch"),
    ],
)
def test_the_last_place_is_the_final_state(kind: str, both: bool, batch_first: bool, how: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    module = Read(kind, both, batch_first).eval()
    model: nn.Module | Path = module
    if how == "legacy":
        model = tmp_path / "model.onnx"
        example = torch.zeros(2, 5, 4) if batch_first else torch.zeros(5, 2, 4)
        dynamic = {"x": {0 if batch_first else 1: "batch"}}
        with warnings.catch_warnings(), redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            torch.onnx.export(module, (example,), str(model), dynamo=False, input_names=["x"], dynamic_axes=dynamic)
    got = activations(model, "layer", X, pooling="last", batch=4)
    np.testing.assert_allclose(got.values, final(module, batch_first), atol=1e-6)


def built(direction: str, lengths: str = "") -> onnx.ModelProto:
    model = parser.parse_model(f"""<ir_version: 9, opset_import: ["" : 17]>
        g (float[5, N, 4] x{", int32[N] lengths" if lengths else ""}) => (float[5, 1, N, 3] y) {{
            y = GRU<hidden_size = 3, direction = "{direction}">(x, w, r, b{", lengths" if lengths else ""}) }}""")
    random = np.random.default_rng(1)
    for name, shape in (("w", (1, 9, 4)), ("r", (1, 9, 3)), ("b", (1, 18))):
        model.graph.initializer.append(numpy_helper.from_array(random.normal(size=shape).astype(np.float32), name))
    return model


def test_a_layer_that_only_runs_backwards_ends_at_the_first_place() -> None:
    kept = activations(built("reverse"), "y", X, pooling="keep").values.reshape(6, 5, 3)
    last = activations(built("reverse"), "y", X, pooling="last").values
    np.testing.assert_array_equal(last, kept[:, 0])
    forward = activations(built("forward"), "y", X[:, ::-1], pooling="last").values
    np.testing.assert_allclose(last, forward, atol=1e-6)


def test_sequences_that_end_at_different_steps_have_no_last_place() -> None:
    given = {"x": X, "lengths": np.array([5, 3, 5, 2, 1, 5])}
    words = "GRU ends each sequence where 'lengths' says, so that its last place need not be its last step; choose mean"
    with pytest.raises(UsageError, match=re.escape(words)):
        activations(built("forward", "lengths"), "y", given, pooling="last")
    assert activations(built("forward", "lengths"), "y", given, pooling="max").values.shape == (6, 3)

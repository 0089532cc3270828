"""Pooling, batches and progress; and what is said of data, layers and models that do not fit."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import numpy_helper, parser

from graphneurons.analyzing import analyze
from graphneurons.errors import DataError, GraphNeuronsError, UsageError
from graphneurons.probing import collecting
from graphneurons.probing.collecting import activations
from graphneurons.probing.feeding import ONLY, read_data

RNG = np.random.default_rng(11)
WEIGHT = RNG.standard_normal((4, 5)).astype(np.float32)
BIAS = RNG.standard_normal(5).astype(np.float32)
X = RNG.standard_normal((70, 3, 4)).astype(np.float32)
AFTER = np.maximum(X @ WEIGHT + BIAS, 0)


def built(text: str, **weights: np.ndarray) -> onnx.ModelProto:
    model = parser.parse_model(f'<ir_version: 9, opset_import: ["" : 17, "local" : 1, "com.microsoft" : 1]>\n{text}')
    model.graph.initializer.extend(numpy_helper.from_array(array, name) for name, array in weights.items())
    return model


def linear(shape: str = "float[N, T, 4]", more: str = "", inputs: str = "") -> onnx.ModelProto:
    text = f"""g ({shape} x{inputs}) => (float y) {{
        up = MatMul(x, w) {more}
        sum = Add(up, b)
        y = Relu(sum)
    }}"""
    return built(text, w=WEIGHT, b=BIAS)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    found = tmp_path / "model.onnx"
    found.write_bytes(linear().SerializeToString())
    return found


@pytest.mark.parametrize(
    ("pooling", "wanted"),
    [
        ("mean", AFTER.mean(1)),
        ("max", AFTER.max(1)),
        ("last", AFTER[:, -1]),
        ("keep", AFTER.reshape(-1, 5)),
    ],
)
def test_pooling(path: Path, pooling: Any, wanted: np.ndarray) -> None:
    got = activations(path, "up", X, pooling=pooling)
    np.testing.assert_allclose(got.values, wanted, rtol=1e-5, atol=1e-6)
    assert got.values.dtype == np.float32
    assert got.rows.tolist() == np.repeat(np.arange(70), 3 if pooling == "keep" else 1).tolist()
    assert (got.layer, got.value, got.after, got.pooling) == ("MatMul_0", "y", "Relu", pooling)


def test_before_is_the_sum_with_its_bias(path: Path) -> None:
    got = activations(path, "up", X, after=False, pooling="keep")
    np.testing.assert_allclose(got.values, (X @ WEIGHT + BIAS).reshape(-1, 5), rtol=1e-5, atol=1e-6)
    assert (got.value, got.after) == ("sum", None)


@pytest.mark.parametrize("batch", [None, 1, 2, 7, 70, 1000])
def test_the_size_of_batches_changes_nothing(path: Path, batch: int | None) -> None:
    calls: list[tuple[int, int]] = []
    got = activations(path, "up", X, batch=batch, progress=lambda done, total: calls.append((done, total)))
    np.testing.assert_allclose(got.values, AFTER.mean(1), rtol=1e-5, atol=1e-6)
    assert calls[-1] == (70, 70)
    assert [done for done, _ in calls] == sorted({done for done, _ in calls})
    assert len(calls) == -(-70 // min(batch or 32, 70))


def test_the_same_bytes_every_time(path: Path) -> None:
    one, other = (activations(path, "up", X) for _ in range(2))
    assert one.values.tobytes() == other.values.tobytes()


def test_an_interrupt_ends_it(path: Path) -> None:
    def interrupt(done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        activations(path, "up", X, progress=interrupt)


@pytest.mark.parametrize("rows", [1, 3, 4, 5, 9])
def test_a_batch_that_the_file_fixes(rows: int) -> None:
    got = activations(linear("float[4, 3, 4]"), "up", X[:rows], pooling="keep")
    np.testing.assert_allclose(got.values, AFTER[:rows].reshape(-1, 5), rtol=1e-5, atol=1e-6)
    assert got.notices == ()


def test_an_analysis_and_an_array_of_any_name(path: Path) -> None:
    analysis = analyze(path)
    for data in (X, {"x": X}, {"arr_0": X.astype(np.float64)}):
        got = activations(analysis, analysis.layers[0].id, data)
        np.testing.assert_allclose(got.values, AFTER.mean(1), rtol=1e-5, atol=1e-6)


def test_a_row_that_the_model_puts_before_all_others() -> None:
    """It is no one's, and with every row there is one."""
    text = """g (float[N, 3, 4] x) => (float y) {
        n = Constant<value_ints = [1, 3, 4]> () o = Constant<value = float[1] {1}> () e = Expand(o, n)
        c = Concat<axis = 0>(e, x) y = MatMul(c, w) }"""
    got = activations(built(text, w=WEIGHT), "y", X[:5], pooling="keep")
    assert got.notices == (
        "rows are run one by one: it does not depend on the rows of the data everywhere",
    )
    np.testing.assert_allclose(got.values.reshape(5, 2, 3, 5)[:, 1], X[:5] @ WEIGHT, rtol=1e-4, atol=1e-5)


CENTRED = """g ({shape} x) => (float y) {{ mean = ReduceMean<axes = [0], keepdims = 1> (x) c = Sub(x, mean)
    y = MatMul(c, w) }}"""


def test_rows_are_not_laid_along_the_second_axis_where_the_first_is_called_the_batch() -> None:
    """What is mixed along it are rows then; else it may be the time."""
    alone = activations(built(CENTRED.format(shape="float[batch, 3, 4]"), w=WEIGHT), "y", X[:5])
    assert alone.notices == ("rows are run one by one: in one batch they change each other's activations",)
    assert not alone.values.any(), "less itself"
    got = activations(built(CENTRED.format(shape="float[T, rows, 4]"), w=WEIGHT), "y", X[:5], pooling="keep")
    wanted = (X[:5] - X[:5].mean(1, keepdims=True)) @ WEIGHT
    np.testing.assert_allclose(got.values, wanted.reshape(-1, 5), rtol=1e-4, atol=1e-5)
    assert got.notices == (
        "rows are laid along the second axis of 'x': along the first they cannot be told apart",
    )
    named = activations(built(CENTRED.format(shape="float[T, batch, 4]"), w=WEIGHT), "y", X[:5], pooling="keep")
    np.testing.assert_array_equal(named.values, got.values)
    assert named.notices == ()


def test_rows_that_change_each_other_are_run_one_by_one() -> None:
    """Dynamic quantization takes its scale from the whole batch."""
    text = """g ({shape} x) => (float y) {{
        q, s, z = DynamicQuantizeLinear(x)
        i = MatMulInteger(q, w, z)
        f = Cast<to = 1>(i)
        y = Mul(f, s)
    }}"""
    whole = RNG.integers(-100, 100, (4, 5)).astype(np.int8)
    data = X[:5, 0] * np.array([[1], [2], [30], [4], [50]], np.float32)
    one = activations(built(text.format(shape="float[N, 4]"), w=whole), "i", data)
    assert one.notices == ("rows are run one by one: in one batch they change each other's activations",)
    np.testing.assert_allclose(one.values, data @ whole, rtol=0.05, atol=np.abs(data).max(1).min() * 10)
    assert one.value == "y"
    fixed = activations(built(text.format(shape="float[3, 4]"), w=whole), "i", data)
    assert fixed.notices == ("batches are copies of one row: in one batch they change each other's activations",)
    np.testing.assert_allclose(fixed.values, one.values, rtol=1e-6)


def test_a_model_that_runs_on_one_row_only() -> None:
    """Its batch is dynamic by name, and fixed to one by a reshape inside."""
    text = """g (float[batch, 3, 4] x) => (float y) {
        s = Constant<value_ints = [1, 3, 4]> () r = Reshape(x, s) up = MatMul(r, w) sum = Add(up, b) y = Relu(sum) }"""
    got = activations(built(text, w=WEIGHT, b=BIAS), "up", X[:4])
    np.testing.assert_allclose(got.values, AFTER[:4].mean(1), rtol=1e-5, atol=1e-6)
    assert got.notices
    assert "one by one" in got.notices[0]


def test_a_reshape_that_puts_rows_into_the_sequence() -> None:
    """Traced with a batch of one, a model lays the rows of a larger batch one after the other and mixes them."""
    text = """g (float[batch, 3, 4] x) => (float y) {
        s = Constant<value_ints = [1, -1, 4]> () r = Reshape(x, s)
        t = Transpose<perm = [0, 2, 1]>(r) m = MatMul(r, t) p = Softmax(m) v = MatMul(p, r)
        up = MatMul(v, w) sum = Add(up, b) y = Relu(sum) }"""
    got = activations(built(text, w=WEIGHT, b=BIAS), "up", X[:4], pooling="keep")
    scores = np.exp(X[:4] @ X[:4].transpose(0, 2, 1))
    mixed = scores / scores.sum(-1, keepdims=True) @ X[:4]
    np.testing.assert_allclose(got.values, np.maximum(mixed @ WEIGHT + BIAS, 0).reshape(-1, 5), rtol=1e-4, atol=1e-5)
    assert "one by one" in got.notices[0]


def test_an_input_that_is_one_number_is_shared_by_all_rows() -> None:
    model = built("g (float[N, 4] x, float k) => (float y) { h = Mul(x, k) y = MatMul(h, w) }", w=WEIGHT)
    del model.graph.input[1].type.tensor_type.shape.dim[:]
    model.graph.input[1].type.tensor_type.shape.SetInParent()
    got = activations(model, "y", {"x": X[:, 0], "k": np.float64(3)})
    np.testing.assert_allclose(got.values, 3 * X[:, 0] @ WEIGHT, rtol=1e-4, atol=1e-5)


def test_quantized_formats_agree() -> None:
    scale, zero = np.float32(0.05), np.uint8(128)
    whole = RNG.integers(-100, 100, (4, 5)).astype(np.int8)
    stored = {"w": whole, "ws": np.float32(0.01), "wz": np.int8(0), "s": scale, "z": zero}
    data = np.clip(X[:9, 0], -2, 2)
    operators = """g (float[N, 4] x) => (uint8 y) {
        q = QuantizeLinear(x, s, z) y = QLinearMatMul(q, s, z, w, ws, wz, s, z) }"""
    pairs = """g (float[N, 4] x) => (float y) {
        q = QuantizeLinear(x, s, z) d = DequantizeLinear(q, s, z) v = DequantizeLinear(w, ws, wz)
        m = MatMul(d, v) o = QuantizeLinear(m, s, z) y = DequantizeLinear(o, s, z) }"""
    one = activations(built(operators, **stored), "y", data)
    other = activations(built(pairs, **stored), "m", data)
    np.testing.assert_allclose(one.values, data @ (whole * 0.01), atol=0.3)
    np.testing.assert_allclose(one.values, other.values, atol=0.051)
    assert other.value == "y"
    assert activations(built(pairs, **stored), "m", data, after=False).value == "m"


def test_data_files(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", x=X, y=X[:2])
    assert sorted(read_data(tmp_path / "a.npz")) == ["x", "y"]
    np.save(tmp_path / "a.npy", X)
    assert read_data(tmp_path / "a.npy")[ONLY].shape == X.shape
    np.save(tmp_path / "pickle.npy", np.array([{}], dtype=object), allow_pickle=True)
    np.savez(tmp_path / "pickle.npz", x=np.array([{}], dtype=object))
    (tmp_path / "text.npz").write_text("no archive")
    (tmp_path / "empty.npz").write_bytes(b"")
    (tmp_path / "cut.npz").write_bytes((tmp_path / "a.npz").read_bytes()[:200])
    for name, words in {
        "pickle.npy": "pickles, which are never opened",
        "pickle.npz": "pickles, which are never opened",
        "text.npz": "no .npz or .npy file",
        "empty.npz": "no .npz or .npy file",
        "cut.npz": "no .npz or .npy file",
        "missing.npz": "no such file",
        ".": "cannot be read",
    }.items():
        with pytest.raises(DataError, match=re.escape(words)) as caught:
            read_data(tmp_path / name)
        assert "\n" not in str(caught.value)


NAN = X.copy()
NAN[17, 1, 2] = np.nan


def experts() -> onnx.ModelProto:
    return built(
        """g (float[N, 4] x, int64[N] which) => (float y) {
            p = Gather(stack, which) a = Unsqueeze(x, one) m = MatMul(a, p) y = Relu(m) }""",
        stack=RNG.standard_normal((3, 4, 5)).astype(np.float32),
        one=np.array([1]),
    )


def unknown_op() -> onnx.ModelProto:
    return built("g (float[N, 4] x) => (float y) { h = local.Strange(x) y = MatMul(h, w) }", w=WEIGHT)


def no_kernel() -> onnx.ModelProto:
    return built("g (float[N, 4] x) => (float y) { y = com.microsoft.GemmFastGelu(x, w) }", w=WEIGHT)


def two_inputs() -> onnx.ModelProto:
    return built("g (float[N, 4] first, float[N, 4] second) => (float y) { h = Add(first, second) y = MatMul(h, w) }",
                 w=WEIGHT)  # fmt: skip


def attention() -> onnx.ModelProto:
    return built(
        "g (float[N, 3, 4] x) => (float y) { y = com.microsoft.Attention<num_heads = 2>(x, qkv, qb) }",
        qkv=RNG.standard_normal((4, 12)).astype(np.float32),
        qb=np.zeros(12, np.float32),
    )


def recurrent(shape: str = "float[5, 2, 4]") -> onnx.ModelProto:
    return built(
        f"g ({shape} x) => (float y) {{ y = LSTM<hidden_size = 2>(x, w, r) }}",
        w=RNG.standard_normal((1, 8, 4)).astype(np.float32),
        r=RNG.standard_normal((1, 8, 2)).astype(np.float32),
    )


IMAGES = """g (float[N, 2, 6, 6] x) => (float y) { y = Conv(x, k) }"""


def convolution() -> onnx.ModelProto:
    return built(IMAGES, k=RNG.standard_normal((3, 2, 3, 3)).astype(np.float32))


ONES = {"first": X[:, 0], "second": X[:, 0]}
REFUSED: dict[str, tuple[Callable[[], Any], str, Any, Mapping[str, Any], type[GraphNeuronsError], str]] = {
    "no such layer": (linear, "upp", X, {}, UsageError, "no layer is called 'upp'; there are MatMul_0"),
    "a layer like it": (linear, "MatMul", X, {}, UsageError, "no layer is called 'MatMul'; near it are MatMul_0"),
    "no such pooling": (linear, "up", X, {"pooling": "sum"}, UsageError, "choose one of mean, max, last, keep"),
    "no batch": (linear, "up", X, {"batch": 0}, UsageError, "batch=0; give 1 or more"),
    "unknown input": (
        two_inputs, "y", {"first": X, "secnd": X}, {}, UsageError, "no input is called 'secnd'; near it are second",
    ),
    "missing input": (
        two_inputs, "y", {"first": X}, {}, UsageError,
        "no data for input 'second', which the layer depends on; it takes float32 [N, 4]",
    ),
    "an array without a name": (two_inputs, "y", X, {}, UsageError, "depends on 2 inputs: first, second; give a"),
    "numbers of rows": (
        two_inputs, "y", {**ONES, "second": X[:9, 0]}, {}, UsageError,
        "different numbers of rows: first has 70, second has 9",
    ),
    "rank": (
        linear, "up", X[:, 0], {}, UsageError,
        "input 'x' takes float32 [N, T, 4]; the data have rows of shape [4] (give arrays with the rows first)",
    ),
    "shape": (
        linear, "up", X[:, :, :3], {}, UsageError,
        "input 'x' takes float32 [N, T, 4]; the data have rows of shape [3, 3]",
    ),
    "a number": (linear, "up", np.float32(3), {}, UsageError, "the data of input 'x' are one number; rows come first"),
    "no rows": (linear, "up", X[:0], {}, UsageError, "the data of input 'x' have no rows"),
    "no layers": (
        lambda: built("g (float[N, 4] x) => (float y) { y = Relu(x) }"), "y", X, {}, UsageError,
        "no layer is called 'y'; the model has no layers",
    ),
    "text": (linear, "up", np.array([["a"]]), {}, UsageError, "the data of input 'x' are <U1; it takes float32"),
    "floats for integers": (
        experts, "m", {"x": X[:, 0], "which": X[:, 0, 0]}, {}, UsageError,
        "the data of input 'which' are float32; it takes int64 [N], to which they cannot be cast without loss",
    ),
    "too large": (
        linear, "up", np.lib.stride_tricks.as_strided(X, (1 << 20, 1 << 10, 4), (0, 0, 4)), {"pooling": "keep"},
        UsageError, "1,048,576 rows x 1,024 positions x 5 neurons of 'MatMul_0' take 20.0 GiB, more than the 2 GiB",
    ),
    "no last place": (
        convolution, "y", RNG.standard_normal((5, 2, 6, 6)), {"pooling": "last"}, UsageError,
        "lie along 2 axes (4 x 4), so there is no last one; choose mean, max or keep",
    ),
    "NaN": (
        linear, "up", NAN, {}, DataError,
        "neuron 0 puts out NaN for row 17 of the data (5 neurons and 1 rows in all are not finite)",
    ),
    "before of a recurrent op": (
        recurrent, "y", X[:5, :2], {"after": False}, UsageError, "LSTM applies Sigmoid, Tanh itself",
    ),
    "rows in the wrong axis": (
        recurrent, "y", X[:5, :2], {}, UsageError,
        "which axis of the inputs holds the rows cannot be told: LSTM 'LSTM_0' mixes rows of the data; "
        "if it is the second axis of 'x', give rows of shape [5, 4]",
    ),
    "fused attention": (attention, "y", X, {}, UsageError, "mixes what its neurons put out before it can be read"),
    "experts": (experts, "m", {"x": X[:, 0], "which": np.arange(70) % 3}, {}, UsageError, "picks which expert answers"),
    "an op without a rule": (
        unknown_op, "y", X[:, 0], {}, UsageError, "its neurons cannot be read: the shape of what it puts out is not",
    ),
    "an op without a kernel": (
        no_kernel, "y", X[:, 0], {}, DataError, "onnxruntime cannot load it up to this layer: Could not find an impl",
    ),
    "no model": (lambda: 3, "y", X, {}, UsageError, "int is no model; give a path, an Analysis, an nn.Module"),
    "an exported program": (
        lambda: "model.pt2", "y", X, {}, UsageError,
        "model.pt2: an exported program is not run from its file: open it with torch.export.load",
    ),
    "an analysis of a model in memory": (
        lambda: analyze(_loaded(linear())), "up", X, {}, UsageError,
        "<memory>: an analysis does not keep the model it is of; give the model itself",
    ),
}  # fmt: skip


def _loaded(model: onnx.ModelProto) -> Any:
    from graphneurons.load.onnx import load_bytes

    return load_bytes(model.SerializeToString())


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_refused_is_said_in_one_line(name: str) -> None:
    make, layer, data, options, kind, words = REFUSED[name]
    with pytest.raises(kind, match=re.escape(words)) as caught:
        activations(make(), layer, data, **options)
    assert type(caught.value) is kind
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 600


def test_a_runtime_that_fails_says_why_in_one_line() -> None:
    """Token ids beyond the table."""
    model = built("g (int64[N, 3] ids) => (float y) { h = Gather(table, ids) y = MatMul(h, w) }", w=WEIGHT,
                  table=RNG.standard_normal((9, 4)).astype(np.float32))  # fmt: skip
    with pytest.raises(DataError, match=r"onnxruntime cannot run it on ids \[2, 3\]: .*Gather") as caught:
        activations(model, "y", np.full((70, 3), 1000))
    assert "\n" not in str(caught.value)
    assert activations(model, "y", np.full((70, 3), 8, np.int32)).values.shape == (70, 5)


def test_without_onnxruntime(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(UsageError, match=re.escape('pip install "graphneurons[probe]"')):
        activations(path, "up", X)


def test_large_values_are_run_fewer_rows_at_a_time(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("graphneurons.probing.settling.LARGEST_VALUE", 15 * 4)
    calls: list[int] = []
    activations(path, "up", X, progress=lambda done, total: calls.append(done))
    assert calls[:2] == [4, 8]


def test_the_limit_is_on_what_is_kept(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(collecting, "LARGEST", 70 * 5 * 4)
    activations(path, "up", X)
    with pytest.raises(UsageError, match="pool the positions or give fewer rows"):
        activations(path, "up", X, pooling="keep")

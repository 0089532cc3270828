"""What is cut out of an ONNX file, and that nothing outside of it is opened."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper, parser

from graphneurons.analyzing import analyze
from graphneurons.errors import DataError, GraphNeuronsError, LoadError
from graphneurons.probing.collecting import activations
from graphneurons.probing.cutting import Origin, cut
from graphneurons.probing.untrained import draws

RNG = np.random.default_rng(5)
X = RNG.standard_normal((6, 4)).astype(np.float32)
W = {name: RNG.standard_normal((4, 4)).astype(np.float32) for name in ("a", "b", "c")}


def built(text: str, **weights: np.ndarray) -> onnx.ModelProto:
    model = parser.parse_model(f'<ir_version: 9, opset_import: ["" : 17, "local" : 1]>\n{text}')
    model.graph.initializer.extend(numpy_helper.from_array(array, name) for name, array in weights.items())
    return model


def saved(model: onnx.ModelProto, folder: Path) -> Path:
    path = folder / "model.onnx"
    path.write_bytes(model.SerializeToString())
    return path


CHAIN = """g (float[N, 4] x, float[N, 4] other) => (float[N, 4] y, float[N, 4] z) {
    first = MatMul(x, a)
    kept = Relu(first)
    second = MatMul(kept, b)
    y = Add(second, other)
    aside = MatMul(other, c)
    z = Tanh(aside)
}"""


def test_only_what_the_layer_needs_is_kept(tmp_path: Path) -> None:
    path = saved(built(CHAIN, **W), tmp_path)
    analysis = analyze(path)
    part = cut(Origin(str(path)), analysis.graph, "kept")
    model = onnx.ModelProto.FromString(part.filled().model)
    onnx.checker.check_model(_typed(model))
    assert part.inputs == ("x",)
    assert [node.op_type for node in model.graph.node] == ["MatMul", "Relu"]
    assert [tensor.name for tensor in model.graph.initializer] == ["a"]
    assert [value.name for value in (*model.graph.input, *model.graph.output)] == ["x", "kept"]
    assert (model.ir_version, model.opset_import[0].version) == (9, 17)
    got = activations(path, "first", X)
    np.testing.assert_allclose(got.values, np.maximum(X @ W["a"], 0), rtol=1e-5)
    assert (got.value, got.after) == ("kept", "Relu")


def _typed(model: onnx.ModelProto) -> onnx.ModelProto:
    """With the type of the output, which the checker wants and runtimes find out themselves."""
    model.graph.output[0].CopyFrom(helper.make_tensor_value_info("kept", TensorProto.FLOAT, ["N", 4]))
    return model


@pytest.mark.parametrize("long", [False, True])
def test_weights_in_every_kind_of_field(tmp_path: Path, long: bool) -> None:
    """Long ones are cut out while the file is skimmed and come back as they were stored."""
    size = 40 if long else 4
    weight = RNG.standard_normal((4, size)).astype(np.float32)
    model = built("g (float[N, 4] x) => (float[N, M] y) { y = MatMul(x, a) }")
    model.graph.initializer.append(helper.make_tensor("a", TensorProto.FLOAT, weight.shape, weight.reshape(-1)))
    assert model.graph.initializer[0].float_data
    np.testing.assert_allclose(activations(saved(model, tmp_path), "y", X).values, X @ weight, rtol=1e-5)


def test_functions_and_captured_names(tmp_path: Path) -> None:
    model = built(
        """g (float[N, 4] x, bool t) => (float[N, 4] y) {
            w = MatMul(x, a)
            h = local.twice(w)
            y = If (t) <then_branch = yes () => (float[N, 4] p) { p = MatMul(h, b) },
                        else_branch = no () => (float[N, 4] q) { q = MatMul(h, c) }>
        }
        <domain: "local", opset_import: ["" : 17]>
        twice (v) => (u) {
            k = Constant<value = float[4, 4] {1,0,0,0, 0,2,0,0, 0,0,3,0, 0,0,0,4}> ()
            u = MatMul(v, k)
        }""",
        **W,
    )
    path = saved(model, tmp_path)
    analysis = analyze(path)
    inside = next(layer for layer in analysis.layers if layer.weights[0].weight.name not in W)
    got = activations(path, inside.id, {"x": X})
    np.testing.assert_allclose(got.values, X @ W["a"] * [1, 2, 3, 4], rtol=1e-5)
    branch = next(layer for layer in analysis.layers if layer.weights[0].weight.name == "b")
    with pytest.raises(DataError, match=r"cannot be cut in a loop or a branch.*choose a layer outside"):
        activations(path, branch.id, {"x": X, "t": np.ones(6, bool)})


def test_layers_after_a_loop(tmp_path: Path) -> None:
    """Control flow before the layer is kept as it is; how often it runs is told by the model, not by the analysis."""
    model = built(
        """g (float[N, 4] x) => (float[N, 4] y) {
            n = Constant<value_int = 3> ()
            t = Constant<value = bool {1}> ()
            h = Loop (n, t, x) <body = body (int64 i, bool c, float[N, 4] s) => (bool d, float[N, 4] r) {
                d = Identity(c)
                r = MatMul(s, a)
            }>
            y = MatMul(h, b)
        }""",
        **W,
    )
    got = activations(saved(model, tmp_path), "y", X)
    np.testing.assert_allclose(got.values, X @ W["a"] @ W["a"] @ W["a"] @ W["b"], rtol=1e-4)


def external(model: onnx.ModelProto, location: str, folder: Path) -> onnx.ModelProto:
    for tensor in model.graph.initializer:
        stored = tensor.raw_data
        if tensor.name == "a":
            tensor.ClearField("raw_data")
            tensor.data_location = TensorProto.EXTERNAL
            tensor.external_data.add(key="location", value=location)
            tensor.external_data.add(key="length", value=str(len(stored)))
            (folder / "a.bin").write_bytes(stored)
    return model


def test_external_data_is_read_beside_the_model_only(tmp_path: Path) -> None:
    model = built(CHAIN, **W)
    inner = tmp_path / "inner"
    inner.mkdir()
    path = saved(external(model, "a.bin", inner), inner)
    np.testing.assert_allclose(activations(path, "first", X).values, np.maximum(X @ W["a"], 0), rtol=1e-5)
    part = cut(Origin(str(path)), analyze(path).graph, "kept")
    assert b"a.bin" not in part.filled().model
    (inner / "a.bin").unlink()
    with pytest.raises(DataError, match=r"^.*a\.bin: a: the data file cannot be opened"):
        activations(path, "first", X)


@pytest.mark.parametrize("location", ["../a.bin", "/etc/passwd"])
def test_external_data_elsewhere_is_refused(tmp_path: Path, location: str) -> None:
    inner = tmp_path / "inner"
    inner.mkdir()
    path = saved(external(built(CHAIN, **W), location, tmp_path), inner)
    with pytest.raises(LoadError):
        activations(path, "first", X)


def test_a_link_put_there_after_the_analysis_is_not_followed(tmp_path: Path) -> None:
    inner = tmp_path / "inner"
    inner.mkdir()
    path = saved(external(built(CHAIN, **W), "a.bin", inner), inner)
    analysis = analyze(path)
    (inner / "a.bin").rename(tmp_path / "elsewhere.bin")
    (inner / "a.bin").symlink_to(tmp_path / "elsewhere.bin")
    with pytest.raises(GraphNeuronsError, match="goes through a symbolic link"):
        activations(analysis, "first", X)


@pytest.mark.parametrize("seed", [None, 1])
def test_large_weights_are_handed_over_in_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seed: int | None
) -> None:
    """They are no part of the message, whose size is limited; what is computed is the same."""
    wide = {**W, "a": RNG.standard_normal((4, 400)).astype(np.float32), "b": np.ones((400, 4), np.float32)}
    (tmp_path / "outside").mkdir()
    inside = saved(built(CHAIN, **wide), tmp_path)
    outside = saved(external(built(CHAIN, **wide), "a.bin", tmp_path / "outside"), tmp_path / "outside")
    paths = [inside, outside]
    wanted = [activations(path, "second", {"x": X, "other": X}, untrained=seed).values for path in paths]
    monkeypatch.setattr("graphneurons.probing.cutting.LARGE", 1)
    for path, before in zip(paths, wanted, strict=True):
        filled = cut(Origin(str(path)), analyze(path).graph, "second").filled()
        assert {"a", "b"} <= set(filled.apart)
        assert len(filled.model) < 1000
        got = activations(path, "second", {"x": X, "other": X}, untrained=seed)
        np.testing.assert_array_equal(got.values, before)


def test_too_many_weights_for_one_message(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("graphneurons.probing.cutting.LARGEST", 100)
    path = saved(built(CHAIN, **{**W, "a": np.ones((4, 400), np.float32)}), tmp_path)
    with pytest.raises(DataError, match="more than the 2 GiB that fit into one ONNX message; choose an earlier layer"):
        activations(path, "first", X)


def test_a_file_that_was_changed_since_is_not_read(tmp_path: Path) -> None:
    path = saved(built(CHAIN, **W), tmp_path)
    analysis = analyze(path)
    saved(built(CHAIN.replace("kept", "held"), **W, more=np.ones(3)), tmp_path)
    with pytest.raises(LoadError, match="the file has changed since it was analyzed; analyze it again"):
        activations(analysis, "first", X)


def test_models_in_memory(tmp_path: Path) -> None:
    model = built(CHAIN, **W)
    np.testing.assert_allclose(activations(model, "first", X).values, np.maximum(X @ W["a"], 0), rtol=1e-5)


LAYOUTS: dict[str, tuple[str, tuple[int, ...], tuple[int, ...], Any]] = {
    "weight on the left": (
        "g (float[N, 4, 3] x) => (float[N, 5, 3] y) { y = MatMul(w, x) }",
        (5, 4),
        (4, 3),
        lambda x, w: np.einsum("oi,nip->npo", w, x),
    ),
    "transposed output": (
        "g (float[N, 3, 4] x) => (float[5, 3, N] y) { h = MatMul(x, w) y = Transpose<perm = [2, 1, 0]>(h) }",
        (4, 5),
        (3, 4),
        lambda x, w: x @ w,
    ),
    "activation behind a transpose": (
        """g (float[N, 3, 4] x) => (float[5, N, 3] y) {
            h = MatMul(x, w) t = Transpose<perm = [2, 0, 1]>(h) y = Relu(t) }""",
        (4, 5),
        (3, 4),
        lambda x, w: np.maximum(x @ w, 0),
    ),
    "heads": (
        'g (float[N, 3, 4] x) => (float[N, 2, 3, 5] y) { y = Einsum<equation = "npi,ihd->nhpd">(x, w) }',
        (4, 2, 5),
        (3, 4),
        lambda x, w: np.einsum("npi,ihd->nphd", x, w).reshape(*x.shape[:2], 10),
    ),
    "rows and positions in one axis": (
        """g (float[N, 3, 4] x) => (float[M, 5] y) {
            s = Constant<value_ints = [-1, 4]> () h = Reshape(x, s) y = MatMul(h, w) }""",
        (4, 5),
        (3, 4),
        lambda x, w: x @ w,
    ),
    "positions before rows in one axis": (
        """g (float[N, 3, 4] x) => (float[M, 5] y) {
            s = Constant<value_ints = [-1, 4]> () t = Transpose<perm = [1, 0, 2]>(x) h = Reshape(t, s)
            y = MatMul(h, w) }""",
        (4, 5),
        (3, 4),
        lambda x, w: x @ w,
    ),
    "a token put before every row": (
        """g (float[N, 3, 4] x) => (float[N, 4, 5] y) {
            n = Shape<start = 0, end = 1>(x) r = Constant<value_ints = [1, 4]> () s = Concat<axis = 0>(n, r)
            o = Constant<value = float[1] {2}> () e = Expand(o, s) c = Concat<axis = 1>(e, x) y = MatMul(c, w) }""",
        (4, 5),
        (3, 4),
        lambda x, w: np.concatenate([np.full((len(x), 1, 4), 2, np.float32), x], 1) @ w,
    ),
    "a token put before every row, and an axis before rows": (
        """g (float[N, 2, 3, 4] x) => (float[2, N, 4, 5] y) {
            n = Shape<start = 0, end = 1>(x) r = Constant<value_ints = [2, 1, 4]> () s = Concat<axis = 0>(n, r)
            o = Constant<value = float[1] {2}> () e = Expand(o, s) c = Concat<axis = 2>(e, x) h = MatMul(c, w)
            t = Transpose<perm = [1, 0, 2, 3]>(h) y = Relu(t) }""",
        (4, 5),
        (2, 3, 4),
        lambda x, w: np.maximum(np.concatenate([np.full((len(x), 2, 1, 4), 2, np.float32), x], 2) @ w, 0),
    ),
    "batch in the second axis": (
        """g (float[3, N, 4] x) => (float[3, 1, N, 2] y) {
            y = LSTM<hidden_size = 2>(x, w, r) }""",
        (1, 8, 4),
        (3, 4),
        None,
    ),
}


@pytest.mark.parametrize("name", LAYOUTS)
def test_layouts(name: str) -> None:
    text, shape, row, compute = LAYOUTS[name]
    weight = RNG.standard_normal(shape).astype(np.float32)
    more = {"r": np.zeros((1, 8, 2), np.float32)} if "LSTM" in text else {}
    model = built(text, w=weight, **more)
    data = RNG.standard_normal((7, *row)).astype(np.float32)
    got = activations(model, analyze_first(model), data, pooling="keep", batch=3)
    positions = len(got.values) // 7
    assert got.notices == (), "rows are followed, not run one by one"
    np.testing.assert_array_equal(got.rows, np.repeat(np.arange(7), positions))
    for number in range(7):
        alone = activations(model, analyze_first(model), data[number : number + 1], pooling="keep")
        np.testing.assert_allclose(alone.values, got.values[got.rows == number], atol=1e-6)
    if compute is not None:
        wanted = compute(data, weight)
        np.testing.assert_allclose(got.values, wanted.reshape(-1, wanted.shape[-1]), rtol=1e-4, atol=1e-5)


def analyze_first(model: onnx.ModelProto) -> str:
    from graphneurons.load.onnx import load_bytes

    return analyze(load_bytes(model.SerializeToString())).layers[0].id


def test_an_untrained_copy_keeps_all_but_the_weights(tmp_path: Path) -> None:
    path = saved(built(CHAIN, **W), tmp_path)
    analysis = analyze(path)
    part = cut(Origin(str(path)), analysis.graph, "y")
    trained = onnx.ModelProto.FromString(part.filled().model)
    copy = onnx.ModelProto.FromString(part.filled(draws(analysis, 3)).model)
    assert [n.SerializeToString() for n in copy.graph.node] == [n.SerializeToString() for n in trained.graph.node]
    for before, after in zip(trained.graph.initializer, copy.graph.initializer, strict=True):
        assert (before.name, before.dims, before.data_type) == (after.name, after.dims, after.data_type)
        assert before.raw_data != after.raw_data

"""What the pictures claim: every neuron once, every synapse with its own sign, source, size and end."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

import graphneurons
from docs.draw import FIXTURES, model_file
from fixtures.builders import Graph
from graphneurons.views.palette import DARK, LIGHT
from tests.views.drawn import Group, each_engine, groups, of


def weights(model: str) -> dict[str, np.ndarray]:
    graph = onnx.load(FIXTURES / f"{model}.onnx").graph
    return {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}


def check_synapse(edge: Group, value: float, theme: object = LIGHT) -> None:
    sign = "excitatory" if value > 0 else "inhibitory"
    assert sign in edge.classes
    assert edge.has_bar == (value < 0)
    assert edge.colour == getattr(theme, sign)


@each_engine
@pytest.mark.parametrize("theme", ["light", "dark"])
def test_rows(engine: str, theme: str) -> None:
    found = groups(graphneurons.render(FIXTURES / "kv_mlp.onnx", "keys", "rows", theme=theme), engine)
    matrix = weights("kv_mlp")["keys.weight"]
    assert [one.texts for one in of(found, "neuron")] == [[f"k{n}"] for n in range(8)]
    assert [one.texts for one in of(found, "source")] == [[f"x{n}"] for n in range(3)]
    edges = {one.title: one for one in of(found, "synapse")}
    assert set(edges) == {f"s{s}->n{n}" for n in range(8) for s in range(3)}
    for n in range(8):
        for s in range(3):
            check_synapse(edges[f"s{s}->n{n}"], matrix[n, s], DARK if theme == "dark" else LIGHT)
            assert f"x{s} → k{n}: " in edges[f"s{s}->n{n}"].tooltip
    by_size = sorted((abs(matrix[n, s]), edges[f"s{s}->n{n}"].width) for n in range(8) for s in range(3))
    assert [width for _, width in by_size] == sorted(width for _, width in by_size)


@each_engine
def test_pair_in_both_perspectives(engine: str) -> None:
    found = groups(graphneurons.render(FIXTURES / "kv_mlp.onnx", "keys", "pair"), engine)
    first, second = weights("kv_mlp")["keys.weight"], weights("kv_mlp")["values.weight"]
    assert sorted(one.texts[0] for one in of(found, "neuron")) == sorted(
        [f"k{n}" for n in range(8)] + [f"y{n}" for n in range(2)]
    )
    edges = {one.title: one for one in of(found, "synapse")}
    assert len(edges) == first.size + second.size
    for (n, s), value in np.ndenumerate(first):
        check_synapse(edges[f"c0_{s}->c1_{n}"], value)
    for (n, s), value in np.ndenumerate(second):
        check_synapse(edges[f"c1_{s}->c2_{n}"], value)
    assert len(of(found, "weights")) == 2
    assert len(of(found, "vector")) == 3


def test_one_perspective_alone() -> None:
    path = FIXTURES / "kv_mlp.onnx"
    neurons = groups(graphneurons.render(path, "keys", "pair", perspective="neurons"))
    boxes = groups(graphneurons.render(path, "keys", "pair", perspective="weights"))
    assert of(neurons, "synapse")
    assert not of(neurons, "weights")
    assert of(boxes, "weights")
    assert not of(boxes, "synapse")


@each_engine
def test_a_whole_small_network(engine: str) -> None:
    found = groups(graphneurons.render(FIXTURES / "mlp_four_layers.onnx", view="mlp"), engine)
    held = weights("mlp_four_layers")
    assert len(of(found, "neuron")) == 12
    edges = {one.title: one for one in of(found, "synapse")}
    assert len(edges) == 36
    for layer in range(4):
        for (n, s), value in np.ndenumerate(held[f"layers.{layer}.weight"]):
            check_synapse(edges[f"c{layer}_{s}->c{layer + 1}_{n}"], value)


@each_engine
def test_columns_evaluated_at_an_input(engine: str, tmp_path: Path) -> None:
    import onnxruntime

    x = (-1.1, 0.4, -0.8)
    path = FIXTURES / "kv_mlp.onnx"
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    wanted = session.run(None, {"x": np.array([x], np.float32)})[0][0]
    found = groups(graphneurons.render(path, "values", "columns", at=x), engine)
    said = of(found, "result")[0].texts
    assert said == [f"y{n} = {'+' if value > 0 else '−'}{abs(value):.2f}" for n, value in enumerate(wanted)]
    held = weights("kv_mlp")
    keys = np.maximum(held["keys.weight"] @ np.array(x) + held["keys.bias"], 0)
    assert {one.title for one in of(found, "write")} == {f"d{n}->sum" for n in range(8) if keys[n] > 0}
    columns = {one.title: one.texts for one in of(found, "column")}
    assert columns["v4"] == [f"{'+' if v > 0 else '−'}{abs(v):.2f}" for v in held["values.weight"][:, 4]]


@each_engine
def test_kernels(engine: str) -> None:
    found = groups(graphneurons.render(FIXTURES / "conv.onnx", "stem"), engine)
    assert len(of(found, "kernel")) == 12
    assert len(of(found, "neuron")) == 6
    kernel = weights("conv")["stem.weight"][4, 1]
    drawn = next(one for one in of(found, "kernel") if one.id == "kernel-4-1")
    tiles = [tile.get("fill", "") for tile in drawn.element.iter("{http://www.w3.org/2000/svg}polygon")][-9:]
    for fill, value in zip(tiles, kernel.reshape(-1), strict=True):
        red, blue = int(fill[1:3], 16), int(fill[5:7], 16)
        assert (red > blue) == (value > 0), (fill, value)


def test_grouped_kernels_name_their_own_channels() -> None:
    found = groups(graphneurons.render(FIXTURES / "conv.onnx", "grouped", "conv"))
    edges = {one.title for one in of(found, "edge")}
    texts = {one.title: one.texts[0] for one in of(found, "source")}
    for row in range(8):
        group = row // 4
        assert [texts[f"s{row}_{at}"] for at in range(3)] == [f"p{group * 3 + at}" for at in range(3)]
        assert {f"s{row}_{at}->k{row}_{at}" for at in range(3)} <= edges


@each_engine
def test_gates(engine: str) -> None:
    found = groups(graphneurons.render(FIXTURES / "lstm.onnx", "lstm", neurons="4:8"), engine)
    held = weights("lstm")
    rows = np.concatenate([held["lstm.W"][1], held["lstm.R"][1]], axis=1)
    edges = {one.title: one for one in of(found, "synapse")}
    assert len(of(found, "neuron")) == 16
    assert [one.texts for one in of(found, "unit")] == [[f"h{unit}"] for unit in range(4, 8)]
    assert len(edges) == 16 * 7
    for gate in range(4):
        for unit in range(4):
            for s in range(7):
                check_synapse(edges[f"s{s}->g{gate}_{unit}"], rows[gate * 4 + unit, s])
    assert of(found, "loop")
    assert [one.texts[0] for one in of(found, "source")] == ["x0", "x1", "x2", "h4", "h5", "h6", "h7"]


@each_engine
def test_heads_and_who_shares_them(engine: str, tmp_path: Path) -> None:
    found = groups(graphneurons.render(model_file("shared_heads", tmp_path), "attention.q", "attention"), engine)
    edges = {one.title.replace(":e->", "->") for one in of(found, "edge")}
    assert len(of(found, "query")) - len([one for one in of(found, "query") if "->" in one.title]) == 4
    assert {"k0->h0", "k0->h1", "k1->h2", "k1->h3", "v0->h1", "v1->h2"} <= edges
    assert not {"k0->h2", "k1->h1"} & edges
    assert [one.texts[0] for one in of(found, "source")] == ["input decoder", "input encoder"]


@each_engine
def test_the_network_folds_what_repeats(engine: str) -> None:
    found = groups(graphneurons.render(FIXTURES / "transformer.onnx"), engine)
    names = [one.texts[0] for one in of(found, "item")]
    assert names.count("attention.query") == 1
    assert len(of(found, "sum")) == 2
    assert len(of(found, "next")) == 1
    assert len(of(found, "attends")) == 2


@each_engine
def test_a_circuit(engine: str) -> None:
    found = groups(graphneurons.render(FIXTURES / "kv_mlp.onnx", "values:1", top=2), engine)
    analysis = graphneurons.analyze(FIXTURES / "kv_mlp.onnx")
    base = {source.name: source.base for source in analysis.wiring.sources}
    row = weights("kv_mlp")["values.weight"][1]
    order = np.argsort(row)
    wanted = {f"n{base['keys'] + k}->n{base['values'] + 1}" for k in (*order[:2], *order[-2:])}
    edges = {one.title: one for one in of(found, "synapse")}
    assert {title for title in edges if title.endswith(f"->n{base['values'] + 1}")} == wanted
    for k in (*order[:2], *order[-2:]):
        check_synapse(edges[f"n{base['keys'] + k}->n{base['values'] + 1}"], row[k])
    keys = weights("kv_mlp")["keys.weight"]
    for title, edge in edges.items():
        tail, head = (int(end[1:]) for end in title.split("->"))
        if tail >= base["input:x"]:
            check_synapse(edge, keys[head - base["keys"], tail - base["input:x"]])


def test_dead_neurons_are_grey_and_zero_weights_have_no_line(tmp_path: Path) -> None:
    model = onnx.load(FIXTURES / "kv_mlp.onnx")
    for tensor in model.graph.initializer:
        if tensor.name == "keys.weight":
            values = numpy_helper.to_array(tensor).copy()
            values[2], values[5, 1] = 0, 0
            tensor.CopyFrom(numpy_helper.from_array(values, tensor.name))
    path = tmp_path / "dead.onnx"
    onnx.save(model, path)
    drawing = graphneurons.render(path, "keys", "rows")
    found = groups(drawing)
    grey = next(one for one in of(found, "neuron") if one.title == "n2")
    fills = {shape.get("fill") for shape in grey.element.iter("{http://www.w3.org/2000/svg}ellipse")}
    assert fills == {LIGHT.dead}
    assert not [one for one in of(found, "synapse") if one.title.endswith("->n2") or one.title == "s1->n5"]
    assert "dead: all weights 0 (1)" in drawing.svg
    assert "1 synapses of weight 0 have no line" in drawing.svg


def test_heads_of_a_fused_op_and_of_reshapes(tmp_path: Path) -> None:
    graph = Graph("fused")
    weight = graph.weight("attention.weight", 12, 36)
    bias = graph.weight("attention.bias", 36)
    mixed = graph.op("Attention", "attention", "x", weight, bias, domain="com.microsoft", num_heads=3)
    graph.op("MatMul", "y", mixed, graph.weight("out.weight", 12, 12), scope="out")
    model = graph.model({"x": (1, 5, 12)}, "y", (1, 5, 12))
    model.opset_import.append(onnx.helper.make_opsetid("com.microsoft", 1))
    path = tmp_path / "fused.onnx"
    path.write_bytes(model.SerializeToString())
    analysis = graphneurons.analyze(path)
    assert "by head: 3 heads of 4" in graphneurons.render(analysis, analysis.layers[0].id, "attention").dot
    assert "by head: 3 heads of 4" in graphneurons.render(FIXTURES / "gpt_block.onnx", "attn.c_attn", "attention").dot
    assert (
        "by head: 6 heads of 2"
        in graphneurons.render(FIXTURES / "gpt_block.onnx", "attn.c_attn", "attention", heads=6).dot
    )

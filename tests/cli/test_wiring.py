from __future__ import annotations

import json

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper


@pytest.fixture
def model(tmp_path):
    """An MLP with a residual sum and names with colons."""
    nodes = [
        helper.make_node("MatMul", ["x", "fc1.weight"], ["h"], name="/fc1/MatMul"),
        helper.make_node("Relu", ["h"], ["r"], name="/relu"),
        helper.make_node("MatMul", ["r", "onnx::MatMul_7"], ["z:0"], name="/fc2/MatMul"),
        helper.make_node("Add", ["x", "z:0"], ["y"], name="/Add"),
    ]
    weights = [
        numpy_helper.from_array(np.zeros((3, 5), np.float32), "fc1.weight"),
        numpy_helper.from_array(np.zeros((5, 3), np.float32), "onnx::MatMul_7"),
    ]
    graph = helper.make_graph(
        nodes,
        "graph",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 3])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 3])],
        weights,
    )
    path = tmp_path / "mlp.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)]), path)
    return path


def test_overview(cli, model):
    ran = cli("wiring", model)
    assert ran.code == 0
    assert ran.err == ""
    rows = [each.split() for each in ran.out.splitlines()]
    assert ["fc1", "mlp_key", "5", ".weight", "3", "input:x"] in rows
    assert ["fc2", "mlp_value", "3", "onnx::MatMul_7", "5", "fc1"] in rows
    assert "junction:/Add" not in ran.out
    assert "/Add" in ran.out
    assert "traced      100 % of 8 synapse channels" in ran.out


def test_a_layer(cli, model):
    ran = cli("wiring", model, "fc2")
    assert ran.code == 0
    assert "└─ fc1  mlp_key, Relu" in ran.out
    assert "└─ junction:/Add  sum" in ran.out


@pytest.mark.parametrize("name", ["/fc2/MatMul", "z:0"])
def test_a_layer_by_its_op_and_its_output(cli, model, name):
    assert cli("wiring", model, name).out == cli("wiring", model, "fc2").out


def test_a_neuron(cli, model):
    ran = cli("wiring", model, "fc1:4")
    assert "fc1, neuron 4 of 5" in ran.out
    assert "└─ fc2[4]" in ran.out


@pytest.mark.parametrize("name", ["input:x", "x", "junction:/Add", "/Add"])
def test_what_is_no_layer_has_wiring_too(cli, model, name):
    ran = cli("wiring", model, name, "--up", "2")
    assert ran.code == 0
    assert ("input of the model" in ran.out) == name.endswith("x")


def test_up_and_down(cli, model):
    near, far = cli("wiring", model, "fc2").out, cli("wiring", model, "fc2", "--up", "2").out
    assert "input:x" not in near
    assert "input:x" in far
    assert "feeds" not in cli("wiring", model, "fc2", "--down", "0").out
    assert "reads" not in cli("wiring", model, "fc2", "--up", "0").out


def test_json(cli, model):
    whole = json.loads(cli("wiring", model, "--json").out)
    assert [layer["weights"][0]["sources"] for layer in whole["layers"]] == [
        [{"synapses": [0, 3], "from": "input:x", "neuron": [0, 1, 1]}],
        [{"synapses": [0, 5], "from": "fc1", "neuron": [0, 1, 1]}],
    ]
    around = json.loads(cli("wiring", model, "fc2:1", "--json").out)
    assert around["neuron"] == 1
    assert around["reads"] == [
        {"level": 1, "to": "fc2", "weight": 0, "synapses": [0, 5], "from": "fc1", "neuron": [0, 1, 1]}
    ]
    assert around["feeds"] == [
        {"level": 1, "to": "junction:/Add", "member": 1, "index": [1, 2], "from": "fc2", "neuron": [1, 0, 1]}
    ]


def test_output_file(cli, model, tmp_path):
    target = tmp_path / "wiring.json"
    ran = cli("wiring", model, "--json", "-o", target)
    assert (ran.code, ran.out) == (0, "")
    assert json.loads(target.read_text()) == json.loads(cli("wiring", model, "--json").out)


@pytest.mark.parametrize(
    ("target", "said"),
    [
        ("fc", "nothing in the wiring is called 'fc'; near it are "),
        ("FC1", "nothing in the wiring is called 'FC1'; near it are "),
        ("/fc1/MatMull", "nothing in the wiring is called '/fc1/MatMull'; near it are /fc1/MatMul"),
        ("qqqqqqqq", "nothing in the wiring is called 'qqqqqqqq'; there are "),
        ("nope:3", "nothing in the wiring is called 'nope'; "),
        ("/fc1/MatMul:5", "has neurons 0 to 4, not '5'"),
        ("/fc1/MatMul:-1", "has neurons 0 to 4, not '-1'"),
        ("/fc1/MatMul:x", "has neurons 0 to 4, not 'x'"),
        ("/fc1/MatMul:", "has neurons 0 to 4, not ''"),
        ("/fc1/MatMul:99999999999999999999999", "has neurons 0 to 4, not '99999999999999999999999'"),
        ("input:x:3", "input:x has channels 0 to 2, not '3'"),
        ("/Add:7", "junction:/Add has indices 0 to 2, not '7'"),
    ],
)
def test_wrong_targets_are_told_near_names_and_the_range(cli, model, target, said):
    ran = cli("wiring", model, target)
    assert (ran.code, ran.out) == (2, "")
    assert ran.err.startswith(f"error: {model}: ")
    assert ran.err.count("\n") == 1
    assert said in ran.err


def test_a_name_with_colons_is_taken_whole(cli, model):
    assert cli("wiring", model, "z:0").out == cli("wiring", model, "fc2").out
    assert "fc2, neuron 2 of 3" in cli("wiring", model, "z:0:2").out


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--up", "2"), "--up and --down need a LAYER"),
        (("x", "--up", "65"), "65 is not in the range 0<=x<=64"),
        (("x", "--dim", "n"), "--dim n: expected NAME=128"),
    ],
)
def test_wrong_options(cli, model, arguments, said):
    ran = cli("wiring", model, *arguments)
    assert (ran.code, ran.out) == (2, "")
    assert said in ran.err
    assert ran.err.count("\n") == 1


def test_a_file_that_is_no_model(cli, tmp_path):
    path = tmp_path / "not.onnx"
    path.write_bytes(b"<html>")
    ran = cli("wiring", path)
    assert (ran.code, ran.out) == (2, "")
    assert ran.err.startswith(f"error: {path}: ")


def test_help_is_quick_to_say(process):
    ran = process("wiring", "--help")
    assert ran.code == 0
    assert "LAYER[:NEURON]" in ran.out


def test_groups(cli, model):
    ran = cli("wiring", model, "--groups")
    assert ran.code == 0
    assert "  fc1  5 indices, each a neuron\n" in ran.out
    assert "├─ fc1.weight axis 1  neuron of fc1" in ran.out
    report = json.loads(cli("wiring", model, "--groups", "--json").out)
    assert {group["id"] for group in report["groups"]} >= {"fc1"}
    assert "groups" not in json.loads(cli("wiring", model, "--json").out)
    around = json.loads(cli("wiring", model, "fc1", "--groups", "--json").out)["groups"]
    assert [group["id"] for group in around] == [
        group["id"]
        for group in report["groups"]
        if any(use["of"] == "fc1" for member in group["members"] for use in member["uses"])
    ]
    assert len(around) < len(report["groups"])
    refused = cli("wiring", model, "fc1:2", "--groups")
    assert refused.code == 2
    assert "--groups are of all neurons of a layer; leave :2 out" in refused.err

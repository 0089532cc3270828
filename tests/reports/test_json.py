from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from pathlib import Path

import jsonschema
import numpy as np
import pytest

from graphneurons.reports.json import dumps, dumps_many, to_json
from graphneurons.wiring.records import Junction, Source, Wiring
from tests.sample_analyses import HOSTILE, analysis, hostile, mixture, transformer

SCHEMA = json.loads((Path(__file__).parents[2] / "docs" / "analysis.schema.json").read_text("utf-8"))


def strict(text: str) -> object:
    def refuse(constant: str) -> object:
        raise AssertionError(f"{constant} is not JSON")

    return json.loads(text, parse_constant=refuse)


def test_the_schema_itself_is_valid():
    jsonschema.Draft202012Validator.check_schema(SCHEMA)


@pytest.mark.parametrize("make", [mixture, transformer, hostile, lambda: analysis("empty.onnx")])
def test_reports_follow_the_schema(make):
    jsonschema.validate(strict(dumps(make())), SCHEMA)
    jsonschema.validate(strict(dumps_many([dumps(make()), dumps(make())])), SCHEMA)


def test_the_schema_refuses_unknown_and_missing_fields():
    report = to_json(mixture())
    validator = jsonschema.Draft202012Validator(SCHEMA)
    assert validator.is_valid(report)
    assert not validator.is_valid(report | {"surprise": 1})
    assert not validator.is_valid({key: value for key, value in report.items() if key != "lookups"})
    wrong = json.loads(dumps(mixture()))
    wrong["layers"][0]["weights"][0]["axes"][0]["role"] = "dendrite"
    assert not validator.is_valid(wrong)


def test_sources_of_every_weight():
    fed = {layer["id"]: [weight["sources"] for weight in layer["weights"]] for layer in to_json(mixture())["layers"]}
    assert fed["stem.conv"] == [[{"synapses": [0, 3], "from": "input:pixels", "neuron": [0, 1, 1]}]]
    assert fed["up.deconv"] == [
        [
            {"synapses": [0, 16], "from": "stem.depthwise", "neuron": [0, 2, 1]},
            {"synapses": [16, 32], "from": "stem.conv", "neuron": [48, 1, 1]},
        ]
    ]
    assert fed["memory.lstm"] == [
        [{"synapses": [0, 64], "from": "up.deconv", "neuron": [0, 1, 2]}],
        [{"synapses": [0, 64], "from": "memory.lstm", "neuron": [0, 1, 1]}],
    ]
    irregular, nobody = fed["head_again"][0]
    assert irregular["neurons"] == [number**2 % 64 for number in range(56)]
    assert nobody == {"synapses": [56, 64], "from": "unknown: no rule for acme.Wavelet"}
    assert not jsonschema.Draft202012Validator({**SCHEMA, **SCHEMA["$defs"]["weight"]}).is_valid(
        to_json(mixture())["layers"][0]["weights"][0] | {"sources": [irregular | {"neuron": [0, 1, 1]}]}
    )


def test_a_layer_nothing_is_known_of_has_no_sources():
    assert [weight["sources"] for weight in to_json(hostile())["layers"][0]["weights"]] == [[]]


def test_junctions_list_their_members_index_by_index():
    first, _, third = to_json(mixture())["junctions"]
    assert first == {
        "id": "/blocks.0/Add",
        "kind": "sum",
        "op": "/blocks.0/Add",
        "size": 64,
        "members": [
            [{"index": [0, 64], "from": "memory.lstm", "neuron": [0, 1, 1]}],
            [{"index": [0, 64], "from": "lookup:embed", "neuron": [0, 1, 1]}],
        ],
    }
    assert third["members"][2] == [{"index": [0, 64], "from": "mixed"}]


def test_roles_and_modulators_of_layers():
    report = to_json(mixture())
    assert [layer["role"] for layer in report["layers"]][3:8] == [None, "query+key", "value", "mlp_key", "mlp_value"]
    assert report["layers"][0]["modulators"] == ["stem.conv.bias"]
    assert [modulator["of"] for modulator in report["modulators"]] == ["stem.conv", None, "blocks.0.mlp.fc1"]


def test_written_segments_grow_with_depth_and_no_faster():
    def written(blocks: int) -> int:
        source = [Source("input", "x", 0, 8)]
        junctions = []
        for number in range(1, blocks + 1):
            source += [
                Source("layer", f"b{number}", number * 16, 8),
                Source("junction", f"j{number}", number * 16 + 8, 8),
            ]
            before, added = source[-3 if number > 1 else 0], source[-2]
            members = tuple(np.arange(each.base, each.base + 8) for each in (before, added))
            junctions.append(Junction(f"j{number}", "sum", 8, members, f"j{number}"))
        made = Wiring(tuple(source), tuple(junctions), {})
        return len(dumps(analysis("deep.onnx", wiring=made)))

    assert written(96) < 96 * (written(2) - written(1)) + written(1) + 96 * 16


def test_text_and_dictionary_are_the_same():
    assert strict(dumps(mixture())) == to_json(mixture())


def test_golden(golden):
    golden("json/mixture.json", dumps(mixture()))
    golden("json/hostile.json", dumps(hostile()))
    golden("json/two.json", dumps_many([dumps(mixture()), dumps(hostile())]))


def test_layer_fields():
    report = to_json(mixture())
    lstm = next(layer for layer in report["layers"] if layer["id"] == "memory.lstm")
    assert lstm["scope"] == "memory.lstm"
    assert (lstm["neurons"], lstm["synapses_per_neuron"], lstm["synapses"], lstm["units"]) == (256, 96, 24576, 64)
    assert lstm["weights"][1]["axes"][1] == {
        "size": 128,
        "role": "neuron",
        "factors": [{"name": "gate", "size": 4, "role": "neuron"}, {"name": "h", "size": 32, "role": "neuron"}],
    }
    assert [layer["tied_to"] for layer in report["layers"]][-2:] == [None, "head"]
    assert report["layers"][4]["weights"][0]["part"] == [[0, 64], [0, 64]]


def test_the_default_domain_has_a_name():
    assert to_json(mixture())["model"]["opsets"] == {"ai.onnx": 20, "com.microsoft": 1}


def test_names_are_exact_and_the_text_is_plain_ascii():
    text = dumps(hostile())
    assert text.isascii()
    assert "##" not in text
    assert all(character.isprintable() or character == "\n" for character in text)
    report = strict(text)
    assert report["layers"][0]["id"] == HOSTILE
    assert report["layers"][0]["weights"][0]["name"] == HOSTILE
    assert report["model"]["path"] == HOSTILE


def test_sha256_of_the_file(tmp_path):
    file = tmp_path / "model.onnx"
    file.write_bytes(b"bytes" * 1000)
    made = mixture()
    there = replace(made, model=replace(made.model, path=str(file)))
    assert to_json(there)["model"]["sha256"] == hashlib.sha256(b"bytes" * 1000).hexdigest()
    assert to_json(made)["model"]["sha256"] is None


def test_a_path_that_is_not_utf8(tmp_path):
    made = mixture()
    odd = replace(made, model=replace(made.model, path="caf\udce9.onnx"))
    assert strict(dumps(odd))["model"]["path"] == "caf\\xe9.onnx"


def test_same_input_same_bytes():
    assert dumps(transformer()) == dumps(transformer())


def test_packed_weights_say_what_they_unpack_to(tmp_path):
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    import graphneurons

    node = helper.make_node(
        "MatMulNBits", ["x", "w", "s"], ["y"], K=40, N=6, bits=4, block_size=32, domain="com.microsoft"
    )
    graph = helper.make_graph(
        [node],
        "graph",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 40])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 6])],
        [
            numpy_helper.from_array(np.zeros((6, 2, 16), np.uint8), "w"),
            numpy_helper.from_array(np.zeros(12, np.float32), "s"),
        ],
    )
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("com.microsoft", 1)]
    onnx.save(helper.make_model(graph, opset_imports=opsets), tmp_path / "packed.onnx")
    report = to_json(graphneurons.analyze(str(tmp_path / "packed.onnx")))
    (layer,) = report["layers"]
    assert layer["weights"][0]["elements"] == 240
    assert layer["synapses"] == 240
    assert layer["weights"][0]["sources"] == [{"synapses": [0, 40], "from": "input:x", "neuron": [0, 1, 1]}]
    assert report["totals"]["parameters"] == 240 + 12

"""A whole file to a ModelGraph: what it keeps, what it notes, and what it refuses."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
from pathlib import Path

import onnx
import pytest
from onnx import NodeProto, TensorProto, helper

from graphneurons.errors import LoadError
from graphneurons.graph import Inline, ModelInfo, Sparse, Value
from graphneurons.load import load, load_bytes
from graphneurons.load.reading import read
from tests.load.building import HEADER, chunk, floats, graph, loaded, model, raw, value, varint

node = helper.make_node
DATA = Path(onnx.__file__).parent / "backend" / "test" / "data"
RELU = node("Relu", ["x"], ["y"], "relu")


def test_the_record_of_a_file(tmp_path: Path) -> None:
    made = model([RELU], opset=17)
    made.producer_name, made.producer_version = "someone", "1.2"
    made.opset_import.append(helper.make_opsetid("com.microsoft", 1))
    path = tmp_path / "m.onnx"
    path.write_bytes(made.SerializeToString())
    found = load(path)
    size = path.stat().st_size
    assert found.info == ModelInfo(str(path), "someone 1.2", 10, (("", 17), ("com.microsoft", 1)), size)
    assert found.inputs == (Value("x", "float32", (4,)),)
    assert found.outputs == ("y",)
    assert found.declared == {"y": Value("y", "float32", (4,))}
    assert [(op.name, op.version) for op in found.ops] == [("relu", 17)]
    assert load_bytes(path.read_bytes(), str(path)) == found


def test_the_default_domain_has_two_names() -> None:
    made = model([node("Relu", ["x"], ["y"], domain="ai.onnx")])
    made.opset_import[0].domain = "ai.onnx"
    found = loaded(made)
    assert (found.ops[0].domain, found.ops[0].version, found.notices) == ("", 20, ())


def test_the_loaders_own_domain_is_not_open_to_files() -> None:
    made = model([node("Carry", ["x"], ["y"], domain="graphneurons")])
    assert loaded(made).ops[0].domain == "file.graphneurons"


def test_initializers_that_are_inputs_too_are_weights() -> None:
    """How files of IR version 3 and below are written."""
    found = loaded(model([node("Add", ["x", "w"], ["y"])], inputs=["x", "w"], weights=[floats("w", 4)]))
    assert [value.name for value in found.inputs] == ["x"]
    assert list(found.weights) == ["w"]


def test_names_of_ops_are_unique() -> None:
    nodes = [
        node("Relu", ["x"], ["a"]),
        node("Relu", ["a"], ["b"], "Relu_0"),
        node("Relu", ["b"], ["c"], "same"),
        node("Relu", ["c"], ["d"], "same"),
        node("Relu", ["d"], ["y"], "same"),
    ]
    assert [op.name for op in loaded(model(nodes)).ops] == ["Relu_0_2", "Relu_0", "same", "same_2", "same_3"]


CONSTANTS = {
    "value": (floats("own name", 2, 3), "float32", (2, 3), [[0, 1, 2], [3, 4, 5]]),
    "value_float": (1.5, "float32", (), 1.5),
    "value_floats": ([1.5, 2.5], "float32", (2,), [1.5, 2.5]),
    "value_int": (-7, "int64", (), -7),
    "value_ints": ([1, -(2**63)], "int64", (2,), [1, -(2**63)]),
}


@pytest.mark.parametrize("form", CONSTANTS)
def test_constants_are_weights(form: str) -> None:
    given, dtype, shape, values = CONSTANTS[form]
    found = loaded(model([node("Constant", [], ["k"], **{form: given}), node("Add", ["x", "k"], ["y"])]))
    ref = found.weights["k"]
    assert (ref.name, ref.dtype, ref.shape) == ("k", dtype, shape)
    assert read(ref).tolist() == values
    assert [op.type for op in found.ops] == ["Add"]


@pytest.mark.parametrize(("given", "shape"), [({"value_string": "a"}, ()), ({"value_strings": ["a", "b", "c"]}, (3,))])
def test_constant_strings_are_weights_nobody_reads(given: dict[str, object], shape: tuple[int, ...]) -> None:
    ref = loaded(model([node("Constant", [], ["y"], **given)], inputs=[])).weights["y"]
    assert (ref.dtype, ref.shape, ref.storage) == ("string", shape, Inline(b"", "string_data"))


def test_a_sparse_constant_is_a_weight() -> None:
    stored = helper.make_sparse_tensor(floats("v", 2), helper.make_tensor("i", 7, [2], [1, 3]), [5])
    ref = loaded(model([node("Constant", [], ["y"], sparse_value=stored)], inputs=[])).weights["y"]
    assert (ref.name, ref.shape) == ("y", (5,))
    assert isinstance(ref.storage, Sparse)


def test_attributes_become_plain_values() -> None:
    given = {"f": 0.5, "i": 3, "s": "text", "fs": [1.0, 2.0], "is": [4, 5], "ss": ["a", "b"]}
    found = loaded(model([node("Custom", ["x"], ["y"], "c", domain="d", t=floats("", 2), **given)]))
    attributes = dict(found.ops[0].attributes)
    table = attributes.pop("t")
    assert attributes == {"f": 0.5, "i": 3, "s": "text", "fs": (1.0, 2.0), "is": (4, 5), "ss": ("a", "b")}
    assert getattr(table, "name", None) == "c.t"


def test_a_string_attribute_may_be_a_blob() -> None:
    found = loaded(model([node("Custom", ["x"], ["y"], domain="d", blob=b"\xff\x00")]))
    assert found.ops[0].attributes["blob"] == "\\xff\x00"


def test_attributes_without_types_are_read_as_in_ir_version_1() -> None:
    made = model([node("Relu", ["x"], ["y"], alpha=0.5)])
    made.graph.node[0].attribute[0].ClearField("type")
    assert loaded(made).ops[0].attributes == {"alpha": 0.5}


def test_declared_shapes() -> None:
    made = model([RELU])
    del made.graph.input[:]
    made.graph.input.extend(
        [
            value("x", ["batch", 3, None]),  # type: ignore[list-item]
            value("anything", None),
            value("scalar", []),
            helper.make_tensor_sequence_value_info("many", TensorProto.FLOAT, None),
        ]
    )
    assert loaded(made).inputs == (
        Value("x", "float32", ("batch", 3, None)),
        Value("anything", "float32", None),
        Value("scalar", "float32", ()),
        Value("many", "sequence", None),
    )


def codes(made: onnx.ModelProto) -> list[str]:
    return [notice.code for notice in loaded(made).notices]


def changed(**fields: object) -> onnx.ModelProto:
    made = model([RELU])
    for name, content in fields.items():
        if name == "opsets":
            del made.opset_import[:]
            assert isinstance(content, list)
            made.opset_import.extend(helper.make_opsetid(domain, version) for domain, version in content)
        else:
            setattr(made, name, content)
    return made


def odd_input(shape: list[int] | None, kind: int = 1) -> onnx.ModelProto:
    made = model([RELU])
    made.graph.input[0].CopyFrom(value("x", shape, kind))
    return made


@pytest.mark.parametrize(
    ("made", "expected"),
    [
        (model([RELU]), []),
        (changed(opsets=[]), ["missing-opset", "undeclared-domain"]),
        (changed(opsets=[("", 10_000)]), ["future-opset"]),
        (changed(opsets=[("", 11), ("ai.onnx", 12)]), ["duplicate-opset"]),
        (changed(opsets=[("", 0)]), ["impossible-opset"]),
        (changed(ir_version=0), ["missing-ir-version"]),
        (model([node("Gelu", ["x"], ["y"], domain="com.microsoft")]), ["undeclared-domain"]),
        (model([node("Relu", ["a"], ["y"]), node("Neg", ["x"], ["a"])]), ["unsorted-nodes"]),
        (odd_input([-4]), ["impossible-size"]),
        (odd_input([1 << 62]), ["impossible-size"]),
        (model([], inputs=["x"], outputs=[]), ["empty-graph"]),
    ],
)
def test_oddities_are_noted(made: onnx.ModelProto, expected: list[str]) -> None:
    assert codes(made) == expected


def test_a_graph_given_twice_is_noted() -> None:
    first = model([RELU])
    again = chunk(7, chunk(1, node("Neg", ["y"], ["z"]).SerializeToString()))
    found = load_bytes(first.SerializeToString() + again)
    assert [op.type for op in found.ops] == ["Relu", "Neg"]
    assert [(notice.code, notice.where) for notice in found.notices] == [("duplicate-field", "model.graph")]


def test_one_kind_of_notice_does_not_flood_the_report() -> None:
    nodes = [node("Op", ["x"], [f"v{index}"], domain=f"d{index}") for index in range(500)]
    notices = loaded(model(nodes, outputs=["v0"])).notices
    assert len(notices) == 21
    assert notices[-1].message == "480 more of the kind 'undeclared-domain'"


@pytest.mark.parametrize(
    ("made", "says"),
    [
        (model([node("Relu", ["y"], ["y"], "r")]), "r: the op needs its own result 'y': the graph has a cycle"),
        (
            model([node("Neg", ["x"], ["z"]), node("Relu", ["b"], ["y"], "p"), node("Relu", ["y"], ["b"], "q")]),
            "p: the op needs its own result",
        ),
        (model([node("Relu", ["gone"], ["y"], "r")]), r"r \(makes y\): reads 'gone', which nothing in the file makes"),
        (model([node("Relu", ["x"], ["z"])]), "y: this output is never made"),
        (model([RELU, node("Neg", ["x"], ["y"])]), "y: the value is defined twice"),
        (model([node("Split", ["x"], ["y", "y"])]), "y: the value is defined twice"),
        (model([node("Relu", ["x"], ["x"])], outputs=["x"]), "x: the value is defined twice"),
        (model([RELU], weights=[floats("y", 4)]), "y: the value is defined twice"),
        (model([RELU], inputs=["x", "x"]), "x: the value is defined twice"),
        (model([RELU], weights=[floats("w", 4), floats("w", 4)]), "w: the initializer is stored twice"),
        (model([RELU], weights=[floats("", 4)]), "an initializer: it has no name"),
        (model([RELU], inputs=["x", ""]), "the graph: an input has no name"),
        (model([node("", ["x"], ["y"])]), "the node has no op type"),
        (odd_input([4], 99), "x: data type 99 is not one that ONNX defines"),
        (model([node("Constant", [], ["y"])]), "a Constant needs exactly one value"),
        (model([node("Constant", [], ["y"], value_int=1, value_float=1.0)]), "a Constant needs exactly one value"),
        (model([node("Constant", ["x"], ["y"], value_int=1)]), "a Constant needs exactly one value"),
        (model([node("Constant", [], ["y"], value=1.0)]), "the Constant's attribute value has the wrong type"),
        (model([node("Constant", [], ["y"], value_ints=[1.5])]), "the Constant's attribute value_ints has the wrong"),
    ],
)
def test_graphs_that_cannot_be_are_refused(made: onnx.ModelProto, says: str) -> None:
    with pytest.raises(LoadError, match=f"<memory>: .*{says}"):
        loaded(made)


def with_attribute(**fields: object) -> onnx.ModelProto:
    made = NodeProto(op_type="Conv", name="c", input=["x"], output=["y"])
    made.attribute.add(**fields)
    return model([made])


@pytest.mark.parametrize(
    ("made", "says"),
    [
        (with_attribute(name="a", type=2, f=1.0), "c .makes y..a: the attribute's value does not agree with its type"),
        (with_attribute(name="a", f=1.0, i=1), "or it has several"),
        (with_attribute(name="a"), "the attribute has no value"),
        (with_attribute(type=2, i=1), "an attribute has no name"),
        (with_attribute(name="a", type=2, ref_attr_name="b"), "refers to a function's, but the node is in no function"),
    ],
)
def test_malformed_attributes_are_refused(made: onnx.ModelProto, says: str) -> None:
    with pytest.raises(LoadError, match=says):
        loaded(made)


def test_an_attribute_given_twice_is_refused() -> None:
    made = with_attribute(name="group", type=2, i=1)
    made.graph.node[0].attribute.add(name="group", type=2, i=2)
    with pytest.raises(LoadError, match=r"c \(makes y\).group: the attribute is given twice"):
        loaded(made)


@pytest.mark.parametrize("field", [1, 2, 3, 4, 7])
def test_names_that_are_not_utf_8_are_refused(field: int) -> None:
    stored = {1: b"x", 2: b"y", 3: b"n", 4: b"Relu", 7: b""} | {field: b"\xff\xfe"}
    body = b"".join(chunk(number, text) for number, text in stored.items())
    rest = model([]).graph.SerializeToString()
    with pytest.raises(LoadError, match=r"is not UTF-8 \('\\xff\\xfe'\)"):
        load_bytes(HEADER + chunk(7, chunk(1, body) + rest))


def test_what_a_parser_cannot_read_is_refused() -> None:
    broken = HEADER + chunk(7, chunk(1, b"\x0a\x7f"))
    with pytest.raises(LoadError, match="damaged: protobuf cannot parse the structure"):
        load_bytes(broken)
    deep = b""
    for _ in range(200):
        deep = chunk(4, chunk(1, deep))
    with pytest.raises(LoadError, match="nested deeper than any protobuf library reads"):
        load_bytes(HEADER + chunk(7, chunk(11, chunk(1, b"x") + chunk(2, deep))))


def test_the_collector_runs_again_after_a_failure() -> None:
    assert gc.isenabled()
    with pytest.raises(LoadError):
        load_bytes(b"\xff")
    assert gc.isenabled()


def test_every_model_of_the_backend_tests_loads() -> None:
    paths = sorted(DATA.rglob("*.onnx"))
    assert len(paths) > 100
    for path in paths:
        assert load(path).notices == ()


def test_order_is_stable_and_takes_any_depth() -> None:
    nodes = [node("Relu", [f"v{index}"], [f"v{index + 1}"], f"r{index}") for index in range(20_000)]
    made = model(list(reversed(nodes)), inputs=["v0"], outputs=["v20000"])
    assert [op.name for op in loaded(made).ops] == [f"r{index}" for index in range(20_000)]
    circle = model([*nodes, node("Relu", ["v20000"], ["v0"], "back")], inputs=["x"], outputs=["v1"])
    with pytest.raises(LoadError, match="the graph has a cycle"):
        loaded(circle)


def test_weight_bytes_are_never_touched(tmp_path: Path) -> None:
    """A model of 3 GiB, almost all of it a hole in the file: only structure is read, in a process of its own."""
    size = 3 << 30
    head = b"\x08" + varint(size // 4) + b"\x10\x01" + chunk(8, b"w") + b"\x4a" + varint(size)
    tensor = varint(5 << 3 | 2) + varint(len(head) + size) + head
    rest = model([node("Add", ["x", "w"], ["y"])]).graph.SerializeToString()
    path = tmp_path / "large.onnx"
    with open(path, "wb") as file:
        file.write(HEADER + b"\x3a" + varint(len(rest) + len(tensor) + size) + rest + tensor)
        file.seek(size - 1, os.SEEK_CUR)
        file.write(b"\0")
    program = (
        "import resource, sys, onnx, graphneurons.load.onnx\n"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "found = graphneurons.load.load(sys.argv[1])\n"
        "print(found.weights['w'].shape, *(notice.code for notice in found.notices))\n"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)\n"
    )
    ran = subprocess.run([sys.executable, "-c", program, path], capture_output=True, text=True, check=True)
    shape, grown = ran.stdout.splitlines()
    assert shape == "(805306368,) over-2gib"
    assert int(grown) * (1 if sys.platform == "darwin" else 1024) < 16 << 20


def test_importing_the_room_imports_neither_onnx_nor_numpy() -> None:
    program = "import sys, graphneurons.load; print([name for name in ('onnx', 'numpy') if name in sys.modules])"
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "[]"


def test_the_public_name_is_a_function_whatever_was_imported_before() -> None:
    """The package `graphneurons.load` hides the lazy function of that name once anything below it is imported."""
    path = str(next(DATA.rglob("*.onnx")))
    program = (
        "import sys, graphneurons\n"
        "first = graphneurons.load(sys.argv[1])\n"
        "import graphneurons.load.onnx\n"
        "print(graphneurons.load(sys.argv[1]) == first)\n"
    )
    ran = subprocess.run([sys.executable, "-c", program, path], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "True"


def test_a_raw_tensor_in_memory_is_kept_inline() -> None:
    ref = loaded(model([RELU], weights=[raw("w", 1, [600], bytes(2400))])).weights["w"]
    assert ref.storage == Inline(bytes(2400))


def test_graph_of_a_graph_with_only_weights() -> None:
    found = loaded(model(graph([], ["x"], ["w"], [floats("w", 4)])))
    assert (found.ops, found.outputs, list(found.weights)) == ((), ("w",), ["w"])

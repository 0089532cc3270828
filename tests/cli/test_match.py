"""``graphneurons match``: what it prints, the JSON by its schema, exit codes, and which model an option goes to."""

from __future__ import annotations

import json
from pathlib import Path

import jsonschema
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

ROOT = Path(__file__).parents[2]
SCHEMA = json.loads((ROOT / "docs" / "match.schema.json").read_text("utf-8"))
VALUES = np.random.default_rng(0).normal(size=(3, 5)).astype(np.float32)


def save(path: Path, values: np.ndarray = VALUES, *, name: str = "fc", of: str = "x") -> Path:
    """A linear named ``name`` whose input ``of`` has a dynamic dimension ``n_`` + ``of``."""
    graph = helper.make_graph(
        [helper.make_node("Gemm", [of, f"{name}.weight"], ["y"], f"/{name}/Gemm", transB=1)], "graph",
        [helper.make_tensor_value_info(of, TensorProto.FLOAT, [f"n_{of}", values.shape[1]])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [f"n_{of}", values.shape[0]])],
        [numpy_helper.from_array(values, f"{name}.weight")],
    )  # fmt: skip
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)]), path)
    return path


def test_the_same_renamed_and_other_synapses(cli, tmp_path):
    a, b = save(tmp_path / "a.onnx"), save(tmp_path / "b.onnx", name="head")
    same = cli("match", a, a)
    assert (same.code, same.err) == (0, "")
    assert same.out == "  fc  fc  the same\n\n  1 pairs: no differences; 0 only in A, 0 only in B\n"
    renamed = cli("match", a, b)
    assert renamed.code == 0
    assert renamed.out == "  fc  head  renamed\n\n  1 pairs: 1 renamed; 0 only in A, 0 only in B\n"


@pytest.mark.parametrize(
    ("values", "change", "code"),
    [(VALUES * 1.01, "scaled", 1), (VALUES[::-1], "permuted", 1), (VALUES + 1, "changed", 1),
     (VALUES.astype(np.float16), "retyped", 0)],
)  # fmt: skip
def test_exit_codes_tell_whether_synapses_are_others(cli, tmp_path, values, change, code):
    ran = cli("match", save(tmp_path / "a.onnx"), save(tmp_path / "b.onnx", np.ascontiguousarray(values)))
    assert (ran.code, ran.out.splitlines()[0]) == (code, f"  fc  fc  {change}")


def test_layers_without_a_partner(cli, tmp_path):
    ran = cli("match", save(tmp_path / "a.onnx"), save(tmp_path / "b.onnx", VALUES[:, :4] + 1))
    assert ran.code == 1
    assert [line.split() for line in ran.out.splitlines()[:2]] == [["fc", "-", "only", "in", "A"],
                                                                    ["-", "fc", "only", "in", "B"]]  # fmt: skip


def test_json_fits_its_schema_and_tells_every_change(cli, tmp_path):
    from typing import get_args

    from graphneurons.matching import By, Change, match

    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    told = SCHEMA["$defs"]["pair"]["properties"]
    assert told["changes"]["items"]["enum"] == list(get_args(Change))
    assert told["by"]["enum"] == list(get_args(By))
    a, b = save(tmp_path / "a.onnx"), save(tmp_path / "b.onnx", VALUES + 1, name="head")
    ran = cli("match", a, b, "--json")
    found = json.loads(ran.out)
    jsonschema.Draft202012Validator(SCHEMA).validate(found)
    assert found == {
        "a": str(a), "b": str(b),
        "pairs": [{"a": "fc", "b": "head", "by": "position", "changes": ["renamed", "changed"]}],
        "only_a": [], "only_b": [],
    }  # fmt: skip
    assert [pair.changes for pair in match(str(a), str(b)).pairs] == [("renamed", "changed")]
    assert cli("match", a, b, "--json").out == ran.out
    written = cli("match", a, b, "--json", "-o", tmp_path / "found.json")
    assert (written.code, written.out) == (1, "")
    assert (tmp_path / "found.json").read_text("utf-8") == ran.out


def test_shapes_and_dimensions_go_to_the_model_that_has_them(cli, tmp_path):
    a, b = save(tmp_path / "a.onnx", of="x"), save(tmp_path / "b.onnx", of="pixels")
    assert cli("match", a, b, "--shape", "x=7,5", "--dim", "n_pixels=3").code == 0
    assert cli("match", a, b, "--shape", "7,5").code == 0
    wrong = cli("match", a, b, "--shape", "x=7,6")
    assert wrong.code == 2
    assert f"{a}: x: --shape gives [7, 6], the file declares ['n_x', 5]" in wrong.err
    ran = cli("match", a, b, "--shape", "z=7,5")
    assert (ran.code, ran.out) == (2, "")
    assert ran.err == "error: no input of either model is called 'z'; the inputs are pixels, x\n"
    ran = cli("match", a, b, "--dim", "seq=7")
    assert (ran.code, ran.out) == (2, "")
    assert ran.err == (
        "error: no dimension of either model is called 'seq'; the dynamic dimensions are: n_pixels, n_x\n"
    )


@pytest.mark.parametrize("place", [0, 1])
def test_a_model_that_cannot_be_read_is_named(cli, tmp_path, place):
    good, bad = save(tmp_path / "a.onnx"), tmp_path / "bad.onnx"
    bad.write_bytes(b"\x00\x01")
    models = [good, good]
    models[place] = bad
    ran = cli("match", *models)
    assert (ran.code, ran.out) == (2, "")
    assert ran.err.startswith(f"error: {bad}: ")
    assert len(ran.err.splitlines()) == 1


def test_code_is_not_run_unasked(cli, tmp_path):
    ran = cli("match", save(tmp_path / "a.onnx"), "some.module:factory")
    assert ran.code == 2
    assert "--trust-code" in ran.err


def test_a_model_is_not_written_over(cli, tmp_path):
    path = save(tmp_path / "a.onnx")
    before = path.read_bytes()
    assert cli("match", path, path, "-o", path).code == 2
    assert path.read_bytes() == before

"""Inputs and outputs as a policy asks for them: names, types and shapes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from graphneurons.checks.policy import parse_policy
from graphneurons.checks.signatures import Signature, signature
from graphneurons.errors import UsageError
from tests.checks.models import HEALTHY, checked


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("x", Signature("x")),
        ("serving_default_x:0", Signature("serving_default_x:0")),
        ("x: float32", Signature("x", "float32")),
        ("x: [1, ?, n]", Signature("x", None, (1, None, "n"))),
        ("a:0: bfloat16[]", Signature("a:0", "bfloat16", ())),
        ("x:  int64 [ batch , 3 ]", Signature("x", "int64", ("batch", 3))),
    ],
)
def test_signatures(text: str, expected: Signature) -> None:
    assert signature(text, "inputs") == expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("x: flaot32", "inputs: 'flaot32' is no type; did you mean 'float32'?"),
        ("x: float32[-1]", "'-1' in 'x: float32[-1]' is neither a size, a name nor ?"),
        ("x: float32(1, 2)", 'is no input or output; write "x", "x: float32"'),
        ("x: ", "is no input or output"),
        (": float32", "is no input or output"),
    ],
)
def test_what_is_no_signature(text: str, message: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_policy({"inputs": [text]}, "policy")
    assert message in str(caught.value)


def _model() -> onnx.ModelProto:
    """cnn, its batch left open, with a declared output and one whose shape is only computed."""
    made = HEALTHY["cnn"](np.random.default_rng(0))
    made.graph.input[0].type.tensor_type.shape.dim[0].dim_param = "s0"
    made.graph.output[0].CopyFrom(helper.make_tensor_value_info("y", TensorProto.FLOAT, ["s0", 5]))
    return made


# Policy -> messages of GN108 and GN109.
ASKED: list[tuple[dict[str, list[str]], list[str]]] = [
    ({"inputs": ["x"], "outputs": ["y"]}, []),
    ({"inputs": ["x: float32[batch, 3, 8, 8]"], "outputs": ["y: float32[batch, 5]"]}, []),
    ({"inputs": ["x: [4, ?, ?, 8]"], "outputs": ["y: [?, ?]"]}, []),
    ({"inputs": ["x: float16"]}, ["the input 'x' is float32, the policy says float16"]),
    (
        {"inputs": ["x: [batch, 3, h, 8]"]},
        ["the input 'x' has the shape [s0, 3, 8, 8], the policy says [batch, 3, h, 8]"],
    ),
    (
        {"inputs": ["x: float16[?, 3, 9, 8]"]},
        [
            "the input 'x' has the shape [s0, 3, 8, 8], the policy says [?, 3, 9, 8]",
            "the input 'x' is float32, the policy says float16",
        ],
    ),
    ({"inputs": ["x: [3, 8, 8]"]}, ["the input 'x' has the shape [s0, 3, 8, 8], the policy says [3, 8, 8]"]),
    (
        {"inputs": ["xs: float32"]},
        ["the input 'x' is none of those the policy lists", "the input 'xs' is missing; did you mean 'x'?"],
    ),
    ({"outputs": ["y: [batch, 7]"]}, ["the output 'y' has the shape [s0, 5], the policy says [batch, 7]"]),
]


@pytest.mark.parametrize(("policy", "expected"), ASKED)
def test_inputs_and_outputs_are_compared(policy: dict[str, Any], expected: list[str], tmp_path: Path) -> None:
    report = checked(_model(), tmp_path, {"select": ["GN108", "GN109"], **policy})
    assert sorted(each.message for each in report.findings) == expected


def test_outputs_without_a_declared_shape_are_computed(tmp_path: Path) -> None:
    made = HEALTHY["cnn"](np.random.default_rng(0))
    policy = {"select": ["GN109"], "outputs": ["y: float32[1, 7]"]}
    assert [each.message for each in checked(made, tmp_path, policy).findings] == [
        "the output 'y' has the shape [1, 5], the policy says [1, 7]"
    ]
    made.graph.input[0].type.tensor_type.shape.dim[2].dim_param = "side"
    assert checked(made, tmp_path, policy).findings == ()

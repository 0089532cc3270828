"""Every rule says what is written in `texts.txt`, and every op has a rule."""

from __future__ import annotations

from pathlib import Path

import onnx.defs
import pytest

from graphneurons.axes.notation import parse
from graphneurons.axes.rules.site import NoRule, RuleText
from graphneurons.axes.rules.tables import RULES, TRACED
from graphneurons.graph import CONTROL
from tests.rules.case import Case, Given, f, ids, u8
from tests.rules.cases import CASES
from tests.rules.fused import ms


def _texts() -> dict[str, str]:
    """`texts.txt`: the name of a case on one line, its rule on the next, indented."""
    lines = (Path(__file__).parent / "texts.txt").read_text(encoding="utf-8").splitlines()
    return {name: rule.strip() for name, rule in zip(lines[::2], lines[1::2], strict=True)}


TEXTS = _texts()


def is_bare(entry: RuleText) -> bool:
    """Whether an entry says nothing about factors: a layout op, one that carries no features, or none that is known."""
    return isinstance(entry, str) and (entry in ("layout", "shape") or entry.startswith("stop:"))


@pytest.mark.parametrize("name", CASES)
def test_rule_says(name: str) -> None:
    assert CASES[name].text() == TEXTS[name]


def test_texts_and_cases_are_the_same_set() -> None:
    assert set(TEXTS) == set(CASES)


def test_every_rule_has_a_case() -> None:
    rules = {key for key, entry in RULES.items() if not is_bare(entry) and key[0] not in (CONTROL, *TRACED)}
    assert rules == {case.key for case in CASES.values()}


def test_every_rule_is_in_normal_form() -> None:
    for text in TEXTS.values():
        assert str(parse(text)) == text


def test_every_op_of_onnx_has_a_rule() -> None:
    ops = {(schema.domain, schema.name) for schema in onnx.defs.get_all_schemas_with_history()}
    assert ops - set(RULES) == set()


def test_every_op_of_onnxruntime_has_a_rule() -> None:
    from onnxruntime.capi.onnxruntime_pybind11_state import get_all_operator_schema

    ops = {(schema.domain, schema.name) for schema in get_all_operator_schema()}
    accelerator = {key for key in ops if key[1].endswith("_TRT") or key[1].startswith("Memcpy")}
    assert ops - set(RULES) == accelerator


def test_every_stop_gives_a_reason() -> None:
    reasons = [entry for entry in RULES.values() if isinstance(entry, str) and entry.startswith("stop:")]
    assert reasons
    for reason in reasons:
        words = reason.removeprefix("stop:").split()
        assert len(words) >= 2, reason


MOVED: tuple[Case, ...] = (
    Case("Gather", (f(7, 4), ids(7, 2)), variant="of an activation"),
    Case("Gather", (f(7, 4), Given([0, 1])), variant="by constant indices", weights=(0, 1)),
    Case("GatherElements", (f(7, 4), ids(7, 2, 4)), variant="of an activation"),
    Case("GatherND", (f(7, 4), Given([[0], [1]])), variant="by constant indices", weights=(0, 1)),
)


@pytest.mark.parametrize("case", MOVED, ids=lambda case: case.name)
def test_gather_is_layout_unless_it_looks_up(case: Case) -> None:
    assert case.text() == "layout"


REFUSED: tuple[tuple[Case, str], ...] = (
    (Case("Einsum", (f(2), f(2)), attributes={"equation": "i,i,i->i"}), "3 terms for 2 operands"),
    (Case("Einsum", (f(2), f(2)), attributes={"equation": "i,i->j"}), "puts out `j`, which no operand has"),
    (Case("Einsum", (f(2),), attributes={"equation": "i(->i"}), "cannot be read at"),
    (Case("ReduceSum", (f(2, 3), ids(2, 1))), "is computed while the model runs"),
    (Case("ReduceMean", (f(2, 3),), attributes={"axes": [5]}), "axis 5 is out of range for a tensor of rank 2"),
    (Case("Softmax", (None,)), "the shape of operand 0 is not known"),
    (Case("Resize", (f(1, 3, 4, 4), None, ids(2, 4))), "computed while the model runs"),
    (Case("Attention", (f(2, 3, 20), f(2, 6, 10), f(2, 6, 14)), opset=23), "attribute q_num_heads is missing"),
    (
        Case(
            "Attention",
            (f(2, 3, 20), f(2, 6, 15), f(2, 6, 15)),
            attributes={"q_num_heads": 4, "kv_num_heads": 3},
            opset=23,
        ),
        "4 query heads cannot be shared out over 3 key heads",
    ),
    (ms("Attention", f(2, 3, 5), f(5, 25), attributes={"num_heads": 2}, weights=(1,)), "25 columns do not make query"),
    (ms("MatMulNBits", f(3, 64), u8(5, 2, 16), weights=(1,)), "attribute K"),
    (ms("MatMulNBits", f(3, 64), u8(80), attributes={"K": 64, "N": 5}, weights=(1,)), "does not hold 5 rows"),
    (ms("MatMulBnb4", f(3, 31), u8(78), attributes={"K": 31, "N": 5}, weights=(1,)), "share bytes"),
    (ms("MatMulBnb4", f(3, 5), u8(80), attributes={"K": 32, "N": 5, "transB": 0}, weights=(1,)), "neurons share bytes"),
    (ms("MoE", f(6, 8), f(6, 4), f(4, 10, 8), None, f(4, 8, 5)), "swiglu_fusion does not say"),
    (ms("MoE", f(6, 8), f(6, 4), f(4, 15, 8), None, f(4, 8, 5)), "experts with 15 rows feed 5 units"),
    (
        ms("QMoE", f(6, 32), f(6, 4), u8(4, 64, 16), None, None, u8(4, 32, 32), attributes={"expert_weight_bits": 4}),
        "pack 32 and 64 synapses per neuron",
    ),
    (
        Case("GatherElements", (f(7, 4), ids(7, 3, 2)), weights=(0,)),
        "take a corner of a table",
    ),
    (
        ms(
            "GatherBlockQuantized",
            u8(7, 16),
            ids(7, 2),
            f(7, 1),
            attributes={"block_size": 32, "bits": 4},
            weights=(0,),
        ),
        "cannot be told from shapes",
    ),
    (
        Case("LinearRegressor", (f(3, 5),), domain="ai.onnx.ml", attributes={"coefficients": [0.1] * 8, "targets": 2}),
        "8 coefficients do not make rows of 5 features",
    ),
)


@pytest.mark.parametrize(("case", "reason"), REFUSED, ids=lambda item: item.name if isinstance(item, Case) else "")
def test_no_rule_gives_the_reason(case: Case, reason: str) -> None:
    with pytest.raises(NoRule, match=r".") as caught:
        case.text()
    assert reason in str(caught.value)


def test_support_vectors_are_no_synapses() -> None:
    case = Case(
        "SVMRegressor",
        (f(3, 4),),
        domain="ai.onnx.ml",
        attributes={"support_vectors": [0.1] * 8, "coefficients": [1.0]},
    )
    assert case.text().startswith("stop:")

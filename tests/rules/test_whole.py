"""Every case as a model file of its own: the weights it names come out of `analyze` labelled."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from graphneurons.analyzing import analyze
from tests.rules.case import Given
from tests.rules.cases import CASES
from tests.rules.proving import Model
from tests.rules.roles import ROLES

WEIGHTED = [name for name, case in CASES.items() if case.weights]


@pytest.mark.parametrize("name", WEIGHTED)
def test_weights_are_labelled(name: str, tmp_path: Path) -> None:
    case = CASES[name]
    given = {index for index, operand in enumerate(case.operands) if isinstance(operand, Given)}
    stored = replace(case, initializers=tuple(sorted({*case.weights, *case.initializers, *given})))
    path = tmp_path / "case.onnx"
    path.write_bytes(Model.written(stored).SerializeToString())
    found = analyze(path)
    assert [(item.name, item.reason) for item in found.unlabelled] == []
    labelled = {weight.input for group in (found.layers, found.lookups) for item in group for weight in item.weights}
    assert {operand for at, operand in ROLES if at == name} <= labelled

"""Which files the wiring is proved on."""

from __future__ import annotations

from tests.test_zoo import CASES, OTHER, SLOW
from tests.test_zoo_quantized import CASES as PACKED
from tests.wiring import models
from tests.zoo.exporting import How

ZOO_CASES: list[tuple[str, How]] = [*CASES, *OTHER]
SLOW_CASES: list[tuple[str, How]] = SLOW

UNRUNNABLE: dict[tuple[str, str, str], str] = {
    ("llama", "legacy", "nbits_qdq"): "ReduceMean",
    ("gated", "legacy", "nbits_tables"): "Split",
}
"""Files onnxruntime refuses that its own tool wrote (old nodes under a newer opset), with the node it names."""

QUANTIZED = [case for case in PACKED if case not in UNRUNNABLE]

SPECIAL: list[tuple[str, How]] = [(name, how) for name in models.MODELS for how in ("dynamo", "legacy")]

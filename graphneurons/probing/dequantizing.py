"""Quantized outputs as the real numbers they stand for: ``(q - zero point) * scale``, as DequantizeLinear has it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from graphneurons.errors import DataError
from graphneurons.graph import ModelGraph
from graphneurons.probing.feeding import Array
from graphneurons.probing.settling import Runner

_SCALE_AT: Mapping[str, int] = {
    "QLinearConv": 6, "QLinearMatMul": 6, "QGemm": 7, "QLinearAdd": 6, "QLinearMul": 6, "QLinearSigmoid": 3,
    "QLinearLeakyRelu": 3, "QLinearSoftmax": 3, "QuantizeLinear": 1,
}  # fmt: skip
"""Op that puts out integers -> operand that holds their scale; the zero point follows it."""


@dataclass(frozen=True, slots=True, eq=False)
class Scaled:
    """A runner whose integers are made real numbers."""

    runner: Runner
    scale: Array
    zero: Array

    def __call__(self, feeds: Mapping[str, Array]) -> Array:
        found = self.runner(feeds)
        real: Array = (found.astype(np.float32) - self.zero) * self.scale
        return real


def scaled(runner: Runner, graph: ModelGraph, value: str) -> tuple[Runner, str]:
    """``runner``, made to put out real numbers where the op that makes ``value`` quantizes; and a notice where what it
    puts out are integers of a scale that is not known."""
    from graphneurons.load.reading import read

    maker = graph.producer.get(value)
    at = _SCALE_AT.get(maker.type) if maker is not None else None
    if maker is None or (at is None and not maker.type.endswith("Integer")):
        return runner, ""
    names = maker.inputs[at : at + 2] if at is not None else ()
    if maker.type == "QGemm" and not any(names):
        return runner, ""
    refs = [graph.weights.get(name) for name in names]
    try:
        if len(refs) == 2 and refs[0] is not None and refs[1] is not None:
            scale, zero = read(refs[0], limit=1), read(refs[1], limit=1)
            return Scaled(runner, scale.astype(np.float32).reshape(()), zero.astype(np.float32).reshape(())), ""
    except DataError:
        pass
    return runner, f"{maker.qualified} puts out integers, which are read as they are: their scale is not known"

"""Where a recurrent layer ends: at the last step, and where it runs through the sequence backwards, at the first."""

from __future__ import annotations

from graphneurons.analysis import Analysis, Layer
from graphneurons.axes.binding import Binding
from graphneurons.errors import UsageError

_LENGTHS = 4
"""Operand of ONNX's LSTM, GRU and RNN that says how long each sequence is."""


def first_backward(analysis: Analysis, layer: Layer, neurons: int) -> int:
    """The first of the neurons that read the sequence from its end, which come last; ``neurons`` where none does.

    Raises `UsageError` where sequences in a batch end at different steps: what follows them is padding.
    """
    step = analysis.resolution.steps.get(layer.op.name) if analysis.resolution is not None else None
    if not isinstance(step, Binding) or step.rule.kind != "recurrent":
        return neurons
    op = analysis.graph.producer[layer.op.output]
    if op.domain != "aten" and len(op.inputs) > _LENGTHS and op.inputs[_LENGTHS]:
        raise UsageError(
            f"{op.qualified} ends each sequence where {op.inputs[_LENGTHS]!r} says, so that its last place need not be "
            "its last step; choose mean, max or keep",
            file=analysis.model.path,
            where=layer.id,
        )
    if op.attributes.get("direction") == "reverse":
        return 0
    return neurons // 2 if step.sizes.get("d") == 2 else neurons

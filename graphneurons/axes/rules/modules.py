"""The table of ``torch.nn``: modules that torch.fx leaves whole; operands are their inputs, then their parameters."""

from __future__ import annotations

from graphneurons.axes.rules.aten_contractions import convolution, linear
from graphneurons.axes.rules.aten_elementwise import prelu
from graphneurons.axes.rules.aten_mixing import batch_norm, group_norm, normalised
from graphneurons.axes.rules.site import RuleText

MODULES: dict[str, RuleText] = {
    **{f"BatchNorm{d}d": batch_norm() for d in (1, 2, 3)},
    "Bilinear": "linear: *b i, *b j, o i j, ~o -> *b o",
    "Conv1D": "linear: *b i, i o, ~o -> *b o",
    **{f"Conv{d}d": convolution(d) for d in (1, 2, 3)},
    **{f"ConvTranspose{d}d": convolution(d, transposed=True) for d in (1, 2, 3)},
    "Embedding": "lookup: *n, @v d -> *n d",
    "GroupNorm": group_norm("num_groups"),
    **{f"InstanceNorm{d}d": "normalisation: n c ^*s, ~c, ~c -> n c ^*s" for d in (1, 2, 3)},
    "LayerNorm": normalised(),
    "Linear": linear,
    "NonDynamicallyQuantizableLinear": linear,
    "PReLU": prelu,
    "RMSNorm": normalised(),
}

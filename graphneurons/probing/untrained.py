"""An untrained copy of a model: the same architecture with its weights drawn anew, as a control for probes.

What a probe reads from it was in the inputs and the architecture, not learned (Zhang and Bowman 2018, "Language
Modeling Teaches You More Syntax than Translation Does"; Adebayo et al. 2018, "Sanity Checks for Saliency Maps", who
draw weights anew as they were before training). Weights are drawn from a normal distribution with the variance that
keeps signals at their size from layer to layer: 2 / n where a rectifier or one of its smooth relatives follows, 1 / n
elsewhere, n being the synapses of a neuron as the analysis counts them (He et al. 2015, "Delving Deep into
Rectifiers"; LeCun et al. 1998, "Efficient BackProp"). Exporters do not say how a model was initialised, and many
schemes are in use; one that keeps signals alive makes the strongest control. In detail:

- tables (embeddings): standard normal, or like the weights of the layer they are tied to;
- biases: 0; normalisation: scale 1, shift 0, running mean 0, running variance 1;
- weights stored as integers (quantized), or as floats narrower than 16 bits or bfloat16 in ONNX: their own elements in
  random order, so that scales and zero points still fit;
- all else (gains, masks, positional tables, constants of a formula, what could not be labelled) stays, and is counted
  in a notice as far as the layer depends on it.

Not the weights in random order throughout: trained weights without the normalisation they were trained with may make
signals grow or die, and the control would be weak where the network is deep.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import sqrt
from zlib import crc32

import numpy as np

from graphneurons.analysis import Analysis, Layer, Modulator
from graphneurons.graph import ModelGraph
from graphneurons.probing.records import Floats, Integers

_RECTIFIERS = frozenset(
    ["Relu", "LeakyRelu", "PRelu", "ThresholdedRelu", "Elu", "Celu", "Selu", "Gelu", "QuickGelu", "SiLU", "HardSwish",
     "Mish", "Softplus", "Clip"]
)  # fmt: skip
_AT: Mapping[int, float] = {1: 1.0, 2: 0.0, 3: 0.0, 4: 1.0}
"""Operand of a normalisation -> its value before training: scale, shift, running mean, running variance."""
_AFTER_SKIP: Mapping[int, float] = {2: 1.0, 3: 0.0, 4: 0.0}
_NEUTRAL = {"Mul": 1.0, "mul": 1.0, "Div": 1.0, "div": 1.0, "Add": 0.0, "add": 0.0, "Sub": 0.0, "sub": 0.0}
_NATIVE = {"float16": "<f2", "float32": "<f4", "float64": "<f8"}


@dataclass(frozen=True, slots=True)
class Draws:
    """``spreads``: stored tensor -> standard deviation it is drawn with; ``fixed``: -> the value all of it gets;
    ``kept``: the tensors that stay though they may have been learned. The same seed and name draw the same numbers."""

    seed: int
    spreads: Mapping[str, float] = field(default_factory=dict)
    fixed: Mapping[str, float] = field(default_factory=dict)
    kept: tuple[str, ...] = ()

    def concerns(self, name: str) -> bool:
        return name in self.spreads or name in self.fixed

    def numbers(self, name: str, shape: tuple[int, ...]) -> Floats:
        """The new elements of a tensor of floats."""
        if name not in self.spreads:
            return np.full(shape, self.fixed[name])
        return self._generator(name).standard_normal(shape) * self.spreads[name]

    def order(self, name: str, count: int) -> Integers:
        """The order that the stored elements of a tensor of other types are put in: as they are for modulators."""
        return self._generator(name).permutation(count) if name in self.spreads else np.arange(count)

    def raw(self, name: str, dtype: str, shape: tuple[int, ...], stored: bytes, bits: int) -> bytes:
        """The new ``raw_data`` of a tensor."""
        native = _NATIVE.get(dtype)
        if native is not None:
            return self.numbers(name, shape).astype(native).tobytes()
        whole = np.frombuffer(stored, dtype=np.uint8).reshape(-1, max(1, bits // 8))
        return whole[self.order(name, len(whole))].tobytes()

    def _generator(self, name: str) -> np.random.Generator:
        return np.random.default_rng([self.seed, crc32(name.encode("utf-8", "surrogatepass"))])

    @property
    def notices(self) -> tuple[str, ...]:
        if not self.kept:
            return ()
        shown = ", ".join(self.kept[:3]) + (f" and {len(self.kept) - 3:,} more" if len(self.kept) > 3 else "")
        what = "tensors that are neither weight, table, bias nor normalisation stay" if len(self.kept) > 1 else (
            "tensor that is neither weight, table, bias nor normalisation stays"
        )  # fmt: skip
        return (f"in the untrained copy {len(self.kept):,} {what} as trained: {shown}",)


def draws(analysis: Analysis, seed: int, end: str | None = None) -> Draws:
    """How the weights of a model are drawn anew. ``kept`` are those that the value ``end`` depends on; None: all."""
    spreads: dict[str, float] = {}
    for layer in analysis.layers:
        for use in layer.weights:
            spreads.setdefault(use.weight.name, _spread(layer))
    for lookup in analysis.lookups:
        for use in lookup.weights:
            spreads.setdefault(use.weight.name, 1.0)
    fixed: dict[str, float] = {}
    kept: dict[str, None] = {}
    for modulator in analysis.modulators:
        for use in modulator.weights:
            name, value = use.weight.name, _neutral(modulator, use.input)
            if value is not None and not use.weight.is_integer:
                fixed.setdefault(name, value)
            elif modulator.kind != "quantization" and use.weight.elements > 1:
                kept.setdefault(name)
    kept.update(dict.fromkeys(item.name for item in analysis.unlabelled))
    there = None if end is None else _stored(analysis.graph, end)
    left = tuple(
        name for name in kept if name not in spreads and name not in fixed and (there is None or name in there)
    )
    return Draws(seed, spreads, {name: value for name, value in fixed.items() if name not in spreads}, left)


def _stored(graph: ModelGraph, value: str) -> set[str]:
    """The stored tensors that ``value`` depends on."""
    found, waiting = {value}, [value]
    while waiting:
        maker = graph.producer.get(waiting.pop())
        new = [name for name in (maker.inputs if maker else ()) if name and name not in found]
        found.update(new)
        waiting.extend(new)
    return {graph.weights[name].name for name in found if name in graph.weights}


def _spread(layer: Layer) -> float:
    gain = 2.0 if layer.activation in _RECTIFIERS else 1.0
    return sqrt(gain / max(1, layer.synapses_per_neuron))


def _neutral(modulator: Modulator, operand: int) -> float | None:
    """What a modulator's operand is before training; None where that is not known."""
    kind = modulator.op.type
    if modulator.kind == "bias":
        return 0.0
    if modulator.kind != "normalisation":
        return None
    if kind in _NEUTRAL:
        return _NEUTRAL[kind]
    return (_AFTER_SKIP if kind.startswith("Skip") else _AT).get(operand)

"""Reports made by hand: every kind of concept, probe and verdict, without learning anything."""

from __future__ import annotations

import numpy as np

from graphneurons.probing.records import (
    Activations,
    Concept,
    ConceptReport,
    Control,
    LayerProbe,
    NeuronProbe,
    ProbeReport,
    Score,
    Verdict,
)

ROWS, NEURONS = 60, 20


def score(value: float, metric: str = "auc") -> Score:
    return Score(metric, value, value - 0.04, min(value + 0.03, 1.0))


def controls(metric: str = "auc", chance: float = 0.5) -> tuple[Control, ...]:
    return (
        Control("shuffled", score(chance, metric)),
        Control("random", score(chance + 0.01, metric)),
        Control("untrained", score(chance + 0.11, metric)),
    )


def activations() -> Activations:
    values = np.random.default_rng(3).normal(0.4, 1.0, (ROWS, NEURONS)).astype(np.float32)
    values[:, ::2] = np.maximum(values[:, ::2], 0)
    values[:, 7] = 0.25
    return Activations("blocks.0.mlp", "/relu_out", "Relu", "mean", values, np.arange(ROWS))


def binary() -> ConceptReport:
    """A concept two of all neurons carry alone, and many together."""
    labels = (np.arange(ROWS) % 3 == 0).astype(np.float64)
    weights = np.random.default_rng(4).normal(size=(1, NEURONS))
    weights[0, 7] = 0.0
    singles = tuple(
        NeuronProbe(
            neuron, score(0.9 - 0.02 * place), 0.2 - 0.02 * place,
            Verdict(place < 2, 0.0004 if place < 2 else 0.2, "beyond every control" if place < 2 else "within chance"),
            sign=-1 if neuron % 3 else 1, threshold=0.5, rate_with=0.97, rate_without=0.81, mean_with=1.25,
            mean_without=0.5,
        )
        for place, neuron in enumerate(np.random.default_rng(5).permutation(NEURONS).tolist())
    )  # fmt: skip
    linear = LayerProbe(
        "loop", "linear", tuple(range(NEURONS)), score(0.96), score(0.9, "accuracy"), controls(), 0.35,
        Verdict(True, 0.01, "AUC 0.96 is beyond every control"), weights, np.array([0.3]),
    )  # fmt: skip
    nonlinear = LayerProbe(
        "loop", "nonlinear", tuple(range(NEURONS)), score(0.97), None, controls(), 0.36,
        Verdict(True, 0.01, "AUC 0.97 is beyond every control"),
    )  # fmt: skip
    concept = Concept("loop", "binary", labels, ("without", "with"))
    return ConceptReport(concept, (linear, nonlinear), singles, controls())


def classes() -> ConceptReport:
    """Three classes, one of them named to do harm."""
    labels = (np.arange(ROWS) % 3).astype(np.float64)
    weights = np.random.default_rng(6).normal(size=(3, 4))
    probe = LayerProbe(
        "kind", "linear", (1, 3, 5, 7), score(0.4, "balanced_accuracy"), score(0.41, "accuracy"),
        controls("balanced_accuracy", 0.33), -0.04,
        Verdict(False, 0.3, "balanced accuracy 0.40 is no better than the untrained copy (0.44)"), weights, np.zeros(3),
    )  # fmt: skip
    return ConceptReport(Concept("kind", "classes", labels, ("<b>", "::error::", "重み")), (probe,))


def number() -> ConceptReport:
    """A number that one neuron follows."""
    one = NeuronProbe(4, score(0.31, "r2"), 0.2, Verdict(True, 0.002, "R2 0.31 is beyond every control"), sign=1)
    labels = np.linspace(-2, 7, ROWS)
    return ConceptReport(Concept("ink", "number", labels), (), (one,), controls("r2", 0.0))


def report() -> ProbeReport:
    return ProbeReport(
        "digits.onnx", "blocks.0.mlp", activations(), (binary(), classes(), number()), 5, 0,
        ("1 neuron is constant, so that nothing can be read from it: 7",),
    )  # fmt: skip

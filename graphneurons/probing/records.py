"""What a probe works on and what it answers: frozen records, from activations to verdicts.

A probe is a neuron whose synapses are learned: it reads a concept c(x) from activations h(x) (Alain and Bengio 2016,
"Understanding intermediate layers using linear classifier probes"). Its score means something only beside that of
controls; *selectivity* is score minus control (Hewitt and Liang 2019, "Designing and Interpreting Probes with Control
Tasks").
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt

from graphneurons.errors import UsageError

if TYPE_CHECKING:
    from graphneurons.views.drawing import Drawing

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]

Task = Literal["binary", "classes", "number"]
Method = Literal["single", "linear", "nonlinear"]
Pooling = Literal["mean", "max", "last", "keep"]
ControlKind = Literal["shuffled", "random", "untrained"]


@dataclass(frozen=True, slots=True, eq=False)
class Concept:
    """A property of the inputs. ``values``: one per row of the data: the index of a class, or a number.

    ``classes``: the names of the classes in the order of their indices; empty for numbers. A ``binary`` concept has
    two, and the second is the one that is carried.
    """

    name: str
    task: Task
    values: Floats
    classes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class Activations:
    """What the neurons of ``layer`` put out.

    ``values``: (samples, neurons) float32; ``rows[s]``: the row of the data that sample ``s`` comes from, so that
    positions kept as samples stay together when data are split. ``value``: the name of the tensor read; ``after``: the
    activation applied to it (None: before any, or there is none). ``notices``: what a reader of the numbers should know
    of how they were got (rows run one by one, weights that stayed as trained).
    """

    layer: str
    value: str
    after: str | None
    pooling: Pooling
    values: npt.NDArray[np.float32]
    rows: Integers
    notices: tuple[str, ...] = ()


METRICS = {
    "auc": "AUC",
    "auc_ovr": "AUC of one against the rest",
    "balanced_accuracy": "balanced accuracy",
    "accuracy": "accuracy",
    "r2": "R2",
}
"""What scores are of, as people read it."""


@dataclass(frozen=True, slots=True)
class Score:
    """``metric``: ``auc`` of two classes, ``balanced_accuracy`` of more (of a single neuron ``auc_ovr``: the mean over
    classes of the AUC of one against the rest), ``r2`` of numbers; on held-out data, with the bounds of its 95 %
    confidence interval. ``accuracy`` beside a balanced one is that of all samples alike."""

    metric: str
    value: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Control:
    """The same probe where it should find nothing: ``shuffled`` labels, ``random`` neurons (Gaussian noise in place of
    the activations' values), an ``untrained`` copy of the model with its weights drawn anew. The bounds of the first
    two hold 95 % of what they reached when drawn again and again; those of the last are a confidence interval."""

    kind: ControlKind
    score: Score


@dataclass(frozen=True, slots=True)
class Verdict:
    """``carries``: the score lies beyond every control, and ``p`` (corrected for how many were asked) is below the
    level. ``reason``: one line that says why, or why not."""

    carries: bool
    p: float
    reason: str


@dataclass(frozen=True, slots=True)
class NeuronProbe:
    """One neuron on its own: ``sigmoid(w h + b)``.

    ``told``: the class it tells: of two the second, of more the one it tells best from the rest; None for numbers.
    ``sign``: +1 where it responds more with that class (or to higher numbers), -1 where less, 0 where it does not.
    ``threshold``: the activation that tells most, where sensitivity and specificity add up highest; ``rate_with``,
    ``rate_without``: the share of samples with (without) the class on which it fires (> 0); ``mean_with``,
    ``mean_without``: its mean activation there. The five describe all samples, and are None for numbers.
    """

    neuron: int
    score: Score
    selectivity: float
    verdict: Verdict
    sign: int
    told: str | None = None
    threshold: float | None = None
    rate_with: float | None = None
    rate_without: float | None = None
    mean_with: float | None = None
    mean_without: float | None = None


@dataclass(frozen=True, slots=True, eq=False)
class LayerProbe:
    """Many neurons together: ``sigmoid(W h + b)``, or a nonlinear ``g(h)``.

    ``weights``: (outputs, neurons probed), in units of the activations themselves; outputs are one for a binary concept
    or a number, one per class else; None where nonlinear. ``neurons``: which of the layer's were read. ``accuracy``:
    balanced for a binary concept, plain for more classes, None for numbers.
    """

    concept: str
    method: Method
    neurons: tuple[int, ...]
    score: Score
    accuracy: Score | None
    controls: tuple[Control, ...]
    selectivity: float
    verdict: Verdict
    weights: Floats | None = None
    bias: Floats | None = None


@dataclass(frozen=True, slots=True, eq=False)
class ConceptReport:
    """All answers about one concept. ``singles``: strongest first; ``single_controls``: what the best of as many
    neurons reaches by chance."""

    concept: Concept
    probes: tuple[LayerProbe, ...]
    singles: tuple[NeuronProbe, ...] = ()
    single_controls: tuple[Control, ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class ProbeReport:
    """What `probe` found in one layer. ``samples`` were split into ``folds`` by group; ``seed`` repeats all of it."""

    model: str
    layer: str
    activations: Activations
    concepts: tuple[ConceptReport, ...]
    folds: int
    seed: int
    notices: tuple[str, ...] = ()

    def concept(self, name: str | None = None) -> ConceptReport:
        """The answers about the concept called so; without a name, about the only one. Raises `UsageError`."""
        named = {found.concept.name: found for found in self.concepts}
        if name is None and len(named) == 1:
            return self.concepts[0]
        if name not in named:
            raise UsageError(
                f"there is no concept {name!r}; there are {', '.join(named)}"
                if name is not None
                else f"there are several concepts; name one of {', '.join(named)}"
            )
        return named[name]

    def picture(self, concept: str | None = None, **choices: Any) -> Drawing:
        """The linear probe of a concept as a neuron. ``choices``: fields of `graphneurons.views.options.Options`."""
        from graphneurons.views.drawing import Drawing
        from graphneurons.views.options import Options
        from graphneurons.views.probed import draw_probe

        return Drawing(draw_probe(self, self.concept(concept), Options(**choices)).dot())

    def histogram(self, concept: str | None = None, **choices: Any) -> Drawing:
        """What its strongest single neurons put out, class by class of a concept. ``choices`` as of `picture`."""
        from graphneurons.views.drawing import Drawing
        from graphneurons.views.histograms import draw_histograms
        from graphneurons.views.options import Options

        return Drawing(draw_histograms(self, self.concept(concept), Options(**choices)).dot())

    def _repr_html_(self) -> str:
        from graphneurons.reports.probe import as_html

        return as_html(self)

"""What a check is and what it finds. Every check has a stable code, and its docstring is its documentation."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from inspect import cleandoc
from typing import TYPE_CHECKING, Any, Literal

from graphneurons.errors import GraphNeuronsError

if TYPE_CHECKING:
    from graphneurons.analysis import Analysis
    from graphneurons.checks.drifting import Drift
    from graphneurons.checks.policy import Policy
    from graphneurons.checks.scales import Quantized
    from graphneurons.checks.walking import Stop
    from graphneurons.health import Health

Severity = Literal["error", "warning", "info"]
SEVERITIES: tuple[Severity, ...] = ("error", "warning", "info")
"""Worst first."""

Limits = Mapping[str, float]


def at_least(severity: Severity, least: Severity) -> bool:
    """Whether ``severity`` is as bad as ``least``, or worse."""
    return SEVERITIES.index(severity) <= SEVERITIES.index(least)


@dataclass(frozen=True, slots=True)
class Found:
    """What a check says of one place: a layer, a weight of it, some neurons of it; all None for the whole model.

    ``neurons``: their numbers, ascending, or None where the finding is not about some of the neurons. ``axis``: of the
    stored tensor. ``evidence``: numbers and short texts that show it, ready for JSON.
    """

    message: str
    layer: str | None = None
    weight: str | None = None
    axis: int | None = None
    neurons: tuple[int, ...] | None = None
    evidence: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Finding(Found):
    """A `Found` with the check that found it."""

    code: str = ""
    name: str = ""
    severity: Severity = "warning"
    fix: str = ""


@dataclass(frozen=True)
class Subject:
    """One model being checked. The weights are read once, when the first check asks for their health."""

    analysis: Analysis
    policy: Policy
    other: Any = None

    @cached_property
    def health(self) -> Health:
        from graphneurons.health import scan

        return scan(self.analysis)

    @cached_property
    def drift(self) -> Drift:
        """What differs from ``other``, a `graphneurons.checks.locking.Reference`."""
        from graphneurons.checks.drifting import drift_of

        return drift_of(self.analysis, self.other)

    @cached_property
    def quantized(self) -> tuple[Quantized, ...]:
        """The weights of layers that have a scale."""
        from graphneurons.checks.scales import quantized_weights

        return tuple(quantized_weights(self.analysis))

    @cached_property
    def stops(self) -> tuple[Stop, ...]:
        """The activations that neurons come to, with proofs between which numbers they lie before them."""
        from graphneurons.checks.ranges import walked

        walk = walked(self.analysis, self.policy.ranges)
        return () if walk is None else tuple(walk.stops)

    @property
    def stored_bytes(self) -> int:
        """Bytes of the model file and of the external data its weights take."""
        from graphneurons.graph import External

        storages = {ref.storage for ref in self.analysis.graph.weights.values() if isinstance(ref.storage, External)}
        return self.analysis.model.bytes + sum(storage.length for storage in storages)


Search = Callable[[Subject, Limits], Iterator[Found]]


@dataclass(frozen=True, slots=True)
class Check:
    """One rule. ``limits``: its thresholds and their defaults, which a policy can change. ``reads_weights``: whether it
    needs more than the structure of the model."""

    code: str
    name: str
    severity: Severity
    search: Search
    limits: Limits
    reads_weights: bool = False

    @property
    def documentation(self) -> Documentation:
        return documented(self.search.__doc__ or "")


@dataclass(frozen=True, slots=True)
class Documentation:
    """A check's docstring in its parts. ``title`` is its first line."""

    title: str
    what: str
    why: str
    example: str
    fix: str


_PART = re.compile(r"^(Why|Example|Fix):\s*", re.MULTILINE)


def documented(docstring: str) -> Documentation:
    """The parts of a check's docstring: title, what it does, and what ``Why:``, ``Example:`` and ``Fix:`` begin."""
    title, _, rest = cleandoc(docstring).partition("\n")
    pieces = _PART.split(rest)
    parts = {name: text.strip() for name, text in zip(pieces[1::2], pieces[2::2], strict=True)}
    return Documentation(
        title.strip(), pieces[0].strip(), parts.get("Why", ""), parts.get("Example", ""), parts.get("Fix", "")
    )


def check(
    code: str, name: str, severity: Severity, *, reads_weights: bool = False, **limits: float
) -> Callable[[Search], Check]:
    """Decorator: the function that searches becomes a `Check`. Underscores in ``limits`` are hyphens in a policy."""

    def made(search: Search) -> Check:
        return Check(
            code, name, severity, search, {key.replace("_", "-"): value for key, value in limits.items()}, reads_weights
        )

    return made


class FindingsError(GraphNeuronsError):
    """A model has findings that may not be there; ``report`` has them."""

    def __init__(self, message: str, report: CheckReport) -> None:
        self.report = report
        super().__init__(message)


@dataclass(frozen=True, slots=True)
class ModelReport:
    """What was found in one model, worst first. ``error``: why it could not be looked at, then there are no findings.

    ``suppressed``: findings left out because the baseline has them. ``checks``: codes of the checks that ran.
    ``unread``: why nothing is known of any weight though rules about weights ran; such a model may fail, but not pass.
    """

    path: str
    findings: tuple[Finding, ...] = ()
    checks: tuple[str, ...] = ()
    neurons: int = 0
    synapses: int = 0
    error: str | None = None
    suppressed: int = 0
    unread: str | None = None

    def count(self, severity: Severity) -> int:
        return sum(finding.severity == severity for finding in self.findings)

    @property
    def by_code(self) -> Mapping[str, int]:
        counts: dict[str, int] = {}
        for finding in sorted(self.findings, key=lambda finding: finding.code):
            counts[finding.code] = counts.get(finding.code, 0) + 1
        return counts


@dataclass(frozen=True, slots=True)
class CheckReport:
    """What was found in some models. ``fail_on``: the least severity that fails."""

    models: tuple[ModelReport, ...]
    fail_on: Severity = "warning"

    @property
    def findings(self) -> tuple[Finding, ...]:
        return tuple(finding for model in self.models for finding in model.findings)

    @property
    def failing(self) -> tuple[Finding, ...]:
        """The findings that fail."""
        return tuple(finding for finding in self.findings if at_least(finding.severity, self.fail_on))

    @property
    def exit_code(self) -> int:
        """0: clean, 1: something fails, 2: some model could not be looked at, or there was none."""
        if not self.models or any(model.error is not None for model in self.models):
            return 2
        return 1 if self.failing else 0

    def raise_for_findings(self) -> None:
        """Raises `FindingsError` if anything fails, and also if a model could not be looked at."""
        errors = [model.error for model in self.models if model.error is not None]
        if errors:
            raise FindingsError(errors[0], self)
        failing = self.failing
        if failing:
            first = failing[0]
            more = f" (and {len(failing) - 1} more)" if len(failing) > 1 else ""
            where = f"{first.layer}: " if first.layer else ""
            raise FindingsError(f"{first.code} {where}{first.message}{more}", self)

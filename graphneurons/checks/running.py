"""Runs the checks a policy selects on a model."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import fields
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any, Union

from graphneurons.analysis import Analysis
from graphneurons.checks.base import (
    SEVERITIES,
    Check,
    CheckReport,
    Finding,
    Found,
    ModelReport,
    Subject,
    at_least,
)
from graphneurons.checks.policy import Policy, policy_from
from graphneurons.checks.registry import checks
from graphneurons.errors import DataError, UsageError

if TYPE_CHECKING:
    from graphneurons.graph import ModelGraph

Model = Union[str, "os.PathLike[str]", "ModelGraph", Analysis, Any]


def run(subject: Subject) -> ModelReport:
    """What the selected checks find in one analyzed model, worst first.

    Raises `DataError` where a check needs weights whose bytes cannot be read, and where nothing fails only because
    nothing could be read of any weight; `UsageError` where no check is selected.
    """
    policy = subject.policy
    chosen = [check for check in checks().values() if policy.selects(check.code)]
    if subject.other is None:
        chosen = [check for check in chosen if not check.code.startswith("GN5")]
    if not chosen:
        raise UsageError(
            "no rule is selected (GN5 needs something to compare with: --against)", file=subject.analysis.model.path
        )
    found = [finding for check in chosen for finding in _searched(check, subject)]
    is_green = not any(at_least(finding.severity, policy.fail_on) for finding in found)
    unread = _unread(subject) if any(_reads_weights(check, policy) for check in chosen) else None
    if is_green and unread is not None:
        raise DataError(unread, file=subject.analysis.model.path)
    totals = subject.analysis.totals
    return ModelReport(
        subject.analysis.model.path,
        tuple(sorted(found, key=order)),
        tuple(check.code for check in chosen),
        totals.neurons,
        totals.synapses,
        unread=unread,
    )


def _reads_weights(check: Check, policy: Policy) -> bool:
    """Whether the check passes for the wrong reason where no weight can be read. GN403 reads weights only if the policy
    asks for sparsity, and GN607 tells what is not read."""
    return check.reads_weights and check.code != "GN607" and (check.code != "GN403" or policy.sparsity is not None)


def _unread(subject: Subject) -> str | None:
    """Why nothing is known of any weight, in words; None where something is."""
    analysis, health = subject.analysis, subject.health
    if analysis.unlabelled and not analysis.totals.labelled_elements:
        reason = f"none of its weights can be labelled: {analysis.unlabelled[0].reason}"
    elif health.skipped and not health.lookups and not any(each.weights for each in health.layers):
        reason = f"none of its weights can be read: {health.skipped[0].reason}"
    else:
        return None
    return f"{reason}; rules about weights have nothing to look at, --select GN1,GN6 --ignore GN103 asks for the others"


def order(finding: Finding) -> tuple[Any, ...]:
    """Worst first, then by code and place."""
    return (
        SEVERITIES.index(finding.severity),
        finding.code,
        finding.layer or "",
        finding.weight or "",
        finding.axis if finding.axis is not None else -1,
        finding.neurons or (),
        finding.message,
    )


def _searched(check: Check, subject: Subject) -> list[Finding]:
    policy = subject.policy
    limits = {**check.limits, **policy.thresholds.get(check.code, {})}
    severity = policy.severity_of(check.code, check.severity)
    fix = " ".join(check.documentation.fix.split())
    ignored = [pattern for pattern, codes in policy.per_layer_ignores.items() if check.code.startswith(tuple(codes))]
    return [
        Finding(**_plain(found), code=check.code, name=check.name, severity=severity, fix=fix)
        for found in check.search(subject, limits)
        if not any(fnmatchcase(name, pattern) for pattern in ignored for name in (found.layer, found.weight) if name)
    ]


def _plain(found: Found) -> dict[str, Any]:
    return {each.name: getattr(found, each.name) for each in fields(Found)}


def check(
    model: Model,
    policy: Policy | Mapping[str, Any] | str | os.PathLike[str] | None = None,
    *,
    against: Model | None = None,
    **analyzing: Any,
) -> CheckReport:
    """Checks one model before it is deployed.

    ``model``: a path (``.onnx``, ``.pt2``), what `load`, `trace` or `analyze` made of one, or a model in memory that
    needs no arguments to be traced: an ``ExportedProgram``, an ``ONNXProgram``, an ``onnx.ModelProto``.
    An ``nn.Module`` is traced with arguments first: ``check(trace(module, x))``.
    ``policy``: a `Policy`, the path of a TOML file, a dictionary as that file would give, or None for the defaults (no
    file is looked for). ``against``: the path of a lock file, or another model, to tell drift. ``analyzing`` goes to
    `graphneurons.analyze`: ``shapes`` and ``dims``.

    Raises `LoadError`, `DataError` and `UsageError`, so that no model passes because nothing could be read of it.
    """
    chosen = policy_from(policy)
    analysis = _analysis(model, analyzing)
    other = None
    if against is not None:
        from graphneurons.checks.locking import reference_of

        other = reference_of(against)
    return CheckReport((run(Subject(analysis, chosen, other)),), chosen.fail_on)


def _analysis(model: Model, analyzing: Mapping[str, Any]) -> Analysis:
    from graphneurons.analyzing import analyze
    from graphneurons.graph import ModelGraph

    if isinstance(model, Analysis):
        if analyzing:
            raise UsageError(f"{', '.join(analyzing)}: the model is analyzed already; give them to analyze()")
        return model
    if isinstance(model, str | os.PathLike | ModelGraph):
        return analyze(model, **analyzing)
    from graphneurons.tracing import trace

    try:
        graph = trace(model)
    except UsageError as error:
        if not callable(model):
            raise
        raise UsageError(f"{error.message}; trace it with its arguments: check(trace(module, x))") from None
    return analyze(graph, **analyzing)

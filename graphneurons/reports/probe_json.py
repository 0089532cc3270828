"""What a probe found, for programs: docs/probe.schema.json says what every field is."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from graphneurons.probing.records import (
    Concept,
    ConceptReport,
    Control,
    Floats,
    LayerProbe,
    NeuronProbe,
    ProbeReport,
    Score,
    Verdict,
)
from graphneurons.reports.json import SCHEMA_VERSION


def probe_record(report: ProbeReport) -> dict[str, Any]:
    """``report`` as plain dictionaries, lists, strings and numbers; null where there is no finite number."""
    found = report.activations
    return {
        "schema_version": SCHEMA_VERSION,
        "model": report.model,
        "layer": report.layer,
        "value": found.value,
        "after": found.after,
        "pooling": found.pooling,
        "samples": int(found.values.shape[0]),
        "rows": int(np.unique(found.rows).size),
        "neurons": int(found.values.shape[1]),
        "folds": report.folds,
        "seed": report.seed,
        "concepts": [_concept(each) for each in report.concepts],
        "notices": list(report.notices),
    }


def _concept(found: ConceptReport) -> dict[str, Any]:
    concept = found.concept
    return {
        "name": concept.name,
        "task": concept.task,
        "classes": _counts(concept),
        "probes": [_probe(each) for each in found.probes],
        "single_controls": [_control(each) for each in found.single_controls],
        "neurons": [_neuron(each) for each in found.singles],
    }


def _counts(concept: Concept) -> list[dict[str, Any]]:
    if concept.task == "number":
        return []
    counts = np.bincount(concept.values.astype(np.int64), minlength=len(concept.classes))
    return [{"name": name, "rows": int(n)} for name, n in zip(concept.classes, counts, strict=True)]


def _probe(probe: LayerProbe) -> dict[str, Any]:
    return {
        "method": probe.method,
        "neurons": list(probe.neurons),
        "score": _score(probe.score),
        "accuracy": None if probe.accuracy is None else _score(probe.accuracy),
        "controls": [_control(each) for each in probe.controls],
        "selectivity": _number(probe.selectivity),
        "verdict": _verdict(probe.verdict),
        "weights": None if probe.weights is None else [_numbers(row) for row in probe.weights],
        "bias": None if probe.bias is None else _numbers(probe.bias),
    }


def _neuron(one: NeuronProbe) -> dict[str, Any]:
    return {
        "neuron": one.neuron,
        "score": _score(one.score),
        "selectivity": _number(one.selectivity),
        "verdict": _verdict(one.verdict),
        "sign": one.sign,
        "threshold": _number(one.threshold),
        "rate_with": _number(one.rate_with),
        "rate_without": _number(one.rate_without),
        "mean_with": _number(one.mean_with),
        "mean_without": _number(one.mean_without),
    }


def _control(control: Control) -> dict[str, Any]:
    return {"kind": control.kind, "score": _score(control.score)}


def _score(score: Score) -> dict[str, Any]:
    return {
        "metric": score.metric, "value": _number(score.value), "low": _number(score.low), "high": _number(score.high),
    }  # fmt: skip


def _verdict(verdict: Verdict) -> dict[str, Any]:
    return {"carries": verdict.carries, "p": _number(verdict.p), "reason": verdict.reason}


def _numbers(row: Floats) -> list[float | None]:
    return [_number(value) for value in row.tolist()]


def _number(value: float | None) -> float | None:
    """A JSON number; None for what JSON has no number for. Twelve digits: the rest differs between machines."""
    return None if value is None or not math.isfinite(value) else float(f"{value:.12g}")

"""What is refused before anything is learned, what never fails, and that a report is the same twice."""

from __future__ import annotations

import sys
from dataclasses import fields, is_dataclass, replace
from typing import Any

import numpy as np
import pytest

import graphneurons
from graphneurons.errors import UsageError
from graphneurons.probing.concepts import concepts_of
from graphneurons.probing.probing import probe_activations
from graphneurons.probing.records import Activations
from tests.probing.planted import collected, planted

QUICK: dict[str, Any] = {"refits": 20, "draws": 3, "shuffles": 39, "folds": 3, "strength": 1.0}


def small(rows: int = 60) -> tuple[Activations, dict[str, np.ndarray]]:
    values, labels = planted(rows=rows)
    return collected(values), labels


def spoiled(value: float) -> Activations:
    found, _ = small()
    values = found.values.copy()
    values[7, 4] = values[9, 5] = value
    return replace(found, values=values)


GOOD = small()[0]


@pytest.mark.parametrize(
    ("activations", "options", "message"),
    [
        (small(50)[0], {}, "label 'alone' has 60 values; the data have 50 rows: expected one label per row"),
        (spoiled(np.nan), {}, "layer layer: neuron 4 is nan in row 7 of the data (2 neurons are not finite); expected "
         "finite activations"),
        (spoiled(np.inf), {}, "layer layer: neuron 4 is inf in row 7 of the data (2 neurons are not finite); expected "
         "finite activations"),
        (GOOD, {"untrained": spoiled(np.nan)}, "the untrained copy of layer layer: neuron 4 is nan in row 7 of the "
         "data (2 neurons are not finite); expected finite activations"),
        (GOOD, {"untrained": small(40)[0]}, "the untrained copy of layer layer has other samples; expected those of "
         "the model itself"),
        (replace(GOOD, values=GOOD.values[0]), {}, "layer layer: activations [20] of rows [60]; expected [samples, "
         "neurons] and [samples]"),
        (GOOD, {"groups": [1, 2]}, "groups have shape [2]; the data have 60 rows: expected [60]"),
        (GOOD, {"neurons": "3,x"}, "--neurons 3,x: expected 0,5,10:20"),
        (GOOD, {"neurons": "5,18:21"}, "--neurons 5,18:21: layer has neurons 0 to 19, 18:21 is not there"),
        (GOOD, {"neurons": [3, 20]}, "layer has neurons 0 to 19, 20 is not there"),
        (GOOD, {"neurons": []}, "no neurons of layer chosen; expected at least one"),
        (GOOD, {"methods": ("single", "deep")}, "no method deep; expected some of single, linear, nonlinear"),
        (GOOD, {"methods": ()}, "no method given; expected some of single, linear, nonlinear"),
        (GOOD, {"penalty": "l0"}, "no penalty 'l0'; expected l2 or l1"),
        (GOOD, {"level": 1.5}, "level=1.5: expected a number between 0 and 1"),
        (GOOD, {"refits": 19}, "refits=19 cannot show p below 0.05; expected at least 20"),
        (GOOD, {"shuffles": 50, "level": 0.01}, "shuffles=50 cannot show p below 0.01; expected at least 100"),
        (GOOD, {"draws": 2}, "draws=2: expected at least 3, to see how random neurons vary"),
        (GOOD, {"strength": 0.0}, "strength=0: expected a positive number, or None: tuned"),
        (GOOD, {"folds": 40}, "label 'alone': class 'False' is in 36 rows; 40 folds need at least 40 of every class: "
         "more data, or fewer folds"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_refused(activations: Activations, options: dict[str, Any], message: str) -> None:
    _, labels = small()
    with pytest.raises(UsageError) as caught:
        probe_activations(activations, concepts_of({"alone": labels["alone"]}), **QUICK | options)
    assert str(caught.value) == message


def test_no_concept() -> None:
    with pytest.raises(UsageError, match="no concept to probe for"):
        probe_activations(GOOD, (), **QUICK)


def test_labels_and_options_are_refused_before_the_model_is_run() -> None:
    """The model is none: it would fail."""
    data = {"x": np.zeros((10, 4), np.float32)}
    for labels, options, message in [
        ([0, 1] * 4, {}, "label 'label' has 8 values; the data have 10 rows"),
        ([0] * 9 + [1], {}, "class '1' is in 1 rows"),
        ([0, 1] * 5, {"groups": [1]}, "groups have shape"),
        ([0, 1] * 5, {"methods": "deep"}, "no method deep"),
        ([1] * 10, {}, "label 'label' is 1 in all 10 rows"),
    ]:
        with pytest.raises(UsageError, match=message.replace("[", r"\[")):
            graphneurons.probe(None, "layer", data, labels, **options)


def test_without_scikit_learn_one_line_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sklearn.linear_model", None)
    with pytest.raises(UsageError) as caught:
        graphneurons.probe(None, "layer", {}, [0, 1])
    assert 'probes need scikit-learn: pip install "graphneurons[probe]"' in str(caught.value)


def test_constant_neurons_are_told_and_carry_nothing() -> None:
    found, labels = small(120)
    values = found.values.copy()
    values[:, [2, 11]] = 0, 0.25
    report = probe_activations(replace(found, values=values), concepts_of({"alone": labels["alone"]}), **QUICK)
    dead = {one.neuron: one for one in report.concepts[0].singles if one.neuron in (2, 11)}
    assert dead[2].verdict.reason == "constant: 0 on all 120 samples"
    assert dead[11].verdict.reason == "constant: 0.25 on all 120 samples"
    assert [(one.score.value, one.sign, one.verdict.carries, one.verdict.p) for one in dead.values()] == [
        (0.5, 0, False, 1.0)
    ] * 2
    silent = replace(found, values=np.zeros_like(values))
    report = probe_activations(silent, concepts_of({name: labels[name] for name in ("alone", "level")}), **QUICK)
    for concept in report.concepts:
        assert not any(one.verdict.carries for one in (*concept.singles, *concept.probes))
        assert all(one.verdict.reason == "constant: 0 on all 120 samples" for one in concept.singles)


def test_chosen_neurons_keep_their_numbers() -> None:
    found, labels = small(120)
    asked = concepts_of({"alone": labels["alone"]})
    report = probe_activations(found, asked, neurons="11,0:2", untrained=found, **QUICK).concepts[0]
    assert sorted(one.neuron for one in report.singles) == [0, 1, 11]
    assert report.probes[0].neurons == (11, 0, 1)
    assert report.probes[0].weights is not None
    assert report.probes[0].weights.shape == (1, 3)
    again = probe_activations(found, asked, neurons=[11, 0, 1], untrained=found, **QUICK).concepts[0]
    assert flat(again) == flat(report)


def flat(value: object) -> object:
    if is_dataclass(value):
        return {field.name: flat(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, np.ndarray):
        return value.tobytes()
    return [flat(one) for one in value] if isinstance(value, tuple) else value


def test_the_same_seed_is_the_same_report() -> None:
    found, labels = small()
    asked = concepts_of({"alone": labels["alone"]})
    few = QUICK | {"level": 0.5, "refits": 2, "strength": None}

    def report(seed: int) -> object:
        return flat(probe_activations(found, asked, methods=("single", "linear", "nonlinear"), seed=seed, **few))

    first = report(1)
    assert report(1) == first
    assert report(2) != first


def test_progress_and_interrupts() -> None:
    found, labels = small()
    asked = concepts_of({name: labels[name] for name in ("alone", "level")})
    steps: list[tuple[int, int]] = []
    probe_activations(found, asked, untrained=found, progress=lambda *step: steps.append(step), **QUICK)
    done = [step for step, _ in steps]
    assert done == list(range(1, len(done) + 1)), "one by one"
    assert {total for _, total in steps} == {len(steps)}, "up to all of it"

    def stop(done: int, total: int) -> None:
        if done == 5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        probe_activations(found, asked, progress=stop, **QUICK)

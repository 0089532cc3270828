"""How much of every model the wiring explains: at least 99 % of all synapses, the rest with its reason."""

from __future__ import annotations

from collections import Counter
from functools import cache

import pytest

import graphneurons
from graphneurons.analysis import Analysis
from tests.wiring import graphs, models
from tests.wiring.cases import SPECIAL, ZOO_CASES
from tests.wiring.claims import Claim, Claims
from tests.zoo.exporting import How, export

COLUMNS = ("one neuron", "several neurons", "with a mixture", "mixed", "constant", "unknown")
UNKNOWN = {"sequence", "routed", "picked_by_activation"}
"""Hand-written graphs in which the running model alone knows who feeds whom."""


def kind(claim: Claim) -> str:
    if claim.reasons:
        return "unknown"
    if not claim.neurons:
        return "mixed" if claim.mixed else "constant"
    if claim.mixed:
        return "with a mixture"
    return "one neuron" if claim.direct else "several neurons"


def counts(analysis: Analysis) -> Counter[str]:
    """Kind -> synapse channels of all layers."""
    claims = Claims(analysis.wiring)
    return Counter(
        kind(claims.of(int(number)))
        for weights in analysis.wiring.synapses.values()
        for item in weights
        for number in item.neurons
    )


@cache
def table() -> dict[str, Counter[str]]:
    """All models of the zoo, a row each."""
    return {f"{name}.{how}": counts(graphneurons.analyze(export(name, how))) for name, how in ZOO_CASES}


def written(rows: dict[str, Counter[str]]) -> str:
    lines = [f"{'model':24}" + "".join(f"{name:>17}" for name in COLUMNS)]
    lines += [f"{name:24}" + "".join(f"{row[column]:17}" for column in COLUMNS) for name, row in rows.items()]
    return "\n".join(lines)


def test_nearly_every_synapse_of_the_zoo_is_resolved(capsys: pytest.CaptureFixture[str]) -> None:
    rows = table()
    total = Counter[str]()
    for row in rows.values():
        total.update(row)
    with capsys.disabled():
        print("\n" + written({**rows, "all": total}))
    assert total["unknown"] <= 0.01 * total.total()
    assert total["one neuron"] + total["several neurons"] >= 0.9 * total.total()


@pytest.mark.parametrize(("name", "how"), ZOO_CASES)
def test_no_model_hides_behind_the_others(name: str, how: How) -> None:
    row = table()[f"{name}.{how}"]
    assert row.total() > 0
    assert row["unknown"] <= 0.01 * row.total(), graphneurons.analyze(export(name, how)).wiring.reasons


@pytest.mark.parametrize(("name", "how"), SPECIAL)
def test_what_is_special_is_resolved_too(name: str, how: How) -> None:
    row = counts(graphneurons.analyze(models.exported(name, how)))
    assert row["unknown"] == 0
    assert row.total() > 0


@pytest.mark.parametrize("name", graphs.GRAPHS)
def test_what_stays_unknown_carries_its_reason(name: str) -> None:
    analysis = graphneurons.analyze(graphs.written(name))
    row = counts(analysis)
    assert (row["unknown"] > 0) == (name in UNKNOWN)
    assert bool(analysis.wiring.reasons) or not row["unknown"]
    assert all(reason and not reason.startswith("unknown") for reason in analysis.wiring.reasons)

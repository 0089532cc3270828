"""The wiring of every model holds when its connections are cut and its neurons are pushed one by one."""

from __future__ import annotations

import onnxruntime
import pytest

from tests.wiring import graphs, models
from tests.wiring.cases import QUANTIZED, SLOW_CASES, SPECIAL, UNRUNNABLE, ZOO_CASES
from tests.wiring.fused import FUSED
from tests.wiring.judging import Verdict, judge
from tests.zoo.architectures import ZOO
from tests.zoo.exporting import How, export
from tests.zoo.quantizing import quantized

SLOW = [pytest.param(*case, marks=pytest.mark.slow) for case in SLOW_CASES]


def prove(verdict: Verdict) -> None:
    assert verdict.problems == []
    assert verdict.synapses > 0
    assert verdict.checked == verdict.synapses - verdict.unknown


@pytest.mark.parametrize(("name", "how"), [*ZOO_CASES, *SLOW])
def test_the_zoo(name: str, how: How) -> None:
    prove(judge(export(name, how), [item.numpy() for item in ZOO[name].arguments()]))


@pytest.mark.parametrize(("name", "how", "scheme"), QUANTIZED)
def test_quantized_and_fused_models(name: str, how: How, scheme: str) -> None:
    prove(judge(quantized(name, how, scheme), [item.numpy() for item in ZOO[name].arguments()]))


@pytest.mark.parametrize(("name", "how"), SPECIAL)
def test_models_with_something_special_on_the_way(name: str, how: How) -> None:
    prove(judge(models.exported(name, how), [item.numpy() for item in models.MODELS[name].arguments()]))


@pytest.mark.parametrize("name", graphs.GRAPHS)
def test_graphs_written_by_hand(name: str) -> None:
    prove(judge(graphs.written(name), graphs.GRAPHS[name].inputs()))


@pytest.mark.parametrize("name", FUSED)
def test_ops_with_layers_inside(name: str) -> None:
    prove(judge(graphs.written(name, FUSED[name]), FUSED[name].inputs()))


@pytest.mark.parametrize(("name", "how", "scheme"), UNRUNNABLE)
def test_what_cannot_be_run_still_cannot(name: str, how: How, scheme: str) -> None:
    with pytest.raises(Exception, match=UNRUNNABLE[name, how, scheme]):
        onnxruntime.InferenceSession(str(quantized(name, how, scheme)))

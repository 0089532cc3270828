"""The wiring of every model holds when its connections are cut and its neurons are pushed one by one."""

from __future__ import annotations

from typing import get_args

import pytest

from tests.wiring import graphs, models
from tests.wiring.judging import judge
from tests.zoo.architectures import ZOO
from tests.zoo.exporting import IMPOSSIBLE, How, export

HOWS: tuple[How, ...] = get_args(How)
CASES = [(name, how) for name in ZOO for how in HOWS if (name, how) not in IMPOSSIBLE]
SPECIAL = [(name, how) for name in models.MODELS for how in HOWS if (name, how) not in models.IMPOSSIBLE]


@pytest.mark.parametrize(("name", "how"), CASES)
def test_the_zoo(name: str, how: How) -> None:
    verdict = judge(export(name, how), [item.numpy() for item in ZOO[name].arguments()])
    assert verdict.problems == []
    assert verdict.checked == verdict.synapses - verdict.unknown


@pytest.mark.parametrize(("name", "how"), SPECIAL)
def test_models_with_something_special_on_the_way(name: str, how: How) -> None:
    verdict = judge(models.exported(name, how), [item.numpy() for item in models.MODELS[name].arguments()])
    assert verdict.problems == []
    assert verdict.checked > 0


@pytest.mark.parametrize("name", graphs.GRAPHS)
def test_graphs_written_by_hand(name: str) -> None:
    verdict = judge(graphs.written(name), graphs.GRAPHS[name].inputs())
    assert verdict.problems == []
    assert verdict.checked > 0


@pytest.mark.parametrize(("name", "how"), models.IMPOSSIBLE)
def test_what_cannot_be_exported_still_cannot(name: str, how: How) -> None:
    with pytest.raises(Exception, match=models.IMPOSSIBLE[name, how]):
        models.exported(name, how)

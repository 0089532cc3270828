"""Models as tests: ``pytest --graphneurons model.onnx``, and a fixture ``graphneurons`` for tests of one's own.

def test_model(graphneurons):
    graphneurons("model.onnx", {"select": ["GN1", "GN2"]})
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from graphneurons.checks.base import CheckReport
    from graphneurons.checks.policy import Policy
    from graphneurons.checks.running import Model


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("graphneurons", "checks of neural network files")
    group.addoption(
        "--graphneurons", action="append", default=[], metavar="MODEL", dest="graphneurons_models",
        help="check this model (a file, a directory or a glob) as a test; repeatable",
    )  # fmt: skip
    group.addoption(
        "--graphneurons-policy", default=None, metavar="FILE", dest="graphneurons_policy",
        help="the policy models are held to (default: graphneurons.toml or pyproject.toml, found upwards from rootdir)",
    )  # fmt: skip


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(session: pytest.Session, config: pytest.Config, items: list[pytest.Item]) -> None:
    """Adds one item per model."""
    models: Sequence[str] = config.getoption("graphneurons_models")
    if not models:
        return
    from graphneurons.cli.check import matching
    from graphneurons.errors import UsageError

    try:
        paths = matching(models)
    except UsageError as error:
        raise pytest.UsageError(str(error)) from None
    items.extend(ModelItem.from_parent(session, name=f"graphneurons[{path}]", model=path) for path in paths)


class ModelItem(pytest.Item):
    """One model; it fails with the findings."""

    def __init__(self, *, model: str, **rest: Any) -> None:
        super().__init__(**rest)
        self.model = model

    def runtest(self) -> None:
        Checker(self.config)(self.model)

    def reportinfo(self) -> tuple[os.PathLike[str] | str, int | None, str]:
        return self.model, None, self.name


class Checker:
    """Checks models as tests do."""

    def __init__(self, config: pytest.Config) -> None:
        self._config = config

    def __call__(
        self,
        model: Model,
        policy: Policy | Mapping[str, Any] | str | os.PathLike[str] | None = None,
        *,
        against: Model | None = None,
        **analyzing: Any,
    ) -> CheckReport:
        """The report of `graphneurons.check`; fails the test with the findings if there are any that fail, and if the
        model cannot be looked at. Without ``policy``, the one of the project."""
        from graphneurons.checks.running import check
        from graphneurons.errors import GraphNeuronsError
        from graphneurons.reports.findings import full
        from graphneurons.reports.lines import UNICODE, plain

        try:
            chosen = self._policy() if policy is None else policy
            report = check(model, chosen, against=against, **analyzing)
        except (GraphNeuronsError, OSError) as error:
            pytest.fail(str(error), pytrace=False)
        if report.exit_code:
            pytest.fail("".join(plain(full(report, None, UNICODE))), pytrace=False)
        return report

    def _policy(self) -> str | None:
        from graphneurons.checks.policy import find_policy

        given: str | None = self._config.getoption("graphneurons_policy")
        if given is not None:
            return given
        found = find_policy(self._config.rootpath)
        return None if found is None else str(found)


@pytest.fixture
def graphneurons(request: pytest.FixtureRequest) -> Checker:
    """A function ``graphneurons(model, policy=None)`` that fails the test if the model has findings."""
    return Checker(request.config)

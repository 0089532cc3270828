"""The process that runs the program under test, one per test run."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from .running import WARM, Runner


@pytest.fixture(scope="session")
def runner() -> Iterator[Runner]:
    made = Runner(*WARM)
    yield made
    made.close()

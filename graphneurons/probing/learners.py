"""The way to scikit-learn, which the core install does not have."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from graphneurons.errors import UsageError


def learner(module: str, name: str) -> Any:
    """``NAME`` of a module of scikit-learn, or of scipy, which scikit-learn brings along.

    Raises UsageError where they are not installed.
    """
    try:
        return getattr(import_module(module), name)
    except ImportError as problem:
        raise UsageError(f'probes need scikit-learn: pip install "graphneurons[probe]" ({problem})') from problem

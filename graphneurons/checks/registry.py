"""All checks, by code."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache

from graphneurons.checks import drift, file, hardware, neurons, quantization, structure
from graphneurons.checks.base import Check
from graphneurons.checks.hints import near
from graphneurons.errors import UsageError

PREFIX = "GN"
FAMILIES = {
    "GN1": "structure",
    "GN2": "neurons",
    "GN3": "quantization",
    "GN4": "hardware and budget",
    "GN5": "drift",
    "GN6": "the file itself",
}


@cache
def checks() -> Mapping[str, Check]:
    """Every check there is, in order of code."""
    found = [each for family in (structure, neurons, quantization, hardware, drift, file) for each in family.CHECKS]
    return {each.code: each for each in sorted(found, key=lambda each: each.code)}


def check_of(text: str) -> Check:
    """The check with this code or name. Raises `UsageError` with a near match."""
    for each in checks().values():
        if text.upper() == each.code or text.lower() == each.name:
            return each
    raise UsageError(f"no rule is called {text!r}; {near(text, [*checks(), *(c.name for c in checks().values())])}")


def checked_prefix(text: str, where: str) -> str:
    """``text`` if it begins the code of some check. Raises `UsageError` with a near match."""
    if text.startswith(PREFIX) and any(code.startswith(text) for code in checks()):
        return text
    raise UsageError(f"no rule begins with {text!r}; {near(text, [*FAMILIES, *checks()])}", where=where)

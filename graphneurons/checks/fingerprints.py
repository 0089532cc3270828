"""What tells findings apart from one run to the next."""

from __future__ import annotations

import hashlib
import os

from graphneurons.checks.base import ModelReport


def readable(path: str) -> str:
    """A path as UTF-8 can say it."""
    return os.fsencode(path).decode("utf-8", "backslashreplace")


_IDENTIFYING = ("op", "notice", "domain", "attribute", "what")


def fingerprints(model: ModelReport) -> list[str]:
    """What tells every finding from others however its numbers change: a hash of code and place, numbered where several
    share one."""
    counts: dict[str, int] = {}
    made = []
    for finding in model.findings:
        told = [str(finding.evidence[key]) for key in _IDENTIFYING if key in finding.evidence]
        parts = [finding.code, finding.layer or "", finding.weight or "", str(finding.axis), *told]
        mark = hashlib.sha256("\0".join(parts).encode("utf-8", "backslashreplace")).hexdigest()[:24]
        counts[mark] = counts.get(mark, 0) + 1
        made.append(f"{mark}:{counts[mark]}")
    return made
